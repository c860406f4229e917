/* lanes_ref.h - the vector vocabulary in plain C: 16 floats (vf), 16 int32 (vi). This file is the specification; the
 * other lanes files define the same names with the same results, and an ISA's .c includes exactly one of them.
 *
 * Every function is one IEEE operation per lane, round to nearest even. NaN: min and max give b when a or b is NaN;
 * comparisons with NaN are false; which NaN an operation gives is not defined. No libm: the square root is the
 * hardware's. */
#ifndef QK_LANES_REF_H
#define QK_LANES_REF_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct vf {
  float l[16];
} vf;
typedef struct vi {
  int32_t l[16];
} vi;

#if defined(__FP_FAST_FMAF) || defined(__aarch64__)
#define QK_FAST_FMA 1 /* the baseline has the instruction: the builtin is it, not a call */
#endif

/* Four lanes, for the one operation that compilers do not vectorize by themselves. */
typedef float ref_f32x4 __attribute__((vector_size(16)));
typedef uint32_t ref_u32x4 __attribute__((vector_size(16)));
typedef double ref_f64x4 __attribute__((vector_size(32)));
typedef uint64_t ref_u64x4 __attribute__((vector_size(32)));

/* Calls, not copies: inlined hundreds of times, loops over lanes would be a third of the library, and with a sanitizer take a
   compiler minutes. */
#define QK_LANE static __attribute__((noinline, unused))

#define QK_EACH for (int i = 0; i < 16; i++)

static inline uint32_t ref_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
static inline float ref_from_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* The double nearest to p + c may sit exactly between two floats where p + c does not. Rounding p + c to odd instead
   (Boldo and Melquiond 2008) makes the second rounding right: 53 >= 24 + 2 bits. Also right for subnormal results. */
static inline float ref_fma_odd(double p, double c) {
  double s = p + c, t = s - p, rest = (p - (s - t)) + (c - t); /* s + rest = p + c, exactly; NaN when s is not finite */
  uint64_t u;
  memcpy(&u, &s, sizeof u);
  if ((rest < 0 || rest > 0) && (u & 1) == 0) u = (rest > 0) == (s > 0) ? u + 1 : u - 1;
  memcpy(&s, &u, sizeof s);
  return (float)s;
}
/* a * b + c with one rounding. The product is exact in double: 48 bits, exponents within +-300. Infinity and NaN come
   out of the double arithmetic as they should. */
static inline float ref_fma(float a, float b, float c) {
#ifdef QK_FAST_FMA
  return __builtin_fmaf(a, b, c);
#else
  double p = (double)a * (double)b, s = p + (double)c;
  float r = (float)s;
  uint64_t u;
  memcpy(&u, &s, sizeof u);
  int careful = ((u & 0x1fffffff) == 0x10000000) | ((ref_bits(r) & 0x7fffffff) <= 0x00800000);
  return __builtin_expect(careful, 0) ? ref_fma_odd(p, (double)c) : r; /* as in vf_fma */
#endif
}
/* Adding 2^23 leaves no bits below 1. */
static inline float ref_rint(float x) {
  uint32_t u = ref_bits(x), sign = u & 0x80000000u;
  float a = ref_from_bits(u ^ sign);
  float r = (a + 8388608.0f) - 8388608.0f;
  return a < 8388608.0f ? ref_from_bits(ref_bits(r) | sign) : x;
}

QK_LANE vf vf_set1(float x) {
  vf r;
  QK_EACH r.l[i] = x;
  return r;
}
QK_LANE vf vf_zero(void) { return vf_set1(0.0f); }
QK_LANE vf vf_load(const float *p) {
  vf r;
  memcpy(r.l, p, sizeof r.l);
  return r;
}
QK_LANE void vf_store(float *p, vf a) { memcpy(p, a.l, sizeof a.l); }
/* The first n < 16 lanes; the rest are 0. Only n floats are touched. */
QK_LANE vf vf_load_part(const float *p, size_t n) {
  vf r = vf_zero();
  memcpy(r.l, p, n * sizeof(float));
  return r;
}
/* p[at[i]] */
QK_LANE vf vf_take(const float *p, const int32_t *at) {
  vf r;
  QK_EACH r.l[i] = p[at[i]];
  return r;
}
QK_LANE void vf_store_part(float *p, vf a, size_t n) { memcpy(p, a.l, n * sizeof(float)); }

#define QK_LANE_OP2(name, type, expr)                                                                                  \
  QK_LANE type name(type a, type b) {                                                                                  \
    type r;                                                                                                            \
    QK_EACH r.l[i] = expr;                                                                                             \
    return r;                                                                                                          \
  }
QK_LANE_OP2(vf_add, vf, a.l[i] + b.l[i])
QK_LANE_OP2(vf_sub, vf, a.l[i] - b.l[i])
QK_LANE_OP2(vf_mul, vf, a.l[i] * b.l[i])
QK_LANE_OP2(vf_div, vf, a.l[i] / b.l[i])
QK_LANE_OP2(vf_max, vf, a.l[i] > b.l[i] ? a.l[i] : b.l[i])
QK_LANE_OP2(vf_min, vf, a.l[i] < b.l[i] ? a.l[i] : b.l[i])
/* Magnitude of a, sign of b. */
QK_LANE_OP2(vf_copysign, vf, ref_from_bits((ref_bits(a.l[i]) & 0x7fffffffu) | (ref_bits(b.l[i]) & 0x80000000u)))

QK_LANE vf vf_fma(vf a, vf b, vf c) { /* a * b + c */
  vf r;
#ifdef QK_FAST_FMA
  QK_EACH r.l[i] = __builtin_fmaf(a.l[i], b.l[i], c.l[i]);
#else
  /* Rounding to odd is needed only where the double sum is halfway between two floats (its low 29 bits say so) or the
     result is not above 2^-126. A subtraction below 0 says so in its top bit. Four lanes at a time stay in registers. */
  ref_u64x4 halfway = {0};
  ref_u32x4 small = {0};
  for (int i = 0; i < 16; i += 4) {
    ref_f32x4 x, y, z;
    memcpy(&x, a.l + i, sizeof x);
    memcpy(&y, b.l + i, sizeof y);
    memcpy(&z, c.l + i, sizeof z);
    ref_f64x4 p = __builtin_convertvector(x, ref_f64x4) * __builtin_convertvector(y, ref_f64x4);
    ref_f64x4 s = p + __builtin_convertvector(z, ref_f64x4);
    ref_f32x4 rounded = __builtin_convertvector(s, ref_f32x4);
    halfway |= (((ref_u64x4)s & 0x1fffffff) ^ 0x10000000) - 1;
    small |= ((ref_u32x4)rounded & 0x7fffffff) - 0x00800001u;
    memcpy(r.l + i, &rounded, sizeof rounded);
  }
  uint64_t careful = (halfway[0] | halfway[1] | halfway[2] | halfway[3]) >> 63;
  careful |= (small[0] | small[1] | small[2] | small[3]) >> 31;
  if (__builtin_expect(careful != 0, 0)) QK_EACH r.l[i] = ref_fma_odd((double)a.l[i] * (double)b.l[i], (double)c.l[i]);
#endif
  return r;
}
QK_LANE vf vf_sqrt(vf a) {
  QK_EACH a.l[i] = __builtin_sqrtf(a.l[i]);
  return a;
}
QK_LANE vf vf_neg(vf a) {
  QK_EACH a.l[i] = -a.l[i];
  return a;
}
QK_LANE vf vf_abs(vf a) {
  QK_EACH a.l[i] = ref_from_bits(ref_bits(a.l[i]) & 0x7fffffffu);
  return a;
}
QK_LANE vf vf_rint(vf a) { /* to nearest even, the sign of zero kept */
  QK_EACH a.l[i] = ref_rint(a.l[i]);
  return a;
}
/* To nearest even. Lanes that are NaN: any value whose lowest byte is 0; not within int32: any value. */
QK_LANE vi vf_to_vi(vf a) {
  vi r;
  QK_EACH {
    float x = ref_rint(a.l[i]);
    r.l[i] = x >= -2147483648.0f && x < 2147483648.0f ? (int32_t)x : INT32_MIN;
  }
  return r;
}
QK_LANE vf vi_to_vf(vi a) {
  vf r;
  QK_EACH r.l[i] = (float)a.l[i];
  return r;
}
QK_LANE vi vi_bits(vf a) {
  vi r;
  memcpy(&r, &a, sizeof r);
  return r;
}
QK_LANE vf vf_from_bits(vi a) {
  vf r;
  memcpy(&r, &a, sizeof r);
  return r;
}
QK_LANE vf vf_select_lt(vf a, vf b, vf x, vf y) { /* a < b ? x : y */
  QK_EACH x.l[i] = a.l[i] < b.l[i] ? x.l[i] : y.l[i];
  return x;
}
/* a < b ? x with n added to its bits : 0 */
QK_LANE vf vf_lift_lt(vf a, vf b, vf x, vi n) {
  QK_EACH x.l[i] = a.l[i] < b.l[i] ? ref_from_bits(ref_bits(x.l[i]) + (uint32_t)n.l[i]) : 0.0f;
  return x;
}
/* Lane i takes lane i ^ 1, ^ 2, ^ 4, ^ 8. */
QK_LANE vf ref_swap(vf a, int n) {
  vf r;
  QK_EACH r.l[i] = a.l[i ^ n];
  return r;
}
#define vf_swap1(a) ref_swap(a, 1)
#define vf_swap2(a) ref_swap(a, 2)
#define vf_swap4(a) ref_swap(a, 4)
#define vf_swap8(a) ref_swap(a, 8)
QK_LANE vf vf_keep(vf a, size_t n) { /* lanes from n on, n <= 16, become 0 */
  QK_EACH a.l[i] = (size_t)i < n ? a.l[i] : 0.0f;
  return a;
}
/* a * 2^n for integral n, where a and the result are normal; any value otherwise. */
QK_LANE vf vf_scale2(vf a, vf n) {
  QK_EACH {
    int32_t e = n.l[i] >= -256.0f && n.l[i] <= 256.0f ? (int32_t)n.l[i] : 0;
    a.l[i] = ref_from_bits(ref_bits(a.l[i]) + ((uint32_t)e << 23));
  }
  return a;
}
QK_LANE float vf_first(vf a) { return a.l[0]; }
/* The fixed tree: l += l+8, l += l+4, l += l+2, l += l+1. */
QK_LANE float vf_sum(vf a) {
  for (int step = 8; step; step /= 2)
    for (int i = 0; i < step; i++) a.l[i] = a.l[i] + a.l[i + step];
  return a.l[0];
}
QK_LANE float vf_hmax(vf a) {
  for (int step = 8; step; step /= 2)
    for (int i = 0; i < step; i++) a.l[i] = a.l[i] > a.l[i + step] ? a.l[i] : a.l[i + step];
  return a.l[0];
}

QK_LANE vi vi_set1(int32_t x) {
  vi r;
  QK_EACH r.l[i] = x;
  return r;
}
QK_LANE vi vi_zero(void) { return vi_set1(0); }
QK_LANE vi vi_load(const int32_t *p) {
  vi r;
  memcpy(r.l, p, sizeof r.l);
  return r;
}
QK_LANE void vi_store(int32_t *p, vi a) { memcpy(p, a.l, sizeof a.l); }
QK_LANE_OP2(vi_add, vi, (int32_t)((uint32_t)a.l[i] + (uint32_t)b.l[i]))
QK_LANE_OP2(vi_sub, vi, (int32_t)((uint32_t)a.l[i] - (uint32_t)b.l[i]))
QK_LANE_OP2(vi_mul, vi, (int32_t)((uint32_t)a.l[i] * (uint32_t)b.l[i]))
QK_LANE_OP2(vi_mul16, vi,
            (int32_t)(((uint32_t)a.l[i] * (uint32_t)b.l[i] & 0xffff) |
                      ((uint32_t)a.l[i] >> 16) * ((uint32_t)b.l[i] >> 16) << 16)) /* each half by itself */
QK_LANE_OP2(vi_and, vi, a.l[i] & b.l[i])
QK_LANE_OP2(vi_or, vi, a.l[i] | b.l[i])
QK_LANE_OP2(vi_xor, vi, a.l[i] ^ b.l[i])
QK_LANE_OP2(vi_max, vi, a.l[i] > b.l[i] ? a.l[i] : b.l[i])
QK_LANE_OP2(vi_min, vi, a.l[i] < b.l[i] ? a.l[i] : b.l[i])
QK_LANE_OP2(vi_maxu, vi, (uint32_t)a.l[i] > (uint32_t)b.l[i] ? a.l[i] : b.l[i]) /* as unsigned integers */
#define vi_shl(a, imm) vi_shl_((a), (imm))
#define vi_shl_by vi_shl_
QK_LANE vi vi_shl_(vi a, int imm) {
  QK_EACH a.l[i] = (int32_t)((uint32_t)a.l[i] << imm);
  return a;
}
#define vi_sar(a, imm) vi_sar_((a), (imm))
QK_LANE vi vi_sar_(vi a, int imm) { /* the sign comes in */
  QK_EACH a.l[i] = a.l[i] < 0 ? ~(~a.l[i] >> imm) : a.l[i] >> imm;
  return a;
}
#define vi_shr(a, imm) vi_shr_((a), (imm))
QK_LANE vi vi_shr_(vi a, int imm) { /* zeros come in */
  QK_EACH a.l[i] = (int32_t)((uint32_t)a.l[i] >> imm);
  return a;
}
QK_LANE int32_t vi_sum(vi a) { /* wrapping */
  uint32_t s = 0;
  QK_EACH s += (uint32_t)a.l[i];
  return (int32_t)s;
}
QK_LANE int32_t vi_hmax(vi a) {
  int32_t m = a.l[0];
  QK_EACH m = a.l[i] > m ? a.l[i] : m;
  return m;
}
/* Of each lane the sum of its four bytes, unsigned. */
QK_LANE vi vi_sum_bytes(vi a) {
  QK_EACH {
    const uint32_t x = (uint32_t)a.l[i];
    a.l[i] = (int32_t)((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24));
  }
  return a;
}
/* The lowest bytes of a, b, c and d as the bytes of a lane, that of a the lowest. */
QK_LANE vi vi_join8(vi a, vi b, vi c, vi d) {
  QK_EACH {
    const uint32_t low = ((uint32_t)a.l[i] & 255) | ((uint32_t)b.l[i] & 255) << 8;
    a.l[i] = (int32_t)(low | ((uint32_t)c.l[i] & 255) << 16 | (uint32_t)d.l[i] << 24);
  }
  return a;
}
/* Lane j of the result is vi_sum, vi_hmax of rows[j]. */
QK_LANE vi vi_sum_rows(const vi rows[16]) {
  vi r;
  QK_EACH r.l[i] = vi_sum(rows[i]);
  return r;
}
QK_LANE vi vi_hmax_rows(const vi rows[16]) {
  vi r;
  QK_EACH r.l[i] = vi_hmax(rows[i]);
  return r;
}
QK_LANE vi vi_load8(const int8_t *p) {
  vi r;
  QK_EACH r.l[i] = p[i];
  return r;
}
QK_LANE vi vi_load8_part(const int8_t *p, size_t n) { /* n < 16 */
  int8_t t[16] = {0};
  memcpy(t, p, n);
  return vi_load8(t);
}
QK_LANE void vi_store8(int8_t *p, vi a) { /* lanes in -128 ... 127 */
  QK_EACH p[i] = (int8_t)a.l[i];
}
QK_LANE void vi_store8_part(int8_t *p, vi a, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] = (int8_t)a.l[i];
}
/* The lowest byte of lane 4 s + i of rows[j], exclusive or `flip` (a byte four times), to p[64 s + 4 j + i]: rows of channels
   become panels of rows. */
QK_LANE void vi_store8_panel(uint8_t *p, const vi rows[16], uint32_t flip) {
  for (int j = 0; j < 16; j++) QK_EACH p[i / 4 * 64 + j * 4 + i % 4] = (uint8_t)((uint32_t)rows[j].l[i] ^ flip);
}
/* y[i] = table[x[i] as an unsigned byte]; n: a multiple of 64. y may be x. */
QK_LANE void vb_lookup(const int8_t *table, const int8_t *x, int8_t *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = table[(uint8_t)x[i]];
}
/* acc plus the four bytes, signed, of each lane of a. */
QK_LANE vi vi_add_bytes(vi acc, vi a) {
  QK_EACH for (int b = 0; b < 32; b += 8) acc.l[i] += (int8_t)(uint8_t)((uint32_t)a.l[i] >> b);
  return acc;
}
/* Lane i of w[s]: the four bytes at p + i * ld + 4 * s. Sixteen rows of 16 bytes. */
QK_LANE void vi_load_words(const int8_t *p, size_t ld, vi w[4]) {
  for (size_t s = 0; s < 4; s++) QK_EACH memcpy(&w[s].l[i], p + (size_t)i * ld + 4 * s, 4);
}
/* Byte b of lane i: p[b * ld + i]. Four rows of 16 bytes. */
QK_LANE vi vi_load_columns(const int8_t *p, size_t ld) {
  vi r;
  QK_EACH {
    const int8_t x[4] = {p[i], p[ld + (size_t)i], p[2 * ld + (size_t)i], p[3 * ld + (size_t)i]};
    memcpy(&r.l[i], x, 4);
  }
  return r;
}
/* Limits of codes, integers in -127 ... 127. */
typedef struct vl {
  float lowest, highest;
} vl;
QK_LANE vl vl_of(float lowest, float highest) { return (vl){lowest, highest}; }
QK_LANE int8_t ref_code(float x, vl l) {
  x = x > l.lowest ? x : l.lowest;
  return (int8_t)ref_rint(x < l.highest ? x : l.highest);
}
/* At most some number above 127; NaN stays. What vi_codes_row and its like want of lanes that may be 2^31 or more. */
QK_LANE vf vf_held(vf a) {
  QK_EACH a.l[i] = a.l[i] > 128.0f ? 128.0f : a.l[i];
  return a;
}
/* The 64 bytes in memory's order: rint(min(max(x, lowest), highest)) of the lanes of a, then of b, c and d, which are below 2^31; of
   NaN lowest. */
QK_LANE vi vi_codes_row(vf a, vf b, vf c, vf d, vl l) {
  int8_t codes[64];
  QK_EACH codes[i] = ref_code(a.l[i], l), codes[16 + i] = ref_code(b.l[i], l);
  QK_EACH codes[32 + i] = ref_code(c.l[i], l), codes[48 + i] = ref_code(d.l[i], l);
  vi r;
  memcpy(r.l, codes, sizeof r.l);
  return r;
}
/* What sets with vectors have besides, for products/attention_codes.h and products/transform.h. Bytes are those of a lane, 0 the lowest.
     vb_max(a, b), vb_sub(a, b): of each byte, signed; wrapping
     vi_codes4(a, b, c, d, l): as vi_codes_row, but bytes 0 ... 3 of a lane are those of that lane of a, b, c, d
     vw_load(table): two tables of 16 numbers in 0 ... 32767, a vw
     vw_take(t, d, e): of each byte x of d, unsigned, (table[x >> 4] * table[16 + (x & 15)] + 2^14) >> 15 in 16 bits. In every
       four lanes e[0] holds, low halves first, those of bytes 0 and 1 of lane 0, of its bytes 2 and 3, of 0 and 1 of lane 1, of its 2
       and 3; e[1] those of lanes 2 and 3 alike: the order of pairs
     vi_add_halves(a): of each lane the sum of its halves
     vi_add_pairs(a, b): in every four lanes a0 + a1, a2 + a3, b0 + b1, b2 + b3
     vf_twice_low(a), vf_twice_high(a): in every four lanes a0 a0 a1 a1, a2 a2 a3 a3
     vi_dot_pairs(acc, a, b): of each lane acc plus the products of the low and of the high halves, signed; wrapping
     vi_opaque(a): a, of which a compiler does not know where it comes from
     vi_shr_signed(a, n): of each lane a >> n, 0 <= n < 32, the sign comes in
     vi_narrow16(a, b, right, left): low halves of a >> right, high halves of b << left, and of each half h (h + 1) >> 1
     vi_pack16(a, b): lanes that fit as numbers of 16 bits; in every four lanes those of a, then those of b
     vi_transpose(w): word j of row i becomes word i of row j
     vi_store16(p, a): lanes in -32768 ... 32767 as 16 numbers
     vi_store_words(p, ld, w): what vi_load_words loads back
     vi_codes_pairs(even0, odd0, even1, odd1, l): as vi_codes4, of what the low and the high halves of e[0], those of e[1] became */
#undef QK_EACH
#undef QK_LANE
#undef QK_LANE_OP2
#endif
