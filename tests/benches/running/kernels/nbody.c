// The motion of five bodies, in doubles.
#include <math.h>
#include <stdio.h>
static double p[5][3] = {{0, 0, 0}, {4.84, -1.16, -.1}, {8.34, 4.12, -.4}, {12.89, -15.11, -.22}, {15.37, -25.9, .17}}, v[5][3] = {{0}, {.6, 2.8, -.02}, {-1.01, 1.8, .008}, {1.08, .86, -.01}, {.97, .59, -.03}};
static const double m[5] = {39.47, .037, .011, .0017, .002};
int main(void) {
  for (int k = 0; k < 3000000; k++) {
    for (int i = 0; i < 5; i++) for (int j = i + 1; j < 5; j++) {
      double d[3], r = 0;
      for (int c = 0; c < 3; c++) { d[c] = p[i][c] - p[j][c]; r += d[c] * d[c]; }
      double f = .001 / (r * sqrt(r));
      for (int c = 0; c < 3; c++) { v[i][c] -= d[c] * m[j] * f; v[j][c] += d[c] * m[i] * f; }
    }
    for (int i = 0; i < 5; i++) for (int c = 0; c < 3; c++) p[i][c] += .001 * v[i][c];
  }
  printf("%.9f %.9f\n", p[0][0], p[4][2]);
}
