/* pack_zero.c - codes of 4 bits whose scales and zero points are integers: a weight is (code - zero) * step * scale, step 1 ... 15 and zero
 * 0 ... 15 of its group, scale of its output channel, and (code - zero) * step lies in -128 ... 127 for all codes, so that
 * these are weights of 8 bits once they are unpacked. Scale, steps and zero points are searched for, so that the squared error
 * is small. Needs round-to-nearest (base/thread.h's guard). Deterministic: every output channel depends on itself alone.
 * Stateless; any thread. */
#include "kernels/layout.h"
#include "quant/quant.h"

#define TINY 0x1p-100f /* magnitudes below count as zero: quotients stay far from overflow */
#define TOP 15         /* of codes, steps and zero points */

typedef struct fit {
  double error, wq, qq; /* with the codes' integers q: sums of w q and q q, from which a scale is fitted */
} fit;

/* A group's codes at a step and zero point. */
static fit fit_at(const float *w, size_t n, float scale, int step, int zero) {
  const float unit = scale * (float)step, by = 1.0f / unit, low = (float)-zero, high = (float)(TOP - zero);
  double error = 0, wq = 0, qq = 0;
  for (size_t i = 0; i < n; i++) {
    const float c = qn_pack_held(qn_pack_rint(qn_pack_held(w[i] * by, -32, 32)), low, high), d = w[i] - c * unit;
    error += (double)(d * d);
    wq += (double)(w[i] * c);
    qq += (double)(c * c);
  }
  return (fit){error, wq * step, qq * step * step};
}

static int is_byte(int step, int zero) { return zero * step <= 128 && (TOP - zero) * step <= 127; }

/* The best step and zero point of a group around those that its own scale and minimum ask for. */
static fit choose_step(const float *w, size_t n, float scale, float own_scale, float own_min, uint8_t *to) {
  fit best = {.error = -1};
  const int low = (int)qn_pack_held(own_scale / scale, 1, TOP);
  for (int step = low; step <= low + 1 && step <= TOP; step++) {
    const int at = (int)qn_pack_held(-own_min / (scale * (float)step), 0, TOP);
    for (int zero = at; zero <= at + 1 && zero <= TOP; zero++) {
      if (!is_byte(step, zero)) continue;
      const fit f = fit_at(w, n, scale, step, zero);
      if (best.error >= 0 && f.error >= best.error) continue;
      best = f;
      *to = (uint8_t)((zero ^ 8) << 4 | step);
    }
  }
  if (best.error < 0) { /* no zero point nearby has a byte for its range: the middle one has */
    best = fit_at(w, n, scale, TOP, 8);
    *to = TOP;
  }
  return best;
}

/* Steps and zero points of all groups at `scale`; the scale that then fits best goes to *fitted. Returns the squared error. */
static double choose_steps(const float *w, size_t k, size_t group, const float *own, float scale, uint8_t *steps,
                           float *fitted) {
  fit all = {0};
  for (size_t k0 = 0, g = 0; k0 < k; k0 += group, g++) {
    const fit f = choose_step(w + k0, k - k0 < group ? k - k0 : group, scale, own[2 * g], own[2 * g + 1],
                              steps + g * QK_PANEL);
    all = (fit){all.error + f.error, all.wq + f.wq, all.qq + f.qq};
  }
  *fitted = all.qq > 0 ? (float)(all.wq / all.qq) : scale;
  return all.error;
}

/* Scale and minimum that a group would have alone: a grid that 0 lies on. */
static void own_grid(const float *w, size_t n, float own[2]) {
  qn_pack_grid(w, n, TOP, &own[0], &own[1]);
  const float end = own[1] + own[0] * TOP;
  if (own[1] > 0) own[0] = end / TOP, own[1] = 0;
  if (end < 0) own[0] = -own[1] / TOP;
}

float qn_pack_zeros(const float *w, size_t k, size_t group, float *own, uint8_t *steps) {
  /* Of the least scale at which every group has its step and every weight a byte. */
  static const float factors[] = {0.9f, 1.0f, 1.1f, 1.22f, 1.4f};
  float most = 0, best_scale = 0, fitted;
  double best = -1;
  for (size_t k0 = 0, g = 0; k0 < k; k0 += group, g++) {
    const size_t n = k - k0 < group ? k - k0 : group;
    own_grid(w + k0, n, own + 2 * g);
    most = own[2 * g] / TOP > most ? own[2 * g] / TOP : most;
    for (size_t i = 0; i < n; i++) {
      const float a = (w[k0 + i] < 0 ? -w[k0 + i] : w[k0 + i]) / 127.0f;
      most = a > most ? a : most;
    }
  }
  for (size_t g = 0; g * group < k; g++) steps[g * QK_PANEL] = 1;
  if (most < TINY) return 0;
  for (size_t c = 0; c < sizeof factors / sizeof factors[0]; c++) {
    const float scale = most * factors[c];
    const double error = choose_steps(w, k, group, own, scale, steps, &fitted);
    if (best < 0 || error < best) best = error, best_scale = fitted;
  }
  choose_steps(w, k, group, own, best_scale, steps, &fitted);
  return fitted > TINY ? fitted : best_scale;
}
