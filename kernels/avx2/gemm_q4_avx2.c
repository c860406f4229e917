/* gemm_q4_avx2.c - the 4-bit product on 256 bits: codes are maddubs' unsigned operand as they are, and a block of 32 inputs
 * (8 pairs of at most 2 * 15 * 127) is summed in 16 bits before it is widened. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_WIDE 0
#define QK_GROUP_BLOCKS 48u /* of one panel: 24 KB */
#define QK_FINISH_GROUP qk_finish_group_avx2
#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_FROM_2_TO_4(X, 1)
#define QK_GROUP_TILES 32u /* unpacking is a tenth of the work where 32 rows share it: 128 do */

#include "kernels/avx2/nibbles_avx2.h"

typedef vi qk_sum;
static inline vi qk_sum_first(vi total, vi w, __m256i a) {
  (void)total;
  return (vi){_mm256_maddubs_epi16(w.lo, a), _mm256_maddubs_epi16(w.hi, a)};
}
/* The addition as assembly: compilers make a tree of a block's eight, and run out of registers. */
static inline vi qk_sum_next(vi sum, vi w, __m256i a) {
  const vi x = {_mm256_maddubs_epi16(w.lo, a), _mm256_maddubs_epi16(w.hi, a)};
  __asm__("vpaddw %1, %0, %0" : "+x"(sum.lo) : "x"(x.lo));
  __asm__("vpaddw %1, %0, %0" : "+x"(sum.hi) : "x"(x.hi));
  return sum;
}
static inline vi qk_sum_end(vi total, vi sum) {
  const __m256i one = _mm256_set1_epi16(1);
  return (vi){_mm256_add_epi32(total.lo, _mm256_madd_epi16(sum.lo, one)),
              _mm256_add_epi32(total.hi, _mm256_madd_epi16(sum.hi, one))};
}

static inline vi qk_sum_begin(vi total) {
  (void)total;
  return vi_zero();
}
#define QK_SUM_GOES_ON 0
#define QK_SUM_UNROLLED 1
#define QK_Q4_CHAINS 1

#include "kernels/products/finish_group.h"
#include "kernels/products/row_steps.h"

void qk_finish_group_avx2(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                          size_t panels) {
  qk_finish_group(op, sums, ldsums, m, rows, p, panels);
}

void qk_gemm_group_avx2(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, qk_gemm_steps_avx2, qk_gemm_wide_avx2);
}
QK_TARGET_END
#endif
