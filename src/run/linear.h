/* linear.h - a linear operator of the model through its kernel, whatever its weights are stored as. */
#ifndef QN_LINEAR_RUN_H
#define QN_LINEAR_RUN_H
#include "kernels/kernels.h"
#include "model/model.h"

/* One product: x its float input [rows, k], q the codes of it (int8; unused in a float model). */
typedef struct qn_product {
  const qn_linear *linear;
  uint32_t input; /* QN_INPUT_*, or QN_INPUT_KINDS where nobody observes */
  const float *x;
  qk_codes q;
  const float *residual; /* laid out as out; NULL: none */
  float *out;
  size_t ldo;
  uint32_t act; /* QK_ACT_* */
} qn_product;

/* Rows r0 ... r1 - 1, output panels p0 ... p1 - 1. */
void qn_product_run(const qk_table *k, const qn_product *p, size_t r0, size_t r1, size_t p0, size_t p1);
#endif
