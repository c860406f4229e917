/* attention_static.c - attention of a static recipe (attention_static.h): scores = queries times keys, softmax by a table, context =
 * probabilities times values, each of them codes of 8 bits, QN_TILE_QUERIES queries at a time. Keys and values are the weights of
 * ordinary 8-bit products, and therefore symmetric. Thread rule: as in attention.c. */
#include "run/attention_static.h"

#include <string.h>

#include "base/checked.h"
#include "run/static.h"

static void fill(float *x, size_t n, float value) {
  for (size_t i = 0; i < n; i++) x[i] = value;
}

void qn_static_pack(const qn_group *g, uint32_t owner, qn_unit u) {
  const quern_session *s = g->s;
  const qn_head_static *m = &s->lane[owner].attention;
  const size_t inner = qn_group_inner(g);
  const uint32_t n = s->lens[u.sequence], h = g->arch->head_dim;
  const int8_t *q = g->s->qkv_codes + qn_group_queries(g, u);
  const qk_panels_q8 k = {q + inner, 3 * inner, n, h, 0, m->k, m->k_sums};
  const qk_panels_q8 v = {q + 2 * inner, 3 * inner, h, n, 1, m->v, m->v_sums};
  s->kernels->panels_q8(&k);
  s->kernels->panels_q8(&v);
}

/* Queries i0 ... i0 + rows - 1 as rows of codes of a product. */
static qk_codes take_queries(const qn_group *g, const qn_head_static *m, qn_unit u, size_t i0, size_t rows) {
  const quern_session *s = g->s;
  const qn_place *place = qn_model_place(s->model, QN_SITE_Q, g->layer);
  const uint32_t h = g->arch->head_dim;
  const size_t ld = 3 * qn_group_inner(g);
  const int8_t *from = g->s->qkv_codes + qn_group_queries(g, u) + i0 * ld;
  const qk_codes q = qn_codes_at(m->q, place, 0, h);
  for (size_t i = 0; i < rows; i++) memcpy(q.codes + i * q.ld, from + i * ld, h);
  s->kernels->start_q8(&q, h, 0, rows);
  fill(q.scale, rows, place->scale[0] * s->fold);
  fill(q.zero, rows, place->zero[0]);
  return q;
}

/* Rows of the bias by distance, one behind the other: a product reads them as what is added to its output. */
static const float *bias_rows(const qn_group *g, const qn_head_static *m, qn_unit u, size_t i0, size_t rows, size_t n) {
  const float *bias = qn_group_bias(g, u);
  if (!bias) return NULL;
  for (size_t i = 0; i < rows; i++) memcpy(m->bias + i * n, bias - (ptrdiff_t)(i0 + i), n * sizeof *bias);
  return m->bias;
}

static void attend_tile(const qn_group *g, const qn_head_static *m, const qn_head_static *kv, qn_unit u, size_t i0,
                        size_t rows) {
  const quern_session *s = g->s;
  const quern_model *model = s->model;
  const uint32_t n = s->lens[u.sequence], h = g->arch->head_dim;
  const qn_place *scores = qn_model_place(model, QN_SITE_SCORES, g->layer);
  const qn_place *probs = qn_model_place(model, QN_SITE_PROBS, g->layer);
  const qn_place *context = qn_model_place(model, QN_SITE_ATTN_OUT_IN, g->layer);
  fill(m->k_scale, n, qn_model_place(model, QN_SITE_K, g->layer)->scale[0]);
  fill(m->v_scale, h, qn_model_place(model, QN_SITE_V, g->layer)->scale[0]);
  fill(m->by, qk_panels(n), scores->by[0]);
  fill(m->zero, qk_panels(n), scores->zero[0]);
  const qk_gemm_q8 to_scores = {.a = take_queries(g, m, u, i0, rows),
                                .w = kv->k,
                                .w_scale = m->k_scale,
                                .w_sums = kv->k_sums,
                                .residual = bias_rows(g, m, u, i0, rows, n),
                                .ldr = n,
                                .n = n,
                                .k = h,
                                .codes = m->scores,
                                .by = m->by,
                                .zero = m->zero,
                                .ldc = qk_k8(n)};
  s->kernels->gemm_q8(&to_scores, 0, rows, 0, qk_panels(n));

  const qk_codes p = qn_codes_at(m->probs, probs, 0, n);
  const qk_softmax_q8 softmax = {.x = m->scores,
                                 .exp = s->exp + (size_t)g->layer * 32,
                                 .q = p,
                                 .ldx = qk_k8(n),
                                 .n = n,
                                 .by = probs->by[0],
                                 .zero = probs->zero[0]};
  s->kernels->softmax_q8(&softmax, 0, rows);
  fill(p.scale, rows, probs->scale[0]);
  fill(p.zero, rows, probs->zero[0]);

  const size_t row = s->starts[u.sequence] - g->row + i0;
  const qk_codes c = qn_codes_at(s->context_codes, context, row, (uint32_t)qn_group_inner(g));
  fill(m->by, qk_panels(h), context->by[0]);
  fill(m->zero, qk_panels(h), context->zero[0]);
  const size_t at = (size_t)u.head * h;
  const qk_gemm_q8 to_context = {.a = p,
                                 .w = kv->v,
                                 .w_scale = m->v_scale,
                                 .w_sums = kv->v_sums,
                                 .n = h,
                                 .k = n,
                                 .codes = c.codes + at,
                                 .low = c.low ? c.low + at : NULL,
                                 .by = m->by,
                                 .zero = m->zero,
                                 .limits = context->limits,
                                 .ldc = c.ld};
  s->kernels->gemm_q8(&to_context, 0, rows, 0, qk_panels(h));
}

void qn_static_attend(const qn_group *g, uint32_t lane, uint32_t owner, qn_unit u, uint32_t r0, uint32_t r1) {
  const quern_session *s = g->s;
  for (size_t i = r0; i < r1; i += QN_TILE_QUERIES)
    attend_tile(g, &s->lane[lane].attention, &s->lane[owner].attention, u, i, qn_min_size(QN_TILE_QUERIES, r1 - i));
}
