/* moments.h - second moments of what the linear operators of the layers take: of every two channels the sum over all tokens of the
 * product of their values, from a run of the float model over text. What rounding by calibration weighs errors with (round.h). */
#ifndef QN_MOMENTS_H
#define QN_MOMENTS_H
#include "quant/calibrate.h"
#include "quant/samples.h"

/* Symmetric matrices, of which rows in blocks are kept, each as far as its last row's diagonal. */
typedef struct qn_moments {
  qn_inputs inputs;
  float *data;
  size_t bytes;
  uint64_t tokens; /* that were run */
} qn_moments;

/* With fewer tokens than this for each channel of the widest input codes follow what is by chance in the text: with one they are about as
   good as the nearest ones, with less worse (docs/ACCURACY.md, "Rounding by calibration"). */
#define QN_MOMENTS_TOKENS 2u

/* Makes the float model of job's source in memory and runs it over the text: moments, and rows where samples is not NULL. m NULL: rows
   alone, and then text NULL stands for random tokens. The same bytes for any number of threads and any instruction set. Both are to be
   freed, after a failure too. */
quern_status qn_moments_observe(qn_moments *m, qn_samples *samples, qn_env *env, const qn_quantize_job *job,
                                const qn_calibration_text *text);
void qn_moments_free(qn_env *env, qn_moments *m);

/* Tokens that QN_MOMENTS_TOKENS asks for. */
uint64_t qn_moments_tokens_wanted(const qn_moments *m);
/* The moments of an operator's input into c [k, k], of which the lower triangle is written; k is its width and `copies`: channel
   width + i is channel source[i] once more. smooth: [k], what each channel is multiplied by; NULL: 1. */
void qn_moments_of(const qn_moments *m, uint32_t layer, uint32_t input, uint32_t copies, const uint32_t *source,
                   const float *smooth, float *c);
#endif
