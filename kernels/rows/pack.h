/* pack.h - queries, keys and values of one head to codes, in the order that attention reads (kernels.h: qk_pack_q8).
 * Works on 16 rows at a time, so that the reductions and divisions of 16 rows are a few vector operations. Over lanes.
 */
#ifndef QK_ROWS_PACK_H
#define QK_ROWS_PACK_H
#include "kernels/rows/quantize.h"

/* Scales of 16 rows, times fold, to scale[16], and what makes codes of them to by[16]. Rows past the end, and rows with NaN or
   infinity, have 0: a product of 0 and any float has a code of 0, for NaN too (lanes_ref.h: vf_to_vi). Returns how many rows
   have NaN or infinity. */
QK_INLINE size_t qk_group_scales(const float *x, size_t ldx, const size_t live, const uint32_t h, float fold, float *scale,
                                 float *by) {
  vi m[16];
  QK_UNROLL for (size_t r = 0; r < 16; r++) {
    m[r] = vi_zero();
    if (r < live)
      for (size_t i = 0; i < h; i += 16) m[r] = vi_max(m[r], qk_magnitude(qk_load_n(x + r * ldx + i, h - i)));
  }
  const vi bits = vi_hmax_rows(m);
  const vf a = vf_from_bits(bits), tiny = vf_set1(0x1p-100f), top = vf_set1(qk_float_of_bits(QK_BITS_INFINITY));
  const vf scales = vf_mul(vf_div(a, vf_set1(127.0f)), vf_set1(fold)), bys = vf_div(vf_set1(127.0f), a), zero = vf_zero();
  vf_store(scale, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, scales), zero));
  vf_store(by, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, bys), zero));
  if (vi_hmax(bits) < QK_BITS_INFINITY) return 0;
  size_t bad = 0;
  int32_t b[16];
  vi_store(b, bits);
  for (size_t r = 0; r < 16; r++) bad += b[r] >= QK_BITS_INFINITY;
  return bad;
}

/* Codes of row r of a group, channels i ... i + 15, in the lowest bytes. */
QK_INLINE vi qk_group_codes(const float *by, const float *x, size_t ldx, const size_t live, const uint32_t h, size_t r,
                            size_t i) {
  if (r >= live) return vi_zero();
  return vf_to_vi(vf_mul(qk_load_n(x + r * ldx + i, h - i), vf_set1(by[r])));
}

/* Queries and keys r ... r + 15 of the head, the first `live` of them real, the others padding. h is that of the head: passed, like
   live, so that it can be a constant. */
QK_INLINE size_t qk_pack_16(const qk_pack_q8 *op, size_t r, const uint32_t h, const size_t live) {
  const qk_head_q8 *hd = &op->head;
  const size_t hp = qk_round_up(h, 16), each = hp / 16, ldx = op->ldx;
  const float *q = op->q + r * ldx, *k = op->k + r * ldx;
  float by[16];

  size_t bad = qk_group_scales(q, ldx, live, h, op->fold, hd->q_scale + r, by);
  for (size_t i = 0; i < hp; i += 16) {
    vi rows[16];
    QK_UNROLL for (size_t j = 0; j < 16; j++) rows[j] = qk_group_codes(by, q, ldx, live, h, j, i);
    vi_store8_panel(hd->q + r * hp + i * 16, rows);
  }

  bad += qk_group_scales(k, ldx, live, h, 1.0f, hd->k_scale + r, by);
  vi sums[16];
  for (size_t at = 0; at < hp; at += 4) { /* vectors of 16 codes, `each` a row, that lie one after another */
    vi four[4];
    QK_UNROLL for (size_t j = 0; j < 4; j++) {
      const size_t row = (at + j) / each, i = (at + j) % each;
      four[j] = qk_group_codes(by, k, ldx, live, h, row, i * 16);
      sums[row] = i ? vi_add(sums[row], four[j]) : four[j];
    }
    vi_store8_rows(hd->k + r * hp + at * 16, four);
  }
  vi_store(hd->k_start + r, vi_mul(vi_sum_rows(sums), vi_set1(-128)));
  return bad;
}

/* Values of a block, the first `live` of them real. Keys j, 16 + j, 32 + j, 48 + j of 16 channels are one vector. */
QK_INLINE size_t qk_pack_values(const qk_pack_q8 *op, size_t r, const uint32_t h, const size_t live) {
  enum { PARTS = QK_BLOCK / 16 };
  const qk_head_q8 *hd = &op->head;
  const size_t hp = qk_round_up(h, 16), ldx = op->ldx;
  const float *v[PARTS];
  size_t bad = 0, lives[PARTS];
  float by[PARTS][16];
  QK_UNROLL for (size_t b = 0; b < PARTS; b++) {
    lives[b] = live > 16 * b ? live - 16 * b : 0;
    if (lives[b] > 16) lives[b] = 16;
    v[b] = op->v + (lives[b] ? r + 16 * b : 0) * ldx;
  }
  for (size_t b = 0; b < PARTS; b++) bad += qk_group_scales(v[b], ldx, lives[b], h, 1.0f, hd->v_scale + r + 16 * b, by[b]);
  for (size_t i = 0; i < hp; i += 16)
    for (size_t j = 0; j < 16; j++) {
      vi c[PARTS];
      QK_UNROLL for (size_t b = 0; b < PARTS; b++) c[b] = qk_group_codes(by[b], v[b], ldx, lives[b], h, j, i);
      vi_store((int32_t *)(void *)(hd->v + r * hp + i * QK_BLOCK + j * 64),
               vi_xor(vi_join8(c[0], c[1], c[2], c[3]), vi_set1(-2139062144))); /* 0x80808080 */
    }
  return bad;
}

/* 16 rows of padding: what qk_pack_16 makes of none, without making it. Most of a short sequence's block. */
static inline void qk_pack_none(const qk_head_q8 *hd, size_t r) {
  const size_t hp = qk_round_up(hd->h, 16);
  uint8_t *vp = hd->v + r / QK_BLOCK * QK_BLOCK * hp + r % QK_BLOCK * 16;
  memset(hd->q_scale + r, 0, 16 * sizeof *hd->q_scale);
  memset(hd->k_scale + r, 0, 16 * sizeof *hd->k_scale);
  memset(hd->v_scale + r, 0, 16 * sizeof *hd->v_scale);
  memset(hd->k_start + r, 0, 16 * sizeof *hd->k_start);
  memset(hd->q + r * hp, 0x80, 16 * hp);
  memset(hd->k + r * hp, 0, 16 * hp);
  for (size_t i = 0; i < hp; i += 16) memset(vp + i * QK_BLOCK, 0x80, (size_t)16 * 16);
}

static size_t qk_rows_pack_q8(const qk_pack_q8 *op, size_t r0, size_t r1) {
  size_t bad = 0, end = qk_round_up(r1, QK_BLOCK);
  const uint32_t h = op->head.h;
  for (size_t r = r0; r < end; r += 16) {
    const size_t live = op->head.n > r ? op->head.n - r : 0;
    if (live >= 16 && h == 32) /* the usual sizes as constants */
      bad += qk_pack_16(op, r, 32, 16);
    else if (live >= 16 && h == 64)
      bad += qk_pack_16(op, r, 64, 16);
    else if (!live)
      qk_pack_none(&op->head, r);
    else
      bad += qk_pack_16(op, r, h, live < 16 ? live : 16);
  }
  for (size_t r = r0; r < end; r += QK_BLOCK) {
    const size_t live = op->head.n - r;
    if (live >= QK_BLOCK && h == 32)
      bad += qk_pack_values(op, r, 32, QK_BLOCK);
    else if (live >= QK_BLOCK && h == 64)
      bad += qk_pack_values(op, r, 64, QK_BLOCK);
    else
      bad += qk_pack_values(op, r, h, live < QK_BLOCK ? live : QK_BLOCK);
  }
  return bad;
}
#endif
