/* attention_ref.c - attention of one head in plain C: the specification (kernels.h: qk_attention_q8, _f32).
 * Keys in blocks of 64 from key 0; blocks merge serially, ascending. Between codes of static sites (qk_attention_codes) there are no
 * blocks. */
#include "kernels/sets.h"
#include "kernels/ref/attend_ref.h"

void qk_attention_q8_ref(const qk_attention_q8 *op, size_t r0, size_t r1) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, h = hd->h, hp = qk_round_up(h, QK_LANES);
  float o[REF_CHANNELS];
  for (size_t i = r0; i < r1; i++) {
    float *out = op->out + i * op->ldo;
    const uint8_t *q = hd->q + i / 16 * 16 * hp + i % 16 * 4;
    const qk_span seen = qk_span_of(i, op->before, n, 0);
    ref_running g = {0};
    if (op->before) g = ref_begin(out, h);
    for (size_t j0 = seen.first / QK_BLOCK * QK_BLOCK; j0 < seen.end; j0 += QK_BLOCK) {
      const ref_codes b = {hd->k + j0 * hp, hd->k_start + j0, hd->k_scale + j0, hd->v + j0 * hp, hd->v_scale + j0};
      const qk_span keys = qk_span_in(seen, j0);
      float x[QK_BLOCK];
      ref_scores(q, &b, hp, x);
      for (size_t j = keys.first; op->bias && j < keys.end; j++)
        x[j] = ref_fma(x[j], hd->q_scale[i], op->bias[(ptrdiff_t)(j0 + j) - (ptrdiff_t)i]);
      ref_merge(&g, ref_weigh(x, op->bias ? 1.0f : hd->q_scale[i], keys, &b, h, o), o, h, out);
    }
    const float whole = 1.0f / g.sum;
    for (size_t c = 0; c < h; c++) out[c] = out[c] * whole;
  }
}

void qk_attention_f32_ref(const qk_attention_f32 *op, size_t r0, size_t r1) {
  const size_t n = op->n, h = op->h;
  float o[REF_CHANNELS];
  for (size_t i = r0; i < r1; i++) {
    float *out = op->out + i * op->ldo;
    const qk_span seen = qk_span_of(i, op->before, n, 0);
    ref_running g = {0};
    if (op->before) g = ref_begin(out, h);
    for (size_t j0 = seen.first / QK_BLOCK * QK_BLOCK; j0 < seen.end; j0 += QK_BLOCK) {
      const float *k = op->k + j0 * op->ldx, *v = op->v + j0 * op->ldx;
      const qk_span keys = qk_span_in(seen, j0);
      float s[QK_BLOCK] = {0};
      for (size_t j = keys.first; j < keys.end; j++) {
        s[j] = ref_dot(op->q + i * op->ldx, k + j * op->ldx, h) * op->fold;
        if (op->bias) s[j] = s[j] + op->bias[(ptrdiff_t)(j0 + j) - (ptrdiff_t)i];
      }
      ref_merge(&g, ref_weigh_f32(s, keys, v, op->ldx, h, o), o, h, out);
    }
    for (size_t c = 0; c < h; c++) out[c] = out[c] / g.sum;
  }
}

/* The code of y. */
static int8_t code_of(float y, const qk_coder *c) {
  float x = ref_fma(y, c->by, c->zero);
  x = x > c->limits.lowest ? x : c->limits.lowest;
  x = x < c->limits.highest ? x : c->limits.highest;
  return (int8_t)ref_rint(x);
}
/* The scores of query i to codes x. */
static void score_codes(const qk_attention_codes *op, size_t i, int8_t *x) {
  const qk_head_codes *hd = &op->head;
  const size_t n = hd->n, hp = qk_round_up(hd->h, QK_LANES);
  const uint8_t *q = hd->q + i / 16 * 16 * hp + i % 16 * 4;
  for (size_t j = 0; j < n; j++) { /* q, k: [hp/4][16][4] */
    const int8_t *k = hd->k + j / 16 * 16 * hp + j % 16 * 4;
    int32_t acc = hd->k_start[j];
    for (size_t c = 0; c < hp; c++) acc += q[c / 4 * 64 + c % 4] * k[c / 4 * 64 + c % 4];
    const float y = (float)acc * op->k_scale * op->q_scale;
    x[j] = code_of(op->bias ? y + op->bias[(ptrdiff_t)j - (ptrdiff_t)i] : y, &op->scores);
  }
}
static int32_t weight_of(const int16_t *exp, int32_t d) { return (exp[d >> 4] * exp[16 + (d & 15)] + (1 << 14)) >> 15; }
/* Codes of scores to those of probabilities. Returns their sum. */
static int32_t probability_codes(const qk_attention_codes *op, int8_t *x) {
  const size_t n = op->head.n;
  int32_t max = x[0], sum = 0, codes = 0;
  for (size_t j = 1; j < n; j++) max = x[j] > max ? x[j] : max;
  for (size_t j = 0; j < n; j++) sum += weight_of(op->exp, max - x[j]);
  const qk_coder by_sum = {op->probs.by / (float)sum, op->probs.zero, op->probs.limits};
  for (size_t j = 0; j < n; j++) codes += x[j] = code_of((float)weight_of(op->exp, max - x[j]), &by_sum);
  return codes;
}

void qk_attention_codes_ref(const qk_attention_codes *op, size_t r0, size_t r1) {
  const qk_head_codes *hd = &op->head;
  const size_t n = hd->n, h = hd->h, k8 = qk_k8(n);
  const vf by = vf_set1(op->context.by), zero = vf_set1(op->context.zero);
  int8_t *x = op->scratch;
  for (size_t i = r0; i < r1; i++) {
    score_codes(op, i, x);
    const int32_t sum = probability_codes(op, x);
    memset(x + n, 0, k8 - n);
    for (size_t c = 0; c < h; c += 16) {
      const vi acc = ref_panel(hd->v + c * k8, x, k8 / 4, -128 * sum);
      const qk_columns columns = {vf_set1(op->v_scale), vf_neg(vi_to_vf(vi_load(hd->v_sums + c))), vf_zero()};
      const vf y = qk_dequant(vi_to_vf(acc), &columns, qk_row_of(op->probs_scale, op->probs.zero));
      const size_t at = i * op->ldc + c;
      qk_store_codes(op->codes + at, op->low ? op->low + at : NULL, y, by, zero, op->context.limits, h - c);
    }
  }
}
