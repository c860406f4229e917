/* steps_neon.h - a step of a panel in four registers of signed bytes, with and without dot products, and four codes of a row. */
#ifndef QK_STEPS_NEON_H
#define QK_STEPS_NEON_H
typedef struct neon_step {
  int8x16_t a, b, c, d;
} neon_step;

static inline int8x16_t neon_codes(const uint8_t *w) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(0x80)));
}
/* Codes of 8 bits without their offset. */
static inline neon_step neon_step_codes(const uint8_t *w) {
  return (neon_step){neon_codes(w), neon_codes(w + 16), neon_codes(w + 32), neon_codes(w + 48)};
}
static inline neon_step neon_step_as_is(const int8_t *w) {
  return (neon_step){vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)};
}
static inline int8x16_t neon_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return vreinterpretq_s8_s32(vdupq_n_s32(x));
}
#endif
