/* epilogue.h - what follows a product's sum, 16 columns of one row at a time, in kernels.h' order. Over lanes. */
#ifndef QK_ROWS_EPILOGUE_H
#define QK_ROWS_EPILOGUE_H
#include "kernels/rows/math.h"

/* The first n lanes of p; n >= 16: all. Lanes past n are 0 and are not read. */
static inline vf qk_load_n(const float *p, size_t n) { return n >= 16 ? vf_load(p) : vf_load_part(p, n); }
static inline void qk_store_n(float *p, vf x, size_t n) {
  if (n >= 16)
    vf_store(p, x);
  else
    vf_store_part(p, x, n);
}
/* Lanes in -128 ... 127 as bytes. */
static inline void qk_store8_n(int8_t *p, vi x, size_t n) {
  if (n >= 16)
    vi_store8(p, x);
  else
    vi_store8_part(p, x, n);
}

/* y = act(y) (+ residual); out, residual: of this row, at the panel's first column; n: columns left in the row, >= 1.
 */
static inline void qk_finish(vf y, uint32_t act, const float *residual, float *out, size_t n) {
  y = qk_act(y, act);
  if (residual) y = vf_add(y, qk_load_n(residual, n));
  qk_store_n(out, y, n);
}
/* Limits p of a list; NULL: those of 8 bits. */
QK_INLINE qk_limits qk_limits_at(const qk_limits *limits, size_t p) {
  return limits ? limits[p] : (qk_limits){-127.0f, 127.0f};
}
/* Of columns i ... i + 15, a multiple of 16, what they have in an array of sites by panels or by columns. */
QK_INLINE vf qk_site_at(const float *v, uint32_t by_column, size_t i) {
  return by_column ? vf_load(v + i) : vf_set1(v[i / 16]);
}
/* Codes of y; by: 1 / their scale. NaN gives the lowest. */
QK_INLINE vi qk_requantize(vf y, vf by, vf zero, qk_limits l) {
  return vf_to_vi(vf_min(vf_max(vf_fma(y, by, zero), vf_set1(l.lowest)), vf_set1(l.highest)));
}
/* A code of either number of bits, up to its limit on both sides, as an integral float. NaN gives the lowest. */
#define QK_LIMIT_16 16383.0f
QK_INLINE vf qk_code_of(vf y, vf by, vf zero, float limit) {
  return vf_rint(vf_min(vf_max(vf_fma(y, by, zero), vf_set1(-limit)), vf_set1(limit)));
}
/* Codes of 16 bits as two planes of bytes (kernels.h). */
typedef struct qk_planes {
  vi high, low;
} qk_planes;
QK_INLINE qk_planes qk_planes_of(vf code) {
  const vi m = vf_to_vi(vf_abs(code)), h = vi_shr(m, 7), l = vi_and(m, vi_set1(127));
  const vi sign = vi_bits(vf_select_lt(code, vf_zero(), vf_from_bits(vi_set1(-1)), vf_zero()));
  return (qk_planes){vi_sub(vi_xor(h, sign), sign), vi_sub(vi_xor(l, sign), sign)};
}
/* The first n codes of y, 16 where there are more: of 8 bits within limits or, with low not NULL, of 16, whose low plane goes
   there. */
QK_INLINE void qk_store_codes(int8_t *codes, int8_t *low, vf y, vf by, vf zero, qk_limits limits, size_t n) {
  if (low) {
    const qk_planes p = qk_planes_of(qk_code_of(y, by, zero, QK_LIMIT_16));
    qk_store8_n(codes, p.high, n);
    qk_store8_n(low, p.low, n);
  } else {
    qk_store8_n(codes, qk_requantize(y, by, zero, limits), n);
  }
}
/* What dequantization takes from a panel: the weights' scales, their sums with the sign changed, so that no row has to change
   that of its zero point, and the bias. */
typedef struct qk_columns {
  vf scale, less, bias;
} qk_columns;
QK_INLINE qk_columns qk_columns_of(const qk_gemm_q8 *op, size_t n0) {
  const size_t n = op->n - n0;
  const float *bias = op->bias ? op->bias + n0 : NULL;
  if (op->a.parts.count)
    return (qk_columns){qk_load_n(op->w_scale + n0, n), vf_neg(qk_load_n(op->part_sums + n0, n)),
                        bias ? qk_load_n(bias, n) : vf_zero()};
  if (n >= 16)
    return (qk_columns){vf_load(op->w_scale + n0), vf_neg(vi_to_vf(vi_load(op->w_sums + n0))),
                        bias ? vf_load(bias) : vf_zero()};
  int32_t sums[16] = {0};
  memcpy(sums, op->w_sums + n0, n * sizeof *sums);
  return (qk_columns){vf_load_part(op->w_scale + n0, n), vf_neg(vi_to_vf(vi_load(sums))),
                      bias ? vf_load_part(bias, n) : vf_zero()};
}
/* Of products by groups: where activations have scales by group, all but the bias is in the sum. */
QK_INLINE qk_columns qk_columns_of_group(const qk_gemm_group *op, size_t n0) {
  const size_t n = op->n - n0;
  qk_columns c = {vf_set1(1.0f), vf_zero(), op->bias ? qk_load_n(op->bias + n0, n) : vf_zero()};
  if (op->a.grouped) return c;
  if (!op->steps) {
    c.less = vf_neg(qk_load_n(op->w_sums + n0, n));
    return c;
  }
  int32_t sums[16] = {0};
  memcpy(sums, op->code_sums + n0, (n < 16 ? n : 16) * sizeof *sums);
  c.scale = qk_load_n(op->scale + n0, n);
  c.less = vf_neg(vi_to_vf(vi_load(sums)));
  return c;
}
/* Of a row. */
typedef struct qk_row {
  vf scale, zero;
} qk_row;
QK_INLINE qk_row qk_row_of(float scale, float zero) { return (qk_row){vf_set1(scale), vf_set1(zero)}; }
QK_INLINE vf qk_dequant(vf acc, const qk_columns *c, qk_row r) {
  return vf_fma(vf_mul(vf_fma(r.zero, c->less, acc), c->scale), r.scale, c->bias);
}
#endif
