/* finish_group.h - the epilogue of products by groups, for all sets with the same lanes. */
#ifndef QK_PRODUCTS_FINISH_GROUP_H
#define QK_PRODUCTS_FINISH_GROUP_H
#include "kernels/products/finish.h"

/* Epilogue of `rows` rows from m on, `panels` panels from p on. sums: rows of ldsums. */
static inline void qk_finish_group(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows,
                                   size_t p, size_t panels) {
  static const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zeros[16]; /* rows of a tile */
  qk_panel_out o = {.sums = sums,
                    .ldsums = ldsums,
                    .a_scale = op->a.grouped ? ones : op->a.scale + m,
                    .a_zero = op->a.grouped ? zeros : op->a.zero + m,
                    .residual = op->residual ? op->residual + m * op->ldr + p * QK_PANEL : NULL,
                    .out = op->out + m * op->ldo + p * QK_PANEL,
                    .ldr = op->ldr,
                    .ldo = op->ldo,
                    .rows = rows};
  for (size_t j = 0, count; j < panels; j += count) {
    const size_t n0 = (p + j) * QK_PANEL;
    qk_columns c[QK_FINISH_PANELS];
    o.n = op->n - n0;
    count = qk_finish_count(panels - j, o.n, op->act);
    for (size_t i = 0; i < count; i++) c[i] = qk_columns_of_group(op, n0 + i * QK_PANEL);
    qk_finish_act(&o, c, count, op->act, 1);
    o.sums = (const float *)o.sums + count * QK_PANEL;
    if (o.residual) o.residual += count * QK_PANEL;
    o.out += count * QK_PANEL;
  }
}
#endif
