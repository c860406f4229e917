/* gemm_wide_avx512vnni.c - products by groups over codes of 8 bits (products/gemm_group.h) of the avx512vnni set, in tiles of 4 rows x 4
 * panels: 16 sums wait less for each other than 12 do, and most of the 16 float sums stay in registers beside them. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_WIDE 1
#define QK_FINISH_GROUP qk_finish_group_avx512
#define QK_GROUP_TILES 32u
#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 4
#define QK_PANELS_ALONE 1
#define QK_TILE_CASES(X) QK_ROWS_4(X, 1) QK_ROWS_4(X, 4)

#include "kernels/avx512vnni/dot_avx512vnni.h"

#include "kernels/products/tile_group.h"

void qk_gemm_wide_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_group_over_tiles(op, m0, m1, p0, p1);
}
QK_TARGET_END
#endif
