/* lanes_avx512.h - the vocabulary of lanes_ref.h on AVX-512 (F, BW, DQ, VL): one register is one vector. Include inside
 * QK_TARGET_BEGIN_AVX512 or QK_TARGET_BEGIN_AVX512VNNI. */
#ifndef QK_LANES_AVX512_H
#define QK_LANES_AVX512_H
#include <stddef.h>
#include <stdint.h>
#include <immintrin.h>

typedef __m512 vf;
typedef __m512i vi;

static inline vf vf_set1(float x) { return _mm512_set1_ps(x); }
static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline __mmask16 avx512_mask(size_t n) { return (__mmask16)((1u << n) - 1u); }
static inline vf vf_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(avx512_mask(n), p); }
static inline vf vf_take(const float *p, const int32_t *at) {
  return _mm512_i32gather_ps(_mm512_loadu_si512(at), p, 4);
}
static inline void vf_store_part(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, avx512_mask(n), a); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf vf_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline vf vf_abs(vf a) { return _mm512_abs_ps(a); }
static inline vf vf_copysign(vf a, vf b) { /* b where the mask has a bit, a elsewhere */
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(b), _mm512_castps_si512(a), 0xca));
}
static inline vf vf_rint(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vi vf_to_vi(vf a) { return _mm512_cvtps_epi32(a); }
static inline vf vi_to_vf(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi vi_bits(vf a) { return _mm512_castps_si512(a); }
static inline vf vf_from_bits(vi a) { return _mm512_castsi512_ps(a); }
static inline vf vf_select_lt(vf a, vf b, vf x, vf y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
static inline vf vf_lift_lt(vf a, vf b, vf x, vi n) {
  return _mm512_castsi512_ps(_mm512_maskz_add_epi32(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), _mm512_castps_si512(x), n));
}
/* Of this set alone: x - rint(x), and a < b ? x * 2^n : 0 for integral n. */
#define QK_LANES_SCALE 1 /* math.h: 0 elsewhere */
static inline vf vf_past_rint(vf x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf vf_scale_lt(vf a, vf b, vf x, vf n) {
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x, n);
}
static inline vf vf_swap1(vf a) { return _mm512_permute_ps(a, 0xb1); }
static inline vf vf_swap2(vf a) { return _mm512_permute_ps(a, 0x4e); }
static inline vf vf_swap4(vf a) { return _mm512_shuffle_f32x4(a, a, 0xb1); }
static inline vf vf_swap8(vf a) { return _mm512_shuffle_f32x4(a, a, 0x4e); }
static inline vf vf_keep(vf a, size_t n) { return _mm512_maskz_mov_ps(avx512_mask(n), a); }
static inline vf vf_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }
static inline float vf_first(vf a) { return _mm512_cvtss_f32(a); }
static inline float vf_sum(vf a) {
  __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
static inline float vf_hmax(vf a) {
  __m256 x = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

static inline vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
static inline vi vi_zero(void) { return _mm512_setzero_si512(); }
static inline vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
static inline void vi_store(int32_t *p, vi a) { _mm512_storeu_si512(p, a); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
static inline vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
static inline vi vi_mul16(vi a, vi b) { return _mm512_mullo_epi16(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
static inline vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
static inline vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
static inline vi vi_min(vi a, vi b) { return _mm512_min_epi32(a, b); }
static inline vi vi_maxu(vi a, vi b) { return _mm512_max_epu32(a, b); }
#define vi_shl(a, imm) _mm512_slli_epi32((a), (imm))
static inline vi vi_shl_by(vi a, int n) { return _mm512_sllv_epi32(a, _mm512_set1_epi32(n)); }
#define vi_shr(a, imm) _mm512_srli_epi32((a), (imm))
#define vi_sar(a, imm) _mm512_srai_epi32((a), (imm))
static inline vi vi_sum_bytes(vi a) {
  return _mm512_madd_epi16(_mm512_maddubs_epi16(a, _mm512_set1_epi8(1)), _mm512_set1_epi16(1));
}
/* Byte 0 of a lane to all of its bytes; masks say which of them is taken. */
static inline vi vi_join8(vi a, vi b, vi c, vi d) {
  const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
  a = _mm512_mask_shuffle_epi8(a, 0x2222222222222222, b, low);
  a = _mm512_mask_shuffle_epi8(a, 0x4444444444444444, c, low);
  return _mm512_mask_shuffle_epi8(a, 0x8888888888888888, d, low);
}
static inline int32_t vi_sum(vi a) {
  __m256i x = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
static inline int32_t vi_hmax(vi a) {
  __m256i x = _mm256_max_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
/* Sixteen rows reduced at once: two steps fold pairs of rows inside the 128-bit parts (part p of h[i] then holds rows
   i, i+4, i+8, i+12), two more fold the parts, and a 4 x 4 transposition restores the order. */
#define QK_REDUCE16(name, op)                                                                                          \
  static inline vi name(const vi rows[16]) {                                                                           \
    vi q[8], h[4];                                                                                                     \
    QK_UNROLL for (int i = 0; i < 8; i++)                                                                              \
        q[i] = op(_mm512_unpacklo_epi32(rows[i], rows[i + 8]), _mm512_unpackhi_epi32(rows[i], rows[i + 8]));           \
    QK_UNROLL for (int i = 0; i < 4; i++)                                                                              \
        h[i] = op(_mm512_unpacklo_epi32(q[i], q[i + 4]), _mm512_unpackhi_epi32(q[i], q[i + 4]));                       \
    vi s = op(_mm512_shuffle_i32x4(h[0], h[1], 0x44), _mm512_shuffle_i32x4(h[0], h[1], 0xee));                         \
    vi t = op(_mm512_shuffle_i32x4(h[2], h[3], 0x44), _mm512_shuffle_i32x4(h[2], h[3], 0xee));                         \
    vi u = op(_mm512_shuffle_i32x4(s, t, 0x88), _mm512_shuffle_i32x4(s, t, 0xdd));                                     \
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), u);       \
  }
QK_REDUCE16(vi_sum_rows, _mm512_add_epi32)
QK_REDUCE16(vi_hmax_rows, _mm512_max_epi32)

static inline vi vi_load8(const int8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline vi vi_load8_part(const int8_t *p, size_t n) {
  return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(avx512_mask(n), p));
}
static inline void vi_store8(int8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }
static inline void vi_store8_part(int8_t *p, vi a, size_t n) {
  _mm_mask_storeu_epi8(p, avx512_mask(n), _mm512_cvtepi32_epi8(a));
}
#undef QK_REDUCE16
/* The lowest bytes of four vectors: word j of each 128-bit part holds those of the part's lanes of rows[j]. */
static inline __m512i avx512_low8(const vi rows[4]) {
  const __m512i low = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12));
  __m512i x = _mm512_shuffle_epi8(rows[0], low);
  x = _mm512_mask_shuffle_epi8(x, 0x00f000f000f000f0, rows[1], low);
  x = _mm512_mask_shuffle_epi8(x, 0x0f000f000f000f00, rows[2], low);
  return _mm512_mask_shuffle_epi8(x, 0xf000f000f000f000, rows[3], low);
}
/* A part is a step of four rows: a 4 x 4 transposition of parts. */
static inline void vi_store8_panel(uint8_t *p, const vi rows[16], uint32_t flip) {
  const __m512i a = avx512_low8(rows), b = avx512_low8(rows + 4), c = avx512_low8(rows + 8), d = avx512_low8(rows + 12);
  const __m512i x = _mm512_shuffle_i32x4(a, b, 0x44), y = _mm512_shuffle_i32x4(c, d, 0x44);
  const __m512i z = _mm512_shuffle_i32x4(a, b, 0xee), w = _mm512_shuffle_i32x4(c, d, 0xee);
  const __m512i offset = _mm512_set1_epi32((int32_t)flip);
  _mm512_storeu_si512(p, _mm512_xor_si512(_mm512_shuffle_i32x4(x, y, 0x88), offset));
  _mm512_storeu_si512(p + 64, _mm512_xor_si512(_mm512_shuffle_i32x4(x, y, 0xdd), offset));
  _mm512_storeu_si512(p + 128, _mm512_xor_si512(_mm512_shuffle_i32x4(z, w, 0x88), offset));
  _mm512_storeu_si512(p + 192, _mm512_xor_si512(_mm512_shuffle_i32x4(z, w, 0xdd), offset));
}
/* Sixteen slices of 16 entries; the upper four bits of a byte choose among them, one bit a step. */
static inline void vb_lookup(const int8_t *table, const int8_t *x, int8_t *y, size_t n) {
  __m512i t[16];
  QK_UNROLL for (int s = 0; s < 16; s++)
      t[s] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(table + 16 * s)));
  for (size_t i = 0; i < n; i += 64) {
    const __m512i u = _mm512_loadu_si512(x + i), low = _mm512_and_si512(u, _mm512_set1_epi8(15));
    const __mmask64 bit4 = _mm512_movepi8_mask(_mm512_slli_epi16(u, 3));
    const __mmask64 bit5 = _mm512_movepi8_mask(_mm512_slli_epi16(u, 2));
    const __mmask64 bit6 = _mm512_movepi8_mask(_mm512_slli_epi16(u, 1));
    __m512i r[8];
    QK_UNROLL for (int s = 0; s < 8; s++)
        r[s] = _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(t[2 * s], low), bit4, t[2 * s + 1], low);
    QK_UNROLL for (int s = 0; s < 4; s++) r[s] = _mm512_mask_mov_epi8(r[2 * s], bit5, r[2 * s + 1]);
    QK_UNROLL for (int s = 0; s < 2; s++) r[s] = _mm512_mask_mov_epi8(r[2 * s], bit6, r[2 * s + 1]);
    _mm512_storeu_si512(y + i, _mm512_mask_mov_epi8(r[0], _mm512_movepi8_mask(u), r[1]));
  }
}
/* Low and high bytes of the two tables, in each 128-bit part. */
typedef struct vw {
  __m512i coarse[2], fine[2];
} vw;
static inline __m512i avx512_bytes(const int16_t *p, int shift) {
  const __m128i x = _mm256_cvtepi16_epi8(_mm256_srli_epi16(_mm256_loadu_si256((const __m256i *)p), shift));
  return _mm512_broadcast_i32x4(x);
}
static inline vw vw_load(const int16_t *t) {
  return (vw){{avx512_bytes(t, 0), avx512_bytes(t, 8)}, {avx512_bytes(t + 16, 0), avx512_bytes(t + 16, 8)}};
}
static inline void vw_take(vw t, vi d, vi e[2]) {
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i a = _mm512_and_si512(_mm512_srli_epi16(d, 4), low), b = _mm512_and_si512(d, low);
  const __m512i a0 = _mm512_shuffle_epi8(t.coarse[0], a), a1 = _mm512_shuffle_epi8(t.coarse[1], a);
  const __m512i b0 = _mm512_shuffle_epi8(t.fine[0], b), b1 = _mm512_shuffle_epi8(t.fine[1], b);
  e[0] = _mm512_mulhrs_epi16(_mm512_unpacklo_epi8(a0, a1), _mm512_unpacklo_epi8(b0, b1));
  e[1] = _mm512_mulhrs_epi16(_mm512_unpackhi_epi8(a0, a1), _mm512_unpackhi_epi8(b0, b1));
}
static inline vi vi_add_halves(vi a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }
static inline vi vi_add_pairs(vi a, vi b) {
  const __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
  return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                          _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xdd)));
}
static inline vf vf_twice_low(vf a) { return _mm512_unpacklo_ps(a, a); }
static inline vf vf_twice_high(vf a) { return _mm512_unpackhi_ps(a, a); }
static inline vi vb_max(vi a, vi b) { return _mm512_max_epi8(a, b); }
static inline vi vb_sub(vi a, vi b) { return _mm512_sub_epi8(a, b); }
static inline vi vi_add_bytes(vi acc, vi a) {
  const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), a);
  return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
/* NaN and what is too low converts to the least integer; packing holds the rest. */
typedef struct vl {
  vi lowest, highest;
} vl;
static inline vl vl_of(float lowest, float highest) {
  return (vl){_mm512_set1_epi8((char)(int)lowest), _mm512_set1_epi8((char)(int)highest)};
}
static inline vf vf_held(vf a) { return _mm512_min_ps(vf_set1(128.0f), a); }
/* Bytes of four lanes of a, of b, of c, of d in each 128-bit part. */
static inline vi avx512_codes(vf a, vf b, vf c, vf d, vl l) {
  const __m512i x = _mm512_packs_epi32(vf_to_vi(a), vf_to_vi(b)), y = _mm512_packs_epi32(vf_to_vi(c), vf_to_vi(d));
  return _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(x, y), l.lowest), l.highest);
}
static inline vi vi_codes4(vf a, vf b, vf c, vf d, vl l) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(avx512_codes(a, b, c, d, l), _mm512_broadcast_i32x4(order));
}
static inline vi vi_codes_row(vf a, vf b, vf c, vf d, vl l) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                  avx512_codes(a, b, c, d, l));
}
static inline vi vi_codes_pairs(vf even0, vf odd0, vf even1, vf odd1, vl l) {
  const __m128i order = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return _mm512_shuffle_epi8(avx512_codes(even0, even1, odd0, odd1, l), _mm512_broadcast_i32x4(order));
}
static inline void vi_load_words(const int8_t *p, size_t ld, vi w[4]) {
  __m512i x[4];
  QK_UNROLL for (size_t i = 0; i < 4; i++) {
    const __m512i r = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(p + i * ld)));
    const __m512i s = _mm512_inserti32x4(r, _mm_loadu_si128((const __m128i *)(p + (i + 4) * ld)), 1);
    const __m512i t = _mm512_inserti32x4(s, _mm_loadu_si128((const __m128i *)(p + (i + 8) * ld)), 2);
    x[i] = _mm512_inserti32x4(t, _mm_loadu_si128((const __m128i *)(p + (i + 12) * ld)), 3);
  }
  const __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
  w[0] = _mm512_unpacklo_epi64(a, c);
  w[1] = _mm512_unpackhi_epi64(a, c);
  w[2] = _mm512_unpacklo_epi64(b, d);
  w[3] = _mm512_unpackhi_epi64(b, d);
}
static inline vi vi_load_columns(const int8_t *p, size_t ld) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
  x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + ld)), 1);
  x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 2 * ld)), 2);
  x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 3 * ld)), 3);
  x = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), x);
  return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order));
}
static inline vi vi_dot_pairs(vi acc, vi a, vi b) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)); }
static inline vi vi_opaque(vi a) {
  __asm__("" : "+v"(a));
  return a;
}
static inline vi vi_shr_signed(vi a, vi n) { return _mm512_srav_epi32(a, n); }
static inline vi vi_narrow16(vi a, vi b, vi right, vi left) {
  const __m512i x = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srav_epi32(a, right), _mm512_sllv_epi32(b, left));
  return _mm512_mulhrs_epi16(x, _mm512_set1_epi16(1 << 14));
}
static inline vi vi_pack16(vi a, vi b) { return _mm512_packs_epi32(a, b); }
/* Words of four rows in each 128-bit part, then parts of four. */
QK_INLINE void vi_transpose(vi w[16]) {
  vi q[16];
  QK_UNROLL for (int i = 0; i < 16; i += 4) {
    const vi a = _mm512_unpacklo_epi32(w[i], w[i + 1]), b = _mm512_unpackhi_epi32(w[i], w[i + 1]);
    const vi c = _mm512_unpacklo_epi32(w[i + 2], w[i + 3]), d = _mm512_unpackhi_epi32(w[i + 2], w[i + 3]);
    q[i] = _mm512_unpacklo_epi64(a, c);
    q[i + 1] = _mm512_unpackhi_epi64(a, c);
    q[i + 2] = _mm512_unpacklo_epi64(b, d);
    q[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  QK_UNROLL for (int i = 0; i < 4; i++) {
    const vi a = _mm512_shuffle_i32x4(q[i], q[i + 4], 0x44), b = _mm512_shuffle_i32x4(q[i + 8], q[i + 12], 0x44);
    const vi c = _mm512_shuffle_i32x4(q[i], q[i + 4], 0xee), d = _mm512_shuffle_i32x4(q[i + 8], q[i + 12], 0xee);
    w[i] = _mm512_shuffle_i32x4(a, b, 0x88);
    w[i + 4] = _mm512_shuffle_i32x4(a, b, 0xdd);
    w[i + 8] = _mm512_shuffle_i32x4(c, d, 0x88);
    w[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
}
static inline void vi_store16(int16_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a)); }
static inline void vi_store_words(int8_t *p, size_t ld, const vi w[4]) {
  const __m512i a = _mm512_unpacklo_epi32(w[0], w[1]), b = _mm512_unpackhi_epi32(w[0], w[1]);
  const __m512i c = _mm512_unpacklo_epi32(w[2], w[3]), d = _mm512_unpackhi_epi32(w[2], w[3]);
  const __m512i r[4] = {_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d),
                        _mm512_unpackhi_epi64(b, d)};
  QK_UNROLL for (size_t i = 0; i < 4; i++) {
    _mm_storeu_si128((__m128i *)(p + i * ld), _mm512_castsi512_si128(r[i]));
    _mm_storeu_si128((__m128i *)(p + (i + 4) * ld), _mm512_extracti32x4_epi32(r[i], 1));
    _mm_storeu_si128((__m128i *)(p + (i + 8) * ld), _mm512_extracti32x4_epi32(r[i], 2));
    _mm_storeu_si128((__m128i *)(p + (i + 12) * ld), _mm512_extracti32x4_epi32(r[i], 3));
  }
}
#endif
