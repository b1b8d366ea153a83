// The Montgomery ladder of Curve25519 in five limbs of 51 bits.
#include <stdint.h>
#include <stdio.h>
typedef uint64_t fe[5];
typedef unsigned __int128 wide;
static const uint64_t M = (1ull << 51) - 1;
static void mul(fe o, const fe a, const fe b) {
  wide t[5];
  uint64_t b1 = b[1] * 19, b2 = b[2] * 19, b3 = b[3] * 19, b4 = b[4] * 19;
  t[0] = (wide)a[0] * b[0] + (wide)a[1] * b4 + (wide)a[2] * b3 + (wide)a[3] * b2 + (wide)a[4] * b1;
  t[1] = (wide)a[0] * b[1] + (wide)a[1] * b[0] + (wide)a[2] * b4 + (wide)a[3] * b3 + (wide)a[4] * b2;
  t[2] = (wide)a[0] * b[2] + (wide)a[1] * b[1] + (wide)a[2] * b[0] + (wide)a[3] * b4 + (wide)a[4] * b3;
  t[3] = (wide)a[0] * b[3] + (wide)a[1] * b[2] + (wide)a[2] * b[1] + (wide)a[3] * b[0] + (wide)a[4] * b4;
  t[4] = (wide)a[0] * b[4] + (wide)a[1] * b[3] + (wide)a[2] * b[2] + (wide)a[3] * b[1] + (wide)a[4] * b[0];
  uint64_t c = 0;
  for (int i = 0; i < 5; i++) { t[i] += c; o[i] = (uint64_t)t[i] & M; c = (uint64_t)(t[i] >> 51); }
  o[0] += c * 19; o[1] += o[0] >> 51; o[0] &= M;
}
static void add(fe o, const fe a, const fe b) { for (int i = 0; i < 5; i++) o[i] = a[i] + b[i]; }
static void sub(fe o, const fe a, const fe b) {
  for (int i = 0; i < 5; i++) o[i] = a[i] + (i ? 0xffffffffffffeull : 0xfffffffffffdaull) - b[i];
}
static void swap(fe a, fe b, uint64_t bit) {
  for (int i = 0; i < 5; i++) { uint64_t x = (a[i] ^ b[i]) & -bit; a[i] ^= x; b[i] ^= x; }
}
int main(void) {
  fe x1 = {9}, x2 = {1}, z2 = {0}, x3 = {9}, z3 = {1}, a, b, c, d, e, f;
  const fe k = {121665};
  uint64_t bits = 0x123456789abcdef1u, last = 0;
  for (int i = 0; i < 200000; i++) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    uint64_t bit = bits >> 63;
    swap(x2, x3, bit ^ last); swap(z2, z3, bit ^ last); last = bit;
    add(a, x2, z2); sub(b, x2, z2); add(c, x3, z3); sub(d, x3, z3);
    mul(d, d, a); mul(c, c, b); mul(e, a, a); mul(f, b, b);
    mul(x2, e, f); sub(e, e, f); mul(a, e, k); add(a, a, f); mul(z2, e, a);
    add(a, d, c); sub(b, d, c); mul(x3, a, a); mul(b, b, b); mul(z3, x1, b);
  }
  printf("%llx %llx\n", (unsigned long long)x2[0], (unsigned long long)z3[4]);
}
