/* tile_group.h - tiles of products by groups (kernels.h: qk_gemm_group): exact sums of blocks of 32 inputs in registers, joined to
 * groups, scaled and added to float sums. Written once for both families (gemm_group.h); an ISA gives, before including this,
 * its lanes and
 *
 *   QK_TILE_ROWS, QK_TILE_PANELS, QK_TILE_CASES(X)   as for tile_q8.h; evenly shared, three rows and more leave no tile of one row
 *                               where QK_TILE_ROWS is above 2, and fewer take no tiles in the small family
 *   QK_WIDE                     1: codes of 8 bits, over the dot product that tile_q8.h takes (sum_wide.h): that is all. 0:
 *   qk_nib_w, qk_nib_a          codes of a step (16 channels, 4 inputs) and 4 codes of a row, as a product wants them
 *   qk_nib_load(w)              a step of unpacked codes: [16][4] bytes of 0 ... 15
 *   qk_nib_low(w), qk_nib_high(w)   the two steps of 64 bytes of a panel
 *   qk_nib_store(w, x)          an unpacked step
 *   qk_nib_spread(a4)
 *   qk_sum                      the sum of a block so far: 16 bits are enough, 8 steps of 4 * 15 * 127 in lanes of pairs
 *   qk_sum_begin(total)         total where sums have its width, else 0
 *   qk_sum_next(sum, w, a)      c: sum + sum over i < 4 of w[c][i] * a[i]
 *   qk_sum_first(total, w, a)   qk_sum_next of qk_sum_begin
 *   qk_sum_end(total, sum)      total + the block, where qk_sum_begin has not taken it in already
 *   QK_SUM_GOES_ON              1: a sum may go on from block to block as it is, qk_sum is vi (sum_dot.h), and a whole tile unpacks
 *                               codes of 4 bits on the way, for the tiles that follow
 *   QK_SUM_BITS                 1: sums become floats by a subtraction
 *   QK_SUM_UNROLLED             1 where qk_sum_first saves something
 *   QK_Q4_CHAINS                of sums of a single row: 1, 2 or 4
 *   QK_GROUP_SIDE               4, where so many rows side by side, too, read codes of 4 bits as they lie in the file: one stream of
 *                               weights for all of them. Not defined: only single rows do
 */
#ifndef QK_PRODUCTS_TILE_GROUP_H
#define QK_PRODUCTS_TILE_GROUP_H
#if QK_WIDE
#define QK_GROUP_ROW 0
#include "kernels/products/sum_wide.h"
#else
#define QK_GROUP_ROW 2 /* unpacking pays from the third row on */
#endif
#define QK_UNPACKS_IN_TILE (!QK_WIDE && QK_SUM_GOES_ON)
#ifndef QK_SUM_BITS
#define QK_SUM_BITS 0
#endif
#include "kernels/products/gemm_group.h"

/* QK_SUM_BITS: an exact sum, with the bits of 1.5 * 2^23 in its start, is the bits of that float plus the sum: a subtraction makes a
   float of it, and may have units to itself where a conversion takes one from products. Groups that are not cut: 32 * 15 * 127
   times QK_GROUP_BLOCKS is below 2^22. */
#define QK_BITS_FIRST 0x4b400000
#define QK_BITS_FLOAT 12582912.0f
QK_INLINE int qk_group_bits(const qk_tile_group *t) { return QK_SUM_BITS && t->each <= QK_GROUP_BLOCKS; }

/* What the sums of a row begin with. */
QK_INLINE vi qk_group_first(const qk_tile_group *t, const int32_t *start) {
#if QK_WIDE
  return vi_set1(qk_dot_start((int32_t)((uint32_t)*start * (uint32_t)t->start_by)));
#else
  return qk_group_bits(t) ? vi_add(vi_set1(*start), vi_set1(QK_BITS_FIRST)) : vi_set1(*start);
#endif
}

/* Ways to more speed for more code. single: groups are of one block; unrolled: all eight steps of a block, otherwise two by two, or
   where sums go on one by one; unpacking: see qk_tile_group. */
typedef struct qk_group_way {
  int single, unrolled, unpacking;
  int narrow; /* activations of 4 bits: sums of QK_NARROW_BLOCKS go on in qk_sum */
} qk_group_way;
#define QK_NARROW_BLOCKS 16u /* 128 steps of 2 * 15 * 8 in a lane of 16 bits */

/* Steps s ... s + n - 1 of a block at a and w, n and s even; begin: the first of them begins the sums. */
QK_INLINE void qk_steps_group(const qk_tile_group *t, qk_sum sum[QK_TILE_ROWS][QK_TILE_PANELS],
                              vi total[QK_TILE_ROWS][QK_TILE_PANELS], const int8_t *a, const uint8_t *w, const int n,
                              const int begin, const int rows, const int panels) {
  const size_t lda = t->lda, panel_bytes = t->panel_bytes;
  QK_UNROLL for (int s = 0; s < n; s++) {
    qk_nib_w b[QK_TILE_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) b[p] = qk_nib_load(w + (size_t)p * panel_bytes + s * 64);
    if (QK_WIDE && rows == 1)
      QK_UNROLL for (int p = 0; p < panels; p++) qk_ask_ahead(w + (size_t)p * panel_bytes + s * 64, panels);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_nib_a x = qk_nib_spread(a + (size_t)r * lda + s * 4);
      QK_UNROLL for (int p = 0; p < panels; p++) sum[r][p] = begin && s == 0 ? qk_sum_first(total[r][p], b[p], x)
                                                                             : qk_sum_next(sum[r][p], b[p], x);
    }
  }
}

/* Group g's exact sums to the float sums. */
QK_INLINE void qk_scale_group(const qk_tile_group *t, vf acc[QK_TILE_ROWS][QK_TILE_PANELS],
                              vi total[QK_TILE_ROWS][QK_TILE_PANELS], size_t g, const int rows, const int panels) {
  const size_t groups = t->groups, step = QK_WIDE ? t->scale_step : 16;
  const int scaled = QK_WIDE && t->a_scale; /* activations have scales here too */
  QK_UNROLL for (int p = 0; p < panels; p++) {
    const vf scale = vf_load(t->scale + (size_t)p * t->scale_panel + g * step);
    if (scaled)
      QK_UNROLL for (int r = 0; r < rows; r++) acc[r][p] = vf_fma(
          vf_mul(vi_to_vf(total[r][p]), scale), vf_set1(t->a_scale[(size_t)r * groups + g]), acc[r][p]);
    else if (qk_group_bits(t))
      QK_UNROLL for (int r = 0; r < rows; r++)
          acc[r][p] = vf_fma(vf_sub(vf_from_bits(total[r][p]), vf_set1(QK_BITS_FLOAT)), scale, acc[r][p]);
    else
      QK_UNROLL for (int r = 0; r < rows; r++) acc[r][p] = vf_fma(vi_to_vf(total[r][p]), scale, acc[r][p]);
  }
  for (int more = 0; more < (QK_WIDE ? 2 : 1); more++) { /* minima, then what zero points add */
    const float *panel = more ? t->sums : t->min;
    if (!panel) continue;
    const size_t panel_floats = more ? t->sums_panel : t->scale_panel, at = g * (more ? 16 : step);
    float by[QK_TILE_ROWS];
    for (int r = 0; r < rows; r++) {
      const size_t row = (size_t)r * groups + g;
      const float sum = qk_group_sum(t->start[row]);
      by[r] = more ? -t->a_zero[row] * t->a_scale[row] : scaled ? t->a_scale[row] * sum : sum;
    }
    QK_UNROLL for (int p = 0; p < panels; p++) {
      const vf x = vf_load(panel + (size_t)p * panel_floats + at);
      QK_UNROLL for (int r = 0; r < rows; r++) acc[r][p] = vf_fma(vf_set1(by[r]), x, acc[r][p]);
    }
  }
}

/* Where a tile is. */
typedef struct qk_group_at {
  const int8_t *a;
  const uint8_t *w;
  uint8_t *to;
} qk_group_at;

#if QK_UNPACKS_IN_TILE
/* Two steps of codes as they lie in the file, which are unpacked on the way. */
QK_INLINE void qk_steps_unpacking(const qk_tile_group *t, vi total[QK_TILE_ROWS][QK_TILE_PANELS], const qk_group_at *at,
                                  const int rows, const int panels) {
  const size_t lda = t->lda, panel_bytes = t->panel_bytes, steps_bytes = t->steps_bytes;
  QK_UNROLL for (int s = 0; s < 2; s++) {
    qk_nib_w b[QK_TILE_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) {
      const uint8_t *from = at->w + (size_t)p * panel_bytes;
      b[p] = s ? qk_nib_high(from) : qk_nib_low(from);
      qk_nib_store(at->to + (size_t)p * steps_bytes + s * 64, b[p]);
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_nib_a x = qk_nib_spread(at->a + (size_t)r * lda + s * 4);
      QK_UNROLL for (int p = 0; p < panels; p++) total[r][p] = qk_sum_next(total[r][p], b[p], x);
    }
  }
}
#endif

/* n blocks to the exact sums. */
QK_INLINE void qk_sum_blocks(const qk_tile_group *t, vi total[QK_TILE_ROWS][QK_TILE_PANELS], qk_group_at *at, size_t n,
                             const int rows, const int panels, const qk_group_way way) {
#if QK_UNPACKS_IN_TILE
  if (way.unpacking) {
    for (size_t s = n * 4; s > 0; s--, at->a += 8, at->w += 64, at->to += 128)
      qk_steps_unpacking(t, total, at, rows, panels);
    return;
  }
#endif
#if QK_SUM_GOES_ON
  (void)way;
  for (size_t s = n * 8; s > 0; s--, at->a += 4, at->w += 64)
    qk_steps_group(t, total, total, at->a, at->w, 1, 0, rows, panels);
#else
  for (size_t some; way.narrow; n -= some) {
    if (!n) return;
    qk_sum sum[QK_TILE_ROWS][QK_TILE_PANELS];
    some = n < QK_NARROW_BLOCKS ? n : QK_NARROW_BLOCKS;
    QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
        sum[r][p] = qk_sum_begin(total[r][p]);
    for (size_t s = some * 4; s > 0; s--, at->a += 8, at->w += 128)
      qk_steps_group(t, sum, total, at->a, at->w, 2, 0, rows, panels);
    QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
        total[r][p] = qk_sum_end(total[r][p], sum[r][p]);
  }
  do {
    qk_sum sum[QK_TILE_ROWS][QK_TILE_PANELS];
    if (way.unrolled) {
      qk_steps_group(t, sum, total, at->a, at->w, 8, 1, rows, panels);
      at->a += QK_GROUP;
      at->w += QK_STEP_BYTES;
    } else {
      QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
          sum[r][p] = qk_sum_begin(total[r][p]);
      for (int i = 0; i < 4; i++, at->a += 8, at->w += 128)
        qk_steps_group(t, sum, total, at->a, at->w, 2, 0, rows, panels);
    }
    QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
        total[r][p] = qk_sum_end(total[r][p], sum[r][p]);
  } while (!way.single && --n);
#endif
}

/* Sums of the tile's groups. */
QK_INLINE void qk_tile_group_fixed(const qk_tile_group *t, const int rows, const int panels, const qk_group_way way) {
  static const int32_t none = 0; /* with minima codes are what they are */
  const int from_none = !QK_WIDE && t->min;
  const int32_t *start = from_none ? &none : t->start;
  const size_t start_row = from_none ? 0 : t->groups, start_group = !from_none;
  qk_group_at at = {t->a, t->w, t->steps};
  vf acc[QK_TILE_ROWS][QK_TILE_PANELS];
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      acc[r][p] = t->fresh ? vf_zero() : vf_load(t->out + r * QK_TILE_WIDTH + p * 16);
  for (size_t g = 0, left = t->blocks; left > 0; g++, start += start_group) {
    vi total[QK_TILE_ROWS][QK_TILE_PANELS];
    QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
        total[r][p] = way.single || t->begin ? qk_group_first(t, start + (size_t)r * start_row)
                                             : vi_bits(vf_load(t->out + r * QK_TILE_WIDTH + p * 16));
    const size_t n = way.single ? 1 : left < t->each ? left : t->each;
    left -= n;
    qk_sum_blocks(t, total, &at, n, rows, panels, way);
    if (!way.single && !t->end) {
      QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
          vf_store(t->out + r * QK_TILE_WIDTH + p * 16, vf_from_bits(total[r][p]));
      return;
    }
    qk_scale_group(t, acc, total, g, rows, panels);
  }
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      vf_store(t->out + r * QK_TILE_WIDTH + p * 16, acc[r][p]);
}

#if !QK_WIDE
static inline void qk_unpack_small(const uint8_t *w, size_t blocks, uint8_t *to) {
  for (size_t s = blocks * 4; s > 0; s--, w += 64, to += 128) {
    qk_nib_store(to, qk_nib_low(w));
    qk_nib_store(to + 64, qk_nib_high(w));
  }
}
#endif

/* More code where most rows are: evenly shared, they are in tiles of the largest size or one row less. */
#define QK_LARGE(rows, panels) ((rows) + 1 >= QK_TILE_ROWS && (panels) == QK_TILE_PANELS)

typedef void qk_tile_group_fn(const qk_tile_group *t);
#define QK_TILE_GROUP_DEFINE(r, p)                                                                                     \
  static __attribute__((noinline)) void qk_tile_group_##r##x##p(const qk_tile_group *t) {                              \
    qk_tile_group_fixed(t, r, p, (qk_group_way){.unrolled = QK_SUM_UNROLLED && QK_LARGE(r, p)});                       \
  }
QK_TILE_CASES(QK_TILE_GROUP_DEFINE)
#define QK_TILE_GROUP_ENTRY(r, p) [r - 1][p - 1] = qk_tile_group_##r##x##p,
static qk_tile_group_fn *const qk_tiles_group[QK_TILE_ROWS][QK_TILE_PANELS] = {QK_TILE_CASES(QK_TILE_GROUP_ENTRY)};

#if QK_WIDE
static inline void qk_tile_group_run(const qk_tile_group *t, size_t rows, size_t panels) {
  qk_tiles_group[rows - 1][panels - 1](t);
}
#else
#if !QK_SUM_GOES_ON
#define QK_TILE_GROUP_AS(name, r, ...)                                                                                 \
  static __attribute__((noinline)) void name(const qk_tile_group *t) {                                                 \
    qk_tile_group_fixed(t, r, QK_TILE_PANELS, (qk_group_way){__VA_ARGS__});                                            \
  }
QK_TILE_GROUP_AS(qk_tile_group_most_single, QK_TILE_ROWS, .single = 1, .unrolled = QK_SUM_UNROLLED)
QK_TILE_GROUP_AS(qk_tile_group_less_single, QK_TILE_ROWS - 1, .single = 1, .unrolled = QK_SUM_UNROLLED)
QK_TILE_GROUP_AS(qk_tile_group_most_narrow, QK_TILE_ROWS, .narrow = 1)
QK_TILE_GROUP_AS(qk_tile_group_less_narrow, QK_TILE_ROWS - 1, .narrow = 1)
#endif

/* A block of a panel as it lies in the file: its eight steps in QK_Q4_CHAINS chains, one after another. */
QK_INLINE void qk_block_q4(vi total[QK_Q4_CHAINS], const int8_t *a, const uint8_t *w) {
  qk_sum sum[QK_Q4_CHAINS];
  QK_UNROLL for (int s = 0; s < 8; s++) {
    const int c = s * QK_Q4_CHAINS / 8, first = s == 0 || c != (s - 1) * QK_Q4_CHAINS / 8;
    const uint8_t *from = w + s / 2 * 64;
    const qk_nib_w b = s % 2 ? qk_nib_high(from) : qk_nib_low(from);
    const qk_nib_a x = qk_nib_spread(a + s * 4);
    if (s % 2 == 0) qk_ask_ahead(from, 1);
    sum[c] = first ? qk_sum_first(total[c], b, x) : qk_sum_next(sum[c], b, x);
  }
  QK_UNROLL for (int c = 0; c < QK_Q4_CHAINS; c++) total[c] = qk_sum_end(total[c], sum[c]);
}

/* One row times `panels` panels of codes that are not unpacked, one panel after another: see qk_row_run. */
static __attribute__((noinline)) void qk_tile_group_row(const qk_tile_group *t, size_t panels) {
  for (size_t p = 0; p < panels; p++) {
    const int8_t *a = t->a;
    const uint8_t *w = t->w + p * t->panel_bytes;
    const float *scale = t->scale + p * t->scale_panel;
    const vf before = vf_load(t->out + p * 16);
    vf acc = t->fresh ? vf_zero() : before;
    for (size_t g = 0, left = t->blocks; left > 0; g++) {
      vi total[QK_Q4_CHAINS];
      QK_UNROLL for (int c = 0; c < QK_Q4_CHAINS; c++) total[c] = vi_set1(c || t->min ? 0 : t->start[g]);
      if (!t->begin) total[0] = vi_bits(before);
      size_t n = left < t->each ? left : t->each;
      left -= n;
      __builtin_prefetch(scale + g * 16 + QK_ROW_AHEAD / 16);
      for (; n > 0; n--, a += QK_GROUP, w += QK_SMALL_BYTES) qk_block_q4(total, a, w);
      QK_UNROLL for (int c = 1; c < QK_Q4_CHAINS; c++) total[0] = vi_add(total[0], total[c]);
      if (!t->end) { /* the only group, to be continued */
        acc = vf_from_bits(total[0]);
        break;
      }
      acc = vf_fma(vi_to_vf(total[0]), vf_load(scale + g * 16), acc);
      if (t->min) acc = vf_fma(vf_set1(qk_group_sum(t->start[g])), vf_load(t->min + p * t->scale_panel + g * 16), acc);
    }
    vf_store(t->out + p * 16, acc);
  }
}

#if QK_GROUP_SIDE
/* The same of a few rows, of two each with two chains of sums; whole groups. */
QK_INLINE void qk_side_rows(const qk_tile_group *t, size_t panels, const int rows) {
  const size_t lda = t->lda, groups = t->groups;
  const int chains = rows > 2 ? 1 : 2;
  for (size_t p = 0; p < panels; p++) {
    const int8_t *a = t->a;
    const uint8_t *w = t->w + p * t->panel_bytes;
    const float *scale = t->scale + p * t->scale_panel;
    vf acc[QK_GROUP_SIDE];
    QK_UNROLL for (int r = 0; r < rows; r++) acc[r] = vf_zero();
    for (size_t g = 0, left = t->blocks; left > 0; g++) {
      vi total[QK_GROUP_SIDE][2];
      QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int c = 0; c < chains; c++)
          total[r][c] = vi_set1(c || t->min ? 0 : t->start[(size_t)r * groups + g]);
      size_t n = left < t->each ? left : t->each;
      left -= n;
      __builtin_prefetch(scale + g * 16 + QK_ROW_AHEAD / 16);
      for (; n > 0; n--, a += QK_GROUP, w += QK_SMALL_BYTES) {
        QK_UNROLL for (int s = 0; s < 8; s++) {
          const uint8_t *from = w + s / 2 * 64;
          const qk_nib_w b = s % 2 ? qk_nib_high(from) : qk_nib_low(from);
          const int c = s % 2 * (chains - 1);
          if (s % 2 == 0) qk_ask_ahead(from, 1);
          QK_UNROLL for (int r = 0; r < rows; r++)
              total[r][c] = qk_sum_next(total[r][c], b, qk_nib_spread(a + (size_t)r * lda + s * 4));
        }
      }
      const vf by = vf_load(scale + g * 16);
      QK_UNROLL for (int r = 0; r < rows; r++) {
        if (chains > 1) total[r][0] = vi_add(total[r][0], total[r][1]);
        acc[r] = vf_fma(vi_to_vf(total[r][0]), by, acc[r]);
      }
      if (!t->min) continue;
      const vf min = vf_load(t->min + p * t->scale_panel + g * 16);
      QK_UNROLL for (int r = 0; r < rows; r++)
          acc[r] = vf_fma(vf_set1(qk_group_sum(t->start[(size_t)r * groups + g])), min, acc[r]);
    }
    QK_UNROLL for (int r = 0; r < rows; r++) vf_store(t->out + r * QK_TILE_WIDTH + p * 16, acc[r]);
  }
}
static __attribute__((noinline)) void qk_side_2(const qk_tile_group *t, size_t panels) { qk_side_rows(t, panels, 2); }
static __attribute__((noinline)) void qk_side_3(const qk_tile_group *t, size_t panels) { qk_side_rows(t, panels, 3); }
static __attribute__((noinline)) void qk_side_4(const qk_tile_group *t, size_t panels) { qk_side_rows(t, panels, 4); }
static inline void qk_tile_group_side(const qk_tile_group *t, size_t rows, size_t panels) {
  (rows == 2 ? qk_side_2 : rows == 3 ? qk_side_3 : qk_side_4)(t, panels);
}
#else
#define qk_tile_group_side(t, rows, panels) ((void)0)
#endif

#if QK_SUM_GOES_ON
static __attribute__((noinline)) void qk_tile_group_unpacking(const qk_tile_group *t) {
  qk_tile_group_fixed(t, QK_TILE_ROWS, QK_TILE_PANELS, (qk_group_way){.unpacking = 1});
}
#endif

static inline void qk_tile_group_run(const qk_tile_group *t, size_t rows, size_t panels) {
  if (t->nibbles && rows > 1)
    qk_tile_group_side(t, rows, panels);
  else if (t->nibbles)
    qk_tile_group_row(t, panels);
#if QK_SUM_GOES_ON
  else if (t->steps)
    qk_tile_group_unpacking(t);
#else
  else if (t->each == 1 && QK_LARGE(rows, panels))
    (rows == QK_TILE_ROWS ? qk_tile_group_most_single : qk_tile_group_less_single)(t);
  else if (t->narrow && QK_LARGE(rows, panels))
    (rows == QK_TILE_ROWS ? qk_tile_group_most_narrow : qk_tile_group_less_narrow)(t);
#endif
  else
    qk_tiles_group[rows - 1][panels - 1](t);
}
#endif
#endif
