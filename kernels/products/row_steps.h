/* row_steps.h - a few rows times weights of 4 bits with integer steps (kernels.h: qk_gemm_group), read as they lie in the file: one
 * stream of codes for all of these rows. Unpacking codes to bytes costs more instructions than memory gives time for, so a group's
 * codes are summed as they are, 0 ... 15, and its step and zero point meet only the sum:
 *
 *   sum of (q - zero) * step * a = step * (sum of q * a - zero * sum of a)
 *
 * Over what tile_group.h takes of a set. A set may define QK_STEPS_ROWS, as many rows as pay, before including this. */
#ifndef QK_PRODUCTS_ROW_STEPS_H
#define QK_PRODUCTS_ROW_STEPS_H
#include "kernels/products/tile_group.h"

#ifndef QK_STEPS_ROWS
#define QK_STEPS_ROWS 2
#endif
#define QK_STEPS_PANELS 16u /* between two epilogues */

/* A block of 32 inputs at w to the exact sums of the rows. */
QK_INLINE void qk_steps_block(vi total[QK_STEPS_ROWS], const int8_t *a, size_t lda, const uint8_t *w, const int rows) {
  qk_sum sum[QK_STEPS_ROWS];
  QK_UNROLL for (int s = 0; s < 8; s++) {
    const uint8_t *from = w + s / 2 * 64;
    const qk_nib_w b = s % 2 ? qk_nib_high(from) : qk_nib_low(from);
    if (s % 2 == 0) __builtin_prefetch(from + QK_ROW_AHEAD);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_nib_a x = qk_nib_spread(a + (size_t)r * lda + s * 4);
      sum[r] = s ? qk_sum_next(sum[r], b, x) : qk_sum_first(total[r], b, x);
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) total[r] = qk_sum_end(total[r], sum[r]);
}

/* Rows m ... times panel p: their sums, exact and then as floats, to rows of out. */
QK_INLINE void qk_steps_panel(const qk_gemm_group *op, size_t m, size_t p, float *out, const int rows) {
  const size_t groups = qk_groups(op->k, op->group), each = op->group / QK_GROUP, lda = op->a.ld;
  const int8_t *a = op->a.codes + m * lda, *step = (const int8_t *)op->steps + p * QK_PANEL * groups;
  const uint8_t *w = op->w + p * QK_PANEL * qk_k8(op->k) / 2;
  const int32_t *start = op->a.group_start + m * groups;
  vi all[QK_STEPS_ROWS];
  QK_UNROLL for (int r = 0; r < rows; r++) all[r] = vi_zero();
  for (size_t left = (op->k + QK_GROUP - 1) / QK_GROUP; left > 0; step += QK_PANEL, start++) {
    vi total[QK_STEPS_ROWS];
    QK_UNROLL for (int r = 0; r < rows; r++) total[r] = vi_zero();
    size_t n = left < each ? left : each;
    left -= n;
    __builtin_prefetch(step + QK_ROW_AHEAD / 16);
    for (; n > 0; n--, a += QK_GROUP, w += QK_SMALL_BYTES) qk_steps_block(total, a, lda, w, rows);
    /* A byte with its sign is 16 * (zero - 8) + step. */
    const vi both = vi_load8(step), by = vi_and(both, vi_set1(15)), zero = vi_shr(vi_add(both, vi_set1(128)), 4);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const vi codes = vi_set1(start[(size_t)r * groups] / 8); /* less the sum of the group's codes of activations */
      all[r] = vi_add(all[r], vi_mul(vi_add(total[r], vi_mul(zero, codes)), by));
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) vf_store(out + (size_t)r * QK_STEPS_PANELS * QK_PANEL, vi_to_vf(all[r]));
}

#define QK_STEPS_DEFINE(r)                                                                                             \
  static __attribute__((noinline)) void qk_steps_##r(const qk_gemm_group *op, size_t m, size_t p, size_t panels,       \
                                                     float *out) {                                                     \
    for (size_t i = 0; i < panels; i++) qk_steps_panel(op, m, p + i, out + i * QK_PANEL, r);                           \
  }
QK_STEPS_DEFINE(1)
QK_STEPS_DEFINE(2)
#if QK_STEPS_ROWS == 4
QK_STEPS_DEFINE(3)
QK_STEPS_DEFINE(4)
#endif

/* Whether a product is one for qk_steps_over_rows. */
static inline int qk_steps_few(const qk_gemm_group *op, size_t rows) {
  return op->steps && op->bits == 4 && !op->a.grouped && rows <= QK_STEPS_ROWS;
}
/* At most QK_STEPS_ROWS rows. */
static inline void qk_steps_over_rows(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  static void (*const by_rows[])(const qk_gemm_group *, size_t, size_t, size_t, float *) = {
      qk_steps_1, qk_steps_2,
#if QK_STEPS_ROWS == 4
      qk_steps_3, qk_steps_4
#endif
  };
  float sums[QK_STEPS_ROWS * QK_STEPS_PANELS * QK_PANEL] __attribute__((aligned(64)));
  if (m0 == m1) return;
  for (size_t p = p0; p < p1; p += QK_STEPS_PANELS) {
    const size_t panels = p1 - p < QK_STEPS_PANELS ? p1 - p : QK_STEPS_PANELS;
    by_rows[m1 - m0 - 1](op, m0, p, panels, sums);
    QK_FINISH_GROUP(op, sums, QK_STEPS_PANELS * QK_PANEL, m0, m1 - m0, p, panels);
  }
}
#endif
