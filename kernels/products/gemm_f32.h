/* gemm_f32.h - the float product (kernels.h: qk_gemm_f32): one fma chain per output, k ascending, in tiles of rows and panels
 * held in registers. Over lanes and the geometry of tile.h. */
#ifndef QK_PRODUCTS_GEMM_F32_H
#define QK_PRODUCTS_GEMM_F32_H
#include "kernels/products/tile.h"
#include "kernels/rows/epilogue.h"

typedef struct qk_tile_f32 {
  const float *a, *w;
  float *out;           /* [rows, QK_TILE_WIDTH] */
  size_t lda, panel, k; /* panel: floats of one */
} qk_tile_f32;

QK_INLINE void qk_tile_f32_fixed(const qk_tile_f32 *t, const int rows, const int panels) {
  vf acc[QK_TILE_ROWS][QK_TILE_PANELS];
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = vf_zero();
  const float *a = t->a, *w = t->w;
  for (size_t k = t->k; k > 0; k--, a++, w += QK_PANEL) {
    vf b[QK_TILE_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) b[p] = vf_load(w + (size_t)p * t->panel);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const vf x = vf_set1(a[(size_t)r * t->lda]);
      QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = vf_fma(x, b[p], acc[r][p]);
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      vf_store(t->out + r * QK_TILE_WIDTH + p * 16, acc[r][p]);
}

typedef void qk_tile_f32_fn(const qk_tile_f32 *t);
#define QK_TILE_F32_DEFINE(r, p)                                                                                       \
  static __attribute__((noinline)) void qk_tile_f32_##r##x##p(const qk_tile_f32 *t) { qk_tile_f32_fixed(t, r, p); }
QK_TILE_CASES(QK_TILE_F32_DEFINE)
#define QK_TILE_F32_ENTRY(r, p) [r - 1][p - 1] = qk_tile_f32_##r##x##p,
static qk_tile_f32_fn *const qk_tiles_f32[QK_TILE_ROWS][QK_TILE_PANELS] = {QK_TILE_CASES(QK_TILE_F32_ENTRY)};

static void qk_gemm_f32_finish(const qk_gemm_f32 *op, const float *sums, size_t m, size_t rows, size_t p,
                               size_t panels) {
  for (size_t j = 0; j < panels; j++) {
    const size_t n0 = (p + j) * QK_PANEL, n = op->n - n0;
    const vf bias = op->bias ? qk_load_n(op->bias + n0, n) : vf_zero();
    for (size_t r = 0; r < rows; r++)
      qk_finish(vf_add(vf_load(sums + r * QK_TILE_WIDTH + j * 16), bias), op->act,
                op->residual ? op->residual + (m + r) * op->ldr + n0 : NULL, op->out + (m + r) * op->ldo + n0, n);
  }
}

static inline void qk_gemm_f32_over_tiles(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  float sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  const size_t tiles = (m1 - m0 + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  qk_tile_f32 t = {.out = sums, .lda = op->lda, .panel = (size_t)QK_PANEL * op->k, .k = op->k};
  for (size_t p = p0; p < p1; p += QK_TILE_PANELS) {
    const size_t panels = p1 - p < QK_TILE_PANELS ? p1 - p : QK_TILE_PANELS;
    t.w = op->w + p * t.panel;
    for (size_t i = 0, m = m0; i < tiles; i++) {
      const size_t rows = qk_tile_share(m1 - m0, tiles, i);
      t.a = op->a + m * op->lda;
      qk_tiles_f32[rows - 1][panels - 1](&t);
      qk_gemm_f32_finish(op, sums, m, rows, p, panels);
      m += rows;
    }
  }
}
#endif
