/* observed.h - what calibration saw at each site: extremes of channels, of tokens and of blocks of texts, and a histogram. Filled by
 * any lane in any order, with the same result. */
#ifndef QN_OBSERVED_H
#define QN_OBSERVED_H
#include <pthread.h>

#include "base/env.h"
#include "run/session.h"

/* Bins by sign, exponent and the highest bits of the fraction, ascending; those in the middle hold what is below 2^-20 in
   magnitude, the outermost what is beyond 2^20. */
#define QN_BIN_FRACTION 6u
#define QN_BIN_EXPONENT 20
#define QN_BINS_A_SIGN ((2u * QN_BIN_EXPONENT) << QN_BIN_FRACTION)
#define QN_BINS (2u * QN_BINS_A_SIGN)

typedef struct qn_extremes {
  float low, high;
} qn_extremes;

typedef struct qn_site_seen {
  uint32_t channels;
  qn_extremes all, block;               /* block: of the texts since the last qn_observed_end_block */
  double low_of_blocks, high_of_blocks; /* sums over blocks, of which the mean is a running minimum and maximum */
  qn_extremes *channel;                 /* [channels]; scores and probabilities: [1] */
  qn_extremes *token; /* [tokens] in the order of the texts; where a site sees one row a text, [texts] */
  uint64_t *bin;      /* [QN_BINS]; NULL: not wanted */
  uint64_t count;     /* values seen */
} qn_site_seen;

typedef struct qn_observed {
  qn_arch arch;
  qn_site_seen *site; /* [sites], as qn_site_at numbers them */
  uint32_t sites, blocks;
  int32_t *id, *position; /* [tokens] */
  size_t tokens, first;   /* memory for so many tokens; tokens of the blocks before */
  size_t texts;
  int histograms;
  void *memory;
  size_t bytes;
  pthread_mutex_t lock;
} qn_observed;

/* Memory for a model's sites and this many tokens; histograms where they are wanted. */
quern_status qn_observed_create(qn_observed *o, qn_env *env, const qn_arch *a, size_t tokens, int histograms);
void qn_observed_free(qn_env *env, qn_observed *o);
/* The observer (session.h); user: a qn_observed. */
void qn_observed_see(void *user, const qn_seen *seen);
/* Which tokens a block's passes saw. */
void qn_observed_tokens(qn_observed *o, const int32_t *ids, const int32_t *positions, size_t tokens);
/* After a block's passes: its extremes count, and further rows come behind its `tokens`. */
void qn_observed_end_block(qn_observed *o, size_t tokens, size_t texts);
/* What a bin's values stand for: its middle. */
float qn_bin_value(uint32_t bin);
/* Its end: no value in it is greater, but in the last one. */
float qn_bin_end(uint32_t bin);
#endif
