// Solves sudokus by trying: the cell with the fewest candidates first.
#include <stdio.h>
#include <string.h>
static int rows[9], columns[9], boxes[9], cells[81];
static long tried;
static int solve(void) {
  int best = -1, least = 10, bits = 0;
  for (int i = 0; i < 81; i++) {
    if (cells[i]) continue;
    int free = ~(rows[i / 9] | columns[i % 9] | boxes[i / 27 * 3 + i % 9 / 3]) & 0x1ff, n = __builtin_popcount(free);
    if (n < least) { best = i; least = n; bits = free; }
  }
  if (best < 0) return 1;
  int *row = &rows[best / 9], *column = &columns[best % 9], *box = &boxes[best / 27 * 3 + best % 9 / 3];
  for (; bits; bits &= bits - 1) {
    int bit = bits & -bits;
    tried++;
    *row |= bit; *column |= bit; *box |= bit; cells[best] = __builtin_ctz(bit) + 1;
    if (solve()) return 1;
    *row ^= bit; *column ^= bit; *box ^= bit; cells[best] = 0;
  }
  return 0;
}
int main(void) {
  static const char *puzzles[] = {
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
    "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9",
    "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3..",
  };
  int sum = 0;
  for (int k = 0; k < 60; k++) {
    memset(rows, 0, sizeof rows); memset(columns, 0, sizeof columns); memset(boxes, 0, sizeof boxes);
    for (int i = 0; i < 81; i++) {
      cells[i] = puzzles[k % 3][i] == '.' ? 0 : puzzles[k % 3][i] - '0';
      int bit = cells[i] ? 1 << (cells[i] - 1) : 0;
      rows[i / 9] |= bit; columns[i % 9] |= bit; boxes[i / 27 * 3 + i % 9 / 3] |= bit;
    }
    if (!solve()) return 1;
    for (int i = 0; i < 81; i++) sum = (sum * 31 + cells[i]) % 1000003;
  }
  printf("%d %ld\n", sum, tried);
}
