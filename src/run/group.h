/* group.h - a group of rows on its way through the layers, whole sequences of an encoder or rows that a decoder appends to
 * some: what passes, steps and attention share. */
#ifndef QN_GROUP_H
#define QN_GROUP_H
#include "run/session.h"

typedef struct qn_group {
  quern_session *s;
  const qn_arch *arch;
  uint32_t first, count; /* sequences (encoder) */
  uint32_t row, rows;    /* rows of the pass */
  float *x;              /* [rows, width] hidden states; not static */
  float *logits;         /* [rows, vocab] of a decoder's head */
  uint32_t layer;        /* whose attention runs, or ran last */
  int typed;             /* the pass has token types */
  uint32_t whole, cut;   /* units of attention: taken whole, then those cut by queries (encoder) */
  uint32_t segments;     /* of s->segments (decoder) */
  atomic_size_t nonfinite;
} qn_group;

/* Parts of at most `part` that make up `whole`. */
static inline uint32_t qn_parts_of(uint32_t whole, uint32_t part) { return (whole + part - 1) / part; }

/* Channels of a row of the context, and of queries, keys and values. */
static inline size_t qn_group_inner(const qn_group *g) { return qn_arch_inner(g->arch); }
static inline size_t qn_group_qkv(const qn_group *g) { return qn_arch_qkv(g->arch); }
/* First query of a unit in rows of queries, keys and values. */
static inline size_t qn_group_queries(const qn_group *g, qn_unit u) {
  return (size_t)(g->s->starts[u.sequence] - g->row) * qn_group_qkv(g) + (size_t)u.head * g->arch->head_dim;
}
/* Query heads that share a head of keys and values. */
static inline uint32_t qn_group_share(const qn_group *g) { return g->arch->heads / g->arch->kv_heads; }
/* Keys j of the layer whose attention runs that a query at i sees: |i - j| < it; 0: all. */
static inline uint32_t qn_group_window(const qn_group *g) {
  return qn_arch_is_local(g->arch, g->layer) ? g->arch->window : 0;
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
/* The same of a decoder: keys and values are appended to their sequences' pages, queries see those. attention_cache.c */
void qn_attention_cache_run(qn_group *g);
#endif
