/* gemm_q4_avxvnni.c - the 4-bit product by vpdpbusd on 256 bits (VEX), in tiles of 6 rows x 1 panel: 12 accumulators, which
 * begin with a group's start. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_avx2
#define QK_SUM_BITS 1
#define QK_GROUP_BLOCKS 48u /* of one panel: 24 KB */
#define QK_GROUP_TILES 22u  /* 132 rows */
#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_FROM_2_TO_6(X, 1)

#include "kernels/avxvnni/dot_avxvnni.h"
#include "kernels/avx2/nibbles_avx2.h"
#include "kernels/products/sum_dot.h"
#define QK_Q4_CHAINS 4

#define QK_STEPS_SHIFT 4
#include "kernels/products/row_steps.h"

void qk_gemm_group_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_or(op, m0, m1, p0, p1, qk_gemm_steps_avxvnni, qk_gemm_wide_avxvnni);
}
QK_TARGET_END
#endif
