// The permutation Keccak-f[1600], as a hash takes it.
#include <stdio.h>
#include <stdint.h>
static const int turns[24] = {1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44};
static const int lanes[24] = {10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1};
static uint64_t turned(uint64_t x, int by) { return x << by | x >> (64 - by); }
static void permute(uint64_t s[25]) {
  uint8_t bits = 1;
  for (int round = 0; round < 24; round++) {
    uint64_t c[5], t;
    for (int i = 0; i < 5; i++) c[i] = s[i] ^ s[i + 5] ^ s[i + 10] ^ s[i + 15] ^ s[i + 20];
    for (int i = 0; i < 5; i++) {
      t = c[(i + 4) % 5] ^ turned(c[(i + 1) % 5], 1);
      for (int j = 0; j < 25; j += 5) s[j + i] ^= t;
    }
    t = s[1];
    for (int i = 0; i < 24; i++) { uint64_t next = s[lanes[i]]; s[lanes[i]] = turned(t, turns[i]); t = next; }
    for (int j = 0; j < 25; j += 5) {
      for (int i = 0; i < 5; i++) c[i] = s[j + i];
      for (int i = 0; i < 5; i++) s[j + i] ^= ~c[(i + 1) % 5] & c[(i + 2) % 5];
    }
    for (int i = 0; i < 7; i++) {
      if (bits & 1) s[0] ^= 1ull << ((1 << i) - 1);
      bits = bits << 1 ^ (bits & 0x80 ? 0x71 : 0);
    }
  }
}
int main(void) {
  uint64_t s[25] = {0};
  for (int i = 0; i < 250000; i++) { s[i % 17] ^= i; permute(s); }
  printf("%016llx\n", (unsigned long long)s[0]);
}
