// Compresses by references to earlier text, found by a table of hashes, and decompresses again.
#include <stdio.h>
#include <stdint.h>
#include <string.h>
enum { N = 1 << 20, BITS = 14 };
static uint8_t text[N], packed[N + N / 8], back[N];
static int last[1 << BITS];
static uint32_t word(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint8_t *literals(uint8_t *to, const uint8_t *from, int n) {
  for (; n; ) { int m = n < 127 ? n : 127; *to++ = m; memcpy(to, from, m); to += m; from += m; n -= m; }
  return to;
}
static int pack(void) {
  uint8_t *to = packed;
  int done = 0, i = 0;
  memset(last, -1, sizeof last);
  while (i < N - 8) {
    uint32_t hash = word(&text[i]) * 2654435761u >> (32 - BITS);
    int from = last[hash];
    last[hash] = i;
    if (from < 0 || i - from > 0xffff || word(&text[from]) != word(&text[i])) { i++; continue; }
    int n = 4;
    while (n < 127 + 4 && i + n < N && text[from + n] == text[i + n]) n++;
    if (n > 131) n = 131;
    to = literals(to, &text[done], i - done);
    *to++ = 128 | (n - 4); *to++ = (i - from) & 255; *to++ = (i - from) >> 8;
    done = i += n;
  }
  to = literals(to, &text[done], N - done);
  return to - packed;
}
static int unpack(int len) {
  uint8_t *to = back;
  for (const uint8_t *p = packed; p < packed + len;) {
    int n = *p++;
    if (n < 128) { memcpy(to, p, n); p += n; to += n; continue; }
    const uint8_t *from = to - (p[0] | p[1] << 8);
    for (p += 2, n -= 124; n; n--) *to++ = *from++;
  }
  return to - back;
}
int main(void) {
  uint32_t x = 5;
  for (int i = 0; i < N;) {
    x = x * 1103515245 + 12345;
    if (i > 5000 && x >> 28 < 11) { int from = i - 1 - (x >> 12 & 4095), n = 4 + (x >> 24 & 15); while (n-- && i < N) text[i++] = text[from++]; }
    else text[i++] = 'a' + (x >> 16) % 26;
  }
  long sum = 0;
  for (int round = 0; round < 18; round++) {
    text[round * 1000] ^= 1;
    int len = pack();
    if (unpack(len) != N || memcmp(text, back, N)) return 1;
    sum = sum * 31 + len;
  }
  printf("%ld\n", sum);
}
