/* row_steps.h - a few rows times weights of 4 bits with integer steps (kernels.h: qk_gemm_group), read as they lie in the file: one
 * stream of codes for all of these rows. Unpacking codes to bytes costs more instructions than memory gives time for, so codes are
 * summed as they are, 0 ... 15, and a group's step and zero point meet only the sum:
 *
 *   sum of (q - zero) * step * a = step * (sum of q * a - zero * sum of a)
 *
 * Over what tile_group.h takes of a set. Before including this a set may define
 *
 *   QK_STEPS_ROWS     rows side by side that there are registers for: 4 or 2 (not defined)
 *   QK_STEPS_SHIFT    4: codes in the high half of a byte are summed where they lie, as 16 q, by qk_nib_high_as_is(w): two shifts a step
 *                     less. Sums need more than 16 bits for it */
#ifndef QK_PRODUCTS_ROW_STEPS_H
#define QK_PRODUCTS_ROW_STEPS_H
#include "kernels/products/tile_group.h"
#include "kernels/rows/block_sums.h"
#include "kernels/rows/epilogue.h"

#ifndef QK_STEPS_ROWS
#define QK_STEPS_ROWS 2
#endif
#ifndef QK_STEPS_SHIFT
#define QK_STEPS_SHIFT 0
#endif
#if QK_STEPS_SHIFT
#define qk_steps_high qk_nib_high_as_is
#else
#define qk_steps_high qk_nib_high
#endif
#define QK_STEPS_PANELS 16u   /* between two epilogues */
#define QK_STEPS_BLOCKS 1024u /* of 32 inputs at most: room for the sums of their codes */
#define QK_STEPS_FEW 4u /* rows, all together: side by side, or in passes over panels that are in the L2 cache then */
#define QK_STEPS_PASSES 2u /* of them at most, whatever QK_STEPS_ROWS */

/* Rows of a product in pieces: runs of inputs with one step and one scale of activations. */
typedef struct qk_steps_rows {
  const qk_gemm_group *op;
  size_t m;        /* first row */
  size_t blocks;   /* of a row */
  size_t each;     /* blocks of a piece; the last one may have fewer */
  size_t pieces;   /* of a row */
  size_t by_step;  /* pieces of a group of weights */
  size_t by_scale; /* pieces of a group of activations; all of them where these have one scale a row */
  int32_t less[QK_STEPS_ROWS][QK_STEPS_BLOCKS]; /* of a piece: its codes' sum, with the sign changed */
} qk_steps_rows;

static inline size_t qk_least(size_t a, size_t b) { return a < b ? a : b; }

static inline void qk_steps_prepare(qk_steps_rows *t, const qk_gemm_group *op, size_t m, size_t rows) {
  const size_t group = op->group / QK_GROUP, scaled = op->a.grouped ? op->a.group / QK_GROUP : group;
  t->op = op;
  t->m = m;
  t->blocks = (op->k + QK_GROUP - 1) / QK_GROUP;
  t->each = qk_least(group, scaled);
  t->pieces = (t->blocks + t->each - 1) / t->each;
  t->by_step = group / t->each;
  t->by_scale = op->a.grouped ? scaled / t->each : t->pieces;
  for (size_t r = 0; r < rows; r++) {
    int32_t part[16], sum = 0, *less = t->less[r];
    for (size_t b = 0; b < t->blocks; b++) {
      if (b % 16 == 0)
        vi_store(part, qk_block_sums(op->a.codes + (m + r) * op->a.ld + b * QK_GROUP, qk_least(t->blocks - b, 16)));
      sum -= part[b % 16];
      if ((b + 1) % t->each && b + 1 < t->blocks) continue;
      *less++ = sum;
      sum = 0;
    }
  }
}

/* Blocks of 32 inputs at a and w to the exact sums of rows: of the codes in the low and in the high half of a byte. */
QK_INLINE void qk_steps_block(vi low[QK_STEPS_ROWS], vi high[QK_STEPS_ROWS], const int8_t *a, size_t lda,
                              const uint8_t *w, const int rows) {
  qk_sum sum[QK_STEPS_ROWS];
  QK_UNROLL for (int s = 0; s < 8; s++) {
    const uint8_t *from = w + s / 2 * 64;
    const qk_nib_w b = s % 2 ? qk_steps_high(from) : qk_nib_low(from);
    if (s % 2 == 0) qk_ask_ahead(from, 1);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_nib_a x = qk_nib_spread(a + (size_t)r * lda + s * 4);
      if (QK_STEPS_SHIFT) {
        vi *to = s % 2 ? high + r : low + r;
        *to = qk_sum_end(*to, qk_sum_first(*to, b, x));
      } else {
        sum[r] = s ? qk_sum_next(sum[r], b, x) : qk_sum_first(low[r], b, x);
      }
    }
  }
  if (!QK_STEPS_SHIFT) QK_UNROLL for (int r = 0; r < rows; r++) low[r] = qk_sum_end(low[r], sum[r]);
}

/* Rows times panel p: their sums as floats to rows of out. */
QK_INLINE void qk_steps_panel(const qk_steps_rows *t, size_t p, float *out, const int rows) {
  const qk_gemm_group *op = t->op;
  const int grouped = op->a.grouped != 0;
  const size_t lda = op->a.ld, scales = (t->pieces + t->by_scale - 1) / t->by_scale;
  const int8_t *a = op->a.codes + t->m * lda;
  const int8_t *step = (const int8_t *)op->steps + p * QK_PANEL * qk_groups(op->k, op->group);
  const uint8_t *w = op->w + p * QK_PANEL * qk_k8(op->k) / 2;
  vi all[QK_STEPS_ROWS];
  vf acc[QK_STEPS_ROWS];
  QK_UNROLL for (int r = 0; r < rows; r++) all[r] = vi_zero(), acc[r] = vf_zero();
  for (size_t i = 0, scaled = 0, to_step = t->by_step, to_scale = t->by_scale, left = t->blocks; left > 0; i++) {
    /* A byte with its sign is 16 * (zero - 8) + step. */
    const vi both = vi_load8(step), by = vi_and(both, vi_set1(15));
    const vi zero = vi_and(vi_add(both, vi_set1(128)), vi_set1(0xf0)); /* times 16, as codes of the high half are */
    vi low[QK_STEPS_ROWS], high[QK_STEPS_ROWS];
    QK_UNROLL for (int r = 0; r < rows; r++) {
      low[r] = vi_zero();
      high[r] = vi_mul(zero, vi_set1(t->less[r][i]));
    }
    size_t n = qk_least(left, t->each);
    left -= n;
    __builtin_prefetch(step + QK_ROW_AHEAD / 16);
    if (--to_step == 0) to_step = t->by_step, step += QK_PANEL;
    for (; n > 0; n--, a += QK_GROUP, w += QK_SMALL_BYTES) qk_steps_block(low, high, a, lda, w, rows);
    QK_UNROLL for (int r = 0; r < rows; r++) all[r] = vi_add(all[r], vi_mul(vi_add(low[r], vi_sar(high[r], 4)), by));
    if (--to_scale > 0 && left > 0) continue;
    to_scale = t->by_scale;
    if (!grouped) break;
    const vf scale = qk_load_n(op->scale + p * QK_PANEL, op->n - p * QK_PANEL);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const size_t at = (t->m + (size_t)r) * scales + scaled;
      acc[r] = vf_fma(vf_mul(vi_to_vf(all[r]), scale), vf_set1(op->a.scale[at]), acc[r]);
      if (!op->a.symmetric)
        acc[r] = vf_fma(vf_set1(-op->a.zero[at] * op->a.scale[at]),
                        vf_load(op->value_sums + (p * scales + scaled) * 16), acc[r]);
      all[r] = vi_zero();
    }
    scaled++;
  }
  QK_UNROLL for (int r = 0; r < rows; r++)
      vf_store(out + (size_t)r * QK_STEPS_PANELS * QK_PANEL, grouped ? acc[r] : vi_to_vf(all[r]));
}

/* Panels from p on, in code of its own for each number of rows. */
QK_INLINE void qk_steps_panels(const qk_steps_rows *t, size_t p, size_t panels, float *out, const int rows) {
  for (size_t i = 0; i < panels; i++) qk_steps_panel(t, p + i, out + i * QK_PANEL, rows);
}
static __attribute__((noinline)) void qk_steps_1(const qk_steps_rows *t, size_t p, size_t panels, float *out) {
  qk_steps_panels(t, p, panels, out, 1);
}
static __attribute__((noinline)) void qk_steps_2(const qk_steps_rows *t, size_t p, size_t panels, float *out) {
  qk_steps_panels(t, p, panels, out, 2);
}
#if QK_STEPS_ROWS == 4
static __attribute__((noinline)) void qk_steps_4(const qk_steps_rows *t, size_t p, size_t panels, float *out) {
  qk_steps_panels(t, p, panels, out, 4);
}
#endif

/* Whether a product is one for qk_steps_over_rows. Groups of weights and of activations must be whole numbers of each other. */
static inline int qk_steps_few(const qk_gemm_group *op, size_t rows) {
  if (!op->steps || op->bits != 4 || rows > QK_STEPS_FEW || op->k > QK_STEPS_BLOCKS * QK_GROUP) return 0;
  return !op->a.grouped || op->a.group % op->group == 0 || op->group % op->a.group == 0;
}
/* At most QK_STEPS_FEW rows. */
static inline void qk_steps_over_rows(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  float sums[QK_STEPS_ROWS * QK_STEPS_PANELS * QK_PANEL] __attribute__((aligned(64)));
  qk_steps_rows t[QK_STEPS_PASSES];
  size_t rows[QK_STEPS_PASSES], passes = 0;
  for (size_t m = m0; m < m1; m += rows[passes++]) {
    rows[passes] = m1 - m >= QK_STEPS_ROWS ? QK_STEPS_ROWS : m1 - m >= 2 ? 2 : 1;
    qk_steps_prepare(&t[passes], op, m, rows[passes]);
  }
  for (size_t p = p0; p < p1; p += QK_STEPS_PANELS) {
    const size_t panels = qk_least(p1 - p, QK_STEPS_PANELS);
    for (size_t i = 0; i < passes; i++) {
#if QK_STEPS_ROWS == 4
      (rows[i] == 4 ? qk_steps_4 : rows[i] == 2 ? qk_steps_2 : qk_steps_1)(&t[i], p, panels, sums);
#else
      (rows[i] == 2 ? qk_steps_2 : qk_steps_1)(&t[i], p, panels, sums);
#endif
      QK_FINISH_GROUP(op, sums, QK_STEPS_PANELS * QK_PANEL, t[i].m, rows[i], p, panels);
    }
  }
}

/* gemm_group of a set: few rows as above, many of integer steps by `many` (gemm_steps.h; NULL: as all else), all else as gemm_group.h has
   it. */
typedef void qk_group_fn(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
static inline void qk_gemm_group_or(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1,
                                    qk_group_fn *many, qk_group_fn *wide) {
  if (qk_steps_few(op, m1 - m0))
    qk_steps_over_rows(op, m0, m1, p0, p1);
  else if (many && op->steps && op->bits == 4 && !op->a.grouped)
    many(op, m0, m1, p0, p1);
  else
    qk_gemm_group_small_or(op, m0, m1, p0, p1, wide);
}
#endif
