// Compiled, linked and run by the clang case: C that uses the library, floating point and a table of functions.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char name[16]; double (*apply)(double); } entry;
static const entry entries[] = {{"sqrt", sqrt}, {"cbrt", cbrt}, {"exp", exp}, {"log1p", log1p}, {"tanh", tanh}};

static unsigned long collatz(unsigned long n) {
  unsigned long steps = 0;
  for (; n != 1; steps++) n = n % 2 ? 3 * n + 1 : n / 2;
  return steps;
}

int main(int argc, char **argv) {
  double x = argc > 1 ? strtod(argv[1], NULL) : 1;
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) printf("%s(%g) = %.12g\n", entries[i].name, x, entries[i].apply(x));
  unsigned long best = 1;
  for (unsigned long n = 1; n < 300000; n++)
    if (collatz(n) > collatz(best)) best = n;
  printf("%lu takes %lu steps\n", best, collatz(best));
  char *text = strdup("built by clang inside WebAssembly");
  for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) printf("[%s]", word);
  putchar('\n');
  free(text);
  return (int)fmod(x, 256);
}
