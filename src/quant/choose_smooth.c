/* choose_smooth.c - see choose_smooth.h. */
#include "quant/choose_smooth.h"

#include "base/checked.h"

#define TEXTS 12u /* that are scored */

typedef struct scoring {
  qn_env *env;
  const qn_calibration_text *text;
  double sum;
} scoring;

static quern_status score(void *user, quern_model *m) {
  scoring *to = user;
  quern_session *s = NULL;
  QN_TRY(qn_calibration_session(&s, to->env, m));
  const size_t count = qn_min_size(TEXTS, to->text->texts);
  quern_status status = qn_calibration_score(s, to->env, to->text, count, &to->sum);
  if (status != QUERN_OK && s->error.text[0]) qn_fail(&to->env->error, status, "%s", s->error.text);
  qn_session_free(s);
  return status;
}

quern_status qn_choose_smooth(qn_env *env, const qn_quantize_job *job, qn_recipe *r, const qn_calibration_text *text) {
  double sum[2];
  for (int smooth = 0; smooth < 2; smooth++) {
    qn_recipe recipe = *r;
    qn_quantize_job to = *job;
    scoring scored = {.env = env, .text = text};
    recipe.smooth = smooth;
    recipe.rounding = QN_ROUNDING_NEAREST;
    to.made = &recipe;
    to.calibration = to.report = NULL;
    to.dry_run = 0;
    QN_TRY(qn_with_model(env, &to, job, score, &scored));
    sum[smooth] = scored.sum;
  }
  r->smooth = sum[1] > sum[0];
  return QUERN_OK;
}
