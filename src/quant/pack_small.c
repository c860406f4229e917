/* pack_small.c - codes of 4 and 2 bits with a minimum: the grid of a group is searched for, so that the squared error is small, by
 * trying some widths of it and fitting scale and minimum to the codes of each by least squares; and tables of such codes. Needs
 * round-to-nearest (base/thread.h's guard). Deterministic: every group depends on itself alone. Stateless; any thread. */
#include <string.h>
#include "kernels/layout.h"
#include "quant/quant.h"

#define TINY 0x1p-100f /* magnitudes below count as zero: quotients stay far from overflow */

/* ---- one group with a minimum: w ~ q * scale + min, q = 0 ... top ----------------------------------------------------- */

/* Shares of the group's range that a grid spans. */
static const float spans[] = {1.0f, 0.97f, 0.94f, 0.91f, 0.88f, 0.85f, 0.8f, 0.75f, 0.7f};

static double squared_error(const float *w, size_t n, float top, float scale, float min) {
  const float by = scale > 0 ? 1.0f / scale : 0;
  double error = 0;
  for (size_t i = 0; i < n; i++) {
    const double d = (double)w[i] -
                     (double)(qn_pack_held(qn_pack_rint(qn_pack_held((w[i] - min) * by, -1, top + 1)), 0, top) * scale +
                              min);
    error += d * d;
  }
  return error;
}

/* Scale and minimum fitted to the codes that w has on the grid `scale`, `min`. */
static void fit(const float *w, size_t n, float top, float *scale, float *min) {
  const float by = 1.0f / *scale;
  double sq = 0, sqq = 0, sw = 0, swq = 0;
  for (size_t i = 0; i < n; i++) {
    const double q = (double)qn_pack_held(qn_pack_rint(qn_pack_held((w[i] - *min) * by, -1, top + 1)), 0, top),
                 x = (double)w[i];
    sq += q, sqq += q * q, sw += x, swq += x * q;
  }
  const double count = (double)n, det = count * sqq - sq * sq;
  if (det <= 0) return;
  const double slope = (count * swq - sq * sw) / det;
  if (!(slope > (double)TINY)) return;
  *scale = (float)slope;
  *min = (float)((sw - slope * sq) / count);
}

void qn_pack_grid(const float *w, size_t n, float top, float *scale, float *min) {
  float lo = w[0], hi = w[0];
  for (size_t i = 1; i < n; i++) {
    lo = w[i] < lo ? w[i] : lo;
    hi = w[i] > hi ? w[i] : hi;
  }
  *scale = 0, *min = (lo + hi) * 0.5f;
  if (hi - lo < TINY) return;
  double best = -1;
  for (size_t c = 0; c < sizeof spans / sizeof spans[0]; c++) {
    float s = (hi - lo) * spans[c] / top, m = lo + (hi - lo) * (1 - spans[c]) * 0.5f;
    for (int turn = 0; turn < 3; turn++) fit(w, n, top, &s, &m);
    const double error = squared_error(w, n, top, s, m);
    if (best < 0 || error < best) best = error, *scale = s, *min = m;
  }
}

/* ---- tables -------------------------------------------------------------------------------------------------------- */

/* Code `q` of channel i into a row of zeros. */
static void put_code(uint8_t *row, uint32_t bits, size_t i, int q) {
  if (bits == 4)
    row[i / 32 * 16 + i % 16] |= (uint8_t)(q << i % 32 / 16 * 4);
  else
    row[i / 64 * 16 + i % 16] |= (uint8_t)(q << i % 64 / 16 * 2);
}

static int get_code(const uint8_t *row, uint32_t bits, size_t i) {
  return bits == 4 ? row[i / 32 * 16 + i % 16] >> i % 32 / 16 * 4 & 15
                   : row[i / 64 * 16 + i % 16] >> i % 64 / 16 * 2 & 3;
}

/* Steps of 1/127 of the row's largest scale and minimum, then codes on the grid that the steps stand for. */
static void pack_row(const float *w, size_t d, uint32_t bits, size_t group, uint8_t *codes, float scale[2],
                     int8_t *step, float *grid) {
  const size_t groups = qk_groups(d, group);
  const float top = bits == 4 ? 15 : 3;
  float widest = 0, farthest = 0;
  for (size_t g = 0; g < groups; g++) {
    float *s = grid + 2 * g, *m = s + 1;
    qn_pack_grid(w + g * group, d - g * group < group ? d - g * group : group, top, s, m);
    widest = *s > widest ? *s : widest;
    farthest = *m > farthest ? *m : -*m > farthest ? -*m : farthest;
  }
  scale[0] = widest < TINY ? 0 : widest / 127;
  scale[1] = farthest < TINY ? 0 : farthest / 127;
  for (size_t g = 0; g < groups; g++) {
    step[2 * g] = (int8_t)(scale[0] > 0 ? qn_pack_rint(grid[2 * g] / scale[0]) : 0);
    step[2 * g + 1] = (int8_t)(scale[1] > 0 ? qn_pack_rint(grid[2 * g + 1] / scale[1]) : 0);
    const float s = (float)step[2 * g] * scale[0], m = (float)step[2 * g + 1] * scale[1], by = s > 0 ? 1.0f / s : 0;
    for (size_t i = g * group; i < d && i < (g + 1) * group; i++)
      put_code(codes, bits, i, (int)qn_pack_held(qn_pack_rint(qn_pack_held((w[i] - m) * by, -1, top + 1)), 0, top));
  }
}

void qn_pack_rows_small(const float *w, uint32_t rows, uint32_t d, uint32_t bits, uint32_t group, uint8_t *codes,
                        float *scale, int8_t *step, float *work) {
  const size_t groups = qk_groups(d, group), row_bytes = qk_table_row(d, bits);
  memset(codes, 0, rows * row_bytes);
  for (size_t row = 0; row < rows; row++)
    pack_row(w + row * d, d, bits, group, codes + row * row_bytes, scale + 2 * row, step + 2 * groups * row, work);
}

float qn_value_small(const uint8_t *codes, const float *scale, const int8_t *step, uint32_t d, uint32_t bits,
                     uint32_t group, size_t row, size_t i) {
  const int8_t *s = step + (row * qk_groups(d, group) + i / group) * 2;
  const float q = (float)get_code(codes + row * qk_table_row(d, bits), bits, i);
  return q * ((float)s[0] * scale[2 * row]) + (float)s[1] * scale[2 * row + 1];
}
