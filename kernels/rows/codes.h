/* codes.h - from codes of one static site to codes of another, without floats in memory between them (kernels.h: lookup_q8,
 * start_q8, pack_codes). Over lanes. */
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

/* The end of a code row, from code i on, a multiple of 16: `rest` codes of those in c, then zeros. */
static inline void qk_end_row(const qk_codes *q, int8_t *codes, size_t i, vi c, size_t rest) {
  if (rest) vi_store8(codes + i, vi_bits(vf_keep(vf_from_bits(c), rest))), i += 16;
  for (; i < q->ld; i += 16) vi_store8(codes + i, vi_zero());
}

static int32_t qk_start_row(const qk_codes *q, int8_t *codes, uint32_t d) {
  const size_t whole = d / 16 * 16, rest = d - whole;
  qk_end_row(q, codes, whole, rest ? vi_load8(codes + whole) : vi_zero(), rest);
  return (int32_t)(-128u * (uint32_t)vi_sum(qk_sum_codes(codes, 0, q->ld)));
}
static void qk_rows_start_q8(const qk_codes *q, uint32_t d, size_t r0, size_t r1) {
  for (size_t r = r0; r < r1; r++) {
    int8_t *codes = q->codes + r * q->ld;
    q->start[r] = qk_start_row(q, codes, d);
    if (qk_parts_have_starts(&q->parts)) qk_part_starts(q, r);
    if (q->low) q->low_start[r] = qk_start_row(q, q->low + r * q->ld, d);
    if (q->group_start) qk_group_starts(codes, d, q->group, q->group_start + r * qk_groups(d, q->group));
  }
}

/* Copies the first n of 16 columns and `live` of `rows` rows; what is not there is 0. */
static __attribute__((noinline)) void qk_copy_codes(int8_t *to, const int8_t *x, size_t ldx, size_t rows, size_t live,
                                                    size_t n) {
  memset(to, 0, rows * 16);
  for (size_t r = 0; r < live && r < rows; r++) memcpy(to + r * 16, x + r * ldx, n < 16 ? n : 16);
}
/* The first n of 16 columns of `live` of 16 rows as words, of four columns each. */
static inline void qk_words_of(const int8_t *x, size_t ldx, size_t live, size_t n, vi w[4]) {
  int8_t some[16 * 16];
  if (live < 16 || n < 16) {
    qk_copy_codes(some, x, ldx, 16, live, n);
    x = some;
    ldx = 16;
  }
  vi_load_words(x, ldx, w);
}
/* Queries and keys of 16 rows to their panels. */
static void qk_pack_codes_rows(const qk_pack_codes *op, size_t r) {
  const qk_head_codes *hd = &op->head;
  const size_t h = hd->h, hp = qk_round_up(h, 16), live = hd->n - r, ldx = op->ldx;
  const vi offset = vi_set1((int32_t)0x80808080u);
  int32_t *q = (int32_t *)(void *)(hd->q + r * hp), *k = (int32_t *)(void *)(hd->k + r * hp);
  vi sum = vi_zero(), w[4];
  for (size_t c = 0; c < h; c += 16, q += 64, k += 64) {
    qk_words_of(op->q + r * ldx + c, ldx, live, h - c, w);
    QK_UNROLL for (size_t s = 0; s < 4; s++) vi_store(q + s * 16, vi_xor(w[s], offset));
    qk_words_of(op->k + r * ldx + c, ldx, live, h - c, w);
    QK_UNROLL for (size_t s = 0; s < 4; s++) {
      vi_store(k + s * 16, w[s]);
      sum = vi_add_bytes(sum, w[s]);
    }
  }
  vi_store(hd->k_start + r, vi_mul(sum, vi_set1(-128 - op->q_zero)));
  vi_store(hd->k_less + r, vi_mul(sum, vi_set1(-op->q_zero)));
}
/* Values of up to 64 rows from j0 on, panel by panel. */
static void qk_pack_codes_values(const qk_pack_codes *op, size_t j0) {
  const qk_head_codes *hd = &op->head;
  const size_t h = hd->h, n = hd->n, end = j0 + 64, ldx = op->ldx, panel = QK_PANEL * qk_k8(n);
  const vi offset = vi_set1((int32_t)0x80808080u);
  for (size_t c = 0; c < h; c += 16) {
    int32_t *to = (int32_t *)(void *)(hd->v + c / 16 * panel + j0 * QK_PANEL);
    vi sum = j0 ? vi_load(hd->v_sums + c) : vi_zero();
    for (size_t j = j0; j < end; j += 4, to += 16) {
      const int8_t *x = op->v + j * ldx + c;
      vi word = vi_zero();
      if (j + 4 <= n && c + 16 <= h) {
        word = vi_load_columns(x, ldx);
      } else if (j < n) {
        int8_t some[4 * 16];
        qk_copy_codes(some, x, ldx, 4, n - j, h - c);
        word = vi_load_columns(some, 16);
      }
      vi_store(to, vi_xor(word, offset));
      sum = vi_add_bytes(sum, word);
    }
    vi_store(hd->v_sums + c, sum);
  }
}
static void qk_rows_pack_codes(const qk_pack_codes *op) {
  for (size_t r = 0; r < op->head.n; r += 16) qk_pack_codes_rows(op, r);
  for (size_t j = 0; j < op->head.n; j += 64) qk_pack_codes_values(op, j);
}
#endif
