/* check_parts.h - codes in parts with scales of their own, of a set against the reference; and the product of them against what
 * hardware without it would do: a product for each part, joined afterwards. */
#ifndef CHECK_PARTS_H
#define CHECK_PARTS_H
#include "tests/kernels/check_static.h"

/* Parts of d channels in any order; any: as many as there are channels, and wherever they end (kernels/layout.h: qk_parts). */
static qk_parts parts_of(size_t d, int any) {
  const size_t unit = any && below(4) ? 1 : 16, blocks = (d + unit - 1) / unit, width = any ? PICK(1, 2, 6, 40) : 6;
  qk_part *part = buffer((any ? blocks : QK_PARTS) * sizeof *part, 8);
  qk_parts parts = {.part = part, .shifts = (uint32_t)below(2), .any = (uint32_t)any};
  const size_t most = any && below(4) ? blocks : 1 + below(any ? blocks : QK_PARTS);
  size_t at = 0;
  while (at < blocks) {
    const size_t left = blocks - at, n = parts.count + 1 == most ? left : 1 + below(left < width ? left : width);
    part[parts.count++] = (qk_part){.first = (uint32_t)(at * unit), .end = (uint32_t)((at + n) * unit)};
    at += n;
  }
  part[parts.count - 1].end = (uint32_t)d;
  for (uint32_t i = parts.count; i > 1; i--) {
    const size_t j = below(i);
    const qk_part p = part[j];
    part[j] = part[i - 1], part[i - 1] = p;
  }
  for (uint32_t i = 0; i < parts.count; i++) {
    part[i].shift = i ? (uint32_t)below(6) : 0;
    part[i].scale = fabsf(scaled(-6, 6));
  }
  return parts;
}

/* Outputs of codes in parts, of both. */
typedef struct parts_pair {
  codes_pair codes;
  pair starts;
} parts_pair;
static parts_pair parts_outputs(size_t rows, size_t d, int any) {
  parts_pair p = {.codes = codes_outputs(rows, d)};
  qk_codes *const both[2] = {&p.codes.ref, &p.codes.got};
  const qk_parts parts = parts_of(d, any);
  const qk_sites site = any && below(4) ? sites_by_column(d, 8) : sites_like(d, 8);
  p.starts = outputs(rows * QK_PARTS * 4, 4);
  memset(p.starts.ref, 0, p.starts.bytes), memset(p.starts.got, 0, p.starts.bytes);
  give(both[0], 1);
  ((float *)(uintptr_t)both[0]->given_zero)[0] = 1.0f;
  for (int i = 0; i < 2; i++) {
    both[i]->given_scale = p.codes.ref.given_scale, both[i]->given_zero = p.codes.ref.given_zero;
    both[i]->group_start = NULL, both[i]->symmetric = 0;
    both[i]->parts = parts, both[i]->site = site;
  }
  if (!any) both[0]->part_start = p.starts.ref, both[1]->part_start = p.starts.got;
  return p;
}
static int same_parts(const parts_pair *p) { return same_codes(&p->codes) && same_bytes("part_start", p->starts); }

static int check_quantize_as(const qk_table *ref, const qk_table *t, int any) {
  size_t rows = below(7), d = row_size(), ldx = d + below(2) * below(20), cut[8];
  const float *x = rows_of(rows, ldx, d, below(2) ? KINDS : CALM_KINDS), *smooth = smooth_of(d);
  parts_pair p = parts_outputs(rows, d, any);
  if (!quantize_both(ref, t, x, ldx, rows, d, smooth, &p.codes.ref, &p.codes.got) || !same_parts(&p)) return 0;
  for (size_t r = 0; r < rows; r++) fill_codes(p.codes.ref.codes + r * p.codes.ref.ld, d);
  if (rows) memcpy(p.codes.codes.got, p.codes.codes.ref, p.codes.codes.bytes);
  ref->start_q8(&p.codes.ref, (uint32_t)d, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) t->start_q8(&p.codes.got, (uint32_t)d, cut[i], cut[i + 1]);
  return same_parts(&p);
}

static int check_quantize_parts(const qk_table *ref, const qk_table *t) { return check_quantize_as(ref, t, 0); }
static int check_quantize_any_parts(const qk_table *ref, const qk_table *t) { return check_quantize_as(ref, t, 1); }

/* A norm to codes of a static site, of one scale or in parts, from codes of 8 bits or anything, of numbers or anything. */
static qk_norm_q8 norm_site_of(size_t rows, size_t d, parts_pair *p) {
  qk_norm_q8 op = norm_q8_of(rows, d);
  *p = parts_outputs(rows, d, 0);
  if (below(2)) {
    op.x = bytes_of(rows, d), op.residual = bytes_of(rows, d), op.gain = NULL;
    op.sum = sites_like(d, 8);
  }
  if (below(3) == 0) op.norm.bias = vector_of(d, KINDS), op.norm.gain = vector_of(d, KINDS);
  if (below(2)) return op;
  qk_codes *const both[2] = {&p->codes.ref, &p->codes.got};
  const float scale = both[0]->given_scale[0], zero = both[0]->given_zero[0];
  float *site = buffer(3 * qk_panels(d) * 4, 4);
  for (size_t i = 0; i < qk_panels(d); i++)
    site[i] = 1.0f / scale, site[qk_panels(d) + i] = scale, site[2 * qk_panels(d) + i] = zero;
  for (int i = 0; i < 2; i++) {
    both[i]->parts.count = 0, both[i]->part_start = NULL;
    both[i]->limits = both[0]->limits;
    both[i]->site = (qk_sites){site, site + qk_panels(d), site + 2 * qk_panels(d), 8, 0};
  }
  return op;
}
static size_t site_width(void) { return below(4) ? 64 * (1 + below(6)) : row_size(); }
static int check_norm_q8_site_as(const qk_table *ref, const qk_table *t, int ordered) {
  const size_t rows = below(7), d = site_width();
  parts_pair p;
  qk_norm_q8 a = norm_site_of(rows, d, &p), b = a;
  a.norm.q = p.codes.ref, b.norm.q = p.codes.got;
  a.norm.out = buffer(rows * a.norm.ldo * 4, 4), b.norm.out = buffer(rows * a.norm.ldo * 4, 4);
  if (ordered) reorder(&a, &b);
  return norm_q8_both(ref, t, &a, &b, rows) && same_parts(&p);
}
static int check_norm_q8_site(const qk_table *ref, const qk_table *t) { return check_norm_q8_site_as(ref, t, 0); }
static int check_norm_q8_site_order(const qk_table *ref, const qk_table *t) { return check_norm_q8_site_as(ref, t, 1); }
/* A norm between codes some of whose sites have a scale for each channel. */
static qk_norm_q8 norm_by_column_of(size_t rows, size_t d, parts_pair *p) {
  qk_norm_q8 op = norm_q8_of(rows, d);
  const size_t which = 1 + below(15);
  *p = parts_outputs(rows, d, which & 1);
  if (which & 2 && op.x.codes) op.x.site = sites_by_column(d, op.x.site.bits);
  if (which & 4 && op.residual.codes) op.residual.site = sites_by_column(d, op.residual.site.bits);
  if (which & 8) op.sum = sites_by_column(d, below(2) ? 16 : 8);
  return op;
}
static int check_norm_q8_columns(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(7), d = site_width();
  parts_pair p;
  qk_norm_q8 a = norm_by_column_of(rows, d, &p), b = a;
  a.norm.q = p.codes.ref, b.norm.q = p.codes.got;
  a.norm.out = buffer(rows * a.norm.ldo * 4, 4), b.norm.out = buffer(rows * a.norm.ldo * 4, 4);
  return norm_q8_both(ref, t, &a, &b, rows) && same_parts(&p);
}
/* Codes of a norm are those of its floats. */
static int norm_is_quantized(const qk_table *t, int by_column) {
  const size_t rows = 1 + below(6), d = site_width();
  parts_pair p;
  qk_norm_q8 op = by_column ? norm_by_column_of(rows, d, &p) : norm_site_of(rows, d, &p);
  float *out = buffer(rows * op.norm.ldo * 4, 4);
  op.norm.out = out;
  t->norm_q8(&op, 0, rows);
  const size_t bad = t->quantize(out, op.norm.ldo, (uint32_t)d, NULL, &p.codes.ref, 0, rows);
  op.norm.q = p.codes.got;
  return same_count("norm_q8", bad, t->norm_q8(&op, 0, rows)) && same_parts(&p);
}

static int mean_norm_q8_site(const qk_table *ref, const qk_table *t) {
  (void)ref;
  return norm_is_quantized(t, 0);
}
static int mean_norm_q8_columns(const qk_table *ref, const qk_table *t) {
  (void)ref;
  return norm_is_quantized(t, 1);
}

/* Inputs in parts of a product. */
static qk_gemm_q8 gemm_parts_of(size_t m, size_t n, size_t k, size_t ldr, size_t ldo, int any) {
  qk_gemm_q8 op = gemm_q8_of(m, n, k, ldr, ldo);
  op.a.parts = parts_of(k, any);
  if (!any) op.a.part_start = buffer(m * QK_PARTS * 4, 4), memset(op.a.part_start, 0, m * QK_PARTS * 4);
  for (size_t r = 0; r < m; r++) {
    op.a.zero[r] = 1.0f;
    for (uint32_t p = 0; p < op.a.parts.count && !any; p++) {
      int32_t sum = 0;
      for (size_t i = op.a.parts.part[p].first; i < op.a.parts.part[p].end; i++) sum += op.a.codes[r * op.a.ld + i];
      op.a.part_start[r * QK_PARTS + p] = -128 * sum;
    }
  }
  op.part_sums = vector_of(n, CALM_KINDS);
  return op;
}
/* Outputs by column: a scale for each. */
static void by_columns(qk_gemm_q8 *op, size_t n) {
  const qk_sites s = sites_by_column(n, 8);
  op->by = s.by, op->zero = s.zero, op->by_column = 1;
}
static int check_gemm_q8_parts_as(const qk_table *ref, const qk_table *t, int any) {
  const size_t large = !any && below(8) == 0, to_codes = below(3); /* any: the reference rounds once for each part */
  size_t m = large ? PICK(31, 32, 33, 36, 70, 99) : product_rows(), n = large ? PICK(96, 130, 272) : product_cols();
  size_t k = large ? PICK(384, 832, 1600) : product_k(), ldr = n + below(2) * below(20), ldo = n + below(20);
  qk_gemm_q8 a = gemm_parts_of(m, n, k, ldr, ldo, any), b;
  sites_of(&a, qk_panels(n));
  if (any && below(2)) by_columns(&a, n);
  if (below(2)) a.residual = rows_of(m, ldr, n, CALM_KINDS);
  codes_pair c = codes_outputs(m, n);
  pair y = outputs_rows(m, ldo, n);
  a.ldc = c.ref.ld;
  b = a;
  if (to_codes)
    a.codes = c.ref.codes, b.codes = c.got.codes;
  else
    a.out = y.ref, b.out = y.got;
  ref->gemm_q8(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_Q8, m, qk_panels(n));
  return same_codes(&c) && same_rows("out", y, ldo, n);
}
static int check_gemm_q8_parts(const qk_table *ref, const qk_table *t) { return check_gemm_q8_parts_as(ref, t, 0); }
static int check_gemm_q8_any_parts(const qk_table *ref, const qk_table *t) { return check_gemm_q8_parts_as(ref, t, 1); }
/* Products of every kind of inputs to codes, of 8 or 16 bits, whose columns have a scale each; and rows rounded to such a site. */
static int check_columns(const qk_table *ref, const qk_table *t) {
  const size_t m = product_rows(), n = product_cols(), k = product_k(), wide = below(2), inputs = below(2);
  qk_gemm_q8 a = gemm_q8_of(m, n, k, n, n), b;
  if (inputs) add_low(&a.a, m, k);
  by_columns(&a, n);
  planes_pair p = planes_outputs(m, n);
  a.ldc = p.high.ref.ld;
  b = a;
  a.codes = p.high.ref.codes, b.codes = p.high.got.codes;
  if (wide) a.low = p.high.ref.low, b.low = p.high.got.low;
  ref->gemm_q8(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_Q8, m, qk_panels(n));
  return same_planes(&p) && check_embed_as(ref, t, 2);
}

/* ---- what it means ---- */

/* A product of one part by itself: scales of 1, no zero points. Its memory serves every part. */
typedef struct one_part {
  float *ones, *none; /* [max(m, n)], [m] */
  int8_t *codes;
  int32_t *start, *w_sums;
  uint8_t *w;
} one_part;
static one_part one_part_of(size_t m, size_t n, size_t k) {
  one_part o = {.ones = buffer((m + n) * 4, 4), .none = buffer(m * 4, 4), .codes = buffer(m * qk_k8(k), 1)};
  o.start = buffer(m * 4, 4), o.w_sums = buffer(n * 4, 4), o.w = buffer(qk_weight_bytes(n, k, 8), 64);
  for (size_t i = 0; i < m + n; i++) o.ones[i] = 1.0f;
  memset(o.none, 0, m * 4);
  return o;
}
/* Columns first ... end - 1 of W as weights by themselves. */
static void take_columns(const one_part *o, const qk_gemm_q8 *op, const qk_part *part) {
  const size_t width = part->end - part->first, n = op->n;
  memset(o->w, 0x80, qk_weight_bytes(n, width, 8));
  for (size_t r = 0; r < n; r++) {
    o->w_sums[r] = 0;
    for (size_t i = 0; i < width; i++) {
      const size_t c = part->first + i, from = r / 16 * 16 * qk_k8(op->k) + c / 4 * 64 + r % 16 * 4 + c % 4;
      o->w[r / 16 * 16 * qk_k8(width) + i / 4 * 64 + r % 16 * 4 + i % 4] = op->w[from];
      o->w_sums[r] += op->w[from] - 128;
    }
  }
}
/* (float)S_p to out [m, n]. */
static void multiply_part(const qk_table *t, const one_part *o, const qk_gemm_q8 *op, const qk_part *part, size_t m,
                          float *out) {
  const size_t width = part->end - part->first, ld = qk_k8(width);
  memset(o->codes, 0, m * ld);
  for (size_t r = 0; r < m; r++) {
    memcpy(o->codes + r * ld, op->a.codes + r * op->a.ld + part->first, width);
    o->start[r] = 0;
    for (size_t i = 0; i < width; i++) o->start[r] -= 128 * o->codes[r * ld + i];
  }
  take_columns(o, op, part);
  const qk_gemm_q8 one = {.a = {.codes = o->codes, .ld = ld, .scale = o->ones, .start = o->start, .zero = o->none},
                          .w = o->w,
                          .w_scale = o->ones,
                          .w_sums = o->w_sums,
                          .out = out,
                          .ldo = op->n,
                          .n = op->n,
                          .k = (uint32_t)width};
  t->gemm_q8(&one, 0, m, 0, qk_panels(op->n));
}
/* One product for each part, joined afterwards, gives the same bits. */
static int parts_are_products(const qk_table *t, int any) {
  const size_t m = 1 + below(9), n = product_cols(), k = 1 + below(any ? 200 : 900);
  qk_gemm_q8 op = gemm_parts_of(m, n, k, n, n, any);
  float *y = buffer(m * n * 4, 4), *sums = buffer(m * n * 4, 4), *part = buffer(m * n * 4, 4);
  int32_t *whole = buffer(m * n * 4, 4);
  const one_part one = one_part_of(m, n, k);
  op.act = QK_ACT_NONE;
  op.out = y;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  for (size_t i = 0; i < m * n; i++) sums[i] = 0, whole[i] = 0;
  for (uint32_t p = 0; p < op.a.parts.count; p++) {
    multiply_part(t, &one, &op, &op.a.parts.part[p], m, part);
    for (size_t i = 0; i < m * n; i++) {
      sums[i] = fmaf(part[i], op.a.parts.part[p].scale, sums[i]);
      whole[i] = (int32_t)(((uint32_t)whole[i] << op.a.parts.part[p].shift) + (uint32_t)(int32_t)part[i]);
    }
  }
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < n; c++) {
      const float acc = op.a.parts.shifts ? (float)whole[r * n + c] : sums[r * n + c];
      const float x = fmaf(-op.a.zero[r], op.part_sums[c], acc) * op.w_scale[c];
      const float want = fmaf(x, op.a.scale[r], op.bias ? op.bias[c] : 0.0f), got = y[r * n + c];
      if (memcmp(&want, &got, sizeof want) && !(isnan(want) && isnan(got)))
        return failed("row %zu, column %zu: %g, not %g", r, c, (double)got, (double)want);
    }
  return 1;
}
static int mean_gemm_q8_parts(const qk_table *ref, const qk_table *t) {
  (void)ref;
  return parts_are_products(t, 0);
}
static int mean_gemm_q8_any_parts(const qk_table *ref, const qk_table *t) {
  (void)ref;
  return parts_are_products(t, 1);
}
#endif
