/* observe.c - the sites of a float model on their way past (observe.h). Thread rule: a lane has its own scratch. */
#include "run/observe.h"

#include <string.h>

#include "run/static.h"

#define LN_2 0.693147180559945309f

static float *scratch_of(const quern_session *s, size_t lane) { return s->observe_scratch + lane * s->observe_floats; }

/* x: the first of rows r0 ... r1 - 1 of a block. */
static void see(const qn_block *b, uint32_t kind, const float *x, size_t ld, size_t r0, size_t r1, uint32_t d) {
  const quern_session *s = b->g->s;
  const int embeds = kind < QN_SITE_QKV_IN;
  const qn_seen seen = {.kind = kind,
                        .layer = embeds ? QN_NO_LAYER : b->index,
                        .d = d,
                        .row = b->g->row + b->r0 + r0,
                        .rows = r1 - r0,
                        .ld = ld,
                        .x = x,
                        .channels = 1};
  s->observe(s->observe_user, &seen);
}

/* What comes out of a product, by what goes in. */
static uint32_t output_of(uint32_t input) {
  return input == QN_SITE_ATTN_OUT_IN   ? QN_SITE_ATTN_OUT
         : input == QN_SITE_FFN_DOWN_IN ? QN_SITE_FFN_OUT
                                        : QN_SITE_KINDS;
}

/* The product without its residual, which is added when it has been seen: one addition of the same two numbers. */
static void run_in_parts(const qn_block *b, const qn_product *p, size_t r0, size_t r1) {
  const quern_session *s = b->g->s;
  const uint32_t n = p->linear->n, kind = output_of(p->site);
  qn_product alone = *p;
  alone.residual = NULL;
  alone.out = scratch_of(s, (size_t)(b->lane - s->lane));
  alone.ldo = n;
  qn_product_run(s->kernels, &alone, r0, r1, 0, qk_panels(n));
  see(b, kind, alone.out + r0 * n, n, r0, r1, n);
  for (size_t r = r0; r < r1; r++)
    for (size_t i = 0; i < n; i++) p->out[r * p->ldo + i] = alone.out[r * n + i] + p->residual[r * p->ldo + i];
  see(b, kind + 1, p->out + r0 * p->ldo, p->ldo, r0, r1, n); /* the residual sum is the next site */
}

void qn_observe_product(const qn_block *b, const qn_product *p, size_t r0, size_t r1) {
  const quern_session *s = b->g->s;
  const uint32_t k = p->linear->k, inner = p->linear->n / 3;
  const size_t ldx = p->ldx ? p->ldx : k;
  see(b, p->site, p->x + r0 * ldx, ldx, r0, r1, k);
  if (s->observe_scratch && p->residual) {
    run_in_parts(b, p, r0, r1);
    return;
  }
  qn_product_run(s->kernels, p, r0, r1, 0, qk_panels(p->linear->n));
  for (uint32_t i = 0; s->observe_scratch && p->site == QN_SITE_QKV_IN && i < 3; i++)
    see(b, QN_SITE_Q + i, p->out + r0 * p->ldo + i * inner, p->ldo, r0, r1, inner);
}

void qn_observe_rotated(const qn_block *b, size_t r0, size_t r1) {
  const quern_session *s = b->g->s;
  const qn_arch *a = b->g->arch;
  const size_t ld = qn_arch_qkv(a);
  const float *x = s->qkv + (b->r0 + r0) * ld;
  see(b, QN_SITE_Q, x, ld, r0, r1, qn_arch_inner(a));
  see(b, QN_SITE_K, x + qn_arch_inner(a), ld, r0, r1, a->kv_heads * a->head_dim);
}

/* Hidden states x before layer `layer` into the order of what is handed out, by those that norms behind it make. row: scratch. */
static void to_outer_order(const quern_model *m, uint32_t layer, float *x, float *row) {
  const uint32_t d = m->arch.width;
  for (uint32_t l = layer; l < m->arch.layers; l++) {
    const int32_t *order = m->layers[l].attn_order;
    if (!order) continue;
    memcpy(row, x, d * sizeof *x);
    for (uint32_t i = 0; i < d; i++) x[i] = row[order[i]];
  }
  if (!m->order) return;
  memcpy(row, x, d * sizeof *x);
  for (uint32_t i = 0; i < d; i++) x[m->order[i]] = row[i];
}

void qn_observe_codes(const qn_block *b, const qn_place *place, const qk_codes *codes, size_t r0, size_t r1) {
  const quern_session *s = b->g->s;
  const uint32_t d = b->g->arch->width;
  const qk_codes q = qn_codes_at(*codes, place, r0, d);
  qn_codes_floats(&q, place, r1 - r0, d, NULL, b->lane->hidden);
  for (size_t r = 0; r < r1 - r0; r++) to_outer_order(s->model, b->index, b->lane->hidden + r * d, b->lane->row);
  see(b, QN_SITE_QKV_IN, b->lane->hidden, d, r0, r1, d);
}

static const float *row_of(const qn_table *t, int32_t row, uint32_t d) {
  return (const float *)t->data + (size_t)row * d;
}

void qn_observe_embeddings(const qn_block *b, size_t r0, size_t r1) {
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const uint32_t d = qn_arch_table_width(&m->arch);
  if (!s->observe_scratch) return;
  float *sums = scratch_of(s, (size_t)(b->lane - s->lane));
  for (size_t r = r0; r < r1; r++) {
    const size_t at = b->g->row + b->r0 + r;
    const float *token = row_of(&m->tokens, s->ids[at], d), *position = row_of(&m->positions, s->positions[at], d);
    const float *type = m->arch.types ? row_of(&m->types, b->g->typed ? s->types[at] : 0, d) : NULL;
    for (uint32_t i = 0; i < d; i++) {
      const float x = token[i] + position[i];
      sums[r * d + i] = type ? x + type[i] : x;
    }
  }
  see(b, QN_SITE_EMBED_SUM, sums + r0 * d, d, r0, r1, d);
}

void qn_observe_attention(const quern_session *s, uint32_t lane, uint32_t layer, const qk_attention_f32 *op, size_t row,
                          size_t r0, size_t r1) {
  const uint32_t n = op->n;
  if (!s->observe_scratch) return;
  float *scores = scratch_of(s, lane), *probs = scores + n;
  for (size_t i = r0; i < r1; i++) {
    qn_seen seen = {.kind = QN_SITE_SCORES, .layer = layer, .d = n, .row = row + i, .rows = 1, .ld = n, .x = scores};
    for (size_t j = 0; j < n; j++) {
      const float dot = s->kernels->dot(op->q + i * op->ldx, op->k + j * op->ldx, op->h) * op->fold;
      scores[j] = op->bias ? dot + op->bias[(ptrdiff_t)j - (ptrdiff_t)i] : dot;
      probs[j] = scores[j] * LN_2;
    }
    s->observe(s->observe_user, &seen);
    s->kernels->softmax(probs, probs, n);
    seen.kind = QN_SITE_PROBS;
    seen.x = probs;
    s->observe(s->observe_user, &seen);
  }
}
