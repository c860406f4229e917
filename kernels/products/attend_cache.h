/* attend_cache.h - attention over a cache of keys and values (kernels.h: qk_attend_cache): up to 64 queries at a time, one a lane,
 * over attend.h; few queries, and those of blocks of floats, 16 at a time, by QK_ATTEND_FEW: attend_few.h's, or another set's. */
#ifndef QK_PRODUCTS_ATTEND_CACHE_H
#define QK_PRODUCTS_ATTEND_CACHE_H
#include "kernels/products/attend.h"
#include "kernels/products/attend_queries.h"

/* Fewer queries are sooner done with keys as lanes. */
#ifndef QK_ATTEND_LEAST
#define QK_ATTEND_LEAST 12u
#endif

typedef struct qk_attend_pairs {
  qk_attend s;
  float scale[QK_QUERIES];
  float row[QK_QUERIES]; /* of each query, from that of the first */
} qk_attend_pairs;

/* Codes of the queries, in panels of 16. Returns how many have NaN or infinity. */
static size_t qk_pairs_codes(qk_attend_pairs *p, const qk_attend_cache *op, const qk_queries *q) {
  const size_t h = op->h, hp = p->s.hp;
  uint8_t *codes = op->scratch;
  float *floats = (float *)(void *)(codes + QK_QUERIES * hp), by[QK_LANES]; /* [16, h] */
  size_t bad = 0;
  for (size_t at = 0; at < q->n; at += QK_LANES) {
    const qk_span live = qk_rows_to(q->n - at);
    qk_queries_gather(op, q, at, live.end, floats);
    bad += qk_scales_16(floats, h, live, h, op->fold, p->scale + at, by);
    qk_pack_panel(floats, h, live, h, by, codes + at * hp, QK_OFFSET_4);
  }
  for (size_t i = 0; i < QK_QUERIES; i++)
    p->row[i] = (float)(qk_queries_row(op, q, i < q->n ? i : q->n - 1) - qk_queries_row(op, q, 0));
  return bad;
}

/* Queries, at most QK_QUERIES. */
static size_t qk_attend_pairs_of(qk_attend_pairs *p, const qk_attend_cache *op, const qk_queries *q) {
  qk_attend *s = &p->s;
  const size_t h = op->h, hp = qk_round_up(h, QK_LANES);
  const size_t i0 = op->position + qk_queries_row(op, q, 0), i1 = op->position + qk_queries_row(op, q, q->n - 1);
  const size_t first = qk_queries_first(op, q), end = qk_queries_end(op, q), reach = (uint32_t)(op->before - 1);
  s->h = s->hp = hp;
  s->vectors = (q->n + QK_LANES - 1) / QK_LANES;
  s->from = 0;
  s->to = qk_round_up(q->n, QK_ATTEND_ROWS); /* whole tiles: there is room for all */
  s->biased = 0;
  s->cap = op->cap;
  const size_t bad = qk_pairs_codes(p, op, q);
  s->q = op->scratch;
  s->q_scale = p->scale;
  s->out = (float *)(void *)((uint8_t *)op->scratch + QK_QUERIES * hp);
  s->ldo = hp;
  qk_attend_begin(s);
  s->merging = 1;
  for (size_t b = first; b < end; b++) {
    const qk_head_q8 hd = qk_attend_head(op, b);
    const size_t j0 = b * QK_BLOCK;
    s->k = hd.k, s->k_start = hd.k_start, s->k_scale = hd.k_scale, s->v = hd.v, s->v_scale = hd.v_scale;
    s->live = i1 - j0 < QK_BLOCK ? i1 - j0 + 1 : QK_BLOCK;
    s->last = b + 1 == end;
    s->masked = 0;
    if (j0 + QK_BLOCK - 1 > i0 || i1 - j0 > reach) {
      const int64_t from = (int64_t)i0 - (int64_t)j0;
      qk_attend_mask(s, from - (int64_t)reach, from + 1, p->row);
    }
    qk_attend_block(s);
  }
  for (size_t i = 0; i < q->n; i++) memcpy(qk_queries_out(op, q, i), s->out + i * hp, h * sizeof(float));
  return bad;
}

static size_t qk_attend_cache_over_tiles(const qk_attend_cache *op, size_t r0, size_t r1) {
  const size_t all = (r1 - r0) * op->heads, most = op->bits == 32 ? QK_LANES : QK_QUERIES;
  const size_t groups = (all + most - 1) / most, few = op->bits == 32 || all < QK_ATTEND_LEAST;
  qk_attend_pairs p __attribute__((aligned(64)));
  size_t bad = 0;
  for (size_t g = 0, first = 0; g < groups; g++) {
    const qk_queries q = {r0, first, qk_tile_share(all, groups, g)};
    bad += few ? QK_ATTEND_FEW(op, r0, first, q.n) : qk_attend_pairs_of(&p, op, &q);
    first += q.n;
  }
  return bad;
}
#endif
