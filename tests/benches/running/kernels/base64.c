// Base64, there and back.
#include <stdio.h>
#include <stdint.h>
#include <string.h>
enum { N = 3 << 18 };
static uint8_t plain[N], back[N];
static char text[N / 3 * 4];
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static int8_t values[256];
static void encode(void) {
  char *to = text;
  for (int i = 0; i < N; i += 3) {
    uint32_t v = plain[i] << 16 | plain[i + 1] << 8 | plain[i + 2];
    *to++ = digits[v >> 18]; *to++ = digits[v >> 12 & 63]; *to++ = digits[v >> 6 & 63]; *to++ = digits[v & 63];
  }
}
static int decode(void) {
  uint8_t *to = back;
  for (int i = 0; i < N / 3 * 4; i += 4) {
    int32_t v = 0;
    for (int j = 0; j < 4; j++) {
      int d = values[(uint8_t)text[i + j]];
      if (d < 0) return i + j;
      v = v << 6 | d;
    }
    *to++ = v >> 16; *to++ = v >> 8; *to++ = v;
  }
  return -1;
}
int main(void) {
  memset(values, -1, sizeof values);
  for (int i = 0; i < 64; i++) values[(uint8_t)digits[i]] = i;
  uint32_t x = 1, sum = 0;
  for (int round = 0; round < 60; round++) {
    for (int i = 0; i < N; i += 64) plain[i] = (x = x * 1103515245 + 12345) >> 16;
    encode();
    if (decode() >= 0 || memcmp(plain, back, N)) return 1;
    for (int i = 0; i < N; i += 997) sum = sum * 31 + text[i];
  }
  printf("%u\n", sum);
}
