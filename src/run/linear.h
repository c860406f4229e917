/* linear.h - a linear operator of the model through its kernel, whatever its weights are stored as. */
#ifndef QN_LINEAR_RUN_H
#define QN_LINEAR_RUN_H
#include "kernels/kernels.h"
#include "model/model.h"

/* Codes in the memory of q as the operator's input: rows of its k, quantized and grouped as it says. */
static inline qk_codes qn_input_codes(qk_codes q, const qn_linear *l) {
  const int by_weights = l->group && !l->steps; /* the weights' groups are summed by themselves */
  q.ld = qk_k8(l->k);
  q.group = l->in.group ? l->in.group : l->group;
  q.grouped = l->in.group != 0;
  if (!q.grouped && !by_weights) q.group_start = NULL;
  q.symmetric = l->in.symmetric;
  q.bits = l->in.bits;
  q.clip = l->in.clip;
  q.given_scale = l->in.scale;
  q.given_zero = l->in.zero;
  return q;
}

/* Rows r0 ... r1 - 1 of floats as codes of the operator's input, through its transform where it has one. scratch: [64] of the calling
   thread, qk_transform_scratch(k) bytes where there is a transform. Returns how many have NaN or infinity. */
size_t qn_input_rows(const qk_table *k, const qn_linear *l, const float *x, size_t ldx, const qk_codes *q,
                     void *scratch, size_t r0, size_t r1);

/* One product: x its float input [rows, k], q the codes of it (qn_input_codes; unused in a float model). */
typedef struct qn_product {
  const qn_linear *linear;
  const qn_linear *next; /* whose product follows, or NULL: its memory is asked for */
  uint32_t site;         /* QN_SITE_* of its input; QN_SITE_KINDS: not shown to observers */
  const float *x;
  size_t ldx; /* of x; 0: the operator's k */
  qk_codes q;
  const float *residual; /* laid out as out; NULL: none */
  float *out;
  size_t ldo;
  uint32_t act; /* QK_ACT_* */
} qn_product;

/* What is the operator's in a product of 8 bits that ends before panel p1: input and output are the caller's to fill in. */
qk_gemm_q8 qn_linear_gemm_q8(const qn_linear *l, const qn_linear *next, size_t p1);
/* Rows r0 ... r1 - 1, output panels p0 ... p1 - 1. */
void qn_product_run(const qk_table *k, const qn_product *p, size_t r0, size_t r1, size_t p0, size_t p1);
#endif
