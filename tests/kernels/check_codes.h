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
/* A head of codes, packed, for both. */
typedef struct codes_head {
  pair q, k, k_start, k_less, v, v_sums;
  qk_head_codes ref, got;
} codes_head;
static codes_head codes_head_of(size_t n, size_t h) {
  const size_t rows = qk_round_up(n, 16), hp = qk_round_up(h, 16);
  codes_head p = {.q = outputs(rows * hp, 64), .k = outputs(rows * hp, 64), .v = outputs(qk_weight_bytes(h, n, 8), 64)};
  p.k_start = outputs(rows * 4, 64), p.k_less = outputs(rows * 4, 64), p.v_sums = outputs(hp * 4, 64);
#define HEAD(of)                                                                                                       \
  (qk_head_codes){p.q.of, p.k.of, p.k_start.of, p.k_less.of, p.v.of, p.v_sums.of, (uint32_t)n, (uint32_t)h}
  p.ref = HEAD(ref), p.got = HEAD(got);
#undef HEAD
  return p;
}
/* Rows of codes of a site: -127 ... 127. */
static const int8_t *site_codes(size_t rows, size_t ld, size_t d) {
  const size_t n = (rows - 1) * ld + d;
  int8_t *x = codes_vector(n);
  for (size_t i = 0; i < n; i++)
    if (x[i] == -128) x[i] = 0;
  return x;
}
static qk_pack_codes pack_codes_of(size_t n, size_t h) {
  const size_t ld = h + below(2) * below(200);
  qk_pack_codes op = {.q = site_codes(n, ld, h), .k = site_codes(n, ld, h), .v = site_codes(n, ld, h), .ldx = ld};
  op.q_zero = (int32_t)below(255) - 127;
  return op;
}
static int check_pack_codes(const qk_table *ref, const qk_table *t) {
  const size_t n = head_tokens(), h = head_size();
  codes_head p = codes_head_of(n, h);
  qk_pack_codes a = pack_codes_of(n, h), b = a;
  a.head = p.ref, b.head = p.got;
  ref->pack_codes(&a);
  t->pack_codes(&b);
  return same_bytes("q", p.q) && same_bytes("k", p.k) && same_bytes("k_start", p.k_start) &&
         same_bytes("k_less", p.k_less) && same_bytes("v", p.v) && same_bytes("v_sums", p.v_sums);
}

static qk_coder coder_of(float by) {
  const qk_coder c = {by, (float)((int)below(255) - 127), below(2) ? (qk_limits){-127.0f, 127.0f} : *limits_of(1)};
  return c;
}
/* Codes of the context, for both. */
typedef struct context_pair {
  pair high, low;
} context_pair;
/* Scores that fill their codes, or do not; in one case of some anything up to what overflows. */
static qk_attention_codes attention_codes_of(size_t n, size_t h) {
  const int calm = below(6) != 0;
  qk_attention_codes op = {
      .bias = bias_of(n), .exp = exp_table_of(fabsf(scaled(-8, 9))), .ldc = h + below(2) * below(40)};
  int16_t *exp = (int16_t *)(uintptr_t)op.exp;
  exp[0] = exp[16] = 32767; /* of distance 0 */
  op.k_scale = fabsf(calm ? scaled(-8, 8) : scaled(-100, 200));
  op.q_scale = fabsf(calm ? scaled(-8, 8) : scaled(-100, 200));
  op.v_scale = fabsf(scaled(-8, 8));
  op.probs_scale = below(4) ? 1.0f / 254.0f : fabsf(scaled(-20, 20));
  op.scores = coder_of(calm ? ldexpf(0.01f, (int)below(8)) / (op.k_scale * op.q_scale * sqrtf((float)h) + 1e-30f)
                            : fabsf(scaled(-100, 200)));
  op.probs = coder_of(below(4) ? 254.0f : fabsf(scaled(0, below(4) ? 20 : 100)));
  op.context = coder_of(fabsf(scaled(0, below(4) ? 20 : 100)));
  return op;
}
static context_pair context_outputs(size_t n, size_t h, qk_attention_codes *a, qk_attention_codes *b) {
  const size_t bytes = (n - 1) * a->ldc + h;
  context_pair c = {.high = outputs(bytes, 1)};
  *b = *a;
  a->codes = c.high.ref, b->codes = c.high.got;
  if (below(3) == 0) {
    c.low = outputs(bytes, 1);
    a->low = c.low.ref, b->low = c.low.got;
  }
  a->scratch = buffer(qk_attention_scratch(n), 64);
  b->scratch = buffer(qk_attention_scratch(n), 64);
  return c;
}
static int check_attention_codes(const qk_table *ref, const qk_table *t) {
  const size_t n = head_tokens(), h = head_size();
  size_t cut[8];
  codes_head p = codes_head_of(n, h);
  qk_pack_codes pack = pack_codes_of(n, h);
  qk_attention_codes a = attention_codes_of(n, h), b;
  pack.head = a.head = p.ref;
  ref->pack_codes(&pack);
  const context_pair c = context_outputs(n, h, &a, &b);
  ref->attention_codes(&a, 0, n);
  for (size_t i = 0, k = cuts(n, 1, cut); i < k; i++) t->attention_codes(&b, cut[i], cut[i + 1]);
  return same_bytes("codes", c.high) && same_bytes("low", c.low);
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
