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

/* y = act(y) (+ residual); out, residual: of this row, at the panel's first column; n: columns left in the row, >= 1.
 */
static inline void qk_finish(vf y, uint32_t act, const float *residual, float *out, size_t n) {
  y = qk_act(y, act);
  if (residual) y = vf_add(y, qk_load_n(residual, n));
  qk_store_n(out, y, n);
}
/* w_scale, bias (NULL: 0): at the panel's first column. */
static inline vf qk_dequant(vi acc, const float *w_scale, float a_scale, const float *bias, size_t n) {
  vf y = vf_mul(vi_to_vf(acc), qk_load_n(w_scale, n));
  return vf_fma(y, vf_set1(a_scale), bias ? qk_load_n(bias, n) : vf_zero());
}
#endif
