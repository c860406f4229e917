/* attention_f32.h - float attention (kernels.h: qk_attention_f32, and qk_attend_cache of 32 bits): 16 queries at a time, one a lane, so
 * that every sum of the definition is a chain in its own lane; keys and values are read where they lie. */
#ifndef QK_PRODUCTS_ATTENTION_F32_H
#define QK_PRODUCTS_ATTENTION_F32_H
#include <math.h>

#include "kernels/products/attend_queries.h"

#define QK_F32_KEYS 8u      /* keys whose scores are made at once */
#define QK_F32_CHANNELS 64u /* channels that lie transposed at once */

/* Queries, and a block of keys and values, [64, ld]. */
typedef struct qk_attend_f32 {
  const float *row[16]; /* of the queries, `rows` of them */
  size_t rows, h;
  const float *k, *v;
  size_t ld, live;   /* keys from live on are not looked at */
  float fold, cap;   /* cap 0: none */
  const float *bias; /* NULL, or that of query 0 and the block's first key, which falls with the query */
  int masked;        /* queries see keys first ... end - 1 of the block */
  float first[16], end[16];
  float q[QK_F32_CHANNELS][16]; /* queries transposed */
  float e[QK_BLOCK][16];        /* s_j, then e_j */
  float o[QK_F32_CHANNELS][16];
  float keep[16], add[16], z[16];
} qk_attend_f32;

/* Channels c0 ... of the queries, one a lane; other lanes are 0. */
static inline void qk_f32_transpose_q(qk_attend_f32 *s, size_t c0, size_t n) {
  memset(s->q, 0, sizeof s->q);
  for (size_t r = 0; r < s->rows; r++)
    for (size_t c = 0; c < n; c++) s->q[c][r] = s->row[r][c0 + c];
}

/* The chains of `keys` keys, gone on over n channels. k: first key, at the first channel. */
QK_INLINE void qk_f32_dots(qk_attend_f32 *s, const float *k, size_t ldx, size_t j, size_t n, int first,
                           const int keys) {
  vf acc[QK_F32_KEYS];
  QK_UNROLL for (int x = 0; x < keys; x++) acc[x] = first ? vf_zero() : vf_load(s->e[j + (size_t)x]);
  for (size_t c = 0; c < n; c++) {
    const vf q = vf_load(s->q[c]);
    QK_UNROLL for (int x = 0; x < keys; x++) acc[x] = vf_fma(q, vf_set1(k[(size_t)x * ldx + c]), acc[x]);
  }
  QK_UNROLL for (int x = 0; x < keys; x++) vf_store(s->e[j + (size_t)x], acc[x]);
}

/* x of queries that see key j, y of others. */
static inline vf qk_f32_seen(const qk_attend_f32 *s, size_t j, vf x, vf y) {
  const vf key = vf_set1((float)j);
  return vf_select_lt(key, vf_load(s->first), y, vf_select_lt(key, vf_load(s->end), x, y));
}

/* s_j of the block's live keys; returns their maximum. */
static inline vf qk_f32_scores(qk_attend_f32 *s) {
  const size_t live = s->live;
  for (size_t c = 0; c < s->h; c += QK_F32_CHANNELS) {
    const size_t n = s->h - c < QK_F32_CHANNELS ? s->h - c : QK_F32_CHANNELS;
    qk_f32_transpose_q(s, c, n);
    const float *k = s->k + c;
    size_t j = 0;
    for (; j + QK_F32_KEYS <= live; j += QK_F32_KEYS) qk_f32_dots(s, k + j * s->ld, s->ld, j, n, c == 0, QK_F32_KEYS);
    for (; j < live; j++) qk_f32_dots(s, k + j * s->ld, s->ld, j, n, c == 0, 1);
  }
  vf max = vf_set1(-INFINITY);
  for (size_t j = 0; j < live; j++) {
    vf x = vf_mul(vf_load(s->e[j]), vf_set1(s->fold));
    if (s->bias) {
      float bias[16] = {0};
      for (size_t r = 0; r < s->rows; r++) bias[r] = s->bias[(ptrdiff_t)j - (ptrdiff_t)r];
      x = vf_add(x, vf_load(bias));
    }
    if (s->cap != 0.0f) x = qk_capped(x, vf_set1(s->cap));
    if (s->masked) x = qk_f32_seen(s, j, x, vf_set1(-INFINITY));
    vf_store(s->e[j], x);
    max = vf_max(max, x);
  }
  return max;
}

/* e_j, and their sum16: key j adds to partial sum j mod 16, then the fixed tree. Of -infinity, and where max is, e_j is 0. */
static inline vf qk_f32_exp(qk_attend_f32 *s, vf max) {
  vf part[16];
  for (size_t l = 0; l < 16; l++) part[l] = vf_zero();
  for (size_t j = 0; j < s->live; j++) {
    const vf e = qk_exp2(vf_sub(vf_load(s->e[j]), max));
    vf_store(s->e[j], e);
    part[j % 16] = vf_add(part[j % 16], e);
  }
  for (size_t half = 8; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) part[l] = vf_add(part[l], part[l + half]);
  return part[0];
}

/* o_c of `channels` channels from c on: chains over the keys that are seen. v: first key, at the first of them. */
QK_INLINE void qk_f32_weigh(qk_attend_f32 *s, const float *v, size_t c, const int channels) {
  vf acc[QK_F32_KEYS];
  QK_UNROLL for (int x = 0; x < channels; x++) acc[x] = vf_zero();
  for (size_t j = 0; j < s->live; j++, v += s->ld) {
    const vf e = vf_load(s->e[j]);
    if (!s->masked) {
      QK_UNROLL for (int x = 0; x < channels; x++) acc[x] = vf_fma(e, vf_set1(v[x]), acc[x]);
      continue;
    }
    QK_UNROLL for (int x = 0; x < channels; x++) acc[x] = qk_f32_seen(s, j, vf_fma(e, vf_set1(v[x]), acc[x]), acc[x]);
  }
  QK_UNROLL for (int x = 0; x < channels; x++) vf_store(s->o[c + (size_t)x], acc[x]);
}
/* Of n channels from c0 on. */
static inline void qk_f32_sums(qk_attend_f32 *s, size_t c0, size_t n) {
  const float *v = s->v + c0;
  size_t c = 0;
  for (; c + QK_F32_KEYS <= n; c += QK_F32_KEYS) qk_f32_weigh(s, v + c, c, QK_F32_KEYS);
  for (; c < n; c++) qk_f32_weigh(s, v + c, c, 1);
}

/* Sums of channels c0 ... c0 + n - 1 of the block, merged into the output rows of queries from i on. */
static inline void qk_f32_values(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i, size_t c0, size_t n,
                                 const int begun, const int last) {
  qk_f32_sums(s, c0, n);
  const vf add = vf_load(s->add), keep = vf_load(s->keep), z = vf_load(s->z);
  for (size_t c = 0; c < n; c++) {
    float lanes[16] = {0};
    float *out = op->out + i * op->ldo + c0 + c;
    vf o = vf_mul(add, vf_load(s->o[c])), was = vf_set1(-0.0f);
    if (begun) {
      for (size_t r = 0; r < s->rows; r++) lanes[r] = out[r * op->ldo];
      was = vf_load(lanes);
    }
    o = vf_fma(keep, was, o);
    if (last) o = vf_div(o, z);
    vf_store(lanes, o);
    for (size_t r = 0; r < s->rows; r++) out[r * op->ldo] = lanes[r];
  }
}

static inline void qk_f32_queries(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i) {
  const size_t first = qk_span_of(i, op->before, op->n, 0).first / QK_BLOCK * QK_BLOCK;
  const size_t end = qk_span_of(i + s->rows - 1, op->before, op->n, 0).end;
  vf max = vf_set1(-INFINITY), sum = vf_zero();
  for (size_t r = 0; r < s->rows; r++) s->row[r] = op->q + (i + r) * op->ldx;
  for (size_t j0 = first; j0 < end; j0 += QK_BLOCK) {
    s->k = op->k + j0 * op->ldx;
    s->v = op->v + j0 * op->ldx;
    s->live = end - j0 < QK_BLOCK ? end - j0 : QK_BLOCK;
    s->bias = op->bias ? op->bias + ((ptrdiff_t)j0 - (ptrdiff_t)i) : NULL;
    for (size_t r = 0; s->masked && r < 16; r++) {
      const qk_span keys = qk_span_in(qk_span_of(r < s->rows ? i + r : i, op->before, op->n, 0), j0);
      s->first[r] = (float)keys.first, s->end[r] = (float)keys.end;
    }
    const vf m = qk_f32_scores(s), z = qk_f32_exp(s, m);
    vf keep = vf_zero(), add = vf_set1(1.0f);
    if (!s->masked && j0 == 0) { /* the first block is what is there, whatever its scores */
      max = m;
      sum = z;
    } else {
      const vf none = vf_set1(-INFINITY), top = vf_max(max, m), now = qk_exp2(vf_sub(m, top));
      keep = qk_exp2(vf_sub(max, top));
      add = now;
      if (s->masked) { /* who sees nothing keeps all that was: O + -0 is O */
        keep = vf_select_lt(none, m, keep, vf_set1(1.0f));
        add = vf_select_lt(none, m, add, vf_set1(-0.0f));
      }
      sum = vf_fma(keep, sum, vf_mul(now, z));
      max = top;
    }
    vf_store(s->keep, keep);
    vf_store(s->add, add);
    vf_store(s->z, sum);
    for (size_t c = 0; c < op->h; c += QK_F32_CHANNELS)
      qk_f32_values(s, op, i, c, op->h - c < QK_F32_CHANNELS ? op->h - c : QK_F32_CHANNELS, j0 > first,
                    j0 + QK_BLOCK >= end);
  }
}

static inline void qk_attention_f32_over_lanes(const qk_attention_f32 *op, size_t r0, size_t r1) {
  qk_attend_f32 s __attribute__((aligned(64)));
  s.h = op->h;
  s.ld = op->ldx;
  s.fold = op->fold;
  s.cap = 0.0f;
  s.masked = op->before != 0;
  for (size_t i = r0; i < r1; i += 16) {
    s.rows = r1 - i < 16 ? r1 - i : 16;
    qk_f32_queries(&s, op, i);
  }
}

/* What block b of a cache of floats gives queries first ... first + n - 1, at most 16, of rows from row0 on (kernels.h:
   qk_attend_part_words). */
static inline void qk_part_f32_over_lanes(const qk_attend_cache *op, size_t row0, size_t first, size_t n, size_t b,
                                          float *parts) {
  qk_attend_f32 s __attribute__((aligned(64)));
  const qk_queries queries = {row0, first, n};
  const size_t h = op->h, hp = qk_round_up(h, QK_LANES);
  s.rows = n;
  s.h = s.ld = h;
  s.k = (const float *)(const void *)op->block[b];
  s.v = s.k + QK_BLOCK * h;
  s.fold = op->fold;
  s.cap = op->cap;
  s.bias = NULL;
  s.masked = 0;
  s.live = 0;
  for (size_t r = 0; r < 16; r++) {
    const size_t i = r < n ? r : 0;
    const qk_span keys = qk_span_in(qk_queries_span(op, &queries, i), b * QK_BLOCK);
    const size_t end = keys.first < keys.end ? keys.end : 0;
    s.row[r] = op->q + qk_queries_row(op, &queries, i) * op->ldq + qk_queries_head(op, &queries, i);
    s.first[r] = (float)keys.first, s.end[r] = (float)keys.end;
    s.masked |= keys.first > 0 || keys.end < QK_BLOCK;
    s.live = end > s.live ? end : s.live;
    parts[QK_PART_SEEN + r] = keys.first < keys.end ? 1.0f : 0.0f;
    parts[QK_PART_TOP + r] = 127.0f;
  }
  const vf m = qk_f32_scores(&s), z = qk_f32_exp(&s, m);
  vf_store(parts + QK_PART_MAX, m);
  vf_store(parts + QK_PART_SUM, z);
  for (size_t c0 = 0; c0 < h; c0 += QK_F32_CHANNELS) {
    const size_t some = h - c0 < QK_F32_CHANNELS ? h - c0 : QK_F32_CHANNELS;
    qk_f32_sums(&s, c0, some);
    for (size_t r = 0; r < n; r++)
      for (size_t c = 0; c < some; c++) parts[QK_PART_VALUES + r * hp + c0 + c] = s.o[c][r];
  }
}
#endif
