/* trial.c - trials of an integer model (trial.h). */
#include "quant/trial.h"

#include "base/checked.h"
#include "model/places.h"

#define TOKENS 3072u
#define TEXTS 32u

quern_status qn_trial_shuffle(qn_env *env, const qn_calibration_text *from, uint32_t seed, qn_calibration_text *to) {
  const size_t each = qn_calibration_each(from), rows = qn_calibration_rows(from);
  const int64_t *offset = (const int64_t *)(const void *)from->offsets.data;
  void *p = NULL;
  int64_t end = 0;
  *to = (qn_calibration_text){.texts = from->texts, .pairs = from->pairs, .rows_found = from->rows_found};
  QN_TRY(qn_buffer_append(env, &to->offsets, &end, sizeof end));
  QN_TRY(qn_alloc_array(env, &p, rows, sizeof(uint32_t), "an order of texts"));
  uint32_t *order = p;
  quern_status status = QUERN_OK;
  for (size_t i = 0; i < rows; i++) order[i] = (uint32_t)i;
  for (size_t i = rows; i > 1; i--) {
    const size_t j = (size_t)(qn_draw(seed, i) % i);
    const uint32_t other = order[j];
    order[j] = order[i - 1];
    order[i - 1] = other;
  }
  for (size_t i = 0; i < from->texts && status == QUERN_OK; i++) {
    const size_t at = order[i / each] * each + i % each;
    const size_t bytes = (size_t)(offset[at + 1] - offset[at]);
    status = qn_buffer_append(env, &to->utf8, from->utf8.data + offset[at], bytes);
    end += (int64_t)bytes;
    if (status == QUERN_OK) status = qn_buffer_append(env, &to->offsets, &end, sizeof end);
  }
  qn_free(env, order, rows * sizeof *order);
  return status;
}

size_t qn_trial_texts(const qn_calibration_text *text, size_t tokens) {
  const size_t rows = qn_calibration_rows(text);
  const size_t some = qn_max_size(TEXTS, tokens ? rows * TOKENS / tokens : 0);
  return qn_min_size((some + TEXTS - 1) / TEXTS * TEXTS, rows) * qn_calibration_each(text);
}

quern_status qn_trial_begin(qn_trial *t, quern_model *m) {
  t->m = m;
  return qn_calibration_session(&t->s, t->env, m);
}

void qn_trial_end(qn_trial *t) {
  qn_session_free(t->s);
  qn_outputs_free(t->env, &t->got);
}

void qn_trial_place(qn_trial *t, uint32_t site, const qn_site_plan *s) {
  const qn_place_values v = {s->rule.bits, s->groups, s->scale, s->zero, s->ends};
  qn_place_set(t->m, site, &v);
}

static quern_status emit(void *user, size_t first, uint32_t batch) {
  (void)first;
  qn_trial *t = user;
  return qn_outputs_add(&t->got, t->env, t->s, batch);
}

quern_status qn_trial_run(qn_trial *t, size_t texts) {
  const qn_quantize_job *job = t->job;
  if (job->progress && job->progress(job->progress_user, t->runs, t->runs_known, t->doing))
    return qn_fail(&t->env->error, QUERN_E_CANCELLED, "quantization was cancelled; nothing was written");
  t->runs++;
  qn_outputs_clear(&t->got);
  return qn_calibration_run(t->s, t->env, t->text, texts, emit, t, "comparing", job->calibration);
}
