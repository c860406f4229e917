/* dot_avxvnni.h - the dot product of four codes by vpdpbusd on 256 bits, VEX (products/tile_q8.h). */
#ifndef QK_DOT_AVXVNNI_H
#define QK_DOT_AVXVNNI_H
typedef vi qk_dot_w;
typedef __m256i qk_dot_a;
static inline qk_dot_w qk_dot_load(const uint8_t *w) {
  return (vi){_mm256_load_si256((const __m256i *)w), _mm256_load_si256((const __m256i *)(w + 32))};
}
static inline qk_dot_w qk_dot_load_codes(const int8_t *w) {
  return vi_xor(qk_dot_load((const uint8_t *)w), vi_set1((int32_t)0x80808080u));
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
#endif
