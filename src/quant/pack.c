/* pack.c - floats to codes, one tensor at a time; the layouts of kernels/layout.h. Needs round-to-nearest
 * (base/thread.h's guard). Deterministic: every row depends on itself alone. Stateless; any thread. */
#include <string.h>
#include "kernels/layout.h"
#include "quant/quant.h"

/* Below this a row is taken as zero: 127 / absmax stays far from overflow. */
#define PACK_TINY 0x1p-100f

float qn_pack_row_scale(const float *w, size_t d, float most, float *factor) {
  float absmax = 0;
  for (size_t i = 0; i < d; i++) {
    float a = w[i] < 0 ? -w[i] : w[i];
    absmax = a > absmax ? a : absmax;
  }
  *factor = absmax < PACK_TINY ? 0 : most / absmax;
  return absmax < PACK_TINY ? 0 : absmax / most;
}

/* Squared error of a row with codes up to `most` when its scale is `part` of what holds every weight. */
static float error_of(const float *x, size_t k, float most, float factor) {
  float error = 0;
  for (size_t i = 0; i < k; i++) {
    const float at = x[i] * factor, code = qn_pack_rint(at), held = code > most ? most : code < -most ? -most : code;
    error += (at - held) * (at - held);
  }
  return error / (factor * factor);
}

/* The scale of the least squared error: codes of few bits do better without the largest weights. */
static float best_scale(const float *x, size_t k, float most, float *factor) {
  const float all = qn_pack_row_scale(x, k, most, factor), by = *factor;
  float scale = all, least = all > 0 && most < 127 ? error_of(x, k, most, by) : 0;
  for (int i = 1; i <= 8 && least > 0; i++) {
    const float part = 1.0f - 0.05f * (float)i, error = error_of(x, k, most, by / part);
    if (error >= least) continue;
    least = error;
    scale = all * part;
    *factor = by / part;
  }
  return scale;
}

void qn_pack_linear_i8(const float *w, uint32_t n, uint32_t k, float most, uint8_t *panels, float *scale,
                       int32_t *sums) {
  size_t panel_bytes = qk_k8(k) * QK_PANEL;
  memset(panels, 0x80, qk_weight_bytes(n, k, 8));
  for (size_t row = 0; row < n; row++) {
    const float *x = w + row * k;
    uint8_t *to = panels + row / QK_PANEL * panel_bytes + row % QK_PANEL * QK_KSTEP;
    float factor;
    int32_t sum = 0;
    scale[row] = best_scale(x, k, most, &factor);
    for (size_t i = 0; i < k; i++) {
      int32_t code = qn_pack_nearest(x[i] * factor);
      code = code > (int32_t)most ? (int32_t)most : code < -(int32_t)most ? -(int32_t)most : code;
      sum += code;
      to[i / QK_KSTEP * (QK_PANEL * QK_KSTEP) + i % QK_KSTEP] = (uint8_t)(code ^ 0x80);
    }
    sums[row] = sum;
  }
}

void qn_pack_linear_f32(const float *w, uint32_t n, uint32_t k, float *panels) {
  memset(panels, 0, qk_weight_bytes_f32(n, k));
  for (size_t row = 0; row < n; row++) {
    float *to = panels + row / QK_PANEL * QK_PANEL * k + row % QK_PANEL;
    for (size_t i = 0; i < k; i++) to[i * QK_PANEL] = w[row * k + i];
  }
}

void qn_pack_rows_i8(const float *w, uint32_t rows, uint32_t d, float most, int8_t *codes, float *scale) {
  for (size_t row = 0; row < rows; row++) {
    float factor;
    scale[row] = qn_pack_row_scale(w + row * d, d, most, &factor);
    for (size_t i = 0; i < d; i++) codes[row * d + i] = (int8_t)qn_pack_nearest(w[row * d + i] * factor);
  }
}
