// A scanner of numbers in text: a switch over three states and a switch over characters.
#include <stdio.h>
int main(void) {
  static char text[1 << 16];
  unsigned x = 7;
  for (unsigned i = 0; i < sizeof text; i++) { x = x * 1664525 + 1013904223; text[i] = "0123456789.eE+- \n,x"[(x >> 20) % 19]; }
  long ints = 0, floats = 0, others = 0;
  for (int k = 0; k < 300; k++) {
    int state = 0;
    for (unsigned i = 0; i < sizeof text; i++) {
      int class;
      switch (text[i]) {
        case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': class = 0; break;
        case '.': class = 1; break;
        case ' ': case '\n': case ',': class = 2; break;
        default: class = 3;
      }
      switch (state) {
        case 0: state = class == 0 ? 1 : 0; others += class == 3; break;
        case 1: if (class == 1) state = 2; else if (class) { state = 0; ints++; } break;
        case 2: if (class) { state = 0; floats++; } break;
      }
    }
  }
  printf("%ld %ld %ld\n", ints, floats, others);
}
