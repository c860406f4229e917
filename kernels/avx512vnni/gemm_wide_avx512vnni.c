/* gemm_wide_avx512vnni.c - products by groups over codes of 8 bits (products/gemm_group.h) of the avx512vnni set. Tiles of 6 rows x 2 panels: 12 sums and 12 float sums stay in registers.
 * A last panel that is alone is the AVX2 set's, which saves half the tiles. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_WIDE 1
#define QK_FINISH_GROUP qk_finish_group_avx512
#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 2
#define QK_TILE_CASES(X) QK_ROWS_6(X, 2)

#include "kernels/avx512vnni/dot_avx512vnni.h"

#include "kernels/products/tile_group.h"

void qk_gemm_wide_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  const size_t pairs = p1 - (p1 - p0) % 2;
  qk_gemm_group_over_tiles(op, m0, m1, p0, pairs);
  qk_gemm_wide_avx2(op, m0, m1, pairs, p1);
}
QK_TARGET_END
#endif
