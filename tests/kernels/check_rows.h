/* check_rows.h - row operations of a set against the reference. Every case is made of its seed alone. */
#ifndef CHECK_ROWS_H
#define CHECK_ROWS_H
#include "tests/kernels/guard.h"

typedef struct codes_pair {
  pair codes, scale, start, zero, group_start;
  qk_codes ref, got;
} codes_pair;
/* Of inputs that share a scale. */
static uint32_t group_of(size_t d) {
  const size_t group = PICK(32, 64, 96, 128, 512, 0);
  return (uint32_t)(group ? group : qk_k8(d));
}
/* Scales and zero points for groups, as a file may give them. */
static const qk_limits *limits_of(size_t n) {
  qk_limits *l = buffer(n * sizeof *l, 4);
  for (size_t i = 0; i < n; i++) l[i] = (qk_limits){-(float)below(128), (float)below(128)};
  return l;
}
static void give(qk_codes *q, size_t groups) {
  float *scale = buffer(groups * 4, 4), *zero = buffer(groups * 4, 4);
  for (size_t i = 0; i < groups; i++) {
    const int shift = below(4) ? (int)below(8) - 4 : (int)below(201) - 100;
    scale[i] = ldexpf(1.0f + 0.25f * (float)below(4), shift == 100 ? 99 : shift);
    zero[i] = (float)((int)below(255) - 127);
  }
  q->given_scale = scale;
  if (!q->symmetric) q->given_zero = zero;
  if (below(2)) q->limits = limits_of(1);
}
/* One row in two: with the starts of groups. */
static codes_pair codes_like(size_t rows, size_t d, uint32_t grouped, uint32_t symmetric) {
  size_t ld = qk_k8(d);
  const uint32_t group = group_of(d);
  const size_t groups = qk_groups(d, group), scales = rows * (grouped ? groups : 1);
  codes_pair c = {.codes = outputs(rows * ld, 1), .scale = outputs_f32(scales), .start = outputs(rows * 4, 4)};
  c.zero = outputs_f32(scales);
  if (grouped || below(2)) c.group_start = outputs(rows * groups * 4, 4);
  c.ref = (qk_codes){.codes = c.codes.ref, .ld = ld, .scale = c.scale.ref, .start = c.start.ref, .zero = c.zero.ref};
  c.ref.group_start = c.group_start.ref;
  c.ref.group = group, c.ref.grouped = grouped, c.ref.symmetric = symmetric;
  c.got = c.ref;
  c.got.codes = c.codes.got, c.got.scale = c.scale.got, c.got.start = c.start.got, c.got.zero = c.zero.got;
  c.got.group_start = c.group_start.got;
  return c;
}
/* A scale a row, measured, with a zero. */
static inline codes_pair codes_outputs(size_t rows, size_t d) { return codes_like(rows, d, 0, 0); }
/* Any kind. */
static codes_pair any_codes(size_t rows, size_t d) {
  const uint32_t grouped = below(3) == 0, symmetric = below(3) == 0;
  codes_pair c = codes_like(rows, d, grouped, symmetric);
  if (below(4)) return c;
  give(&c.ref, grouped ? qk_groups(d, c.ref.group) : 1);
  c.got.given_scale = c.ref.given_scale, c.got.given_zero = c.ref.given_zero;
  c.got.limits = c.ref.limits;
  return c;
}
static int same_codes(const codes_pair *c) {
  return same_bytes("codes", c->codes) && same_floats("scale", c->scale) && same_bytes("start", c->start) &&
         same_floats("zero", c->zero) && same_bytes("group_start", c->group_start);
}
/* Rows as layers give them: without negative values, with next to none (after GELU), negative only, far from 0,
   constant, or one value far from the others. */
static void skew(float *x, size_t rows, size_t ld, size_t d) {
  for (size_t r = 0; r < rows; r++) {
    size_t kind = below(8), far = below(d);
    float c = scaled(-100, 200), most = 0.0f;
    for (size_t i = 0; i < d; i++) {
      float *v = x + r * ld + i, size = fabsf(*v);
      most = size > most ? size : most;
      if (kind == 1) *v = size;
      if (kind == 2) *v = *v < 0 ? *v * 0.04f : *v;
      if (kind == 3) *v = -size;
      if (kind == 4) *v = *v + 100.0f;
      if (kind == 5) *v = c;
    }
    if (kind == 6) x[r * ld + far] = most * 50.0f * (below(2) ? 1.0f : -1.0f);
  }
}
/* Factors of channels, or NULL; a few are extreme, so that products overflow or vanish. */
static float *smooth_of(size_t d) {
  if (below(2)) return NULL;
  float *s = buffer(d * sizeof(float), sizeof(float));
  for (size_t i = 0; i < d; i++) s[i] = fabsf(scaled(-3, 6));
  if (below(4) == 0) {
    size_t at = below(d);
    s[at] = any_float();
  }
  return s;
}

/* Quantizes rows by the reference to a, and by the set, cut anywhere, to b: the same count of bad rows. */
static int quantize_both(const qk_table *ref, const qk_table *t, const float *x, size_t ldx, size_t rows, size_t d,
                         const float *smooth, const qk_codes *a, const qk_codes *b) {
  size_t cut[8], bad = 0;
  const size_t want = ref->quantize(x, ldx, (uint32_t)d, smooth, a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++)
    bad += t->quantize(x, ldx, (uint32_t)d, smooth, b, cut[i], cut[i + 1]);
  return same_count("quantize", want, bad);
}

static int check_quantize(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ld = d + below(2) * below(20);
  float *x = rows_of(rows, ld, d, KINDS);
  skew(x, rows, ld, d);
  const float *smooth = smooth_of(d);
  codes_pair c = any_codes(rows, d);
  return quantize_both(ref, t, x, ld, rows, d, smooth, &c.ref, &c.got) && same_codes(&c);
}

static int check_norm(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ldx = d + below(2) * below(20), ldo = d + below(2) * below(20), cut[8];
  size_t bad = 0, in_place = below(3) == 0;
  const float *x = rows_of(rows, ldx, d, below(2) ? KINDS : CALM_KINDS);
  pair y = outputs_rows(rows, ldo, d);
  if (in_place)
    for (size_t r = 0; r < rows; r++) {
      memcpy((float *)y.ref + r * ldo, x + r * ldx, d * sizeof(float));
      memcpy((float *)y.got + r * ldo, x + r * ldx, d * sizeof(float));
    }
  codes_pair c = any_codes(rows, d);
  qk_norm op = {.gain = vector_of(d, CALM_KINDS),
                .bias = vector_of(d, CALM_KINDS),
                .smooth = smooth_of(d),
                .ldx = in_place ? ldo : ldx,
                .ldo = ldo,
                .d = (uint32_t)d,
                .eps = below(2) ? 1e-12f : 1e-5f};
  qk_norm a = op, b = op;
  a.x = in_place ? y.ref : x, a.out = y.ref;
  b.x = in_place ? y.got : x, b.out = y.got;
  if (below(4)) a.q = c.ref, b.q = c.got;
  size_t want = ref->norm(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->norm(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, d) && same_codes(&c) && same_count("norm", want, bad);
}

static qk_table_ref a_table(size_t rows, size_t d) {
  qk_table_ref r = {.bits = (uint32_t)PICK(32, 8, 4, 2)};
  if (r.bits == 32) {
    r.data = rows_of(rows, d, d, CALM_KINDS);
    return r;
  }
  const size_t bytes = rows * (r.bits == 8 ? d : qk_table_row(d, r.bits));
  int8_t *codes = buffer(bytes, 1);
  for (size_t i = 0; i < bytes; i++) codes[i] = (int8_t)(r.bits == 8 ? (int)below(255) - 127 : (int)rng());
  r.data = codes;
  r.scale = scales_of(r.bits == 8 ? rows : 2 * rows, 0);
  if (r.bits == 8) return r;
  r.group = (uint32_t)PICK(16, 32);
  const size_t steps = rows * qk_groups(d, r.group) * 2;
  int8_t *step = buffer(steps, 1);
  for (size_t i = 0; i < steps; i++) step[i] = (int8_t)rng();
  r.step = step;
  return r;
}
static int32_t *ids_of(size_t rows, size_t limit) {
  int32_t *ids = buffer(rows * 4, 4);
  for (size_t i = 0; i < rows; i++) ids[i] = (int32_t)below(limit);
  return ids;
}
/* Sites of d columns, several panels with the same one. */
static qk_sites sites_of_entries(size_t n, uint32_t bits, uint32_t by_column) {
  float *by = buffer(n * 4, 4), *scale = buffer(n * 4, 4), *zero = buffer(n * 4, 4);
  const size_t limit = bits == 16 ? 16383 : 127;
  for (size_t p = 0; p < n; p++) {
    const size_t same = p && below(3);
    scale[p] = same ? scale[p - 1] : fabsf(scaled(-12, 16)) + 0x1p-20f;
    by[p] = 1.0f / scale[p];
    zero[p] = same ? zero[p - 1] : (float)((int)below(2 * limit + 1) - (int)limit);
  }
  return (qk_sites){by, scale, zero, bits, by_column};
}
static qk_sites sites_like(size_t d, uint32_t bits) { return sites_of_entries(qk_panels(d), bits, 0); }
static qk_sites sites_by_column(size_t d, uint32_t bits) { return sites_of_entries(qk_round_up(d, 16), bits, 1); }
/* rounded: 1 to sites by panels, 2 by column. */
static int check_embed_as(const qk_table *ref, const qk_table *t, int rounded) {
  size_t rows = below(6), d = row_size(), ldo = d + below(2) * below(20), cut[8], bad = 0;
  pair y = outputs_rows(rows, ldo, d);
  codes_pair c = any_codes(rows, d);
  qk_embed a = {.ids = ids_of(rows, 9), .positions = ids_of(rows, 5), .tokens = a_table(9, d)};
  if (below(4)) a.position = a_table(5, d);
  if (below(4)) a.types = a_table(2, d);
  if (below(2)) a.type_ids = ids_of(rows, 2);
  a.norm = (qk_norm){
      .gain = vector_of(d, CALM_KINDS), .bias = vector_of(d, CALM_KINDS), .ldo = ldo, .d = (uint32_t)d, .eps = 1e-12f};
  a.norm.smooth = smooth_of(d);
  if (rounded == 1) a.sum = sites_like(d, below(2) ? 16 : 8);
  if (rounded == 2) a.sum = sites_by_column(d, below(2) ? 16 : 8);
  qk_embed b = a;
  a.norm.out = y.ref, b.norm.out = y.got;
  if (below(4)) a.norm.q = c.ref, b.norm.q = c.got;
  size_t want = ref->embed(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->embed(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, d) && same_codes(&c) && same_count("embed", want, bad);
}
static int check_embed(const qk_table *ref, const qk_table *t) { return check_embed_as(ref, t, 0); }

/* The memory of one head, for both. */
typedef struct head_pair {
  pair q, k, v, q_scale, k_scale, v_scale, k_start;
  qk_head_q8 ref, got;
} head_pair;
static head_pair head_outputs(size_t n, size_t h) {
  size_t rows = qk_round_up(n, QK_BLOCK), bytes = rows * qk_round_up(h, 16);
  head_pair p = {.q = outputs(bytes, 64), .k = outputs(bytes, 64), .v = outputs(bytes, 64)};
  p.q_scale = outputs(rows * 4, 64), p.k_scale = outputs(rows * 4, 64), p.v_scale = outputs(rows * 4, 64);
  p.k_start = outputs(rows * 4, 64);
#define HEAD(of)                                                                                                       \
  (qk_head_q8){p.q.of, p.q_scale.of, p.k.of, p.k_scale.of, p.k_start.of, p.v.of, p.v_scale.of, (uint32_t)n, (uint32_t)h}
  p.ref = HEAD(ref), p.got = HEAD(got);
#undef HEAD
  return p;
}
static size_t head_size(void) { return below(2) ? PICK(32, 64) : PICK(1, 5, 15, 16, 17, 20, 33, 48, 80, 96, 128); }
static size_t head_tokens(void) {
  return below(2) ? 1 + below(140) : PICK(1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200);
}

static int check_pack_q8(const qk_table *ref, const qk_table *t) {
  size_t n = head_tokens(), h = head_size(), ld = h + below(2) * below(200), cut[8], bad = 0;
  head_pair p = head_outputs(n, h);
  qk_pack_q8 a = {.q = rows_of(n, ld, h, KINDS),
                  .k = rows_of(n, ld, h, KINDS),
                  .v = rows_of(n, ld, h, KINDS),
                  .ldx = ld,
                  .fold = 1.442695f / sqrtf((float)h)};
  qk_pack_q8 b = a;
  a.head = p.ref, b.head = p.got;
  size_t want = ref->pack_q8(&a, 0, n);
  for (size_t i = 0, k = cuts(n, QK_BLOCK, cut); i < k; i++) bad += t->pack_q8(&b, cut[i], cut[i + 1]);
  return same_bytes("q", p.q) && same_bytes("k", p.k) && same_bytes("v", p.v) && same_floats("q_scale", p.q_scale) &&
         same_floats("k_scale", p.k_scale) && same_floats("v_scale", p.v_scale) && same_bytes("k_start", p.k_start) &&
         same_count("pack_q8", want, bad);
}

static int check_activate(const qk_table *ref, const qk_table *t) {
  size_t n = below(100), in_place = below(2);
  uint32_t act = (uint32_t)below(QK_ACT_KINDS);
  float *x = vector_of(n, KINDS);
  for (size_t i = 0; i < n && below(2); i++) x[i] *= 3.0f;
  pair y = outputs_f32(n);
  if (in_place && n) memcpy(y.ref, x, n * 4), memcpy(y.got, x, n * 4);
  ref->activate(in_place ? y.ref : x, y.ref, n, act);
  t->activate(in_place ? y.got : x, y.got, n, act);
  return same_floats("y", y);
}

static int check_mean_rows(const qk_table *ref, const qk_table *t) {
  size_t rows = 1 + below(20), d = row_size(), ld = d + below(2) * below(20);
  const float *x = rows_of(rows, ld, d, below(2) ? KINDS : CALM_KINDS);
  pair y = outputs_f32(d);
  ref->mean_rows(x, ld, rows, (uint32_t)d, y.ref);
  t->mean_rows(x, ld, rows, (uint32_t)d, y.got);
  return same_floats("out", y);
}

static int check_normalize(const qk_table *ref, const qk_table *t) {
  size_t d = row_size();
  const float *x = vector_of(d, KINDS);
  pair y = outputs_f32(d);
  memcpy(y.ref, x, d * 4), memcpy(y.got, x, d * 4);
  ref->normalize(y.ref, (uint32_t)d);
  t->normalize(y.got, (uint32_t)d);
  return same_floats("x", y);
}

static int check_dot(const qk_table *ref, const qk_table *t) {
  size_t n = below(8) ? row_size() : 0;
  const float *a = vector_of(n, KINDS), *b = vector_of(n, KINDS);
  pair y = outputs_f32(1);
  *(float *)y.ref = ref->dot(a, b, n);
  *(float *)y.got = t->dot(a, b, n);
  return same_floats("dot", y);
}

static int check_softmax(const qk_table *ref, const qk_table *t) {
  size_t n = below(8) ? row_size() : 0, in_place = below(2);
  const float *x = vector_of(n, KINDS);
  pair y = outputs_f32(n);
  if (in_place && n) memcpy(y.ref, x, n * 4), memcpy(y.got, x, n * 4);
  ref->softmax(in_place ? y.ref : x, y.ref, n);
  t->softmax(in_place ? y.got : x, y.got, n);
  return same_floats("y", y);
}
#endif
