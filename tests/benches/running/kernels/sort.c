// qsort with a comparison by pointer, and a heap sort.
#include <stdio.h>
#include <stdlib.h>
static int compare(const void *a, const void *b) { int x = *(const int *)a, y = *(const int *)b; return (x > y) - (x < y); }
static void swap(int *a, int *b) { int t = *a; *a = *b; *b = t; }
static void sift(int *v, int i, int n) { for (;;) { int c = 2 * i + 1; if (c >= n) return; if (c + 1 < n && v[c + 1] > v[c]) c++; if (v[i] >= v[c]) return; swap(v + i, v + c); i = c; } }
int main(void) {
  enum { N = 200000 };
  static int v[N], w[N];
  unsigned x = 3;
  unsigned hash = 0;
  for (int k = 0; k < 4; k++) {
    for (int i = 0; i < N; i++) { x = x * 1664525 + 1013904223; v[i] = w[i] = (int)(x >> 8); }
    qsort(v, N, sizeof *v, compare);
    for (int i = N / 2; i-- > 0;) sift(w, i, N);
    for (int n = N; n-- > 1;) { swap(w, w + n); sift(w, 0, n); }
    for (int i = 0; i < N; i++) hash = hash * 31 + (unsigned)(v[i] ^ (w[i] << 1));
  }
  printf("%x\n", hash);
}
