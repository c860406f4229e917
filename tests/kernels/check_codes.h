/* check_codes.h - operations on codes of static sites: of a set against the reference, and the reference against its
 * definitions. */
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

/* ---- the reference against its definitions ---- */

static int code_of(float y, float by, float zero) {
  const float c = fmaf(y, by, zero);
  return (int)rintf(c > -127.0f ? c < 127.0f ? c : 127.0f : -127.0f);
}
/* Codes of a product are those of its floats; nothing else is written. */
static int mean_gemm_q8_codes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t m = 1 + below(3), n = product_cols(), k = product_k(), ldc = n + below(20);
  qk_gemm_q8 op = gemm_q8_of(m, n, k, n, n);
  sites_of(&op, qk_panels(n));
  float *y = buffer(m * n * 4, 4);
  op.out = y;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  int8_t *codes = buffer(m * ldc, 1);
  memset(codes, 0x55, m * ldc);
  op.codes = codes, op.ldc = ldc, op.out = NULL;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < ldc; c++) {
      const int want = c < n ? code_of(y[r * n + c], op.by[c / 16], op.zero[c / 16]) : 0x55;
      if (codes[r * ldc + c] != want) return failed("code %zu of row %zu: %d, not %d", c, r, codes[r * ldc + c], want);
    }
  return 1;
}

static int mean_start_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  codes_pair c = codes_outputs(1, d);
  fill_codes(c.got.codes, d);
  int8_t *before = buffer(d, 1);
  memcpy(before, c.got.codes, d);
  t->start_q8(&c.got, (uint32_t)d, 0, 1);
  int32_t sum = 0;
  for (size_t i = 0; i < c.got.ld; i++) {
    if (c.got.codes[i] != (i < d ? before[i] : 0)) return failed("code %zu became %d", i, c.got.codes[i]);
    sum += c.got.codes[i];
  }
  return c.got.start[0] == -128 * sum ? 1 : failed("start %d of the sum %d", c.got.start[0], sum);
}

/* Every entry is the nearest code, as nearly as the activation is exact. */
static int mean_lookup_build(const qk_table *ref, const qk_table *t) {
  (void)ref, (void)t;
  const qk_site in = {fabsf(scaled(-8, 6)) + 1e-3f, (float)((int)below(255) - 127)};
  const qk_site out = {fabsf(scaled(-8, 6)) + 1e-3f, (float)((int)below(255) - 127)};
  for (uint32_t act = 0; act < QK_ACT_KINDS; act++) {
    int8_t table[256];
    qk_lookup_build(table, act, in, out);
    for (int b = 0; b < 256; b++) {
      const double x = ((double)(b < 128 ? b : b - 256) - (double)in.zero) * (double)in.scale, cubed = x * x * x;
      const double gelu_tanh = x * 0.5 * (1 + tanh(sqrt(2 / 3.14159265358979324) * (x + 0.044715 * cubed)));
      const double want[QK_ACT_KINDS] = {x, x * 0.5 * (1 + erf(x * sqrt(0.5))), gelu_tanh, fmax(x, 0), tanh(x)};
      const double code = fmin(fmax(want[act] / (double)out.scale + (double)out.zero, -127), 127);
      const double error = 0.5 + (1e-6 * fmax(1, fabs(x)) + 1e-6 * fabs(want[act])) / (double)out.scale + 1e-4;
      if (!same_value("entry", table[b], code, error)) return failed("activation %u, code %d", act, b);
    }
  }
  return 1;
}

/* Against softmax in double. A weight is off by at most 1.51 of 32,767 (half a step for each table and for the product),
   so p by (1 + n p) of them, the largest weight being 1 of the sum; a code by half a step more. */
static int mean_softmax_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = row_size();
  const float step = fabsf(scaled(-8, 8)) + 0x1p-12f;
  const int8_t *x = codes_vector(n);
  int16_t table[32];
  qk_exp_build(table, step);
  codes_pair c = codes_outputs(1, n);
  const qk_softmax_q8 op = {
      .x = x, .exp = table, .q = c.got, .ldx = n, .n = (uint32_t)n, .by = 254.0f, .zero = -127.0f};
  t->softmax_q8(&op, 0, 1);
  int max = -128;
  double sum = 0;
  int32_t codes = 0;
  for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
  for (size_t i = 0; i < n; i++) sum += exp2((double)(x[i] - max) * (double)step);
  for (size_t i = 0; i < c.got.ld; i++) {
    codes += c.got.codes[i];
    if (i >= n && c.got.codes[i]) return failed("padding %zu is %d", i, c.got.codes[i]);
    if (i >= n) continue;
    const double p = exp2((double)(x[i] - max) * (double)step) / sum, off = (1 + (double)n * p) * 1.51 / 32766 / sum;
    if (!same_value("code", c.got.codes[i], p * 254 - 127, 0.5 + off * 254 + 1e-4)) return 0;
  }
  return c.got.start[0] == -128 * codes ? 1 : failed("start %d of the sum %d", c.got.start[0], codes);
}
#endif
