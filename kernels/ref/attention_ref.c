/* attention_ref.c - attention of one head in plain C: the specification (kernels.h: qk_attention_q8, _f32).
 * Keys in blocks of 64 from key 0; blocks merge serially, ascending. Between codes of static sites (qk_attention_codes) there are no
 * blocks. */
#include "kernels/sets.h"
#include "kernels/ref/panel_ref.h"
#include "kernels/rows/epilogue.h"

/* What one query knows of the blocks so far: M and Z; O stands in the output row. */
typedef struct running {
  float max, sum;
} running;

static float max_of(const float *s, size_t n) {
  float max = s[0];
  for (size_t j = 1; j < n; j++) max = max > s[j] ? max : s[j];
  return max;
}

/* Scores of a block to e_j = exp2(s_j - m), 0 from key `live` on; *m: their maximum. Returns z = sum16(e). */
static float block_exp(const float s[QK_BLOCK], size_t live, float e[QK_BLOCK], float *m) {
  const float max = max_of(s, live);
  vf z = vf_zero();
  for (size_t j = 0; j < QK_BLOCK; j += 16) {
    size_t n = live > j ? live - j : 0;
    vf x = vf_keep(qk_exp2(vf_sub(vf_load(s + j), vf_set1(max))), n < 16 ? n : 16);
    vf_store(e + j, x);
    z = vf_add(z, x);
  }
  *m = max;
  return vf_sum(z);
}

static float exp2_of(float x) { return vf_first(qk_exp2(vf_set1(x))); }

/* Merges block b's m and z. O_c becomes fma(*keep, O_c, *add * o_c), where o_c * scale are the block's values; for
   block 0 (*keep = 0) it is *add * o_c. */
static void merge(running *g, size_t b, float m, float z, float scale, float *keep, float *add) {
  if (b == 0) {
    *g = (running){m, z};
    *keep = 0.0f;
    *add = scale;
    return;
  }
  float max = g->max > m ? g->max : m, now = exp2_of(m - max);
  *keep = exp2_of(g->max - max);
  *add = now * scale;
  *g = (running){max, ref_fma(*keep, g->sum, now * z)};
}

void qk_attention_q8_ref(const qk_attention_q8 *op, size_t r0, size_t r1) {
  const qk_head_q8 *hd = &op->head;
  size_t n = hd->n, h = hd->h, hp = qk_round_up(h, QK_LANES);
  for (size_t i = r0; i < r1; i++) {
    float *out = op->out + i * op->ldo, f = op->bias ? 1.0f : hd->q_scale[i];
    running g = {0.0f, 0.0f};
    for (size_t b = 0; b * QK_BLOCK < n; b++) {
      size_t j0 = b * QK_BLOCK, live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
      const int8_t *k = hd->k + j0 * hp;
      const uint8_t *q = hd->q + i / 16 * 16 * hp + i % 16 * 4, *v = hd->v + j0 * hp;
      float x[QK_BLOCK], e[QK_BLOCK], u[QK_BLOCK], t = 0.0f, keep, add;
      for (size_t j = 0; j < QK_BLOCK; j++) { /* q, k: [hp/4][16][4] */
        int32_t acc = hd->k_start[j0 + j];
        for (size_t c = 0; c < hp; c++)
          acc += q[c / 4 * 64 + c % 4] * k[j / 16 * 16 * hp + c / 4 * 64 + j % 16 * 4 + c % 4];
        x[j] = (float)acc * hd->k_scale[j0 + j];
      }
      for (size_t j = 0; op->bias && j < live; j++)
        x[j] = ref_fma(x[j], hd->q_scale[i], op->bias[(ptrdiff_t)(j0 + j) - (ptrdiff_t)i]);
      const float m = max_of(x, live) * f;
      vf z = vf_zero();
      for (size_t j = 0; j < QK_BLOCK; j += 16) {
        size_t some = live > j ? live - j : 0;
        vf y = qk_exp2_short(vf_fma(vf_load(x + j), vf_set1(f), vf_set1(-m)));
        vf_store(e + j, vf_keep(y, some < 16 ? some : 16));
        z = vf_add(z, vf_load(e + j));
      }
      for (size_t j = 0; j < QK_BLOCK; j++) {
        u[j] = e[j] * hd->v_scale[j0 + j];
        t = u[j] > t ? u[j] : t; /* +0 if none is above it, whatever the order */
      }
      int8_t p[QK_BLOCK];
      float by = t < 0x1p-100f ? 0.0f : 127.0f / t;
      int32_t sum = 0;
      for (size_t j = 0; j < QK_BLOCK; j++) { /* keys j, 16 + j, 32 + j, 48 + j lie together */
        const uint8_t code = (uint8_t)ref_bits(ref_fma(u[j], by, QK_MAGIC)); /* 0 ... 127 */
        p[j % 16 * 4 + j / 16] = (int8_t)code;
        sum += code;
      }
      merge(&g, b, m, vf_sum(z), t / 127.0f, &keep, &add);
      for (size_t c = 0; c < h; c += 16) { /* v: [hp/16][16][16][4] */
        vi acc = ref_panel(v + c * QK_BLOCK, p, QK_BLOCK / 4, -128 * sum);
        for (size_t l = 0; l < 16 && c + l < h; l++) {
          float o = add * (float)acc.l[l];
          out[c + l] = b ? ref_fma(keep, out[c + l], o) : o;
        }
      }
    }
    const float whole = 1.0f / g.sum;
    for (size_t c = 0; c < h; c++) out[c] = out[c] * whole;
  }
}

void qk_attention_f32_ref(const qk_attention_f32 *op, size_t r0, size_t r1) {
  size_t n = op->n, h = op->h;
  for (size_t i = r0; i < r1; i++) {
    const float *q = op->q + i * op->ldx;
    float *out = op->out + i * op->ldo;
    running g = {0.0f, 0.0f};
    for (size_t b = 0; b * QK_BLOCK < n; b++) {
      size_t j0 = b * QK_BLOCK, live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
      const float *k = op->k + j0 * op->ldx, *v = op->v + j0 * op->ldx;
      float s[QK_BLOCK] = {0}, e[QK_BLOCK], m, keep, add;
      for (size_t j = 0; j < live; j++) {
        float dot = 0.0f;
        for (size_t c = 0; c < h; c++) dot = ref_fma(q[c], k[j * op->ldx + c], dot);
        s[j] = dot * op->fold;
        if (op->bias) s[j] = s[j] + op->bias[(ptrdiff_t)(j0 + j) - (ptrdiff_t)i];
      }
      float z = block_exp(s, live, e, &m);
      merge(&g, b, m, z, 1.0f, &keep, &add);
      for (size_t c = 0; c < h; c++) {
        float o = 0.0f;
        for (size_t j = 0; j < live; j++) o = ref_fma(e[j], v[j * op->ldx + c], o);
        out[c] = b ? ref_fma(keep, out[c], add * o) : add * o;
      }
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
