/* inputs.h - where what is kept of the inputs of the layers' linear operators lies: of each layer the inputs one behind another, of each input
 * its channels. Stateless; any thread. */
#ifndef QN_INPUTS_H
#define QN_INPUTS_H
#include "model/sites.h"

typedef struct qn_inputs {
  uint32_t layers;
  size_t width[QN_SITE_KINDS];          /* channels; 0: not here */
  size_t offset[QN_SITE_KINDS], stride; /* channels before an input within a layer; of a layer */
} qn_inputs;

/* Those of a model; rotated: with queries and keys, where positions rotate them. stride * layers does not wrap (qn_arch_check). */
qn_inputs qn_inputs_of(const qn_arch *a, int rotated);
/* Channels before an input. */
static inline size_t qn_inputs_at(const qn_inputs *l, uint32_t layer, uint32_t input) {
  return layer * l->stride + l->offset[input];
}
/* Whether a site that was seen is one of them. */
static inline int qn_inputs_have(const qn_inputs *l, uint32_t layer, uint32_t kind) {
  return layer != QN_NO_LAYER && l->width[kind];
}
#endif
