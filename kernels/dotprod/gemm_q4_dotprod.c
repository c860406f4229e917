/* gemm_q4_dotprod.c - the 4-bit product by sdot: codes of 0 ... 15 are signed bytes as they are. Tiles of 4 rows x 1 panel: 16 sums,
 * which begin with a group's start. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
QK_TARGET_BEGIN_DOTPROD
#include "kernels/lanes/lanes_neon.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_neon
#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_FROM_2_TO_4(X, 1)

#include "kernels/neon/nibbles_neon.h"

typedef vi qk_sum;
static inline int32x4_t dotprod_sdot(int32x4_t acc, int8x16_t w, int8x16_t a) {
  __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a));
  return acc;
}
static inline vi qk_sum_next(vi s, qk_nib_w w, int8x16_t a) {
  return (vi){dotprod_sdot(s.a, w.a, a), dotprod_sdot(s.b, w.b, a), dotprod_sdot(s.c, w.c, a),
              dotprod_sdot(s.d, w.d, a)};
}
static inline vi qk_sum_first(vi total, qk_nib_w w, int8x16_t a) { return qk_sum_next(total, w, a); }
static inline vi qk_sum_end(vi total, vi sum) {
  (void)total;
  return sum;
}

static inline vi qk_sum_begin(vi total) { return total; }
#define QK_SUM_GOES_ON 0
#define QK_SUM_UNROLLED 0
#define QK_Q4_CHAINS 4

#include "kernels/products/row_steps.h"

void qk_gemm_group_dotprod(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, NULL, qk_gemm_wide_dotprod);
}
QK_TARGET_END
#endif
