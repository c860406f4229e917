/* transform_ref.c - the input of a linear operator in another basis, in plain C: the specification (kernels.h: transform). */
#include <string.h>
#include "kernels/sets.h"
#include "kernels/lanes/lanes_ref.h"

#define BITS_INFINITY 0x7f800000u /* magnitudes from here on are infinity or NaN */

/* Codes of 14 bits of a row; 0: all of them are 0, and *bad says whether for NaN or infinity. */
static int codes_of(const float *x, const float *smooth, uint32_t d, int16_t *c, float *unit, size_t *bad) {
  uint32_t most = 0;
  for (uint32_t j = 0; j < d; j++) {
    const uint32_t bits = ref_bits(smooth ? x[j] * smooth[j] : x[j]) & 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  const float a = ref_from_bits(most);
  *bad = most >= BITS_INFINITY;
  if (*bad || a < 0x1p-100f) return 0;
  const float by = QK_TRANSFORM_MOST / a;
  for (uint32_t j = 0; j < d; j++) c[j] = (int16_t)ref_rint((smooth ? x[j] * smooth[j] : x[j]) * by);
  *unit = a / QK_TRANSFORM_MOST;
  return 1;
}

/* t = c times the matrix, block by block; wrapping. */
static void rotate(const int16_t *matrix, uint32_t block, uint32_t d, const int16_t *c, int32_t *t) {
  for (uint32_t j = 0; j < d; j++) {
    const uint32_t o = j % block;
    const int16_t *w = matrix + (size_t)(o / 16) * block * 16 + o % 16 * 2, *in = c + (j - o);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < block; i++) sum += (uint32_t)(in[i] * w[i / 2 * 32 + i % 2]);
    t[j] = (int32_t)sum;
  }
}

/* Back to codes of 14 bits. */
static void narrow(const int32_t *t, uint32_t d, int16_t *c, float *unit) {
  int32_t most = 0, s = 0;
  for (uint32_t j = 0; j < d; j++) {
    const int32_t m = t[j] < 0 ? -1 - t[j] : t[j];
    most = m > most ? m : most;
  }
  while (most >> 13 >> s) s++;
  for (uint32_t j = 0; j < d; j++) {
    const uint32_t half = s ? 1u << (s - 1) : 0;
    c[j] = (int16_t)((int32_t)((uint32_t)t[j] + half) >> s);
  }
  *unit = *unit * ref_from_bits((uint32_t)(127 + s - 13) << 23);
}

static void hadamard(const int8_t *signs, uint32_t block, uint32_t d, const int16_t *c, int32_t *t, float *unit) {
  for (uint32_t j = 0; j < d; j++) t[j] = c[j] * signs[j];
  for (uint32_t at = 0; at < d; at += block)
    for (uint32_t step = 1; step < block; step *= 2)
      for (uint32_t i = 0; i < block; i++)
        if (!(i & step)) {
          const int32_t a = t[at + i], b = t[at + i + step];
          t[at + i] = a + b;
          t[at + i + step] = a - b;
        }
  *unit = *unit / __builtin_sqrtf((float)block);
}

/* y of a row into t, as floats. */
static void basis_of(const qk_transform *tr, uint32_t d, int16_t *c, int32_t *t, float *unit) {
  if (tr->first) {
    rotate(tr->first, tr->block, d, c, t);
    narrow(t, d, c, unit);
  }
  if (tr->order) {
    int16_t *was = (int16_t *)(void *)t;
    memcpy(was, c, d * sizeof *c);
    for (uint32_t j = 0; j < d; j++) c[j] = was[tr->order[j]];
  }
  if (tr->second) {
    rotate(tr->second, tr->block, d, c, t);
    *unit = *unit * 0x1p-13f;
  } else if (tr->signs) {
    hadamard(tr->signs, tr->block, d, c, t, unit);
  } else {
    for (uint32_t j = 0; j < d; j++) t[j] = c[j];
  }
  for (uint32_t j = 0; j < d; j++) {
    const float y = (float)t[j];
    memcpy(&t[j], &y, sizeof y);
  }
}

size_t qk_transform_ref(const qk_transform *tr, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                        void *scratch, size_t r0, size_t r1) {
  int32_t *t = scratch;
  int16_t *c = (int16_t *)(void *)(t + d);
  const size_t scales = qk_scales(q, d);
  size_t bad = 0;
  for (size_t r = r0; r < r1; r++) {
    float unit = 0.0f;
    size_t nonfinite;
    if (codes_of(x + r * ldx, tr->smooth, d, c, &unit, &nonfinite))
      basis_of(tr, d, c, t, &unit);
    else
      memset(t, 0, d * sizeof *t);
    qk_quantize_ref((const float *)(const void *)t, 0, d, NULL, q, r, r + 1);
    for (size_t g = r * scales; g < (r + 1) * scales; g++) q->scale[g] = q->scale[g] * unit;
    bad += nonfinite;
  }
  return bad;
}
