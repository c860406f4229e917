/* gemm_wide_avxvnni.c - products by groups over codes of 8 bits (products/gemm_group.h) of the avxvnni set. Tiles of 4 rows x 1 panel. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_WIDE 1
#define QK_FINISH_GROUP qk_finish_group_avx2
#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_4(X, 1)

#include "kernels/avxvnni/dot_avxvnni.h"

#include "kernels/products/tile_group.h"

void qk_gemm_wide_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_over_tiles(op, m0, m1, p0, p1);
}
QK_TARGET_END
#endif
