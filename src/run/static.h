/* static.h - products between codes of static sites: what the steps, attention and heads of a static recipe share. */
#ifndef QN_STATIC_H
#define QN_STATIC_H
#include "run/linear.h"
#include "run/session.h"

static inline qk_sites qn_sites_of(const qn_place *p) {
  return (qk_sites){p->by, p->scale, p->zero, p->bits, p->by_column};
}
/* Rows from `row` on of codes [.., d] of a place. */
qk_codes qn_codes_at(qk_codes q, const qn_place *p, size_t row, uint32_t d);
/* The same, as a norm reads them. */
static inline qk_rows qn_rows_of(const qk_codes *q, const qn_place *p) {
  return (qk_rows){.codes = q->codes, .low = q->low, .ld = q->ld, .site = qn_sites_of(p)};
}

/* A product to codes of `place`, or where that is none to floats. */
typedef struct qn_static_product {
  const qn_linear *linear;
  const qn_linear *next; /* whose product follows, or NULL: its memory is asked for */
  const qn_place *place;
  qk_codes a;
  int8_t *codes, *low; /* [rows, ldc]; low NULL: 8 bits */
  float *floats;       /* [rows, ldo] */
  size_t ldc, ldo;
  uint32_t act; /* QK_ACT_* */
} qn_static_product;
/* Into the memory of `to`. */
qn_static_product qn_product_to(const qn_linear *l, const qn_place *place, qk_codes a, qk_codes to);
/* Rows r0 ... r1 - 1, output panels p0 ... p1 - 1. */
void qn_static_product_run(const qk_table *k, const qn_static_product *p, size_t r0, size_t r1, size_t p0, size_t p1);

/* What rows of codes of a place stand for: out [rows, d]. order: NULL, or where each channel goes. */
void qn_codes_floats(const qk_codes *q, const qn_place *place, size_t rows, size_t d, const int32_t *order, float *out);
/* Rows r0 ... r1 - 1 of codes that a product wrote, [.., d], made ready for the next product. */
void qn_codes_finish(const qk_table *k, const qk_codes *q, uint32_t d, size_t r0, size_t r1);
#endif
