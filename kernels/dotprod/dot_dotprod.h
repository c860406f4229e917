/* dot_dotprod.h - the dot product of four codes by sdot, weights without their offset (products/tile_q8.h). */
#ifndef QK_DOT_DOTPROD_H
#define QK_DOT_DOTPROD_H
#include "kernels/neon/steps_neon.h"
typedef neon_step qk_dot_w;
typedef int8x16_t qk_dot_a;

static inline qk_dot_w qk_dot_load(const uint8_t *w) { return neon_step_codes(w); }
static inline qk_dot_w qk_dot_load_codes(const int8_t *w) { return neon_step_as_is(w); }
static inline qk_dot_a qk_dot_spread(const int8_t *a) { return neon_spread(a); }
static inline int32x4_t dotprod_sdot(int32x4_t acc, int8x16_t w, int8x16_t a) {
  __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a));
  return acc;
}
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  return (vi){dotprod_sdot(acc.a, w.a, a), dotprod_sdot(acc.b, w.b, a), dotprod_sdot(acc.c, w.c, a),
              dotprod_sdot(acc.d, w.d, a)};
}
static inline int32_t qk_dot_start(int32_t start) { return 0 * start; }
#endif
