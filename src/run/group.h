/* group.h - a group of sequences on its way through the layers: what passes, steps and attention share. */
#ifndef QN_GROUP_H
#define QN_GROUP_H
#include "run/session.h"

typedef struct qn_group {
  quern_session *s;
  const qn_arch *arch;
  uint32_t first, count; /* sequences */
  uint32_t row, rows;    /* rows of the pass */
  uint32_t layer;        /* whose attention runs, or ran last */
  int typed;             /* the pass has token types */
  uint32_t whole, cut;   /* units of attention: taken whole, then those cut by queries */
  atomic_size_t nonfinite;
} qn_group;

/* Parts of at most `part` that make up `whole`. */
static inline uint32_t qn_parts_of(uint32_t whole, uint32_t part) { return (whole + part - 1) / part; }

static inline size_t qn_group_inner(const qn_group *g) { return (size_t)g->arch->heads * g->arch->head_dim; }
/* First query of a unit in rows of queries, keys and values, each of qn_group_inner. */
static inline size_t qn_group_queries(const qn_group *g, qn_unit u) {
  return (size_t)(g->s->starts[u.sequence] - g->row) * 3 * qn_group_inner(g) + (size_t)u.head * g->arch->head_dim;
}
/* What is added to a unit's scores by key - query, at distance 0; NULL: nothing. */
static inline const float *qn_group_bias(const qn_group *g, qn_unit u) {
  const size_t positions = g->arch->positions;
  const float *bias = g->s->model->relative_bias;
  return bias ? bias + u.head * (2 * positions - 1) + positions - 1 : NULL;
}
static inline int qn_group_stopped(const qn_group *g) {
  return atomic_load_explicit(&g->s->cancel, memory_order_relaxed);
}
static inline void qn_group_nonfinite(qn_group *g, size_t n) {
  if (n) atomic_fetch_add_explicit(&g->nonfinite, n, memory_order_relaxed);
}

/* Deals the group's attention to lanes: once, for all layers. */
void qn_attention_plan(qn_group *g);
/* Attention of one layer over s->qkv, into s->context. */
void qn_attention_run(qn_group *g);
#endif
