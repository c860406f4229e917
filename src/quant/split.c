/* split.c - splitting neurons (split.h). */
#include "quant/split.h"

#include <math.h>
#include <string.h>

#include "quant/quant.h"

/* Largest share of row r; *at: whose. */
static float largest(const float *row, const uint32_t *shares, uint32_t ffn, uint32_t *at) {
  float most = -1.0f;
  for (uint32_t j = 0; j < ffn; j++) {
    const float a = fabsf(row[j]) / (float)shares[j];
    if (a > most) most = a, *at = j;
  }
  return most;
}

void qn_split_choose(const float *down, uint32_t n, uint32_t ffn, uint32_t copies, uint32_t *source, uint32_t *shares,
                     float *most) {
  uint32_t at = 0;
  for (uint32_t j = 0; j < ffn; j++) shares[j] = 1;
  for (uint32_t r = 0; r < n; r++) most[r] = largest(down + (size_t)r * ffn, shares, ffn, &at);
  for (uint32_t i = 0; i < copies; i++) {
    uint32_t row = 0;
    for (uint32_t r = 1; r < n; r++)
      if (most[r] > most[row]) row = r;
    largest(down + (size_t)row * ffn, shares, ffn, &at);
    source[i] = at;
    const float before = (float)shares[at]++;
    /* Only rows whose largest share this was can have another one now. */
    for (uint32_t r = 0; r < n; r++) {
      const float *w = down + (size_t)r * ffn;
      uint32_t ignored;
      if (fabsf(w[at]) / before >= most[r]) most[r] = largest(w, shares, ffn, &ignored);
    }
  }
}

void qn_split_rows(float *x, uint32_t ffn, uint32_t k, uint32_t copies, const uint32_t *source) {
  for (size_t i = 0; i < copies; i++) memcpy(x + (ffn + i) * k, x + (size_t)source[i] * k, k * sizeof *x);
}

/* The copies of copy i's neuron, itself included, are walked by the first of them. */
static int is_first(const uint32_t *source, uint32_t i) {
  for (uint32_t j = 0; j < i; j++)
    if (source[j] == source[i]) return 0;
  return 1;
}

/* Neuron and all copies of it, beginning with copy `first`: at[0 ...]; returns how many. */
static uint32_t gather(const uint32_t *source, uint32_t ffn, uint32_t copies, uint32_t first, uint32_t *at) {
  uint32_t count = 0;
  at[count++] = source[first];
  for (uint32_t j = first; j < copies; j++)
    if (source[j] == source[first]) at[count++] = ffn + j;
  return count;
}

void qn_split_columns(float *w, uint32_t n, uint32_t ffn, uint32_t copies, const uint32_t *source) {
  uint32_t at[QN_SPLIT_MOST + 1];
  for (size_t r = n; r-- > 0;) memmove(w + r * (ffn + copies), w + r * ffn, ffn * sizeof *w);
  for (uint32_t i = 0; i < copies; i++) {
    if (!is_first(source, i)) continue;
    const uint32_t count = gather(source, ffn, copies, i, at);
    for (size_t r = 0; r < n; r++) {
      float *row = w + r * (ffn + copies);
      const float share = row[at[0]] / (float)count;
      for (uint32_t c = 0; c < count; c++) row[at[c]] = share;
    }
  }
}

void qn_split_share(float *w, uint32_t n, uint32_t ffn, uint32_t copies, float most, const uint32_t *source) {
  uint32_t at[QN_SPLIT_MOST + 1];
  const uint32_t k = ffn + copies;
  for (size_t r = 0; r < n; r++) {
    float *row = w + r * k, factor;
    const float scale = qn_pack_row_scale(row, k, most, &factor);
    for (uint32_t i = 0; i < copies; i++) {
      if (!is_first(source, i)) continue;
      const int32_t count = (int32_t)gather(source, ffn, copies, i, at);
      int32_t whole = qn_pack_nearest((float)count * (row[at[0]] * factor));
      const int32_t end = (int32_t)most * count;
      whole = whole > end ? end : whole < -end ? -end : whole;
      const int32_t each = whole / count, rest = whole % count, sign = whole < 0 ? -1 : 1;
      for (int32_t c = 0; c < count; c++) row[at[c]] = (float)(each + (c < rest * sign ? sign : 0)) * scale;
    }
  }
}
