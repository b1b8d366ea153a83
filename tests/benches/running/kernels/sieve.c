// The sieve of Eratosthenes.
#include <stdio.h>
#include <string.h>
int main(void) {
  enum { N = 1 << 20 };
  static unsigned char composite[N];
  int count = 0;
  for (int k = 0; k < 60; k++) {
    memset(composite, 0, N);
    for (int i = 2; i < N; i++) if (!composite[i]) { count++; for (int j = 2 * i; j < N; j += i) composite[j] = 1; }
  }
  printf("%d\n", count);
}
