/* fold.c - see fold.h. */
#include "quant/fold.h"

#include <string.h>

int qn_fold_fits(const qn_arch *a, uint32_t input) {
  switch (input) {
    case QN_SITE_QKV_IN:
    case QN_SITE_FFN_UP_IN:
      return a->place != QN_PLACE_POST;
    case QN_SITE_ATTN_OUT_IN:
      return 1;
    case QN_SITE_FFN_DOWN_IN:
      return a->gated || a->activation == QN_ACT_RELU;
    default:
      return 0;
  }
}

void qn_fold_share(const qn_arch *a, float *x) {
  const size_t h = a->head_dim, group = a->heads / a->kv_heads;
  for (size_t kv = 0; kv < a->kv_heads; kv++)
    for (size_t i = 0; i < h; i++) {
      float *first = x + kv * group * h + i, most = 0;
      for (size_t j = 0; j < group; j++) most = first[j * h] > most ? first[j * h] : most;
      for (size_t j = 0; j < group; j++) first[j * h] = most;
    }
}

static void scale_row(float *w, float *bias, size_t k, size_t row, float by) {
  for (size_t i = 0; i < k; i++) w[row * k + i] *= by;
  if (bias) bias[row] *= by;
}

static void fold_values(const float *by, const qn_arch *a, const qn_item *it, float *w, float *bias) {
  const size_t h = a->head_dim, group = a->heads / a->kv_heads, first = (size_t)(a->heads + a->kv_heads) * h;
  for (size_t kv = 0; kv < a->kv_heads; kv++)
    for (size_t i = 0; i < h; i++) scale_row(w, bias, it->k, first + kv * h + i, by[kv * group * h + i]);
}

static void fold_up(const float *by, const qn_arch *a, const qn_item *it, float *w, float *bias) {
  for (size_t i = 0; i < a->ffn; i++) {
    const size_t turn = i / QN_GATE_RUN, row = a->gated ? (2 * turn + 1) * QN_GATE_RUN + i % QN_GATE_RUN : i;
    scale_row(w, bias, it->k, row, by[i]);
  }
}

/* The input that a norm of a layer makes. */
static int input_of(const qn_item *it) {
  return strstr(it->name, ".attn.norm.")  ? (int)QN_SITE_QKV_IN
         : strstr(it->name, ".ffn.norm.") ? (int)QN_SITE_FFN_UP_IN
                                          : -1;
}

void qn_fold_item(const qn_maxima *vectors, const qn_arch *a, const qn_item *it, float *w, float *bias) {
  if (it->layer < 0) return;
  const uint32_t layer = (uint32_t)it->layer;
  if (it->input == QN_SITE_QKV_IN) {
    fold_values(qn_maxima_of(vectors, layer, QN_SITE_ATTN_OUT_IN), a, it, w, bias);
  } else if (it->input == QN_SITE_FFN_UP_IN && qn_fold_fits(a, QN_SITE_FFN_DOWN_IN)) {
    fold_up(qn_maxima_of(vectors, layer, QN_SITE_FFN_DOWN_IN), a, it, w, bias);
  } else if (it->kind == QN_ITEM_VECTOR && a->place != QN_PLACE_POST && input_of(it) >= 0) {
    const float *by = qn_maxima_of(vectors, layer, (uint32_t)input_of(it));
    for (size_t i = 0; i < it->n; i++) w[i] *= by[i];
  }
}
