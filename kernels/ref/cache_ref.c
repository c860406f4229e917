/* cache_ref.c - attention over a cache of keys and values in plain C: the specification (kernels.h: qk_attend_cache). A query takes its
 * blocks one by one; what each gives it is a part, which merges into its result. */
#include <string.h>
#include "kernels/sets.h"
#include "kernels/ref/attend_ref.h"

/* A query: its floats, and of a cache of codes its codes, offset, in steps of 4 that lie 64 bytes apart. */
typedef struct ref_query {
  const float *q;
  size_t i; /* its position */
  float scale;
  uint8_t codes[REF_CHANNELS * 16];
} ref_query;

/* Query `head` of row r. Returns whether it has NaN or infinity, of which nothing is asked where the cache has floats. */
static size_t query_of(const qk_attend_cache *op, size_t r, size_t head, ref_query *to) {
  const size_t h = op->h;
  const float *q = op->q + r * op->ldq + head * h;
  float most = 0.0f, by = 0.0f;
  int finite = 1;
  to->q = q, to->i = op->position + r, to->scale = 0.0f;
  if (op->bits == 32) return 0;
  for (size_t c = 0; c < h; c++) {
    const float size = ref_from_bits(ref_bits(q[c]) & 0x7fffffffu);
    finite = finite && size < INFINITY;
    most = size > most ? size : most;
  }
  if (finite && most >= 0x1p-100f) {
    by = 127.0f / most;
    to->scale = most / 127.0f * op->fold;
  }
  for (size_t c = 0; c < qk_round_up(h, QK_LANES); c++)
    to->codes[c / 4 * 64 + c % 4] = (uint8_t)(128 + (by > 0.0f && c < h ? (int)ref_rint(q[c] * by) : 0));
  return !finite;
}

/* What codes of 4 bits stand for, behind the rest of scratch. */
static qk_head_q8 unpacked(const qk_attend_cache *op, size_t b) {
  const size_t h = op->h, hp = qk_round_up(h, QK_LANES);
  qk_head_q8 hd = qk_cache_head(op->block[b], h, 4);
  const qk_cache_small small = qk_cache_small_of(op->block[b], h);
  const uint8_t *kq = (const uint8_t *)hd.k, *vq = hd.v;
  uint8_t *k = (uint8_t *)op->scratch + qk_attend_scratch(h) - 2 * QK_BLOCK * hp, *v = k + QK_BLOCK * hp;
  for (size_t j = 0; j < QK_BLOCK; j++)
    for (size_t c = 0; c < hp; c++) {
      const size_t group = c / 16 * QK_BLOCK + j, panel = j / 16 * 16 * hp, row = j % 16 * 4 + c % 4;
      const int q = kq[panel / 2 + c / 8 * 64 + row] >> c % 8 / 4 * 4 & 15;
      const int w = vq[c / 16 * 512 + j % 16 / 2 * 64 + c % 16 * 4 + j / 16] >> j % 2 * 4 & 15;
      k[panel + c / 4 * 64 + row] = (uint8_t)(small.step[group] * q + small.least[group] - 128);
      v[c / 16 * 1024 + j % 16 * 64 + c % 16 * 4 + j / 16] = (uint8_t)(w - small.zero[j] + 128);
    }
  hd.k = (int8_t *)k, hd.v = v;
  return hd;
}

/* What block b gives a query, the n-th of its part. */
static void part_of(const qk_attend_cache *op, const ref_query *q, size_t b, size_t n, float *part) {
  const size_t h = op->h;
  float *values = part + QK_PART_VALUES + n * qk_round_up(h, QK_LANES);
  const qk_span keys = qk_span_in(qk_span_of(q->i, op->before, op->keys, 1), b * QK_BLOCK);
  float x[QK_BLOCK] = {0}, o[REF_CHANNELS];
  ref_block got;
  part[QK_PART_MAX + n] = -INFINITY;
  part[QK_PART_SUM + n] = part[QK_PART_TOP + n] = part[QK_PART_SEEN + n] = 0.0f;
  if (keys.first >= keys.end) return;
  if (op->bits == 32) {
    const float *k = (const float *)(const void *)op->block[b];
    for (size_t j = keys.first; j < keys.end; j++) {
      x[j] = ref_dot(q->q, k + j * h, h) * op->fold;
      if (op->cap != 0.0f) x[j] = ref_capped(x[j], op->cap);
    }
    got = ref_weigh_f32(x, keys, k + QK_BLOCK * h, h, h, o);
    memcpy(values, o, h * sizeof *o);
  } else {
    const qk_head_q8 hd = op->bits == 4 ? unpacked(op, b) : qk_cache_head(op->block[b], h, 8);
    const ref_codes c = {hd.k, hd.k_start, hd.k_scale, hd.v, hd.v_scale};
    ref_scores(q->codes, &c, qk_round_up(h, QK_LANES), x);
    for (size_t j = keys.first; op->cap != 0.0f && j < keys.end; j++) x[j] = ref_capped(x[j] * q->scale, op->cap);
    got = ref_weigh(x, op->cap != 0.0f ? 1.0f : q->scale, keys, &c, h, o);
    for (size_t v = 0; v < h; v++) {
      const int32_t sum = (int32_t)o[v];
      memcpy(values + v, &sum, sizeof sum);
    }
  }
  part[QK_PART_MAX + n] = got.m, part[QK_PART_SUM + n] = got.z, part[QK_PART_TOP + n] = got.t,
                     part[QK_PART_SEEN + n] = 1.0f;
}

size_t qk_attend_part_ref(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, float *parts) {
  const size_t queries = (r1 - r0) * op->heads, words = qk_attend_part_words(queries, op->h);
  ref_query q;
  size_t bad = 0;
  for (size_t i = 0; i < queries; i++) {
    bad += query_of(op, r0 + i / op->heads, i % op->heads, &q);
    for (size_t b = b0; b < b1; b++) part_of(op, &q, b, i, parts + (b - b0) * words);
  }
  return bad;
}

/* Merges what a block gave the n-th query. */
static void merge_part(const qk_attend_cache *op, ref_running *g, const float *part, size_t n, float *out) {
  const float *values = part + QK_PART_VALUES + n * qk_round_up(op->h, QK_LANES);
  float o[REF_CHANNELS];
  if (part[QK_PART_SEEN + n] <= 0.0f) return;
  for (size_t c = 0; c < op->h; c++) {
    int32_t sum;
    memcpy(&sum, values + c, sizeof sum);
    o[c] = op->bits == 32 ? values[c] : (float)sum;
  }
  ref_merge(g, (ref_block){part[QK_PART_MAX + n], part[QK_PART_SUM + n], part[QK_PART_TOP + n]}, o, op->h, out);
}
static void finish(const qk_attend_cache *op, const ref_running *g, float *out) {
  const float whole = 1.0f / g->sum;
  for (size_t c = 0; c < op->h; c++) out[c] = op->bits == 32 ? out[c] / g->sum : out[c] * whole;
}

void qk_attend_merge_ref(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, const float *parts) {
  const size_t queries = (r1 - r0) * op->heads, words = qk_attend_part_words(queries, op->h);
  for (size_t i = 0; i < queries; i++) {
    float *out = op->out + (r0 + i / op->heads) * op->ldo + i % op->heads * op->h;
    ref_running g = ref_begin(out, op->h);
    for (size_t b = b0; b < b1; b++) merge_part(op, &g, parts + (b - b0) * words, i, out);
    finish(op, &g, out);
  }
}

size_t qk_attend_cache_ref(const qk_attend_cache *op, size_t r0, size_t r1) {
  float part[QK_PART_VALUES + REF_CHANNELS];
  ref_query q;
  size_t bad = 0;
  for (size_t r = r0; r < r1; r++)
    for (size_t head = 0; head < op->heads; head++) {
      float *out = op->out + r * op->ldo + head * op->h;
      ref_running g = ref_begin(out, op->h);
      bad += query_of(op, r, head, &q);
      for (size_t b = qk_span_of(q.i, op->before, op->keys, 1).first / QK_BLOCK; b <= q.i / QK_BLOCK; b++) {
        part_of(op, &q, b, 0, part);
        merge_part(op, &g, part, 0, out);
      }
      finish(op, &g, out);
    }
  return bad;
}
