/* isa_dotprod.c - the NEON set with dot products of four bytes by lane (FEAT_DotProd), in tiles of 6 rows x 1 panel: 24
 * accumulators, 6 activations, 2 registers through which weights pass. Products multiply offset codes of both sides
 * (udot) and take the offsets away per row and per column:
 *
 *   sum w a = sum (w + 128)(a + 128) - 128 sum a - 128 sum w - 16384 K
 *
 * Attention knows no column sums of keys and values: there it is sdot on weights whose offset is flipped away. The
 * instructions are assembly: their intrinsics need flags for a whole file, and volatile keeps an order in which 32
 * registers suffice (gcc 12 schedules loads early, and spills). */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
QK_TARGET_BEGIN_DOTPROD
#include "kernels/lanes/lanes_neon.h"

#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 8
#define QK_TILE_W_SUMS
#include "kernels/neon/asm_neon.h"
#include "kernels/products/tile_packed.h"

/* [n][rows][16], offset codes. */
static void qk_packed_rows(int8_t *packed, const int8_t *a, size_t lda, size_t rows, size_t n) {
  const int8x16_t offset = vdupq_n_s8(-128);
  for (size_t r = 0; r < rows; r++) {
    const int8_t *from = a + r * lda;
    int8_t *to = packed + r * 16;
    for (size_t k = n; k > 0; k--, from += 16, to += rows * 16) vst1q_s8(to, veorq_s8(vld1q_s8(from), offset));
  }
}

#define UDOT(acc, w, a, lane) __asm__ volatile("udot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(acc) : "w"(w), "w"(a))
/* Step `lane` of the four from w + at: 16 columns, two registers of weights at a time. */
#define STEP(lane, at)                                                                                                 \
  QK_UNROLL for (int h = 0; h < 4; h += 2) {                                                                           \
    uint8x16_t x, y;                                                                                                   \
    NEON_LOAD2(x, y, w, at + lane * 64 + h * 16);                                                                      \
    QK_UNROLL for (int r = 0; r < rows; r++) UDOT(acc[r][h], x, a[r], lane);                                           \
    QK_UNROLL for (int r = 0; r < rows; r++) UDOT(acc[r][h + 1], y, a[r], lane);                                       \
  }
/* 16 channels, the first or the second of those at p and w. */
#define STEPS(which)                                                                                                   \
  {                                                                                                                    \
    int8x16_t a[6];                                                                                                    \
    QK_UNROLL for (int r = 0; r + 1 < rows; r += 2) NEON_LOAD2(a[r], a[r + 1], p, (which)*rows * 16 + r * 16);         \
    if (rows % 2) NEON_LOAD1(a[rows - 1], p, (which + 1) * rows * 16 - 16);                                            \
    STEP(0, (which)*256) STEP(1, (which)*256) STEP(2, (which)*256) STEP(3, (which)*256)                                \
  }

QK_INLINE void dotprod_panel(const qk_strip *s, const int rows) {
  int32x4_t acc[6][4];
  QK_UNROLL for (int h = 0; h < 4; h++) {
    const int32x4_t offsets = vdupq_n_s32((int32_t)(s->n * 16) * -16384); /* -16384 K */
    const int32x4_t column = vsubq_s32(offsets, vshlq_n_s32(vld1q_s32(s->w_sums + h * 4), 7));
    QK_UNROLL for (int r = 0; r < rows; r++) acc[r][h] = vaddq_s32(column, vdupq_n_s32(s->start[r]));
  }
  int32_t *out = s->out;
  const size_t ldo = s->ldo, n = s->n;
  const int8_t *p = s->a;
  const uint8_t *w = s->w;
  for (size_t k = n / 2; k > 0; k--, p += rows * 32, w += 512) {
    STEPS(0)
    STEPS(1)
  }
  if (n % 2) STEPS(0)
  QK_UNROLL for (int r = 0; r < rows; r++, out += ldo) QK_UNROLL for (int h = 0; h < 4; h += 2)
      NEON_STORE2(acc[r][h], acc[r][h + 1], out, h * 16);
}
typedef void panel_fn(const qk_strip *s);
#define DEFINE(r)                                                                                                      \
  static __attribute__((noinline)) void qk_tile_dotprod_##r(const qk_strip *s) { dotprod_panel(s, r); }
DEFINE(1) DEFINE(2) DEFINE(3) DEFINE(4) DEFINE(5) DEFINE(6) static void qk_packed_panel(const qk_strip *s) {
  static panel_fn *const by_rows[QK_TILE_ROWS] = {qk_tile_dotprod_1, qk_tile_dotprod_2, qk_tile_dotprod_3,
                                                  qk_tile_dotprod_4, qk_tile_dotprod_5, qk_tile_dotprod_6};
  by_rows[s->rows - 1](s);
}

#define QK_FINISH_Q8 qk_finish_q8_neon
#include "kernels/products/gemm_q8.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  if (op->a.parts.count) /* copies of rows are made for whole ones */
    qk_gemm_q8_neon(op, m0, m1, p0, p1);
  else
    qk_gemm_q8_over_tiles(op, m0, m1, p0, p1);
}
QK_TARGET_END

static void overlay(qk_table *t) {
  t->gemm_q8 = gemm_q8;
  t->gemm_group = qk_gemm_group_dotprod;
  t->attention_q8 = qk_attention_q8_dotprod;
  qk_attend_dotprod(t);
  t->attention_codes = qk_attention_codes_dotprod;
}

const qk_isa qk_isa_dotprod = {"dotprod", QK_CPU_NEON | QK_CPU_DOTPROD, overlay};
#endif
