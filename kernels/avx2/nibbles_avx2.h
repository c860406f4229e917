/* nibbles_avx2.h - steps of 4-bit codes in two registers (products/tile_group.h); the products of AVX2 and AVX-VNNI take them. */
#ifndef QK_NIBBLES_AVX2_H
#define QK_NIBBLES_AVX2_H
typedef vi qk_nib_w;
typedef __m256i qk_nib_a;
static inline vi qk_nib_load(const uint8_t *w) {
  return (vi){_mm256_load_si256((const __m256i *)w), _mm256_load_si256((const __m256i *)(w + 32))};
}
static inline vi qk_nib_low(const uint8_t *w) {
  const __m256i mask = _mm256_set1_epi8(15);
  const vi x = qk_nib_load(w);
  return (vi){_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask)};
}
static inline vi qk_nib_high(const uint8_t *w) {
  const __m256i mask = _mm256_set1_epi8(15);
  const vi x = qk_nib_load(w);
  return (vi){_mm256_and_si256(_mm256_srli_epi16(x.lo, 4), mask), _mm256_and_si256(_mm256_srli_epi16(x.hi, 4), mask)};
}
/* Times 16. */
static inline vi qk_nib_high_as_is(const uint8_t *w) {
  const __m256i mask = _mm256_set1_epi8((char)0xf0);
  const vi x = qk_nib_load(w);
  return (vi){_mm256_and_si256(x.lo, mask), _mm256_and_si256(x.hi, mask)};
}
static inline void qk_nib_store(uint8_t *w, vi x) { vi_store((int32_t *)(void *)w, x); }
static inline __m256i qk_nib_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return _mm256_set1_epi32(x);
}
#endif
