// A hash table of strings with open addressing, whose hash mixes by a 128-bit product.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
static uint64_t mix(uint64_t a, uint64_t b) { unsigned __int128 p = (unsigned __int128)a * b; return (uint64_t)p ^ (uint64_t)(p >> 64); }
static uint64_t hash(const char *s, size_t n) {
  uint64_t h = n ^ 0x9e3779b97f4a7c15u;
  while (n >= 8) { uint64_t w; memcpy(&w, s, 8); h = mix(h ^ w, 0xa0761d6478bd642fu); s += 8; n -= 8; }
  uint64_t w = 0; memcpy(&w, s, n); return mix(h ^ w, 0xe7037ed1a0b428dbu);
}
int main(void) {
  enum { N = 1 << 15, KEYS = 20000 };
  static char keys[KEYS][24]; static int slots[N]; static long counts[KEYS];
  for (int i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "key-%d-%d", i * 977 % 100003, i);
  long probes = 0;
  for (int k = 0; k < 200; k++) {
    memset(slots, 0, sizeof slots);
    for (int i = 0; i < KEYS; i++) {
      size_t n = strlen(keys[i]); uint64_t h = hash(keys[i], n);
      for (;; h++) { int *s = &slots[h & (N - 1)]; probes++; if (!*s) { *s = i + 1; break; } if (!strcmp(keys[*s - 1], keys[i])) break; }
      counts[i] += (long)(h & 3);
    }
  }
  long sum = 0; for (int i = 0; i < KEYS; i++) sum += counts[i];
  printf("%ld %ld\n", probes, sum);
}
