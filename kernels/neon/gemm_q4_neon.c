/* gemm_q4_neon.c - the 4-bit product of every AArch64: each lane of 16 bits sums one of a channel's four inputs over a block of 32,
 * at most 8 * 15 * 127, before pairs are added and widened. Tiles of 2 rows x 1 panel: 16 registers of sums. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
#include "kernels/lanes/lanes_neon.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_neon
#define QK_TILE_ROWS 2
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) X(1, 1) X(2, 1)

#include "kernels/neon/nibbles_neon.h"

/* Channels 0-1 and 2-3 of each of w's registers. */
typedef struct qk_sum {
  int16x8_t a0, a1, b0, b1, c0, c1, d0, d1;
} qk_sum;
#define LOW(w, x) vmull_s8(vget_low_s8(w), vget_low_s8(x))
#define HIGH(w, x) vmull_high_s8(w, x)
#define MORE_LOW(s, w, x) vmlal_s8(s, vget_low_s8(w), vget_low_s8(x))
#define MORE_HIGH(s, w, x) vmlal_high_s8(s, w, x)
static inline qk_sum qk_sum_first(vi total, qk_nib_w w, int8x16_t a) {
  (void)total;
  return (qk_sum){LOW(w.a, a), HIGH(w.a, a), LOW(w.b, a), HIGH(w.b, a),
                  LOW(w.c, a), HIGH(w.c, a), LOW(w.d, a), HIGH(w.d, a)};
}
static inline qk_sum qk_sum_next(qk_sum s, qk_nib_w w, int8x16_t a) {
  return (qk_sum){MORE_LOW(s.a0, w.a, a), MORE_HIGH(s.a1, w.a, a), MORE_LOW(s.b0, w.b, a), MORE_HIGH(s.b1, w.b, a),
                  MORE_LOW(s.c0, w.c, a), MORE_HIGH(s.c1, w.c, a), MORE_LOW(s.d0, w.d, a), MORE_HIGH(s.d1, w.d, a)};
}
static inline vi qk_sum_end(vi t, qk_sum s) {
  return (vi){vpadalq_s16(t.a, vpaddq_s16(s.a0, s.a1)), vpadalq_s16(t.b, vpaddq_s16(s.b0, s.b1)),
              vpadalq_s16(t.c, vpaddq_s16(s.c0, s.c1)), vpadalq_s16(t.d, vpaddq_s16(s.d0, s.d1))};
}

static inline qk_sum qk_sum_begin(vi total) {
  (void)total;
  const int16x8_t z = vdupq_n_s16(0);
  return (qk_sum){z, z, z, z, z, z, z, z};
}
#define QK_SUM_GOES_ON 0
#define QK_SUM_UNROLLED 0
#define QK_Q4_CHAINS 1

#include "kernels/products/finish_group.h"
#include "kernels/products/row_steps.h"

void qk_finish_group_neon(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                          size_t panels) {
  qk_finish_group(op, sums, ldsums, m, rows, p, panels);
}

void qk_gemm_group_neon(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, NULL, qk_gemm_wide_neon);
}
#endif
