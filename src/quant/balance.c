/* balance.c - see balance.h. */
#include "quant/balance.h"

#include <math.h>
#include <string.h>

/* Of channel i of `heads` heads the largest, its partner's included. */
static float largest(const qn_arch *a, const float *maxima, uint32_t heads, uint32_t i) {
  const uint32_t half = a->rotary / 2, partner = i >= a->rotary ? i : i < half ? i + half : i - half;
  float most = 0;
  for (uint32_t j = 0; j < heads; j++)
    most = fmaxf(most, fmaxf(maxima[j * a->head_dim + i], maxima[j * a->head_dim + partner]));
  return most;
}

/* What channel i of head `kv` of keys is multiplied by: the square root of the queries' maximum over the keys'. Norms by head have the
   same gains in all heads. */
static float factor(const qn_maxima *m, const qn_arch *a, uint32_t layer, uint32_t kv, uint32_t i) {
  const uint32_t group = a->heads / a->kv_heads, heads = a->head_norm ? a->kv_heads : 1;
  const size_t first = a->head_norm ? 0 : (size_t)kv * a->head_dim;
  const float q = largest(a, qn_maxima_of(m, layer, QN_SITE_Q) + first * group, heads * group, i);
  const float k = largest(a, qn_maxima_of(m, layer, QN_SITE_K) + first, heads, i);
  return q > 0x1p-40f && k > 0x1p-40f && q < 0x1p40f && k < 0x1p40f ? sqrtf(q / k) : 1.0f;
}

static void scale(float *w, size_t n, float by) {
  for (size_t i = 0; i < n; i++) w[i] *= by;
}

void qn_balance_item(const qn_maxima *m, const qn_arch *a, const qn_item *it, float *w, float *bias) {
  if (!m->data || !m->inputs.width[QN_SITE_K] || it->layer < 0) return;
  const uint32_t layer = (uint32_t)it->layer, group = a->heads / a->kv_heads, h = a->head_dim;
  const size_t length = strlen(it->name);
  const char *norm = length > 11 ? it->name + length - 11 : ""; /* "q.norm.gain" */
  if (it->input == QN_SITE_QKV_IN && !a->head_norm) {
    for (uint32_t r = 0; r < (a->heads + a->kv_heads) * h; r++) {
      const int key = r >= a->heads * h;
      const float f = factor(m, a, layer, key ? r / h - a->heads : r / h / group, r % h), by = key ? f : 1.0f / f;
      scale(w + (size_t)r * it->k, it->k, by);
      bias[r] *= by;
    }
  } else if (!strcmp(norm, "k.norm.gain") || !strcmp(norm, "q.norm.gain")) {
    for (uint32_t i = 0; i < h; i++) {
      const float f = factor(m, a, layer, 0, i);
      w[i] *= norm[0] == 'k' ? f : 1.0f / f;
    }
  }
}
