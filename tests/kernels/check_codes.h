/* check_codes.h - operations on codes of static sites of a set against the reference. */
#ifndef CHECK_CODES_H
#define CHECK_CODES_H
#include "tests/kernels/check_products.h"

/* Codes of any value, or of few, or every one of the 256 as far as there is room. */
static void fill_codes(int8_t *x, size_t n) {
  const size_t kind = below(6);
  const int span = (int)below(256) + 1;
  for (size_t i = 0; i < n; i++) {
    if (kind == 0) x[i] = (int8_t)(uint8_t)i;
    if (kind == 1) x[i] = below(2) ? -128 : 127;
    if (kind == 2) x[i] = (int8_t)((int)below((size_t)span) - 128);
    if (kind == 3) x[i] = 127;
    if (kind > 3) x[i] = (int8_t)(uint8_t)rng();
  }
}
static int8_t *codes_vector(size_t n) {
  int8_t *x = buffer(n, 1);
  fill_codes(x, n);
  return x;
}

static int check_lookup_q8(const qk_table *ref, const qk_table *t) {
  const size_t n = below(4) ? row_size() : PICK(0, 256, 1000, 1536), in_place = below(2);
  const int8_t *table = codes_vector(256), *x = codes_vector(n);
  pair y = outputs(n, 1);
  if (in_place && n) memcpy(y.ref, x, n), memcpy(y.got, x, n);
  ref->lookup_q8(table, in_place ? y.ref : x, y.ref, n);
  t->lookup_q8(table, in_place ? y.got : x, y.got, n);
  return same_bytes("y", y);
}

static int check_start_q8(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), cut[8];
  codes_pair c = codes_outputs(rows, d);
  for (size_t r = 0; r < rows; r++) fill_codes(c.ref.codes + r * c.ref.ld, d);
  if (rows) memcpy(c.codes.got, c.codes.ref, c.codes.bytes);
  ref->start_q8(&c.ref, (uint32_t)d, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) t->start_q8(&c.got, (uint32_t)d, cut[i], cut[i + 1]);
  return same_codes(&c);
}

/* Steps at which the weights of far scores vanish, stay, or are all 1; or any table. */
static int16_t *exp_table_of(float step) {
  int16_t *table = buffer(32 * sizeof *table, 2);
  qk_exp_build(table, step);
  for (size_t i = 0; i < 32 && below(6) == 0; i++) table[i] = (int16_t)below(32768);
  return table;
}
static int check_softmax_q8(const qk_table *ref, const qk_table *t) {
  size_t rows = below(5), n = row_size(), ldx = n + below(2) * below(40), cut[8];
  int8_t *x = buffer(rows ? (rows - 1) * ldx + n : 0, 1);
  for (size_t r = 0; r < rows; r++) fill_codes(x + r * ldx, r + 1 < rows ? ldx : n);
  codes_pair c = codes_outputs(rows, n);
  qk_softmax_q8 a = {.x = x,
                     .exp = exp_table_of(fabsf(scaled(-8, 9))),
                     .ldx = ldx,
                     .n = (uint32_t)n,
                     .by = below(4) ? 254.0f : fabsf(scaled(0, 20)),
                     .zero = below(4) ? -127.0f : (float)((int)below(255) - 127)};
  qk_softmax_q8 b = a;
  if (below(2)) c.ref.limits = c.got.limits = limits_of(1);
  a.q = c.ref, b.q = c.got;
  ref->softmax_q8(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) t->softmax_q8(&b, cut[i], cut[i + 1]);
  return same_codes(&c);
}

/* A site for every group of columns, groups being runs of panels of any width; both ends and the middle of its codes are met. */
static void sites_of(qk_gemm_q8 *op, size_t panels) {
  float *by = buffer(panels * 4, 4), *zero = buffer(panels * 4, 4);
  for (size_t p = 0; p < panels; p++) {
    const size_t same = p && below(3);
    by[p] = same ? by[p - 1] : fabsf(scaled(-26, 40));
    zero[p] = same ? zero[p - 1] : (float)((int)below(255) - 127);
  }
  op->by = by, op->zero = zero;
  if (below(2)) op->limits = limits_of(panels);
}
static int check_gemm_q8_codes(const qk_table *ref, const qk_table *t) {
  const size_t large = below(8) == 0;
  size_t m = large ? PICK(31, 32, 33, 36, 70, 99) : product_rows(), n = large ? PICK(96, 130, 272) : product_cols();
  size_t k = large ? PICK(384, 832, 1600) : product_k(), ldr = n + below(2) * below(20), cut[8];
  qk_gemm_q8 a = gemm_q8_of(m, n, k, ldr, 0), b;
  sites_of(&a, qk_panels(n));
  if (below(2)) a.residual = rows_of(m, ldr, n, CALM_KINDS);
  codes_pair c = codes_outputs(m, n);
  a.ldc = c.ref.ld;
  b = a;
  a.codes = c.ref.codes, b.codes = c.got.codes;
  ref->gemm_q8(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_Q8, m, qk_panels(n));
  if (!same_codes(&c)) return 0;
  ref->start_q8(&c.ref, (uint32_t)n, 0, m);
  for (size_t i = 0, k1 = cuts(m, 1, cut); i < k1; i++) t->start_q8(&c.got, (uint32_t)n, cut[i], cut[i + 1]);
  return same_codes(&c);
}
#endif
