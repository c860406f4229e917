/* gemm_q4_avx512vnni.c - the 4-bit product by vpdpbusd on 512 bits, in tiles of 4 rows x 4 panels. 16 sums, which begin with a group's
 * start, wait less for each other than 12 do, and most of the 16 float sums stay in registers beside them. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_avx512
#define QK_GROUP_TILES 32u /* 128 rows */
#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 4
#define QK_PANELS_ALONE 1
#define QK_TILE_CASES(X) QK_ROWS_FROM_2_TO_4(X, 1) QK_ROWS_FROM_2_TO_4(X, 4)

#include "kernels/avx512vnni/dot_avx512vnni.h"
#include "kernels/avx512/nibbles_avx512.h"
#include "kernels/products/sum_dot.h"
#define QK_Q4_CHAINS 4
#define QK_GROUP_SIDE 4

#define QK_STEPS_ROWS 4
#define QK_STEPS_SHIFT 4
#include "kernels/products/row_steps.h"

void qk_gemm_group_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, qk_gemm_steps_avx512vnni, qk_gemm_wide_avx512vnni);
}
QK_TARGET_END
#endif
