/* gemm_q8.h - the 8-bit product (kernels.h: qk_gemm_q8) over the tiles of tile_q8.h: sums into L1, then the epilogue. */
#ifndef QK_PRODUCTS_GEMM_Q8_H
#define QK_PRODUCTS_GEMM_Q8_H
#include "kernels/products/tile_q8.h"
#include "kernels/rows/epilogue.h"

/* Epilogue of rows m ... m + rows - 1, columns n0 ... of `panels` panels; act is a constant. */
QK_INLINE void qk_gemm_q8_finish_act(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                                     size_t panels, const uint32_t act) {
  for (size_t j = 0; j < panels; j++) {
    const size_t n0 = (p + j) * QK_PANEL, n = op->n - n0;
    const vf scale = qk_load_n(op->w_scale + n0, n), bias = op->bias ? qk_load_n(op->bias + n0, n) : vf_zero();
    for (size_t r = 0; r < rows; r++) {
      const vf x = vf_mul(vi_to_vf(vi_load(sums + r * QK_TILE_WIDTH + j * 16)), scale);
      const vf y = vf_fma(x, vf_set1(op->a.scale[m + r]), bias);
      qk_finish(y, act, op->residual ? op->residual + (m + r) * op->ldr + n0 : NULL, op->out + (m + r) * op->ldo + n0,
                n);
    }
  }
}

static void qk_gemm_q8_finish(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                              size_t panels) {
  switch (op->act) {
    case QK_ACT_NONE:
      qk_gemm_q8_finish_act(op, sums, m, rows, p, panels, QK_ACT_NONE);
      break;
    case QK_ACT_GELU:
      qk_gemm_q8_finish_act(op, sums, m, rows, p, panels, QK_ACT_GELU);
      break;
    default:
      qk_gemm_q8_finish_act(op, sums, m, rows, p, panels, op->act);
  }
}

/* Columns outside, rows inside: a block of panels stays in cache while all rows pass. */
static inline void qk_gemm_q8_over_tiles(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  int32_t sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  const size_t tiles = (m1 - m0 + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  qk_tile_q8 t = {.out = sums,
                  .ldo = QK_TILE_WIDTH,
                  .lda = op->a.ld,
                  .panel_bytes = QK_PANEL * qk_k8(op->k),
                  .steps = qk_round_up(op->k, QK_KSTEP) / QK_KSTEP};
  for (size_t p = p0; p < p1; p += QK_TILE_PANELS) {
    const size_t panels = p1 - p < QK_TILE_PANELS ? p1 - p : QK_TILE_PANELS;
    t.w = op->w + p * t.panel_bytes;
    for (size_t i = 0, m = m0; i < tiles; i++) {
      const size_t rows = qk_tile_share(m1 - m0, tiles, i);
      t.a = op->a.codes + m * op->a.ld;
      t.start = op->a.start + m;
      qk_tile_run(&t, rows, panels);
      qk_gemm_q8_finish(op, sums, m, rows, p, panels);
      m += rows;
    }
  }
}
#endif
