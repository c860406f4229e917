/* pack.h - queries, keys and values of one head to codes, in the order that attention reads (kernels.h: qk_pack_q8).
 * Works on 16 rows at a time, so that the reductions and divisions of 16 rows are a few vector operations. Over lanes.
 */
#ifndef QK_ROWS_PACK_H
#define QK_ROWS_PACK_H
#include "kernels/rows/quantize.h"

/* 16 rows of a head, the first `live` of them real, 1 ... 16. In the place of the others the last one is read again; what comes of
   it is multiplied by 0. */
typedef struct qk_rows16 {
  const float *x;
  size_t ldx, live, h;
} qk_rows16;
static inline size_t qk_rows16_step(const qk_rows16 *g, size_t r) { return r + 1 < g->live ? g->ldx : 0; }

/* Scales of 16 rows, times fold, to scale[16], and what makes codes of them to by[16]. Rows past the end, and rows with NaN or
   infinity, have 0. Returns how many rows have NaN or infinity. */
static inline size_t qk_group_scales(const qk_rows16 *g, float fold, float *scale, float *by) {
  vi m[16];
  const float *x = g->x;
  for (size_t r = 0; r < 16; x += qk_rows16_step(g, r), r++) {
    vi m0 = vi_zero(), m1 = vi_zero();
    size_t i = 0;
    for (; i + 32 <= g->h; i += 32) {
      m0 = vi_max(m0, qk_magnitude(vf_load(x + i)));
      m1 = vi_max(m1, qk_magnitude(vf_load(x + i + 16)));
    }
    for (; i < g->h; i += 16) m0 = vi_max(m0, qk_magnitude(qk_load_n(x + i, g->h - i)));
    m[r] = vi_max(m0, m1);
  }
  const vf a = vf_keep(vf_from_bits(vi_hmax_rows(m)), g->live), zero = vf_zero();
  const vf tiny = vf_set1(0x1p-100f), top = vf_set1(qk_float_of_bits(QK_BITS_INFINITY));
  const vf scales = vf_mul(vf_div(a, vf_set1(127.0f)), vf_set1(fold)), bys = vf_div(vf_set1(127.0f), a);
  vf_store(scale, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, scales), zero));
  vf_store(by, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, bys), zero));
  if (vi_hmax(vi_bits(a)) < QK_BITS_INFINITY) return 0;
  size_t bad = 0;
  int32_t b[16];
  vi_store(b, vi_bits(a));
  for (size_t r = 0; r < 16; r++) bad += b[r] >= QK_BITS_INFINITY;
  return bad;
}

/* Codes of the first n channels of x, at most 16. Where `by` is 0 they are 0, but for NaN, of which the lowest byte is. */
QK_INLINE vi qk_codes_by(const float *x, size_t n, float by) { return vf_to_vi(vf_mul(qk_load_n(x, n), vf_set1(by))); }

/* Queries r ... r + 15 of the head. */
static inline void qk_pack_queries(const qk_head_q8 *hd, const qk_rows16 *g, size_t r, const float *by) {
  const size_t hp = qk_round_up(hd->h, 16);
  for (size_t i = 0; i < hp; i += 16) {
    const float *x = g->x + i;
    vi rows[16];
    for (size_t j = 0; j < 16; x += qk_rows16_step(g, j), j++) rows[j] = qk_codes_by(x, g->h - i, by[j]);
    vi_store8_panel(hd->q + r * hp + i * 16, rows);
  }
}

/* Keys r ... r + 15; bad: of them with NaN or infinity. */
static inline void qk_pack_keys(const qk_head_q8 *hd, const qk_rows16 *g, size_t r, const float *by, size_t bad) {
  const size_t hp = qk_round_up(hd->h, 16);
  int8_t *codes = hd->k + r * hp;
  const float *x = g->x;
  vi sums[16];
  for (size_t j = 0; j < 16; x += qk_rows16_step(g, j), j++) {
    vi sum = vi_zero();
    for (size_t i = 0; i < hp; i += 16, codes += 16) {
      const vi c = qk_codes_by(x + i, g->h - i, by[j]);
      sum = vi_add(sum, c);
      vi_store8(codes, c);
    }
    sums[j] = sum;
  }
  vi_store(hd->k_start + r, vi_mul(vi_sum_rows(sums), vi_set1(-128)));
  for (size_t j = 0; bad && j < 16; j++)
    if (by[j] == 0.0f) {
      memset(hd->k + (r + j) * hp, 0, hp);
      hd->k_start[r + j] = 0;
    }
}

/* Values of a block: keys j, 16 + j, 32 + j, 48 + j of 16 channels are one vector. Rows from 16 * parts on are not there. */
#define QK_PARTS (QK_BLOCK / 16)
static inline void qk_pack_values(const qk_head_q8 *hd, const qk_rows16 g[QK_PARTS], size_t parts, size_t r,
                                  float by[QK_PARTS][16]) {
  const size_t h = hd->h, hp = qk_round_up(h, 16);
  uint8_t *to = hd->v + r * hp;
  for (size_t i = 0; i < hp; i += 16) {
    const float *x[QK_PARTS];
    QK_UNROLL for (size_t b = 0; b < QK_PARTS; b++) x[b] = b < parts ? g[b].x + i : NULL;
    for (size_t j = 0; j < 16; j++, to += 64) {
      vi c[QK_PARTS];
      QK_UNROLL for (size_t b = 0; b < QK_PARTS; b++) {
        c[b] = vi_zero();
        if (b >= parts) continue;
        c[b] = qk_codes_by(x[b], h - i, by[b][j]);
        x[b] += qk_rows16_step(&g[b], j);
      }
      vi_store((int32_t *)(void *)to,
               vi_xor(vi_join8(c[0], c[1], c[2], c[3]), vi_set1(-2139062144))); /* 0x80808080 */
    }
  }
}

/* 16 queries and keys of padding, and the scales of values. Most of a short sequence's block. */
static inline void qk_pack_none(const qk_head_q8 *hd, size_t r) {
  const size_t hp = qk_round_up(hd->h, 16);
  memset(hd->q_scale + r, 0, 16 * sizeof *hd->q_scale);
  memset(hd->k_scale + r, 0, 16 * sizeof *hd->k_scale);
  memset(hd->v_scale + r, 0, 16 * sizeof *hd->v_scale);
  memset(hd->k_start + r, 0, 16 * sizeof *hd->k_start);
  memset(hd->q + r * hp, 0x80, 16 * hp);
  memset(hd->k + r * hp, 0, 16 * hp);
}

/* The scales of queries, keys and values first: what each waits for is hidden by the others' work. */
static size_t qk_rows_pack_q8(const qk_pack_q8 *op, size_t r0, size_t r1) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, end = qk_round_up(r1, QK_BLOCK);
  size_t bad = 0;
  for (size_t r = r0; r < end; r += QK_BLOCK) {
    qk_rows16 v[QK_PARTS];
    float v_by[QK_PARTS][16];
    size_t parts = 0;
    for (; parts < QK_PARTS && r + 16 * parts < n; parts++) {
      const size_t i = r + 16 * parts;
      qk_rows16 q = {op->q + i * op->ldx, op->ldx, n - i < 16 ? n - i : 16, hd->h}, k = q;
      float q_by[16], k_by[16];
      k.x = op->k + i * op->ldx;
      v[parts] = k;
      v[parts].x = op->v + i * op->ldx;
      bad += qk_group_scales(&q, op->fold, hd->q_scale + i, q_by);
      const size_t bad_keys = qk_group_scales(&k, 1.0f, hd->k_scale + i, k_by);
      bad += bad_keys + qk_group_scales(&v[parts], 1.0f, hd->v_scale + i, v_by[parts]);
      qk_pack_queries(hd, &q, i, q_by);
      qk_pack_keys(hd, &k, i, k_by, bad_keys);
    }
    qk_pack_values(hd, v, parts, r, v_by);
    for (; parts < QK_PARTS; parts++) qk_pack_none(hd, r + 16 * parts);
  }
  return bad;
}
#endif
