/* lanes_neon.h - the vocabulary of lanes_ref.h on NEON: lanes 0-3 in a, 4-7 in b, 8-11 in c, 12-15 in d. Minimum and maximum
 * are comparisons and selections, not fmin and fmax, which treat NaN and the sign of zero differently. */
#ifndef QK_LANES_NEON_H
#define QK_LANES_NEON_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arm_neon.h>

typedef struct vf {
  float32x4_t a, b, c, d;
} vf;
typedef struct vi {
  int32x4_t a, b, c, d;
} vi;

#define QK_LANE_OP2(name, type, fn)                                                                                    \
  static inline type name(type x, type y) { return (type){fn(x.a, y.a), fn(x.b, y.b), fn(x.c, y.c), fn(x.d, y.d)}; }
#define QK_LANE_OP1(name, type, from, fn)                                                                              \
  static inline type name(from x) { return (type){fn(x.a), fn(x.b), fn(x.c), fn(x.d)}; }
#define QK_AS_FLOAT vreinterpretq_f32_u32
#define QK_AS_BITS vreinterpretq_u32_f32

static inline float32x4_t neon_max(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
static inline float32x4_t neon_min(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
static inline float32x4_t neon_copysign(float32x4_t x, float32x4_t y) {
  return vbslq_f32(vdupq_n_u32(0x80000000u), y, x);
}

static inline vf vf_set1(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return (vf){v, v, v, v};
}
static inline vf vf_zero(void) { return vf_set1(0.0f); }
static inline vf vf_load(const float *p) {
  return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
static inline void vf_store(float *p, vf x) {
  vst1q_f32(p, x.a);
  vst1q_f32(p + 4, x.b);
  vst1q_f32(p + 8, x.c);
  vst1q_f32(p + 12, x.d);
}
static inline vf vf_load_part(const float *p, size_t n) {
  float t[16] = {0};
  memcpy(t, p, n * sizeof(float));
  return vf_load(t);
}
static inline float32x4_t neon_gather(const float *p, const int32_t *at) {
  float32x4_t x = vld1q_dup_f32(p + at[0]);
  x = vld1q_lane_f32(p + at[1], x, 1);
  x = vld1q_lane_f32(p + at[2], x, 2);
  return vld1q_lane_f32(p + at[3], x, 3);
}
static inline vf vf_take(const float *p, const int32_t *at) {
  return (vf){neon_gather(p, at), neon_gather(p, at + 4), neon_gather(p, at + 8), neon_gather(p, at + 12)};
}
static inline void vf_store_part(float *p, vf x, size_t n) {
  float t[16];
  vf_store(t, x);
  memcpy(p, t, n * sizeof(float));
}
QK_LANE_OP2(vf_add, vf, vaddq_f32)
QK_LANE_OP2(vf_sub, vf, vsubq_f32)
QK_LANE_OP2(vf_mul, vf, vmulq_f32)
QK_LANE_OP2(vf_div, vf, vdivq_f32)
QK_LANE_OP2(vf_max, vf, neon_max)
QK_LANE_OP2(vf_min, vf, neon_min)
QK_LANE_OP2(vf_copysign, vf, neon_copysign)
static inline vf vf_fma(vf x, vf y, vf z) {
  return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
QK_LANE_OP1(vf_sqrt, vf, vf, vsqrtq_f32)
QK_LANE_OP1(vf_neg, vf, vf, vnegq_f32)
QK_LANE_OP1(vf_abs, vf, vf, vabsq_f32)
QK_LANE_OP1(vf_rint, vf, vf, vrndnq_f32)
QK_LANE_OP1(vf_to_vi, vi, vf, vcvtnq_s32_f32)
QK_LANE_OP1(vi_to_vf, vf, vi, vcvtq_f32_s32)
QK_LANE_OP1(vi_bits, vi, vf, vreinterpretq_s32_f32)
QK_LANE_OP1(vf_from_bits, vf, vi, vreinterpretq_f32_s32)
static inline vf vf_select_lt(vf a, vf b, vf x, vf y) {
  return (vf){vbslq_f32(vcltq_f32(a.a, b.a), x.a, y.a), vbslq_f32(vcltq_f32(a.b, b.b), x.b, y.b),
              vbslq_f32(vcltq_f32(a.c, b.c), x.c, y.c), vbslq_f32(vcltq_f32(a.d, b.d), x.d, y.d)};
}
static inline float32x4_t neon_swap2(float32x4_t x) { return vextq_f32(x, x, 2); }
QK_LANE_OP1(vf_swap1, vf, vf, vrev64q_f32)
QK_LANE_OP1(vf_swap2, vf, vf, neon_swap2)
static inline vf vf_swap4(vf x) { return (vf){x.b, x.a, x.d, x.c}; }
static inline vf vf_swap8(vf x) { return (vf){x.c, x.d, x.a, x.b}; }
static const uint32_t neon_lane_[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static inline float32x4_t neon_keep(float32x4_t x, const uint32_t *lane, uint32x4_t n) {
  return QK_AS_FLOAT(vandq_u32(QK_AS_BITS(x), vcltq_u32(vld1q_u32(lane), n)));
}
static inline vf vf_keep(vf x, size_t n) {
  const uint32x4_t m = vdupq_n_u32((uint32_t)n);
  return (vf){neon_keep(x.a, neon_lane_, m), neon_keep(x.b, neon_lane_ + 4, m), neon_keep(x.c, neon_lane_ + 8, m),
              neon_keep(x.d, neon_lane_ + 12, m)};
}
static inline float vf_first(vf x) { return vgetq_lane_f32(x.a, 0); }

static inline float vf_sum(vf x) {
  const float32x4_t y = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
  const float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));
  return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
}
static inline float vf_hmax(vf x) {
  const float32x4_t y = neon_max(neon_max(x.a, x.c), neon_max(x.b, x.d));
  const float32x4_t z = neon_max(y, vextq_f32(y, y, 2));
  return vgetq_lane_f32(neon_max(z, vextq_f32(z, z, 1)), 0);
}

static inline vi vi_set1(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return (vi){v, v, v, v};
}
static inline vi vi_zero(void) { return vi_set1(0); }
static inline vi vi_load(const int32_t *p) {
  return (vi){vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)};
}
static inline void vi_store(int32_t *p, vi x) {
  vst1q_s32(p, x.a);
  vst1q_s32(p + 4, x.b);
  vst1q_s32(p + 8, x.c);
  vst1q_s32(p + 12, x.d);
}
static inline int32x4_t neon_maxu(int32x4_t x, int32x4_t y) {
  return vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(x), vreinterpretq_u32_s32(y)));
}
QK_LANE_OP2(vi_add, vi, vaddq_s32)
QK_LANE_OP2(vi_sub, vi, vsubq_s32)
static inline int32x4_t neon_mul16(int32x4_t x, int32x4_t y) {
  return vreinterpretq_s32_s16(vmulq_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y)));
}
QK_LANE_OP2(vi_mul, vi, vmulq_s32)
QK_LANE_OP2(vi_mul16, vi, neon_mul16)
QK_LANE_OP2(vi_and, vi, vandq_s32)
QK_LANE_OP2(vi_or, vi, vorrq_s32)
QK_LANE_OP2(vi_xor, vi, veorq_s32)
QK_LANE_OP2(vi_max, vi, vmaxq_s32)
QK_LANE_OP2(vi_min, vi, vminq_s32)
QK_LANE_OP2(vi_maxu, vi, neon_maxu)
#define vi_shl(x, imm)                                                                                                 \
  ((vi){vshlq_n_s32((x).a, (imm)), vshlq_n_s32((x).b, (imm)), vshlq_n_s32((x).c, (imm)), vshlq_n_s32((x).d, (imm))})
static inline vi vi_shl_by(vi x, int n) {
  const int32x4_t by = vdupq_n_s32(n);
  return (vi){vshlq_s32(x.a, by), vshlq_s32(x.b, by), vshlq_s32(x.c, by), vshlq_s32(x.d, by)};
}
#define neon_shr(x, imm) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), imm))
#define vi_sar(x, imm)                                                                                                 \
  ((vi){vshrq_n_s32((x).a, (imm)), vshrq_n_s32((x).b, (imm)), vshrq_n_s32((x).c, (imm)), vshrq_n_s32((x).d, (imm))})
#define vi_shr(x, imm) ((vi){neon_shr((x).a, imm), neon_shr((x).b, imm), neon_shr((x).c, imm), neon_shr((x).d, imm)})
static inline vf vf_scale2(vf x, vf n) {
  const vi e = vf_to_vi(n);
  return vf_from_bits(vi_add(vi_bits(x), vi_shl(e, 23)));
}
static inline int32x4_t neon_lift(float32x4_t a, float32x4_t b, float32x4_t x, int32x4_t n) {
  return vandq_s32(vaddq_s32(vreinterpretq_s32_f32(x), n), vreinterpretq_s32_u32(vcltq_f32(a, b)));
}
static inline vf vf_lift_lt(vf a, vf b, vf x, vi n) {
  return vf_from_bits((vi){neon_lift(a.a, b.a, x.a, n.a), neon_lift(a.b, b.b, x.b, n.b), neon_lift(a.c, b.c, x.c, n.c),
                           neon_lift(a.d, b.d, x.d, n.d)});
}
static inline int32x4_t neon_sum_bytes(int32x4_t x) {
  return vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_s32(x))));
}
QK_LANE_OP1(vi_sum_bytes, vi, vi, neon_sum_bytes)
static inline int32x4_t neon_join8(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
  return vsliq_n_s32(vsliq_n_s32(vsliq_n_s32(a, b, 8), c, 16), d, 24);
}
static inline vi vi_join8(vi a, vi b, vi c, vi d) {
  return (vi){neon_join8(a.a, b.a, c.a, d.a), neon_join8(a.b, b.b, c.b, d.b), neon_join8(a.c, b.c, c.c, d.c),
              neon_join8(a.d, b.d, c.d, d.d)};
}
static inline int32_t vi_sum(vi x) { return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.c), vaddq_s32(x.b, x.d))); }
static inline int32_t vi_hmax(vi x) { return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.a, x.c), vmaxq_s32(x.b, x.d))); }
#define QK_REDUCE4_INT(name, op, pairs)                                                                                \
  static inline int32x4_t name(const vi *r) {                                                                          \
    int32x4_t x[4];                                                                                                    \
    QK_UNROLL for (int i = 0; i < 4; i++) x[i] = op(op(r[i].a, r[i].c), op(r[i].b, r[i].d));                           \
    return pairs(pairs(x[0], x[1]), pairs(x[2], x[3]));                                                                \
  }
QK_REDUCE4_INT(neon_sum4_int, vaddq_s32, vpaddq_s32)
QK_REDUCE4_INT(neon_max4_int, vmaxq_s32, vpmaxq_s32)
static inline vi vi_sum_rows(const vi r[16]) {
  return (vi){neon_sum4_int(r), neon_sum4_int(r + 4), neon_sum4_int(r + 8), neon_sum4_int(r + 12)};
}
static inline vi vi_hmax_rows(const vi r[16]) {
  return (vi){neon_max4_int(r), neon_max4_int(r + 4), neon_max4_int(r + 8), neon_max4_int(r + 12)};
}

static inline vi vi_load8(const int8_t *p) {
  const int8x16_t v = vld1q_s8(p);
  const int16x8_t lo = vmovl_s8(vget_low_s8(v)), hi = vmovl_high_s8(v);
  return (vi){vmovl_s16(vget_low_s16(lo)), vmovl_high_s16(lo), vmovl_s16(vget_low_s16(hi)), vmovl_high_s16(hi)};
}
static inline vi vi_load8_part(const int8_t *p, size_t n) {
  int8_t t[16] = {0};
  memcpy(t, p, n);
  return vi_load8(t);
}
/* The lowest byte of every lane. */
static inline int8x16_t neon_narrow8(vi x) {
  const int16x8_t lo = vuzp1q_s16(vreinterpretq_s16_s32(x.a), vreinterpretq_s16_s32(x.b));
  const int16x8_t hi = vuzp1q_s16(vreinterpretq_s16_s32(x.c), vreinterpretq_s16_s32(x.d));
  return vuzp1q_s8(vreinterpretq_s8_s16(lo), vreinterpretq_s8_s16(hi));
}
static inline void vi_store8(int8_t *p, vi x) { vst1q_s8(p, neon_narrow8(x)); }
static inline void vi_store8_part(int8_t *p, vi x, size_t n) {
  int8_t t[16];
  vi_store8(t, x);
  memcpy(p, t, n);
}
/* Four rows are a 4 x 4 matrix of words to transpose. */
static inline void vi_store8_panel(uint8_t *p, const vi rows[16], uint32_t flip) {
  const int32x4_t offset = vdupq_n_s32((int32_t)flip);
  for (int j = 0; j < 16; j += 4) {
    int32x4_t r[4];
    QK_UNROLL for (int i = 0; i < 4; i++) r[i] = veorq_s32(vreinterpretq_s32_s8(neon_narrow8(rows[j + i])), offset);
    const int32x4_t x = vzip1q_s32(r[0], r[2]), y = vzip1q_s32(r[1], r[3]);
    const int32x4_t z = vzip2q_s32(r[0], r[2]), w = vzip2q_s32(r[1], r[3]);
    vst1q_u8(p + j * 4, vreinterpretq_u8_s32(vzip1q_s32(x, y)));
    vst1q_u8(p + 64 + j * 4, vreinterpretq_u8_s32(vzip2q_s32(x, y)));
    vst1q_u8(p + 128 + j * 4, vreinterpretq_u8_s32(vzip1q_s32(z, w)));
    vst1q_u8(p + 192 + j * 4, vreinterpretq_u8_s32(vzip2q_s32(z, w)));
  }
}
/* Four slices of 64 entries: an index out of a slice leaves the byte as it is. */
static inline void vb_lookup(const int8_t *table, const int8_t *x, int8_t *y, size_t n) {
  uint8x16x4_t t[4];
  QK_UNROLL for (int s = 0; s < 4; s++) QK_UNROLL for (int v = 0; v < 4; v++) t[s].val[v] = vreinterpretq_u8_s8(
      vld1q_s8(table + s * 64 + v * 16));
  for (size_t i = 0; i < n; i += 16) {
    const uint8x16_t u = vreinterpretq_u8_s8(vld1q_s8(x + i));
    uint8x16_t r = vqtbl4q_u8(t[0], u);
    QK_UNROLL for (int s = 1; s < 4; s++) r = vqtbx4q_u8(r, t[s], vsubq_u8(u, vdupq_n_u8((uint8_t)(64 * s))));
    vst1q_s8(y + i, vreinterpretq_s8_u8(r));
  }
}
/* Low and high bytes of the two tables. */
typedef struct vw {
  uint8x16x2_t coarse, fine;
} vw;
static inline vw vw_load(const int16_t *t) {
  return (vw){vld2q_u8((const uint8_t *)t), vld2q_u8((const uint8_t *)(t + 16))};
}
static inline void neon_take(const vw *t, int32x4_t d, int32x4_t *e0, int32x4_t *e1) {
  const uint8x16_t x = vreinterpretq_u8_s32(d), a = vshrq_n_u8(x, 4), b = vandq_u8(x, vdupq_n_u8(15));
  const uint8x16_t a0 = vqtbl1q_u8(t->coarse.val[0], a), a1 = vqtbl1q_u8(t->coarse.val[1], a);
  const uint8x16_t b0 = vqtbl1q_u8(t->fine.val[0], b), b1 = vqtbl1q_u8(t->fine.val[1], b);
  *e0 = vreinterpretq_s32_s16(
      vqrdmulhq_s16(vreinterpretq_s16_u8(vzip1q_u8(a0, a1)), vreinterpretq_s16_u8(vzip1q_u8(b0, b1))));
  *e1 = vreinterpretq_s32_s16(
      vqrdmulhq_s16(vreinterpretq_s16_u8(vzip2q_u8(a0, a1)), vreinterpretq_s16_u8(vzip2q_u8(b0, b1))));
}
static inline void vw_take(vw t, vi d, vi e[2]) {
  neon_take(&t, d.a, &e[0].a, &e[1].a);
  neon_take(&t, d.b, &e[0].b, &e[1].b);
  neon_take(&t, d.c, &e[0].c, &e[1].c);
  neon_take(&t, d.d, &e[0].d, &e[1].d);
}
static inline int32x4_t neon_add_halves(int32x4_t x) { return vpaddlq_s16(vreinterpretq_s16_s32(x)); }
QK_LANE_OP1(vi_add_halves, vi, vi, neon_add_halves)
QK_LANE_OP2(vi_add_pairs, vi, vpaddq_s32)
static inline float32x4_t neon_twice_low(float32x4_t x) { return vzip1q_f32(x, x); }
static inline float32x4_t neon_twice_high(float32x4_t x) { return vzip2q_f32(x, x); }
QK_LANE_OP1(vf_twice_low, vf, vf, neon_twice_low)
QK_LANE_OP1(vf_twice_high, vf, vf, neon_twice_high)
static inline int32x4_t neon_max8(int32x4_t x, int32x4_t y) {
  return vreinterpretq_s32_s8(vmaxq_s8(vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y)));
}
static inline int32x4_t neon_sub8(int32x4_t x, int32x4_t y) {
  return vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y)));
}
QK_LANE_OP2(vb_max, vi, neon_max8)
QK_LANE_OP2(vb_sub, vi, neon_sub8)
static inline int32x4_t neon_add_bytes(int32x4_t acc, int32x4_t x) {
  return vpadalq_s16(acc, vpaddlq_s8(vreinterpretq_s8_s32(x)));
}
QK_LANE_OP2(vi_add_bytes, vi, neon_add_bytes)
/* The greater of two numbers is not NaN if one of them is not; conversion and narrowing hold what is too high. */
typedef struct vl {
  float32x4_t lowest;
  int8x16_t highest;
} vl;
static inline vl vl_of(float lowest, float highest) { return (vl){vdupq_n_f32(lowest), vdupq_n_s8((int8_t)highest)}; }
static inline vf vf_held(vf x) { return x; }
static inline int16x8_t neon_held16(float32x4_t a, float32x4_t b, float32x4_t lowest) {
  const int32x4_t x = vcvtnq_s32_f32(vmaxnmq_f32(a, lowest)), y = vcvtnq_s32_f32(vmaxnmq_f32(b, lowest));
  return vqmovn_high_s32(vqmovn_s32(x), y);
}
/* Bytes of a, of b, of c, of d. */
static inline int8x16_t neon_held8(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d, vl l) {
  const int16x8_t x = neon_held16(a, b, l.lowest), y = neon_held16(c, d, l.lowest);
  return vminq_s8(vqmovn_high_s16(vqmovn_s16(x), y), l.highest);
}
static const uint8_t neon_by_lane_[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
static inline int32x4_t neon_by_lane(int8x16_t x) {
  return vreinterpretq_s32_s8(vqtbl1q_s8(x, vld1q_u8(neon_by_lane_)));
}
static inline vi vi_codes4(vf a, vf b, vf c, vf d, vl l) {
  return (vi){neon_by_lane(neon_held8(a.a, b.a, c.a, d.a, l)), neon_by_lane(neon_held8(a.b, b.b, c.b, d.b, l)),
              neon_by_lane(neon_held8(a.c, b.c, c.c, d.c, l)), neon_by_lane(neon_held8(a.d, b.d, c.d, d.d, l))};
}
static inline int32x4_t neon_codes_of(vf x, vl l) { return vreinterpretq_s32_s8(neon_held8(x.a, x.b, x.c, x.d, l)); }
static inline vi vi_codes_row(vf a, vf b, vf c, vf d, vl l) {
  return (vi){neon_codes_of(a, l), neon_codes_of(b, l), neon_codes_of(c, l), neon_codes_of(d, l)};
}
/* Bytes 0 ... 7 and 8 ... 15 by turns. */
static inline int32x4_t neon_by_turns(int8x16_t x) { return vreinterpretq_s32_s8(vzip1q_s8(x, vextq_s8(x, x, 8))); }
static inline vi vi_codes_pairs(vf even0, vf odd0, vf even1, vf odd1, vl l) {
  return (vi){neon_by_turns(neon_held8(even0.a, even1.a, odd0.a, odd1.a, l)),
              neon_by_turns(neon_held8(even0.b, even1.b, odd0.b, odd1.b, l)),
              neon_by_turns(neon_held8(even0.c, even1.c, odd0.c, odd1.c, l)),
              neon_by_turns(neon_held8(even0.d, even1.d, odd0.d, odd1.d, l))};
}
static inline int32x4_t neon_row(const int8_t *p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
/* Words of four rows. */
static inline void neon_load_words(const int8_t *p, size_t ld, int32x4_t w[4]) {
  const int32x4_t r0 = neon_row(p), r1 = neon_row(p + ld), r2 = neon_row(p + 2 * ld), r3 = neon_row(p + 3 * ld);
  const int32x4_t x = vzip1q_s32(r0, r2), y = vzip1q_s32(r1, r3), z = vzip2q_s32(r0, r2), v = vzip2q_s32(r1, r3);
  w[0] = vzip1q_s32(x, y);
  w[1] = vzip2q_s32(x, y);
  w[2] = vzip1q_s32(z, v);
  w[3] = vzip2q_s32(z, v);
}
static inline void vi_load_words(const int8_t *p, size_t ld, vi w[4]) {
  int32x4_t part[4][4];
  QK_UNROLL for (size_t i = 0; i < 4; i++) neon_load_words(p + 4 * i * ld, ld, part[i]);
  QK_UNROLL for (size_t i = 0; i < 4; i++) w[i] = (vi){part[0][i], part[1][i], part[2][i], part[3][i]};
}
static inline vi vi_load_columns(const int8_t *p, size_t ld) {
  const int8x16_t r0 = vld1q_s8(p), r1 = vld1q_s8(p + ld), r2 = vld1q_s8(p + 2 * ld), r3 = vld1q_s8(p + 3 * ld);
  const int8x16_t x = vzip1q_s8(r0, r2), y = vzip1q_s8(r1, r3), z = vzip2q_s8(r0, r2), v = vzip2q_s8(r1, r3);
  return (vi){vreinterpretq_s32_s8(vzip1q_s8(x, y)), vreinterpretq_s32_s8(vzip2q_s8(x, y)),
              vreinterpretq_s32_s8(vzip1q_s8(z, v)), vreinterpretq_s32_s8(vzip2q_s8(z, v))};
}
static inline int32x4_t neon_dot_pairs(int32x4_t acc, int32x4_t a, int32x4_t b) {
  const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
  return vaddq_s32(acc, vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y)));
}
static inline vi vi_dot_pairs(vi acc, vi a, vi b) {
  return (vi){neon_dot_pairs(acc.a, a.a, b.a), neon_dot_pairs(acc.b, a.b, b.b), neon_dot_pairs(acc.c, a.c, b.c),
              neon_dot_pairs(acc.d, a.d, b.d)};
}
static inline vi vi_opaque(vi x) {
  __asm__("" : "+w"(x.a), "+w"(x.b), "+w"(x.c), "+w"(x.d));
  return x;
}
static inline int32x4_t neon_shr_signed(int32x4_t a, int32x4_t n) { return vshlq_s32(a, vnegq_s32(n)); }
QK_LANE_OP2(vi_shr_signed, vi, neon_shr_signed)
static inline int32x4_t neon_narrow16(int32x4_t a, int32x4_t b, int32x4_t right, int32x4_t left) {
  const int32x4_t low = vshlq_s32(a, vnegq_s32(right)), high = vshlq_s32(b, left);
  const int16x8_t x = vreinterpretq_s16_s32(vbslq_s32(vdupq_n_u32(0xffff), low, high));
  return vreinterpretq_s32_s16(vrshrq_n_s16(x, 1));
}
static inline vi vi_narrow16(vi a, vi b, vi right, vi left) {
  return (vi){neon_narrow16(a.a, b.a, right.a, left.a), neon_narrow16(a.b, b.b, right.b, left.b),
              neon_narrow16(a.c, b.c, right.c, left.c), neon_narrow16(a.d, b.d, right.d, left.d)};
}
static inline int32x4_t neon_pack16(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s16(vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
}
QK_LANE_OP2(vi_pack16, vi, neon_pack16)
/* Four rows of four words: r[j] becomes word j of each. */
static inline void neon_transpose4(int32x4_t r[4]) {
  const int32x4_t x = vzip1q_s32(r[0], r[2]), y = vzip1q_s32(r[1], r[3]);
  const int32x4_t z = vzip2q_s32(r[0], r[2]), v = vzip2q_s32(r[1], r[3]);
  r[0] = vzip1q_s32(x, y);
  r[1] = vzip2q_s32(x, y);
  r[2] = vzip1q_s32(z, v);
  r[3] = vzip2q_s32(z, v);
}
static inline void vi_transpose(vi w[16]) {
  int32x4_t part[4][4][4]; /* of rows, of words */
  for (int i = 0; i < 16; i++) {
    part[i / 4][0][i % 4] = w[i].a, part[i / 4][1][i % 4] = w[i].b;
    part[i / 4][2][i % 4] = w[i].c, part[i / 4][3][i % 4] = w[i].d;
  }
  for (int i = 0; i < 16; i++) neon_transpose4(part[i / 4][i % 4]);
  for (int i = 0; i < 16; i++)
    w[i] = (vi){part[0][i / 4][i % 4], part[1][i / 4][i % 4], part[2][i / 4][i % 4], part[3][i / 4][i % 4]};
}
static inline void vi_store16(int16_t *p, vi x) {
  vst1q_s16(p, vuzp1q_s16(vreinterpretq_s16_s32(x.a), vreinterpretq_s16_s32(x.b)));
  vst1q_s16(p + 8, vuzp1q_s16(vreinterpretq_s16_s32(x.c), vreinterpretq_s16_s32(x.d)));
}
/* Four rows. */
static inline void neon_store_words(int8_t *p, size_t ld, int32x4_t w0, int32x4_t w1, int32x4_t w2, int32x4_t w3) {
  const int32x4_t x = vzip1q_s32(w0, w2), y = vzip1q_s32(w1, w3), z = vzip2q_s32(w0, w2), v = vzip2q_s32(w1, w3);
  vst1q_s8(p, vreinterpretq_s8_s32(vzip1q_s32(x, y)));
  vst1q_s8(p + ld, vreinterpretq_s8_s32(vzip2q_s32(x, y)));
  vst1q_s8(p + 2 * ld, vreinterpretq_s8_s32(vzip1q_s32(z, v)));
  vst1q_s8(p + 3 * ld, vreinterpretq_s8_s32(vzip2q_s32(z, v)));
}
static inline void vi_store_words(int8_t *p, size_t ld, const vi w[4]) {
  neon_store_words(p, ld, w[0].a, w[1].a, w[2].a, w[3].a);
  neon_store_words(p + 4 * ld, ld, w[0].b, w[1].b, w[2].b, w[3].b);
  neon_store_words(p + 8 * ld, ld, w[0].c, w[1].c, w[2].c, w[3].c);
  neon_store_words(p + 12 * ld, ld, w[0].d, w[1].d, w[2].d, w[3].d);
}
#undef QK_AS_FLOAT
#undef QK_AS_BITS
#undef QK_LANE_OP1
#undef QK_LANE_OP2
#undef QK_REDUCE4_INT
#endif
