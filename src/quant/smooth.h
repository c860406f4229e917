/* smooth.h - smoothing: a linear operator's input is multiplied channel by channel before it is quantized, its weight divided,
 * so that channels with outliers do not take the whole grid (SmoothQuant's balance; 2406.01721 section 3.1 uses the
 * same). Exact in float. The maxima of the inputs come from a run of the float model. */
#ifndef QN_SMOOTH_H
#define QN_SMOOTH_H
#include "quant/inputs.h"
#include "quant/quant.h"
#include "run/session.h"

/* Largest magnitudes of the channels of every linear operator's input, and where positions rotate queries and keys of those. */
typedef struct qn_maxima {
  qn_inputs inputs;
  float *data; /* of each channel */
  size_t bytes;
} qn_maxima;

/* Makes the float model of job's source in memory and runs it on texts of random tokens drawn by job->seed: what is an outlier
   channel is a property of the weights, and shows on any text. */
quern_status qn_maxima_observe(qn_maxima *out, qn_env *env, const qn_quantize_job *job);
/* One pass over such texts: of a decoder as sequences, each of its own. The session takes QN_RANDOM_TOKENS. */
#define QN_RANDOM_TOKENS 832u
quern_status qn_random_run(quern_session *s, uint32_t seed);
const float *qn_maxima_of(const qn_maxima *m, uint32_t layer, uint32_t input);
void qn_maxima_free(qn_env *env, qn_maxima *m);

/* Exponents of maxima, in eighths below 8. */
typedef struct qn_smoothing {
  uint32_t inputs, weights;
} qn_smoothing;

/* By the kind of an input (QN_SITE_*). Encoders like BERT: of inputs 6, 4, 3, 2 for queries, keys and values, attention's output, the
   feed-forward block's first and second operator, of weights the rest of 8: the best of some ten on text that no figure is taken on.
   There quantizing the first of these inputs costs the most, and of the last operator the weights do. Others, whose blocks begin
   with norms of a residual stream with outliers: 5, 4, 6, 4, and for a decoder's second operator behind gates, where activations have
   scales by group (describe.c), 2. Fewer than 8 bits lose in the weights of channels that are large: of inputs 4, of weights 0; where
   rounding sees how inputs go together, 3. */
qn_smoothing qn_smoothing_of(const qn_arch *a, uint32_t weight_bits, int calibrated, uint32_t input);

/* most[j] = max_i |w_ij|; w: [n, k]. */
void qn_smooth_reach(const float *w, size_t n, size_t k, float *most);
/* smooth[j], which is max_i |w_ij| before, becomes that^(weights / 8) / maxima[j]^(inputs / 8), held within a factor of 32 of their mean: never 0. */
void qn_smooth_balance(float *smooth, const float *maxima, size_t k, qn_smoothing by_what);
/* w [n, k], each column divided by its channel's. */
void qn_smooth_divide(float *w, size_t n, size_t k, const float *smooth);
/* All three. */
void qn_smooth(float *w, size_t n, size_t k, qn_smoothing by_what, const float *maxima, float *smooth);
#endif
