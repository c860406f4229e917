/* unfold.h - unfolding neurons: a neuron whose activation goes far beyond that of others is repeated with its bias lowered by the site's
 * highest value E, by 2 E, and so on. Codes saturate at E, so that the first gives what is below E, the next what is between E and
 * 2 E, and their sum under the same outgoing weight is the neuron's. The site's range ends at E in the place of the greatest value.
 * Exact but for codes where the activation is max(0, x); of GELU within 0.17 next to a multiple of E. Stateless; one thread. */
#ifndef QN_UNFOLD_H
#define QN_UNFOLD_H
#include "quant/observed.h"

/* A copy: `times` E below the bias of neuron `source`, or times 0: not used, its outgoing weights are 0. */
typedef struct qn_fold {
  uint32_t source, times;
} qn_fold;

/* No E is below this: next to it a copy of GELU is not what it should be. */
#define QN_UNFOLD_LEAST 2.0f

/* Whether an activation (QN_ACT_*) is its input where that is large, and next to 0 where it is far below 0. */
int qn_unfold_fits(uint32_t activation);
/* The least E with which `copies` are enough for neurons [ffn] of these extremes, and what they are. */
float qn_unfold_choose(const qn_extremes *neuron, uint32_t ffn, uint32_t copies, qn_fold *fold);
/* bias: [ffn + copies], of which the first ffn are there; end: E as codes have it. */
void qn_unfold_bias(float *bias, uint32_t ffn, uint32_t copies, const qn_fold *fold, float end);
/* x: [ffn + copies, k] alike. */
void qn_unfold_rows(float *x, uint32_t ffn, uint32_t k, uint32_t copies, const qn_fold *fold);
/* w: [n, ffn + copies] with room for that, of which [n, ffn] is there, rows of ffn. */
void qn_unfold_columns(float *w, uint32_t n, uint32_t ffn, uint32_t copies, const qn_fold *fold);
#endif
