/* pack.h - queries, keys and values of one head to codes, in the order that attention reads (kernels.h: qk_pack_q8).
 * Works on 16 rows at a time, so that the reductions and divisions of 16 rows are a few vector operations. Over lanes.
 */
#ifndef QK_ROWS_PACK_H
#define QK_ROWS_PACK_H
#include "kernels/rows/quantize.h"

/* How 16 rows are quantized. Rows past the end, and rows with NaN or infinity, have keep = 0: their codes are 0. */
typedef struct qk_group {
  float scale[16], by[16];
  int32_t keep[16];
  size_t bad;
} qk_group;

static inline void qk_group_scales(qk_group *g, const float *x, size_t ldx, size_t live, uint32_t h, float fold) {
  vi m[16];
  for (size_t r = 0; r < 16; r++) {
    m[r] = vi_zero();
    if (r < live)
      for (size_t i = 0; i < h; i += 16) m[r] = vi_max(m[r], qk_magnitude(qk_load_n(x + r * ldx + i, h - i)));
  }
  vi bits = vi_hmax_rows(m);
  vf a = vf_from_bits(bits), tiny = vf_set1(0x1p-100f), top = vf_set1(qk_float_of_bits(QK_BITS_INFINITY));
  vf scale = vf_mul(vf_div(a, vf_set1(127.0f)), vf_set1(fold)), by = vf_div(vf_set1(127.0f), a), zero = vf_zero();
  vf_store(g->scale, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, scale), zero));
  vf_store(g->by, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, by), zero));
  vi_store(g->keep, vi_set1(-1));
  g->bad = 0;
  if (vi_hmax(bits) >= QK_BITS_INFINITY) {
    int32_t b[16];
    vi_store(b, bits);
    for (size_t r = 0; r < 16; r++) {
      g->keep[r] = b[r] < QK_BITS_INFINITY ? -1 : 0;
      g->bad += b[r] >= QK_BITS_INFINITY;
    }
  }
}

/* Codes of row r of the group, channels i ... i + 15. */
static inline vi qk_group_codes(const qk_group *g, const float *x, size_t ldx, size_t live, uint32_t h, size_t r,
                                size_t i) {
  if (r >= live) return vi_zero();
  vf v = vf_mul(qk_load_n(x + r * ldx + i, h - i), vf_set1(g->by[r]));
  return vi_and(vf_to_vi(v), vi_set1(g->keep[r]));
}

/* Queries and keys r ... r + 15 of the head, the first `live` of them real, the others padding. h is that of the head: passed, like
   live, so that it can be a constant. */
static inline size_t qk_pack_16(const qk_pack_q8 *op, size_t r, uint32_t h, size_t live) {
  const qk_head_q8 *hd = &op->head;
  size_t hp = qk_round_up(h, 16), ldx = op->ldx, bad = 0;
  const float *q = op->q + r * ldx, *k = op->k + r * ldx;
  qk_group g;

  qk_group_scales(&g, q, ldx, live, h, op->fold);
  bad += g.bad;
  memcpy(hd->q_scale + r, g.scale, sizeof g.scale);
  vi sums[16];
  for (size_t j = 0; j < 16; j++) {
    sums[j] = vi_zero();
    for (size_t i = 0; i < hp; i += 16) {
      vi c = qk_group_codes(&g, q, ldx, live, h, j, i);
      sums[j] = vi_add(sums[j], c);
      vi_store8(hd->q + (r + j) * hp + i, c);
    }
  }
  vi_store(hd->q_start + r, vi_mul(vi_sum_rows(sums), vi_set1(-128)));

  /* One panel of 16 keys: [hp/4][16][4]. */
  qk_group_scales(&g, k, ldx, live, h, 1.0f);
  bad += g.bad;
  memcpy(hd->k_scale + r, g.scale, sizeof g.scale);
  uint8_t *kp = hd->k + r * hp;
  for (size_t i = 0; i < hp; i += 16) {
    vi rows[16];
    for (size_t j = 0; j < 16; j++) rows[j] = vi_xor(qk_group_codes(&g, k, ldx, live, h, j, i), vi_set1(-128));
    vi_store8_panel(kp + i * 16, rows);
  }

  return bad;
}

/* Values of a block, the first `live` of them real. Keys j, 16 + j, 32 + j, 48 + j of 16 channels are one vector: sum of code
   << 8 i, and 128 to every byte. */
static inline size_t qk_pack_values(const qk_pack_q8 *op, size_t r, uint32_t h, size_t live) {
  enum { PARTS = QK_BLOCK / 16 };
  const qk_head_q8 *hd = &op->head;
  const size_t hp = qk_round_up(h, 16), ldx = op->ldx;
  const float *v[PARTS];
  size_t bad = 0, lives[PARTS];
  qk_group g[PARTS];
  for (size_t b = 0; b < PARTS; b++) {
    lives[b] = live > 16 * b ? live - 16 * b : 0;
    if (lives[b] > 16) lives[b] = 16;
    v[b] = op->v + (lives[b] ? r + 16 * b : 0) * ldx;
    qk_group_scales(&g[b], v[b], ldx, lives[b], h, 1.0f);
    bad += g[b].bad;
    memcpy(hd->v_scale + r + 16 * b, g[b].scale, sizeof g[b].scale);
  }
  for (size_t i = 0; i < hp; i += 16)
    for (size_t j = 0; j < 16; j++) {
      vi w = vi_set1(-2139062144); /* 0x80808080 */
      w = vi_add(w, qk_group_codes(&g[0], v[0], ldx, lives[0], h, j, i));
      w = vi_add(w, vi_shl(qk_group_codes(&g[1], v[1], ldx, lives[1], h, j, i), 8));
      w = vi_add(w, vi_shl(qk_group_codes(&g[2], v[2], ldx, lives[2], h, j, i), 16));
      w = vi_add(w, vi_shl(qk_group_codes(&g[3], v[3], ldx, lives[3], h, j, i), 24));
      vi_store((int32_t *)(void *)(hd->v + r * hp + i * QK_BLOCK + j * 64), w);
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
  memset(hd->q_start + r, 0, 16 * sizeof *hd->q_start);
  memset(hd->q + r * hp, 0, 16 * hp);
  memset(hd->k + r * hp, 0x80, 16 * hp);
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
