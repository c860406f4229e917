/* check_transform.h - inputs in another basis, and measured codes of few bits and with a clip (kernels.h: transform, qk_codes): sets against
 * the reference, and the reference against what they mean, in double. */
#ifndef CHECK_TRANSFORM_H
#define CHECK_TRANSFORM_H
#include "tests/kernels/check_meaning.h"

/* Of codes that are measured. */
static void lower(codes_pair *c) {
  c->ref.bits = c->got.bits = (uint32_t)PICK(0, 4, 4, 6, 8);
  c->ref.clip = c->got.clip = below(2) ? 0.0f : below(4) ? 0.5f + 0.5f * fabsf(uniform()) : 1.0f;
}

static int check_bits(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ld = d + below(2) * below(20);
  float *x = rows_of(rows, ld, d, KINDS);
  skew(x, rows, ld, d);
  const float *smooth = smooth_of(d);
  codes_pair c = codes_like(rows, d, below(3) == 0, below(3) == 0);
  lower(&c);
  return quantize_both(ref, t, x, ld, rows, d, smooth, &c.ref, &c.got) && same_codes(&c);
}

/* Panels of a rotation: of random entries that add up to no more than an orthogonal matrix may, or of any. */
static int16_t *a_rotation(size_t block, int any) {
  int16_t *p = buffer(qk_rotation_bytes(block), 64);
  const double most = 8192.0 / sqrt((double)block);
  for (size_t i = 0; i < block * block; i++) p[i] = (int16_t)(any ? (int)below(65536) - 32768 : (int)(uniform() * most));
  return p;
}
static int32_t *an_order(size_t d) {
  int32_t *p = buffer(d * 4, 4);
  for (size_t i = 0; i < d; i++) p[i] = (int32_t)i;
  for (size_t i = d; i > 1; i--) {
    const size_t j = below(i);
    const int32_t was = p[j];
    p[j] = p[i - 1], p[i - 1] = was;
  }
  return p;
}
static int8_t *some_signs(size_t d) {
  int8_t *p = buffer(d, 1);
  for (size_t i = 0; i < d; i++) p[i] = below(2) ? 1 : -1;
  return p;
}
static qk_transform a_transform(size_t block, size_t d, int any) {
  qk_transform tr = {.block = (uint32_t)block, .smooth = smooth_of(d)};
  if (below(4)) tr.first = a_rotation(block, any);
  if (below(4)) tr.order = an_order(d);
  const size_t second = below(3);
  if (second == 1) tr.second = a_rotation(block, any);
  if (second == 2 && !(block & (block - 1))) tr.signs = some_signs(d);
  return tr;
}

static int check_transform(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(3) ? below(50) : below(4), block = 16 * (below(2) ? PICK(1, 2, 4, 8, 16) : 1 + below(16));
  const size_t d = block * (1 + below(512 / block)), ld = d + below(2) * below(20);
  float *x = rows_of(rows, ld, d, KINDS);
  skew(x, rows, ld, d);
  const qk_transform tr = a_transform(block, d, below(8) == 0);
  codes_pair c = codes_like(rows, d, 0, below(3) == 0);
  lower(&c);
  size_t cut[8], bad = 0;
  void *scratch = buffer(qk_transform_scratch(d), 64);
  const size_t want = ref->transform(&tr, x, ld, (uint32_t)d, &c.ref, scratch, 0, rows);
  memset(scratch, 0x5a, qk_transform_scratch(d));
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++)
    bad += t->transform(&tr, x, ld, (uint32_t)d, &c.got, scratch, cut[i], cut[i + 1]);
  return same_codes(&c) && same_count("transform", want, bad);
}

static int mean_bits(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  codes_pair c = codes_like(1, d, below(3) == 0, below(3) == 0);
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

/* What the codes of 8 bits stand for is the row times the matrices, within a step and what codes of 14 bits lose. */
static int mean_transform(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t block = 16 * PICK(1, 2, 3, 4, 8, 16), d = block * (1 + below(512 / block));
  const float *x = vector_of(d, UNIFORM + 1);
  qk_transform tr = a_transform(block, d, 0);
  tr.smooth = NULL;
  codes_pair c = codes_like(1, d, 0, below(2) == 0);
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
    const double got = ((double)c.got.codes[i] - (double)c.got.zero[0]) * (double)c.got.scale[0];
    const double error = 0.51 * (double)c.got.scale[0] + 4.0 / 2048 * sqrt((double)block) + most * 1e-6;
    if (fabs(got - y[i]) > error) return failed("channel %zu is %g, not %g", i, got, y[i]);
  }
  return 1;
}
#endif
