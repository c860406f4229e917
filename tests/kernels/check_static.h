/* check_static.h - operations of static recipes of a set against the reference, and the reference against their meaning: codes of 16
 * bits, norms between codes, attention between codes. */
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
  return same_codes(&p->high) && same_bytes("low", p->low) && same_bytes("low_start", p->low_start);
}

static int check_planes(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ldx = d + below(2) * below(20);
  const float *x = rows_of(rows, ldx, d, below(2) ? KINDS : CALM_KINDS), *smooth = smooth_of(d);
  planes_pair p = planes_outputs(rows, d);
  return quantize_both(ref, t, x, ldx, rows, d, smooth, &p.high.ref, &p.high.got) && same_planes(&p);
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
/* Rows of codes of 8 bits. */
static inline qk_rows bytes_of(size_t rows, size_t d) {
  qk_rows x = {.ld = qk_round_up(d, 16) + below(3) * 16, .site = sites_like(d, 8)};
  int8_t *codes = buffer(rows * x.ld, 1);
  fill_codes(codes, rows * x.ld);
  x.codes = codes;
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
/* An order for both, and a row of scratch for each. */
static void reorder(qk_norm_q8 *a, qk_norm_q8 *b) {
  const size_t d = a->norm.d;
  int32_t *order = buffer(d * 4, 4);
  for (size_t i = 0; i < d; i++) order[i] = (int32_t)i;
  for (size_t i = d; i > 1; i--) {
    const size_t j = below(i);
    const int32_t c = order[j];
    order[j] = order[i - 1], order[i - 1] = c;
  }
  a->order = b->order = order;
  a->row = buffer(d * 4, 4), b->row = buffer(d * 4, 4);
}
static int check_embed_sum(const qk_table *ref, const qk_table *t) { return check_embed_as(ref, t, 1); }
/* Norms rows between codes by the reference, and by the set, cut anywhere: the same count of bad rows. */
static int norm_q8_both(const qk_table *ref, const qk_table *t, const qk_norm_q8 *a, const qk_norm_q8 *b, size_t rows) {
  size_t cut[8], bad = 0;
  const size_t want = ref->norm_q8(a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->norm_q8(b, cut[i], cut[i + 1]);
  return same_count("norm_q8", want, bad);
}
static int check_norm_q8_as(const qk_table *ref, const qk_table *t, int ordered) {
  const size_t rows = below(7), d = row_size();
  qk_norm_q8 a = norm_q8_of(rows, d), b = a;
  const int wide = below(2) != 0;
  planes_pair p = planes_outputs(rows, d);
  codes_pair c = any_codes(rows, d);
  a.norm.q = wide ? p.high.ref : c.ref, b.norm.q = wide ? p.high.got : c.got;
  pair y = outputs_rows(rows, a.norm.ldo, d);
  a.norm.out = y.ref, b.norm.out = y.got;
  if (ordered) reorder(&a, &b);
  return norm_q8_both(ref, t, &a, &b, rows) && same_rows("out", y, a.norm.ldo, d) && same_planes(&p) && same_codes(&c);
}
static int check_norm_q8(const qk_table *ref, const qk_table *t) { return check_norm_q8_as(ref, t, 0); }
static int check_norm_q8_order(const qk_table *ref, const qk_table *t) { return check_norm_q8_as(ref, t, 1); }

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
/* The norm of the rounded sum, in its order, is norm of it as floats. */
static int mean_norm_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t rows = 1 + below(6), d = row_size();
  qk_norm_q8 op = norm_q8_of(rows, d);
  float *x = buffer(rows * d * 4, 4), *want = buffer(rows * d * 4, 4), *got = buffer(rows * op.norm.ldo * 4, 4);
  const float limit = op.sum.bits == 16 ? 16383.0f : 127.0f;
  const int add = op.residual.codes || op.residual.floats;
  if (below(2)) reorder(&op, &(qk_norm_q8){0});
  for (size_t r = 0; r < rows; r++)
    for (size_t at = 0; at < d; at++) {
      const size_t i = op.order ? (size_t)op.order[at] : at;
      float v = row_value(&op.x, r, i);
      if (add && op.gain)
        v += row_value(&op.residual, r, i) * op.gain[i];
      else if (add)
        v += row_value(&op.residual, r, i);
      if (op.sum.by) {
        const float zero = op.sum.zero[i / 16], code = fmaf(v, op.sum.by[i / 16], zero);
        v = (rintf(code > -limit ? code < limit ? code : limit : -limit) - zero) * op.sum.scale[i / 16];
      }
      x[r * d + at] = v;
    }
  qk_norm plain = op.norm;
  plain.x = x, plain.ldx = d, plain.out = want, plain.ldo = d;
  op.norm.out = got;
  if (t->norm(&plain, 0, rows) != t->norm_q8(&op, 0, rows)) return failed("another count");
  for (size_t r = 0; r < rows; r++)
    if (memcmp(want + r * d, got + r * op.norm.ldo, d * 4) && isfinite(want[r * d])) return failed("row %zu", r);
  return 1;
}

/* Codes of rows r < n of d at x, ldx apart, as panels of a product's weights, and their sums; columns: of the transposed. */
static void panels_by_hand(qk_gemm_q8 *op, const int8_t *x, size_t ldx, int columns) {
  const size_t k8 = qk_k8(op->k);
  uint8_t *w = buffer(qk_weight_bytes(op->n, op->k, 8), 64);
  int32_t *sums = buffer(op->n * 4, 4);
  memset(w, 0x80, qk_weight_bytes(op->n, op->k, 8));
  for (size_t r = 0; r < op->n; r++) {
    sums[r] = 0;
    for (size_t c = 0; c < op->k; c++) {
      const int8_t code = columns ? x[c * ldx + r] : x[r * ldx + c];
      w[r / 16 * 16 * k8 + c / 4 * 64 + r % 16 * 4 + c % 4] = (uint8_t)(code + 128);
      sums[r] += code;
    }
  }
  op->w = w, op->w_sums = sums;
}
static float *same_floats_of(size_t n, float x) {
  float *p = buffer(n * 4, 4);
  for (size_t i = 0; i < n; i++) p[i] = x;
  return p;
}
static const qk_limits *same_limits_of(size_t n, qk_limits x) {
  qk_limits *p = buffer(n * sizeof *p, 4);
  for (size_t i = 0; i < n; i++) p[i] = x;
  return p;
}
/* Rows of codes of one scale and zero as a product's input. */
static qk_codes inputs_by_hand(size_t rows, size_t k, float scale, float zero) {
  qk_codes q = {.ld = qk_k8(k), .scale = same_floats_of(rows, scale), .zero = same_floats_of(rows, zero)};
  q.codes = buffer(rows * q.ld, 1);
  q.start = buffer(rows * 4, 4);
  return q;
}
/* A product to codes. */
static void code_by_hand(qk_gemm_q8 *op, float w_scale, const qk_coder *c) {
  op->w_scale = same_floats_of(op->n, w_scale);
  op->by = same_floats_of(qk_panels(op->n), c->by);
  op->zero = same_floats_of(qk_panels(op->n), c->zero);
  op->limits = same_limits_of(qk_panels(op->n), c->limits);
}
static void softmax_by_hand(const qk_attention_codes *op, const int8_t *x, int8_t *p) {
  const size_t n = op->head.n;
  int32_t max = -128, sum = 0;
  for (size_t j = 0; j < n; j++) max = x[j] > max ? x[j] : max;
  for (int pass = 0; pass < 2; pass++)
    for (size_t j = 0; j < n; j++) {
      const int32_t d = max - x[j], e = (op->exp[d / 16] * op->exp[16 + d % 16] + 16384) / 32768;
      const float code = pass ? fmaf((float)e, op->probs.by / (float)sum, op->probs.zero) : 0.0f;
      const qk_limits l = op->probs.limits;
      if (pass)
        p[j] = (int8_t)rintf(code > l.lowest ? code < l.highest ? code : l.highest : l.lowest);
      else
        sum += e;
    }
}
/* Attention between codes is a product, softmax by the table, and a product. */
static int mean_attention_codes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = 1 + below(80), h = head_size();
  codes_head head = codes_head_of(n, h);
  qk_pack_codes pack = pack_codes_of(n, h);
  qk_attention_codes op = attention_codes_of(n, h), unused;
  pack.head = op.head = head.ref;
  t->pack_codes(&pack);
  const context_pair c = context_outputs(n, h, &op, &unused);
  t->attention_codes(&op, 0, n);
  qk_gemm_q8 s = {.a = inputs_by_hand(n, h, op.q_scale, (float)pack.q_zero), .n = (uint32_t)n, .k = (uint32_t)h};
  for (size_t i = 0; i < n; i++) memcpy(s.a.codes + i * s.a.ld, pack.q + i * pack.ldx, h);
  t->start_q8(&s.a, (uint32_t)h, 0, n);
  panels_by_hand(&s, pack.k, pack.ldx, 0);
  code_by_hand(&s, op.k_scale, &op.scores);
  if (op.bias) {
    float *bias = buffer(n * n * 4, 4);
    for (size_t i = 0; i < n; i++) memcpy(bias + i * n, op.bias - (ptrdiff_t)i, n * 4);
    s.residual = bias, s.ldr = n;
  }
  s.codes = buffer(n * n, 1), s.ldc = n;
  t->gemm_q8(&s, 0, n, 0, qk_panels(n));
  qk_gemm_q8 v = {.a = inputs_by_hand(n, n, op.probs_scale, op.probs.zero), .n = (uint32_t)h, .k = (uint32_t)n};
  for (size_t i = 0; i < n; i++) softmax_by_hand(&op, s.codes + i * n, v.a.codes + i * v.a.ld);
  t->start_q8(&v.a, (uint32_t)n, 0, n);
  panels_by_hand(&v, pack.v, pack.ldx, 1);
  code_by_hand(&v, op.v_scale, &op.context);
  v.codes = buffer(n * h, 1), v.ldc = h;
  if (op.low) v.low = buffer(n * h, 1);
  t->gemm_q8(&v, 0, n, 0, qk_panels(h));
  for (size_t i = 0; i < n; i++)
    for (size_t x = 0; x < h; x++) {
      const size_t at = i * op.ldc + x, by_hand = i * h + x;
      if (op.codes[at] != v.codes[by_hand] || (op.low && op.low[at] != v.low[by_hand]))
        return failed("query %zu, channel %zu: %d, not %d", i, x, op.codes[at], v.codes[by_hand]);
    }
  return c.high.bytes != 0;
}

/* Against softmax in double: keys and values are ones, so that a query's codes are its scores' and the context's are those of
   probabilities. A weight is off by at most 1.51 of 32,767 (half a step for each table and for the product), so p by (1 + n p) of
   them, the largest weight being 1 of the sum; a code by half a step more. */
static int mean_softmax_codes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = 1 + below(256);
  const float step = fabsf(scaled(-8, 8)) + 0x1p-12f;
  int8_t *ones = buffer(n * n, 1), *codes = buffer(n * n, 1), *low = buffer(n * n, 1);
  const int8_t *x = site_codes(n, n, n);
  int16_t table[32];
  qk_exp_build(table, step);
  codes_head head = codes_head_of(n, n);
  memset(ones, 0, n * n);
  for (size_t i = 0; i < n; i++) ones[i * n + i] = 1;
  const qk_pack_codes pack = {.head = head.ref, .q = x, .k = ones, .v = ones, .ldx = n};
  t->pack_codes(&pack);
  const qk_limits all = {-127.0f, 127.0f};
  const qk_attention_codes op = {.head = head.ref,
                                 .exp = table,
                                 .q_scale = 1.0f,
                                 .k_scale = 1.0f,
                                 .v_scale = 1.0f,
                                 .probs_scale = 1.0f,
                                 .scores = {1.0f, 0.0f, all},
                                 .probs = {254.0f, -127.0f, all},
                                 .context = {1.0f, -127.0f, all},
                                 .codes = codes,
                                 .low = low,
                                 .ldc = n,
                                 .scratch = buffer(qk_attention_scratch(n), 64)};
  t->attention_codes(&op, 0, n);
  for (size_t r = 0; r < n; r++) {
    const int8_t *scores = x + r * n;
    int max = -128;
    double sum = 0;
    for (size_t i = 0; i < n; i++) max = scores[i] > max ? scores[i] : max;
    for (size_t i = 0; i < n; i++) sum += exp2((double)(scores[i] - max) * (double)step);
    for (size_t i = 0; i < n; i++) {
      const double p = exp2((double)(scores[i] - max) * (double)step) / sum;
      const double off = (1 + (double)n * p) * 1.51 / 32766 / sum, got = 128.0 * codes[r * n + i] + low[r * n + i];
      if (!same_value("code", got, p * 254 - 127, 0.5 + off * 254 + 1e-4)) return 0;
    }
  }
  return 1;
}

static int mean_pack_codes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = 1 + below(140), h = head_size(), k8 = qk_k8(n), rows = qk_round_up(n, 16), hp = qk_round_up(h, 16);
  codes_head p = codes_head_of(n, h);
  qk_pack_codes op = pack_codes_of(n, h);
  const qk_head_codes *hd = &op.head;
  op.head = p.ref;
  t->pack_codes(&op);
  for (size_t r = 0; r < rows; r++) {
    int32_t sum = 0;
    for (size_t c = 0; c < hp; c++) {
      const size_t at = r / 16 * 16 * hp + c / 4 * 64 + r % 16 * 4 + c % 4, from = r * op.ldx + c;
      const int live = r < n && c < h;
      if (hd->q[at] - 128 != (live ? op.q[from] : 0)) return failed("query %zu, channel %zu", r, c);
      if (hd->k[at] != (live ? op.k[from] : 0)) return failed("key %zu, channel %zu", r, c);
      sum += hd->k[at];
    }
    if (hd->k_less[r] != -op.q_zero * sum || hd->k_start[r] != hd->k_less[r] - 128 * sum)
      return failed("start of key %zu", r);
  }
  for (size_t c = 0; c < hp; c++) {
    int32_t sum = 0;
    for (size_t j = 0; j < k8; j++) {
      const int code = hd->v[c / 16 * 16 * k8 + j / 4 * 64 + c % 16 * 4 + j % 4] - 128;
      if (code != (j < n && c < h ? op.v[j * op.ldx + c] : 0)) return failed("value %zu, channel %zu", j, c);
      sum += code;
    }
    if (hd->v_sums[c] != sum) return failed("sum of channel %zu", c);
  }
  return 1;
}
#endif
