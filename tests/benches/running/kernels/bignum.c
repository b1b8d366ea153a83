// Products of 1024-bit numbers by schoolbook multiplication with 128-bit partial products.
#include <stdint.h>
#include <stdio.h>
enum { N = 16 };
static void multiply(uint64_t *r, const uint64_t *a, const uint64_t *b) {
  for (int i = 0; i < 2 * N; i++) r[i] = 0;
  for (int i = 0; i < N; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < N; j++) {
      unsigned __int128 t = (unsigned __int128)a[i] * b[j] + r[i + j] + carry;
      r[i + j] = (uint64_t)t;
      carry = (uint64_t)(t >> 64);
    }
    r[i + N] = carry;
  }
}
int main(void) {
  uint64_t a[N], b[N], r[2 * N], x = 88172645463325252u;
  for (int i = 0; i < N; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; a[i] = x; b[i] = ~x * 3; }
  for (int k = 0; k < 120000; k++) { multiply(r, a, b); for (int i = 0; i < N; i++) { a[i] = r[i] ^ r[i + N]; b[i] += r[N - i]; } }
  printf("%016llx %016llx\n", (unsigned long long)r[3], (unsigned long long)r[2 * N - 1]);
}
