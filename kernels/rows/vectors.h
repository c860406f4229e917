/* vectors.h - operations on one vector or over rows: activation, mean, length 1, dot product, softmax. Over lanes. */
#ifndef QK_ROWS_VECTORS_H
#define QK_ROWS_VECTORS_H
#include "kernels/rows/quantize.h"

static void qk_rows_activate(const float *x, float *y, size_t n, uint32_t act) {
  size_t i = 0;
#define QK_WHOLE(kind, fn)                                                                                             \
  case kind:                                                                                                           \
    for (; i + 16 <= n; i += 16) vf_store(y + i, fn(vf_load(x + i)));                                                  \
    break;
  switch (act) {
    QK_WHOLE(QK_ACT_GELU, qk_gelu)
    QK_WHOLE(QK_ACT_GELU_TANH, qk_gelu_tanh)
    QK_WHOLE(QK_ACT_RELU, qk_relu)
    QK_WHOLE(QK_ACT_TANH, qk_tanh)
    QK_WHOLE(QK_ACT_GELU_SHORT, qk_gelu_short)
    QK_WHOLE(QK_ACT_SILU, qk_silu)
  }
#undef QK_WHOLE
  for (; i < n; i += 16) qk_store_n(y + i, qk_act(qk_load_n(x + i, n - i), act), n - i);
}

static void qk_rows_cap(const float *x, float *y, size_t n, float cap) {
  for (size_t i = 0; i < n; i += 16) qk_store_n(y + i, qk_capped(qk_load_n(x + i, n - i), vf_set1(cap)), n - i);
}

static void qk_rows_mean(const float *x, size_t ldx, size_t rows, uint32_t d, float *out) {
  vf by = vf_set1(1.0f / (float)rows);
  size_t c = 0;
  for (; c + 64 <= d; c += 64) {
    vf s0 = vf_zero(), s1 = vf_zero(), s2 = vf_zero(), s3 = vf_zero();
    for (size_t r = 0; r < rows; r++) {
      const float *p = x + r * ldx + c;
      s0 = vf_add(s0, vf_load(p));
      s1 = vf_add(s1, vf_load(p + 16));
      s2 = vf_add(s2, vf_load(p + 32));
      s3 = vf_add(s3, vf_load(p + 48));
    }
    vf_store(out + c, vf_mul(s0, by));
    vf_store(out + c + 16, vf_mul(s1, by));
    vf_store(out + c + 32, vf_mul(s2, by));
    vf_store(out + c + 48, vf_mul(s3, by));
  }
  for (; c < d; c += 16) {
    vf s = vf_zero();
    for (size_t r = 0; r < rows; r++) s = vf_add(s, qk_load_n(x + r * ldx + c, d - c));
    qk_store_n(out + c, vf_mul(s, by), d - c);
  }
}

static void qk_rows_normalize(float *x, uint32_t d) {
  vf s = vf_zero();
  for (size_t i = 0; i < d; i += 16) {
    vf v = qk_load_n(x + i, d - i);
    s = vf_add(s, vf_mul(v, v));
  }
  float length = __builtin_sqrtf(vf_sum(s));
  vf by = vf_set1(length > 1e-12f ? length : 1e-12f);
  for (size_t i = 0; i < d; i += 16) qk_store_n(x + i, vf_div(qk_load_n(x + i, d - i), by), d - i);
}

static float qk_rows_dot(const float *a, const float *b, size_t n) {
  vf s = vf_zero();
  for (size_t i = 0; i < n; i += 16) s = vf_fma(qk_load_n(a + i, n - i), qk_load_n(b + i, n - i), s);
  return vf_sum(s);
}

/* The maximum starts at -infinity; a tail's missing elements are -infinity too and take no part in the sum. */
static void qk_rows_softmax(const float *x, float *y, size_t n) {
  vf low = vf_set1(qk_float_of_bits(QK_BITS_INFINITY | INT32_MIN)), m = low, s = vf_zero();
  size_t whole = n / 16 * 16, rest = n - whole;
  for (size_t i = 0; i < whole; i += 16) m = vf_max(m, vf_load(x + i));
  float last[16];
  if (rest) {
    vf_store(last, low);
    memcpy(last, x + whole, rest * sizeof(float));
    m = vf_max(m, vf_load(last));
  }
  vf max = vf_set1(vf_hmax(m));
  for (size_t i = 0; i < n; i += 16) {
    vf e = vf_keep(qk_exp(vf_sub(qk_load_n(x + i, n - i), max)), n - i < 16 ? n - i : 16);
    s = vf_add(s, e);
    qk_store_n(y + i, e, n - i);
  }
  vf sum = vf_set1(vf_sum(s));
  for (size_t i = 0; i < n; i += 16) qk_store_n(y + i, vf_div(qk_load_n(y + i, n - i), sum), n - i);
}
#endif
