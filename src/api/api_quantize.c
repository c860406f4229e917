/* api_quantize.c - quern_quantize_file and the preset recipes. */
#include <string.h>

#include "api/api_options.h"
#include "base/checked.h"
#include "quant/quant.h"
#include "run/context.h"

void quern_quantize_options_init(quern_quantize_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
}

quern_status quern_quantize_file(quern_context *c, const char *src, const char *dst,
                                 const quern_quantize_options *options, quern_quantize_result *result) {
  quern_quantize_options o;
  quern_quantize_result full = {.size = sizeof full};
  if (!c) return QUERN_E_ARGUMENT;
  if (!src) return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "no source to quantize");
  quern_quantize_options_init(&o, sizeof o);
  if (options && !QN_OPTIONS_COPY(&o, options))
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "quantize options of an unknown size or with unknown fields: use "
                   "quern_quantize_options_init");
  if (o.flags & ~QUERN_DRY_RUN) return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "unknown quantize flags 0x%x", o.flags);
  const int dry_run = (o.flags & QUERN_DRY_RUN) != 0;
  if (!dst && !dry_run) return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "no file to write; QUERN_DRY_RUN needs none");
  if (!(o.max_loss >= 0 && o.max_loss <= 1))
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "max_loss is above 0 and at most 1; 0: as the recipe says");
  if (o.select >= QN_SELECTS || o.reserved)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "select is QUERN_SELECT_RANDOM, _LONGEST or _OUTLIERS, reserved is 0");
  if (o.calibration_rows && !o.calibration_path)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "calibration rows (--rows) are drawn from calibration text, and none is given (--calibrate FILE)");
  const qn_quantize_job job = {.src = src,
                               .dst = dst,
                               .recipe = o.recipe,
                               .calibration = o.calibration_path,
                               .report = o.report_path,
                               .seed = o.seed,
                               .calibration_rows = o.calibration_rows,
                               .select = o.select,
                               .max_loss = o.max_loss,
                               .dry_run = dry_run,
                               .limit = o.max_bytes,
                               .pool = c->pool,
                               .kernels = &c->kernels,
                               .progress = o.progress,
                               .progress_user = o.progress_user};
  QN_TRY(qn_quantize(&c->env, &job, &full));
  return !result || qn_info_copy(result, &full, sizeof full) ? QUERN_OK : QUERN_E_ARGUMENT;
}

const char *quern_recipe_name(uint32_t i) { return qn_recipe_preset_name(i); }
const char *quern_recipe_json(const char *name) { return name ? qn_recipe_preset_json(name) : NULL; }
const char *quern_recipe_decoder_json(const char *name) { return name ? qn_recipe_preset_decoder_json(name) : NULL; }
