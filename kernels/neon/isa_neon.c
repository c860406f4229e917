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

typedef struct qk_dot_w {
  int8x16_t a, b, c, d;
} qk_dot_w;
typedef int8x16_t qk_dot_a;

static inline int8x16_t neon_codes(const uint8_t *w) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(0x80)));
}
static inline qk_dot_w qk_dot_load(const uint8_t *w) {
  return (qk_dot_w){neon_codes(w), neon_codes(w + 16), neon_codes(w + 32), neon_codes(w + 48)};
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return vreinterpretq_s8_s32(vdupq_n_s32(x));
}
static inline int32x4_t neon_dot4(int32x4_t acc, int8x16_t w, int8x16_t a) {
  const int16x8_t lo = vmull_s8(vget_low_s8(w), vget_low_s8(a)), hi = vmull_high_s8(w, a);
  return vpadalq_s16(acc, vpaddq_s16(lo, hi));
}
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  return (vi){neon_dot4(acc.a, w.a, a), neon_dot4(acc.b, w.b, a), neon_dot4(acc.c, w.c, a), neon_dot4(acc.d, w.d, a)};
}
static inline int32_t qk_dot_start(int32_t start) { return 0 * start; }

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_f32.h"
#include "kernels/products/attention_q8.h"
#include "kernels/products/gemm_f32.h"
#include "kernels/products/gemm_q8.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
static void gemm_f32(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_f32_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
static void attention_f32(const qk_attention_f32 *op, size_t r0, size_t r1) { qk_attention_f32_over_lanes(op, r0, r1); }

static void overlay(qk_table *t) {
  qk_rows_neon(t);
  t->gemm_q8 = gemm_q8;
  t->gemm_q4 = qk_gemm_q4_neon;
  t->gemm_f32 = gemm_f32;
  t->attention_q8 = attention_q8;
  t->attention_f32 = attention_f32;
}

const qk_isa qk_isa_neon = {"neon", QK_CPU_NEON, overlay};
#endif
