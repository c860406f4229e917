/* orthogonal.c - see orthogonal.h. */
#include "quant/orthogonal.h"

#include <string.h>

#include "quant/calibrate.h"

/* The sum of 12 uniform numbers less its mean: near to normal, without a function of libm. */
static double draw_normal(uint64_t seed, uint64_t i) {
  double sum = -6;
  for (uint64_t j = 0; j < 12; j++) sum += (double)(qn_draw(seed, 12 * i + j) >> 11) * 0x1p-53;
  return sum;
}

static double dot(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* Gram and Schmidt twice: once more makes up for what cancellation has left. */
static void orthonormalize(double *m, size_t n) {
  for (size_t r = 0; r < n; r++) {
    double *x = m + r * n;
    for (int turn = 0; turn < 2; turn++)
      for (size_t p = 0; p < r; p++) {
        const double by = dot(x, m + p * n, n);
        for (size_t i = 0; i < n; i++) x[i] -= by * m[p * n + i];
      }
    const double by = 1 / __builtin_sqrt(dot(x, x, n));
    for (size_t i = 0; i < n; i++) x[i] *= by;
  }
}

void qn_orthogonal_random(double *m, size_t n, uint64_t seed) {
  for (size_t i = 0; i < n * n; i++) m[i] = draw_normal(seed, i);
  orthonormalize(m, n);
}

/* Row i >= 1 of the orthogonal matrix that begins with a uniform row and has zeros above its second diagonal: the product of the
   plane rotations of 2406.01721's base matrix. */
static double contrast(size_t i, size_t j) {
  const double d = (double)i * (double)(i + 1);
  return j < i ? 1 / __builtin_sqrt(d) : j == i ? -(double)i / __builtin_sqrt(d) : 0;
}

void qn_orthogonal_spread(double *m, size_t n, uint64_t seed, double *work) {
  const double each = 1 / __builtin_sqrt((double)n);
  for (size_t j = 0; j < n; j++) m[j] = each;
  if (n < 2) return;
  qn_orthogonal_random(work, n - 1, seed);
  for (size_t r = 1; r < n; r++)
    for (size_t j = 0; j < n; j++) {
      double sum = 0;
      for (size_t i = j > 1 ? j : 1; i < n; i++) sum += work[(r - 1) * (n - 1) + i - 1] * contrast(i, j);
      m[r * n + j] = sum;
    }
}

/* Gauss and Jordan with the largest pivot of each column. */
void qn_orthogonal_inverse(const int16_t *m, size_t n, double *inverse, double *work) {
  const size_t ld = 2 * n;
  memset(work, 0, n * ld * sizeof *work);
  for (size_t r = 0; r < n; r++) {
    for (size_t i = 0; i < n; i++) work[r * ld + i] = (double)m[r * n + i] / QN_ROTATION_ONE;
    work[r * ld + n + r] = 1;
  }
  for (size_t c = 0; c < n; c++) {
    size_t best = c;
    for (size_t r = c + 1; r < n; r++)
      if (__builtin_fabs(work[r * ld + c]) > __builtin_fabs(work[best * ld + c])) best = r;
    const double pivot = work[best * ld + c];
    for (size_t i = 0; i < ld; i++) {
      const double x = work[best * ld + i];
      work[best * ld + i] = work[c * ld + i];
      work[c * ld + i] = x / pivot;
    }
    for (size_t r = 0; r < n; r++) {
      const double by = work[r * ld + c];
      if (r == c || by == 0) continue;
      for (size_t i = c; i < ld; i++) work[r * ld + i] -= by * work[c * ld + i];
    }
  }
  for (size_t r = 0; r < n; r++) memcpy(inverse + r * n, work + r * ld + n, n * sizeof *inverse);
}
