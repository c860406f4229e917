/* tile_packed.h - tiles for instructions that want activations in an order of their own: a tile's rows are copied into it, in
 * chunks that stay in the L1 cache, and every panel reads the copy. A set gives its geometry (tile.h) and, after
 * including this, the bodies of qk_packed_rows and qk_packed_panel. */
#ifndef QK_PRODUCTS_TILE_PACKED_H
#define QK_PRODUCTS_TILE_PACKED_H
#include "kernels/products/tile.h"

#define QK_PACKED_CHANNELS 1024u /* of a chunk */

/* A panel's part of a tile. */
typedef struct qk_strip {
  const int8_t *a;
  const uint8_t *w;
  const int32_t *start, *w_sums; /* as in qk_tile_q8; for the whole of K, and so for the first chunk only */
  int32_t *out;
  size_t ldo, n, rows; /* n: steps of 16 channels */
  int add;             /* to what stands in out: not the first chunk */
} qk_strip;

/* Copies n * 16 channels of the rows. */
static void qk_packed_rows(int8_t *packed, const int8_t *a, size_t lda, size_t rows, size_t n);
/* The sums of one panel. */
static void qk_packed_panel(const qk_strip *s);

static void qk_tile_run(const qk_tile_q8 *t, size_t rows, size_t panels) {
  int8_t packed[QK_TILE_ROWS * QK_PACKED_CHANNELS] __attribute__((aligned(64)));
  const size_t n = (t->steps + 3) / 4;
  for (size_t k = 0; k < n; k += QK_PACKED_CHANNELS / 16) {
    qk_strip s = {.a = packed,
                  .start = t->start,
                  .out = t->out,
                  .ldo = t->ldo,
                  .n = n - k < QK_PACKED_CHANNELS / 16 ? n - k : QK_PACKED_CHANNELS / 16,
                  .rows = rows,
                  .add = k > 0};
    qk_packed_rows(packed, t->a + k * 16, t->lda, rows, s.n);
    for (size_t p = 0; p < panels; p++) {
      s.w = t->w + p * t->panel_bytes + k * 256;
#ifdef QK_TILE_W_SUMS
      s.w_sums = t->w_sums + p * 16;
#endif
      qk_packed_panel(&s);
      s.out += 16;
    }
  }
}
#endif
