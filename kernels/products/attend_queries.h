/* attend_queries.h - queries of rows and of the heads that share a cache's blocks, as one list: query i of rows from row0 on is head
 * i % heads of row row0 + i / heads (kernels.h: qk_attend_cache). */
#ifndef QK_PRODUCTS_ATTEND_QUERIES_H
#define QK_PRODUCTS_ATTEND_QUERIES_H
#include "kernels/rows/pack.h"

/* Queries first ... first + n - 1 of the list. */
typedef struct qk_queries {
  size_t row0, first, n;
} qk_queries;

static inline size_t qk_queries_row(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return q->row0 + (q->first + i) / op->heads;
}
static inline size_t qk_queries_head(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return (q->first + i) % op->heads * op->h;
}
static inline float *qk_queries_out(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return op->out + qk_queries_row(op, q, i) * op->ldo + qk_queries_head(op, q, i);
}
static inline qk_span qk_queries_span(const qk_attend_cache *op, const qk_queries *q, size_t i) {
  return qk_span_of(op->position + qk_queries_row(op, q, i), op->before, op->keys, 1);
}
/* The blocks that any of them sees: from the first, up to the last and one. */
static inline size_t qk_queries_first(const qk_attend_cache *op, const qk_queries *q) {
  return qk_queries_span(op, q, 0).first / QK_BLOCK;
}
static inline size_t qk_queries_end(const qk_attend_cache *op, const qk_queries *q) {
  return (op->position + qk_queries_row(op, q, q->n - 1)) / QK_BLOCK + 1;
}
/* Floats of n queries from i on, side by side. */
static inline void qk_queries_gather(const qk_attend_cache *op, const qk_queries *q, size_t i, size_t n, float *to) {
  for (size_t end = i + n; i < end; i++, to += op->h)
    memcpy(to, op->q + qk_queries_row(op, q, i) * op->ldq + qk_queries_head(op, q, i), op->h * sizeof *to);
}

/* Codes of 4 bits of a block to those of 8, to `to`: 64 * hp bytes of keys, as many of values. Nothing carries from byte to byte. */
static __attribute__((noinline)) void qk_cache_unpack(const uint8_t *block, size_t h, uint8_t *to) {
  const size_t hp = qk_round_up(h, QK_LANES);
  const qk_head_q8 hd = qk_cache_head(block, h, 4);
  const qk_cache_small small = qk_cache_small_of(block, h);
  const vi half = vi_set1(0x0f0f0f0f), offset = vi_set1((int32_t)QK_OFFSET_4);
  const int32_t *k = (const int32_t *)(const void *)hd.k, *v = (const int32_t *)(const void *)hd.v;
  int32_t *out = (int32_t *)(void *)to;
  for (size_t j = 0; j < QK_BLOCK; j += 16)
    for (size_t c = 0; c < hp; c += 16, k += 32, out += 64) {
      const vi step = vi_load8((const int8_t *)small.step + c / 16 * QK_BLOCK + j);
      const vi byte = vi_and(vi_load8((const int8_t *)small.least + c / 16 * QK_BLOCK + j), vi_set1(255));
      const vi least = vi_mul(byte, vi_set1(0x01010101));
      QK_UNROLL for (size_t s = 0; s < 2; s++) {
        const vi x = vi_load(k + s * 16), low = vi_and(x, half), high = vi_and(vi_shr(x, 4), half);
        vi_store(out + s * 32, vi_xor(vi_add(vi_mul(low, step), least), offset));
        vi_store(out + s * 32 + 16, vi_xor(vi_add(vi_mul(high, step), least), offset));
      }
    }
  vi zero[16]; /* 128 less those of keys j, 16 + j, 32 + j, 48 + j */
  for (size_t j = 0; j < 16; j++) {
    const uint32_t z = small.zero[j] | (uint32_t)small.zero[16 + j] << 8 | (uint32_t)small.zero[32 + j] << 16 |
                       (uint32_t)small.zero[48 + j] << 24;
    zero[j] = vi_set1((int32_t)(QK_OFFSET_4 - z));
  }
  for (size_t c = 0; c < hp; c += 16)
    for (size_t j = 0; j < 16; j += 2, v += 16, out += 32) {
      const vi x = vi_load(v);
      vi_store(out, vi_add(vi_and(x, half), zero[j]));
      vi_store(out + 16, vi_add(vi_and(vi_shr(x, 4), half), zero[j + 1]));
    }
}
/* Block b as codes of 8 bits, where need be in scratch. */
static inline qk_head_q8 qk_attend_head(const qk_attend_cache *op, size_t b) {
  qk_head_q8 hd = qk_cache_head(op->block[b], op->h, op->bits);
  if (op->bits == 8) return hd;
  const size_t hp = qk_round_up(op->h, QK_LANES);
  uint8_t *to = (uint8_t *)op->scratch + qk_attend_scratch(op->h) - 2 * QK_BLOCK * hp;
  qk_cache_unpack(op->block[b], op->h, to);
  hd.k = (int8_t *)to, hd.v = to + QK_BLOCK * hp;
  return hd;
}
#endif
