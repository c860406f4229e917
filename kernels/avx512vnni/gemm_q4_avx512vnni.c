/* gemm_q4_avx512vnni.c - the 4-bit product by vpdpbusd on 512 bits, in tiles of 6 rows x 2 panels: 12 sums, which begin with a
 * group's start, and 12 float sums stay in registers. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_avx512
#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 2
#define QK_TILE_CASES(X) QK_ROWS_6(X, 1) QK_ROWS_6(X, 2)

#include "kernels/avx512/nibbles_avx512.h"

/* As assembly: see isa_avx512vnni.c. */
static inline vi qk_sum_next(vi sum, vi w, vi a) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a));
  return sum;
}
static inline vi qk_sum_first(vi total, vi w, vi a) { return qk_sum_next(total, w, a); }
static inline vi qk_sum_end(vi total, vi sum) {
  (void)total;
  return sum;
}

static inline vi qk_sum_begin(vi total) { return total; }
#define QK_SUM_UNROLLED 0
#define QK_Q4_CHAINS 4

#include "kernels/products/tile_group.h"

void qk_gemm_group_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  if (qk_group_is_small(op))
    qk_gemm_group_over_tiles(op, m0, m1, p0, p1);
  else
    qk_gemm_wide_avx512vnni(op, m0, m1, p0, p1);
}
QK_TARGET_END
#endif
