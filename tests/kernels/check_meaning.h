/* check_meaning.h - the reference itself: against the definitions written another way, in double or int64. What the
 * other sets are compared with must first be right. */
#ifndef CHECK_MEANING_H
#define CHECK_MEANING_H
#include "tests/kernels/check_codes.h"
#include "kernels/lanes/lanes_ref.h"
#include "kernels/rows/math.h"

/* The emulated fma is the C library's, bit for bit. */
static int mean_fma(const qk_table *ref, const qk_table *t) {
  (void)ref, (void)t;
  for (int i = 0; i < 3000; i++) {
    float a = any_float(), b = any_float(), c = any_float();
    size_t kind = below(8);
    if (kind == 0) c = -(a * b); /* the product's rounding error remains */
    if (kind == 1) c = a * b * ldexpf(1.0f, (int)below(60) - 30);
    if (kind == 2) a = uniform(), b = ldexpf(uniform(), -126), c = scaled(-149, 24);
    if (kind == 3) { /* c halfway between floats, the product far below: the double sum hides it */
      a = ldexpf(1.0f, -(int)below(30)), b = 1.0f + (float)below(4) * 0x1p-23f;
      c = ldexpf((float)(below(1u << 23) + (1u << 23)), (int)below(60) - 30);
      a = ldexpf(c > 0 ? 1.0f : -1.0f, (int)floorf(log2f(fabsf(c))) - 24) * (below(2) ? 1.0f : -1.0f);
      b = 1.0f + ldexpf(1.0f, -(int)below(24));
    }
    if (kind == 4) a = FLT_MAX, b = 1.0f + (float)below(3) * 0x1p-23f, c = scaled(45, 60);
    if (kind == 5) a = ldexpf(uniform(), -70), b = scaled(-79, 24), c = ldexpf(uniform(), -130);
    if (kind == 6 && below(8) == 0) c = below(2) ? INFINITY : NAN;
    if (kind == 7) a = (float)below(16), b = (float)below(16), c = -(float)below(226);
    float got = ref_fma(a, b, c), want = fmaf(a, b, c);
    if (memcmp(&got, &want, 4) && !(isnan(got) && isnan(want)))
      return failed("fma(%a, %a, %a): %a, not %a", (double)a, (double)b, (double)c, (double)got, (double)want);
    vf v = vf_fma(vf_set1(a), vf_set1(b), vf_set1(c));
    if (memcmp(&v.l[5], &want, 4) && !(isnan(v.l[5]) && isnan(want)))
      return failed("vf_fma(%a, %a, %a)", (double)a, (double)b, (double)c);
    float x = below(2) ? a : uniform() * 300.0f + 0.5f * (float)below(2), r = ref_rint(x), w = rintf(x);
    if (memcmp(&r, &w, 4)) return failed("rint(%a): %a, not %a", (double)x, (double)r, (double)w);
  }
  return 1;
}

/* exp2, GELU and the others against double, within the errors that docs/NUMERICS.md states. */
static int mean_math(const qk_table *ref, const qk_table *t) {
  (void)ref;
  float x[256], y[256];
  for (int i = 0; i < 256; i++) x[i] = uniform() * (below(2) ? 6.0f : 130.0f);
  for (int i = 0; i < 256; i += 16) vf_store(y + i, qk_exp2(vf_min(vf_load(x + i), vf_set1(127.0f))));
  for (int i = 0; i < 256; i++) {
    double want = x[i] < -126.0f ? 0.0 : exp2(fmin((double)x[i], 127.0));
    if (!same_value("exp2", (double)y[i], want, want * 1e-7)) return 0;
  }
  for (int i = 0; i < 256; i += 16) vf_store(y + i, qk_exp2_short(vf_min(vf_load(x + i), vf_set1(127.0f))));
  for (int i = 0; i < 256; i++) {
    double want = x[i] <= -125.0f ? 0.0 : exp2(fmin((double)x[i], 127.0));
    if (!same_value("exp2, short", (double)y[i], want, want * 1.02e-4)) return 0;
  }
  for (uint32_t act = 1; act < QK_ACT_KINDS; act++) {
    t->activate(x, y, 256, act);
    for (int i = 0; i < 256; i++) {
      double v = (double)x[i], size = fmax(1.0, fabs(v)), want = 0, error = 0;
      switch (act) {
        case QK_ACT_GELU:
          want = v * 0.5 * (1 + erf(v * sqrt(0.5))), error = 1e-6 * size;
          break;
        case QK_ACT_GELU_SHORT:
          want = v * 0.5 * (1 + erf(v * sqrt(0.5))), error = 4.9e-4 + 1e-6 * size;
          break;
        case QK_ACT_GELU_TANH:
          want = v * 0.5 * (1 + tanh(sqrt(2 / 3.14159265358979324) * (v + 0.044715 * v * v * v))), error = 3e-7 * size;
          break;
        case QK_ACT_RELU:
          want = fmax(v, 0);
          break;
        case QK_ACT_SILU:
          want = v / (1 + exp(-v)), error = 3e-7 * size;
          break;
        default:
          want = tanh(v), error = 2e-7 * fabs(want);
          break;
      }
      if (!same_value("activation", (double)y[i], want, error)) return failed("kind %u at %a", act, v);
    }
  }
  float edges[6] = {5.0f, -5.0f, 1e30f, -1e30f, 0.0f, -0.0f}, out[6];
  t->activate(edges, out, 6, QK_ACT_GELU);
  for (int i = 0; i < 6; i++)
    if (out[i] != (edges[i] > 0 ? edges[i] : 0.0f)) return failed("gelu(%a) is %a", (double)edges[i], (double)out[i]);
  return 1;
}

/* Channels k0 ... k1 - 1 of the values v, which share scale and zero `g`; *finite becomes 0 where they are not. */
static int mean_part(const qk_codes *q, const float *v, size_t k0, size_t k1, size_t g, int *finite) {
  float lo = 0, hi = 0, scale = 0, by = 0, zero = 0;
  int good = 1;
  for (size_t i = k0; i < k1; i++) {
    good = good && isfinite(v[i]);
    lo = fminf(lo, v[i]), hi = fmaxf(hi, v[i]);
  }
  const qk_limits own = q->bits == 4   ? (qk_limits){-8, 7}
                        : q->bits == 6 ? (qk_limits){-32, 31}
                                       : (qk_limits){-127, 127};
  const int clipped = !q->given_scale && q->clip != 0;
  if (clipped) lo *= q->clip, hi *= q->clip;
  const float range = hi - lo, size = fmaxf(-lo, hi), steps = own.highest - own.lowest;
  good = good && isfinite(range);
  *finite = *finite && good;
  const int coded = good && (q->given_scale || range >= 0x1p-100f);
  if (coded && q->given_scale)
    scale = q->given_scale[g], by = 1.0f / scale, zero = q->given_zero ? q->given_zero[g] : 0;
  else if (coded && q->symmetric)
    scale = size / own.highest, by = own.highest / size;
  else if (coded)
    scale = range / steps, by = steps / range, zero = rintf(fmaf(-lo, by, own.lowest));
  for (size_t i = k0; i < k1; i++) {
    const qk_limits l = !q->given_scale ? own : q->limits ? *q->limits : (qk_limits){-127, 127};
    const float code = fminf(fmaxf(fmaf(v[i], by, zero), l.lowest), l.highest);
    const int want = coded ? (int)rintf(code) : 0;
    if (q->codes[i] != want) return failed("code %zu: %d, not %d", i, q->codes[i], want);
    if (coded && !q->given_scale && !clipped &&
        !same_value("value", ((double)want - (double)zero) * (double)scale, (double)v[i], (double)scale * 1.001))
      return 0;
  }
  return same_value("zero", (double)q->zero[g], (double)zero, 0) &&
         same_value("scale", (double)q->scale[g], (double)scale, 0);
}

/* A row of d channels. */
static int mean_codes(const qk_table *t, size_t d, codes_pair c) {
  float *x = vector_of(d, below(8) ? CALM_KINDS : KINDS), *v = buffer(d * 4, 4);
  skew(x, 1, d, d);
  const float *smooth = smooth_of(d);
  const qk_codes *q = &c.got;
  size_t bad = t->quantize(x, d, (uint32_t)d, smooth, q, 0, 1);
  int finite = 1;
  int32_t sum = 0;
  for (size_t i = 0; i < d; i++) v[i] = smooth ? x[i] * smooth[i] : x[i];
  for (size_t g = 0; g < (q->grouped ? qk_groups(d, q->group) : 1); g++) {
    const size_t k0 = g * q->group, k1 = q->grouped && d - k0 > q->group ? k0 + q->group : d;
    if (!mean_part(q, v, k0, k1, g, &finite)) return 0;
  }
  if (bad != (size_t)!finite) return failed("counts %zu of %d", bad, !finite);
  for (size_t i = 0; i < q->ld; i++) {
    sum += q->codes[i];
    if (i >= d && q->codes[i]) return failed("padding is %d", q->codes[i]);
  }
  for (size_t g = 0; q->group_start && g < qk_groups(d, q->group); g++) {
    int32_t part = 0;
    for (size_t i = g * q->group; i < d && i < (g + 1) * q->group; i++) part -= 8 * q->codes[i];
    if (q->group_start[g] != part) return failed("start of group %zu: %d, not %d", g, q->group_start[g], part);
  }
  return q->start[0] == -128 * sum || failed("start %d, not %d", q->start[0], -128 * sum);
}

static int mean_quantize(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  return mean_codes(t, d, any_codes(1, d));
}

/* Known rows: what is 0 stays 0 exactly, one side of 0 gets all codes, constants come back, smoothing is a product. */
static int mean_zero(const qk_table *ref, const qk_table *t) {
  (void)ref;
  static const struct known {
    float x[5];
    float scale, zero;
    int codes[5];
  } rows[] = {
      {{0, 1, 2, 127, 254}, 1, -127, {-127, -126, -125, 0, 127}},  /* no value below 0 */
      {{0, -1, -2, -127, -254}, 1, 127, {127, 126, 125, 0, -127}}, /* none above */
      {{254, 254, 254, 254, 254}, 1, -127, {127, 127, 127, 127, 127}},
      {{-508, -508, -508, -508, -508}, 2, 127, {-127, -127, -127, -127, -127}},
      {{-27, 227, 0, 100, -27}, 1, -100, {-127, 127, -100, 0, -127}},
      {{-127, 127, 0, 1, -1}, 1, 0, {-127, 127, 0, 1, -1}},
      {{-127.5f, 126.5f, 0, 1.25f, -1}, 1, 0, {-127, 126, 0, 1, -1}}, /* zero rounds from 1/2, the first is held */
      {{0, -0.0f, 0, 0, 0}, 0, 0, {0, 0, 0, 0, 0}},
  };
  float smooth[5], x[5];
  for (size_t i = 0; i < 5; i++) smooth[i] = ldexpf(1.0f, (int)below(9) - 4);
  for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
    for (int smoothed = 0; smoothed < 2; smoothed++) {
      const struct known *k = &rows[r];
      codes_pair c = codes_outputs(1, 5);
      for (size_t i = 0; i < 5; i++) x[i] = smoothed ? k->x[i] / smooth[i] : k->x[i];
      if (t->quantize(x, 5, 5, smoothed ? smooth : NULL, &c.got, 0, 1)) return failed("row %zu is counted", r);
      for (size_t i = 0; i < 64; i++)
        if (c.got.codes[i] != (i < 5 ? k->codes[i] : 0)) return failed("row %zu, code %zu: %d", r, i, c.got.codes[i]);
      if (!same_value("zero", (double)c.got.zero[0], (double)k->zero, 0)) return failed("row %zu", r);
      if (!same_value("scale", (double)c.got.scale[0], (double)k->scale, 0)) return 0;
      slots_used = 0, pairs_used = 0;
    }
  float most[2] = {FLT_MAX, -FLT_MAX}; /* finite values, infinite range */
  codes_pair c = codes_outputs(1, 2);
  if (t->quantize(most, 2, 2, NULL, &c.got, 0, 1) != 1 || c.got.scale[0] != 0 || c.got.zero[0] != 0)
    return failed("an infinite range");
  return 1;
}

/* Quantized rows times quantized weights are the float product of what the codes stand for. */
static int mean_asymmetric(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t n = product_cols(), k = product_k(), k8 = qk_k8(k);
  float *x = vector_of(k, 1), *w_scale = scales_of(n, 0), *y = buffer(n * 4, 4);
  skew(x, 1, k, k);
  codes_pair c = codes_outputs(1, k);
  t->quantize(x, k, (uint32_t)k, NULL, &c.got, 0, 1);
  uint8_t *w = weights_of(n, k, below(4));
  qk_gemm_q8 op = {.a = c.got,
                   .w = w,
                   .w_scale = w_scale,
                   .w_sums = sums_of(w, n, k),
                   .out = y,
                   .ldo = n,
                   .n = (uint32_t)n,
                   .k = (uint32_t)k};
  t->gemm_q8(&op, 0, 1, 0, qk_panels(n));
  for (size_t r = 0; r < n; r++) {
    double want = 0, error = 0, size = 0;
    for (size_t i = 0; i < k; i++) {
      double v = ((int)w[r / 16 * 16 * k8 + i / 4 * 64 + r % 16 * 4 + i % 4] - 128) * (double)w_scale[r];
      want += v * (double)x[i];
      error += fabs(v) * (double)c.got.scale[0] * 0.51;
      size += fabs(v) * 254 * (double)c.got.scale[0];
    }
    /* A code is off by 1/2, and where it is held at its limit by zero's rounding too. */
    if (!same_value("product", (double)y[r], want, 2 * error + 1e-6 * size + 1e-24)) return 0;
  }
  return 1;
}

static int mean_norm(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t d = row_size();
  float *x = vector_of(d, 1), *gain = vector_of(d, 1), *bias = vector_of(d, 1), *y = buffer(d * 4, 4);
  const float *smooth = smooth_of(d);
  codes_pair c = codes_outputs(1, d);
  qk_norm op = {
      .x = x, .out = y, .gain = gain, .bias = bias, .smooth = smooth, .q = c.ref, .d = (uint32_t)d, .eps = 1e-5f};
  size_t bad = t->norm(&op, 0, 1);
  /* The codes are those of out, smoothed; out itself is not. */
  if (!same_count("norm", t->quantize(y, d, (uint32_t)d, smooth, &c.got, 0, 1), bad) || !same_codes(&c)) return 0;
  double mean = 0, var = 0;
  for (size_t i = 0; i < d; i++) mean += (double)x[i] / (double)d;
  for (size_t i = 0; i < d; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)d;
  for (size_t i = 0; i < d; i++) {
    double want = ((double)x[i] - mean) / sqrt(var + 1e-5) * (double)gain[i] + (double)bias[i];
    if (!same_value("norm", (double)y[i], want, 2e-5 + fabs(want) * 1e-4)) return 0;
  }
  return 1;
}

/* A table's row, whatever its bits, is the row of floats that it stands for. */
static int mean_embed(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size(), rows = 3;
  qk_table_ref table = a_table(rows, d);
  float *gain = vector_of(d, 1), *bias = vector_of(d, 1), *x = buffer(d * 4, 4), *y = buffer(d * 4, 4);
  const int32_t id = (int32_t)below(rows);
  const size_t row = (size_t)id;
  for (size_t i = 0; i < d; i++) {
    const uint8_t *codes = table.data;
    const size_t groups = table.group ? qk_groups(d, table.group) : 0;
    if (table.bits == 32) x[i] = ((const float *)table.data)[row * d + i];
    if (table.bits == 8) x[i] = (float)(int8_t)codes[row * d + i] * table.scale[row];
    if (table.bits > 4) continue;
    const int8_t *step = table.step + (row * groups + i / table.group) * 2;
    codes += row * qk_k8(d) * table.bits / 8;
    const int code = table.bits == 4 ? codes[i / 32 * 16 + i % 16] >> i % 32 / 16 * 4 & 15
                                     : codes[i / 64 * 16 + i % 16] >> i % 64 / 16 * 2 & 3;
    x[i] = fmaf((float)code, (float)step[0] * table.scale[2 * row], (float)step[1] * table.scale[2 * row + 1]);
  }
  pair out = outputs_f32(d);
  qk_embed op = {.ids = &id, .positions = &id, .tokens = table};
  op.norm = (qk_norm){.gain = gain, .bias = bias, .out = y, .ldo = d, .d = (uint32_t)d, .eps = 1e-5f};
  t->embed(&op, 0, 1);
  memcpy(out.ref, y, d * 4);
  op.norm.x = x, op.norm.out = out.got;
  t->norm(&op.norm, 0, 1);
  return same_floats("embed", out);
}

static int mean_gemm_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t n = product_cols(), k = product_k(), k8 = qk_k8(k);
  qk_codes a = codes_of(1, k, below(4));
  uint8_t *w = weights_of(n, k, below(4));
  float *w_scale = scales_of(n, 0), *bias = vector_of(n, 1), *residual = vector_of(n, 1), *y = buffer(n * 4, 4);
  a.scale[0] = 0.25f;
  qk_gemm_q8 op = {.a = a,
                   .w = w,
                   .w_scale = w_scale,
                   .w_sums = sums_of(w, n, k),
                   .bias = bias,
                   .residual = residual,
                   .out = y,
                   .ldr = n,
                   .ldo = n,
                   .n = (uint32_t)n,
                   .k = (uint32_t)k};
  t->gemm_q8(&op, 0, 1, 0, qk_panels(n));
  for (size_t r = 0; r < n; r++) {
    int64_t acc = 0, sum = 0;
    for (size_t c = 0; c < k; c++) {
      int64_t code = (int)w[r / 16 * 16 * k8 + c / 4 * 64 + r % 16 * 4 + c % 4] - 128;
      acc += a.codes[c] * code;
      sum += code;
    }
    float shifted = fmaf(-a.zero[0], (float)sum, (float)acc);
    float want = fmaf(shifted * w_scale[r], 0.25f, bias[r]) + residual[r];
    if (!same_value("gemm_q8", (double)y[r], (double)want, 0)) return 0;
  }
  return 1;
}

static int mean_gemm_f32(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t n = product_cols(), k = product_k();
  float *a = vector_of(k, 2), *w = buffer(qk_weight_bytes_f32(n, k), 64), *y = buffer(n * 4, 4);
  fill(w, qk_panels(n) * 16 * k, UNIFORM);
  qk_gemm_f32 op = {.a = a, .w = w, .out = y, .ldo = n, .n = (uint32_t)n, .k = (uint32_t)k};
  t->gemm_f32(&op, 0, 1, 0, qk_panels(n));
  for (size_t r = 0; r < n; r++) {
    float want = 0;
    for (size_t c = 0; c < k; c++) want = fmaf(a[c], w[r / 16 * 16 * k + c * 16 + r % 16], want);
    if (!same_value("gemm_f32", (double)y[r], (double)want, 0)) return 0;
  }
  return 1;
}

/* Both attentions against softmax in double: float to rounding, 8 bit to a few hundredths of the values' size. */
static int mean_attention(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t n = head_tokens(), h = head_size();
  float *q = rows_of(n, h, h, 1), *k = rows_of(n, h, h, 1), *v = rows_of(n, h, h, 1);
  float *y = buffer(n * h * 4, 4), *y8 = buffer(n * h * 4, 4), fold = 1.44269504f / sqrtf((float)h);
  const float *bias = bias_of(n);
  qk_attention_f32 f = {.q = q,
                        .k = k,
                        .v = v,
                        .ldx = h,
                        .fold = fold,
                        .bias = bias,
                        .out = y,
                        .ldo = h,
                        .n = (uint32_t)n,
                        .h = (uint32_t)h};
  t->attention_f32(&f, 0, n);
  head_pair p = head_outputs(n, h);
  qk_pack_q8 pack = {.head = p.ref, .q = q, .k = k, .v = v, .ldx = h, .fold = fold};
  t->pack_q8(&pack, 0, n);
  qk_attention_q8 o = {.head = p.ref, .bias = bias, .out = y8, .ldo = h};
  t->attention_q8(&o, 0, n);
  double size = 0; /* mean square length of a value */
  for (size_t j = 0; j < n * h; j++) size += (double)v[j] * (double)v[j] / (double)n;
  for (int look = 0; look < 4; look++) {
    size_t i = below(n);
    double s[256], max = -1e300, z = 0, off = 0;
    for (size_t j = 0; j < n; j++) {
      s[j] = 0;
      for (size_t c = 0; c < h; c++) s[j] += (double)q[i * h + c] * (double)k[j * h + c];
      s[j] = s[j] * (double)fold + (bias ? (double)bias[(ptrdiff_t)j - (ptrdiff_t)i] : 0);
      max = fmax(max, s[j]);
    }
    for (size_t j = 0; j < n; j++) z += s[j] = exp2(s[j] - max);
    for (size_t c = 0; c < h; c++) {
      double want = 0;
      for (size_t j = 0; j < n; j++) want += s[j] / z * (double)v[j * h + c];
      if (!same_value("attention_f32", (double)y[i * h + c], want, 2e-4)) return 0;
      off += ((double)y8[i * h + c] - want) * ((double)y8[i * h + c] - want);
    }
    if (!same_value("attention_q8, relative error", sqrt(off / size), 0, 0.1)) return 0;
  }
  return 1;
}

/* Symmetric codes of a row; returns 1 when it has NaN or infinity. */
static size_t symmetric(const float *x, size_t d, int8_t *codes, float *scale) {
  float a = 0, by = 0;
  int finite = 1;
  for (size_t i = 0; i < d; i++) {
    a = fmaxf(a, fabsf(x[i]));
    finite = finite && isfinite(x[i]);
  }
  *scale = 0;
  if (finite && a >= 0x1p-100f) *scale = a / 127.0f, by = 127.0f / a;
  for (size_t i = 0; i < d; i++) codes[i] = by != 0 ? (int8_t)rintf(x[i] * by) : 0;
  return !finite;
}
/* pack_q8: the codes in their own orders. */
static int mean_pack(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t n = head_tokens(), h = head_size(), hp = qk_round_up(h, 16), bad = 0;
  float *x[3] = {rows_of(n, h, h, KINDS), rows_of(n, h, h, KINDS), rows_of(n, h, h, KINDS)};
  head_pair p = head_outputs(n, h);
  qk_pack_q8 pack = {.head = p.ref, .q = x[0], .k = x[1], .v = x[2], .ldx = h, .fold = 0.5f};
  size_t got = t->pack_q8(&pack, 0, n);
  for (int s = 0; s < 3; s++) {
    const float *scale = s == 0 ? p.ref.q_scale : s == 1 ? p.ref.k_scale : p.ref.v_scale;
    for (size_t r = 0; r < qk_round_up(n, 64); r++) {
      int8_t codes[128] = {0};
      float by_row = 0;
      int32_t sum = 0;
      if (r < n) bad += symmetric(x[s] + r * h, h, codes, &by_row);
      for (size_t i = 0; i < h; i++) sum += codes[i];
      if (!same_value("scale", (double)scale[r], (double)(by_row * (s ? 1.0f : 0.5f)), 0)) return 0;
      if (s == 1 && p.ref.k_start[r] != -128 * sum) return failed("k_start of row %zu", r);
      for (size_t i = 0; i < hp; i++) {
        size_t block = r / 64 * 64 * hp, key = r % 64;
        size_t at = r / 16 * 16 * hp + i / 4 * 64 + r % 16 * 4 + i % 4;
        int code = s == 0   ? p.ref.q[at] - 128
                   : s == 1 ? p.ref.k[at]
                            : p.ref.v[block + i / 16 * 1024 + key % 16 * 64 + i % 16 * 4 + key / 16] - 128;
        int want = i < h ? codes[i] : 0;
        if (code != want) return failed("%c, row %zu, channel %zu: %d, not %d", "qkv"[s], r, i, code, want);
      }
    }
  }
  return same_count("pack_q8", bad, got);
}

static int mean_vectors(const qk_table *ref, const qk_table *t) {
  (void)ref;
  size_t d = row_size(), rows = 1 + below(9);
  float *x = rows_of(rows, d, d, 1), *y = buffer(d * 4, 4), *b = vector_of(d, 1);
  t->mean_rows(x, d, rows, (uint32_t)d, y);
  double dot = 0, square = 0, sum = 0;
  for (size_t i = 0; i < d; i++) {
    double s = 0;
    for (size_t r = 0; r < rows; r++) s += (double)x[r * d + i];
    if (!same_value("mean_rows", (double)y[i], s / (double)rows, 1e-5)) return 0;
    dot += (double)x[i] * (double)b[i];
    square += (double)x[i] * (double)x[i];
  }
  if (!same_value("dot", (double)t->dot(x, b, d), dot, 1e-5 * (double)d)) return 0;
  t->softmax(x, y, d);
  for (size_t i = 0; i < d; i++) sum += exp((double)x[i]);
  for (size_t i = 0; i < d; i++)
    if (!same_value("softmax", (double)y[i], exp((double)x[i]) / sum, 2e-6)) return 0;
  memcpy(y, x, d * 4);
  t->normalize(y, (uint32_t)d);
  for (size_t i = 0; i < d; i++)
    if (!same_value("normalize", (double)y[i], (double)x[i] / fmax(sqrt(square), 1e-12), 1e-5)) return 0;
  return 1;
}

/* Tables: only what the features allow, by name, the best last. */
static int mean_table(const qk_table *ref, const qk_table *t) {
  (void)ref, (void)t;
  qk_table a;
  uint64_t f = qk_cpu_features();
  if (!qk_table_build(&a, NULL, 0) || strcmp(a.isa, "ref")) return failed("no features must give ref");
  if (qk_table_build(&a, "avx2", 0)) return failed("avx2 without its feature");
  if (qk_table_build(&a, "no such", f)) return failed("an unknown set");
  const qk_isa *best = NULL;
  for (uint32_t i = 0; qk_isa_at(i, f); i++) {
    best = qk_isa_at(i, f);
    if (!qk_table_build(&a, best->name, f) || strcmp(a.isa, best->name)) return failed("set %s", best->name);
    const unsigned char *p = (const unsigned char *)&a;
    for (size_t j = 0; j < sizeof a; j += sizeof(void *)) {
      void *q;
      memcpy(&q, p + j, sizeof q);
      if (!q) return failed("%s leaves entry %zu empty", best->name, j / sizeof q);
    }
  }
  if (!best || !qk_table_build(&a, NULL, f) || strcmp(a.isa, best->name)) return failed("the best set is the last");
  return 1;
}

static int code_of(float y, float by, float zero, qk_limits l) {
  const float c = fmaf(y, by, zero);
  return (int)rintf(c > l.lowest ? c < l.highest ? c : l.highest : l.lowest);
}
/* Codes of a product are those of its floats; nothing else is written. */
static int mean_gemm_q8_codes(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t m = 1 + below(3), n = product_cols(), k = product_k(), ldc = n + below(20);
  qk_gemm_q8 op = gemm_q8_of(m, n, k, n, n);
  sites_of(&op, qk_panels(n));
  float *y = buffer(m * n * 4, 4);
  op.out = y;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  int8_t *codes = buffer(m * ldc, 1);
  memset(codes, 0x55, m * ldc);
  op.codes = codes, op.ldc = ldc, op.out = NULL;
  t->gemm_q8(&op, 0, m, 0, qk_panels(n));
  for (size_t r = 0; r < m; r++)
    for (size_t c = 0; c < ldc; c++) {
      const int want = c < n ? code_of(y[r * n + c], op.by[c / 16], op.zero[c / 16], qk_limits_at(op.limits, c / 16))
                             : 0x55;
      if (codes[r * ldc + c] != want) return failed("code %zu of row %zu: %d, not %d", c, r, codes[r * ldc + c], want);
    }
  return 1;
}

static int mean_start_q8(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t d = row_size();
  codes_pair c = codes_outputs(1, d);
  fill_codes(c.got.codes, d);
  int8_t *before = buffer(d, 1);
  memcpy(before, c.got.codes, d);
  t->start_q8(&c.got, (uint32_t)d, 0, 1);
  int32_t sum = 0;
  for (size_t i = 0; i < c.got.ld; i++) {
    if (c.got.codes[i] != (i < d ? before[i] : 0)) return failed("code %zu became %d", i, c.got.codes[i]);
    sum += c.got.codes[i];
  }
  return c.got.start[0] == -128 * sum ? 1 : failed("start %d of the sum %d", c.got.start[0], sum);
}

/* Every entry is the nearest code, as nearly as the activation is exact. */
static int mean_lookup_build(const qk_table *ref, const qk_table *t) {
  (void)ref, (void)t;
  const qk_site in = {fabsf(scaled(-8, 6)) + 1e-3f, (float)((int)below(255) - 127)};
  const qk_site out = {fabsf(scaled(-8, 6)) + 1e-3f, (float)((int)below(255) - 127)};
  for (uint32_t act = 0; act < QK_ACT_KINDS; act++) {
    int8_t table[256];
    qk_lookup_build(table, act, in, out);
    for (int b = 0; b < 256; b++) {
      const double x = ((double)(b < 128 ? b : b - 256) - (double)in.zero) * (double)in.scale, cubed = x * x * x;
      const double gelu_tanh = x * 0.5 * (1 + tanh(sqrt(2 / 3.14159265358979324) * (x + 0.044715 * cubed)));
      const double gelu = x * 0.5 * (1 + erf(x * sqrt(0.5))), off = act == QK_ACT_GELU_SHORT ? 5e-4 : 0;
      const double want[QK_ACT_KINDS] = {x, gelu, gelu_tanh, fmax(x, 0), tanh(x), gelu, x / (1 + exp(-x))};
      const double code = fmin(fmax(want[act] / (double)out.scale + (double)out.zero, -127), 127);
      const double error = 0.5 + (off + 1e-6 * fmax(1, fabs(x)) + 1e-6 * fabs(want[act])) / (double)out.scale + 1e-4;
      if (!same_value("entry", table[b], code, error)) return failed("activation %u, code %d", act, b);
    }
  }
  return 1;
}
#endif
