/* sample.h - the next token from logits: pure functions of logits, options and counters (docs/NUMERICS.md), so that the same
 * call gives the same token on every machine, in every batch, with and without speculation. */
#ifndef QN_SAMPLE_H
#define QN_SAMPLE_H
#include "base/status.h"
#include "kernels/kernels.h"

#define QN_PENALTY_TOKENS 1024u /* that penalties look back at most */

typedef struct qn_sampling {
  float temperature;      /* 0: the largest logit */
  uint32_t top_k;         /* 0: all */
  float top_p, min_p;     /* 1 and 0: all */
  float repeat_penalty;   /* > 0; 1: none */
  float presence_penalty; /* 0: none */
  uint64_t seed;
  const int32_t *bias_ids; /* [biases] ids below the vocabulary's size */
  const float *bias;       /* [biases] finite, or -infinity: never */
  uint32_t biases;
} qn_sampling;

typedef struct qn_candidate {
  float logit;
  int32_t id;
} qn_candidate;

/* What a choice needs beside its logits. */
typedef struct qn_sampler {
  const qk_table *kernels;
  uint32_t vocab;
  float *values;       /* [vocab] scratch */
  qn_candidate *order; /* [vocab] scratch */
} qn_sampler;

/* Options that mean something; *what names the one that does not. */
int qn_sampling_valid(const qn_sampling *o, uint32_t vocab, const char **what);

/* A number in [0, 1) of 24 bits that depends on its three counters alone. */
float qn_counter_random(uint64_t seed, uint64_t sequence, uint64_t position);

/* The token after `position` tokens of a sequence: o is valid, logits: [vocab] finite; recent: the last tokens, which penalties
   are of, at most QN_PENALTY_TOKENS, ids below vocab. *id -1: biases forbid every token. */
void qn_sample(const qn_sampling *o, const qn_sampler *s, const float *logits, const int32_t *recent, uint32_t recents,
               uint64_t sequence, uint64_t position, int32_t *id);
#endif
