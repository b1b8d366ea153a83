// Filters of a grey image by vectors of 16 pixels: a blur of 3 by 3, and the edges.
#pragma clang attribute push(__attribute__((target("simd128"))), apply_to = function)
#include <stdio.h>
#include <stdint.h>
#include <wasm_simd128.h>
enum { W = 1024, H = 768 };
static uint8_t a[H][W], b[H][W];
static v128_t at(const uint8_t *p) { return wasm_v128_load(p); }
static v128_t middle(v128_t x, v128_t y) { return wasm_u8x16_avgr(x, y); }
static v128_t smooth(const uint8_t *p) { return middle(middle(at(p - 1), at(p + 1)), at(p)); }
static void blur(void) {
  for (int y = 1; y < H - 1; y++)
    for (int x = 16; x < W - 16; x += 16)
      wasm_v128_store(&b[y][x], middle(middle(smooth(&a[y - 1][x]), smooth(&a[y + 1][x])), smooth(&a[y][x])));
}
static void edges(void) {
  for (int y = 1; y < H - 1; y++)
    for (int x = 16; x < W - 16; x += 16) {
      v128_t h = wasm_v128_or(wasm_u8x16_sub_sat(at(&b[y][x - 1]), at(&b[y][x + 1])),
                              wasm_u8x16_sub_sat(at(&b[y][x + 1]), at(&b[y][x - 1])));
      v128_t v = wasm_v128_or(wasm_u8x16_sub_sat(at(&b[y - 1][x]), at(&b[y + 1][x])),
                              wasm_u8x16_sub_sat(at(&b[y + 1][x]), at(&b[y - 1][x])));
      wasm_v128_store(&a[y][x], wasm_u8x16_add_sat(at(&a[y][x]), wasm_u8x16_max(h, v)));
    }
}
int main(void) {
  uint32_t x = 3, sum = 0;
  for (int round = 0; round < 700; round++) {
    for (int i = 0; i < 1000; i++) { x = x * 1103515245 + 12345; a[(x >> 8) % H][(x >> 18) % W] = x >> 24; }
    blur();
    edges();
    sum = sum * 31 + a[round][round] + b[round][W - 100 - round];
  }
  printf("%u\n", sum);
}
#pragma clang attribute pop
