/* fine.h - the fine stage of clipping (2209.13325): scales and zero points of a layer's sites follow the slopes of its output's error
 * (reconstruct.h), layer by layer, the layer's input being what the layers before give with theirs rounded. */
#ifndef QN_FINE_H
#define QN_FINE_H
#include "quant/calibrate.h"
#include "quant/migrate.h"
#include "quant/ranges.h"

/* New values of a site of the plan. */
typedef struct qn_fine_value {
  uint32_t site;
  float scale, zero;
} qn_fine_value;

typedef struct qn_fine {
  qn_env *env;
  const qn_quantize_job *job;
  const qn_calibration_text *text;
  size_t texts; /* that it learns from, the first of these */
  const qn_migration *migration;
  const qn_plan *plan;   /* where it starts from */
  const uint8_t *learns; /* [plan->count] whether a site does */
  /* What a layer has learned; *kept: whether that is better, and in the plan now. */
  quern_status (*offer)(void *user, qn_fine_value *value, uint32_t n, int *kept);
  void *user;
} qn_fine;

/* Learns, and offers what came out layer by layer. The plan may change in `offer` alone. */
quern_status qn_fine_run(const qn_fine *f);
#endif
