/* nibbles_avx512.h - steps of 4-bit codes in one register (products/tile_group.h), with and without VNNI. */
#ifndef QK_NIBBLES_AVX512_H
#define QK_NIBBLES_AVX512_H
typedef vi qk_nib_w, qk_nib_a, qk_sum;
static inline vi qk_nib_load(const uint8_t *w) { return _mm512_load_si512(w); }
static inline vi qk_nib_low(const uint8_t *w) { return vi_and(qk_nib_load(w), _mm512_set1_epi8(15)); }
static inline vi qk_nib_high(const uint8_t *w) {
  return vi_and(_mm512_srli_epi16(qk_nib_load(w), 4), _mm512_set1_epi8(15));
}
/* Times 16. */
static inline vi qk_nib_high_as_is(const uint8_t *w) {
  return vi_and(qk_nib_load(w), _mm512_set1_epi8((char)0xf0));
}
static inline void qk_nib_store(uint8_t *w, vi x) { _mm512_store_si512(w, x); }
static inline vi qk_nib_spread(const int8_t *a) {
  int32_t x;
  memcpy(&x, a, sizeof x);
  return vi_set1(x);
}
#endif
