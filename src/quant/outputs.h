/* outputs.h - what a model gives at its end on calibration text, to compare a quantized one with the float one. */
#ifndef QN_OUTPUTS_H
#define QN_OUTPUTS_H
#include "run/session.h"

/* last: of each text the logits or else its embedding, or where the model has neither, or a span head, its tokens' hidden states or
   logits. first: hidden states of the first tokens, of classifiers alone. Floats, in the order of the texts. */
typedef struct qn_outputs {
  qn_buffer last, first;
} qn_outputs;

/* Adds those of the pass just run. */
quern_status qn_outputs_add(qn_outputs *o, qn_env *env, quern_session *s, uint32_t batch);
void qn_outputs_clear(qn_outputs *o); /* the memory stays */
void qn_outputs_free(qn_env *env, qn_outputs *o);
/* Sum of (got - of)^2 over sum of (of - their mean)^2; the first alone where all of them are the same. */
double qn_error_over_spread(const float *got, const float *of, size_t n);
/* Squared error of `got` over the spread of `of`: of what is last, plus, where there is one, of the first tokens, which says more
   about a model than two logits do. got may be of the first texts alone; infinity where it has more. */
double qn_outputs_error(const qn_outputs *got, const qn_outputs *of);
/* The same of what is last alone: sum of (got - of)^2 over sum of (of - their mean)^2, all outputs together. Embeddings have a mean
   next to 0: of normalized ones it is 2 * (1 - mean cosine). */
double qn_outputs_loss(const qn_outputs *got, const qn_outputs *of);
#endif
