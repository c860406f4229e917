/* finish.h - the epilogue of a tile's panel: sums from the L1 cache to the output, in kernels.h' order. Over lanes. */
#ifndef QK_PRODUCTS_FINISH_H
#define QK_PRODUCTS_FINISH_H
#include "kernels/rows/epilogue.h"

/* Where a panel's epilogue reads and writes: each at the first row and the panel's first column. */
typedef struct qk_panel_out {
  const void *sums; /* rows of ldsums: int32, or floats of products by groups */
  size_t ldsums;
  const float *a_scale, *a_zero, *residual;
  float *out;
  size_t ldr, ldo, rows, n; /* n: columns left in the row */
} qk_panel_out;

/* act, whether sums are floats, and whether there is a residual and a whole panel, are constants: a row is then a handful of instructions. */
QK_INLINE void qk_finish_rows(const qk_panel_out *o, const qk_columns *c, const uint32_t act, const int floats,
                              const int add, const int whole) {
  const char *sums = o->sums;
  const size_t ldsums = o->ldsums * 4;
  const float *a_scale = o->a_scale, *a_zero = o->a_zero, *residual = o->residual;
  float *out = o->out;
  const size_t ldr = o->ldr, ldo = o->ldo, n = whole ? 16 : o->n;
  for (size_t r = o->rows; r > 0; r--) {
    const vf y = floats ? qk_dequant_sums(vf_load((const float *)(const void *)sums), c, *a_scale, *a_zero)
                        : qk_dequant(vi_load((const int32_t *)(const void *)sums), c, *a_scale, *a_zero);
    qk_finish(y, act, add ? residual : NULL, out, n);
    sums += ldsums;
    a_scale++;
    a_zero++;
    out += ldo;
    if (add) residual += ldr;
  }
}
QK_INLINE void qk_finish_panel(const qk_panel_out *o, const qk_columns *c, const uint32_t act, const int floats) {
  if (o->n < 16)
    qk_finish_rows(o, c, act, floats, o->residual != NULL, 0);
  else if (o->residual)
    qk_finish_rows(o, c, act, floats, 1, 1);
  else
    qk_finish_rows(o, c, act, floats, 0, 1);
}
/* The usual activations as constants. */
QK_INLINE void qk_finish_act(const qk_panel_out *o, const qk_columns *c, uint32_t act, const int floats) {
  if (act == QK_ACT_NONE)
    qk_finish_panel(o, c, QK_ACT_NONE, floats);
  else if (act == QK_ACT_GELU_SHORT)
    qk_finish_panel(o, c, QK_ACT_GELU_SHORT, floats);
  else
    qk_finish_panel(o, c, act, floats);
}
#endif
