/* check_groups.h - products by groups (kernels.h: qk_gemm_group) against what they stand for: one row, every kind, written
 * element by element from the layout's formulas, in int64 and double and with the C library's fma. */
#ifndef CHECK_GROUPS_H
#define CHECK_GROUPS_H
#include "tests/kernels/check_meaning.h"

/* Code of weight (r, c), centred, without its step. */
static int centred(const qk_gemm_group *op, size_t r, size_t c) {
  if (op->bits == 6) {
    const uint8_t *block = op->w + r / 16 * 12 * qk_k8(op->k) + c / 32 * 384 + r % 16 * 4 + c % 4;
    const int low = block[c % 32 / 8 * 64] >> (c % 8 / 4 * 4) & 15,
              high = block[256 + c % 32 / 16 * 64] >> (c % 16 / 4 * 2) & 3;
    return 16 * high + low - 32;
  }
  const size_t steps = 32 / op->bits,
               at = c / steps * 64 + r % 16 * 4 + c % 4; /* inputs that lie in 64 bytes / 16 channels */
  const int byte = op->w[r / 16 * (2 * op->bits) * qk_k8(op->k) + at];
  if (op->bits == 8) return byte - 128;
  const int q = byte >> (c % steps / 4 * op->bits) & ((1 << op->bits) - 1);
  return op->min ? q : q - (op->bits == 4 ? 8 : 2);
}
static size_t panel_at(size_t r, size_t g, size_t groups) { return (r / 16 * groups + g) * 16 + r % 16; }

/* Multiplies exactly: the code that is summed, with its step. */
static int summed(const qk_gemm_group *op, size_t r, size_t c) {
  const int step = op->steps ? op->steps[panel_at(r, c / op->group, qk_groups(op->k, op->group))] : 1;
  return (centred(op, r, c) - ((step / 16 ^ 8) - 8)) * (step % 16);
}
static double value_at(const qk_gemm_group *op, size_t r, size_t c) {
  if (op->steps || !op->group) return summed(op, r, c) * (double)op->scale[r];
  const size_t at = panel_at(r, c / op->group, qk_groups(op->k, op->group));
  return summed(op, r, c) * (double)op->scale[at] + (op->min ? (double)op->min[at] : 0);
}

/* The sums over inputs that belong to W. */
static void sums_of_values(qk_gemm_group *op, float *w_sums, int32_t *code_sums, float *value_sums) {
  const size_t groups = op->a.grouped ? qk_groups(op->k, op->a.group) : 1;
  for (size_t r = 0; r < op->n; r++) {
    double all = 0;
    code_sums[r] = 0;
    for (size_t g = 0; g < groups; g++) {
      double sum = 0;
      for (size_t c = op->a.grouped ? g * op->a.group : 0; c < op->k && (!op->a.grouped || c < (g + 1) * op->a.group);
           c++) {
        sum += value_at(op, r, c);
        code_sums[r] += summed(op, r, c);
      }
      value_sums[panel_at(r, g, groups)] = (float)sum;
      all += sum;
    }
    w_sums[r] = (float)all;
  }
  op->w_sums = w_sums, op->code_sums = code_sums;
  op->value_sums = op->a.grouped && !op->a.symmetric ? value_sums : NULL;
}

/* Group g of row r to acc. */
static float chained(const qk_gemm_group *op, size_t r, size_t g, float acc) {
  int64_t sum = 0, codes = 0;
  for (size_t c = g * op->a.group; c < op->k && c < (g + 1) * op->a.group; c++) {
    sum += op->a.codes[c] * summed(op, r, c);
    codes += op->a.codes[c];
  }
  const size_t w_groups = op->group ? qk_groups(op->k, op->group) : 1, groups = qk_groups(op->k, op->a.group);
  const size_t at = panel_at(r, w_groups > 1 ? g : 0, w_groups);
  const float scale = op->steps || !op->group ? op->scale[r] : op->scale[at];
  const float a = op->a.grouped ? op->a.scale[g] : 1.0f;
  acc = fmaf(op->a.grouped ? (float)sum * scale : (float)sum, op->a.grouped ? a : scale, acc);
  if (op->min) acc = fmaf(a * (float)codes, op->min[at], acc);
  if (op->value_sums) acc = fmaf(-op->a.zero[g] * a, op->value_sums[panel_at(r, g, groups)], acc);
  return acc;
}

static int mean_gemm_group(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = product_cols(), k = product_k(), kind = below(6);
  qk_gemm_group op = group_op(1, n, k, kind);
  const size_t groups = qk_groups(k, op.a.group);
  float *y = buffer(n * 4, 4), *bias = vector_of(n, 1);
  for (size_t i = 0; i < (op.a.grouped ? groups : 1); i++) op.a.scale[i] = 0.25f + 0.5f * (float)below(2);
  sums_of_values(&op, buffer(n * 4, 4), buffer(n * 4, 4), buffer(qk_weight_bytes_f32(n, groups), 64));
  op.out = y, op.ldo = n, op.bias = bias;
  t->gemm_group(&op, 0, 1, 0, qk_panels(n));
  for (size_t r = 0; r < n; r++) {
    double want = 0, size = 0;
    float acc = 0;
    int64_t exact = 0;
    for (size_t c = 0; c < k; c++) {
      const size_t g = op.a.grouped ? c / op.a.group : 0;
      want += value_at(&op, r, c) * ((double)op.a.codes[c] - (double)op.a.zero[g]) * (double)op.a.scale[g];
      size += fabs(value_at(&op, r, c)) * 254;
      exact += summed(&op, r, c) * op.a.codes[c];
    }
    if (op.steps && !op.a.grouped) {
      acc = fmaf(fmaf(-op.a.zero[0], (float)op.code_sums[r], (float)exact) * op.scale[r], op.a.scale[0], bias[r]);
    } else {
      for (size_t g = 0; g < groups; g++) acc = chained(&op, r, g, acc);
      acc = op.a.grouped ? acc + bias[r] : fmaf(fmaf(-op.a.zero[0], op.w_sums[r], acc), op.a.scale[0], bias[r]);
    }
    if (!same_value("gemm_group", (double)y[r], (double)acc, 0) ||
        !same_value("product", (double)y[r], want + (double)bias[r], 1e-6 * size * (double)(groups + 2) + 1e-5))
      return failed("kind %zu, %u bits", kind, op.bits);
  }
  return 1;
}
#endif
