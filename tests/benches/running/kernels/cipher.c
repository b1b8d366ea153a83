// ChaCha20.
#include <stdint.h>
#include <stdio.h>
#define R(a, n) ((a) << (n) | (a) >> (32 - (n)))
#define Q(a, b, c, d) a += b, d = R(d ^ a, 16), c += d, b = R(b ^ c, 12), a += b, d = R(d ^ a, 8), c += d, b = R(b ^ c, 7)
int main(void) {
  uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 1, 2, 3, 4, 5, 6, 7, 8}, x[16], h = 0;
  for (int k = 0; k < 1500000; k++) {
    in[12] = k;
    for (int i = 0; i < 16; i++) x[i] = in[i];
    for (int i = 0; i < 10; i++) {
      Q(x[0], x[4], x[8], x[12]); Q(x[1], x[5], x[9], x[13]); Q(x[2], x[6], x[10], x[14]); Q(x[3], x[7], x[11], x[15]);
      Q(x[0], x[5], x[10], x[15]); Q(x[1], x[6], x[11], x[12]); Q(x[2], x[7], x[8], x[13]); Q(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++) h = h * 33 ^ (x[i] + in[i]);
  }
  printf("%x\n", h);
}
