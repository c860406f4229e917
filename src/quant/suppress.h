/* suppress.h - outlier suppression (2209.13325): which gains migrate and how far ranges are clipped, by the error of the integer model's
 * outputs on calibration text. */
#ifndef QN_SUPPRESS_H
#define QN_SUPPRESS_H
#include "quant/calibrate.h"
#include "quant/migrate.h"
#include "quant/ranges.h"

typedef struct qn_suppression {
  qn_env *env;
  const qn_quantize_job *job;
  const qn_recipe *recipe;
  const qn_arch *arch;
  qn_source *source;
  const qn_calibration_text *text;
} qn_suppression;

/* plan: of the recipe, without values before, with them after; *m: what migrates, nothing before; *error: of the outputs. */
quern_status qn_suppress(const qn_suppression *s, qn_plan *plan, qn_migration *m, double *error);
#endif
