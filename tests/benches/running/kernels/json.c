// Parses JSON to a tree, and prints the tree.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct value { char kind; double number; const char *text; int len, count; struct value *first, *last, *next; };
static struct value pool[200000];
static int used;
static const char *p;
static void space(void) { while (*p == ' ' || *p == '\n' || *p == '\t') p++; }
static void string(struct value *v) {
  v->text = ++p;
  while (*p != '"') p += *p == '\\' ? 2 : 1;
  v->len = p++ - v->text;
}
static struct value *parse(void) {
  struct value *v = &pool[used++];
  memset(v, 0, sizeof *v);
  space();
  switch (v->kind = *p) {
    case '{': case '[': {
      char end = *p++ == '{' ? '}' : ']';
      for (space(); *p != end; space()) {
        struct value *item = parse();
        v->count++;
        if (v->last) v->last->next = item; else v->first = item;
        v->last = item;
        space();
        if (*p == ',' || *p == ':') p++;
      }
      p++;
      break;
    }
    case '"': string(v); break;
    case 't': case 'n': p += 4; break;
    case 'f': p += 5; break;
    default: {
      double sign = *p == '-' ? p++, -1 : 1, scale = 1;
      for (; *p >= '0' && *p <= '9'; p++) v->number = v->number * 10 + (*p - '0');
      if (*p == '.') for (p++; *p >= '0' && *p <= '9'; p++) v->number += (*p - '0') * (scale /= 10);
      v->number *= sign;
      v->kind = '0';
    }
  }
  return v;
}
static char out[1 << 20], *to;
static void put(const char *text, int len) { memcpy(to, text, len); to += len; }
static void print(const struct value *v) {
  switch (v->kind) {
    case '{': case '[': {
      int i = 0;
      *to++ = v->kind;
      for (const struct value *item = v->first; item; item = item->next, i++) {
        if (i) *to++ = v->kind == '{' && i % 2 ? ':' : ',';
        print(item);
      }
      *to++ = v->kind == '{' ? '}' : ']';
      break;
    }
    case '"': *to++ = '"'; put(v->text, v->len); *to++ = '"'; break;
    case 't': put("true", 4); break;
    case 'f': put("false", 5); break;
    case 'n': put("null", 4); break;
    default: {
      char digits[24]; int n = 0; long whole = v->number < 0 ? *to++ = '-', -v->number : v->number;
      do digits[n++] = '0' + whole % 10; while (whole /= 10);
      while (n) *to++ = digits[--n];
    }
  }
}
int main(void) {
  static char text[1 << 20];
  char *at = text;
  *at++ = '[';
  for (int i = 0; i < 3000; i++)
    at += sprintf(at, "%s{\"id\": %d, \"name\": \"row %d \\\"x\\\"\", \"tags\": [%d, %d.25, -7, true, null], \"in\": {\"a\": [[], {}]}}",
                  i ? ",\n  " : "", i, i * 7919 % 1009, i % 7, i % 13);
  strcpy(at, "]");
  unsigned sum = 0;
  for (int round = 0; round < 140; round++) {
    used = 0; p = text; to = out;
    print(parse());
    for (char *c = out; c < to; c += 61) sum = sum * 31 + *c;
  }
  printf("%u %d %ld\n", sum, used, (long)(to - out));
}
