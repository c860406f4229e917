/* products_avx2.c - products and attention on 256 bits without VNNI: |w| times sign(a, w) by maddubs, exact for every weight
 * code (the largest pair is 2 * 128 * 127), then widened. Tiles of 4 rows x 1 panel: 8 accumulators. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_4(X, 1)
#define QK_ROW_CHAINS 2

#include "kernels/avx2/dot_avx2.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_codes.h"
#include "kernels/products/attention_f32.h"
#define QK_PART_FLOATS qk_part_f32_avx2
#define QK_ATTEND_FEW qk_attend_few
#include "kernels/products/attend_few.h"
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"
#include "kernels/products/gemm_f32.h"
#define QK_FINISH_Q8 qk_finish_q8_avx2
#include "kernels/products/gemm_q8.h"
#define QK_STEPS_UNPACKED 24576u
#include "kernels/products/gemm_steps.h"

void qk_finish_q8_avx2(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                       size_t panels, int floats) {
  qk_finish_q8(op, sums, ldsums, m, rows, p, panels, floats);
}
void qk_gemm_q8_avx2(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_steps_avx2(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_steps_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_f32_avx2(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_f32_over_tiles(op, m0, m1, p0, p1);
}
void qk_attention_q8_avx2(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
void qk_attention_f32_avx2(const qk_attention_f32 *op, size_t r0, size_t r1) {
  qk_attention_f32_over_lanes(op, r0, r1);
}
void qk_attention_codes_avx2(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_attention_codes_over_tiles(op, r0, r1);
}
void qk_part_f32_avx2(const qk_attend_cache *op, size_t row0, size_t first, size_t n, size_t b, float *parts) {
  qk_part_f32_over_lanes(op, row0, first, n, b, parts);
}
QK_TARGET_END

void qk_attend_avx2(qk_table *t) { QK_ATTEND_SET(t); }
#endif
