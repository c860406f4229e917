/* mean_transform.h - inputs in another basis, and measured codes of few bits: the reference against what they mean, in double. */
#ifndef MEAN_TRANSFORM_H
#define MEAN_TRANSFORM_H
#include "tests/kernels/check_meaning.h"
#include "tests/kernels/check_transform.h"

static int mean_bits(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  const uint32_t grouped = below(3) == 0, symmetric = below(3) == 0;
  codes_pair c = codes_like(1, d, grouped, symmetric);
  lower(&c);
  return mean_codes(t, d, c);
}

/* Entry (output, input) of panels. */
static double entry(const int16_t *p, size_t block, size_t o, size_t i) {
  return p[o / 16 * block * 16 + i / 2 * 32 + o % 16 * 2 + i % 2] / 8192.0;
}
static void rotated(const int16_t *p, size_t block, size_t d, double *y) {
  double was[512];
  memcpy(was, y, d * sizeof *y);
  for (size_t j = 0; j < d; j++) {
    y[j] = 0;
    for (size_t i = 0; i < block; i++) y[j] += was[j / block * block + i] * entry(p, block, j % block, i);
  }
}

static int mean_hadamard(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t h = PICK(16, 32, 64, 128, 256);
  const float *x = vector_of(h, UNIFORM + 1);
  float *y = buffer(h * 4, 4);
  memcpy(y, x, h * 4);
  const qk_rotate op = {.x = y, .ldx = h, .heads = 1, .h = (uint32_t)h, .hadamard = 1};
  t->rotate(&op, 0, 1);
  for (size_t j = 0; j < h; j++) {
    double want = 0;
    for (size_t i = 0; i < h; i++) want += (__builtin_popcountll(i & j) % 2 ? -1 : 1) * (double)x[i];
    if (!same_value("channel", (double)y[j], want / sqrt((double)h), 1e-4)) return 0;
  }
  return 1;
}

/* What the codes of 8 bits stand for is the row times the matrices, within a step and what codes of 14 bits lose. */
static int mean_transform(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t block = 16 * PICK(1, 2, 3, 4, 8, 16), d = block * (1 + below(512 / block));
  const float *x = vector_of(d, UNIFORM + 1);
  qk_transform tr = a_transform(block, d, 0);
  tr.smooth = NULL;
  const uint32_t grouped = below(2) == 0, symmetric = grouped || below(2) == 0;
  codes_pair c = codes_like(1, d, grouped, symmetric);
  double y[512], was[512], most = 0;
  for (size_t i = 0; i < d; i++) y[i] = x[i];
  if (tr.first) rotated(tr.first, block, d, y);
  memcpy(was, y, sizeof y);
  if (tr.order)
    for (size_t i = 0; i < d; i++) y[i] = was[tr.order[i]];
  if (tr.second) rotated(tr.second, block, d, y);
  if (tr.signs) {
    memcpy(was, y, sizeof y);
    for (size_t j = 0; j < d; j++) {
      y[j] = 0;
      for (size_t i = 0; i < block; i++) {
        const size_t at = j / block * block + i;
        y[j] += was[at] * tr.signs[at] * (__builtin_popcountll(i & j % block) % 2 ? -1 : 1) / sqrt((double)block);
      }
    }
  }
  void *scratch = buffer(qk_transform_scratch(d), 64);
  if (t->transform(&tr, x, d, (uint32_t)d, &c.got, scratch, 0, 1)) return failed("a finite row is counted");
  for (size_t i = 0; i < d; i++) most = fmax(most, fabs(y[i]));
  for (size_t i = 0; i < d; i++) {
    const size_t g = grouped ? i / c.got.group : 0;
    const double scale = (double)c.got.scale[g], got = ((double)c.got.codes[i] - (double)c.got.zero[g]) * scale;
    const double error = 0.51 * scale + 4.0 / 2048 * sqrt((double)block) + most * 1e-6;
    if (fabs(got - y[i]) > error) return failed("channel %zu is %g, not %g", i, got, y[i]);
  }
  return 1;
}
#endif
