/* heads_static.h - the heads of a static recipe, over codes. */
#ifndef QN_HEADS_STATIC_H
#define QN_HEADS_STATIC_H
#include "run/session.h"

/* Logits [batch, labels] of the pass just run. */
void qn_static_classify(quern_session *s, uint32_t batch, float *logits);
/* Logits of a span head at the `rows` tokens of the pass just run, into s->logits. */
void qn_static_span(quern_session *s, uint32_t rows);
#endif
