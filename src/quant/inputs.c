/* inputs.c - see inputs.h. */
#include "quant/inputs.h"

qn_inputs qn_inputs_of(const qn_arch *a, int rotated) {
  const size_t context = (size_t)a->heads * a->head_dim;
  qn_inputs l = {.layers = a->layers,
                 .width = {[QN_SITE_QKV_IN] = a->width,
                           [QN_SITE_ATTN_OUT_IN] = context,
                           [QN_SITE_FFN_UP_IN] = a->width,
                           [QN_SITE_FFN_DOWN_IN] = a->ffn}};
  if (rotated && a->rotary) {
    l.width[QN_SITE_Q] = context;
    l.width[QN_SITE_K] = (size_t)a->kv_heads * a->head_dim;
  }
  for (size_t i = 0; i < QN_SITE_KINDS; i++) {
    l.offset[i] = l.stride;
    l.stride += l.width[i];
  }
  return l;
}
