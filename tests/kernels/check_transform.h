/* check_transform.h - inputs in another basis, and measured codes of few bits and with a clip (kernels.h: transform, qk_codes): sets against
 * the reference. */
#ifndef CHECK_TRANSFORM_H
#define CHECK_TRANSFORM_H
#include "tests/kernels/check_codes.h"

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
  const uint32_t grouped = below(3) == 0, symmetric = below(3) == 0;
  codes_pair c = codes_like(rows, d, grouped, symmetric);
  lower(&c);
  return quantize_both(ref, t, x, ld, rows, d, smooth, &c.ref, &c.got) && same_codes(&c);
}

/* Panels of a rotation: of random entries that add up to no more than an orthogonal matrix may, or of any, or of next to none. */
static int16_t *a_rotation(size_t block, int any) {
  int16_t *p = buffer(qk_rotation_bytes(block), 64);
  const double most = 8192.0 / sqrt((double)block);
  const int small = any && below(2);
  for (size_t i = 0; i < block * block; i++)
    p[i] = (int16_t)(small ? below(40) == 0 : any ? (int)below(65536) - 32768 : (int)(uniform() * most));
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
  const uint32_t grouped = below(3) == 0, symmetric = grouped || below(3) == 0;
  codes_pair c = codes_like(rows, d, grouped, symmetric);
  lower(&c);
  size_t cut[8], bad = 0;
  void *scratch = buffer(qk_transform_scratch(d), 64);
  const size_t want = ref->transform(&tr, x, ld, (uint32_t)d, &c.ref, scratch, 0, rows);
  memset(scratch, 0x5a, qk_transform_scratch(d));
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++)
    bad += t->transform(&tr, x, ld, (uint32_t)d, &c.got, scratch, cut[i], cut[i + 1]);
  return same_codes(&c) && same_count("transform", want, bad);
}
#endif
