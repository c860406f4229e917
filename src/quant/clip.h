/* clip.h - token-wise clipping (2209.13325): the range of a site ends where all but some of the tokens' extremes are within. How many
 * is found by what the model puts out on calibration text. */
#ifndef QN_CLIP_H
#define QN_CLIP_H
#include "quant/observed.h"
#include "quant/ranges.h"

/* Steps of a ladder of parts of tokens that an end is not within: step 0 is none, the least and greatest value. */
#define QN_CLIP_STEPS 26u

/* Extremes of tokens by site, ascending, and the step at which its ends are. */
typedef struct qn_clip {
  uint32_t sites, tokens;
  float *low, *high; /* [sites, tokens] */
  uint8_t *at;       /* [sites] */
  uint8_t *clips;    /* [sites]: whether it is clipped at all: inputs of products, by one range, but probabilities */
  size_t bytes;
} qn_clip;

/* What was seen, at step 0 throughout. */
quern_status qn_clip_create(qn_clip *c, qn_env *env, const qn_observed *seen, const qn_plan *plan);
void qn_clip_free(qn_env *env, qn_clip *c);
/* The part of tokens at a step. */
double qn_clip_part(uint32_t step);
/* The range of a site at its step. */
qn_extremes qn_clip_range(const qn_clip *c, uint32_t site);
#endif
