/* dot_avx512vnni.h - the dot product of four codes by vpdpbusd on 512 bits (products/tile_q8.h). */
#ifndef QK_DOT_AVX512VNNI_H
#define QK_DOT_AVX512VNNI_H
typedef __m512i qk_dot_w, qk_dot_a;
static inline qk_dot_w qk_dot_load(const uint8_t *w) { return _mm512_load_si512(w); }
static inline qk_dot_w qk_dot_load_codes(const int8_t *w) {
  return _mm512_xor_si512(_mm512_load_si512(w), _mm512_set1_epi8(-128));
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return _mm512_set1_epi32(x);
}
/* As assembly: gcc 12 copies the accumulator around the intrinsic, and the same C runs at half the speed. */
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(a));
  return acc;
}
static inline int32_t qk_dot_start(int32_t start) { return start; }
#endif
