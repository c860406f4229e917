/* norm.h - layer normalization of rows, with the embedding sum before it and quantization after it (kernels.h: qk_norm,
 * qk_embed). Over lanes. */
#ifndef QK_ROWS_NORM_H
#define QK_ROWS_NORM_H
#include "kernels/rows/quantize.h"

/* y = norm(x), one row. Returns its bounds, smoothed. */
QK_INLINE qk_bounds qk_norm_row(const qk_norm *op, const float *x, float mean, float rstd, float *y,
                                const float *smooth) {
  const size_t whole = op->d / 16 * 16, rest = op->d - whole;
  const float *gain = op->gain, *bias = op->bias;
  const vf mu = vf_set1(mean), by = vf_set1(rstd);
  qk_bounds b = qk_bounds_none();
  for (size_t i = 0; i < whole; i += 16) {
    vf t = vf_fma(vf_mul(vf_sub(vf_load(x + i), mu), by), vf_load(gain + i), vf_load(bias + i));
    vf_store(y + i, t);
    qk_bounds_take(&b, qk_smoothed(t, smooth, i, 16));
  }
  if (rest) {
    vf c = vf_mul(vf_sub(vf_load_part(x + whole, rest), mu), by);
    vf t = vf_fma(c, vf_load_part(gain + whole, rest), vf_load_part(bias + whole, rest));
    vf_store_part(y + whole, t, rest);
    qk_bounds_take(&b, vf_keep(qk_smoothed(t, smooth, whole, rest), rest));
  }
  return b;
}

/* Columns i ... i + 15 rounded to a site. */
QK_INLINE vf qk_round_to(vf x, const qk_sites *s, size_t i) {
  if (!s->by) return x;
  const vf zero = qk_site_at(s->zero, s->by_column, i);
  const vf c = qk_code_of(x, qk_site_at(s->by, s->by_column, i), zero, s->bits > 8 ? QK_LIMIT_16 : 127.0f);
  return vf_mul(vf_sub(c, zero), qk_site_at(s->scale, s->by_column, i));
}

/* 1 / the deviation of a row from its mean. */
static inline float qk_norm_rstd(const qk_norm *op, const float *x, float mean) {
  const size_t whole = op->d / 16 * 16, rest = op->d - whole;
  const vf mu = vf_set1(mean);
  vf s = vf_zero();
  for (size_t i = 0; i < whole; i += 16) {
    const vf c = vf_sub(vf_load(x + i), mu);
    s = vf_add(s, vf_mul(c, c));
  }
  if (rest) {
    const vf c = vf_keep(vf_sub(vf_load_part(x + whole, rest), mu), rest);
    s = vf_add(s, vf_mul(c, c));
  }
  return 1.0f / __builtin_sqrtf(vf_sum(s) / (float)op->d + op->eps);
}

/* Rows row ... row + rows - 1 of op->out = norm(x), x being the first of them, which may be the same rows, of which mean and rstd
   are known; then their codes. Returns how many of them have NaN or infinity in the result: so they have wherever x has. Where
   nothing is quantized, smooth takes no part. */
static __attribute__((noinline)) size_t qk_norm_end(const qk_norm *op, const float *x, size_t ldx, size_t row, int rows,
                                                    const float *mean, const float *rstd) {
  const float *smooth = op->q.codes ? op->smooth : NULL;
  float *y = op->out + row * op->ldo;
  qk_bounds b[QK_ROWS];
  for (int r = 0; r < rows; r++)
    b[r] = QK_FOR_SMOOTH(smooth, qk_norm_row, op, x + (size_t)r * ldx, mean[r], rstd[r], y + (size_t)r * op->ldo);
  return qk_quantize_some(y, op->ldo, op->d, smooth, b, op->q.codes ? &op->q : NULL, row, rows);
}
static inline size_t qk_norm_some(const qk_norm *op, const float *x, size_t ldx, size_t row, int rows) {
  const size_t whole = op->d / 16 * 16, rest = op->d - whole;
  float mean[QK_ROWS], rstd[QK_ROWS];
  for (int r = 0; r < rows; r++) {
    const float *xr = x + (size_t)r * ldx;
    vf s = vf_zero();
    for (size_t i = 0; i < whole; i += 16) s = vf_add(s, vf_load(xr + i));
    if (rest) s = vf_add(s, vf_load_part(xr + whole, rest));
    mean[r] = vf_sum(s) / (float)op->d;
  }
  for (int r = 0; r < rows; r++) rstd[r] = qk_norm_rstd(op, x + (size_t)r * ldx, mean[r]);
  return qk_norm_end(op, x, ldx, row, rows, mean, rstd);
}

static __attribute__((noinline)) size_t qk_rows_norm(const qk_norm *op, size_t r0, size_t r1) {
  size_t bad = 0;
  for (size_t r = r0; r < r1; r += QK_ROWS)
    bad += qk_norm_some(op, op->x + r * op->ldx, op->ldx, r, r1 - r < QK_ROWS ? (int)(r1 - r) : QK_ROWS);
  return bad;
}

/* Codes of 4 or 2 bits of a row, channels i ... i + 15; i is a multiple of 16. */
static inline vi qk_table_codes(const int8_t *row, uint32_t bits, size_t i) {
  if (bits == 4) {
    const vi x = vi_load8(row + i / 32 * 16);
    return vi_and(i % 32 ? vi_shr(x, 4) : x, vi_set1(15));
  }
  vi x = vi_load8(row + i / 64 * 16);
  if (i & 16) x = vi_shr(x, 2);
  if (i & 32) x = vi_shr(x, 4);
  return vi_and(x, vi_set1(3));
}

/* n <= 16 values of a table's row from channel i on; of small codes all 16, the rest being any. */
static inline vf qk_table_values(const qk_table_ref *t, size_t row, uint32_t d, size_t i, size_t n) {
  const size_t at = row * d + i;
  if (t->bits == 32) return qk_load_n((const float *)t->data + at, n);
  const int8_t *codes = (const int8_t *)t->data;
  if (t->bits == 8) {
    const vi c = n >= 16 ? vi_load8(codes + at) : vi_load8_part(codes + at, n);
    return vf_mul(vi_to_vf(c), vf_set1(t->scale[row]));
  }
  const vi c = qk_table_codes(codes + row * qk_table_row(d, t->bits), t->bits, i);
  const int8_t *step = t->step + (row * qk_groups(d, t->group) + i / t->group) * 2;
  return vf_fma(vi_to_vf(c), vf_set1((float)step[0] * t->scale[2 * row]),
                vf_set1((float)step[1] * t->scale[2 * row + 1]));
}

/* Asks for a row of a table: ids are random, so that no row comes unasked. Always inline: gcc drops calls that only ask. */
QK_INLINE void qk_table_ask(const qk_table_ref *t, size_t row, uint32_t d) {
  const size_t bytes = t->bits < 8 ? qk_table_row(d, t->bits) : (size_t)d * (t->bits / 8);
  const char *from = (const char *)t->data + row * bytes;
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i);
  if (t->bits == 8) __builtin_prefetch(t->scale + row);
}

static size_t qk_rows_embed(const qk_embed *op, size_t r0, size_t r1) {
  enum { AHEAD = 8 }; /* rows */
  uint32_t d = op->norm.d;
  for (size_t r = r0; r < r1; r++) {
    float *out = op->norm.out + r * op->norm.ldo;
    if (r + AHEAD < r1) qk_table_ask(&op->tokens, (size_t)op->ids[r + AHEAD], d);
    for (size_t i = 0; i < d; i += 16) {
      size_t n = d - i < 16 ? d - i : 16;
      vf x = qk_table_values(&op->tokens, (size_t)op->ids[r], d, i, n);
      if (op->position.data) x = vf_add(x, qk_table_values(&op->position, (size_t)op->positions[r], d, i, n));
      if (op->types.data) {
        size_t type = op->type_ids ? (size_t)op->type_ids[r] : 0;
        x = vf_add(x, qk_table_values(&op->types, type, d, i, n));
      }
      qk_store_n(out + i, qk_round_to(x, &op->sum, i), n);
    }
  }
  qk_norm norm = op->norm;
  norm.x = norm.out, norm.ldx = norm.ldo;
  return qk_rows_norm(&norm, r0, r1);
}

/* The same of 16 values to a site of 8 bits; zeros may have another sign. A sum with QK_MAGIC has no bits below 1. */
QK_INLINE vf qk_round_bytes(vf x, const qk_sites *s, size_t p) {
  const vf zero = vf_set1(s->zero[p]), magic = vf_set1(QK_MAGIC), code = vf_fma(x, vf_set1(s->by[p]), zero);
  const vf held = vf_min(vf_max(code, vf_set1(-127.0f)), vf_set1(127.0f));
  return vf_mul(vf_sub(vf_add(held, magic), vf_add(zero, magic)), vf_set1(s->scale[p]));
}
/* Channels i ... i + n - 1 of a row, n <= 16; i is a multiple of 16. bytes: they are codes of 8 bits of sites by panels, a constant. */
QK_INLINE vf qk_value_at(const qk_rows *x, size_t row, size_t i, size_t n, const int bytes) {
  const size_t at = row * x->ld + i;
  const uint32_t by_column = bytes ? 0 : x->site.by_column;
  if (!bytes && !x->codes) return qk_load_n(x->floats + at, n);
  vi c = vi_load8(x->codes + at);
  if (!bytes && x->low) c = vi_add(vi_shl(c, 7), vi_load8(x->low + at));
  return vf_mul(vf_sub(vi_to_vf(c), qk_site_at(x->site.zero, by_column, i)), qk_site_at(x->site.scale, by_column, i));
}

/* The sum of a row before its norm, to norm.out. bytes: codes of 8 bits are added and rounded to 8 bits, of sites by panels, a constant. Returns the lanes'
   sums. */
QK_INLINE vf qk_sum_row(const qk_norm_q8 *op, size_t r, const int bytes) {
  const size_t d = op->norm.d;
  const int add = bytes || op->residual.codes || op->residual.floats;
  float *out = op->norm.out + r * op->norm.ldo;
  vf sum = vf_zero();
  for (size_t i = 0; i < d; i += 16) {
    const size_t n = bytes || d - i >= 16 ? 16 : d - i;
    vf x = qk_value_at(&op->x, r, i, n, bytes);
    if (add) {
      vf y = qk_value_at(&op->residual, r, i, n, bytes);
      if (!bytes && op->gain) y = vf_mul(y, qk_load_n(op->gain + i, n));
      x = vf_add(x, y);
    }
    x = bytes ? qk_round_bytes(x, &op->sum, i / 16) : qk_round_to(x, &op->sum, i);
    sum = vf_add(sum, n < 16 ? vf_keep(x, n) : x);
    qk_store_n(out + i, x, n);
  }
  return sum;
}

/* Whether a row's codes can be made as its norm is, if its mean and deviation are numbers: they have 8 bits and a static site by panels, they are 64
   at a time, and none is 2^30 before it is held. (x - mean) / deviation is within the root of d, but for rounding, which is far from a
   factor of 4. */
static inline int qk_norm_is_plain(const qk_norm *op) {
  const qk_codes *q = &op->q;
  vi gain = vi_zero(), bias = vi_zero();
  float by = 0.0f;
  if (!q->codes || !q->site.by || q->site.by_column || q->grouped || q->group_start || q->low || op->smooth ||
      op->d % 64)
    return 0;
  for (size_t i = 0; i < op->d; i += 16) {
    gain = vi_max(gain, qk_magnitude(vf_load(op->gain + i)));
    bias = vi_max(bias, qk_magnitude(vf_load(op->bias + i)));
    by = q->site.by[i / 16] > by ? q->site.by[i / 16] : by;
  }
  const float most = 4.0f * __builtin_sqrtf((float)op->d) * qk_float_of_bits(vi_hmax(gain)) +
                     qk_float_of_bits(vi_hmax(bias));
  return most < 0x1p100f && most * by < 0x1p29f;
}
/* Codes of the norm of x, one row. */
static inline void qk_norm_codes(const qk_norm *op, const float *x, float mean, float rstd, size_t row) {
  const qk_codes *q = &op->q;
  const qk_limits limits = qk_limits_at(q->parts.count ? NULL : q->limits, 0);
  const vl held = vl_of(limits.lowest, limits.highest);
  const vf mu = vf_set1(mean), r = vf_set1(rstd);
  int8_t *codes = q->codes + row * q->ld;
  vi sum = vi_zero();
  for (size_t i = 0; i < op->d; i += 64) {
    vf t[4];
    QK_UNROLL for (size_t j = 0; j < 4; j++) {
      const size_t at = i + j * 16, p = at / 16;
      const vf c = vf_mul(vf_sub(vf_load(x + at), mu), r);
      t[j] = vf_fma(c, vf_load(op->gain + at), vf_load(op->bias + at));
      t[j] = vf_fma(t[j], vf_set1(q->site.by[p]), vf_set1(q->site.zero[p]));
    }
    const vi all = vi_codes_row(t[0], t[1], t[2], t[3], held);
    vi_store((int32_t *)(void *)(codes + i), all);
    sum = vi_add_bytes(sum, all);
  }
  q->start[row] = q->parts.count ? qk_part_starts(q, row) : (int32_t)(-128u * (uint32_t)vi_sum(sum));
  q->scale[row] = q->given_scale[0];
  q->zero[row] = q->given_zero ? q->given_zero[0] : 0.0f;
}

/* A few rows at a time, so that their sums stay in the L1 cache. */
static size_t qk_rows_norm_q8(const qk_norm_q8 *op, size_t r0, size_t r1) {
  const qk_norm *norm = &op->norm;
  const float top = qk_float_of_bits(QK_BITS_INFINITY);
  const int plain = qk_norm_is_plain(norm);
  const int bytes = plain && op->x.codes && !op->x.low && op->residual.codes && !op->residual.low && !op->gain &&
                    op->sum.by && op->sum.bits <= 8 &&
                    !(op->x.site.by_column | op->residual.site.by_column | op->sum.by_column);
  size_t bad = 0;
  for (size_t r = r0; r < r1; r += QK_ROWS) {
    const int rows = r1 - r < QK_ROWS ? (int)(r1 - r) : QK_ROWS;
    const float *x = norm->out + r * norm->ldo;
    float mean[QK_ROWS], rstd[QK_ROWS];
    int finite = plain;
    for (int i = 0; i < rows; i++)
      mean[i] = vf_sum(bytes ? qk_sum_row(op, r + (size_t)i, 1) : qk_sum_row(op, r + (size_t)i, 0)) / (float)norm->d;
    for (int i = 0; i < rows; i++) {
      rstd[i] = qk_norm_rstd(norm, x + (size_t)i * norm->ldo, mean[i]);
      finite &= mean[i] > -top && mean[i] < top && rstd[i] > 0.0f && rstd[i] < top;
    }
    if (finite)
      for (int i = 0; i < rows; i++) qk_norm_codes(norm, x + (size_t)i * norm->ldo, mean[i], rstd[i], r + (size_t)i);
    else
      bad += qk_norm_end(norm, x, norm->ldo, r, rows, mean, rstd);
  }
  return bad;
}
#endif
