/* transform.h - inputs of linear operators in another basis (kernels.h: transform). Over lanes, and what an ISA's file defines before:
 *
 *   qk_dot_spread(acc, a, p)      acc plus the products of a lane's two halves, signed, of 16 bits, with those of the pair at p; and
 *                                 QK_OWN_DOTS. Not defined: over the lanes
 *   QK_RADIX                      16 where registers hold as many vectors beside a few others; not defined: 4
 *   QK_COLUMNS                    outputs of a panel that are summed at once, as registers allow: 16 or 4
 *   QK_QUANTIZE, QK_START         functions of its row operations: quantize and start_q8
 *
 * Sixteen rows are a tile whose lanes are rows: an order of channels is then an order of vectors, and what a row has of its own, a
 * shift or a scale, is a lane. Of few rows lanes are channels. All but the ends is integers: any way gives the same bytes. */
#ifndef QK_TRANSFORM_H
#define QK_TRANSFORM_H
#include "kernels/rows/quantize.h"

#define QK_FEW_ROWS 6 /* from so many on a tile is faster */
#ifndef QK_ROTATED
#define QK_ROTATED 512u /* channels of a tile whose pairs stay in the L1 cache: 16 KB */
#endif

#ifndef QK_RADIX
#define QK_RADIX 4
#endif
#define QK_RADIX_BEGIN (QK_RADIX == 16 ? 8u : 4u) /* of what is read and put into order on the way */
#ifndef QK_OWN_DOTS
static inline vi qk_dot_spread(vi acc, vi a, const int16_t *p) {
  int32_t x;
  memcpy(&x, p, sizeof x);
  return vi_dot_pairs(acc, a, vi_set1(x));
}
#endif

/* The greatest magnitudes of a row, by lane. */
QK_INLINE vi qk_row_most(const float *x, size_t d, const float *smooth) {
  vi most = vi_zero(), most1 = vi_zero();
  size_t i = 0;
  for (; i + 32 <= d; i += 32) {
    most = vi_max(most, qk_magnitude(qk_smoothed(vf_load(x + i), smooth, i, 16)));
    most1 = vi_max(most1, qk_magnitude(qk_smoothed(vf_load(x + i + 16), smooth, i + 16, 16)));
  }
  for (; i < d; i += 16) most = vi_max(most, qk_magnitude(qk_smoothed(vf_load(x + i), smooth, i, 16)));
  return vi_max(most, most1);
}
/* Units of 16 rows, and what makes their codes of 14 bits; 0: of a row with NaN or infinity, or too small, codes are 0. Returns how
   many have NaN or infinity. */
static inline size_t qk_units_of(vi most, float *unit, float *by) {
  const vf a = vf_from_bits(most), all = vf_set1(QK_TRANSFORM_MOST);
  vf_store(unit, qk_where_coded(a, 0, vf_div(a, all)));
  vf_store(by, qk_where_coded(a, 0, vf_div(all, a)));
  return (size_t)vi_sum(vi_shr(vi_sub(vi_set1(QK_BITS_INFINITY - 1), most), 31));
}

/* Sums of the first step: b holds the greatest and the least of them. */
static inline void qk_sums_take(qk_bounds *b, vi t) {
  b->hi = vi_max(b->hi, t);
  b->lo = vi_min(b->lo, t);
}
/* The greatest of sums, or of -1 - t of negative ones: the shift below follows. */
static inline vi qk_sizes_of(qk_bounds b) { return vi_max(b.hi, vi_xor(b.lo, vi_set1(-1))); }
/* Of sums of a row with these bits, to codes of 14. */
static inline int32_t qk_shift_of(uint32_t bits) {
  const int32_t length = bits ? 32 - __builtin_clz(bits) : 0;
  return length > 13 ? length - 13 : 0;
}
static inline float qk_shifted_unit(float unit, int32_t shift) {
  return unit * qk_float_of_bits((127 + shift - 13) << 23);
}
static inline int32_t qk_half_of(int32_t shift) { return shift ? 1 << (shift - 1) : 0; }
/* What the second step makes of the unit. */
static inline float qk_last_unit(const qk_transform *tr, float unit) {
  if (tr->second) return unit * 0x1p-13f;
  return tr->signs ? unit / __builtin_sqrtf((float)tr->block) : unit;
}
/* ---- sixteen rows ---- */

/* Sixteen rows of two channels at p, in pairs: the first, the second. */
static inline vi qk_first_of(vi pair) { return vi_shr_signed(vi_shl(pair, 16), vi_set1(16)); }
static inline vi qk_second_of(vi pair) { return vi_shr_signed(pair, vi_set1(16)); }

/* Columns j ... j + QK_COLUMNS - 1 of a block, to out [QK_COLUMNS][16]. */
QK_INLINE void qk_rotate_columns(const int16_t *w, size_t block, const int32_t *pairs, int32_t *out, qk_bounds *b,
                                 const int last) {
  vi acc[QK_COLUMNS];
  QK_UNROLL for (size_t l = 0; l < QK_COLUMNS; l++) acc[l] = vi_zero();
  for (size_t s = 0; s < block / 2; s++) {
    const vi a = vi_load(pairs + s * 16);
    QK_UNROLL for (size_t l = 0; l < QK_COLUMNS; l++) acc[l] = qk_dot_spread(acc[l], a, w + s * 32 + l * 2);
  }
  QK_UNROLL for (size_t l = 0; l < QK_COLUMNS; l++) {
    if (last) {
      const vf y = vi_to_vf(acc[l]);
      qk_bounds_take(b, y);
      acc[l] = vi_bits(y);
    } else {
      qk_sums_take(b, acc[l]);
    }
    vi_store(out + l * 16, acc[l]);
  }
}
/* out [d][16] of pairs [d/2][16][2], some blocks, times a matrix, which is read once for all of them. last: as floats, whose bounds b
   takes; else as sums, which it takes. */
QK_INLINE void qk_rotate_blocks(const int16_t *matrix, size_t block, size_t d, const int32_t *pairs, int32_t *out,
                                qk_bounds *b, const int last) {
  for (size_t j = 0; j < block; j += QK_COLUMNS) {
    const int16_t *w = matrix + j / 16 * 16 * block + j % 16 * 2;
    for (size_t at = 0; at < d; at += block)
      qk_rotate_columns(w, block, pairs + at * 8, out + (at + j) * 16, b, last);
  }
}

/* How far the lanes' sums are shifted, 1 ... 17. */
typedef struct qk_tile_shifts {
  int32_t by[16], twice[16], half[16]; /* twice: -1 where sums are doubled before, half: 1 where they are halved */
  int odd;                             /* whether any are */
} qk_tile_shifts;
static inline qk_tile_shifts qk_tile_shifts_of(const qk_transform *tr, const int32_t *sizes) {
  qk_tile_shifts s = {.odd = 0};
  for (size_t r = 0; r < 16; r++) {
    const int32_t shift = tr->first ? qk_shift_of((uint32_t)sizes[r]) : 1;
    s.twice[r] = -(shift == 0), s.half[r] = shift > 17;
    s.by[r] = shift == 0 ? 1 : shift > 17 ? 17 : shift;
    s.odd |= s.by[r] != shift;
  }
  return s;
}
/* What vi_narrow16 takes. */
typedef struct qk_narrow {
  vi right, left;
} qk_narrow;
static inline qk_narrow qk_narrow_by(const qk_tile_shifts *s) {
  const vi by = vi_load(s->by);
  return (qk_narrow){vi_sub(by, vi_set1(1)), vi_sub(vi_set1(17), by)};
}
/* Codes of 14 bits of channels j and j + 1 in order, NULL: as they lie. */
QK_INLINE vi qk_codes_at(const int32_t *t, const int32_t *order, size_t j, qk_narrow n) {
  const size_t a = order ? (size_t)order[j] : j, b = order ? (size_t)order[j + 1] : j + 1;
  return vi_narrow16(vi_load(t + a * 16), vi_load(t + b * 16), n.right, n.left);
}

/* `radix` values, sums and differences of all pairs that are `first` apart and more. Differences are opaque: compilers make some of the
   next level's sums of the last one's, which is more of them. */
QK_INLINE void qk_butterflies(vi *v, const size_t first, const size_t radix) {
  QK_UNROLL for (size_t h = first; h < radix; h *= 2) QK_UNROLL for (size_t i = 0; i < radix; i++) {
    if (i & h) continue;
    const vi a = v[i], c = v[i + h];
    v[i] = vi_add(a, c), v[i + h] = vi_opaque(vi_sub(a, c));
  }
}
/* Levels of a block that join values `step` apart and more; last: as floats, whose bounds b takes. */
QK_INLINE void qk_hadamard_levels(int32_t *x, size_t block, size_t step, qk_bounds *b, const size_t radix,
                                  const int last) {
  for (size_t base = 0; base < block; base += step * radix)
    for (size_t i = base; i < base + step; i++) {
      vi v[QK_RADIX];
      QK_UNROLL for (size_t r = 0; r < radix; r++) v[r] = vi_load(x + (i + r * step) * 16);
      qk_butterflies(v, 1, radix);
      QK_UNROLL for (size_t r = 0; r < radix; r++) {
        const vf y = vi_to_vf(v[r]);
        if (last) qk_bounds_take(b, y);
        vi_store(x + (i + r * step) * 16, last ? vi_bits(y) : v[r]);
      }
    }
}
/* All levels from `step` on. */
static void qk_hadamard_rest(int32_t *x, size_t block, size_t step, qk_bounds *b) {
  for (; step * QK_RADIX < block; step *= 4) qk_hadamard_levels(x, block, step, b, 4, 0);
  qk_bounds some = *b; /* in registers for the last levels alone */
  if (step * 2 == block) qk_hadamard_levels(x, block, step, &some, 2, 1);
  if (step * 4 == block) qk_hadamard_levels(x, block, step, &some, 4, 1);
#if QK_RADIX == 16
  if (step * 8 == block) qk_hadamard_levels(x, block, step, &some, 8, 1);
  if (step * 16 == block) qk_hadamard_levels(x, block, step, &some, 16, 1);
#endif
  *b = some;
}
/* The first levels of a block of codes in order with their signs; of a pair products give the sum and the difference. */
QK_INLINE void qk_hadamard_begin(const int32_t *t, const int32_t *order, qk_narrow n, const int32_t *sum,
                                 const int32_t *difference, size_t block, int32_t *y) {
  for (size_t j = 0; j < block; j += QK_RADIX_BEGIN, y += QK_RADIX_BEGIN * 16) {
    vi v[QK_RADIX_BEGIN];
    QK_UNROLL for (size_t i = 0; i < QK_RADIX_BEGIN; i += 2) {
      const vi codes = qk_codes_at(t, order, j + i, n);
      v[i] = vi_dot_pairs(vi_zero(), codes, vi_set1(sum[(j + i) / 2]));
      v[i + 1] = vi_dot_pairs(vi_zero(), codes, vi_set1(difference[(j + i) / 2]));
    }
    qk_butterflies(v, 2, QK_RADIX_BEGIN);
    QK_UNROLL for (size_t i = 0; i < QK_RADIX_BEGIN; i++) vi_store(y + i * 16, v[i]);
  }
}
/* The block of channels from `at` on, a power of two of them, in order and with their signs, to y [block][16]. */
static __attribute__((noinline)) void qk_hadamard_block(const qk_transform *tr, size_t at, const int32_t *t, qk_narrow n,
                                                        int32_t *y, qk_bounds *b) {
  int32_t sum[QK_TRANSFORM_BLOCK / 2] __attribute__((aligned(64)));
  int32_t difference[QK_TRANSFORM_BLOCK / 2] __attribute__((aligned(64)));
  static const int32_t second[16] = {0, -2, 0, -2, 0, -2, 0, -2, 0, -2, 0, -2, 0, -2, 0, -2}; /* x ^ -2 is -x of 1 and -1 */
  const size_t block = tr->block;
  for (size_t i = 0; i < block; i += 16) {
    const vi sign = vi_load8(tr->signs + at + i);
    vi_store16((int16_t *)(void *)(sum + i / 2), sign);
    vi_store16((int16_t *)(void *)(difference + i / 2), vi_xor(sign, vi_load(second)));
  }
  if (!tr->order) t += at * 16;
  qk_hadamard_begin(t, tr->order ? tr->order + at : NULL, n, sum, difference, block, y);
  qk_hadamard_rest(y, block, QK_RADIX_BEGIN, b);
}

/* Codes of 14 bits of 32 channels, or of 16 where there are no more, of 16 rows, to pairs; by [rows] 0: a row of zeros. whole: all rows
   are there and none is one of zeros. */
QK_INLINE void qk_wide_pairs(const float *x, size_t ldx, size_t rows, const float *by, size_t channels, int32_t *pairs,
                             const int whole, const float *smooth) {
  vi w[16];
  const size_t next = channels > 16 ? 16 : 0;
  for (size_t r = 0; r < 16; r++) {
    w[r] = vi_zero();
    if (!whole && (r >= rows || by[r] == 0.0f)) continue;
    const vf a = qk_smoothed(vf_load(x + r * ldx), smooth, 0, 16);
    const vf b = qk_smoothed(vf_load(x + r * ldx + next), smooth, next, 16);
    w[r] = vi_pack16(vf_to_vi(vf_mul(a, vf_set1(by[r]))), vf_to_vi(vf_mul(b, vf_set1(by[r]))));
  }
  vi_transpose(w);
  QK_UNROLL for (size_t p = 0; p < 16; p++) /* two pairs of the first 16 channels, then two of the others, and so on */
      if (p % 4 < 2 || next) vi_store(pairs + (p / 4 * 2 + p % 2 + (p % 4 < 2 ? 0 : 8)) * 16, w[p]);
}
/* Channels of as many blocks as are rotated at once, of those that are left: their pairs stay in the L1 cache. */
static inline size_t qk_blocks_at(size_t block, size_t left) {
  const size_t most = QK_ROTATED / block * block;
  return left < most ? left : most;
}
/* First step, some blocks after another: codes of 14 bits in pairs [16][2], and sums t [d][16]. The lanes' sizes. */
static vi qk_tile_first(const qk_transform *tr, const float *x, size_t ldx, size_t d, size_t rows, const float *by,
                        int32_t *pairs, int32_t *t) {
  const size_t block = tr->block;
  qk_bounds b = qk_bounds_none();
  int whole = rows == 16;
  for (size_t r = 0; r < rows; r++) whole &= by[r] != 0.0f;
  for (size_t at = 0, n; at < d; at += n, t += n * 16) {
    n = qk_blocks_at(block, d - at);
    for (size_t i = 0; i < n; i += 32) {
      const float *from = x + at + i, *smooth = tr->smooth ? tr->smooth + at + i : NULL;
      if (whole)
        QK_FOR_SMOOTH(smooth, qk_wide_pairs, from, ldx, rows, by, n - i, pairs + i * 8, 1);
      else
        QK_FOR_SMOOTH(smooth, qk_wide_pairs, from, ldx, rows, by, n - i, pairs + i * 8, 0);
    }
    if (tr->first) {
      qk_rotate_blocks(tr->first, block, n, pairs, t, &b, 0);
      continue;
    }
    for (size_t i = 0; i < n; i += 2) {
      const vi codes = vi_load(pairs + i * 8), a = qk_first_of(codes), c = qk_second_of(codes);
      vi_store(t + i * 16, vi_add(a, a)); /* what is shifted by 1 */
      vi_store(t + i * 16 + 16, vi_add(c, c));
    }
  }
  return qk_sizes_of(b);
}
/* Sums whose shift would be another than 1 ... 17: rows of zeros, and matrices that are no rotations. */
static void qk_tile_odd(int32_t *t, size_t d, const qk_tile_shifts *s) {
  for (size_t j = 0; j < d && s->odd; j++) {
    const vi x = vi_load(t + j * 16);
    vi_store(t + j * 16, vi_shr_signed(vi_add(x, vi_and(x, vi_load(s->twice))), vi_load(s->half)));
  }
}
/* Second step, of what the first one left in t: floats [d][16] in t or in other, and the lanes' bounds. */
static const int32_t *qk_tile_second(const qk_transform *tr, size_t d, int32_t *t, qk_narrow narrow, int32_t *other,
                                     qk_bounds *b) {
  for (size_t at = 0; at < d && tr->signs; at += tr->block)
    qk_hadamard_block(tr, at, t, narrow, other + at * 16, b);
  if (tr->signs) return other;
  for (size_t j = 0; j < d; j += 2) vi_store(other + j * 8, qk_codes_at(t, tr->order, j, narrow));
  for (size_t at = 0, n; at < d && tr->second; at += n) { /* a pass of its own, so that the matrix stays in the L1 cache */
    n = qk_blocks_at(tr->block, d - at);
    qk_rotate_blocks(tr->second, tr->block, n, other + at * 8, t + at * 16, b, 1);
  }
  for (size_t j = 0; j < d && !tr->second; j += 2) {
    const vi codes = vi_load(other + j * 8);
    const vf a = vi_to_vf(qk_first_of(codes)), c = vi_to_vf(qk_second_of(codes));
    qk_bounds_take(b, a);
    qk_bounds_take(b, c);
    vi_store(t + j * 16, vi_bits(a));
    vi_store(t + j * 16 + 16, vi_bits(c));
  }
  return t;
}
/* Codes of four channels, those of a row in a lane. */
QK_INLINE vi qk_codes_of4(const float *y, const qk_grid *grid, vl held) {
  vf v[4];
  QK_UNROLL for (size_t e = 0; e < 4; e++) v[e] = vf_fma(vf_load(y + e * 16), grid->by, grid->zero);
  return vi_codes4(v[0], v[1], v[2], v[3], held);
}
/* Codes of channels i ... end - 1 of y. Sums of them, by row. */
static vi qk_tile_store(const qk_codes *q, const float *y, size_t i, size_t end, const qk_grid *grid, size_t row,
                        size_t rows) {
  const qk_limits limits = qk_limits_of(q);
  const vl held = vl_of(limits.lowest, limits.highest);
  int8_t *codes = q->codes + row * q->ld;
  vi sum = vi_zero();
  while (rows == 16 && i + 64 <= end) { /* whole lines of a row; from the end: what was written last is in the cache */
    end -= 64;
    vi w[16];
    QK_UNROLL for (size_t c = 0; c < 16; c++) {
      w[c] = qk_codes_of4(y + (end + 4 * c) * 16, grid, held);
      sum = vi_add_bytes(sum, w[c]);
    }
    vi_transpose(w);
    QK_UNROLL for (size_t r = 0; r < 16; r++) vi_store((int32_t *)(void *)(codes + r * q->ld + end), w[r]);
  }
  for (; i < end; i += 16) {
    int8_t some[16 * 16];
    vi w[4];
    QK_UNROLL for (size_t c = 0; c < 4; c++) {
      w[c] = qk_codes_of4(y + (i + 4 * c) * 16, grid, held);
      sum = vi_add_bytes(sum, w[c]);
    }
    vi_store_words(some, 16, w);
    for (size_t r = 0; r < rows; r++) memcpy(codes + r * q->ld + i, some + r * 16, 16);
  }
  return sum;
}
static qk_bounds qk_tile_bounds(const float *y, size_t n) {
  qk_bounds b = qk_bounds_none();
  for (size_t i = 0; i < n; i++) qk_bounds_take(&b, vf_load(y + i * 16));
  return b;
}
/* Codes of y, whose rows have these bounds, with scales, zeros and starts of rows or of their groups. unit: [16]. */
static void qk_tile_codes(const qk_codes *q, const int32_t *y, size_t d, qk_bounds all, const float *unit, size_t row,
                          size_t rows) {
  const size_t each = q->grouped ? q->group : d, groups = qk_scales(q, d);
  const float *floats = (const float *)(const void *)y;
  int32_t *starts = q->group_start && groups == qk_groups(d, q->group) ? q->group_start : NULL; /* scales have the same groups */
  vi total = vi_zero();
  int32_t start[16];
  for (size_t g = 0; g < groups; g++) {
    const size_t i = g * each, end = d - i < each ? d : i + each;
    const qk_bounds b = q->grouped ? qk_tile_bounds(floats + i * 16, end - i) : all;
    const vf low = vf_from_bits(vi_max(vi_xor(b.lo, vi_set1(INT32_MIN)), vi_zero()));
    const qk_grid grid = qk_grid_of(q, vf_from_bits(b.hi), low, 0, 16);
    const vi sum = qk_tile_store(q, floats, i, end, &grid, row, rows);
    float scale[16], zero[16];
    vf_store(scale, vf_mul(grid.scale, vf_load(unit)));
    vf_store(zero, grid.zero);
    vi_store(start, vi_mul(sum, vi_set1(-8)));
    total = vi_add(total, sum);
    for (size_t r = 0; r < rows; r++) {
      const size_t at = (row + r) * groups + g;
      q->scale[at] = scale[r];
      q->zero[at] = zero[r];
      if (starts) starts[at] = start[r];
    }
  }
  if (q->group_start && !starts) {
    QK_START(q, (uint32_t)d, row, row + rows);
    return;
  }
  vi_store(start, vi_mul(total, vi_set1(-128)));
  for (size_t r = 0; r < rows; r++) {
    q->start[row + r] = start[r];
    qk_clear_codes(q->codes + (row + r) * q->ld, d, q->ld);
  }
}

static size_t qk_transform_tile(const qk_transform *tr, const float *x, size_t ldx, size_t d, const qk_codes *q,
                                void *scratch, size_t row, size_t rows) {
  int32_t *t = scratch, *other = t + d * 16, sizes[16];
  float unit[16], by[16];
  vi most[16];
  for (size_t r = 0; r < 16; r++)
    most[r] = r < rows ? QK_FOR_SMOOTH(tr->smooth, qk_row_most, x + r * ldx, d) : vi_zero();
  const size_t bad = qk_units_of(vi_hmax_rows(most), unit, by);
  vi_store(sizes, qk_tile_first(tr, x, ldx, d, rows, by, other, t));
  const qk_tile_shifts shifts = qk_tile_shifts_of(tr, sizes);
  qk_tile_odd(t, d, &shifts);
  for (size_t r = 0; r < 16; r++) {
    if (tr->first) unit[r] = qk_shifted_unit(unit[r], qk_shift_of((uint32_t)sizes[r]));
    unit[r] = qk_last_unit(tr, unit[r]);
  }
  qk_bounds b = qk_bounds_none();
  const int32_t *y = qk_tile_second(tr, d, t, qk_narrow_by(&shifts), other, &b);
  qk_tile_codes(q, y, d, b, unit, row, rows);
  return bad;
}

/* ---- one row ---- */

/* t [d] of codes [d] times a matrix; the lanes' sizes. */
static vi qk_rotate_row(const int16_t *matrix, size_t block, size_t d, const int16_t *c, int32_t *t) {
  qk_bounds b = qk_bounds_none();
  for (size_t at = 0; at < d; at += block)
    for (size_t j = 0; j < block; j += 16) {
      const int16_t *w = matrix + j * block;
      vi even = vi_zero(), odd = vi_zero();
      for (size_t s = 0; s < block; s += 4) {
        even = qk_dot_spread(even, vi_load((const int32_t *)(const void *)(w + s * 16)), c + at + s);
        odd = qk_dot_spread(odd, vi_load((const int32_t *)(const void *)(w + s * 16 + 32)), c + at + s + 2);
      }
      even = vi_add(even, odd);
      qk_sums_take(&b, even);
      vi_store(t + at + j, even);
    }
  return qk_sizes_of(b);
}
static void qk_narrow_row(int32_t *t, size_t d, int32_t shift, int16_t *c) {
  const vi by = vi_set1(shift), half = vi_set1(qk_half_of(shift));
  for (size_t j = 0; j < d; j += 16) vi_store16(c + j, vi_shr_signed(vi_add(vi_load(t + j), half), by));
}
/* Blocks of 16 by a matrix of 1 and -1, wider levels by sums. */
static void qk_hadamard_row(const int8_t *signs, size_t block, size_t d, int16_t *c, int32_t *t) {
  int16_t matrix[16 * 16] __attribute__((aligned(64)));
  for (size_t i = 0; i < 256; i++) {
    const size_t both = (i / 32 * 2 + i % 2) & i % 32 / 2;
    matrix[i] = (0x6996u >> both & 1) ? -1 : 1; /* the parity of four bits */
  }
  for (size_t j = 0; j < d; j++) c[j] = (int16_t)(c[j] * signs[j]);
  qk_rotate_row(matrix, 16, d, c, t);
  for (size_t step = 16; step < block; step *= 2)
    for (size_t base = 0; base < d; base += 2 * step)
      for (size_t i = base; i < base + step; i += 16) {
        const vi a = vi_load(t + i), b = vi_load(t + i + step);
        vi_store(t + i, vi_add(a, b));
        vi_store(t + i + step, vi_sub(a, b));
      }
}
QK_INLINE void qk_wide_row(const float *x, size_t d, float by, int16_t *c, const float *smooth) {
  for (size_t i = 0; i < d; i += 16)
    vi_store16(c + i, vf_to_vi(vf_mul(qk_smoothed(vf_load(x + i), smooth, i, 16), vf_set1(by))));
}
static size_t qk_transform_row(const qk_transform *tr, const float *x, size_t d, const qk_codes *q, void *scratch,
                               size_t row) {
  int32_t *t = scratch;
  int16_t *c = (int16_t *)(void *)(t + d), *was = c + d;
  float units[16], by[16], unit;
  const size_t bad = qk_units_of(vi_set1(vi_hmax(QK_FOR_SMOOTH(tr->smooth, qk_row_most, x, d))), units, by) != 0;
  unit = units[0];
  if (by[0] != 0.0f)
    QK_FOR_SMOOTH(tr->smooth, qk_wide_row, x, d, by[0], c);
  else
    memset(c, 0, d * sizeof *c);
  if (tr->first) {
    int32_t sizes[16], all = 0;
    vi_store(sizes, qk_rotate_row(tr->first, tr->block, d, c, t));
    for (size_t i = 0; i < 16; i++) all |= sizes[i];
    const int32_t shift = qk_shift_of((uint32_t)all);
    unit = qk_shifted_unit(unit, shift);
    qk_narrow_row(t, d, shift, c);
  }
  if (tr->order) {
    for (size_t j = 0; j < d; j++) was[j] = c[tr->order[j]];
    c = was;
  }
  if (tr->second)
    qk_rotate_row(tr->second, tr->block, d, c, t);
  else if (tr->signs)
    qk_hadamard_row(tr->signs, tr->block, d, c, t);
  else
    for (size_t j = 0; j < d; j++) t[j] = c[j];
  float *y = scratch;
  for (size_t j = 0; j < d; j += 16) vf_store(y + j, vi_to_vf(vi_load(t + j)));
  QK_QUANTIZE(y, 0, (uint32_t)d, NULL, q, row, row + 1);
  unit = qk_last_unit(tr, unit);
  for (size_t n = qk_scales(q, d), g = row * n; g < (row + 1) * n; g++) q->scale[g] = q->scale[g] * unit;
  return bad;
}

static size_t qk_transform_over_tiles(const qk_transform *tr, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                                      void *scratch, size_t r0, size_t r1) {
  const size_t entries = tr->first ? (size_t)tr->block * tr->block : 0;
  size_t bad = 0;
  for (size_t i = 0; i < entries; i += 32) __builtin_prefetch(tr->first + i, 0, 2); /* while largest magnitudes are looked for */
  while (r0 < r1) {
    const size_t rows = r1 - r0 < 16 ? r1 - r0 : 16;
    if (rows >= QK_FEW_ROWS) {
      bad += qk_transform_tile(tr, x + r0 * ldx, ldx, d, q, scratch, r0, rows);
      r0 += rows;
    } else {
      bad += qk_transform_row(tr, x + r0 * ldx, d, q, scratch, r0);
      r0++;
    }
  }
  return bad;
}
#endif
