/* attend_queries.h - queries of rows and of the heads that share a cache's blocks, as one list: query i of rows from row0 on is head
 * i % heads of row row0 + i / heads (kernels.h: qk_attend_cache). */
#ifndef QK_PRODUCTS_ATTEND_QUERIES_H
#define QK_PRODUCTS_ATTEND_QUERIES_H
#include "kernels/rows/pack.h"

/* Queries first ... first + n - 1 of the list. */
typedef struct qk_queries {
  size_t row0, first, n;
} qk_queries;

static inline size_t qk_queries_row(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return q->row0 + (q->first + i) / op->heads;
}
static inline size_t qk_queries_head(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return (q->first + i) % op->heads * op->h;
}
static inline float *qk_queries_out(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return op->out + qk_queries_row(op, q, i) * op->ldo + qk_queries_head(op, q, i);
}
static inline qk_span qk_queries_span(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return qk_span_of(op->position + qk_queries_row(op, q, i), op->before, op->keys, 1);
}
/* The blocks that any of them sees: from the first, up to the last and one. */
static inline size_t qk_queries_first(const qk_attend_cache *op, const qk_queries *q) {
  return qk_queries_span(op, q, 0).first / QK_BLOCK;
}
static inline size_t qk_queries_end(const qk_attend_cache *op, const qk_queries *q) {
  return (op->position + qk_queries_row(op, q, q->n - 1)) / QK_BLOCK + 1;
}
/* Floats of n queries from i on, side by side. */
static inline void qk_queries_gather(const qk_attend_cache *op, const qk_queries *q, size_t i, size_t n, float *to) {
  for (size_t end = i + n; i < end; i++, to += op->h)
    memcpy(to, op->q + qk_queries_row(op, q, i) * op->ldq + qk_queries_head(op, q, i), op->h * sizeof *to);
}
#endif
