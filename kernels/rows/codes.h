/* codes.h - from codes of one static site to codes of another, without floats in memory between them (kernels.h: lookup_q8,
 * start_q8, softmax_q8). Over lanes. */
#ifndef QK_ROWS_CODES_H
#define QK_ROWS_CODES_H
#include "kernels/rows/quantize.h"

static void qk_rows_lookup_q8(const int8_t *table, const int8_t *x, int8_t *y, size_t n) {
  const size_t whole = n / 64 * 64, rest = n - whole;
  int8_t last[64] = {0};
  memcpy(last, x + whole, rest);
  vb_lookup(table, x, y, whole);
  if (!rest) return;
  vb_lookup(table, last, last, 64);
  memcpy(y + whole, last, rest);
}

/* The end of a code row, from code i on, a multiple of 16: `rest` codes of those in c, then zeros. Returns what it kept. */
static inline vi qk_end_row(const qk_codes *q, int8_t *codes, size_t i, vi c, size_t rest) {
  const vi kept = vi_bits(vf_keep(vf_from_bits(c), rest));
  if (rest) vi_store8(codes + i, kept), i += 16;
  for (; i < q->ld; i += 16) vi_store8(codes + i, vi_zero());
  return kept;
}

static int32_t qk_start_row(const qk_codes *q, int8_t *codes, uint32_t d) {
  const size_t whole = d / 16 * 16, rest = d - whole;
  vi sum = qk_end_row(q, codes, whole, rest ? vi_load8(codes + whole) : vi_zero(), rest);
  for (size_t i = 0; i < whole; i += 16) sum = vi_add(sum, vi_load8(codes + i));
  return (int32_t)(-128u * (uint32_t)vi_sum(sum));
}
static void qk_rows_start_q8(const qk_codes *q, uint32_t d, size_t r0, size_t r1) {
  for (size_t r = r0; r < r1; r++) {
    int8_t *codes = q->codes + r * q->ld;
    q->start[r] = qk_start_row(q, codes, d);
    if (q->parts.count) qk_part_starts(q, r);
    if (q->low) q->low_start[r] = qk_start_row(q, q->low + r * q->ld, d);
    if (q->group_start) qk_group_starts(codes, d, q->group, q->group_start + r * qk_groups(d, q->group));
  }
}

/* Weights are looked up twice: once for their sum, once for their codes. That is cheaper than a place for them. */
static void qk_rows_softmax_q8(const qk_softmax_q8 *op, size_t r0, size_t r1) {
  const vw table = vw_load(op->exp);
  const vf zero = vf_set1(op->zero);
  const qk_limits limits = qk_limits_at(op->q.limits, 0);
  const size_t whole = op->n / 16 * 16, rest = op->n - whole;
  for (size_t r = r0; r < r1; r++) {
    const int8_t *x = op->x + r * op->ldx;
    int8_t *codes = op->q.codes + r * op->q.ld, last[16];
    memset(last, -128, sizeof last);
    memcpy(last, x + whole, rest);
    vi highest = vi_load8(last);
    for (size_t i = 0; i < whole; i += 16) highest = vi_max(highest, vi_load8(x + i));
    const int8_t max = (int8_t)vi_hmax(highest);
    const vi end = vw_take(table, max, last);
    vi sum = vi_bits(vf_keep(vf_from_bits(end), rest));
    for (size_t i = 0; i < whole; i += 16) sum = vi_add(sum, vw_take(table, max, x + i));
    const vf by = vf_set1(op->by / (float)vi_sum(sum));
    sum = qk_end_row(&op->q, codes, whole, qk_requantize(vi_to_vf(end), by, zero, limits), rest);
    for (size_t i = 0; i < whole; i += 16) {
      const vi c = qk_requantize(vi_to_vf(vw_take(table, max, x + i)), by, zero, limits);
      vi_store8(codes + i, c);
      sum = vi_add(sum, c);
    }
    op->q.start[r] = (int32_t)(-128u * (uint32_t)vi_sum(sum));
  }
}

/* n <= 16 codes. */
static inline vi qk_load8_n(const int8_t *p, size_t n) { return n >= 16 ? vi_load8(p) : vi_load8_part(p, n); }
/* Sums of up to 16 rows of W; the padding of their panel, from input `k` on, a multiple of 4. */
static inline void qk_panel_end(const qk_panels_q8 *op, size_t r, size_t n, vi sum, size_t k) {
  const size_t k8 = qk_k8(op->k);
  int32_t sums[16];
  vi_store(sums, sum);
  memcpy(op->sums + r, sums, n * sizeof *sums);
  memset(op->panels + r * k8 + k * 16, 0x80, (k8 - k) * 16);
}

/* Rows of codes to rows of W, 16 at a time. */
static void qk_panels_of_rows(const qk_panels_q8 *op) {
  const size_t k8 = qk_k8(op->k), k = op->k;
  for (size_t r = 0; r < op->n; r += 16) {
    const size_t n = op->n - r < 16 ? op->n - r : 16;
    vi sums[16];
    for (size_t j = 0; j < 16; j++) sums[j] = vi_zero();
    for (size_t c = 0; c < k; c += 16) {
      vi rows[16];
      for (size_t j = 0; j < 16; j++) {
        rows[j] = j < n ? qk_load8_n(op->x + (r + j) * op->ldx + c, k - c) : vi_zero();
        sums[j] = vi_add(sums[j], rows[j]);
      }
      vi_store8_panel(op->panels + r * k8 + c * 16, rows, 0x80808080u);
    }
    qk_panel_end(op, r, n, vi_sum_rows(sums), qk_round_up(k, 16));
  }
}
/* Columns of codes to rows of W: four of x make a step of a panel. */
static void qk_panels_of_columns(const qk_panels_q8 *op) {
  const size_t k8 = qk_k8(op->k);
  const vi byte = vi_set1(255), offset = vi_set1((int32_t)0x80808080u);
  for (size_t r = 0; r < op->n; r += 16) {
    const size_t n = op->n - r < 16 ? op->n - r : 16;
    uint8_t *to = op->panels + r * k8;
    vi sum = vi_zero();
    for (size_t c = 0; c < op->k; c += 4, to += 64) {
      vi word = vi_zero();
      for (size_t i = c + 4; i-- > c;) {
        const vi x = i < op->k ? qk_load8_n(op->x + i * op->ldx + r, n) : vi_zero();
        sum = vi_add(sum, x);
        word = vi_or(vi_shl(word, 8), vi_and(x, byte));
      }
      int32_t words[16];
      vi_store(words, vi_xor(word, offset));
      memcpy(to, words, sizeof words);
    }
    qk_panel_end(op, r, n, sum, qk_round_up(op->k, 4));
  }
}
static void qk_rows_panels_q8(const qk_panels_q8 *op) {
  if (op->transposed)
    qk_panels_of_columns(op);
  else
    qk_panels_of_rows(op);
}
#endif
