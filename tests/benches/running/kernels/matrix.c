// Products of matrices of floats, with helper functions for elements.
#include <stdio.h>
enum { N = 128 };
static double a[N][N], b[N][N], c[N][N];
__attribute__((noinline)) static double dot(const double *x, const double *y) {
  double s = 0;
  for (int i = 0; i < N; i++) s += x[i] * y[i * N];
  return s;
}
int main(void) {
  for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) { a[i][j] = (i * 7 + j) % 11; b[i][j] = (i + j * 5) % 13; }
  double sum = 0;
  for (int k = 0; k < 50; k++) {
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) c[i][j] = dot(a[i], &b[0][j]);
    a[k % N][3] += 1; sum += c[k % N][(k * 7) % N];
  }
  printf("%.1f\n", sum);
}
