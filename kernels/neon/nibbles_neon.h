/* nibbles_neon.h - steps of 4-bit codes in four registers (products/tile_group.h), as signed bytes; NEON with and without dot products. */
#ifndef QK_NIBBLES_NEON_H
#define QK_NIBBLES_NEON_H
#include "kernels/neon/steps_neon.h"
typedef neon_step qk_nib_w;
typedef int8x16_t qk_nib_a;
static inline qk_nib_w qk_nib_load(const uint8_t *w) {
  const int8_t *p = (const int8_t *)w;
  return (qk_nib_w){vld1q_s8(p), vld1q_s8(p + 16), vld1q_s8(p + 32), vld1q_s8(p + 48)};
}
static inline int8x16_t neon_low4(const uint8_t *w) {
  return vreinterpretq_s8_u8(vandq_u8(vld1q_u8(w), vdupq_n_u8(15)));
}
static inline int8x16_t neon_high4(const uint8_t *w) { return vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8(w), 4)); }
static inline qk_nib_w qk_nib_low(const uint8_t *w) {
  return (qk_nib_w){neon_low4(w), neon_low4(w + 16), neon_low4(w + 32), neon_low4(w + 48)};
}
static inline qk_nib_w qk_nib_high(const uint8_t *w) {
  return (qk_nib_w){neon_high4(w), neon_high4(w + 16), neon_high4(w + 32), neon_high4(w + 48)};
}
static inline void qk_nib_store(uint8_t *w, qk_nib_w x) {
  int8_t *p = (int8_t *)w;
  vst1q_s8(p, x.a);
  vst1q_s8(p + 16, x.b);
  vst1q_s8(p + 32, x.c);
  vst1q_s8(p + 48, x.d);
}
static inline int8x16_t qk_nib_spread(const int8_t *a) { return neon_spread(a); }
#endif
