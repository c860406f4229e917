/* score.h - how likely given tokens are, one after another. */
#ifndef QN_SCORE_H
#define QN_SCORE_H
#include "run/decoder.h"

/* Appends n tokens to a sequence as qn_decode does, and writes the natural logarithm of each one's probability after those before
   it; of the first token of a sequence, which nothing stands before, 0. After a failure some of the tokens may have been
   appended. */
quern_status qn_score(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n, float *log_probabilities);

/* Natural logarithm of a positive normal number, the same everywhere; error below 2^-50 of the result or of 1. */
double qn_ln(double x);
#endif
