/* rotation.c - rotary frequencies (rotation.h). Powers by series of our own: the C library's differ from machine to machine. */
#include "model/rotation.h"

#define LN_2 0.693147180559945309417
#define TWO_PI 6.28318530717958647693

/* x > 0: x = m * 2^e with m in [2/3, 4/3], and ln m = 2 atanh((m - 1) / (m + 1)): z^2 <= 1/25, so that 14 terms reach 1e-20. */
static double natural_log(double x) {
  int e = 0;
  for (; x > 4.0 / 3; x *= 0.5) e++;
  for (; x < 2.0 / 3; x *= 2.0) e--;
  const double z = (x - 1) / (x + 1), square = z * z;
  double sum = 0;
  for (int n = 27; n > 0; n -= 2) sum = sum * square + 1.0 / n;
  return 2 * z * sum + e * LN_2;
}

/* |x| < 700: x = r + e ln 2 with |r| <= 0.35, and 18 terms of the series. */
static double exponential(double x) {
  const int e = (int)(x / LN_2 + (x < 0 ? -0.5 : 0.5));
  const double r = x - e * LN_2;
  double sum = 1, power = 1;
  for (int n = 18; n > 0; n--) sum = 1 + sum * r / n;
  for (int i = 0; i < e; i++) power *= 2;
  for (int i = 0; i > e; i--) power *= 0.5;
  return sum * power;
}

static double scaled(const qn_rotation *r, double frequency) {
  if (r->linear > 0) frequency /= r->linear;
  if (!(r->factor > 0)) return frequency;
  const double waves = r->original * frequency / TWO_PI;
  if (waves > r->high) return frequency;
  if (waves < r->low) return frequency / r->factor;
  const double kept = (waves - r->low) / (r->high - r->low);
  return (1 - kept) * (frequency / r->factor) + kept * frequency;
}

void qn_rotation_frequencies(const qn_rotation *r, uint32_t dimensions, const float *factors, float *out) {
  const double turns = natural_log(r->base);
  for (uint32_t i = 0; i < dimensions / 2; i++)
    out[i] = (float)(scaled(r, exponential(-turns * (2.0 * i) / dimensions)) / (factors ? (double)factors[i] : 1.0));
}
