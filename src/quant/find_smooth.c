/* find_smooth.c - smoothing vectors of all inputs that are transformed, before anything is written: those that fold change tensors that come
 * before their operator (quantizer.h). They are found of the source's weights, whatever is folded into those. */
#include <string.h>

#include "quant/fold.h"
#include "quant/quantizer.h"

static quern_status find(qn_quantizer *q, qn_item *it) {
  const uint32_t layer = (uint32_t)it->layer, input = (uint32_t)it->input;
  float *to = q->smoothed.data + qn_inputs_at(&q->smoothed.inputs, layer, input);
  const size_t k = it->k;
  if (q->arch.place == QN_PLACE_PARALLEL && input == QN_SITE_FFN_UP_IN) { /* one norm for both blocks */
    memcpy(to, qn_maxima_of(&q->smoothed, layer, QN_SITE_QKV_IN), k * sizeof *to);
    return QUERN_OK;
  }
  QN_TRY(qn_quantizer_read(q, it));
  qn_smooth_reach(q->floats, it->n, k, to);
  memcpy(q->smooth, qn_samples_maxima(&q->samples, layer, input), k * sizeof *to);
  if (input == QN_SITE_ATTN_OUT_IN) {
    qn_fold_share(&q->arch, to);
    qn_fold_share(&q->arch, q->smooth);
  }
  qn_smooth_balance(to, q->smooth, k, (qn_smoothing){q->recipe.alpha, 8 - q->recipe.alpha});
  return QUERN_OK;
}

quern_status qn_quantizer_find_smooth(qn_quantizer *q) {
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count && q->recipe.transforms && q->smoothed.data; i++) {
    qn_item it;
    qn_item_at(&q->arch, i, &it);
    if (it.kind == QN_ITEM_LINEAR && qn_quantizer_smooths(q, &it)) QN_TRY(find(q, &it));
  }
  return QUERN_OK;
}
