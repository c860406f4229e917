/* isa_neon.c - the set that every AArch64 runs. The dot product is two widening multiplications of 8 bytes, pairs added in
 * 16 bits (exact for every code: at most 2 * 128 * 127), then in 32. Tiles of 4 rows x 1 panel: 16 accumulators. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
#include "kernels/lanes/lanes_neon.h"

#define QK_TILE_ROWS 4
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_4(X, 1)
#define QK_ROW_CHAINS 4

#include "kernels/neon/dot_neon.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_codes.h"
#include "kernels/products/attention_f32.h"
#define QK_PART_FLOATS qk_part_f32_neon
#define QK_ATTEND_FEW qk_attend_few
#include "kernels/products/attend_few.h"
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"
#include "kernels/products/gemm_f32.h"
#define QK_FINISH_Q8 qk_finish_q8_neon
#include "kernels/products/gemm_q8.h"

void qk_finish_q8_neon(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                       size_t panels, int floats) {
  qk_finish_q8(op, sums, ldsums, m, rows, p, panels, floats);
}
void qk_gemm_q8_neon(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
static void gemm_f32(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_f32_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
static void attention_f32(const qk_attention_f32 *op, size_t r0, size_t r1) { qk_attention_f32_over_lanes(op, r0, r1); }

static void attention_codes(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_attention_codes_over_tiles(op, r0, r1);
}

void qk_part_f32_neon(const qk_attend_cache *op, size_t row0, size_t first, size_t n, size_t b, float *parts) {
  qk_part_f32_over_lanes(op, row0, first, n, b, parts);
}

static void overlay(qk_table *t) {
  qk_rows_neon(t);
  t->transform = qk_transform_neon;
  t->gemm_q8 = qk_gemm_q8_neon;
  t->gemm_group = qk_gemm_group_neon;
  t->gemm_f32 = gemm_f32;
  t->attention_q8 = attention_q8;
  QK_ATTEND_SET(t);
  t->attention_f32 = attention_f32;
  t->attention_codes = attention_codes;
}

const qk_isa qk_isa_neon = {"neon", QK_CPU_NEON, overlay};
#endif
