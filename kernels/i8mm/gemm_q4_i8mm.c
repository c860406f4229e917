/* gemm_q4_i8mm.c - the 4-bit product by usmmla. The two steps that lie in a byte are the halves of its 8 inputs, so that unpacking
 * ends in a zip. Activations are copied in pairs of rows as for 8 bits. Tiles of 12 rows x 4 channels: 12 sums and 12 float
 * sums of 2 x 2 stay in registers. Assembly: see isa_dotprod.c. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
QK_TARGET_BEGIN_I8MM
#include "kernels/lanes/lanes_neon.h"

#define QK_WIDE 0
#define QK_FINISH_GROUP qk_finish_group_neon
#define QK_TILE_ROWS 12
#define QK_TILE_PANELS 4
#define QK_GROUP_TILES 12u
#define QK_GROUP_ROW 0
#include "kernels/neon/asm_neon.h"
#include "kernels/products/gemm_group.h"

#define PAIRS (QK_TILE_ROWS / 2)

/* [4 quarters of a panel][blocks * 4][4 channels][8 inputs] */
static __attribute__((noinline)) void qk_packed_q4(const uint8_t *w, size_t steps, uint8_t *to) {
  const uint8x16_t mask = vdupq_n_u8(15);
  for (size_t s = 0; s < steps; s++, w += 64, to += 32) QK_UNROLL for (size_t i = 0; i < 4; i++) {
      const uint8x16_t x = vld1q_u8(w + i * 16);
      const uint32x4_t low = vreinterpretq_u32_u8(vandq_u8(x, mask)), high = vreinterpretq_u32_u8(vshrq_n_u8(x, 4));
      vst1q_u8(to + i * steps * 32, vreinterpretq_u8_u32(vzip1q_u32(low, high)));
      vst1q_u8(to + i * steps * 32 + 16, vreinterpretq_u8_u32(vzip2q_u32(low, high)));
    }
}
static inline void qk_unpack_small(const uint8_t *w, size_t blocks, uint8_t *to) { qk_packed_q4(w, blocks * 4, to); }

/* A tile's rows, copied: codes [8 inputs][pairs][2][8], starts of groups [groups][pairs][4], the two rows' twice. */
typedef struct rows_copy {
  int8_t codes[QK_GROUP_BLOCKS * QK_GROUP * QK_TILE_ROWS] __attribute__((aligned(64)));
  int32_t start[QK_GROUP_BLOCKS * PAIRS * 4] __attribute__((aligned(64)));
} rows_copy;

/* An odd row is paired with itself. */
static __attribute__((noinline)) void qk_packed_q4_rows(rows_copy *c, const qk_tile_group *t, size_t rows) {
  const size_t groups = (t->blocks + t->each - 1) / t->each, pairs = (rows + 1) / 2, ld = pairs * 4;
  for (size_t p = 0; p < pairs; p++) {
    const size_t second = 2 * p + 1 < rows;
    const int8_t *x = t->a + 2 * p * t->lda, *y = x + second * t->lda;
    int8_t *to = c->codes + p * 16;
    for (size_t k = t->blocks; k > 0; k--, x += 32, y += 32) {
      int64x2_t u[2], v[2];
      NEON_LOAD2(u[0], u[1], x, 0);
      NEON_LOAD2(v[0], v[1], y, 0);
      QK_UNROLL for (int i = 0; i < 2; i++, to += pairs * 32) {
        vst1q_s8(to, vreinterpretq_s8_s64(vzip1q_s64(u[i], v[i])));
        vst1q_s8(to + pairs * 16, vreinterpretq_s8_s64(vzip2q_s64(u[i], v[i])));
      }
    }
    const int32_t *s = t->start + 2 * p * t->groups, *s1 = s + second * t->groups;
    int32_t *start = c->start + p * 4;
    size_t g = 0;
    for (; g + 4 <= groups; g += 4, start += 4 * ld) {
      const int32x4_t u = vld1q_s32(s + g), v = vld1q_s32(s1 + g);
      const int64x2_t low = vreinterpretq_s64_s32(vzip1q_s32(u, v)), high = vreinterpretq_s64_s32(vzip2q_s32(u, v));
      vst1q_s32(start, vreinterpretq_s32_s64(vdupq_laneq_s64(low, 0)));
      vst1q_s32(start + ld, vreinterpretq_s32_s64(vdupq_laneq_s64(low, 1)));
      vst1q_s32(start + 2 * ld, vreinterpretq_s32_s64(vdupq_laneq_s64(high, 0)));
      vst1q_s32(start + 3 * ld, vreinterpretq_s32_s64(vdupq_laneq_s64(high, 1)));
    }
    for (; g < groups; g++, start += ld) {
      start[0] = start[2] = s[g];
      start[1] = start[3] = s1[g];
    }
  }
}

#define USMMLA(acc, w, a) __asm__ volatile("usmmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a))

/* 8 inputs, the i-th of those at a and w. */
QK_INLINE void i8mm_step(int32x4_t acc[PAIRS][2], const int8_t *a, const uint8_t *w, const int i, const int pairs) {
  uint8x16_t u, v;
  int8x16_t x, y;
  NEON_LOAD2(u, v, w, i * 32);
  QK_UNROLL for (int p = 0; p + 1 < pairs; p += 2) {
    NEON_LOAD2(x, y, a, (i * pairs + p) * 16);
    USMMLA(acc[p][0], u, x);
    USMMLA(acc[p][1], v, x);
    USMMLA(acc[p + 1][0], u, y);
    USMMLA(acc[p + 1][1], v, y);
  }
  if (pairs % 2) {
    NEON_LOAD1(x, a, (i * pairs + pairs - 1) * 16);
    USMMLA(acc[pairs - 1][0], u, x);
    USMMLA(acc[pairs - 1][1], v, x);
  }
}

/* What a strip of 4 channels reads: its weights, and scales and sums at its first channel. */
typedef struct strip {
  const qk_tile_group *t;
  const rows_copy *rows;
  const uint8_t *w;
  const float *scale, *min;
  float *out;
} strip;

/* Two rows of 4 channels as registers of 2 x 2, channels 0 and 1, 2 and 3: [channel][row]; and back. */
QK_INLINE void i8mm_split(float32x4_t to[2], const float *from) {
  const float32x4_t x = vld1q_f32(from), y = vld1q_f32(from + QK_TILE_WIDTH);
  to[0] = vzip1q_f32(x, y);
  to[1] = vzip2q_f32(x, y);
}
QK_INLINE void i8mm_join(float *to, float32x4_t x, float32x4_t y) {
  vst1q_f32(to, vuzp1q_f32(x, y));
  vst1q_f32(to + QK_TILE_WIDTH, vuzp2q_f32(x, y));
}

/* single: groups are of one block. */
QK_INLINE void i8mm_strip(const strip *s, const int pairs, const int single) {
  const qk_tile_group *t = s->t;
  const size_t ld = QK_TILE_WIDTH;
  float *to = s->out;
  const int8_t *a = s->rows->codes;
  const uint8_t *w = s->w;
  const int32_t *start = s->rows->start;
  const float *scale = s->scale, *min = s->min;
  float32x4_t out[PAIRS][2];
  if (t->fresh) {
    QK_UNROLL for (int p = 0; p < pairs; p++) out[p][0] = out[p][1] = vdupq_n_f32(0);
  } else {
    QK_UNROLL for (int p = 0; p < pairs; p++) i8mm_split(out[p], to + 2 * (size_t)p * ld);
  }
  for (size_t left = t->blocks; left > 0; start += pairs * 4, scale += 16) {
    int32x4_t acc[PAIRS][2];
    size_t n = single ? 1 : left < t->each ? left : t->each;
    left -= n;
    if (!single && !t->begin) {
      QK_UNROLL for (int p = 0; p < pairs; p++) {
        float32x4_t bits[2];
        i8mm_split(bits, to + 2 * (size_t)p * ld);
        QK_UNROLL for (int c = 0; c < 2; c++) acc[p][c] = vreinterpretq_s32_f32(bits[c]);
      }
    } else if (min) {
      QK_UNROLL for (int p = 0; p < pairs; p++) acc[p][0] = acc[p][1] = vdupq_n_s32(0);
    } else {
      QK_UNROLL for (int c = 0; c < 2; c++) {
        QK_UNROLL for (int p = 0; p + 1 < pairs; p += 2) NEON_LOAD2(acc[p][c], acc[p + 1][c], start, p * 16);
        if (pairs % 2) NEON_LOAD1(acc[pairs - 1][c], start, (pairs - 1) * 16);
      }
    }
    do {
      QK_UNROLL for (int i = 0; i < 4; i++) i8mm_step(acc, a, w, i, pairs);
      a += pairs * 64;
      w += 128;
    } while (!single && --n);
    if (!single && !t->end) {
      QK_UNROLL for (int p = 0; p < pairs; p++)
          i8mm_join(to + 2 * (size_t)p * ld, vreinterpretq_f32_s32(acc[p][0]), vreinterpretq_f32_s32(acc[p][1]));
      return;
    }
    const float32x4_t f = vld1q_f32(scale), f01 = vzip1q_f32(f, f), f23 = vzip2q_f32(f, f);
    QK_UNROLL for (int p = 0; p < pairs; p++) {
      out[p][0] = vfmaq_f32(out[p][0], vcvtq_f32_s32(acc[p][0]), f01);
      out[p][1] = vfmaq_f32(out[p][1], vcvtq_f32_s32(acc[p][1]), f23);
    }
    if (min) {
      const float32x4_t m = vld1q_f32(min), m01 = vzip1q_f32(m, m), m23 = vzip2q_f32(m, m);
      min += 16;
      QK_UNROLL for (int p = 0; p < pairs; p++) { /* sums of codes: qk_group_sum of the starts */
        const float32x4_t sum = vmulq_f32(vcvtq_f32_s32(vld1q_s32(start + p * 4)), vdupq_n_f32(-0.125f));
        out[p][0] = vfmaq_f32(out[p][0], sum, m01);
        out[p][1] = vfmaq_f32(out[p][1], sum, m23);
      }
    }
  }
  QK_UNROLL for (int p = 0; p < pairs; p++) i8mm_join(to + 2 * (size_t)p * ld, out[p][0], out[p][1]);
}

typedef void strip_fn(const strip *s);
#define DEFINE(pairs)                                                                                                  \
  static __attribute__((noinline)) void qk_tile_q4_i8mm_##pairs(const strip *s) { i8mm_strip(s, pairs, 0); }           \
  static __attribute__((noinline)) void qk_tile_q4_i8mm_##pairs##_single(const strip *s) { i8mm_strip(s, pairs, 1); }
DEFINE(1)
DEFINE(2)
DEFINE(3)
DEFINE(4)
DEFINE(5)
DEFINE(6)
#define ENTRY(pairs)                                                                                                   \
  { qk_tile_q4_i8mm_##pairs, qk_tile_q4_i8mm_##pairs##_single }

/* May write one row more, so that rows come in pairs: QK_TILE_ROWS is even. */
static inline void qk_tile_group_run(const qk_tile_group *t, size_t rows, size_t panels) {
  static strip_fn *const by_pairs[PAIRS][2] = {ENTRY(1), ENTRY(2), ENTRY(3), ENTRY(4), ENTRY(5), ENTRY(6)};
  rows_copy copy;
  qk_packed_q4_rows(&copy, t, rows);
  for (size_t p = 0; p < panels; p++)
    for (size_t i = 0; i < 4; i++) {
      const strip s = {.t = t,
                       .rows = &copy,
                       .w = t->w + p * t->panel_bytes + i * t->blocks * 128,
                       .scale = t->scale + p * t->scale_panel + i * 4,
                       .min = t->min ? t->min + p * t->scale_panel + i * 4 : NULL,
                       .out = t->out + p * 16 + i * 4};
      by_pairs[(rows + 1) / 2 - 1][t->each == 1](&s);
    }
}

#define FEW_ROWS 4 /* which read weights with integer steps as they lie */
void qk_gemm_group_i8mm(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  if (op->steps && m1 - m0 <= FEW_ROWS)
    qk_gemm_group_dotprod(op, m0, m1, p0, p1);
  else
    qk_gemm_group_small_or(op, m0, m1, p0, p1, qk_gemm_wide_dotprod);
}
QK_TARGET_END
#endif
