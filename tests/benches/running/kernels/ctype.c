// Counts words and classes of characters in a text, with the functions of <ctype.h>.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  enum { N = 1 << 16 };
  char *text = malloc(N);
  unsigned x = 12345;
  for (int i = 0; i < N; i++) { x = x * 1103515245 + 12345; text[i] = ' ' + (x >> 16) % 95; if ((x >> 24) % 6 == 0) text[i] = ' '; }
  long words = 0, alpha = 0, digits = 0, upper = 0, punct = 0;
  for (int round = 0; round < 400; round++) {
    int in = 0;
    for (int i = 0; i < N; i++) {
      int c = text[i];
      if (isspace(c)) in = 0; else if (!in) { in = 1; words++; }
      alpha += isalpha(c) != 0; digits += isdigit(c) != 0; upper += isupper(c) != 0; punct += ispunct(c) != 0;
      text[i] = isalpha(c) ? (c ^ 32) : c;
    }
  }
  printf("%ld %ld %ld %ld %ld\n", words, alpha, digits, upper, punct);
}
