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

typedef vi qk_dot_w;
typedef __m256i qk_dot_a;
static inline qk_dot_w qk_dot_load(const uint8_t *w) {
  return (vi){_mm256_load_si256((const __m256i *)w), _mm256_load_si256((const __m256i *)(w + 32))};
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return _mm256_set1_epi32(x);
}
/* As assembly: no compiler flag is needed for it, and gcc 12 copies the accumulator around the intrinsic. */
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.lo) : "x"(w.lo), "x"(a));
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.hi) : "x"(w.hi), "x"(a));
  return acc;
}
static inline int32_t qk_dot_start(int32_t start) { return start; }

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_q8.h"
#include "kernels/products/gemm_q8.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
QK_TARGET_END

static void overlay(qk_table *t) {
  t->gemm_q4 = qk_gemm_q4_avxvnni;
  t->gemm_q8 = gemm_q8;
  t->attention_q8 = attention_q8;
}

const qk_isa qk_isa_avxvnni = {"avxvnni", QK_CPU_AVX2 | QK_CPU_AVXVNNI, overlay};
#endif
