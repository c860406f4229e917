/* check_products.h - matrix products and attention of a set against the reference. */
#ifndef CHECK_PRODUCTS_H
#define CHECK_PRODUCTS_H
#include "tests/kernels/check_rows.h"

static size_t product_rows(void) {
  return below(2) ? below(14) : PICK(0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 17, 24, 33);
}
static size_t product_cols(void) {
  return below(2) ? 1 + below(150)
                  : PICK(1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 96, 112, 127, 128, 129, 192, 200);
}
static size_t product_k(void) {
  return below(2) ? 1 + below(200) : PICK(1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 192, 256, 384, 511, 1030);
}

/* Panels with every byte value; padding is code 0. kind 1, 2: every code the least, the greatest. */
static uint8_t *weights_of(size_t n, size_t k, size_t kind) {
  size_t k8 = qk_k8(k);
  uint8_t *w = buffer(qk_weight_bytes(n, k, 8), 64);
  for (size_t r = 0; r < qk_panels(n) * QK_PANEL; r++)
    for (size_t c = 0; c < k8; c++) {
      uint8_t byte = kind == 1 ? 0 : kind == 2 ? 255 : (uint8_t)rng();
      w[r / 16 * 16 * k8 + c / 4 * 64 + r % 16 * 4 + c % 4] = r < n && c < k ? byte : 0x80;
    }
  return w;
}
static qk_codes codes_of(size_t rows, size_t k, size_t kind) {
  size_t ld = qk_k8(k);
  qk_codes q = {.codes = buffer(rows * ld, 1), .ld = ld, .scale = scales_of(rows, 1)};
  q.start = buffer(rows * 4, 4), q.zero = buffer(rows * 4, 4);
  for (size_t r = 0; r < rows; r++) {
    q.zero[r] = below(4) ? (float)((int)below(255) - 127) : below(2) ? -127.0f : 127.0f;
    int32_t sum = 0;
    for (size_t c = 0; c < ld; c++) {
      int v = c >= k ? 0 : kind == 1 ? -127 : kind == 2 ? 127 : (int)below(255) - 127;
      q.codes[r * ld + c] = (int8_t)v;
      sum += v;
    }
    q.start[r] = -128 * sum;
  }
  return q;
}
/* Sums of the codes of W's rows. */
static int32_t *sums_of(const uint8_t *w, size_t n, size_t k) {
  size_t k8 = qk_k8(k);
  int32_t *sums = buffer(n * 4, 4);
  for (size_t r = 0; r < n; r++) {
    sums[r] = 0;
    for (size_t c = 0; c < k; c++) sums[r] += (int)w[r / 16 * 16 * k8 + c / 4 * 64 + r % 16 * 4 + c % 4] - 128;
  }
  return sums;
}

static void set_groups(qk_codes *q, size_t rows, size_t k, uint32_t group) {
  const size_t groups = qk_groups(k, group);
  q->group = group;
  q->group_start = buffer(rows * groups * 4, 4);
  for (size_t r = 0; r < rows; r++)
    for (size_t g = 0; g < groups; g++) {
      int32_t sum = 0;
      for (size_t i = g * group; i < k && i < (g + 1) * group; i++) sum += q->codes[r * q->ld + i];
      q->group_start[r * groups + g] = -8 * sum;
    }
}
/* Panels: any code, or by `kind` only the least or the greatest; padding of inputs too, which meets codes of 0. */
static uint8_t *panels_of(size_t n, size_t k, size_t bits, size_t kind) {
  const size_t bytes = qk_weight_bytes(n, k, bits);
  uint8_t *w = buffer(bytes, 64);
  for (size_t i = 0; i < bytes; i++) w[i] = kind == 1 ? 0 : kind == 2 ? 255 : (uint8_t)rng();
  return w;
}
static int32_t *sums_like(size_t n) {
  int32_t *sums = buffer(n * 4, 4);
  for (size_t i = 0; i < n; i++) sums[i] = (int32_t)below(200001) - 100000;
  return sums;
}
/* Panels of scales or minima, those of channels that are not there too. */
static float *group_scales(size_t n, size_t groups) {
  const size_t bytes = qk_weight_bytes_f32(n, groups);
  float *p = buffer(bytes, 64);
  fill(p, bytes / 4, below(4) ? UNIFORM : WIDE);
  return p;
}

enum { PRODUCT_F32, PRODUCT_Q8, PRODUCT_GROUP };
static void split(const qk_table *t, const void *op, int kind, size_t m, size_t panels) {
  size_t mc[8], pc[8], mk = cuts(m, 1, mc), pk = cuts(panels, 1, pc);
  for (size_t i = 0; i < mk; i++)
    for (size_t j = 0; j < pk; j++)
      if (kind == PRODUCT_Q8)
        t->gemm_q8(op, mc[i], mc[i + 1], pc[j], pc[j + 1]);
      else if (kind == PRODUCT_GROUP)
        t->gemm_group(op, mc[i], mc[i + 1], pc[j], pc[j + 1]);
      else
        t->gemm_f32(op, mc[i], mc[i + 1], pc[j], pc[j + 1]);
}
/* out as the residual of itself starts with calm values. */
static void own_residual(pair y, size_t ld, size_t n) {
  for (size_t i = 0; i < y.bytes / 4; i++)
    if (i % ld < n) ((float *)y.ref)[i] = ((float *)y.got)[i] = uniform();
}

/* A product without residual and output. */
static qk_gemm_q8 gemm_q8_of(size_t m, size_t n, size_t k, size_t ldr, size_t ldo) {
  qk_gemm_q8 a = {.a = codes_of(m, k, below(6)),
                  .w = weights_of(n, k, below(6)),
                  .w_scale = scales_of(n, 1),
                  .ldr = ldr,
                  .ldo = ldo,
                  .n = (uint32_t)n,
                  .k = (uint32_t)k,
                  .act = below(2) ? QK_ACT_NONE : (uint32_t)below(QK_ACT_KINDS)};
  a.w_sums = sums_of(a.w, n, k);
  if (below(3)) a.bias = vector_of(n, CALM_KINDS);
  return a;
}
static int compare_gemm_q8(const qk_table *ref, const qk_table *t, size_t m, size_t n, size_t k) {
  size_t ldo = n + below(2) * below(20), ldr = n + below(2) * below(20), residual = below(3);
  pair y = outputs_rows(m, ldo, n);
  qk_gemm_q8 a = gemm_q8_of(m, n, k, residual == 2 ? ldo : ldr, ldo);
  if (residual == 1) a.residual = rows_of(m, ldr, n, CALM_KINDS);
  if (residual == 2) own_residual(y, ldo, n);
  qk_gemm_q8 b = a;
  a.out = y.ref, b.out = y.got;
  if (residual == 2) a.residual = y.ref, b.residual = y.got;
  ref->gemm_q8(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_Q8, m, qk_panels(n));
  return same_rows("out", y, ldo, n);
}

/* A step, and a zero point with which all codes times it are in a byte. */
static uint8_t some_step(uint32_t bits) {
  const int top = bits == 4 ? 7 : 1, low = bits == 4 ? -8 : -2;
  for (;;) {
    const int s = (int)below(16), z = (int)below(16), off = (z ^ 8) - 8;
    if ((low - off) * s >= -128 && (top - off) * s <= 127) return (uint8_t)(z << 4 | s);
  }
}

static uint8_t *steps_of(size_t n, size_t groups, uint32_t bits) {
  uint8_t *steps = buffer(qk_panels(n) * 16 * groups, 1);
  for (size_t i = 0; i < qk_panels(n) * 16 * groups; i++) steps[i] = some_step(bits);
  return steps;
}

/* A group of the product by groups that `kind` (below 6) makes: 0, 1 scales by group, 2 steps; 3 to 5 the same with
   activations that have scales by group, or one scale a channel. */
static qk_gemm_group group_op(size_t m, size_t n, size_t k, size_t kind) {
  const uint32_t bits = (uint32_t)(kind == 2 || kind == 5 ? PICK(2, 4) : PICK(2, 4, 6, 8)), group = group_of(k);
  qk_gemm_group op = {.a = codes_of(m, k, below(6)), .n = (uint32_t)n, .k = (uint32_t)k, .bits = bits, .group = group};
  op.w = panels_of(n, k, bits, below(6));
  const size_t groups = qk_groups(k, group);
  uint32_t a_group = group;
  if (kind >= 3 && (kind == 5 || group == qk_k8(k))) a_group = group_of(k);
  if (kind == 4)
    op.group = 0, op.bits = (uint32_t)PICK(6, 8), a_group = group_of(k), op.w = panels_of(n, k, op.bits, below(6));
  set_groups(&op.a, m, k, a_group);
  if (kind == 2 || kind == 5) {
    op.steps = steps_of(n, groups, bits), op.scale = scales_of(n, 0), op.code_sums = sums_like(n);
    if (kind == 2) op.a.group_start = NULL;
  } else {
    op.scale = op.group ? group_scales(n, groups) : scales_of(n, 0);
    if (op.group && bits != 6 && below(2)) op.min = group_scales(n, groups);
    op.w_sums = vector_of(n, CALM_KINDS);
  }
  if (kind < 3) return op;
  const size_t a_groups = qk_groups(k, a_group);
  op.a.grouped = 1, op.a.symmetric = (uint32_t)below(2);
  op.a.scale = scales_of(m * a_groups, 1), op.a.zero = buffer(m * a_groups * 4, 4);
  for (size_t i = 0; i < m * a_groups; i++) op.a.zero[i] = op.a.symmetric ? 0 : (float)((int)below(255) - 127);
  op.value_sums = op.a.symmetric ? NULL : group_scales(n, a_groups);
  return op;
}

/* Codes of activations of 8 bits become codes of 4: -8 ... 7, the least and the greatest where they were. */
static void narrow(qk_codes *q, size_t rows, size_t k) {
  const size_t groups = qk_groups(k, q->group);
  q->bits = 4;
  for (size_t r = 0; r < rows; r++) {
    int32_t *starts = q->group_start + r * groups, sum = 0;
    memset(starts, 0, groups * sizeof *starts);
    for (size_t i = 0; i < k; i++) {
      int8_t *code = &q->codes[r * q->ld + i];
      *code = (int8_t)(*code >> 4);
      starts[i / q->group] -= 8 * *code;
      sum += *code;
    }
    q->start[r] = -128 * sum;
  }
}

#define NARROW 6u /* kind 0 or 1 of group_op with such codes */
static int compare_gemm_group(const qk_table *ref, const qk_table *t, size_t kind, size_t m, size_t n, size_t k) {
  size_t ldo = n + below(2) * below(20), ldr = n + below(2) * below(20), residual = below(3);
  pair y = outputs_rows(m, ldo, n);
  qk_gemm_group a = group_op(m, n, k, kind == NARROW ? below(2) : kind);
  if (kind == NARROW) narrow(&a.a, m, k);
  a.ldr = residual == 2 ? ldo : ldr, a.ldo = ldo, a.act = below(2) ? QK_ACT_NONE : (uint32_t)below(QK_ACT_KINDS);
  if (below(3)) a.bias = vector_of(n, CALM_KINDS);
  if (residual == 1) a.residual = rows_of(m, ldr, n, CALM_KINDS);
  if (residual == 2) own_residual(y, ldo, n);
  qk_gemm_group b = a;
  a.out = y.ref, b.out = y.got;
  if (residual == 2) a.residual = y.ref, b.residual = y.got;
  ref->gemm_group(&a, 0, m, 0, qk_panels(n));
  split(t, &b, PRODUCT_GROUP, m, qk_panels(n));
  return same_rows("out", y, ldo, n);
}

/* Rows around the blocks in which weights are unpacked, inputs beyond a chunk of them. */
static int check_some_groups(const qk_table *ref, const qk_table *t, size_t kind) {
  size_t m = below(6) ? product_rows() : PICK(39, 40, 41, 47, 48, 49, 97), n = product_cols(), k = product_k();
  return compare_gemm_group(ref, t, kind, m, n, k);
}
static int check_gemm_group(const qk_table *ref, const qk_table *t) { return check_some_groups(ref, t, below(2)); }
static int check_gemm_steps(const qk_table *ref, const qk_table *t) { return check_some_groups(ref, t, 2); }
static int check_gemm_narrow(const qk_table *ref, const qk_table *t) { return check_some_groups(ref, t, NARROW); }
/* Activations with scales by group. */
static int check_gemm_grouped(const qk_table *ref, const qk_table *t) {
  return check_some_groups(ref, t, 3 + below(3));
}

static int check_gemm_q8(const qk_table *ref, const qk_table *t) {
  size_t m = product_rows(), n = product_cols(), k = product_k();
  return compare_gemm_q8(ref, t, m, n, k);
}

/* A single row takes many panels between two epilogues: more than any set has room for. Two and three go the way of all others. */
static int check_few_rows(const qk_table *ref, const qk_table *t) {
  const size_t m = PICK(1, 1, 1, 2, 3), n = 380 + below(450), k = product_k();
  return below(2) ? compare_gemm_q8(ref, t, m, n, k) : compare_gemm_group(ref, t, below(3), m, n, k);
}

/* Integer steps: rows around those that read weights as they lie and those that share what is unpacked, inputs beyond what is unpacked at
   once, and more of them than few rows have room for. */
static int check_steps_rows(const qk_table *ref, const qk_table *t) {
  const size_t many = !below(4), wide = !below(6), kind = below(3) ? 2 : 5;
  const size_t m = many ? PICK(192, 193, 200, 390) : 1 + below(7);
  const size_t n = many || wide ? 1 + below(40) : 1 + below(300);
  const size_t k = wide && !many ? 32768 + below(64) : PICK(576, 640, 641, 1100, 1300, 1536);
  return compare_gemm_group(ref, t, kind, m, n, k);
}

/* Inputs beyond what the sets with the longest chunks unpack at once. */
static int check_group_chunks(const qk_table *ref, const qk_table *t) {
  const size_t m = PICK(3, 4, 5, 7, 129, 133), n = 1 + below(70), k = PICK(1505, 1536, 1537, 1600, 2080, 3100);
  return compare_gemm_group(ref, t, below(NARROW + 1), m, n, k);
}

/* Sizes at which rows come in strips, panels in blocks and K in parts (gemm_amx.h). */
static int check_gemm_q8_large(const qk_table *ref, const qk_table *t) {
  size_t m = below(2) ? 1 + below(70) : PICK(19, 20, 31, 32, 33, 35, 36, 47, 48, 49, 52, 63, 64, 65, 96, 99, 132);
  size_t n = below(2) ? PICK(16, 32, 48, 64, 80, 128, 144, 160) : PICK(31, 100, 129, 200, 256, 272, 304, 390);
  size_t k = below(2) ? PICK(64, 128, 384, 640, 768) : PICK(769, 832, 1024, 1500, 1536, 1600, 2304);
  return compare_gemm_q8(ref, t, m, n, k);
}

static int check_gemm_f32(const qk_table *ref, const qk_table *t) {
  size_t m = product_rows(), n = product_cols(), k = product_k(), ldo = n + below(2) * below(20);
  size_t lda = k + below(2) * below(20), ldr = n + below(2) * below(20), residual = below(3), panels = qk_panels(n);
  pair y = outputs_rows(m, ldo, n);
  float *w = buffer(qk_weight_bytes_f32(n, k), 64);
  fill(w, panels * 16 * k, below(CALM_KINDS));
  qk_gemm_f32 a = {.a = rows_of(m, lda, k, below(3) ? CALM_KINDS : KINDS),
                   .w = w,
                   .lda = lda,
                   .ldr = residual == 2 ? ldo : ldr,
                   .ldo = ldo,
                   .n = (uint32_t)n,
                   .k = (uint32_t)k,
                   .act = below(2) ? QK_ACT_NONE : (uint32_t)below(QK_ACT_KINDS)};
  if (below(3)) a.bias = vector_of(n, CALM_KINDS);
  if (residual == 1) a.residual = rows_of(m, ldr, n, CALM_KINDS);
  if (residual == 2) own_residual(y, ldo, n);
  qk_gemm_f32 b = a;
  a.out = y.ref, b.out = y.got;
  if (residual == 2) a.residual = y.ref, b.residual = y.got;
  ref->gemm_f32(&a, 0, m, 0, panels);
  split(t, &b, PRODUCT_F32, m, panels);
  return same_rows("out", y, ldo, n);
}

/* bias[d], d = key - query: the pointer to d = 0. */
static const float *bias_of(size_t n) {
  if (below(2)) return NULL;
  float *p = buffer((2 * n - 1) * sizeof(float), sizeof(float));
  fill(p, 2 * n - 1, UNIFORM);
  return p + n - 1;
}

static int check_attention_q8(const qk_table *ref, const qk_table *t) {
  size_t n = head_tokens(), h = head_size(), ld = h + below(20), ldo = h + below(2) * below(40), cut[8];
  size_t kinds = below(4) ? 1 + below(CALM_KINDS) : KINDS;
  head_pair p = head_outputs(n, h);
  qk_pack_q8 pack = {.head = p.ref,
                     .q = rows_of(n, ld, h, kinds),
                     .k = rows_of(n, ld, h, kinds),
                     .v = rows_of(n, ld, h, kinds),
                     .ldx = ld,
                     .fold = 1.442695f / sqrtf((float)h)};
  ref->pack_q8(&pack, 0, n);
  for (size_t i = 0; i < n && kinds == KINDS; i++) { /* scales that reach overflow, 0 and the smallest */
    if (below(8) == 0) p.ref.v_scale[i] = ldexpf(1.0f, -149 + (int)below(240));
    if (below(8) == 0) p.ref.k_scale[i] = ldexpf(1.0f, (int)below(240) - 120);
  }
  pair y = outputs_rows(n, ldo, h);
  qk_attention_q8 a = {.head = p.ref, .bias = bias_of(n), .ldo = ldo}, b;
  b = a;
  a.out = y.ref, b.out = y.got;
  ref->attention_q8(&a, 0, n);
  for (size_t i = 0, k = cuts(n, 1, cut); i < k; i++) t->attention_q8(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, h);
}

static int check_attention_f32(const qk_table *ref, const qk_table *t) {
  size_t n = head_tokens(), h = head_size(), ld = h + below(20), ldo = h + below(2) * below(40), cut[8];
  pair y = outputs_rows(n, ldo, h);
  qk_attention_f32 a = {.q = rows_of(n, ld, h, CALM_KINDS),
                        .k = rows_of(n, ld, h, CALM_KINDS),
                        .v = rows_of(n, ld, h, CALM_KINDS),
                        .ldx = ld,
                        .fold = 1.442695f / sqrtf((float)h),
                        .bias = bias_of(n),
                        .ldo = ldo,
                        .n = (uint32_t)n,
                        .h = (uint32_t)h};
  qk_attention_f32 b = a;
  a.out = y.ref, b.out = y.got;
  ref->attention_f32(&a, 0, n);
  for (size_t i = 0, k = cuts(n, 1, cut); i < k; i++) t->attention_f32(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, h);
}
#endif
