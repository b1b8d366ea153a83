// Search for strings in a text: by its first character, and by Horspool's algorithm.
#include <stdio.h>
#include <stdint.h>
#include <string.h>
enum { N = 1 << 20 };
static char text[N + 1];
static int horspool(const char *word) {
  int skip[256], len = strlen(word), found = 0;
  for (int i = 0; i < 256; i++) skip[i] = len;
  for (int i = 0; i < len - 1; i++) skip[(uint8_t)word[i]] = len - 1 - i;
  for (int at = 0; at <= N - len; at += skip[(uint8_t)text[at + len - 1]]) {
    int i = len - 1;
    while (i >= 0 && text[at + i] == word[i]) i--;
    found += i < 0;
  }
  return found;
}
static int first(const char *word) {
  int found = 0, len = strlen(word);
  for (const char *at = text; (at = memchr(at, *word, text + N - at)); at++)
    found += text + N - at >= len && !memcmp(at, word, len);
  return found;
}
int main(void) {
  static const char *words[] = {"the", "which", "need", "haystack", "a sentence"};
  static const char *parts[] = {"the ", "which ", "need", "le ", "hay", "stack ", "a ", "sentence. ", "of ", "\n"};
  uint32_t x = 7;
  for (int i = 0; i < N;) {
    const char *part = parts[(x = x * 1103515245 + 12345) >> 16 & 7 ? (x >> 20) % 10 : 9];
    for (; *part && i < N; part++) text[i++] = *part;
  }
  int sum = 0;
  for (int round = 0; round < 20; round++)
    for (int i = 0; i < 5; i++) {
      int a = horspool(words[i]), b = first(words[i]);
      if (a != b) return 1;
      sum = sum * 7 + a;
    }
  printf("%d\n", sum);
}
