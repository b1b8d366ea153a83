// Regular expressions: compiled to a machine that follows all possibilities at once, and run on lines of a log.
#include <stdio.h>
#include <string.h>
enum { CHAR, ANY, DIGIT, SPLIT, JUMP, MATCH };
static struct { int op, x, y; } code[200];
static int len;
static const char *pattern;
static void alternatives(void);
static void insert(int at) { memmove(&code[at + 1], &code[at], (len++ - at) * sizeof *code); }
static void move(int from, int to, int by) {
  for (int i = from; i < to; i++) if (code[i].op == SPLIT || code[i].op == JUMP) { code[i].x += by; code[i].y += by; }
}
static void item(void) {
  int start = len;
  if (*pattern == '(') { pattern++; alternatives(); pattern++; }
  else if (*pattern == '.') { code[len++].op = ANY; pattern++; }
  else if (*pattern == '#') { code[len++].op = DIGIT; pattern++; }
  else { code[len].op = CHAR; code[len++].x = *pattern++; }
  if (*pattern == '*' || *pattern == '?') {
    int loops = *pattern++ == '*';
    insert(start); move(start + 1, len, 1);
    code[start].op = SPLIT; code[start].x = start + 1; code[start].y = len + loops;
    if (loops) { code[len].op = JUMP; code[len++].x = start; }
  } else if (*pattern == '+') {
    pattern++;
    code[len].op = SPLIT; code[len].x = start; code[len].y = len + 1; len++;
  }
}
static void alternatives(void) {
  int start = len;
  while (*pattern && *pattern != '|' && *pattern != ')') item();
  if (*pattern == '|') {
    pattern++;
    insert(start); move(start + 1, len, 1);
    int jump = len++;
    code[jump].op = JUMP;
    code[start].op = SPLIT; code[start].x = start + 1; code[start].y = len;
    alternatives();
    code[jump].x = len;
  }
}
static int seen[200], now, list[2][200], count[2];
static void add(int to, int at) {
  if (seen[at] == now) return;
  seen[at] = now;
  if (code[at].op == JUMP) add(to, code[at].x);
  else if (code[at].op == SPLIT) { add(to, code[at].x); add(to, code[at].y); }
  else list[to][count[to]++] = at;
}
static int matches(const char *text) {
  int a = 0;
  count[0] = 0; now++;
  for (;; text++) {
    add(a, 0);
    now++;
    count[!a] = 0;
    for (int i = 0; i < count[a]; i++) {
      int at = list[a][i], c = *text;
      switch (code[at].op) {
        case MATCH: return 1;
        case CHAR: if (c == code[at].x) add(!a, at + 1); break;
        case ANY: if (c) add(!a, at + 1); break;
        case DIGIT: if (c >= '0' && c <= '9') add(!a, at + 1); break;
      }
    }
    if (!*text) return 0;
    a = !a;
  }
}
int main(void) {
  static const char *patterns[] = {"GET /(index|image#+).(html|png) ", "#+.#+.#+.#+ .* (404|500)", "(a|b)*c+d?e", "user=(x.*y|#+z) "};
  static char lines[500][120];
  int sum = 0;
  for (int i = 0; i < 500; i++)
    sprintf(lines[i], "10.%d.%d.7 user=%d%c \"GET /%s%d.%s HTTP\" ab%scde %d", i % 11, i % 256, i, i % 3 ? 'z' : 'q',
            i % 2 ? "image" : "index", i % 5, i % 4 ? "png" : "html", i % 3 ? "ab" : "x", i % 6 ? 200 : 404);
  for (int round = 0; round < 120; round++)
    for (int i = 0; i < 4; i++) {
      len = 0; pattern = patterns[i];
      alternatives();
      code[len++].op = MATCH;
      for (int j = 0; j < 500; j++) sum = (sum * 3 + matches(lines[j])) % 1000003;
    }
  printf("%d\n", sum);
}
