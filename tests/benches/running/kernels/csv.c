// Parses comma-separated values with quotes, by a small state machine in functions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct parser { const char *at, *end; long fields, records; unsigned hash; };
static int peek(struct parser *p) { return p->at < p->end ? (unsigned char)*p->at : -1; }
static int next(struct parser *p) { int c = peek(p); if (c >= 0) p->at++; return c; }
static void emit(struct parser *p, int c) { p->hash = (p->hash ^ (unsigned)c) * 16777619u; }
__attribute__((noinline)) static void quoted(struct parser *p) {
  next(p);
  for (;;) { int c = next(p); if (c < 0) return; if (c == '"') { if (peek(p) == '"') { next(p); emit(p, '"'); } else return; } else emit(p, c); }
}
__attribute__((noinline)) static void plain(struct parser *p) { for (;;) { int c = peek(p); if (c < 0 || c == ',' || c == '\n') return; emit(p, next(p)); } }
__attribute__((noinline)) static void record(struct parser *p) {
  for (;;) { if (peek(p) == '"') quoted(p); else plain(p); p->fields++; int c = next(p); if (c != ',') { p->records++; return; } }
}
int main(void) {
  static char text[1 << 17];
  char *o = text;
  for (int i = 0; o < text + sizeof text - 100; i++) o += sprintf(o, "%d,name %d,\"quoted \"\"%d\"\", here\",%d.%d\n", i, i * 7, i, i % 97, i % 10);
  struct parser p = {0};
  for (int k = 0; k < 1000; k++) { p.at = text; p.end = o; while (p.at < p.end) record(&p); }
  printf("%ld %ld %x\n", p.fields, p.records, p.hash);
}
