// Calls through tables of function pointers, as methods of objects.
#include <stdio.h>
struct shape; struct type { double (*area)(const struct shape *); void (*grow)(struct shape *, double); };
struct shape { const struct type *type; double a, b; };
static double rectangle(const struct shape *s) { return s->a * s->b; }
static double ellipse(const struct shape *s) { return 3.14159 * s->a * s->b; }
static double triangle(const struct shape *s) { return s->a * s->b / 2; }
static void grow(struct shape *s, double x) { s->a += x; if (s->a > 100) s->a = 1; }
static const struct type types[] = {{rectangle, grow}, {ellipse, grow}, {triangle, grow}};
int main(void) {
  static struct shape shapes[1000];
  for (int i = 0; i < 1000; i++) shapes[i] = (struct shape){&types[(i * 7) % 3], i % 10, i % 7};
  double sum = 0;
  for (int k = 0; k < 10000; k++) for (int i = 0; i < 1000; i++) { sum += shapes[i].type->area(&shapes[i]); shapes[i].type->grow(&shapes[i], 0.5); }
  printf("%.1f\n", sum);
}
