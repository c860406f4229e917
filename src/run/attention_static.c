/* attention_static.c - attention of a static recipe (attention_static.h): what the kernel takes from the sites of queries, keys, values,
 * scores, probabilities and context. Thread rule: as in attention.c. */
#include "run/attention_static.h"

#include "run/static.h"

static qk_head_codes head_of(const qn_group *g, uint32_t owner, qn_unit u) {
  qk_head_codes head = g->s->lane[owner].attention.head;
  head.n = g->s->lens[u.sequence];
  return head;
}
static const qn_place *place_of(const qn_group *g, uint32_t kind) {
  return qn_model_place(g->s->model, kind, g->layer);
}
static qk_coder coder_of(const qn_place *p) {
  return (qk_coder){p->by[0], p->zero[0], p->limits ? p->limits[0] : (qk_limits){0}};
}

void qn_static_pack(const qn_group *g, uint32_t owner, qn_unit u) {
  const size_t inner = qn_group_inner(g);
  const int8_t *q = g->s->qkv_codes + qn_group_queries(g, u);
  const qk_pack_codes op = {.head = head_of(g, owner, u),
                            .q = q,
                            .k = q + inner,
                            .v = q + 2 * inner,
                            .ldx = 3 * inner,
                            .q_zero = (int32_t)place_of(g, QN_SITE_Q)->zero[0]};
  g->s->kernels->pack_codes(&op);
}

void qn_static_attend(const qn_group *g, uint32_t lane, uint32_t owner, qn_unit u, uint32_t r0, uint32_t r1) {
  const quern_session *s = g->s;
  const qn_place *probs = place_of(g, QN_SITE_PROBS), *context = place_of(g, QN_SITE_ATTN_OUT_IN);
  const size_t row = s->starts[u.sequence] - g->row, at = (size_t)u.head * g->arch->head_dim;
  const qk_codes to = qn_codes_at(s->context_codes, context, row, (uint32_t)qn_group_inner(g));
  const qk_attention_codes op = {.head = head_of(g, owner, u),
                                 .bias = qn_group_bias(g, u),
                                 .exp = s->exp + (size_t)g->layer * 32,
                                 .q_scale = place_of(g, QN_SITE_Q)->scale[0] * s->fold,
                                 .k_scale = place_of(g, QN_SITE_K)->scale[0],
                                 .v_scale = place_of(g, QN_SITE_V)->scale[0],
                                 .probs_scale = probs->scale[0],
                                 .scores = coder_of(place_of(g, QN_SITE_SCORES)),
                                 .probs = coder_of(probs),
                                 .context = coder_of(context),
                                 .codes = to.codes + at,
                                 .low = to.low ? to.low + at : NULL,
                                 .ldc = to.ld,
                                 .scratch = s->lane[lane].attention.scratch};
  s->kernels->attention_codes(&op, r0, r1);
}
