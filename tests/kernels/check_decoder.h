/* check_decoder.h - row operations of decoders of a set against the reference, and those of the reference against their
 * definitions in double. */
#ifndef CHECK_DECODER_H
#define CHECK_DECODER_H
#include "tests/kernels/check_codes.h"

static int check_rms(const qk_table *ref, const qk_table *t) {
  size_t rows = below(7), d = row_size(), ldx = d + below(2) * below(20), ldo = d + below(2) * below(20), cut[8],
         bad = 0;
  const size_t kinds = below(2) ? KINDS : CALM_KINDS, own = below(3);
  pair y = outputs_rows(rows, ldo, d);
  codes_pair c = any_codes(rows, d);
  qk_norm a = {.x = rows_of(rows, ldx, d, kinds), .gain = vector_of(d, CALM_KINDS), .smooth = smooth_of(d)}, b;
  a.ldx = ldx, a.ldo = a.ldr = ldo, a.d = (uint32_t)d, a.eps = below(2) ? 1e-6f : 1e-5f, a.rms = 1;
  if (own == 1) a.residual = rows_of(rows, ldo, d, CALM_KINDS);
  if (own == 2) own_residual(y, ldo, d);
  b = a;
  a.out = y.ref, b.out = y.got;
  if (own == 2) a.residual = y.ref, b.residual = y.got;
  if (below(4)) a.q = c.ref, b.q = c.got;
  size_t want = ref->norm(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->norm(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, d) && same_codes(&c) && same_count("norm", want, bad);
}

static int32_t *positions_of(size_t rows) {
  const size_t limit = PICK(8, 300, 40000, (1 << 20) + 1);
  int32_t *p = buffer(rows * 4, 4);
  for (size_t r = 0; r < rows; r++) p[r] = (int32_t)below(limit);
  return p;
}
/* Frequencies, 1 the largest. */
static float *frequencies_of(size_t n) {
  float *f = buffer(n * 4, 4);
  for (size_t i = 0; i < n; i++) f[i] = i ? fabsf(uniform()) * ldexpf(1.0f, -(int)below(16)) : 1.0f;
  return f;
}
static int check_turns(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(7), n = below(4) ? 1 + below(70) : PICK(16, 32, 48, 64);
  size_t cut[8];
  pair c = outputs_f32(rows * n), s = outputs_f32(rows * n);
  const float *frequency = frequencies_of(n);
  const int32_t *positions = positions_of(rows);
  ref->turns(frequency, n, positions, c.ref, s.ref, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++)
    t->turns(frequency, n, positions, c.got, s.got, cut[i], cut[i + 1]);
  return same_floats("cosine", c) && same_floats("sine", s);
}

/* The rows of `heads` heads; rotary: dimensions that turn. */
static qk_rotate rotate_of(size_t rows, size_t heads, size_t h, size_t kinds) {
  const size_t half = below(3) ? h / 2 : below(h / 2 + 1);
  qk_rotate op = {.heads = (uint32_t)heads, .h = (uint32_t)h, .rotary = (uint32_t)(2 * half), .eps = 1e-6f};
  op.ldx = heads * h + below(2) * below(20);
  if (below(2)) op.gain = vector_of(h, kinds);
  op.cosine = vector_of(rows * half, kinds), op.sine = vector_of(rows * half, kinds);
  return op;
}
static int rotate_both(const qk_table *ref, const qk_table *t, size_t rows, size_t heads, size_t h, uint32_t hadamard) {
  size_t cut[8];
  qk_rotate a = rotate_of(rows, heads, h, CALM_KINDS), b = a;
  pair x = outputs_rows(rows, a.ldx, heads * h);
  const float *from = rows_of(rows, a.ldx, heads * h, below(2) ? KINDS : CALM_KINDS);
  for (size_t r = 0; r < rows; r++) {
    memcpy((float *)x.ref + r * a.ldx, from + r * a.ldx, heads * h * 4);
    memcpy((float *)x.got + r * a.ldx, from + r * a.ldx, heads * h * 4);
  }
  a.x = x.ref, b.x = x.got;
  a.hadamard = b.hadamard = hadamard;
  ref->rotate(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) t->rotate(&b, cut[i], cut[i + 1]);
  return same_rows("x", x, a.ldx, heads * h);
}

static int check_rotate(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(6), heads = 1 + below(5), h = below(2) ? PICK(64, 80, 96, 128) : 1 + below(70);
  return rotate_both(ref, t, rows, heads, h, 0);
}
static int check_head_hadamard(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(6), heads = 1 + below(5);
  return rotate_both(ref, t, rows, heads, PICK(16, 32, 64, 128, 256), 1);
}

static int check_gate(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(7), d = 16 * (1 + below(20)), own = below(3) == 0;
  const size_t ldx = 2 * d + below(2) * below(20), ldo = own ? ldx : d + below(2) * below(20);
  size_t cut[8], bad = 0;
  const float *x = rows_of(rows, ldx, 2 * d, below(2) ? KINDS : CALM_KINDS);
  pair y = own ? outputs_f32(rows ? (rows - 1) * ldx + 2 * d : 0) : outputs_rows(rows, ldo, d);
  codes_pair c = any_codes(rows, d);
  qk_gate a = {.x = x, .ldx = ldx, .ldo = ldo, .d = (uint32_t)d, .act = (uint32_t)below(QK_ACT_KINDS)}, b;
  if (below(2)) a.act = QK_ACT_SILU;
  a.smooth = smooth_of(d);
  if (below(4)) a.q = c.ref;
  if (own && rows) memcpy(y.ref, x, y.bytes), memcpy(y.got, x, y.bytes);
  b = a;
  a.out = y.ref, b.out = y.got;
  if (own) a.x = y.ref, b.x = y.got;
  if (a.q.codes) b.q = c.got;
  size_t want = ref->gate(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->gate(&b, cut[i], cut[i + 1]);
  return (own ? same_floats("out", y) : same_rows("out", y, ldo, d)) && same_codes(&c) && same_count("gate", want, bad);
}

static int check_cap(const qk_table *ref, const qk_table *t) {
  const size_t n = below(8) ? row_size() : 0, own = below(2);
  const float *x = vector_of(n, KINDS), cap = fabsf(scaled(0, 7)) + 1.0f;
  pair y = outputs_f32(n);
  if (own && n) memcpy(y.ref, x, n * 4), memcpy(y.got, x, n * 4);
  ref->cap(own ? y.ref : x, y.ref, n, cap);
  t->cap(own ? y.got : x, y.got, n, cap);
  return same_floats("y", y);
}

/* Weights of a product as a table. */
static qk_table_ref panel_table(size_t rows, size_t d) {
  qk_table_ref r = {.bits = (uint32_t)PICK(32, 8, 6, 4), .panels = 1};
  if (r.bits == 32) {
    float *w = buffer(qk_weight_bytes_f32(rows, d), 64);
    fill(w, qk_panels(rows) * 16 * d, below(CALM_KINDS));
    r.data = w;
    return r;
  }
  r.data = panels_of(rows, d, r.bits, below(6));
  if (below(2)) r.group = group_of(d);
  const size_t groups = r.group ? qk_groups(d, r.group) : 0;
  if (r.group && r.bits == 4 && below(2)) {
    r.steps = steps_of(rows, groups, 4), r.scale = scales_of(rows, 0);
    return r;
  }
  r.scale = r.group ? group_scales(rows, groups) : scales_of(rows, 0);
  if (r.group && r.bits != 6 && below(2)) r.min = group_scales(rows, groups);
  return r;
}
static int check_embed_panels(const qk_table *ref, const qk_table *t) {
  const size_t rows = below(6), d = row_size(), ldo = d + below(2) * below(20), words = 1 + below(40);
  size_t cut[8], bad = 0;
  pair y = outputs_rows(rows, ldo, d);
  qk_embed a = {.ids = ids_of(rows, words), .positions = ids_of(rows, 5)}, b;
  a.tokens = below(4) ? panel_table(words, d) : a_table(words, d);
  if (below(4) == 0) a.position = a_table(5, d);
  if (below(2)) a.scale = fabsf(scaled(0, 6));
  a.norm = (qk_norm){.ldo = ldo, .d = (uint32_t)d, .eps = 1e-6f, .rms = 1};
  if (below(2)) a.norm.gain = vector_of(d, CALM_KINDS);
  b = a;
  a.norm.out = y.ref, b.norm.out = y.got;
  size_t want = ref->embed(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->embed(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, d) && same_count("embed", want, bad);
}

/* ---- the reference ---- */

static int mean_rms(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  float *x = vector_of(d, 1), *gain = vector_of(d, 1), *y = buffer(d * 4, 4), *add = below(2) ? vector_of(d, 1) : NULL;
  const qk_norm op = {
      .x = x, .out = y, .gain = gain, .d = (uint32_t)d, .eps = 1e-5f, .rms = 1, .residual = add, .ldr = d, .ldo = d};
  t->norm(&op, 0, 1);
  double square = 0;
  for (size_t i = 0; i < d; i++) square += (double)x[i] * (double)x[i] / (double)d;
  for (size_t i = 0; i < d; i++) {
    const double want = (double)x[i] / sqrt(square + 1e-5) * (double)gain[i], more = add ? (double)add[i] : 0;
    if (!same_value("rms", (double)y[i], want + more, 1e-6 * (1 + fabs(want) + fabs(more)))) return 0;
  }
  return 1;
}

static int mean_rotate(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t h = 2 + below(80), half = h / 2;
  const float *frequency = frequencies_of(half);
  const int32_t *position = positions_of(1);
  float *c = buffer(half * 4, 4), *s = buffer(half * 4, 4), *x = vector_of(h, 1), *y = buffer(h * 4, 4);
  t->turns(frequency, half, position, c, s, 0, 1);
  for (size_t i = 0; i < half; i++) {
    const float angle = (float)*position * frequency[i];
    if (!same_value("cosine", (double)c[i], cos((double)angle), 1e-6)) return 0;
    if (!same_value("sine", (double)s[i], sin((double)angle), 1e-6)) return 0;
  }
  const float *gain = below(2) ? vector_of(h, 1) : NULL;
  const qk_rotate op = {.x = y,
                        .ldx = h,
                        .heads = 1,
                        .h = (uint32_t)h,
                        .rotary = (uint32_t)(2 * half),
                        .gain = gain,
                        .eps = 1e-6f,
                        .cosine = c,
                        .sine = s};
  memcpy(y, x, h * 4);
  t->rotate(&op, 0, 1);
  double square = 1e-6;
  for (size_t i = 0; i < h; i++) square += (double)x[i] * (double)x[i] / (double)h;
  for (size_t i = 0; i < h; i++) {
    const double by = gain ? 1 / sqrt(square) : 1, g = gain ? (double)gain[i] : 1, size = fabs((double)x[i]) * by;
    double want = (double)x[i] * by * g, error = 1e-5 * (1 + size * fabs(g));
    if (i < 2 * half) {
      const size_t k = i % half, other = i < half ? i + half : i - half;
      const double o = (double)x[other] * by * (gain ? (double)gain[other] : 1);
      want = want * (double)c[k] + (i < half ? -o : o) * (double)s[k];
      error += 1e-5 * fabs(o);
    }
    if (!same_value("rotated", (double)y[i], want, error)) return 0;
  }
  return 1;
}

static int mean_gate(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = 16 * (1 + below(6));
  float *x = vector_of(2 * d, 1), *y = buffer(d * 4, 4), *z = buffer(d * 4, 4);
  qk_gate op = {.x = x, .out = y, .ldx = 2 * d, .ldo = d, .d = (uint32_t)d, .act = QK_ACT_SILU};
  codes_pair c = codes_outputs(1, d);
  op.q = c.ref;
  size_t bad = t->gate(&op, 0, 1);
  for (size_t i = 0; i < d; i++) {
    const double g = (double)x[i / 16 * 32 + i % 16], u = (double)x[i / 16 * 32 + 16 + i % 16],
                 want = g / (1 + exp(-g)) * u;
    if (!same_value("gate", (double)y[i], want, 1e-6 * (1 + fabs(want)))) return 0;
  }
  memcpy(z, y, d * 4);
  return same_count("gate", t->quantize(z, d, (uint32_t)d, NULL, &c.got, 0, 1), bad) && same_codes(&c);
}

/* A row of panels is the row of the product's weights: times a unit vector. */
static int mean_embed_panels(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size(), rows = 1 + below(40), row = below(rows), i = below(d);
  const qk_table_ref table = panel_table(rows, d);
  const int32_t id = (int32_t)row;
  float *x = buffer(d * 4, 4), *y = buffer(rows * 4, 4), *unit = buffer(d * 4, 4);
  qk_embed op = {.ids = &id, .positions = &id, .tokens = table, .norm = {.out = x, .ldo = d, .d = (uint32_t)d}};
  if (t->embed(&op, 0, 1)) return failed("counts a row");
  for (size_t j = 0; j < d; j++) unit[j] = j == i ? 1.0f : 0.0f;
  if (table.bits == 32) {
    qk_gemm_f32 g = {.a = unit, .w = table.data, .out = y, .n = (uint32_t)rows, .k = (uint32_t)d};
    t->gemm_f32(&g, 0, 1, 0, qk_panels(rows));
    return same_value("f32", (double)x[i], (double)y[row], 0);
  }
  qk_codes a = codes_of(1, d, 1);
  for (size_t j = 0; j < a.ld; j++) a.codes[j] = j == i;
  a.scale[0] = 1.0f, a.zero[0] = 0.0f, a.start[0] = -128;
  if (!table.group && table.bits == 8) {
    qk_gemm_q8 g = {.a = a, .w = table.data, .w_scale = table.scale, .w_sums = sums_like(rows), .out = y};
    g.n = (uint32_t)rows, g.k = (uint32_t)d;
    t->gemm_q8(&g, 0, 1, 0, qk_panels(rows));
    return same_value("q8", (double)x[i], (double)y[row], 0);
  }
  const uint32_t group = table.group ? table.group : (uint32_t)qk_k8(d);
  set_groups(&a, 1, d, group);
  float *scales = buffer(qk_weight_bytes_f32(rows, 1), 64);
  for (size_t r = 0; r < rows && !table.group; r++) scales[r] = table.scale[r];
  qk_gemm_group g = {.a = a, .w = table.data, .scale = table.group ? table.scale : scales, .min = table.min, .out = y};
  g.w_sums = vector_of(rows, 1), g.n = (uint32_t)rows, g.k = (uint32_t)d, g.bits = table.bits, g.group = group;
  g.steps = table.steps, g.code_sums = sums_like(rows);
  t->gemm_group(&g, 0, 1, 0, qk_panels(rows));
  return same_value("group", (double)x[i], (double)y[row], 2e-7 * (1 + fabs((double)y[row])) * (table.min ? 16 : 0));
}
#endif
