/* check_static.h - operations of static recipes of a set against the reference, and the reference against their meaning: codes of 16
 * bits, norms between codes, codes as weights. */
#ifndef CHECK_STATIC_H
#define CHECK_STATIC_H
#include "tests/kernels/check_codes.h"

/* Codes of 16 bits as outputs of both, given a scale. */
typedef struct planes_pair {
  codes_pair high;
  pair low, low_start;
} planes_pair;
static planes_pair planes_outputs(size_t rows, size_t d) {
  planes_pair p = {.high = codes_outputs(rows, d)};
  p.low = outputs(rows * p.high.ref.ld, 1);
  p.low_start = outputs(rows * 4, 4);
  give(&p.high.ref, 1);
  ((float *)(uintptr_t)p.high.ref.given_zero)[0] = (float)((int)below(32767) - 16383);
  p.high.ref.group_start = p.high.got.group_start = NULL;
  p.high.got.given_scale = p.high.ref.given_scale, p.high.got.given_zero = p.high.ref.given_zero;
  p.high.ref.low = p.low.ref, p.high.ref.low_start = p.low_start.ref;
  p.high.got.low = p.low.got, p.high.got.low_start = p.low_start.got;
  return p;
}
static int same_planes(const planes_pair *p) {
  return same_bytes("codes", p->high.codes) && same_floats("scale", p->high.scale) &&
         same_bytes("start", p->high.start) && same_floats("zero", p->high.zero) && same_bytes("low", p->low) &&
         same_bytes("low_start", p->low_start);
}

static int check_planes(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ldx = d + below(2) * below(20), cut[8], bad = 0;
  const float *x = rows_of(rows, ldx, d, below(2) ? KINDS : CALM_KINDS), *smooth = smooth_of(d);
  planes_pair p = planes_outputs(rows, d);
  const size_t want = ref->quantize(x, ldx, (uint32_t)d, smooth, &p.high.ref, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++)
    bad += t->quantize(x, ldx, (uint32_t)d, smooth, &p.high.got, cut[i], cut[i + 1]);
  return same_planes(&p) && same_count("quantize", want, bad);
}

/* Rows of codes as a norm takes them; as floats, in one case of some. */
static qk_rows values_of(size_t rows, size_t d, int may_be_floats) {
  qk_rows x = {.ld = qk_round_up(d, 16) + below(3) * 16};
  if (may_be_floats && below(4) == 0) {
    x.floats = rows_of(rows, x.ld, d, CALM_KINDS);
    return x;
  }
  const size_t bytes = rows * x.ld;
  int8_t *codes = buffer(bytes, 1), *low = buffer(bytes, 1);
  fill_codes(codes, bytes);
  fill_codes(low, bytes);
  x.codes = codes;
  x.site = sites_like(d, below(2) ? 16 : 8);
  if (x.site.bits == 16) x.low = low;
  return x;
}
static qk_norm_q8 norm_q8_of(size_t rows, size_t d) {
  qk_norm_q8 op = {
      .x = values_of(rows, d, 1),
      .norm = {.gain = vector_of(d, CALM_KINDS), .bias = vector_of(d, CALM_KINDS), .d = (uint32_t)d, .eps = 1e-5f}};
  if (below(4)) op.residual = values_of(rows, d, 1);
  if (below(2)) op.gain = vector_of(d, CALM_KINDS);
  if (below(3)) op.sum = sites_like(d, below(2) ? 16 : 8);
  op.norm.ldo = d + below(20);
  return op;
}
static int check_embed_sum(const qk_table *ref, const qk_table *t) { return check_embed_as(ref, t, 1); }
static int check_norm_q8(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(7), d = row_size();
  size_t cut[8], bad = 0;
  qk_norm_q8 a = norm_q8_of(rows, d), b = a;
  const int wide = below(2) != 0;
  planes_pair p = planes_outputs(rows, d);
  codes_pair c = any_codes(rows, d);
  a.norm.q = wide ? p.high.ref : c.ref, b.norm.q = wide ? p.high.got : c.got;
  pair y = outputs_rows(rows, a.norm.ldo, d);
  a.norm.out = y.ref, b.norm.out = y.got;
  const size_t want = ref->norm_q8(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->norm_q8(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, a.norm.ldo, d) && same_planes(&p) && same_codes(&c) && same_count("norm_q8", want, bad);
}

static int check_panels_q8(const qk_table *ref, const qk_table *t) {
  const size_t n = 1 + below(140), k = 1 + below(140), transposed = below(2), rows = transposed ? k : n;
  const size_t d = transposed ? n : k, ldx = d + below(2) * below(40);
  int8_t *x = buffer((rows - 1) * ldx + d, 1);
  fill_codes(x, (rows - 1) * ldx + d);
  pair panels = outputs(qk_weight_bytes(n, k, 8), 64), sums = outputs(n * 4, 4);
  qk_panels_q8 a = {x, ldx, (uint32_t)n, (uint32_t)k, (uint32_t)transposed, panels.ref, sums.ref}, b = a;
  b.panels = panels.got, b.sums = sums.got;
  ref->panels_q8(&a);
  t->panels_q8(&b);
  return same_bytes("panels", panels) && same_bytes("sums", sums);
}

/* Inputs of 16 bits: codes and a low plane with its start. */
static void add_low(qk_codes *q, size_t rows, size_t k) {
  const qk_codes low = codes_of(rows, k, below(6));
  q->low = low.codes, q->low_start = low.start;
  for (size_t r = 0; r < rows; r++) q->zero[r] = (float)((int)below(32767) - 16383);
}
static int check_gemm_q8_planes(const qk_table *ref, const qk_table *t) {
  const size_t m = product_rows(), n = product_cols(), k = product_k(), ldo = n + below(20), inputs = below(3);
  qk_gemm_q8 a = gemm_q8_of(m, n, k, n, ldo), b;
  if (inputs) add_low(&a.a, m, k);
  const qk_sites s = sites_like(n, 16);
  planes_pair p = planes_outputs(m, n);
  pair y = outputs_rows(m, ldo, n);
  a.by = s.by, a.zero = s.zero, a.ldc = p.high.ref.ld;
  b = a;
  if (inputs == 1) {
    a.out = y.ref, b.out = y.got;
  } else {
    a.codes = p.high.ref.codes, a.low = p.high.ref.low;
    b.codes = p.high.got.codes, b.low = p.high.got.low;
  }
  ref->gemm_q8(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_Q8, m, qk_panels(n));
  if (!same_rows("out", y, ldo, n) || !same_planes(&p)) return 0;
  if (inputs == 1) return 1;
  ref->start_q8(&p.high.ref, (uint32_t)n, 0, m);
  t->start_q8(&p.high.got, (uint32_t)n, 0, m);
  return same_planes(&p);
}

/* ---- what they mean ---- */

/* A product of 16-bit codes, in double, and its output as codes of 16 bits. */
static int mean_gemm_q8_planes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t m = 1 + below(3), n = product_cols(), k = product_k(), ldc = n + below(20);
  qk_gemm_q8 op = gemm_q8_of(m, n, k, n, n);
  op.act = QK_ACT_NONE;
  add_low(&op.a, m, k);
  float *y = buffer(m * n * 4, 4);
  op.out = y;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < n; c++) {
      double sum = 0, size = 0;
      for (size_t i = 0; i < k; i++) {
        const size_t at = r * op.a.ld + i;
        const int w = (int)op.w[c / 16 * 16 * qk_k8(k) + i / 4 * 64 + c % 16 * 4 + i % 4] - 128;
        const double x = 128.0 * op.a.codes[at] + op.a.low[at] - (double)op.a.zero[r];
        sum += w * x;
        size += fabs(w * 32767.0);
      }
      const double scale = (double)op.w_scale[c] * (double)op.a.scale[r], bias = op.bias ? (double)op.bias[c] : 0;
      if (isfinite(y[r * n + c]) &&
          !same_value("y", (double)y[r * n + c], sum * scale + bias, 1e-6 * (size * scale + fabs(bias)) + 1e-30))
        return 0;
    }
  const qk_sites s = sites_like(n, 16);
  int8_t *codes = buffer(m * ldc, 1), *low = buffer(m * ldc, 1);
  op.codes = codes, op.low = low, op.ldc = ldc, op.by = s.by, op.zero = s.zero, op.out = NULL;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < n; c++) {
      const float code = fmaf(y[r * n + c], s.by[c / 16], s.zero[c / 16]);
      const int want = (int)rintf(fminf(fmaxf(code, -16383), 16383)), got = 128 * codes[r * ldc + c] + low[r * ldc + c];
      if (got != want || codes[r * ldc + c] != want / 128)
        return failed("code %zu of row %zu: %d, not %d", c, r, got, want);
    }
  return 1;
}

static float row_value(const qk_rows *x, size_t r, size_t i) {
  const size_t at = r * x->ld + i;
  if (!x->codes) return x->floats ? x->floats[at] : 0.0f;
  const int code = x->low ? 128 * x->codes[at] + x->low[at] : x->codes[at];
  return ((float)code - x->site.zero[i / 16]) * x->site.scale[i / 16];
}
/* The norm of the rounded sum is norm of it as floats. */
static int mean_norm_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t rows = 1 + below(6), d = row_size();
  qk_norm_q8 op = norm_q8_of(rows, d);
  float *x = buffer(rows * d * 4, 4), *want = buffer(rows * d * 4, 4), *got = buffer(rows * op.norm.ldo * 4, 4);
  const float limit = op.sum.bits == 16 ? 16383.0f : 127.0f;
  const int add = op.residual.codes || op.residual.floats;
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < d; i++) {
      float v = row_value(&op.x, r, i);
      if (add && op.gain)
        v += row_value(&op.residual, r, i) * op.gain[i];
      else if (add)
        v += row_value(&op.residual, r, i);
      if (op.sum.by) {
        const float zero = op.sum.zero[i / 16], code = fmaf(v, op.sum.by[i / 16], zero);
        v = (rintf(code > -limit ? code < limit ? code : limit : -limit) - zero) * op.sum.scale[i / 16];
      }
      x[r * d + i] = v;
    }
  qk_norm plain = op.norm;
  plain.x = x, plain.ldx = d, plain.out = want, plain.ldo = d;
  op.norm.out = got;
  if (t->norm(&plain, 0, rows) != t->norm_q8(&op, 0, rows)) return failed("another count");
  for (size_t r = 0; r < rows; r++)
    if (memcmp(want + r * d, got + r * op.norm.ldo, d * 4) && isfinite(want[r * d])) return failed("row %zu", r);
  return 1;
}

static int mean_panels_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = 1 + below(70), k = 1 + below(140), k8 = qk_k8(k), transposed = below(2);
  const size_t ldx = transposed ? n : k;
  int8_t *x = codes_vector(n * k);
  uint8_t *panels = buffer(qk_weight_bytes(n, k, 8), 64);
  int32_t *sums = buffer(n * 4, 4);
  const qk_panels_q8 op = {x, ldx, (uint32_t)n, (uint32_t)k, (uint32_t)transposed, panels, sums};
  t->panels_q8(&op);
  for (size_t r = 0; r < qk_panels(n) * 16; r++) {
    int32_t sum = 0;
    for (size_t c = 0; c < k8; c++) {
      const int want = r < n && c < k ? transposed ? x[c * ldx + r] : x[r * ldx + c] : 0;
      const int got = panels[r / 16 * 16 * k8 + c / 4 * 64 + r % 16 * 4 + c % 4] - 128;
      if (got != want) return failed("row %zu, column %zu: %d, not %d", r, c, got, want);
      sum += want;
    }
    if (r < n && sums[r] != sum) return failed("sum of row %zu", r);
  }
  return 1;
}
#endif
