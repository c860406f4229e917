/* gemm_q8.h - the 8-bit product (kernels.h: qk_gemm_q8) over the tiles of tile.h: sums into L1, then the epilogue. */
#ifndef QK_PRODUCTS_GEMM_Q8_H
#define QK_PRODUCTS_GEMM_Q8_H
#include "kernels/products/finish_q8.h"
#ifdef QK_TILE_PARTS
#include "kernels/products/gemm_any_parts.h"
#include "kernels/products/gemm_parts.h"
#endif

/* Sums of both planes of 16-bit inputs, to one in float. */
static __attribute__((noinline)) void qk_gemm_q8_finish_planes(const qk_gemm_q8 *op, int32_t *high, const int32_t *low,
                                                               size_t m, size_t rows, size_t p, size_t panels) {
  for (size_t i = 0; i < rows * QK_TILE_WIDTH; i += 16) {
    const vf sum = vf_fma(vi_to_vf(vi_load(high + i)), vf_set1(128.0f), vi_to_vf(vi_load(low + i)));
    vi_store(high + i, vi_bits(sum));
  }
  QK_FINISH_Q8(op, high, QK_TILE_WIDTH, m, rows, p, panels, 1);
}

#ifdef QK_ROW_CHAINS
/* One row: as many panels between two epilogues as sums have room for. */
static inline void qk_gemm_q8_row(const qk_gemm_q8 *op, qk_tile_q8 *t, size_t m, size_t p0, size_t p1) {
  const size_t most = QK_TILE_ROWS * QK_TILE_PANELS;
  t->a = op->a.codes + m * op->a.ld;
  t->start = op->a.start + m;
  for (size_t p = p0; p < p1; p += most) {
    const size_t panels = p1 - p < most ? p1 - p : most;
    t->w = op->w + p * t->panel_bytes;
    qk_row_run(t, panels);
    QK_FINISH_Q8(op, t->out, QK_TILE_WIDTH, m, 1, p, panels, 0);
  }
}
#endif

#ifdef QK_TILE_AHEAD
/* Where tile i of a block of panels at p begins to ask: in the next block, or where the product after this one begins; else in what
   is in the cache already. All tiles together ask for a block, a little with each step: lines on their way take room that
   the tile's own loads wait for. */
static inline const uint8_t *qk_gemm_q8_ahead(const qk_gemm_q8 *op, const qk_tile_q8 *t, size_t i, size_t p,
                                              size_t p1) {
  const uint8_t *next = p + QK_TILE_PANELS < p1 ? t->w + QK_TILE_PANELS * t->panel_bytes : op->w_next;
  return next ? next + i * t->steps * t->ahead_by : t->w;
}
#endif

/* Columns outside, rows inside: a block of panels stays in cache while all rows pass. */
static inline void qk_gemm_q8_over_tiles(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  int32_t sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  int32_t low_sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
#ifdef QK_TILE_W_SUMS
  int32_t w_sums[QK_TILE_WIDTH] = {0}; /* of a last tile that is not whole */
#endif
  const size_t tiles = (m1 - m0 + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  const size_t each = tiles ? (m1 - m0) / tiles : 0, more = tiles ? (m1 - m0) % tiles : 0;
  qk_tile_q8 t = {.out = sums,
                  .ldo = QK_TILE_WIDTH,
                  .lda = op->a.ld,
                  .panel_bytes = QK_PANEL * qk_k8(op->k),
                  .steps = qk_round_up(op->k, QK_KSTEP) / QK_KSTEP};
#ifdef QK_TILE_AHEAD
  t.ahead_by = QK_TILE_PANELS * 64 / (tiles ? tiles : 1);
#endif
#ifdef QK_TILE_PARTS
  if (op->a.parts.any) {
    qk_any_parts_run(op, m0, m1, p0, p1);
    return;
  }
#endif
#ifdef QK_ROW_CHAINS
  if (m1 - m0 == 1 && !op->a.low && !op->a.parts.count) {
    qk_gemm_q8_row(op, &t, m0, p0, p1);
    return;
  }
#endif
  for (size_t p = p0; p < p1; p += QK_TILE_PANELS) {
    const size_t panels = p1 - p < QK_TILE_PANELS ? p1 - p : QK_TILE_PANELS;
    t.w = op->w + p * t.panel_bytes;
#ifdef QK_TILE_W_SUMS
    t.w_sums = op->w_sums + p * QK_PANEL;
    if ((p + panels) * QK_PANEL > op->n) {
      memcpy(w_sums, t.w_sums, (op->n - p * QK_PANEL) * sizeof *w_sums);
      t.w_sums = w_sums;
    }
#endif
    for (size_t i = 0, m = m0; i < tiles; i++) {
      size_t rows = each + (i < more);
#ifdef QK_TILE_PARTS
      if (op->a.parts.count)
        rows = m1 - m < QK_TILE_ROWS ? m1 - m : QK_TILE_ROWS; /* as many of the largest as there can be */
#endif
      t.a = op->a.codes + m * op->a.ld;
      t.start = op->a.start + m;
#ifdef QK_TILE_AHEAD
      t.ahead = qk_gemm_q8_ahead(op, &t, i, p, p1);
#endif
#ifdef QK_TILE_PARTS
      if (op->a.parts.count) {
        qk_parts_run(op, &t, m, rows, p, panels);
        m += rows;
        continue;
      }
#endif
      qk_tile_run(&t, rows, panels);
      if (op->a.low) {
        qk_tile_q8 l = t;
        l.a = op->a.low + m * op->a.ld;
        l.start = op->a.low_start + m;
        l.out = low_sums;
        qk_tile_run(&l, rows, panels);
        qk_gemm_q8_finish_planes(op, sums, low_sums, m, rows, p, panels);
      } else {
        QK_FINISH_Q8(op, sums, QK_TILE_WIDTH, m, rows, p, panels, 0);
      }
      m += rows;
    }
  }
}
#endif
