/* quantize.h - rows of floats to codes, one scale a row (kernels.h: qk_codes). Over lanes. */
#ifndef QK_ROWS_QUANTIZE_H
#define QK_ROWS_QUANTIZE_H
#include "kernels/rows/epilogue.h"

#define QK_BITS_INFINITY 0x7f800000 /* magnitudes from here on are infinity or NaN */
#define QK_BITS_TINY 0x0d800000     /* 2^-100: rows below it have scale 0 */

static inline vi qk_magnitude(vf x) { return vi_and(vi_bits(x), vi_set1(0x7fffffff)); }
static inline float qk_float_of_bits(int32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Writes codes, scale and start of one row whose absmax has these bits. 1 when the row has NaN or infinity. */
static inline size_t qk_quantize_row(const float *x, uint32_t d, int32_t absmax, const qk_codes *q, size_t row) {
  int8_t *codes = q->codes + row * q->ld;
  vi sum = vi_zero();
  size_t i = 0, whole = d / 16 * 16;
  q->scale[row] = 0.0f;
  if (absmax >= QK_BITS_TINY && absmax < QK_BITS_INFINITY) {
    float a = qk_float_of_bits(absmax);
    vf by = vf_set1(127.0f / a);
    q->scale[row] = a / 127.0f;
    for (; i < whole; i += 16) {
      vi c = vf_to_vi(vf_mul(vf_load(x + i), by));
      sum = vi_add(sum, c);
      vi_store8(codes + i, c);
    }
    if (i < d) { /* a code row is padded to 64 bytes: a whole store stays inside */
      vi c = vf_to_vi(vf_mul(vf_load_part(x + i, d - i), by));
      sum = vi_add(sum, c);
      vi_store8(codes + i, c);
      i += 16;
    }
  }
  for (; i < q->ld; i += 16) vi_store8(codes + i, vi_zero());
  q->start[row] = (int32_t)(-128u * (uint32_t)vi_sum(sum));
  return absmax >= QK_BITS_INFINITY;
}

static size_t qk_rows_quantize(const float *x, size_t ldx, uint32_t d, const qk_codes *q, size_t r0, size_t r1) {
  size_t bad = 0, whole = d / 16 * 16;
  for (size_t r = r0; r < r1; r++) {
    const float *row = x + r * ldx;
    vi m0 = vi_zero(), m1 = vi_zero();
    size_t i = 0;
    for (; i + 32 <= whole; i += 32) {
      m0 = vi_max(m0, qk_magnitude(vf_load(row + i)));
      m1 = vi_max(m1, qk_magnitude(vf_load(row + i + 16)));
    }
    if (i < whole) m0 = vi_max(m0, qk_magnitude(vf_load(row + i)));
    if (whole < d) m1 = vi_max(m1, qk_magnitude(vf_load_part(row + whole, d - whole)));
    bad += qk_quantize_row(row, d, vi_hmax(vi_max(m0, m1)), q, r);
  }
  return bad;
}
#endif
