/* attention_f32.h - float attention of one head (kernels.h: qk_attention_f32): 16 queries at a time, one a lane, so that every
 * sum of the definition is a chain in its own lane; keys and values are read where they lie. */
#ifndef QK_PRODUCTS_ATTENTION_F32_H
#define QK_PRODUCTS_ATTENTION_F32_H
#include <math.h>

#include "kernels/rows/epilogue.h"

#define QK_F32_KEYS 8u      /* keys whose scores are made at once */
#define QK_F32_CHANNELS 64u /* channels that lie transposed at once */

typedef struct qk_attend_f32 {
  float q[QK_F32_CHANNELS][16]; /* queries transposed */
  float e[QK_BLOCK][16];        /* s_j, then e_j */
  float o[QK_F32_CHANNELS][16];
  float keep[16], add[16], z[16];
} qk_attend_f32;

/* Channels c0 ... of `rows` queries, one a lane; other lanes are 0. */
static inline void qk_f32_transpose_q(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i, size_t rows, size_t c0,
                                      size_t n) {
  memset(s->q, 0, sizeof s->q);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < n; c++) s->q[c][r] = op->q[(i + r) * op->ldx + c0 + c];
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

/* s_j of the block's live keys; returns their maximum. */
static inline vf qk_f32_scores(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i, size_t rows, size_t j0,
                               size_t live) {
  for (size_t c = 0; c < op->h; c += QK_F32_CHANNELS) {
    const size_t n = op->h - c < QK_F32_CHANNELS ? op->h - c : QK_F32_CHANNELS;
    qk_f32_transpose_q(s, op, i, rows, c, n);
    const float *k = op->k + j0 * op->ldx + c;
    size_t j = 0;
    for (; j + QK_F32_KEYS <= live; j += QK_F32_KEYS)
      qk_f32_dots(s, k + j * op->ldx, op->ldx, j, n, c == 0, QK_F32_KEYS);
    for (; j < live; j++) qk_f32_dots(s, k + j * op->ldx, op->ldx, j, n, c == 0, 1);
  }
  vf max = vf_set1(-INFINITY);
  for (size_t j = 0; j < live; j++) {
    vf x = vf_mul(vf_load(s->e[j]), vf_set1(op->fold));
    if (op->bias) { /* key - query falls with the lane */
      float bias[16] = {0};
      for (size_t r = 0; r < rows; r++) bias[r] = op->bias[(ptrdiff_t)(j0 + j) - (ptrdiff_t)(i + r)];
      x = vf_add(x, vf_load(bias));
    }
    vf_store(s->e[j], x);
    max = vf_max(max, x);
  }
  return max;
}

/* e_j, and their sum16: key j adds to partial sum j mod 16, then the fixed tree. */
static inline vf qk_f32_exp(qk_attend_f32 *s, size_t live, vf max) {
  vf part[16];
  for (size_t l = 0; l < 16; l++) part[l] = vf_zero();
  for (size_t j = 0; j < live; j++) {
    const vf e = qk_exp2(vf_sub(vf_load(s->e[j]), max));
    vf_store(s->e[j], e);
    part[j % 16] = vf_add(part[j % 16], e);
  }
  for (size_t half = 8; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) part[l] = vf_add(part[l], part[l + half]);
  return part[0];
}

/* o_c of `channels` channels from c on: chains over the live keys. v: first key, at channel c. */
QK_INLINE void qk_f32_weigh(qk_attend_f32 *s, const float *v, size_t ldx, size_t c, size_t live, const int channels) {
  vf acc[QK_F32_KEYS];
  QK_UNROLL for (int x = 0; x < channels; x++) acc[x] = vf_zero();
  for (size_t j = 0; j < live; j++) {
    const vf e = vf_load(s->e[j]);
    QK_UNROLL for (int x = 0; x < channels; x++) acc[x] = vf_fma(e, vf_set1(v[j * ldx + (size_t)x]), acc[x]);
  }
  QK_UNROLL for (int x = 0; x < channels; x++) vf_store(s->o[c + (size_t)x], acc[x]);
}

/* Values of channels c0 ... c0 + n - 1 of the block, merged into the output rows. */
static inline void qk_f32_values(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i, size_t rows, size_t j0,
                                 size_t live, size_t c0, size_t n) {
  const float *v = op->v + j0 * op->ldx + c0;
  size_t c = 0;
  for (; c + QK_F32_KEYS <= n; c += QK_F32_KEYS) qk_f32_weigh(s, v + c, op->ldx, c, live, QK_F32_KEYS);
  for (; c < n; c++) qk_f32_weigh(s, v + c, op->ldx, c, live, 1);
  const int first = j0 == 0, last = j0 + QK_BLOCK >= op->n;
  const vf add = vf_load(s->add), keep = vf_load(s->keep), z = vf_load(s->z);
  for (c = 0; c < n; c++) {
    float lanes[16] = {0};
    float *out = op->out + i * op->ldo + c0 + c;
    vf o = vf_mul(add, vf_load(s->o[c]));
    if (!first) {
      for (size_t r = 0; r < rows; r++) lanes[r] = out[r * op->ldo];
      o = vf_fma(keep, vf_load(lanes), o);
    }
    if (last) o = vf_div(o, z);
    vf_store(lanes, o);
    for (size_t r = 0; r < rows; r++) out[r * op->ldo] = lanes[r];
  }
}

static inline void qk_f32_queries(qk_attend_f32 *s, const qk_attention_f32 *op, size_t i, size_t rows) {
  vf max = vf_zero(), sum = vf_zero();
  for (size_t j0 = 0; j0 < op->n; j0 += QK_BLOCK) {
    const size_t live = op->n - j0 < QK_BLOCK ? op->n - j0 : QK_BLOCK;
    const vf m = qk_f32_scores(s, op, i, rows, j0, live), z = qk_f32_exp(s, live, m);
    vf keep = vf_zero(), add = vf_set1(1.0f);
    if (j0 == 0) {
      max = m;
      sum = z;
    } else {
      const vf top = vf_max(max, m);
      keep = qk_exp2(vf_sub(max, top));
      add = qk_exp2(vf_sub(m, top));
      sum = vf_fma(keep, sum, vf_mul(add, z));
      max = top;
    }
    vf_store(s->keep, keep);
    vf_store(s->add, add);
    vf_store(s->z, sum);
    for (size_t c = 0; c < op->h; c += QK_F32_CHANNELS)
      qk_f32_values(s, op, i, rows, j0, live, c, op->h - c < QK_F32_CHANNELS ? op->h - c : QK_F32_CHANNELS);
  }
}

static inline void qk_attention_f32_over_lanes(const qk_attention_f32 *op, size_t r0, size_t r1) {
  if (op->before) {
    qk_attention_f32_ref(op, r0, r1);
    return;
  }
  qk_attend_f32 s __attribute__((aligned(64)));
  for (size_t i = r0; i < r1; i += 16) qk_f32_queries(&s, op, i, r1 - i < 16 ? r1 - i : 16);
}
#endif
