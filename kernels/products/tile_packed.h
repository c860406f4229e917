/* tile_packed.h - tiles for instructions that want activations in an order of their own: a tile's rows are copied into it, in
 * chunks that stay in the L1 cache, and every panel reads the copy. A set gives its geometry (tile.h) and, after
 * including this, the bodies of qk_packed_rows and qk_packed_panel. */
#ifndef QK_PRODUCTS_TILE_PACKED_H
#define QK_PRODUCTS_TILE_PACKED_H
#include "kernels/products/tile.h"

#define QK_PACKED_CHANNELS 1536u /* of a chunk */

/* A panel's part of a tile. */
typedef struct qk_strip {
  const int8_t *a; /* packed */
  const uint8_t *w;
  const int32_t *start, *w_sums; /* as in qk_tile_q8, starts of QK_TILE_ROWS rows; 0 after the first chunk */
  int32_t *out;
  size_t ldo, n, rows; /* n: steps of 16 channels */
} qk_strip;

/* Copies n * 16 channels of the rows. Calls, so that instructions can be counted by name (tests/qemu). */
static __attribute__((noinline)) void qk_packed_rows(int8_t *packed, const int8_t *a, size_t lda, size_t rows,
                                                     size_t n);
/* The sums of one panel; may write one row more, so that rows come in pairs. */
static void qk_packed_panel(const qk_strip *s);

/* Chunks after the first add what they get. */
static __attribute__((noinline)) void qk_packed_more(const qk_tile_q8 *t, qk_strip s, size_t panels) {
  static const int32_t zero[16];
  int32_t start[QK_TILE_ROWS] = {0}, more[QK_TILE_ROWS * 16];
  s.start = start;
  s.w_sums = zero;
  s.out = more;
  s.ldo = 16;
  for (size_t p = 0; p < panels; p++) {
    qk_packed_panel(&s);
    for (size_t r = 0; r < s.rows; r++) {
      int32_t *out = t->out + r * t->ldo + p * 16;
      vi_store(out, vi_add(vi_load(out), vi_load(more + r * 16)));
    }
    s.w += t->panel_bytes;
  }
}

static void qk_tile_run(const qk_tile_q8 *t, size_t rows, size_t panels) {
  int8_t packed[QK_TILE_ROWS * QK_PACKED_CHANNELS] __attribute__((aligned(64)));
  int32_t start[QK_TILE_ROWS] = {0};
  const size_t n = (t->steps + 3) / 4, chunk = QK_PACKED_CHANNELS / 16;
  qk_strip s = {.a = packed, .w = t->w, .start = start, .out = t->out, .ldo = t->ldo, .rows = rows};
  s.n = n < chunk ? n : chunk;
  memcpy(start, t->start, rows * sizeof *start);
  qk_packed_rows(packed, t->a, t->lda, rows, s.n);
  for (size_t p = 0; p < panels; p++) {
#ifdef QK_TILE_W_SUMS
    s.w_sums = t->w_sums + p * 16;
#endif
    qk_packed_panel(&s);
    s.w += t->panel_bytes;
    s.out += 16;
  }
  for (size_t k = chunk; k < n; k += chunk) {
    s.n = n - k < chunk ? n - k : chunk;
    s.w = t->w + k * 256;
    qk_packed_rows(packed, t->a + k * 16, t->lda, rows, s.n);
    qk_packed_more(t, s, panels);
  }
}
#endif
