/* isa_avx512vnni.c - the AVX-512 set with VNNI: vpdpbusd on 512 bits in tiles of 6 rows x 4 panels, 24 accumulators, takes
 * the place of the sign trick. Everything else is the AVX-512 set's. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 4
#define QK_FINISH_PANELS 4
#define QK_TILE_CASES(X) QK_ROWS_6(X, 1) QK_ROWS_6(X, 2) QK_ROWS_6(X, 3) QK_ROWS_6(X, 4)
#define QK_TILE_AHEAD
#define QK_ROW_CHAINS 8

#include "kernels/avx512vnni/dot_avx512vnni.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_codes.h"
#define QK_PART_FLOATS qk_part_f32_avx512
#define QK_ATTEND_FEW qk_attend_few
#include "kernels/products/attend_few.h"
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"
#define QK_FINISH_Q8 qk_finish_q8_avx512
#include "kernels/products/gemm_q8.h"
#include "kernels/products/gemm_steps.h"

void qk_gemm_q8_avx512vnni(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_steps_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_steps_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
static void attention_codes(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_attention_codes_over_tiles(op, r0, r1);
}
QK_TARGET_END

static void overlay(qk_table *t) {
  t->gemm_group = qk_gemm_group_avx512vnni;
  t->transform = qk_transform_avx512vnni;
  t->gemm_q8 = qk_gemm_q8_avx512vnni;
  t->attention_q8 = attention_q8;
  QK_ATTEND_SET(t);
  t->attention_codes = attention_codes;
}

const qk_isa qk_isa_avx512vnni = {"avx512vnni", QK_CPU_AVX2 | QK_CPU_AVX512 | QK_CPU_AVX512VNNI, overlay};
#endif
