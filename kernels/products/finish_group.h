/* finish_group.h - the epilogue of products by groups, for all sets with the same lanes. */
#ifndef QK_PRODUCTS_FINISH_GROUP_H
#define QK_PRODUCTS_FINISH_GROUP_H
#include "kernels/products/finish.h"

/* Epilogue of `rows` rows from m on, `panels` panels from p on. sums: rows of ldsums. */
static inline void qk_finish_group(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows,
                                   size_t p, size_t panels) {
  static const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zeros[16]; /* rows of a tile */
  const size_t n0 = p * QK_PANEL, end = n0 + panels * QK_PANEL;
  qk_panel_out o = {.sums = sums,
                    .ldsums = ldsums,
                    .a_scale = op->a.grouped ? ones : op->a.scale + m,
                    .a_zero = op->a.grouped ? zeros : op->a.zero + m,
                    .residual = op->residual ? op->residual + m * op->ldr + n0 : NULL,
                    .out = op->out + m * op->ldo + n0,
                    .ldr = op->ldr,
                    .ldo = op->ldo,
                    .rows = rows};
  for (size_t n = n0; n < end; n += QK_PANEL) {
    const qk_columns c = qk_columns_of_group(op, n);
    o.n = op->n - n;
    qk_finish_act(&o, &c, op->act, 1);
    o.sums = (const float *)o.sums + QK_PANEL;
    if (o.residual) o.residual += QK_PANEL;
    o.out += QK_PANEL;
  }
}
#endif
