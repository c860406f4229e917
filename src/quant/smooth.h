/* smooth.h - smoothing: a linear operator's input is multiplied channel by channel before it is quantized, its weight divided,
 * so that channels with outliers do not take the whole grid (SmoothQuant's balance; 2406.01721 section 3.1 uses the
 * same). Exact in float. The maxima of the inputs come from a run of the float model. */
#ifndef QN_SMOOTH_H
#define QN_SMOOTH_H
#include "quant/quant.h"
#include "run/session.h"

/* Largest magnitudes of the channels of every linear operator's input, and where positions rotate queries and keys of those. */
typedef struct qn_maxima {
  float *data;
  size_t bytes;
  uint32_t layers;
  size_t width[QN_SITE_KINDS]; /* channels; 0: not here */
  size_t offset[QN_SITE_KINDS], stride; /* of an input within a layer, of a layer; in floats */
} qn_maxima;

/* Makes the float model of job's source in memory and runs it on texts of random tokens drawn by job->seed: what is an outlier
   channel is a property of the weights, and shows on any text. */
quern_status qn_maxima_observe(qn_maxima *out, qn_env *env, const qn_quantize_job *job);
const float *qn_maxima_of(const qn_maxima *m, uint32_t layer, uint32_t input);
void qn_maxima_free(qn_env *env, qn_maxima *m);

/* Eighths of the exponent below, by the kind of an input (QN_SITE_*). Encoders like BERT: 6, 4, 3, 2 for queries, keys and
   values, attention's output, the feed-forward block's first and second operator, the best of some ten on text that no figure is taken
   on: there quantizing the first of these inputs costs the most, and of the last operator the weights do. Others, whose
   blocks begin with norms of a residual stream with outliers: 5, 4, 6, 4; of decoders with gates 5, 4, 6, 2. */
uint32_t qn_smooth_alpha(const qn_arch *a, uint32_t input);

/* smooth[j] = (max_i |w_ij|)^(1 - alpha / 8) / maxima[j]^(alpha / 8), alpha < 8, held within a factor of 32 of their mean; w [n, k] is
   divided by it. */
void qn_smooth(float *w, size_t n, size_t k, uint32_t alpha, const float *maxima, float *smooth);
#endif
