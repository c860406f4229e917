/* norm.h - normalization of rows, quantized after it (kernels.h: qk_norm, qk_norm_q8). Over lanes. */
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

/* The same of an RMS norm, and what is added to it. */
static qk_bounds qk_rms_row(const qk_norm *op, const float *x, float rstd, float *y, const float *residual,
                            const float *smooth) {
  const size_t d = op->d;
  const vf by = vf_set1(rstd);
  qk_bounds b = qk_bounds_none();
  for (size_t i = 0; i < d; i += 16) {
    const size_t n = d - i < 16 ? d - i : 16;
    vf t = vf_mul(vf_mul(qk_load_n(x + i, n), by), qk_load_n(op->gain + i, n));
    if (residual) t = vf_add(t, qk_load_n(residual + i, n));
    qk_store_n(y + i, t, n);
    t = qk_smoothed(t, smooth, i, n);
    qk_bounds_take(&b, n < 16 ? vf_keep(t, n) : t);
  }
  return b;
}

/* x, columns i ... i + 15, rounded to a site; as they are where its `by` is NULL. */
QK_INLINE vf qk_round_to(vf x, const qk_sites *s, size_t i) {
  if (!s->by) return x;
  const vf zero = qk_site_at(s->zero, s->by_column, i);
  const vf c = qk_code_of(x, qk_site_at(s->by, s->by_column, i), zero, s->bits > 8 ? QK_LIMIT_16 : 127.0f);
  return vf_mul(vf_sub(c, zero), qk_site_at(s->scale, s->by_column, i));
}

/* The same to a site of 8 bits that is there. A 0 may have the other sign, which codes of a norm do not show. A sum with QK_MAGIC
   has no bits below 1: adding it rounds. */
QK_INLINE vf qk_round_bytes(vf x, const qk_sites *s, size_t p) {
  const vf zero = vf_set1(s->zero[p]), magic = vf_set1(QK_MAGIC), code = vf_fma(x, vf_set1(s->by[p]), zero);
  const vf held = vf_min(vf_max(code, vf_set1(-127.0f)), vf_set1(127.0f));
  return vf_mul(vf_sub(vf_add(held, magic), vf_add(zero, magic)), vf_set1(s->scale[p]));
}
static inline float qk_norm_mean(const qk_norm *op, const float *x) {
  const size_t whole = op->d / 16 * 16, rest = op->d - whole;
  vf s = vf_zero();
  for (size_t i = 0; i < whole; i += 16) s = vf_add(s, vf_load(x + i));
  if (rest) s = vf_add(s, vf_load_part(x + whole, rest));
  return vf_sum(s) / (float)op->d;
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

/* Rows row ... row + rows - 1 of op->out = norm(x), then their codes. x: the first of the input's rows, which may be op->out's;
   mean, rstd: [rows]. Returns how many have NaN or infinity in the result, which includes all that have some in x. Where nothing
   is quantized, smooth takes no part. */
static __attribute__((noinline)) size_t qk_norm_end(const qk_norm *op, const float *x, size_t ldx, size_t row, int rows,
                                                    const float *mean, const float *rstd) {
  const float *smooth = op->q.codes ? op->smooth : NULL;
  float *y = op->out + row * op->ldo;
  qk_bounds b[QK_ROWS];
  for (int r = 0; r < rows; r++) {
    const float *xr = x + (size_t)r * ldx, *residual = op->residual ? op->residual + (row + (size_t)r) * op->ldr : NULL;
    float *yr = y + (size_t)r * op->ldo;
    b[r] = op->rms ? qk_rms_row(op, xr, rstd[r], yr, residual, smooth)
                   : QK_FOR_SMOOTH(smooth, qk_norm_row, op, xr, mean[r], rstd[r], yr);
  }
  return qk_quantize_some(y, op->ldo, op->d, smooth, b, op->q.codes ? &op->q : NULL, row, rows);
}
/* The same of rows whose mean is not known. */
static inline size_t qk_norm_some(const qk_norm *op, const float *x, size_t ldx, size_t row, int rows) {
  float mean[QK_ROWS], rstd[QK_ROWS];
  for (int r = 0; r < rows; r++) mean[r] = op->rms ? 0.0f : qk_norm_mean(op, x + (size_t)r * ldx);
  for (int r = 0; r < rows; r++) rstd[r] = qk_norm_rstd(op, x + (size_t)r * ldx, mean[r]);
  return qk_norm_end(op, x, ldx, row, rows, mean, rstd);
}

static __attribute__((noinline)) size_t qk_rows_norm(const qk_norm *op, size_t r0, size_t r1) {
  size_t bad = 0;
  for (size_t r = r0; r < r1; r += QK_ROWS)
    bad += qk_norm_some(op, op->x + r * op->ldx, op->ldx, r, r1 - r < QK_ROWS ? (int)(r1 - r) : QK_ROWS);
  return bad;
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

/* out[i] = x[order[i]]. Returns the lanes' sums. */
static inline vf qk_take_row(const float *x, const int32_t *order, size_t d, float *out) {
  vf sum = vf_zero();
  size_t i = 0;
  for (; i + 16 <= d; i += 16) {
    const vf t = vf_take(x, order + i);
    sum = vf_add(sum, t);
    vf_store(out + i, t);
  }
  if (i < d) {
    for (size_t j = i; j < d; j++) out[j] = x[order[j]];
    sum = vf_add(sum, vf_load_part(out + i, d - i));
  }
  return sum;
}

/* The sum of a row before its norm, to norm.out. bytes: codes of 8 bits are added and rounded to 8 bits, all of sites by panels, a
   constant. Returns the lanes' sums. */
QK_INLINE vf qk_sum_row(const qk_norm_q8 *op, size_t r, const int bytes) {
  const size_t d = op->norm.d;
  const int add = bytes || op->residual.codes || op->residual.floats;
  float *out = op->order ? op->row : op->norm.out + r * op->norm.ldo;
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
  return op->order ? qk_take_row(out, op->order, d, op->norm.out + r * op->norm.ldo) : sum;
}

/* Whether codes can be made as the norm is, without floats in memory, of rows whose mean and deviation are numbers: codes have 8 bits
   and a static site by panels, 64 channels make up a step, and none is 2^30 or more before it is held to its limits:
   (x - mean) / deviation is within the root of d, but for rounding, which is far from a factor of 4. */
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
/* Codes of the norm of x, one row, where qk_norm_is_plain. */
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
