/* dot_avx2.h - the dot product of four codes without VNNI (products/tile_q8.h): |w| times sign(a, w), widened. */
#ifndef QK_DOT_AVX2_H
#define QK_DOT_AVX2_H
typedef __m256i qk_dot_a;
typedef struct qk_dot_w {
  __m256i lo, hi, abs_lo, abs_hi;
} qk_dot_w;

static inline qk_dot_w qk_dot_load_codes(const int8_t *w) {
  qk_dot_w x;
  x.lo = _mm256_load_si256((const __m256i *)w);
  x.hi = _mm256_load_si256((const __m256i *)(w + 32));
  x.abs_lo = _mm256_abs_epi8(x.lo);
  x.abs_hi = _mm256_abs_epi8(x.hi);
  return x;
}
static inline qk_dot_w qk_dot_load(const uint8_t *w) {
  const __m256i offset = _mm256_set1_epi8(-128);
  qk_dot_w x;
  x.lo = _mm256_xor_si256(_mm256_load_si256((const __m256i *)w), offset);
  x.hi = _mm256_xor_si256(_mm256_load_si256((const __m256i *)(w + 32)), offset);
  x.abs_lo = _mm256_abs_epi8(x.lo);
  x.abs_hi = _mm256_abs_epi8(x.hi);
  return x;
}
static inline qk_dot_a qk_dot_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return _mm256_set1_epi32(x);
}
static inline __m256i avx2_dot8(__m256i acc, __m256i w, __m256i abs_w, __m256i a) {
  const __m256i pairs = _mm256_maddubs_epi16(abs_w, _mm256_sign_epi8(a, w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline vi qk_dot(vi acc, qk_dot_w w, qk_dot_a a) {
  return (vi){avx2_dot8(acc.lo, w.lo, w.abs_lo, a), avx2_dot8(acc.hi, w.hi, w.abs_hi, a)};
}
static inline int32_t qk_dot_start(int32_t start) { return 0 * start; }
#endif
