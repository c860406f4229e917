/* lanes_avx2.h - the vocabulary of lanes_ref.h on AVX2 with FMA: lanes 0-7 in lo, 8-15 in hi. Include inside
 * QK_TARGET_BEGIN_AVX2. */
#ifndef QK_LANES_AVX2_H
#define QK_LANES_AVX2_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <immintrin.h>

typedef struct vf {
  __m256 lo, hi;
} vf;
typedef struct vi {
  __m256i lo, hi;
} vi;

#define QK_LANE_OP2(name, type, fn)                                                                                    \
  static inline type name(type a, type b) { return (type){fn(a.lo, b.lo), fn(a.hi, b.hi)}; }
#define QK_LANE_OP1(name, type, from, fn)                                                                              \
  static inline type name(from a) { return (type){fn(a.lo), fn(a.hi)}; }

static inline vf vf_set1(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vf vf_zero(void) { return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void vf_store(float *p, vf a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
static const int32_t avx2_mask_[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
/* Lanes below n, 0 <= n <= 16, all ones. */
static inline vi avx2_mask(size_t n) {
  const int32_t *m = avx2_mask_ + 16 - n;
  return (vi){_mm256_loadu_si256((const __m256i *)m), _mm256_loadu_si256((const __m256i *)(m + 8))};
}
/* Through memory: masked moves are slow on many CPUs, and emulators read what the mask leaves out. */
static inline vf vf_load_part(const float *p, size_t n) {
  float t[16] = {0};
  memcpy(t, p, n * sizeof(float));
  return vf_load(t);
}
static inline vf vf_take(const float *p, const int32_t *at) {
  const __m256i *i = (const __m256i *)at;
  return (vf){_mm256_i32gather_ps(p, _mm256_loadu_si256(i), 4), _mm256_i32gather_ps(p, _mm256_loadu_si256(i + 1), 4)};
}
static inline void vf_store_part(float *p, vf a, size_t n) {
  float t[16];
  vf_store(t, a);
  memcpy(p, t, n * sizeof(float));
}
QK_LANE_OP2(vf_add, vf, _mm256_add_ps)
QK_LANE_OP2(vf_sub, vf, _mm256_sub_ps)
QK_LANE_OP2(vf_mul, vf, _mm256_mul_ps)
QK_LANE_OP2(vf_div, vf, _mm256_div_ps)
QK_LANE_OP2(vf_max, vf, _mm256_max_ps)
QK_LANE_OP2(vf_min, vf, _mm256_min_ps)
static inline vf vf_fma(vf a, vf b, vf c) {
  return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
QK_LANE_OP1(vf_sqrt, vf, vf, _mm256_sqrt_ps)
static inline vf vf_neg(vf a) {
  __m256 s = _mm256_set1_ps(-0.0f);
  return (vf){_mm256_xor_ps(a.lo, s), _mm256_xor_ps(a.hi, s)};
}
static inline vf vf_abs(vf a) {
  __m256 s = _mm256_set1_ps(-0.0f);
  return (vf){_mm256_andnot_ps(s, a.lo), _mm256_andnot_ps(s, a.hi)};
}
static inline vf vf_copysign(vf a, vf b) {
  __m256 s = _mm256_set1_ps(-0.0f);
  return (vf){_mm256_or_ps(_mm256_andnot_ps(s, a.lo), _mm256_and_ps(s, b.lo)),
              _mm256_or_ps(_mm256_andnot_ps(s, a.hi), _mm256_and_ps(s, b.hi))};
}
static inline vf vf_rint(vf a) {
  return (vf){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
              _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
QK_LANE_OP1(vf_to_vi, vi, vf, _mm256_cvtps_epi32)
QK_LANE_OP1(vi_to_vf, vf, vi, _mm256_cvtepi32_ps)
QK_LANE_OP1(vi_bits, vi, vf, _mm256_castps_si256)
QK_LANE_OP1(vf_from_bits, vf, vi, _mm256_castsi256_ps)
static inline vf vf_select_lt(vf a, vf b, vf x, vf y) {
  return (vf){_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
              _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
static inline vf vf_swap1(vf a) { return (vf){_mm256_permute_ps(a.lo, 0xb1), _mm256_permute_ps(a.hi, 0xb1)}; }
static inline vf vf_swap2(vf a) { return (vf){_mm256_permute_ps(a.lo, 0x4e), _mm256_permute_ps(a.hi, 0x4e)}; }
static inline vf vf_swap4(vf a) {
  return (vf){_mm256_permute2f128_ps(a.lo, a.lo, 1), _mm256_permute2f128_ps(a.hi, a.hi, 1)};
}
static inline vf vf_swap8(vf a) { return (vf){a.hi, a.lo}; }
static inline vf vf_keep(vf a, size_t n) {
  vi m = avx2_mask(n);
  return (vf){_mm256_and_ps(a.lo, _mm256_castsi256_ps(m.lo)), _mm256_and_ps(a.hi, _mm256_castsi256_ps(m.hi))};
}
static inline float vf_first(vf a) { return _mm256_cvtss_f32(a.lo); }
static inline float vf_sum(vf a) {
  __m256 x = _mm256_add_ps(a.lo, a.hi);
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
static inline float vf_hmax(vf a) {
  __m256 x = _mm256_max_ps(a.lo, a.hi);
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

static inline vi vi_set1(int32_t x) { return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline vi vi_zero(void) { return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline vi vi_load(const int32_t *p) {
  return (vi){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 8))};
}
static inline void vi_store(int32_t *p, vi a) {
  _mm256_storeu_si256((__m256i *)p, a.lo);
  _mm256_storeu_si256((__m256i *)(p + 8), a.hi);
}
QK_LANE_OP2(vi_add, vi, _mm256_add_epi32)
QK_LANE_OP2(vi_sub, vi, _mm256_sub_epi32)
QK_LANE_OP2(vi_mul, vi, _mm256_mullo_epi32)
QK_LANE_OP2(vi_mul16, vi, _mm256_mullo_epi16)
QK_LANE_OP2(vi_and, vi, _mm256_and_si256)
QK_LANE_OP2(vi_or, vi, _mm256_or_si256)
QK_LANE_OP2(vi_xor, vi, _mm256_xor_si256)
QK_LANE_OP2(vi_max, vi, _mm256_max_epi32)
QK_LANE_OP2(vi_min, vi, _mm256_min_epi32)
QK_LANE_OP2(vi_maxu, vi, _mm256_max_epu32)
#define vi_shl(a, imm) ((vi){_mm256_slli_epi32((a).lo, (imm)), _mm256_slli_epi32((a).hi, (imm))})
static inline vi vi_shl_by(vi a, int n) {
  const __m128i by = _mm_cvtsi32_si128(n);
  return (vi){_mm256_sll_epi32(a.lo, by), _mm256_sll_epi32(a.hi, by)};
}
#define vi_shr(a, imm) ((vi){_mm256_srli_epi32((a).lo, (imm)), _mm256_srli_epi32((a).hi, (imm))})
#define vi_sar(a, imm) ((vi){_mm256_srai_epi32((a).lo, (imm)), _mm256_srai_epi32((a).hi, (imm))})
static inline vf vf_lift_lt(vf a, vf b, vf x, vi n) {
  const vi y = vi_add(vi_bits(x), n);
  return (vf){_mm256_and_ps(_mm256_castsi256_ps(y.lo), _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
              _mm256_and_ps(_mm256_castsi256_ps(y.hi), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
static inline __m256i avx2_sum_bytes(__m256i a) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(a, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}
QK_LANE_OP1(vi_sum_bytes, vi, vi, avx2_sum_bytes)
static inline __m256i avx2_join8(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i even = _mm256_blend_epi16(a, _mm256_slli_epi32(c, 16), 0xaa);
  const __m256i odd = _mm256_blend_epi16(b, _mm256_slli_epi32(d, 16), 0xaa);
  return _mm256_or_si256(_mm256_and_si256(even, _mm256_set1_epi16(255)), _mm256_slli_epi16(odd, 8));
}
static inline vi vi_join8(vi a, vi b, vi c, vi d) {
  return (vi){avx2_join8(a.lo, b.lo, c.lo, d.lo), avx2_join8(a.hi, b.hi, c.hi, d.hi)};
}
static inline vf vf_scale2(vf a, vf n) { return vf_from_bits(vi_add(vi_bits(a), vi_shl(vf_to_vi(n), 23))); }
static inline int32_t vi_sum(vi a) {
  __m256i x = _mm256_add_epi32(a.lo, a.hi);
  __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
static inline int32_t vi_hmax(vi a) {
  __m256i x = _mm256_max_epi32(a.lo, a.hi);
  __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
/* Eight rows of 8 lanes each reduced at once, pairs of rows folding into one vector at each of three steps. */
#define QK_REDUCE8(name, op)                                                                                           \
  static inline __m256i name(const vi *rows) {                                                                         \
    __m256i r[8], q[4], h[2];                                                                                          \
    for (int i = 0; i < 8; i++) r[i] = op(rows[i].lo, rows[i].hi);                                                     \
    for (int i = 0; i < 4; i++)                                                                                        \
      q[i] = op(_mm256_unpacklo_epi32(r[i], r[i + 4]), _mm256_unpackhi_epi32(r[i], r[i + 4]));                         \
    for (int i = 0; i < 2; i++)                                                                                        \
      h[i] = op(_mm256_unpacklo_epi32(q[i], q[i + 2]), _mm256_unpackhi_epi32(q[i], q[i + 2]));                         \
    /* Each 128-bit half of h[0] holds rows 0 2 4 6, of h[1] rows 1 3 5 7. */                                          \
    __m256i lo = _mm256_unpacklo_epi32(h[0], h[1]), hi = _mm256_unpackhi_epi32(h[0], h[1]); /* 0 1 2 3, 4 5 6 7 */     \
    return op(_mm256_permute2x128_si256(lo, hi, 0x20), _mm256_permute2x128_si256(lo, hi, 0x31));                       \
  }
QK_REDUCE8(avx2_sum8, _mm256_add_epi32)
QK_REDUCE8(avx2_hmax8, _mm256_max_epi32)
static inline vi vi_sum_rows(const vi rows[16]) { return (vi){avx2_sum8(rows), avx2_sum8(rows + 8)}; }
static inline vi vi_hmax_rows(const vi rows[16]) { return (vi){avx2_hmax8(rows), avx2_hmax8(rows + 8)}; }

static inline vi avx2_widen8(__m128i b) {
  return (vi){_mm256_cvtepi8_epi32(b), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(b, b))};
}
static inline __m128i avx2_narrow8(vi a) {
  __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  return _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}
static inline vi vi_load8(const int8_t *p) { return avx2_widen8(_mm_loadu_si128((const __m128i *)p)); }
static inline vi vi_load8_part(const int8_t *p, size_t n) {
  int8_t t[16] = {0};
  memcpy(t, p, n);
  return vi_load8(t);
}
static inline void vi_store8(int8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, avx2_narrow8(a)); }
static inline void vi_store8_part(int8_t *p, vi a, size_t n) {
  int8_t t[16];
  vi_store8(t, a);
  memcpy(p, t, n);
}
/* The lowest bytes of four half vectors: word j of each 128-bit half holds those of its lanes of the j-th. */
static inline __m256i avx2_low8(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i x = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  return _mm256_packus_epi16(x, _mm256_packus_epi32(_mm256_and_si256(c, low), _mm256_and_si256(d, low)));
}
/* A 128-bit half is a step of four rows. */
static inline void vi_store8_panel(uint8_t *p, const vi rows[16], uint32_t flip) {
  const __m256i offset = _mm256_set1_epi32((int32_t)flip);
  for (int j = 0; j < 16; j += 8, p += 32) {
    const vi *r = rows + j;
    const __m256i a = _mm256_xor_si256(avx2_low8(r[0].lo, r[1].lo, r[2].lo, r[3].lo), offset);
    const __m256i b = _mm256_xor_si256(avx2_low8(r[4].lo, r[5].lo, r[6].lo, r[7].lo), offset);
    const __m256i c = _mm256_xor_si256(avx2_low8(r[0].hi, r[1].hi, r[2].hi, r[3].hi), offset);
    const __m256i d = _mm256_xor_si256(avx2_low8(r[4].hi, r[5].hi, r[6].hi, r[7].hi), offset);
    _mm256_storeu_si256((__m256i *)p, _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256((__m256i *)(p + 64), _mm256_permute2x128_si256(a, b, 0x31));
    _mm256_storeu_si256((__m256i *)(p + 128), _mm256_permute2x128_si256(c, d, 0x20));
    _mm256_storeu_si256((__m256i *)(p + 192), _mm256_permute2x128_si256(c, d, 0x31));
  }
}
/* Sixteen slices of 16 entries; the upper four bits choose among them, one bit a step. A blend looks at bit 7 of a byte. */
static inline void vb_lookup(const int8_t *table, const int8_t *x, int8_t *y, size_t n) {
  __m256i t[16];
  for (int s = 0; s < 16; s++) t[s] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * s)));
  for (size_t i = 0; i < n; i += 32) {
    const __m256i u = _mm256_loadu_si256((const __m256i *)(x + i)), low = _mm256_and_si256(u, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(u, 3), bit5 = _mm256_slli_epi16(u, 2), bit6 = _mm256_add_epi8(u, u);
    __m256i r[4];
    QK_UNROLL for (int q = 0; q < 4; q++) {
      const __m256i a = _mm256_shuffle_epi8(t[4 * q], low), b = _mm256_shuffle_epi8(t[4 * q + 1], low);
      const __m256i c = _mm256_shuffle_epi8(t[4 * q + 2], low), d = _mm256_shuffle_epi8(t[4 * q + 3], low);
      r[q] = _mm256_blendv_epi8(_mm256_blendv_epi8(a, b, bit4), _mm256_blendv_epi8(c, d, bit4), bit5);
    }
    const __m256i a = _mm256_blendv_epi8(r[0], r[1], bit6), b = _mm256_blendv_epi8(r[2], r[3], bit6);
    _mm256_storeu_si256((__m256i *)(y + i), _mm256_blendv_epi8(a, b, u));
  }
}
/* Low and high bytes of the two tables, in both halves. */
typedef struct vw {
  __m256i coarse[2], fine[2];
} vw;
static inline __m256i avx2_bytes(const int16_t *p, int shift) {
  const __m128i a = _mm_srli_epi16(_mm_loadu_si128((const __m128i *)p), shift);
  const __m128i b = _mm_srli_epi16(_mm_loadu_si128((const __m128i *)(p + 8)), shift), low = _mm_set1_epi16(255);
  return _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_and_si128(a, low), _mm_and_si128(b, low)));
}
static inline vw vw_load(const int16_t *t) {
  return (vw){{avx2_bytes(t, 0), avx2_bytes(t, 8)}, {avx2_bytes(t + 16, 0), avx2_bytes(t + 16, 8)}};
}
static inline void avx2_take(const vw *t, __m256i d, __m256i *e0, __m256i *e1) {
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i a = _mm256_and_si256(_mm256_srli_epi16(d, 4), low), b = _mm256_and_si256(d, low);
  const __m256i a0 = _mm256_shuffle_epi8(t->coarse[0], a), a1 = _mm256_shuffle_epi8(t->coarse[1], a);
  const __m256i b0 = _mm256_shuffle_epi8(t->fine[0], b), b1 = _mm256_shuffle_epi8(t->fine[1], b);
  *e0 = _mm256_mulhrs_epi16(_mm256_unpacklo_epi8(a0, a1), _mm256_unpacklo_epi8(b0, b1));
  *e1 = _mm256_mulhrs_epi16(_mm256_unpackhi_epi8(a0, a1), _mm256_unpackhi_epi8(b0, b1));
}
static inline void vw_take(vw t, vi d, vi e[2]) {
  avx2_take(&t, d.lo, &e[0].lo, &e[1].lo);
  avx2_take(&t, d.hi, &e[0].hi, &e[1].hi);
}
static inline __m256i avx2_add_halves(__m256i a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
QK_LANE_OP1(vi_add_halves, vi, vi, avx2_add_halves)
QK_LANE_OP2(vi_add_pairs, vi, _mm256_hadd_epi32)
static inline vf vf_twice_low(vf a) { return (vf){_mm256_unpacklo_ps(a.lo, a.lo), _mm256_unpacklo_ps(a.hi, a.hi)}; }
static inline vf vf_twice_high(vf a) { return (vf){_mm256_unpackhi_ps(a.lo, a.lo), _mm256_unpackhi_ps(a.hi, a.hi)}; }
QK_LANE_OP2(vb_max, vi, _mm256_max_epi8)
QK_LANE_OP2(vb_sub, vi, _mm256_sub_epi8)
static inline __m256i avx2_sum_codes(__m256i a) {
  return avx2_add_halves(_mm256_maddubs_epi16(_mm256_set1_epi8(1), a));
}
static inline vi vi_add_bytes(vi acc, vi a) {
  return (vi){_mm256_add_epi32(acc.lo, avx2_sum_codes(a.lo)), _mm256_add_epi32(acc.hi, avx2_sum_codes(a.hi))};
}
/* NaN and what is too low converts to the least integer; packing holds the rest. */
typedef struct vl {
  __m256i lowest, highest;
} vl;
static inline vl vl_of(float lowest, float highest) {
  return (vl){_mm256_set1_epi8((char)(int)lowest), _mm256_set1_epi8((char)(int)highest)};
}
static inline vf vf_held(vf a) { return vf_min(vf_set1(128.0f), a); }
/* Bytes of four lanes of a, of b, of c, of d in each 128-bit half. */
static inline __m256i avx2_codes(__m256 a, __m256 b, __m256 c, __m256 d, vl l) {
  const __m256i x = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
  const __m256i y = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
  return _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(x, y), l.lowest), l.highest);
}
static inline vi avx2_reorder(__m256i lo, __m256i hi, __m128i order) {
  const __m256i both = _mm256_broadcastsi128_si256(order);
  return (vi){_mm256_shuffle_epi8(lo, both), _mm256_shuffle_epi8(hi, both)};
}
static inline vi vi_codes4(vf a, vf b, vf c, vf d, vl l) {
  return avx2_reorder(avx2_codes(a.lo, b.lo, c.lo, d.lo, l), avx2_codes(a.hi, b.hi, c.hi, d.hi, l),
                      _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}
static inline vi vi_codes_row(vf a, vf b, vf c, vf d, vl l) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return (vi){_mm256_permutevar8x32_epi32(avx2_codes(a.lo, a.hi, b.lo, b.hi, l), order),
              _mm256_permutevar8x32_epi32(avx2_codes(c.lo, c.hi, d.lo, d.hi, l), order)};
}
static inline vi vi_codes_pairs(vf even0, vf odd0, vf even1, vf odd1, vl l) {
  return avx2_reorder(avx2_codes(even0.lo, even1.lo, odd0.lo, odd1.lo, l),
                      avx2_codes(even0.hi, even1.hi, odd0.hi, odd1.hi, l),
                      _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
}
/* Words of eight rows. */
static inline void avx2_load_words(const int8_t *p, size_t ld, __m256i w[4]) {
  __m256i x[4];
  QK_UNROLL for (size_t i = 0; i < 4; i++) {
    const __m256i r = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + i * ld)));
    x[i] = _mm256_inserti128_si256(r, _mm_loadu_si128((const __m128i *)(p + (i + 4) * ld)), 1);
  }
  const __m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
  const __m256i c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);
  w[0] = _mm256_unpacklo_epi64(a, c);
  w[1] = _mm256_unpackhi_epi64(a, c);
  w[2] = _mm256_unpacklo_epi64(b, d);
  w[3] = _mm256_unpackhi_epi64(b, d);
}
static inline void vi_load_words(const int8_t *p, size_t ld, vi w[4]) {
  __m256i lo[4], hi[4];
  avx2_load_words(p, ld, lo);
  avx2_load_words(p + 8 * ld, ld, hi);
  QK_UNROLL for (size_t i = 0; i < 4; i++) w[i] = (vi){lo[i], hi[i]};
}
static inline vi vi_load_columns(const int8_t *p, size_t ld) {
  const __m128i r0 = _mm_loadu_si128((const __m128i *)p), r1 = _mm_loadu_si128((const __m128i *)(p + ld));
  const __m128i r2 = _mm_loadu_si128((const __m128i *)(p + 2 * ld)),
                r3 = _mm_loadu_si128((const __m128i *)(p + 3 * ld));
  const __m128i a = _mm_unpacklo_epi8(r0, r1), b = _mm_unpacklo_epi8(r2, r3);
  const __m128i c = _mm_unpackhi_epi8(r0, r1), d = _mm_unpackhi_epi8(r2, r3);
  return (vi){_mm256_set_m128i(_mm_unpackhi_epi16(a, b), _mm_unpacklo_epi16(a, b)),
              _mm256_set_m128i(_mm_unpackhi_epi16(c, d), _mm_unpacklo_epi16(c, d))};
}
static inline __m256i avx2_dot_pairs(__m256i acc, __m256i a, __m256i b) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}
static inline vi vi_dot_pairs(vi acc, vi a, vi b) {
  return (vi){avx2_dot_pairs(acc.lo, a.lo, b.lo), avx2_dot_pairs(acc.hi, a.hi, b.hi)};
}
static inline vi vi_opaque(vi a) {
  __asm__("" : "+x"(a.lo), "+x"(a.hi));
  return a;
}
QK_LANE_OP2(vi_shr_signed, vi, _mm256_srav_epi32)
static inline __m256i avx2_narrow16(__m256i a, __m256i b, __m256i right, __m256i left) {
  const __m256i x = _mm256_blend_epi16(_mm256_srav_epi32(a, right), _mm256_sllv_epi32(b, left), 0xaa);
  return _mm256_mulhrs_epi16(x, _mm256_set1_epi16(1 << 14));
}
static inline vi vi_narrow16(vi a, vi b, vi right, vi left) {
  return (vi){avx2_narrow16(a.lo, b.lo, right.lo, left.lo), avx2_narrow16(a.hi, b.hi, right.hi, left.hi)};
}
QK_LANE_OP2(vi_pack16, vi, _mm256_packs_epi32)
/* Eight rows of eight words: r[j] becomes word j of each. */
static inline void avx2_transpose8(__m256i r[8]) {
  __m256i q[8];
  QK_UNROLL for (int i = 0; i < 8; i += 4) {
    const __m256i a = _mm256_unpacklo_epi32(r[i], r[i + 1]), b = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    const __m256i c = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]), d = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
    q[i] = _mm256_unpacklo_epi64(a, c);
    q[i + 1] = _mm256_unpackhi_epi64(a, c);
    q[i + 2] = _mm256_unpacklo_epi64(b, d);
    q[i + 3] = _mm256_unpackhi_epi64(b, d);
  }
  QK_UNROLL for (int i = 0; i < 4; i++) {
    r[i] = _mm256_permute2x128_si256(q[i], q[i + 4], 0x20);
    r[i + 4] = _mm256_permute2x128_si256(q[i], q[i + 4], 0x31);
  }
}
static inline void vi_transpose(vi w[16]) {
  __m256i part[4][8];
  for (int i = 0; i < 8; i++) {
    part[0][i] = w[i].lo, part[1][i] = w[i].hi;
    part[2][i] = w[i + 8].lo, part[3][i] = w[i + 8].hi;
  }
  for (int i = 0; i < 4; i++) avx2_transpose8(part[i]);
  for (int i = 0; i < 8; i++) w[i] = (vi){part[0][i], part[2][i]}, w[i + 8] = (vi){part[1][i], part[3][i]};
}
static inline void vi_store16(int16_t *p, vi a) {
  _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8));
}
static inline void avx2_store_words(int8_t *p, size_t ld, __m256i w0, __m256i w1, __m256i w2, __m256i w3) {
  const __m256i a = _mm256_unpacklo_epi32(w0, w1), b = _mm256_unpackhi_epi32(w0, w1);
  const __m256i c = _mm256_unpacklo_epi32(w2, w3), d = _mm256_unpackhi_epi32(w2, w3);
  const __m256i r[4] = {_mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c), _mm256_unpacklo_epi64(b, d),
                        _mm256_unpackhi_epi64(b, d)};
  QK_UNROLL for (size_t i = 0; i < 4; i++) {
    _mm_storeu_si128((__m128i *)(p + i * ld), _mm256_castsi256_si128(r[i]));
    _mm_storeu_si128((__m128i *)(p + (i + 4) * ld), _mm256_extracti128_si256(r[i], 1));
  }
}
static inline void vi_store_words(int8_t *p, size_t ld, const vi w[4]) {
  avx2_store_words(p, ld, w[0].lo, w[1].lo, w[2].lo, w[3].lo);
  avx2_store_words(p + 8 * ld, ld, w[0].hi, w[1].hi, w[2].hi, w[3].hi);
}
#undef QK_LANE_OP1
#undef QK_LANE_OP2
#undef QK_REDUCE8
#endif
