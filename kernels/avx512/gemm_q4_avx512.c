/* gemm_q4_avx512.c - the 4-bit product on 512 bits without VNNI: a block of 32 inputs is summed in 16 bits, as on AVX2. Tiles of
 * 6 rows x 2 panels: 12 sums and 12 float sums stay in registers. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512
#include "kernels/lanes/lanes_avx512.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_avx512
#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 2
#define QK_FINISH_PANELS 2
#define QK_TILE_CASES(X) QK_ROWS_FROM_2_TO_6(X, 1) QK_ROWS_FROM_2_TO_6(X, 2)

#include "kernels/avx512/nibbles_avx512.h"

static inline vi qk_sum_first(vi total, vi w, vi a) {
  (void)total;
  return _mm512_maddubs_epi16(w, a);
}
/* The addition as assembly: see gemm_q4_avx2.c. */
static inline vi qk_sum_next(vi sum, vi w, vi a) {
  const vi x = _mm512_maddubs_epi16(w, a);
  __asm__("vpaddw %1, %0, %0" : "+v"(sum) : "v"(x));
  return sum;
}
static inline vi qk_sum_end(vi total, vi sum) { return vi_add(total, _mm512_madd_epi16(sum, _mm512_set1_epi16(1))); }

static inline vi qk_sum_begin(vi total) {
  (void)total;
  return vi_zero();
}
#define QK_SUM_GOES_ON 0
#define QK_SUM_UNROLLED 0 /* it would be a twelfth, for much code */
#define QK_Q4_CHAINS 1

#include "kernels/products/finish_group.h"
#include "kernels/products/row_steps.h"

void qk_finish_group_avx512(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                            size_t panels) {
  qk_finish_group(op, sums, ldsums, m, rows, p, panels);
}

void qk_gemm_group_avx512(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, qk_gemm_steps_avx512, qk_gemm_wide_avx2);
}
QK_TARGET_END
#endif
