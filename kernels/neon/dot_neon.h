/* dot_neon.h - the dot product of four codes of every AArch64 (products/tile_q8.h): two widening multiplications, pairs added. */
#ifndef QK_DOT_NEON_H
#define QK_DOT_NEON_H
#include "kernels/neon/steps_neon.h"
typedef neon_step qk_dot_w;
typedef int8x16_t qk_dot_a;

static inline qk_dot_w qk_dot_load(const uint8_t *w) { return neon_step_codes(w); }
static inline qk_dot_w qk_dot_load_codes(const int8_t *w) { return neon_step_as_is(w); }
static inline qk_dot_a qk_dot_spread(const int8_t *a) { return neon_spread(a); }
static inline int32x4_t neon_dot4(int32x4_t acc, int8x16_t w, int8x16_t a) {
  const int16x8_t lo = vmull_s8(vget_low_s8(w), vget_low_s8(a)), hi = vmull_high_s8(w, a);
  return vpadalq_s16(acc, vpaddq_s16(lo, hi));
}
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  return (vi){neon_dot4(acc.a, w.a, a), neon_dot4(acc.b, w.b, a), neon_dot4(acc.c, w.c, a), neon_dot4(acc.d, w.d, a)};
}
static inline int32_t qk_dot_start(int32_t start) { return 0 * start; }
#endif
