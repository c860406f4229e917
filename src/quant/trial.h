/* trial.h - an integer model whose sites' values change, run over calibration text again and again: what a search compares is what
 * will be executed, and the same bytes on every machine. */
#ifndef QN_TRIAL_H
#define QN_TRIAL_H
#include "quant/calibrate.h"
#include "quant/ranges.h"

typedef struct qn_trial {
  qn_env *env;
  const qn_quantize_job *job;
  const qn_calibration_text *text;
  const char *doing;         /* for progress */
  uint64_t runs, runs_known; /* so far; of all, 0 where that is not known */
  quern_model *m;
  quern_session *s;
  qn_outputs got; /* of the last run */
} qn_trial;

/* Begins with env, job, text and doing filled in. qn_trial_end is called whatever happens. */
quern_status qn_trial_begin(qn_trial *t, quern_model *m);
void qn_trial_end(qn_trial *t);
/* Site `site` of the model as s has it. */
void qn_trial_place(qn_trial *t, uint32_t site, const qn_site_plan *s);
/* Runs the first `texts` of the text: outputs in t->got. */
quern_status qn_trial_run(qn_trial *t, size_t texts);

/* A copy of texts in another order, drawn by the seed, so that the first of them are any. To be freed, after a failure too. */
quern_status qn_trial_shuffle(qn_env *env, const qn_calibration_text *from, uint32_t seed, qn_calibration_text *to);
/* How many of them a trial runs over: about 3,072 of their `tokens`, and 32 rows at least. */
size_t qn_trial_texts(const qn_calibration_text *text, size_t tokens);
#endif
