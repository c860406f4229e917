/* panel_ref.h - the exact sums of one panel in plain C: what weights, keys and values have in common is the layout. */
#ifndef QK_PANEL_REF_H
#define QK_PANEL_REF_H
#include "kernels/lanes/lanes_ref.h"

/* Lane c: start + sum over i < 4 * steps of a[i] * w[i/4][c][i%4], wrapping. w: [steps][16][4], offset-128 codes. */
static inline vi ref_panel(const uint8_t *w, const int8_t *a, size_t steps, int32_t start) {
  uint32_t sum[16];
  for (size_t c = 0; c < 16; c++) sum[c] = (uint32_t)start;
  for (size_t s = 0; s < steps; s++)
    for (size_t c = 0; c < 16; c++) {
      const uint8_t *b = w + s * 64 + c * 4;
      const int8_t *x = a + s * 4;
      sum[c] += (uint32_t)(b[0] * x[0] + b[1] * x[1] + b[2] * x[2] + b[3] * x[3]);
    }
  vi acc;
  memcpy(&acc, sum, sizeof acc);
  return acc;
}
#endif
