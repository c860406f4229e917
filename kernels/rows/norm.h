/* norm.h - layer normalization of rows, with the embedding sum before it and quantization after it (kernels.h: qk_norm,
 * qk_embed). Over lanes. */
#ifndef QK_ROWS_NORM_H
#define QK_ROWS_NORM_H
#include "kernels/rows/quantize.h"

/* y = norm(x), which may be the same row; then its codes. 1 when y has NaN or infinity: so it has wherever x has. */
static inline size_t qk_norm_row(const qk_norm *op, const float *x, float *y, size_t row) {
  size_t d = op->d, whole = d / 16 * 16, rest = d - whole;
  float count = (float)op->d;
  vf s = vf_zero(), v = vf_zero();
  for (size_t i = 0; i < whole; i += 16) s = vf_add(s, vf_load(x + i));
  if (rest) s = vf_add(s, vf_load_part(x + whole, rest));
  vf mean = vf_set1(vf_sum(s) / count);
  for (size_t i = 0; i < whole; i += 16) {
    vf c = vf_sub(vf_load(x + i), mean);
    v = vf_add(v, vf_mul(c, c));
  }
  if (rest) {
    vf c = vf_keep(vf_sub(vf_load_part(x + whole, rest), mean), rest);
    v = vf_add(v, vf_mul(c, c));
  }
  float var = vf_sum(v) / count;
  vf rstd = vf_set1(1.0f / __builtin_sqrtf(var + op->eps));
  vi m = vi_zero();
  for (size_t i = 0; i < whole; i += 16) {
    vf c = vf_sub(vf_load(x + i), mean);
    vf t = vf_fma(vf_mul(c, rstd), vf_load(op->gain + i), vf_load(op->bias + i));
    m = vi_max(m, qk_magnitude(t));
    vf_store(y + i, t);
  }
  if (rest) {
    vf c = vf_keep(vf_sub(vf_load_part(x + whole, rest), mean), rest);
    vf t = vf_fma(vf_mul(c, rstd), vf_load_part(op->gain + whole, rest), vf_load_part(op->bias + whole, rest));
    m = vi_max(m, qk_magnitude(vf_keep(t, rest)));
    vf_store_part(y + whole, t, rest);
  }
  int32_t absmax = vi_hmax(m);
  if (op->q.codes) return qk_quantize_row(y, op->d, absmax, &op->q, row);
  return absmax >= QK_BITS_INFINITY;
}

static size_t qk_rows_norm(const qk_norm *op, size_t r0, size_t r1) {
  size_t bad = 0;
  for (size_t r = r0; r < r1; r++) bad += qk_norm_row(op, op->x + r * op->ldx, op->out + r * op->ldo, r);
  return bad;
}

/* n <= 16 values of a table's row from channel i on. */
static inline vf qk_table_values(const qk_table_ref *t, size_t row, uint32_t d, size_t i, size_t n) {
  size_t at = row * d + i;
  if (!t->scale) return qk_load_n((const float *)t->data + at, n);
  const int8_t *codes = (const int8_t *)t->data + at;
  vi c = n >= 16 ? vi_load8(codes) : vi_load8_part(codes, n);
  return vf_mul(vi_to_vf(c), vf_set1(t->scale[row]));
}

static size_t qk_rows_embed(const qk_embed *op, size_t r0, size_t r1) {
  size_t bad = 0;
  uint32_t d = op->norm.d;
  for (size_t r = r0; r < r1; r++) {
    float *out = op->norm.out + r * op->norm.ldo;
    for (size_t i = 0; i < d; i += 16) {
      size_t n = d - i < 16 ? d - i : 16;
      vf x = qk_table_values(&op->tokens, (size_t)op->ids[r], d, i, n);
      if (op->position.data) x = vf_add(x, qk_table_values(&op->position, (size_t)op->positions[r], d, i, n));
      if (op->types.data) {
        size_t type = op->type_ids ? (size_t)op->type_ids[r] : 0;
        x = vf_add(x, qk_table_values(&op->types, type, d, i, n));
      }
      qk_store_n(out + i, x, n);
    }
    bad += qk_norm_row(&op->norm, out, out, r);
  }
  return bad;
}
#endif
