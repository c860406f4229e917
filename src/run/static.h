/* static.h - products between codes of static sites: what the steps, attention and heads of a static recipe share. */
#ifndef QN_STATIC_H
#define QN_STATIC_H
#include "run/linear.h"
#include "run/session.h"

static inline qk_sites qn_sites_of(const qn_place *p) { return (qk_sites){p->by, p->scale, p->zero, p->bits}; }

/* Rows from `row` on of codes [.., d] of a place. */
static inline qk_codes qn_codes_at(qk_codes q, const qn_place *p, size_t row, uint32_t d) {
  q.ld = qk_k8(d);
  q.codes += row * q.ld;
  q.scale += row;
  q.zero += row;
  q.start += row;
  q.low = p->bits == 16 ? q.low + row * q.ld : NULL;
  q.low_start = p->bits == 16 ? q.low_start + row : NULL;
  q.group_start = NULL;
  q.given_scale = p->scale;
  q.given_zero = p->zero;
  return q;
}
/* The same, as a norm reads them. */
static inline qk_rows qn_rows_of(const qk_codes *q, const qn_place *p) {
  return (qk_rows){.codes = q->codes, .low = q->low, .ld = q->ld, .site = qn_sites_of(p)};
}

/* A product to codes of `place`, or where that is none to floats. */
typedef struct qn_static_product {
  const qn_linear *linear;
  const qn_place *place;
  qk_codes a;
  int8_t *codes, *low; /* [rows, ldc]; low NULL: 8 bits */
  float *floats;       /* [rows, ldo] */
  size_t ldc, ldo;
  uint32_t act; /* QK_ACT_* */
} qn_static_product;

static inline void qn_static_product_run(const qk_table *k, const qn_static_product *p, size_t r0, size_t r1, size_t p0,
                                         size_t p1) {
  const qn_linear *l = p->linear;
  const int coded = p->place->by != NULL;
  const qk_gemm_q8 op = {.a = p->a,
                         .w = l->weight,
                         .w_scale = l->scale,
                         .w_sums = l->sums,
                         .bias = l->bias,
                         .out = p->floats,
                         .ldo = p->ldo,
                         .n = l->n,
                         .k = l->k,
                         .act = p->act,
                         .codes = coded ? p->codes : NULL,
                         .low = p->low,
                         .by = p->place->by,
                         .zero = p->place->zero,
                         .ldc = p->ldc};
  k->gemm_q8(&op, r0, r1, p0, p1);
}

/* Rows r0 ... r1 - 1 of codes that a product wrote, [.., d], made ready for the next product. */
static inline void qn_codes_finish(const qk_table *k, const qk_codes *q, uint32_t d, size_t r0, size_t r1) {
  k->start_q8(q, d, r0, r1);
  for (size_t r = r0; r < r1; r++) q->scale[r] = q->given_scale[0], q->zero[r] = q->given_zero[0];
}
#endif
