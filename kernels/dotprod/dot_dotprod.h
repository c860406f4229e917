/* dot_dotprod.h - the dot product of four codes by sdot, weights without their offset (products/tile_q8.h). */
#ifndef QK_DOT_DOTPROD_H
#define QK_DOT_DOTPROD_H
typedef struct qk_dot_w {
  int8x16_t a, b, c, d;
} qk_dot_w;
typedef int8x16_t qk_dot_a;

static inline int8x16_t dotprod_codes(const uint8_t *w) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(0x80)));
}
static inline qk_dot_w qk_dot_load(const uint8_t *w) {
  return (qk_dot_w){dotprod_codes(w), dotprod_codes(w + 16), dotprod_codes(w + 32), dotprod_codes(w + 48)};
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return vreinterpretq_s8_s32(vdupq_n_s32(x));
}
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
