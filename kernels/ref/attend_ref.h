/* attend_ref.h - what a block of 64 keys gives one query, and how blocks merge, in plain C: what attention over packed heads, over
 * rows of floats and over a cache have in common (docs/NUMERICS.md). */
#ifndef QK_ATTEND_REF_H
#define QK_ATTEND_REF_H
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/ref/panel_ref.h"
#include "kernels/rows/epilogue.h"

#define REF_CHANNELS 1024u /* of the largest head */

/* What one query knows of the blocks so far: M and Z; O stands in the output row. */
typedef struct ref_running {
  float max, sum;
  int begun; /* 0: the next block is the first, and sets them */
} ref_running;
/* Of a block: m, z, t of the definition (floats have t = 127, so that values are t / 127 of the sums). */
typedef struct ref_block {
  float m, z, t;
} ref_block;
/* Codes of a block of keys and values (kernels.h: qk_head_q8). */
typedef struct ref_codes {
  const int8_t *k;
  const int32_t *k_start;
  const float *k_scale;
  const uint8_t *v;
  const float *v_scale;
} ref_codes;

static inline float ref_max_of(const float *s, qk_span keys) {
  float max = s[keys.first];
  for (size_t j = keys.first + 1; j < keys.end; j++) max = max > s[j] ? max : s[j];
  return max;
}
/* Of lanes j ... j + 15 those that are keys of the span; the others become 0. */
static inline vf ref_seen(vf x, qk_span keys, size_t j) {
  for (size_t l = 0; l < 16; l++) x.l[l] = j + l >= keys.first && j + l < keys.end ? x.l[l] : 0.0f;
  return x;
}
static inline float ref_exp2(float x) { return vf_first(qk_exp2(vf_set1(x))); }
static inline float ref_capped(float x, float cap) { return vf_first(qk_capped(vf_set1(x), vf_set1(cap))); }

/* The sums of a query's codes, [hp/4] steps of 4 that lie 64 bytes apart, with the block's keys, times their scales. */
static inline void ref_scores(const uint8_t *q, const ref_codes *b, size_t hp, float x[QK_BLOCK]) {
  for (size_t j = 0; j < QK_BLOCK; j++) { /* k: [4][hp/4][16][4] */
    int32_t acc = b->k_start[j];
    for (size_t c = 0; c < hp; c++)
      acc += q[c / 4 * 64 + c % 4] * b->k[j / 16 * 16 * hp + c / 4 * 64 + j % 16 * 4 + c % 4];
    x[j] = (float)acc * b->k_scale[j];
  }
}
/* From x_j to o_c, in h floats that are integers. */
static inline ref_block ref_weigh(const float x[QK_BLOCK], float f, qk_span keys, const ref_codes *b, size_t h,
                                  float *o) {
  float e[QK_BLOCK], u[QK_BLOCK], t = 0.0f;
  const float m = ref_max_of(x, keys) * f;
  vf z = vf_zero();
  for (size_t j = 0; j < QK_BLOCK; j += 16) {
    const vf y = qk_exp2_short(vf_fma(vf_load(x + j), vf_set1(f), vf_set1(-m)));
    vf_store(e + j, ref_seen(y, keys, j));
    z = vf_add(z, vf_load(e + j));
  }
  for (size_t j = 0; j < QK_BLOCK; j++) {
    u[j] = e[j] * b->v_scale[j];
    t = u[j] > t ? u[j] : t; /* +0 if none is above it, whatever the order */
  }
  int8_t p[QK_BLOCK];
  const float by = t < 0x1p-100f ? 0.0f : 127.0f / t;
  int32_t sum = 0;
  for (size_t j = 0; j < QK_BLOCK; j++) { /* keys j, 16 + j, 32 + j, 48 + j lie together */
    const uint8_t code = (uint8_t)ref_bits(ref_fma(u[j], by, QK_MAGIC)); /* 0 ... 127 */
    p[j % 16 * 4 + j / 16] = (int8_t)code;
    sum += code;
  }
  for (size_t c = 0; c < h; c += 16) { /* v: [hp/16][16][16][4] */
    const vi acc = ref_panel(b->v + c * QK_BLOCK, p, QK_BLOCK / 4, -128 * sum);
    for (size_t l = 0; l < 16 && c + l < h; l++) o[c + l] = (float)acc.l[l];
  }
  return (ref_block){m, vf_sum(z), t};
}
/* Of floats: scores s_j to o_c. */
static inline ref_block ref_weigh_f32(const float s[QK_BLOCK], qk_span keys, const float *v, size_t ldv, size_t h,
                                      float *o) {
  const float m = ref_max_of(s, keys);
  float e[QK_BLOCK];
  vf z = vf_zero();
  for (size_t j = 0; j < QK_BLOCK; j += 16) {
    const vf x = ref_seen(qk_exp2(vf_sub(vf_load(s + j), vf_set1(m))), keys, j);
    vf_store(e + j, x);
    z = vf_add(z, x);
  }
  for (size_t c = 0; c < h; c++) {
    o[c] = 0.0f;
    for (size_t j = keys.first; j < keys.end; j++) o[c] = ref_fma(e[j], v[j * ldv + c], o[c]);
  }
  return (ref_block){m, vf_sum(z), 127.0f};
}
static inline float ref_dot(const float *q, const float *k, size_t h) {
  float dot = 0.0f;
  for (size_t c = 0; c < h; c++) dot = ref_fma(q[c], k[c], dot);
  return dot;
}

/* A query before its blocks: to merge all alike, the first one too. */
static inline ref_running ref_begin(float *out, size_t h) {
  for (size_t c = 0; c < h; c++) out[c] = -0.0f;
  return (ref_running){-INFINITY, 0.0f, 1};
}
/* Merges a block and its sums o into g and out. */
static inline void ref_merge(ref_running *g, ref_block b, const float *o, size_t h, float *out) {
  const float scale = b.t / 127.0f;
  if (!g->begun) {
    *g = (ref_running){b.m, b.z, 1};
    for (size_t c = 0; c < h; c++) out[c] = scale * o[c];
    return;
  }
  const float max = g->max > b.m ? g->max : b.m, now = ref_exp2(b.m - max), keep = ref_exp2(g->max - max);
  *g = (ref_running){max, ref_fma(keep, g->sum, now * b.z), 1};
  for (size_t c = 0; c < h; c++) out[c] = ref_fma(keep, out[c], (now * scale) * o[c]);
}
#endif
