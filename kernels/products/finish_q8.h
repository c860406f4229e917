/* finish_q8.h - the epilogue of a tile of an 8-bit product: its exact sums panel by panel through finish.h. Over lanes. */
#ifndef QK_PRODUCTS_FINISH_Q8_H
#define QK_PRODUCTS_FINISH_Q8_H
#include "kernels/products/finish.h"
#include "kernels/products/tile.h"

/* Codes of a panel's rows of floats y, [rows, 16], whose epilogue has passed through the L1 cache: one more step for
   every activation, where codes made in registers would take a copy of the epilogue for each. n: columns left in the row. */
static __attribute__((noinline)) void qk_finish_codes(const float *y, size_t rows, float by, float zero, int8_t *codes,
                                                      size_t ldc, size_t n) {
  const vf b = vf_set1(by), z = vf_set1(zero);
  if (n < 16)
    for (; rows > 0; rows--, y += 16, codes += ldc) vi_store8_part(codes, qk_requantize(vf_load_part(y, n), b, z), n);
  else
    for (; rows > 0; rows--, y += 16, codes += ldc) vi_store8(codes, qk_requantize(vf_load(y), b, z));
}

/* Epilogue of `rows` rows from m on, `panels` panels from p on. */
static void qk_gemm_q8_finish(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                              size_t panels) {
  float y[QK_TILE_ROWS * QK_PANEL] __attribute__((aligned(64))); /* on the way to codes */
  const size_t n0 = p * QK_PANEL, end = n0 + panels * QK_PANEL;
  qk_panel_out o = {.sums = sums,
                    .ldsums = QK_TILE_WIDTH,
                    .a_scale = op->a.scale + m,
                    .a_zero = op->a.zero + m,
                    .residual = op->residual ? op->residual + m * op->ldr + n0 : NULL,
                    .out = op->codes ? y : op->out + m * op->ldo + n0,
                    .ldr = op->ldr,
                    .ldo = op->codes ? QK_PANEL : op->ldo,
                    .rows = rows};
  for (size_t n = n0; n < end; n += QK_PANEL) {
    const qk_columns c = qk_columns_of(op, n);
    o.n = op->n - n;
    qk_finish_act(&o, &c, op->act, 0);
    o.sums = (const int32_t *)o.sums + QK_PANEL;
    if (o.residual) o.residual += QK_PANEL;
    if (op->codes)
      qk_finish_codes(y, rows, op->by[n / QK_PANEL], op->zero[n / QK_PANEL], op->codes + m * op->ldc + n, op->ldc, o.n);
    else
      o.out += QK_PANEL;
  }
}
#endif
