/* pack.h - queries, keys and values of one head to codes, in the order that attention reads (kernels.h: qk_pack_q8).
 * Works on 16 rows at a time, so that the reductions and divisions of 16 rows are a few vector operations. Over lanes.
 */
#ifndef QK_ROWS_PACK_H
#define QK_ROWS_PACK_H
#include "kernels/rows/quantize.h"

#define QK_OFFSET_4 0x80808080u /* four codes of 0, offset */

/* Rows of a head are taken 16 at a time, of which those of a span are real, at least one, the first of them at x. In the place of the
   others one of them is read again; what comes of it is multiplied by 0, or not kept. Four of them are looked at together: loops that end after four rounds are
   predicted to the end, so that what one waits for is hidden by the next one's work. */
typedef struct qk_rows4 {
  const float *x[4];
} qk_rows4;
/* Rows r ... r + 3 of the 16. */
QK_INLINE qk_rows4 qk_rows4_of(const float *x, size_t ldx, qk_span live, size_t r) {
  qk_rows4 p;
  QK_UNROLL for (size_t j = 0; j < 4; j++) {
    const size_t row = r + j < live.end ? r + j : live.end - 1;
    p.x[j] = x + (row > live.first ? row - live.first : 0) * ldx;
  }
  return p;
}
/* The first `live` of 16 rows, 1 or more. */
static inline qk_span qk_rows_to(size_t live) { return (qk_span){0, live < 16 ? live : 16}; }

/* Scales of 16 rows, times fold, to scale[16], and what makes codes of them to by[16]. Rows past the real ones, and rows with NaN or
   infinity, have 0; rows before the real ones have any. Returns how many real rows have NaN or infinity. */
static __attribute__((noinline)) size_t qk_scales_16(const float *x, size_t ldx, qk_span live, size_t h, float fold,
                                                     float *scale, float *by) {
  vi m[16];
  for (size_t r = 0; r < 16; r += 4) {
    const qk_rows4 p = qk_rows4_of(x, ldx, live, r);
    vi m4[4];
    QK_UNROLL for (size_t j = 0; j < 4; j++) m4[j] = vi_zero();
    for (size_t i = 0; i < h; i += 16)
      QK_UNROLL for (size_t j = 0; j < 4; j++) m4[j] = vi_max(m4[j], qk_magnitude(qk_load_n(p.x[j] + i, h - i)));
    QK_UNROLL for (size_t j = 0; j < 4; j++) m[r + j] = m4[j];
  }
  const vf a = vf_keep(vf_from_bits(vi_hmax_rows(m)), live.end), zero = vf_zero();
  const vf tiny = vf_set1(0x1p-100f), top = vf_set1(qk_float_of_bits(QK_BITS_INFINITY));
  const vf scales = vf_mul(vf_div(a, vf_set1(127.0f)), vf_set1(fold)), bys = vf_div(vf_set1(127.0f), a);
  vf_store(scale, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, scales), zero));
  vf_store(by, vf_select_lt(a, top, vf_select_lt(a, tiny, zero, bys), zero));
  if (vi_hmax(vi_bits(a)) < QK_BITS_INFINITY) return 0;
  size_t bad = 0;
  int32_t b[16];
  vi_store(b, vi_bits(a));
  for (size_t r = live.first; r < live.end; r++) bad += b[r] >= QK_BITS_INFINITY;
  return bad;
}

/* Codes of the first n channels of x, at most 16, in the lowest bytes. Where `by` is 0 they are 0, but for NaN, of which the lowest
   byte is 0 (lanes_ref.h: vf_to_vi). */
QK_INLINE vi qk_codes_by(const float *x, size_t n, float by) { return vf_to_vi(vf_mul(qk_load_n(x, n), vf_set1(by))); }

/* Queries or keys of 16 rows to their panel. */
static inline void qk_pack_panel(const float *x, size_t ldx, qk_span live, size_t h, const float *by, uint8_t *to,
                                 uint32_t flip) {
  for (size_t i = 0; i < h; i += 16) {
    vi rows[16];
    for (size_t r = 0; r < 16; r += 4) {
      const qk_rows4 p = qk_rows4_of(x, ldx, live, r);
      QK_UNROLL for (size_t j = 0; j < 4; j++) rows[r + j] = qk_codes_by(p.x[j] + i, h - i, by[r + j]);
    }
    vi_store8_panel(to + i * 16, rows, flip);
  }
}

/* Starts of a panel of keys, from its codes plus 128. */
static inline vi qk_panel_starts(const int8_t *panel, size_t steps) {
  vi sum = vi_zero();
  for (size_t s = 0; s < steps; s++) {
    const vi codes = vi_load((const int32_t *)(const void *)(panel + s * 64));
    sum = vi_add(sum, vi_sum_bytes(vi_xor(codes, vi_set1((int32_t)QK_OFFSET_4))));
  }
  return vi_mul(vi_sub(sum, vi_set1(512 * (int32_t)steps)), vi_set1(-128));
}

/* Values of 64 rows, of which those of a span are real, the first of them at v: keys j, 16 + j, 32 + j, 48 + j of 16 channels are one
   vector. by: 0 of rows that are not real. into: the codes of these stay what they were, else become 0. */
#define QK_PACK_PARTS (QK_BLOCK / 16)
QK_INLINE void qk_pack_values(const float *v, size_t ldx, qk_span live, size_t h, float by[QK_PACK_PARTS][16],
                              uint8_t *to, const int into) {
  for (size_t r = 0; r < 16; r++) {
    size_t row[QK_PACK_PARTS];
    uint32_t own = 0; /* bytes of real rows */
    QK_UNROLL for (size_t b = 0; b < QK_PACK_PARTS; b++) {
      const size_t j = 16 * b + r;
      const int real = j >= live.first && j < live.end;
      row[b] = real ? j - live.first : 0;
      own |= real ? 255u << 8 * b : 0;
    }
    if (into && !own) continue;
    const vi mine = vi_set1((int32_t)own);
    for (size_t i = 0; i < h; i += 16) {
      int32_t *at = (int32_t *)(void *)(to + i * QK_BLOCK + r * 64);
      vi c[QK_PACK_PARTS];
      QK_UNROLL for (size_t b = 0; b < QK_PACK_PARTS; b++) c[b] = qk_codes_by(v + row[b] * ldx + i, h - i, by[b][r]);
      vi x = vi_xor(vi_join8(c[0], c[1], c[2], c[3]), vi_set1((int32_t)QK_OFFSET_4));
      if (into) { /* where bits of mine are set x, elsewhere what was */
        const vi was = vi_load(at);
        x = vi_xor(was, vi_and(vi_xor(was, x), mine));
      }
      vi_store(at, x);
    }
  }
}

/* Rows that are not there: 16 queries and keys, and scales of values. Most of a short sequence's block. */
static inline void qk_pack_none(const qk_head_q8 *hd, size_t r, float *v_by) {
  const size_t hp = qk_round_up(hd->h, 16);
  memset(hd->q_scale + r, 0, 16 * sizeof *hd->q_scale);
  memset(hd->k_scale + r, 0, 16 * sizeof *hd->k_scale);
  memset(hd->v_scale + r, 0, 16 * sizeof *hd->v_scale);
  memset(hd->k_start + r, 0, 16 * sizeof *hd->k_start);
  memset(v_by, 0, 16 * sizeof *v_by);
  memset(hd->q + r * hp, 0x80, 16 * hp);
  memset(hd->k + r * hp, 0, 16 * hp);
}

static inline size_t qk_rows_pack_q8(const qk_pack_q8 *op, size_t r0, size_t r1) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, ldx = op->ldx, h = hd->h, hp = qk_round_up(h, 16);
  float q_by[16], k_by[16], v_by[QK_PACK_PARTS][16];
  size_t bad = 0;
  for (size_t block = r0; block < r1; block += QK_BLOCK) {
    for (size_t b = 0; b < QK_PACK_PARTS; b++) {
      const size_t r = block + 16 * b, at = r * ldx;
      const qk_span live = qk_rows_to(n - r);
      if (r >= n) {
        qk_pack_none(hd, r, v_by[b]);
        continue;
      }
      bad += qk_scales_16(op->q + at, ldx, live, h, op->fold, hd->q_scale + r, q_by);
      bad += qk_scales_16(op->k + at, ldx, live, h, 1.0f, hd->k_scale + r, k_by);
      bad += qk_scales_16(op->v + at, ldx, live, h, 1.0f, hd->v_scale + r, v_by[b]);
      qk_pack_panel(op->q + at, ldx, live, h, q_by, hd->q + r * hp, QK_OFFSET_4);
      qk_pack_panel(op->k + at, ldx, live, h, k_by, (uint8_t *)(hd->k + r * hp), 0);
      vi_store(hd->k_start + r, qk_panel_starts(hd->k + r * hp, hp / QK_KSTEP));
    }
    qk_pack_values(op->v + block * ldx, ldx, (qk_span){0, n - block}, h, v_by, hd->v + block * hp, 0);
  }
  return bad;
}
#endif
