/* tiles_emulated.h - the vocabulary of kernels/amx/tiles_amx.h in plain C, so that what is written over it can be checked on
 * any machine. What the instructions refuse fails the case (guard.h). Of the kernel checker alone; single-threaded. */
#ifndef TILES_EMULATED_H
#define TILES_EMULATED_H
#include "kernels/products/amx_config.h"
#include "tests/kernels/guard.h"

static struct {
  int configured; /* between AMX_CONFIGURE and AMX_RELEASE */
  qk_amx_config shape;
  uint8_t bytes[8][16][64];
} emulated;

static void tiles_configure(const qk_amx_config *c) {
  static const uint8_t zeros[14];
  if (sizeof *c != 64 || c->palette != 1 || c->start_row || memcmp(c->reserved, zeros, sizeof zeros))
    failed("tiles: palette %d, start row %d, or reserved bytes", c->palette, c->start_row);
  for (int i = 0; i < 16; i++)
    if (c->rows[i] > (i < 8 ? 16 : 0) || c->bytes[i] > (i < 8 ? 64 : 0) || !c->rows[i] != !c->bytes[i])
      failed("tile %d: %d rows of %d bytes", i, c->rows[i], c->bytes[i]);
  emulated.shape = *c;
  emulated.configured = 1;
  memset(emulated.bytes, 0, sizeof emulated.bytes);
}
static void tiles_release(void) {
  if (!emulated.configured) failed("tiles: released twice");
  emulated.configured = 0;
}
static int tile_usable(int t) {
  return (emulated.configured && emulated.shape.rows[t]) || failed("tile %d is used before it is configured", t);
}
static void tile_load(int t, const void *p, size_t stride) {
  if (!tile_usable(t)) return;
  memset(emulated.bytes[t], 0, sizeof emulated.bytes[t]);
  for (size_t r = 0; r < emulated.shape.rows[t]; r++)
    memcpy(emulated.bytes[t][r], (const uint8_t *)p + r * stride, emulated.shape.bytes[t]);
}
static void tile_store(int t, void *p, size_t stride) {
  if (!tile_usable(t)) return;
  for (size_t r = 0; r < emulated.shape.rows[t]; r++)
    memcpy((uint8_t *)p + r * stride, emulated.bytes[t][r], emulated.shape.bytes[t]);
}
/* Rows and row bytes of what is read beyond the shape do not exist: they add nothing, and what is written there is 0. */
static void tile_dot(int sum, int a, int w) {
  if (!tile_usable(sum) || !tile_usable(a) || !tile_usable(w)) return;
  const qk_amx_config *c = &emulated.shape;
  if (sum == a || sum == w || a == w || c->rows[sum] != c->rows[a] || c->bytes[sum] != c->bytes[w] ||
      c->bytes[a] != 4 * c->rows[w] || c->bytes[sum] % 4) {
    failed("tiles %d += %d * %d: shapes that do not fit", sum, a, w);
    return;
  }
  for (int m = 0; m < c->rows[sum]; m++) {
    uint32_t acc[16] = {0};
    memcpy(acc, emulated.bytes[sum][m], c->bytes[sum]);
    for (int k = 0; k < c->rows[w]; k++)
      for (int n = 0; n < c->bytes[sum] / 4; n++)
        for (int i = 0; i < 4; i++)
          acc[n] += (uint32_t)((int8_t)emulated.bytes[a][m][4 * k + i] * (int)emulated.bytes[w][k][4 * n + i]);
    memset(emulated.bytes[sum][m], 0, 64);
    memcpy(emulated.bytes[sum][m], acc, c->bytes[sum]);
  }
}

#define AMX_CONFIGURE(config) tiles_configure(config)
#define AMX_RELEASE() tiles_release()
#define AMX_LOAD(tile, p, stride) tile_load(tile, p, stride)
#define AMX_LOAD_PASSING(tile, p, stride) tile_load(tile, p, stride)
#define AMX_STORE(tile, p, stride) tile_store(tile, p, stride)
#define AMX_DOT(sum, a, w) tile_dot(sum, a, w)
#endif
