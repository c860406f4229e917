/* isa_i8mm.c - the NEON set with matrix instructions (FEAT_I8MM): usmmla multiplies 2 channels of unsigned weights by 2 rows of
 * signed activations over 8 input channels. Activations are copied in pairs of rows; two steps of a panel, zipped, are the
 * weights. Tiles of 12 rows x 1 panel in two halves of 8 columns: 24 accumulators of 2 x 2. Assembly: see isa_dotprod.c. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
QK_TARGET_BEGIN_I8MM
#include "kernels/lanes/lanes_neon.h"

#define QK_TILE_ROWS 12
#define QK_TILE_PANELS 8
#include "kernels/neon/asm_neon.h"
#include "kernels/products/tile_packed.h"

/* [n][2][pairs][2][8]: 8 channels of both rows of a pair make a register; an odd row is paired with itself. */
static void qk_packed_rows(int8_t *packed, const int8_t *a, size_t lda, size_t rows, size_t n) {
  const size_t half = (rows + 1) / 2 * 16;
  for (size_t r = 0; r < rows; r += 2) {
    const int8_t *x = a + r * lda, *y = r + 1 < rows ? x + lda : x;
    int8_t *to = packed + r * 8;
    for (size_t k = n; k > 0; k--, x += 16, y += 16, to += 2 * half) {
      const int64x2_t u = vreinterpretq_s64_s8(vld1q_s8(x)), v = vreinterpretq_s64_s8(vld1q_s8(y));
      vst1q_s8(to, vreinterpretq_s8_s64(vzip1q_s64(u, v)));
      vst1q_s8(to + half, vreinterpretq_s8_s64(vzip2q_s64(u, v)));
    }
  }
}

#define USMMLA(acc, w, a) __asm__ volatile("usmmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(a))
/* Words of two steps become channels of 8 bytes: x = channels 0 and 1, y = 2 and 3. */
#define ZIP(x, y, s, t)                                                                                                \
  __asm__ volatile("zip1 %0.4s, %2.4s, %3.4s\n\tzip2 %1.4s, %2.4s, %3.4s" : "=&w"(x), "=w"(y) : "w"(s), "w"(t))

/* 8 input channels of 8 columns, the i-th of those at a and w. */
QK_INLINE void i8mm_step(int32x4_t acc[6][4], const int8_t *a, const uint8_t *w, const int i, const int pairs) {
  uint8x16_t s[2], t[2], b[4];
  int8x16_t x, y;
  NEON_LOAD2(s[0], s[1], w, i * 128);
  NEON_LOAD2(t[0], t[1], w, i * 128 + 64);
  ZIP(b[0], b[1], s[0], t[0]);
  ZIP(b[2], b[3], s[1], t[1]);
  QK_UNROLL for (int p = 0; p + 1 < pairs; p += 2) {
    NEON_LOAD2(x, y, a, (i * pairs + p) * 16);
    QK_UNROLL for (int c = 0; c < 4; c++) USMMLA(acc[p][c], b[c], x);
    QK_UNROLL for (int c = 0; c < 4; c++) USMMLA(acc[p + 1][c], b[c], y);
  }
  if (pairs % 2) {
    NEON_LOAD1(x, a, (i * pairs + pairs - 1) * 16);
    QK_UNROLL for (int c = 0; c < 4; c++) USMMLA(acc[pairs - 1][c], b[c], x);
  }
}

QK_INLINE void i8mm_half(const qk_strip *s, int32_t *out, const uint8_t *w, const int pairs) {
  int32x4_t acc[6][4];
  QK_UNROLL for (int p = 0; p < pairs; p++) { /* the two rows, for each of two columns */
    const int32x2_t start = vld1_s32(s->start + 2 * p);
    QK_UNROLL for (int c = 0; c < 4; c++) acc[p][c] = vcombine_s32(start, start);
  }
  const size_t ldo = s->ldo, n = s->n;
  const int8_t *a = s->a;
  for (size_t k = n / 2; k > 0; k--, a += pairs * 64, w += 512)
    QK_UNROLL for (int i = 0; i < 4; i++) i8mm_step(acc, a, w, i, pairs);
  if (n % 2) QK_UNROLL for (int i = 0; i < 2; i++) i8mm_step(acc, a, w, i, pairs);
  /* [column][row] of two columns each: even words are the first row. */
  QK_UNROLL for (int p = 0; p < pairs; p++) {
    NEON_STORE2(vuzp1q_s32(acc[p][0], acc[p][1]), vuzp1q_s32(acc[p][2], acc[p][3]), out, 0);
    out += ldo;
    NEON_STORE2(vuzp2q_s32(acc[p][0], acc[p][1]), vuzp2q_s32(acc[p][2], acc[p][3]), out, 0);
    out += ldo;
  }
}

typedef void panel_fn(const qk_strip *s);
#define DEFINE(pairs)                                                                                                  \
  static __attribute__((noinline)) void qk_tile_i8mm_##pairs(const qk_strip *s) {                                      \
    for (size_t half = 0; half < 2; half++) i8mm_half(s, s->out + half * 8, s->w + half * 32, pairs);                  \
  }
DEFINE(1) DEFINE(2) DEFINE(3) DEFINE(4) DEFINE(5) DEFINE(6) static void qk_packed_panel(const qk_strip *s) {
  static panel_fn *const by_pairs[6] = {qk_tile_i8mm_1, qk_tile_i8mm_2, qk_tile_i8mm_3,
                                        qk_tile_i8mm_4, qk_tile_i8mm_5, qk_tile_i8mm_6};
  by_pairs[(s->rows + 1) / 2 - 1](s);
}

/* The same of rows that lie side by side, steps `next` apart: two steps of four rows, zipped, are two pairs. */
static __attribute__((noinline)) void qk_packed_steps(int8_t *packed, const int8_t *a, size_t next, size_t rows,
                                                      size_t n) {
  for (size_t k = 2 * n; k > 0; k--, a += 2 * next)
    for (size_t r = 0; r < rows; r += 4) {
      const int32x4_t u = vreinterpretq_s32_s8(vld1q_s8(a + 4 * r));
      const int32x4_t v = vreinterpretq_s32_s8(vld1q_s8(a + next + 4 * r));
      vst1q_s8(packed, vreinterpretq_s8_s32(vzip1q_s32(u, v)));
      packed += 16;
      if (r + 2 >= rows) continue;
      vst1q_s8(packed, vreinterpretq_s8_s32(vzip2q_s32(u, v)));
      packed += 16;
    }
}

#define QK_ATTEND_FEW qk_attend_few_dotprod
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"
#define QK_FINISH_Q8 qk_finish_q8_neon
#include "kernels/products/gemm_q8.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  if (op->a.parts.count) /* copies of rows are made for whole ones */
    qk_gemm_q8_neon(op, m0, m1, p0, p1);
  else
    qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
static void attention_q8(const qk_attention_q8 *op, size_t r0, size_t r1) { qk_attention_q8_over_tiles(op, r0, r1); }
QK_TARGET_END

static void overlay(qk_table *t) {
  t->gemm_q8 = gemm_q8;
  t->gemm_group = qk_gemm_group_i8mm;
  t->attention_q8 = attention_q8;
  t->attend_cache = qk_attend_cache_over_tiles;
}

const qk_isa qk_isa_i8mm = {"i8mm", QK_CPU_NEON | QK_CPU_DOTPROD | QK_CPU_I8MM, overlay};
#endif
