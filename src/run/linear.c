/* linear.c - linear operators to kernels (linear.h). Stateless; any thread. */
#include "run/linear.h"

/* What a call that ends before panel p1 is followed by: more of the same weights, where they are shared by columns, or the next
   product's. */
static const uint8_t *weights_behind(const qn_linear *l, const qn_linear *next, size_t p1) {
  if (p1 < qk_panels(l->n)) return (const uint8_t *)l->weight + p1 * QK_PANEL * qk_k8(l->k);
  return next ? next->weight : NULL;
}

qk_gemm_q8 qn_linear_gemm_q8(const qn_linear *l, const qn_linear *next, size_t p1) {
  return (qk_gemm_q8){.w = l->weight,
                      .w_next = weights_behind(l, next, p1),
                      .w_scale = l->scale,
                      .w_sums = l->sums,
                      .part_sums = l->part_sums,
                      .bias = l->bias,
                      .n = l->n,
                      .k = l->k};
}

size_t qn_input_rows(const qk_table *k, const qn_linear *l, const float *x, size_t ldx, const qk_codes *q,
                     void *scratch, size_t r0, size_t r1) {
  if (l->transform.block) return k->transform(&l->transform, x, ldx, l->k, q, scratch, r0, r1);
  return k->quantize(x, ldx, l->k, l->smooth, q, r0, r1);
}

void qn_product_run(const qk_table *k, const qn_product *p, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_linear *l = p->linear;
  if (l->dtype == QRN_I8 && !l->group && !l->in.group) {
    qk_gemm_q8 op = qn_linear_gemm_q8(l, p->next, p1);
    op.a = p->q;
    op.residual = p->residual;
    op.out = p->out;
    op.ldr = op.ldo = p->ldo;
    op.act = p->act;
    k->gemm_q8(&op, r0, r1, p0, p1);
  } else if (l->dtype != QRN_F32) {
    const qk_gemm_group op = {.a = p->q,
                              .w = l->weight,
                              .scale = l->scale,
                              .min = l->min,
                              .steps = l->steps,
                              .w_sums = l->value_sums,
                              .code_sums = l->sums,
                              .value_sums = l->group_sums,
                              .bias = l->bias,
                              .residual = p->residual,
                              .out = p->out,
                              .ldr = p->ldo,
                              .ldo = p->ldo,
                              .n = l->n,
                              .k = l->k,
                              .bits = l->dtype == QRN_I8   ? 8
                                      : l->dtype == QRN_U6 ? 6
                                      : l->dtype == QRN_U4 ? 4
                                                           : 2,
                              .group = l->group,
                              .act = p->act};
    k->gemm_group(&op, r0, r1, p0, p1);
  } else {
    const qk_gemm_f32 op = {.a = p->x,
                            .w = l->weight,
                            .bias = l->bias,
                            .residual = p->residual,
                            .out = p->out,
                            .lda = p->ldx ? p->ldx : l->k,
                            .ldr = p->ldo,
                            .ldo = p->ldo,
                            .n = l->n,
                            .k = l->k,
                            .act = p->act};
    k->gemm_f32(&op, r0, r1, p0, p1);
  }
}
