/* smooth.h - smoothing: a linear operator's input is multiplied channel by channel before it is quantized, its weight divided,
 * so that channels with outliers do not take the whole grid (SmoothQuant's balance; 2406.01721 section 3.1 uses the
 * same). Exact in float. The maxima of the inputs come from a run of the float model. */
#ifndef QN_SMOOTH_H
#define QN_SMOOTH_H
#include "quant/quant.h"
#include "run/session.h"

/* Largest magnitudes of the channels of every linear operator's input. */
typedef struct qn_maxima {
  float *data;
  size_t bytes;
  uint32_t layers;
  size_t offset[QN_SITE_KINDS], stride; /* of an input within a layer, of a layer; in floats */
} qn_maxima;

/* Makes the float model of job's source in memory and runs it on texts of random tokens drawn by job->seed: what is an outlier
   channel is a property of the weights, and shows on any text. */
quern_status qn_maxima_observe(qn_maxima *out, qn_env *env, const qn_quantize_job *job);
const float *qn_maxima_of(const qn_maxima *m, uint32_t layer, uint32_t input);
void qn_maxima_free(qn_env *env, qn_maxima *m);

/* smooth[j] = (max_i |w_ij|)^(1 - alpha) / maxima[j]^alpha, held within a factor of 32 of their mean; w [n, k] is divided by
   it. alpha, by the kind of input (QN_SITE_*): 3/4, 1/2, 3/8, 1/4. Those were the best of some ten on text that no
   figure is taken on: quantizing the input of queries, keys and values costs the most, and of the feed-forward block's
   second operator the weights do. */
void qn_smooth(float *w, size_t n, size_t k, uint32_t input, const float *maxima, float *smooth);
#endif
