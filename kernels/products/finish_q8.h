/* finish_q8.h - the epilogue of a tile of an 8-bit product: its exact sums panel by panel through finish.h. Over lanes; QK_FINISH_Q8
 * is this one, or a set names there that of another set with the same lanes. */
#ifndef QK_PRODUCTS_FINISH_Q8_H
#define QK_PRODUCTS_FINISH_Q8_H
#include "kernels/products/finish.h"
#include "kernels/products/tile.h"

#define QK_FINISH_ROWS 32u /* of the largest tile of a set */

/* Whole panels' rows straight to codes of 8 bits, of the two activations that static recipes have most: QK_CODES_PANELS at once,
   four where registers hold as many, whose codes are 64 bytes. p: the first panel; act, floats: constants. */
#define QK_CODES_PANELS (QK_FINISH_PANELS == 4 ? 4 : 1)
QK_INLINE void qk_finish_to_codes(const qk_gemm_q8 *op, const qk_panel_out *o, const qk_columns *c, const uint32_t act,
                                  size_t p, int8_t *codes, const int floats) {
  const char *sums = o->sums;
  const float *by = op->by + p, *zero = op->zero + p;
  const qk_limits limits = qk_limits_at(op->limits, p);
  const vl held = vl_of(limits.lowest, limits.highest);
  for (size_t r = 0; r < o->rows; r++, sums += o->ldsums * 4, codes += op->ldc) {
    const qk_row row = qk_row_of(o->a_scale[r], o->a_zero[r]);
    vf y[4];
    QK_UNROLL for (int i = 0; i < QK_CODES_PANELS; i++) {
      const void *at = sums + i * 64;
      const vf sum = floats ? vf_load(at) : vi_to_vf(vi_load(at));
      y[i] = vf_held(vf_fma(qk_act(qk_dequant(sum, c + i, row), act), vf_set1(by[i]), vf_set1(zero[i])));
    }
    if (QK_CODES_PANELS == 4)
      vi_store((int32_t *)(void *)codes, vi_codes_row(y[0], y[1], y[2], y[3], held));
    else
      vi_store8(codes, vf_to_vi(vf_min(vf_max(y[0], vf_set1(limits.lowest)), vf_set1(limits.highest))));
  }
}
/* Whether panels from p on, of `panels` and n columns that are left, go that way. Sums that are floats do with the short GELU
   alone: a copy of the epilogue for each is much code, and without an activation such products are few. */
static inline int qk_straight_to_codes(const qk_gemm_q8 *op, size_t p, size_t panels, size_t n, const int floats) {
  if (!op->codes || op->low || op->residual || op->by_column || panels < QK_CODES_PANELS ||
      n < QK_CODES_PANELS * QK_PANEL)
    return 0;
  for (size_t i = 1; op->limits && i < QK_CODES_PANELS; i++)
    if (memcmp(op->limits + p, op->limits + p + i, sizeof *op->limits)) return 0;
  return op->act == QK_ACT_GELU_SHORT || (op->act == QK_ACT_NONE && !floats);
}

/* Codes of a panel's rows of floats y, [rows, 16], whose epilogue has passed through the L1 cache: one more step for
   every activation, where codes made in registers would take a copy of the epilogue for each. p: the panel; n: columns left in the
   row. */
static __attribute__((noinline)) void qk_finish_codes(const qk_gemm_q8 *op, const float *y, size_t rows, size_t p,
                                                      int8_t *codes, size_t n) {
  const vf b = qk_site_at(op->by, op->by_column, p * QK_PANEL), z = qk_site_at(op->zero, op->by_column, p * QK_PANEL);
  const qk_limits limits = qk_limits_at(op->limits, p);
  const size_t ldc = op->ldc;
  if (n < 16)
    for (; rows > 0; rows--, y += 16, codes += ldc)
      vi_store8_part(codes, qk_requantize(vf_load_part(y, n), b, z, limits), n);
  else
    for (; rows > 0; rows--, y += 16, codes += ldc) vi_store8(codes, qk_requantize(vf_load(y), b, z, limits));
}
/* The same of 16 bits, to two planes. */
static __attribute__((noinline)) void qk_finish_planes(const qk_gemm_q8 *op, const float *y, size_t rows, size_t p,
                                                       int8_t *codes, int8_t *low, size_t n) {
  const vf b = qk_site_at(op->by, op->by_column, p * QK_PANEL), z = qk_site_at(op->zero, op->by_column, p * QK_PANEL);
  for (; rows > 0; rows--, y += 16, codes += op->ldc, low += op->ldc)
    qk_store_codes(codes, low, qk_load_n(y, n), b, z, qk_limits_at(NULL, 0), n);
}

/* floats, a constant: the sums are floats, as those of inputs of 16 bits and of parts that no shifts join are. */
QK_INLINE void qk_finish_tile(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                              size_t panels, const int floats) {
  float y[QK_FINISH_ROWS * QK_PANEL] __attribute__((aligned(64))); /* on the way to codes */
  qk_panel_out o = {.ldsums = ldsums,
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
    const int straight = qk_straight_to_codes(op, p + j, panels - j, o.n, floats);
    count = straight ? QK_CODES_PANELS : codes || floats ? 1 : qk_finish_count(panels - j, o.n, op->act);
    for (size_t i = 0; i < count; i++) c[i] = qk_columns_of(op, n0 + i * QK_PANEL);
    if (straight) {
      if (floats || op->act == QK_ACT_GELU_SHORT)
        qk_finish_to_codes(op, &o, c, QK_ACT_GELU_SHORT, p + j, codes, floats);
      else
        qk_finish_to_codes(op, &o, c, QK_ACT_NONE, p + j, codes, floats);
      continue;
    }
    if (floats)
      qk_finish_rows(&o, c, 1, op->act, 1, o.residual != NULL, 0); /* one copy for all cases */
    else
      qk_finish_act(&o, c, count, op->act, 0);
    if (!codes) continue;
    if (op->low)
      qk_finish_planes(op, y, rows, p + j, codes, op->low + m * op->ldc + n0, o.n);
    else
      qk_finish_codes(op, y, rows, p + j, codes, o.n);
  }
}
/* Epilogue of `rows` rows from m on, `panels` panels from p on. sums: rows of ldsums, int32 or, with `floats`, floats. */
static inline void qk_finish_q8(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                                size_t panels, int floats) {
  if (floats)
    qk_finish_tile(op, sums, ldsums, m, rows, p, panels, 1);
  else
    qk_finish_tile(op, sums, ldsums, m, rows, p, panels, 0);
}
#ifndef QK_FINISH_Q8
#define QK_FINISH_Q8 qk_finish_q8
#endif
#endif
