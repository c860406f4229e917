/* choose_smooth.h - whether the weights of few bits of a decoder are smoothed: by what its tokens of calibration text score. */
#ifndef QN_CHOOSE_SMOOTH_H
#define QN_CHOOSE_SMOOTH_H
#include "quant/calibrate.h"

/* Makes the model of recipe r with and without smoothing, nearest codes both, and runs both over some of the text; r->smooth becomes
   what the text is likelier by. Smoothing lets channels with outliers keep more of the grid, and takes weights off the grid that a
   source which is quantized already has them on: which of them counts for more no rule told. */
quern_status qn_choose_smooth(qn_env *env, const qn_quantize_job *job, qn_recipe *r, const qn_calibration_text *text);
#endif
