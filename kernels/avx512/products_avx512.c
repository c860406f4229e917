/* products_avx512.c - products and attention on 512 bits without VNNI: even and odd bytes widened to 16 bits, multiplied and
 * added in pairs (vpmaddwd), exact for every code. The sign trick of AVX2 is no faster here, where it needs masks, and 15 %
 * slower with one row. Tiles of 4 rows x 4 panels: 16 accumulators beside the eight registers of widened weights. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512
#include "kernels/lanes/lanes_avx512.h"

#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 4
#define QK_FINISH_PANELS 4
#define QK_TILE_CASES(X) QK_ROWS_4(X, 1) QK_ROWS_4(X, 2) QK_ROWS_4(X, 3) QK_ROWS_4(X, 4)
#define QK_ROW_CHAINS 8

#include "kernels/avx512/dot_avx512.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_f32.h"
#include "kernels/products/attention_q8.h"
#include "kernels/products/gemm_f32.h"
#define QK_FINISH_Q8 qk_finish_q8_avx512
#include "kernels/products/gemm_q8.h"
#include "kernels/products/gemm_steps.h"

void qk_finish_q8_avx512(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                         size_t panels, int floats) {
  qk_finish_q8(op, sums, ldsums, m, rows, p, panels, floats);
}
void qk_gemm_q8_avx512(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_steps_avx512(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_steps_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_f32_avx512(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_f32_over_tiles(op, m0, m1, p0, p1);
}
void qk_attention_q8_avx512(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
void qk_attention_f32_avx512(const qk_attention_f32 *op, size_t r0, size_t r1) {
  qk_attention_f32_over_lanes(op, r0, r1);
}
void qk_part_f32_avx512(const qk_attend_cache *op, size_t row0, size_t first, size_t n, size_t b, float *parts) {
  qk_part_f32_over_lanes(op, row0, first, n, b, parts);
}
QK_TARGET_END
#endif
