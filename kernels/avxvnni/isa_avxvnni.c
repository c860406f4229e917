/* isa_avxvnni.c - the AVX2 set with VNNI in its VEX encoding: vpdpbusd on 256 bits takes the place of the sign trick, in
 * tiles of 6 rows x 1 panel, 12 accumulators. Everything else is the AVX2 set's. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_6(X, 1)
#define QK_ROW_CHAINS 4

#include "kernels/avxvnni/dot_avxvnni.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_codes.h"
#define QK_PART_FLOATS qk_part_f32_avx2
#define QK_ATTEND_FEW qk_attend_few
#include "kernels/products/attend_few.h"
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"
#define QK_FINISH_Q8 qk_finish_q8_avx2
#include "kernels/products/gemm_q8.h"
#define QK_STEPS_UNPACKED 24576u
#include "kernels/products/gemm_steps.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
void qk_gemm_steps_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_steps_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
static void attention_codes(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_attention_codes_over_tiles(op, r0, r1);
}
QK_TARGET_END

static void overlay(qk_table *t) {
  t->gemm_group = qk_gemm_group_avxvnni;
  t->transform = qk_transform_avxvnni;
  t->gemm_q8 = gemm_q8;
  t->attention_q8 = attention_q8;
  QK_ATTEND_SET(t);
  t->attention_codes = attention_codes;
}

const qk_isa qk_isa_avxvnni = {"avxvnni", QK_CPU_AVX2 | QK_CPU_AVXVNNI, overlay};
#endif
