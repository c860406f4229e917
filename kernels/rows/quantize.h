/* quantize.h - rows of floats to codes, one scale a row (kernels.h: qk_codes). Over lanes.
 * Rows are taken QK_ROWS at a time, phase by phase: what one row waits for (reductions, divisions) overlaps with the
 * others' work, since a phase of four rows fits into the window in which a CPU reorders. */
#ifndef QK_ROWS_QUANTIZE_H
#define QK_ROWS_QUANTIZE_H
#include "kernels/rows/epilogue.h"

#define QK_ROWS 4
#define QK_BITS_INFINITY 0x7f800000 /* magnitudes from here on are infinity or NaN */
#define QK_BITS_TINY 0x0d800000     /* 2^-100: rows below it have scale 0 */

static inline vi qk_magnitude(vf x) { return vi_and(vi_bits(x), vi_set1(0x7fffffff)); }
static inline float qk_float_of_bits(int32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Codes, scale and start of rows row ... row + rows - 1, whose absmax per lane is m[]. Returns how many of them have NaN
   or infinity. x: the first of them; q NULL: only counts. */
static inline size_t qk_quantize_some(const float *x, size_t ldx, uint32_t d, const vi *m, const qk_codes *q,
                                      size_t row, int rows) {
  size_t bad = 0, whole = d / 16 * 16;
  float by[QK_ROWS];
  for (int r = 0; r < rows; r++) {
    int32_t absmax = vi_hmax(m[r]);
    int normal = absmax >= QK_BITS_TINY && absmax < QK_BITS_INFINITY;
    bad += absmax >= QK_BITS_INFINITY;
    if (!q) continue;
    float a = qk_float_of_bits(normal ? absmax : QK_BITS_TINY);
    by[r] = normal ? 127.0f / a : 0.0f;
    q->scale[row + (size_t)r] = normal ? a / 127.0f : 0.0f;
  }
  if (!q) return bad;
  for (int r = 0; r < rows; r++) {
    const float *xr = x + (size_t)r * ldx;
    int8_t *codes = q->codes + (row + (size_t)r) * q->ld;
    vf b = vf_set1(by[r]);
    vi sum = vi_zero(), sum1 = vi_zero();
    size_t i = 0;
    if (by[r] != 0.0f) { /* else the row may hold NaN */
      for (; i + 32 <= whole; i += 32) {
        vi c = vf_to_vi(vf_mul(vf_load(xr + i), b)), c1 = vf_to_vi(vf_mul(vf_load(xr + i + 16), b));
        sum = vi_add(sum, c);
        sum1 = vi_add(sum1, c1);
        vi_store8(codes + i, c);
        vi_store8(codes + i + 16, c1);
      }
      for (; i < d; i += 16) { /* a code row is padded to 64 bytes: a whole store stays inside */
        vi c = vf_to_vi(vf_mul(qk_load_n(xr + i, d - i), b));
        sum = vi_add(sum, c);
        vi_store8(codes + i, c);
      }
    }
    for (; i < q->ld; i += 16) vi_store8(codes + i, vi_zero());
    q->start[row + (size_t)r] = (int32_t)(-128u * (uint32_t)vi_sum(vi_add(sum, sum1)));
  }
  return bad;
}

static inline size_t qk_rows_quantize_some(const float *x, size_t ldx, uint32_t d, const qk_codes *q, size_t row,
                                           int rows) {
  vi m[QK_ROWS];
  x += row * ldx;
  for (int r = 0; r < rows; r++) {
    const float *xr = x + (size_t)r * ldx;
    vi m0 = vi_zero(), m1 = vi_zero();
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
      m0 = vi_max(m0, qk_magnitude(vf_load(xr + i)));
      m1 = vi_max(m1, qk_magnitude(vf_load(xr + i + 16)));
    }
    for (; i < d; i += 16) m0 = vi_max(m0, qk_magnitude(qk_load_n(xr + i, d - i)));
    m[r] = vi_max(m0, m1);
  }
  return qk_quantize_some(x, ldx, d, m, q, row, rows);
}

static size_t qk_rows_quantize(const float *x, size_t ldx, uint32_t d, const qk_codes *q, size_t r0, size_t r1) {
  size_t bad = 0, r = r0;
  for (; r + QK_ROWS <= r1; r += QK_ROWS) bad += qk_rows_quantize_some(x, ldx, d, q, r, QK_ROWS);
  for (; r < r1; r++) bad += qk_rows_quantize_some(x, ldx, d, q, r, 1);
  return bad;
}
#endif
