/* dot_avx512.h - the dot product of four codes on 512 bits without VNNI (products/tile_q8.h): even and odd bytes, widened. */
#ifndef QK_DOT_AVX512_H
#define QK_DOT_AVX512_H
typedef struct qk_dot_w {
  __m512i even, odd;
} qk_dot_w, qk_dot_a;

static inline qk_dot_w avx512_dot_w(__m512i x) {
  return (qk_dot_w){_mm512_and_si512(x, _mm512_set1_epi16(255)), _mm512_srli_epi16(x, 8)};
}
static inline qk_dot_w qk_dot_load(const uint8_t *w) { return avx512_dot_w(_mm512_load_si512(w)); }
static inline qk_dot_w qk_dot_load_codes(const int8_t *w) {
  return avx512_dot_w(_mm512_xor_si512(_mm512_load_si512(w), _mm512_set1_epi8(-128)));
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  const __m512i y = _mm512_set1_epi32(x);
  return (qk_dot_a){_mm512_srai_epi16(_mm512_slli_epi16(y, 8), 8), _mm512_srai_epi16(y, 8)};
}
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  return _mm512_add_epi32(_mm512_add_epi32(acc, _mm512_madd_epi16(w.even, a.even)), _mm512_madd_epi16(w.odd, a.odd));
}
static inline int32_t qk_dot_start(int32_t start) { return start; }
#endif
