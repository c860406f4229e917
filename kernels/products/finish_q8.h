/* finish_q8.h - the epilogue of a tile of an 8-bit product: its exact sums panel by panel through finish.h. Over lanes. */
#ifndef QK_PRODUCTS_FINISH_Q8_H
#define QK_PRODUCTS_FINISH_Q8_H
#include "kernels/products/finish.h"
#include "kernels/products/tile.h"

/* A whole panel's rows straight to codes of 8 bits, of the two activations that static recipes have most. */
QK_INLINE void qk_finish_to_codes(const qk_panel_out *o, const qk_columns *c, const uint32_t act, float by, float zero,
                                  qk_limits limits, int8_t *codes, size_t ldc, const int floats) {
  const int32_t *sums = o->sums;
  const vf b = vf_set1(by), z = vf_set1(zero);
  for (size_t r = 0; r < o->rows; r++, sums += o->ldsums, codes += ldc) {
    const vf sum = floats ? vf_load((const float *)(const void *)sums) : vi_to_vf(vi_load(sums));
    const vf y = qk_act(qk_dequant(sum, c, qk_row_of(o->a_scale[r], o->a_zero[r])), act);
    vi_store8(codes, qk_requantize(y, b, z, limits));
  }
}

/* Codes of a panel's rows of floats y, [rows, 16], whose epilogue has passed through the L1 cache: one more step for
   every activation, where codes made in registers would take a copy of the epilogue for each. n: columns left in the row. */
static __attribute__((noinline)) void qk_finish_codes(const float *y, size_t rows, float by, float zero,
                                                      qk_limits limits, int8_t *codes, size_t ldc, size_t n) {
  const vf b = vf_set1(by), z = vf_set1(zero);
  if (n < 16)
    for (; rows > 0; rows--, y += 16, codes += ldc)
      vi_store8_part(codes, qk_requantize(vf_load_part(y, n), b, z, limits), n);
  else
    for (; rows > 0; rows--, y += 16, codes += ldc) vi_store8(codes, qk_requantize(vf_load(y), b, z, limits));
}
/* The same of 16 bits, to two planes. */
static __attribute__((noinline)) void qk_finish_planes(const float *y, size_t rows, float by, float zero, int8_t *codes,
                                                       int8_t *low, size_t ldc, size_t n) {
  n = n < 16 ? n : 16;
  for (; rows > 0; rows--, y += 16, codes += ldc, low += ldc) {
    const qk_planes p = qk_planes_of(qk_code_of(qk_load_n(y, n), vf_set1(by), vf_set1(zero), QK_LIMIT_16));
    vi_store8_part(codes, p.high, n);
    vi_store8_part(low, p.low, n);
  }
}

/* Epilogue of `rows` rows from m on, `panels` panels from p on; floats: the sums are those of 16-bit inputs, a constant. */
QK_INLINE void qk_finish_tile(const qk_gemm_q8 *op, const void *sums, size_t m, size_t rows, size_t p, size_t panels,
                              const int floats) {
  float y[QK_TILE_ROWS * QK_PANEL] __attribute__((aligned(64))); /* on the way to codes */
  qk_panel_out o = {.ldsums = QK_TILE_WIDTH,
                    .a_scale = op->a.scale + m,
                    .a_zero = op->a.zero + m,
                    .out = y,
                    .ldr = op->ldr,
                    .ldo = op->codes ? QK_PANEL : op->ldo,
                    .rows = rows};
  for (size_t j = 0, count; j < panels; j += count) {
    const size_t n0 = (p + j) * QK_PANEL;
    int8_t *codes = op->codes ? op->codes + m * op->ldc + n0 : NULL;
    qk_columns c[QK_FINISH_PANELS];
    o.n = op->n - n0;
    o.sums = (const int32_t *)sums + j * QK_PANEL; /* or floats, as large */
    if (op->residual) o.residual = op->residual + m * op->ldr + n0;
    if (!codes) o.out = op->out + m * op->ldo + n0;
    count = codes || floats ? 1 : qk_finish_count(panels - j, o.n, op->act);
    for (size_t i = 0; i < count; i++) c[i] = qk_columns_of(op, n0 + i * QK_PANEL);
    if (codes && !op->low && !op->residual && o.n >= 16) {
      const float by = op->by[p + j], zero = op->zero[p + j];
      if (!floats && op->act == QK_ACT_NONE) {
        qk_finish_to_codes(&o, c, QK_ACT_NONE, by, zero, qk_limits_at(op->limits, p + j), codes, op->ldc, 0);
        continue;
      }
      if (op->act == QK_ACT_GELU_SHORT) {
        qk_finish_to_codes(&o, c, QK_ACT_GELU_SHORT, by, zero, qk_limits_at(op->limits, p + j), codes, op->ldc, floats);
        continue;
      }
    }
    if (floats)
      qk_finish_rows(&o, c, 1, op->act, 1, o.residual != NULL, 0); /* one copy for all cases */
    else
      qk_finish_act(&o, c, count, op->act, 0);
    if (!codes) continue;
    if (op->low)
      qk_finish_planes(y, rows, op->by[p + j], op->zero[p + j], codes, op->low + m * op->ldc + n0, op->ldc, o.n);
    else
      qk_finish_codes(y, rows, op->by[p + j], op->zero[p + j], qk_limits_at(op->limits, p + j), codes, op->ldc, o.n);
  }
}
static void qk_gemm_q8_finish(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                              size_t panels) {
  qk_finish_tile(op, sums, m, rows, p, panels, 0);
}
/* The same of sums that are floats. */
static __attribute__((noinline, unused)) void qk_gemm_q8_finish_floats(const qk_gemm_q8 *op, const int32_t *sums,
                                                                       size_t m, size_t rows, size_t p, size_t panels) {
  qk_finish_tile(op, sums, m, rows, p, panels, 1);
}
#endif
