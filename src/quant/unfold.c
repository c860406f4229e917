/* unfold.c - unfolding neurons (unfold.h). Deterministic: comparisons, divisions and products of floats alone. */
#include "quant/unfold.h"

#include <string.h>

#include "model/arch.h"

#define HALVINGS 40u /* of the interval that E is looked for in */

int qn_unfold_fits(uint32_t activation) { return activation != QN_ACT_TANH && activation != QN_ACT_NONE; }

/* Copies that a neuron needs so that no part of it is above `end`; more than `most` count as one more. */
static uint32_t needed(float high, float end, uint32_t most) {
  uint32_t times = 0;
  while (times <= most && high > (float)(times + 1) * end) times++;
  return times;
}

static int enough(const qn_extremes *neuron, uint32_t ffn, uint32_t copies, float end) {
  uint32_t left = copies;
  for (uint32_t i = 0; i < ffn; i++) {
    const uint32_t n = needed(neuron[i].high, end, left);
    if (n > left) return 0;
    left -= n;
  }
  return 1;
}

float qn_unfold_choose(const qn_extremes *neuron, uint32_t ffn, uint32_t copies, qn_fold *fold) {
  float low = QN_UNFOLD_LEAST, high = QN_UNFOLD_LEAST;
  uint32_t used = 0;
  memset(fold, 0, copies * sizeof *fold);
  for (uint32_t i = 0; i < ffn; i++) high = __builtin_fmaxf(high, neuron[i].high);
  if (enough(neuron, ffn, copies, low)) high = low;
  for (uint32_t i = 0; i < HALVINGS && low < high; i++) {
    const float middle = 0.5f * (low + high);
    if (enough(neuron, ffn, copies, middle))
      high = middle;
    else
      low = middle;
  }
  for (uint32_t i = 0; i < ffn; i++)
    for (uint32_t t = 1, n = needed(neuron[i].high, high, copies); t <= n; t++) fold[used++] = (qn_fold){i, t};
  return high;
}

void qn_unfold_bias(float *bias, uint32_t ffn, uint32_t copies, const qn_fold *fold, float end) {
  for (uint32_t i = 0; i < copies; i++) bias[ffn + i] = bias[fold[i].source] - (float)fold[i].times * end;
}

void qn_unfold_rows(float *x, uint32_t ffn, uint32_t k, uint32_t copies, const qn_fold *fold) {
  for (size_t i = 0; i < copies; i++) memcpy(x + (ffn + i) * k, x + (size_t)fold[i].source * k, k * sizeof *x);
}

void qn_unfold_columns(float *w, uint32_t n, uint32_t ffn, uint32_t copies, const qn_fold *fold) {
  for (size_t r = n; r-- > 0;) {
    float *row = w + r * (ffn + copies);
    memmove(row, w + r * ffn, ffn * sizeof *w);
    for (uint32_t i = 0; i < copies; i++) row[ffn + i] = fold[i].times ? row[fold[i].source] : 0.0f;
  }
}
