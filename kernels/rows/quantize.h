/* quantize.h - rows of floats to codes, one scale and zero point a row or a group of channels (kernels.h: qk_codes). Over lanes.
 * Rows are taken QK_ROWS at a time, phase by phase: what one row waits for (reductions, divisions) overlaps with the
 * others' work, since a phase of four rows fits into the window in which a CPU reorders. */
#ifndef QK_ROWS_QUANTIZE_H
#define QK_ROWS_QUANTIZE_H
#include "kernels/rows/block_sums.h"
#include "kernels/rows/epilogue.h"

#define QK_ROWS 4
#define QK_BITS_INFINITY 0x7f800000 /* magnitudes from here on are infinity or NaN */

static inline vi qk_magnitude(vf x) { return vi_and(vi_bits(x), vi_set1(0x7fffffff)); }
static inline float qk_float_of_bits(int32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The extremes of some values per lane, on bit patterns, which need no look at NaN: as signed integers every positive
   value is above every negative one, and positive NaN above infinity; as unsigned integers negative values are above
   the positive ones, the most negative above the others, negative NaN on top. */
typedef struct qk_bounds {
  vi hi, lo;
} qk_bounds;
static inline qk_bounds qk_bounds_none(void) { return (qk_bounds){vi_zero(), vi_zero()}; }
static inline void qk_bounds_take(qk_bounds *b, vf x) {
  b->hi = vi_max(b->hi, vi_bits(x));
  b->lo = vi_maxu(b->lo, vi_bits(x));
}
/* *hi = max(0, x), *low = max(0, -x) over all lanes; 0 when there is NaN or infinity. */
static inline int qk_bounds_of(const qk_bounds *b, float *hi, float *low) {
  int32_t h = vi_hmax(b->hi), l = vi_hmax(vi_xor(b->lo, vi_set1(INT32_MIN)));
  l = l > 0 ? l : 0; /* the flipped bit is set where no value is negative */
  *hi = qk_float_of_bits(h);
  *low = qk_float_of_bits(l);
  return h < QK_BITS_INFINITY && l < QK_BITS_INFINITY;
}

/* Channels i ... i + n - 1 of a row, n <= 16 of them in x, times those of smooth; NULL: as they are. QK_FOR_SMOOTH makes
   it a constant NULL, so that no loop asks. */
QK_INLINE vf qk_smoothed(vf x, const float *smooth, size_t i, size_t n) {
  return smooth ? vf_mul(x, qk_load_n(smooth + i, n)) : x;
}
#define QK_FOR_SMOOTH(smooth, call, ...) ((smooth) ? call(__VA_ARGS__, smooth) : call(__VA_ARGS__, NULL))

QK_INLINE qk_bounds qk_row_bounds(const float *x, size_t d, const float *smooth) {
  qk_bounds b = qk_bounds_none(), b1 = qk_bounds_none();
  size_t i = 0;
  for (; i + 32 <= d; i += 32) {
    qk_bounds_take(&b, qk_smoothed(vf_load(x + i), smooth, i, 16));
    qk_bounds_take(&b1, qk_smoothed(vf_load(x + i + 16), smooth, i + 16, 16));
  }
  for (; i < d; i += 16) qk_bounds_take(&b, qk_smoothed(qk_load_n(x + i, d - i), smooth, i, d - i));
  return (qk_bounds){vi_max(b.hi, b1.hi), vi_maxu(b.lo, b1.lo)};
}

/* held: whether a code of the row may leave its limits, a constant. */
QK_INLINE vi qk_code(vf x, vf by, vf zero, qk_limits limits, const int held) {
  return held ? qk_requantize(x, by, zero, limits) : vf_to_vi(vf_fma(x, by, zero));
}
/* Of codes as they are measured. */
static inline qk_limits qk_limits_of_bits(uint32_t bits) {
  return bits == 4 ? (qk_limits){-8.0f, 7.0f} : bits == 6 ? (qk_limits){-32.0f, 31.0f} : qk_limits_at(NULL, 0);
}
static inline qk_limits qk_limits_of(const qk_codes *q) {
  return q->given_scale ? qk_limits_at(q->limits, 0) : qk_limits_of_bits(q->bits);
}
static inline float qk_clip_of(const qk_codes *q) { return q->clip != 0.0f ? q->clip : 1.0f; }
/* Codes of a row of d, in whole groups of 16: a code row is padded to 64 bytes. Codes from d on are 0, not zero.
   Returns their sum. */
QK_INLINE int32_t qk_row_codes(const float *x, size_t d, float scale, float zero_point, qk_limits limits, int8_t *codes,
                               const int held, const float *smooth) {
  const vf by = vf_set1(scale), zero = vf_set1(zero_point);
  vi sum = vi_zero(), sum1 = vi_zero();
  size_t i = 0;
  for (; i + 32 <= d; i += 32) {
    const vi c = qk_code(qk_smoothed(vf_load(x + i), smooth, i, 16), by, zero, limits, held);
    const vi c1 = qk_code(qk_smoothed(vf_load(x + i + 16), smooth, i + 16, 16), by, zero, limits, held);
    sum = vi_add(sum, c);
    sum1 = vi_add(sum1, c1);
    vi_store8(codes + i, c);
    vi_store8(codes + i + 16, c1);
  }
  for (; i < d; i += 16) {
    const size_t n = d - i < 16 ? d - i : 16;
    const vi c = qk_code(qk_smoothed(qk_load_n(x + i, n), smooth, i, n), by, vf_keep(zero, n), limits, held);
    sum = vi_add(sum, c);
    vi_store8(codes + i, c);
  }
  return vi_sum(vi_add(sum, sum1));
}

/* The same of codes of 16 bits: of both planes. */
static void qk_row_planes(const float *x, size_t d, float scale, float zero_point, const qk_codes *q, size_t row,
                          const float *smooth) {
  const vf by = vf_set1(scale), zero = vf_set1(zero_point);
  int8_t *codes = q->codes + row * q->ld, *low = q->low + row * q->ld;
  vi sum = vi_zero(), low_sum = vi_zero();
  for (size_t i = 0; i < d; i += 16) {
    const size_t n = d - i < 16 ? d - i : 16;
    const qk_planes p = qk_planes_of(
        qk_code_of(qk_smoothed(qk_load_n(x + i, n), smooth, i, n), by, vf_keep(zero, n), QK_LIMIT_16));
    vi_store8(codes + i, p.high);
    vi_store8(low + i, p.low);
    sum = vi_add(sum, p.high);
    low_sum = vi_add(low_sum, p.low);
  }
  q->start[row] = (int32_t)(-128u * (uint32_t)vi_sum(sum));
  q->low_start[row] = (int32_t)(-128u * (uint32_t)vi_sum(low_sum));
}
/* Codes of a row of a site with parts. */
static void qk_row_codes_of_site(const float *x, size_t d, const qk_sites *site, int8_t *codes, const float *smooth) {
  for (size_t i = 0; i < d; i += 16) {
    const size_t n = d - i < 16 ? d - i : 16;
    const vf zero = vf_keep(qk_site_at(site->zero, site->by_column, i), n);
    const vf by = qk_site_at(site->by, site->by_column, i);
    vi_store8(codes + i,
              qk_requantize(qk_smoothed(qk_load_n(x + i, n), smooth, i, n), by, zero, qk_limits_at(NULL, 0)));
  }
}
static void qk_clear_codes(int8_t *codes, size_t from, size_t to) {
  for (size_t i = from; i < to; i += 16) vi_store8(codes + i, vi_zero());
}

/* starts[g] = -8 * sum of the codes of group g: sixteen blocks of 32 inputs are reduced at once. */
static inline void qk_group_starts(const int8_t *codes, size_t d, size_t group, int32_t *starts) {
  const size_t blocks = (d + QK_GROUP - 1) / QK_GROUP, each = group / QK_GROUP;
  size_t taken = 0;
  int32_t sum = 0, part[16];
  for (size_t b = 0; b < blocks; b += 16) {
    const size_t n = blocks - b < 16 ? blocks - b : 16;
    vi_store(part, vi_mul(qk_block_sums(codes + b * QK_GROUP, n), vi_set1(-8)));
    for (size_t i = 0; i < n; i++) {
      sum += part[i];
      if (++taken < each && b + i + 1 < blocks) continue;
      *starts++ = sum;
      taken = 0, sum = 0;
    }
  }
}

/* Lanes' sums of codes i ... end - 1; both are multiples of 16. */
static inline vi qk_sum_codes(const int8_t *codes, size_t i, size_t end) {
  vi sum = vi_zero();
  for (; i + 64 <= end; i += 64) sum = vi_add_bytes(sum, vi_load((const int32_t *)(const void *)(codes + i)));
  for (; i < end; i += 16) sum = vi_add(sum, vi_load8(codes + i));
  return sum;
}
/* Starts of a row's parts where they have some; codes past the row's end are 0. Returns that of the whole row. */
static inline int32_t qk_part_starts(const qk_codes *q, size_t row) {
  const int8_t *codes = q->codes + row * q->ld;
  vi sums[QK_PARTS];
  if (!qk_parts_have_starts(&q->parts)) return (int32_t)(-128u * (uint32_t)vi_sum(qk_sum_codes(codes, 0, q->ld)));
  for (uint32_t p = 0; p < QK_PARTS; p++)
    sums[p] = p < q->parts.count ? qk_sum_codes(codes, q->parts.part[p].first, qk_round_up(q->parts.part[p].end, 16))
                                 : vi_zero();
  const vi all = vi_mul(vi_sum_rows(sums), vi_set1(-128));
  vi_store(q->part_start + row * QK_PARTS, all);
  return vi_sum(all);
}

/* ---- groups ---- */

/* Sixteen groups at once: a lane with by = 0 has codes of 0. */
typedef struct qk_grid {
  vf scale, by, zero;
} qk_grid;

/* x where range is finite, and not too small unless scales are given; else 0. */
static inline vf qk_where_coded(vf range, int given, vf x) {
  const vf finite = vf_select_lt(range, vf_set1(qk_float_of_bits(QK_BITS_INFINITY)), x, vf_zero());
  return given ? finite : vf_select_lt(range, vf_set1(0x1p-100f), vf_zero(), finite);
}

/* Of groups g ... g + n - 1, whose extremes are hi and -low. */
static inline qk_grid qk_grid_of(const qk_codes *q, vf hi, vf low, size_t g, size_t n) {
  const int given = q->given_scale != NULL;
  if (!given && q->clip != 0.0f) hi = vf_mul(hi, vf_set1(q->clip)), low = vf_mul(low, vf_set1(q->clip));
  const vf range = vf_add(hi, low);
  qk_grid c = {.zero = vf_zero()};
  if (given) {
    c.scale = qk_load_n(q->given_scale + g, n);
    c.by = vf_div(vf_set1(1.0f), c.scale);
    if (q->given_zero) c.zero = qk_load_n(q->given_zero + g, n);
  } else {
    const qk_limits l = qk_limits_of_bits(q->bits);
    const vf size = q->symmetric ? vf_max(hi, low) : range;
    const vf steps = vf_set1(q->symmetric ? l.highest : l.highest - l.lowest);
    c.scale = vf_div(size, steps);
    c.by = vf_div(steps, size);
    if (!q->symmetric) c.zero = vf_rint(vf_fma(low, c.by, vf_set1(l.lowest)));
  }
  c.scale = qk_where_coded(range, given, c.scale);
  c.by = qk_where_coded(range, given, c.by);
  c.zero = qk_where_coded(range, given, c.zero);
  return c;
}

/* Codes of a row x by groups, each with a scale and a zero of its own. Returns whether it has NaN or infinity. */
static size_t qk_quantize_groups(const float *x, uint32_t d, const float *smooth, const qk_codes *q, size_t row) {
  const size_t groups = qk_groups(d, q->group);
  int8_t *codes = q->codes + row * q->ld;
  int32_t total = 0;
  int bad = 0;
  qk_clear_codes(codes, 0, q->ld);
  for (size_t g = 0; g < groups; g += 16) {
    const size_t n = groups - g < 16 ? groups - g : 16, at = row * groups + g;
    vi hi[16], low[16];
    float by[16], zero[16];
    for (size_t j = 0; j < 16; j++) {
      const size_t k = j < n ? (g + j) * q->group : d, count = d - k < q->group ? d - k : q->group;
      const float *s = smooth ? smooth + k : NULL;
      const qk_bounds b = QK_FOR_SMOOTH(s, qk_row_bounds, x + k, count);
      hi[j] = b.hi;
      low[j] = vi_xor(b.lo, vi_set1(INT32_MIN));
    }
    const vf most = vf_from_bits(vi_hmax_rows(hi)), least = vf_from_bits(vi_max(vi_hmax_rows(low), vi_zero()));
    const qk_grid grid = qk_grid_of(q, most, least, g, n);
    bad |= vi_hmax(qk_magnitude(vf_add(most, least))) >= QK_BITS_INFINITY;
    qk_store_n(q->scale + at, grid.scale, n);
    qk_store_n(q->zero + at, grid.zero, n);
    vf_store(by, grid.by);
    vf_store(zero, grid.zero);
    for (size_t j = 0; j < n; j++) {
      const size_t k = (g + j) * q->group, count = d - k < q->group ? d - k : q->group;
      const float *s = smooth ? smooth + k : NULL;
      int32_t sum = 0;
      if (by[j] != 0.0f)
        sum = QK_FOR_SMOOTH(s, qk_row_codes, x + k, count, by[j], zero[j], qk_limits_of(q), codes + k, 1);
      q->group_start[at + j] = -8 * sum;
      total += sum;
    }
  }
  q->start[row] = (int32_t)(-128u * (uint32_t)total);
  return (size_t)bad;
}

/* Codes, scale, zero and start of rows row ... row + rows - 1, whose smoothed values have the bounds b[]. Returns how
   many of them have NaN or infinity. x: the first of them; q NULL: only counts. Groups
   have bounds of their own. */
static inline size_t qk_quantize_some(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_bounds *b,
                                      const qk_codes *q, size_t row, int rows) {
  size_t bad = 0;
  float by[QK_ROWS];
  int held[QK_ROWS];
  const qk_limits limits = q && !q->given_scale ? qk_limits_of_bits(q->bits) : qk_limits_at(NULL, 0);
  const float clip = q && !q->given_scale ? qk_clip_of(q) : 1.0f, steps = limits.highest - limits.lowest;
  if (q && q->grouped) {
    for (int r = 0; r < rows; r++) bad += qk_quantize_groups(x + (size_t)r * ldx, d, smooth, q, row + (size_t)r);
    return bad;
  }
  for (int r = 0; r < rows; r++) {
    float hi, low;
    int finite = qk_bounds_of(&b[r], &hi, &low);
    if (!q) {
      bad += !finite;
      continue;
    }
    hi *= clip, low *= clip;
    float range = hi + low;
    finite = finite && range < qk_float_of_bits(QK_BITS_INFINITY);
    bad += !finite;
    if (q->given_scale || q->symmetric) {
      const int given = q->given_scale != NULL, coded = finite && (given || range >= 0x1p-100f);
      const float size = hi > low ? hi : low, scale = given ? q->given_scale[0] : size / limits.highest;
      by[r] = !coded ? 0.0f : given ? 1.0f / scale : limits.highest / size;
      q->scale[row + (size_t)r] = coded ? scale : 0.0f;
      q->zero[row + (size_t)r] = coded && q->given_zero ? q->given_zero[0] : 0.0f;
      held[r] = 1;
      continue;
    }
    int normal = finite && range >= 0x1p-100f;
    if (!normal) range = 1.0f; /* its quotients are not used */
    by[r] = normal ? steps / range : 0.0f;
    q->scale[row + (size_t)r] = normal ? range / steps : 0.0f;
    const vf b16 = vf_set1(by[r]), zero = vf_rint(vf_fma(vf_set1(low), b16, vf_set1(limits.lowest)));
    q->zero[row + (size_t)r] = normal ? vf_first(zero) : 0.0f;
    /* Codes ascend with x, so the extremes tell whether any leaves the range: only where zero came from a tie, or
       almost. */
    held[r] = clip < 1.0f || vf_first(vf_fma(vf_set1(hi), b16, zero)) >= limits.highest + 0.5f ||
              vf_first(vf_fma(vf_set1(-low), b16, zero)) <= limits.lowest - 0.5f;
  }
  if (!q) return bad;
  for (int r = 0; r < rows; r++) {
    const size_t at = row + (size_t)r, done = by[r] != 0.0f ? qk_round_up(d, 16) : 0; /* 0: the row may hold NaN */
    int8_t *codes = q->codes + at * q->ld;
    int32_t sum = 0;
    const float *xr = x + (size_t)r * ldx;
    if (q->low) {
      qk_clear_codes(codes, done, q->ld);
      qk_clear_codes(q->low + at * q->ld, done, q->ld);
      q->start[at] = q->low_start[at] = 0;
      if (done) qk_row_planes(xr, d, by[r], q->zero[at], q, at, smooth);
      continue;
    }
    if (q->parts.count) {
      if (done) qk_row_codes_of_site(xr, d, &q->site, codes, smooth);
      qk_clear_codes(codes, done, q->ld);
      q->start[at] = qk_part_starts(q, at);
      continue;
    }
    if (done && (held[r] || smooth)) /* to hold what is within its limits changes nothing */
      sum = QK_FOR_SMOOTH(smooth, qk_row_codes, xr, d, by[r], q->zero[at], qk_limits_of(q), codes, 1);
    else if (done)
      sum = qk_row_codes(xr, d, by[r], q->zero[at], qk_limits_of(q), codes, 0, NULL);
    qk_clear_codes(codes, done, q->ld);
    q->start[at] = (int32_t)(-128u * (uint32_t)sum);
    if (q->group_start) qk_group_starts(codes, d, q->group, q->group_start + at * qk_groups(d, q->group));
  }
  return bad;
}

static inline size_t qk_rows_quantize_some(const float *x, size_t ldx, uint32_t d, const float *smooth,
                                           const qk_codes *q, size_t row, int rows) {
  qk_bounds b[QK_ROWS];
  x += row * ldx;
  for (int r = 0; r < rows; r++) b[r] = QK_FOR_SMOOTH(smooth, qk_row_bounds, x + (size_t)r * ldx, d);
  return qk_quantize_some(x, ldx, d, smooth, b, q, row, rows);
}

static inline size_t qk_rows_quantize(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q,
                                      size_t r0, size_t r1) {
  size_t bad = 0, r = r0;
  for (; r + QK_ROWS <= r1; r += QK_ROWS) bad += qk_rows_quantize_some(x, ldx, d, smooth, q, r, QK_ROWS);
  for (; r < r1; r++) bad += qk_rows_quantize_some(x, ldx, d, smooth, q, r, 1);
  return bad;
}
#endif
