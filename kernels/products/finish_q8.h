/* finish_q8.h - the epilogue of a tile of an 8-bit product: its exact sums panel by panel through finish.h. Over lanes. */
#ifndef QK_PRODUCTS_FINISH_Q8_H
#define QK_PRODUCTS_FINISH_Q8_H
#include "kernels/products/finish.h"
#include "kernels/products/tile.h"

/* Epilogue of `rows` rows from m on, `panels` panels from p on. */
static void qk_gemm_q8_finish(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                              size_t panels) {
  for (size_t j = 0; j < panels; j++) {
    const size_t n0 = (p + j) * QK_PANEL, n = op->n - n0;
    const qk_panel_out o = {.sums = sums + j * 16,
                            .ldsums = QK_TILE_WIDTH,
                            .a_scale = op->a.scale + m,
                            .a_zero = op->a.zero + m,
                            .residual = op->residual ? op->residual + m * op->ldr + n0 : NULL,
                            .out = op->out + m * op->ldo + n0,
                            .ldr = op->ldr,
                            .ldo = op->ldo,
                            .rows = rows,
                            .n = n};
    const qk_columns c = qk_columns_of(op, n0);
    qk_finish_act(&o, &c, op->act, 0);
  }
}
#endif
