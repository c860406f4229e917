/* finish.h - the epilogue of a tile's panels: sums from the L1 cache to the output, in kernels.h' order. Over lanes. */
#ifndef QK_PRODUCTS_FINISH_H
#define QK_PRODUCTS_FINISH_H
#include "kernels/rows/epilogue.h"

/* Whole panels that a pass over the rows takes at once, where there are registers for their columns: a row's scale and zero and all
   addresses then serve several. */
#ifndef QK_FINISH_PANELS
#define QK_FINISH_PANELS 1
#endif

/* Where some panels' epilogue reads and writes: each at the first row and the first panel's first column. */
typedef struct qk_panel_out {
  const void *sums; /* rows of ldsums: int32, or floats of products by groups */
  size_t ldsums;
  const float *a_scale, *a_zero, *residual;
  float *out;
  size_t ldr, ldo, rows, n; /* n: columns left in the row */
} qk_panel_out;

/* How many panels are next where `panels` are left, n columns of them real. */
static inline size_t qk_finish_count(size_t panels, size_t n, uint32_t act) {
  const int usual = act == QK_ACT_NONE || act == QK_ACT_GELU_SHORT;
  return usual && panels >= QK_FINISH_PANELS && n >= QK_FINISH_PANELS * QK_PANEL ? QK_FINISH_PANELS : 1;
}

/* panels, act, whether sums are floats, and whether there is a residual and whole panels, are constants: a row is then a handful
   of instructions. c: of each panel. */
QK_INLINE void qk_finish_rows(const qk_panel_out *o, const qk_columns *c, const int panels, const uint32_t act,
                              const int floats, const int add, const int whole) {
  const char *sums = o->sums;
  const size_t ldsums = o->ldsums * 4;
  const float *a_scale = o->a_scale, *a_zero = o->a_zero, *residual = o->residual;
  float *out = o->out;
  const size_t ldr = o->ldr, ldo = o->ldo, n = whole ? 16 : o->n;
  for (size_t r = o->rows; r > 0; r--) {
    const qk_row row = qk_row_of(*a_scale++, *a_zero++);
    QK_UNROLL for (int p = 0; p < panels; p++) {
      const void *at = sums + p * 64;
      const vf acc = floats ? vf_load(at) : vi_to_vf(vi_load(at));
      qk_finish(qk_dequant(acc, c + p, row), act, add ? residual + p * 16 : NULL, out + p * 16, n);
    }
    sums += ldsums;
    out += ldo;
    if (add) residual += ldr;
  }
}
QK_INLINE void qk_finish_panels(const qk_panel_out *o, const qk_columns *c, const int panels, const uint32_t act,
                                const int floats) {
  if (panels == 1 && o->n < 16)
    qk_finish_rows(o, c, 1, act, floats, o->residual != NULL, 0);
  else if (o->residual)
    qk_finish_rows(o, c, panels, act, floats, 1, 1);
  else
    qk_finish_rows(o, c, panels, act, floats, 0, 1);
}
/* The usual activations as constants. panels: of qk_finish_count; where they come in numbers, a single one is a rest. */
QK_INLINE void qk_finish_act(const qk_panel_out *o, const qk_columns *c, size_t panels, uint32_t act,
                             const int floats) {
  if (panels < QK_FINISH_PANELS)
    qk_finish_panels(o, c, 1, act, floats);
  else if (act == QK_ACT_NONE)
    qk_finish_panels(o, c, QK_FINISH_PANELS, QK_ACT_NONE, floats);
  else if (act == QK_ACT_GELU_SHORT)
    qk_finish_panels(o, c, QK_FINISH_PANELS, QK_ACT_GELU_SHORT, floats);
  else
    qk_finish_panels(o, c, 1, act, floats);
}
#endif
