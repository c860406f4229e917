/* calibrate.c - calibration (calibrate.h): blocks of texts through the float model, sites into the store. */
#include "quant/calibrate.h"

#include "base/checked.h"

#define BLOCK_TEXTS QN_CALIBRATION_BATCH

uint64_t qn_draw(uint64_t seed, uint64_t i) {
  uint64_t x = (seed << 32) + i + 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* ---- the float model --------------------------------------------------------------------------------------------- */

quern_status qn_engine_open(quern_context *c, qn_env *env, const qn_quantize_job *job) {
  *c = (quern_context){.pool = job->pool};
  if (job->kernels)
    c->kernels = *job->kernels;
  else if (!qk_table_build(&c->kernels, NULL, qk_cpu_features()))
    return qn_fail(&env->error, QUERN_E_ISA, "no kernel set runs on this CPU");
  return c->pool ? QUERN_OK : qn_pool_create(&c->pool, env, 1, NULL, NULL);
}

void qn_engine_close(quern_context *c, const qn_quantize_job *job) {
  if (!job->pool) qn_pool_free(c->pool);
}

static quern_status open_and_run(qn_env *env, const qn_quantize_job *job, const qn_buffer *file,
                                 quern_status (*fn)(void *user, quern_model *m), void *user) {
  quern_context c;
  quern_model *m = NULL;
  QN_TRY(qn_engine_open(&c, env, job));
  quern_status status = qn_model_create(&m, &c, env, (qn_map){.data = file->data, .bytes = file->bytes}, 0);
  if (status == QUERN_OK) status = fn(user, m);
  qn_model_release(m);
  qn_engine_close(&c, job);
  return status;
}

quern_status qn_with_float_model(qn_env *env, const qn_quantize_job *job,
                                 quern_status (*fn)(void *user, quern_model *m), void *user) {
  const qn_quantize_job to = {.src = job->src, .recipe = "float", .seed = job->seed, .migration = job->migration};
  return qn_with_model(env, &to, job, fn, user);
}

quern_status qn_with_model(qn_env *env, const qn_quantize_job *to, const qn_quantize_job *job,
                           quern_status (*fn)(void *user, quern_model *m), void *user) {
  qn_buffer file = {0};
  qn_quantize_job in_memory = *to;
  qn_env silent; /* what there is to warn of, the job itself does */
  qn_env_init(&silent, &env->alloc, NULL, NULL, 0);
  in_memory.memory = &file;
  in_memory.pool = job->pool;
  in_memory.kernels = job->kernels;
  quern_status status = qn_error_pass(&env->error, &silent.error, qn_quantize(&silent, &in_memory, NULL));
  if (status == QUERN_OK) status = open_and_run(env, job, &file, fn, user);
  qn_buffer_free(env, &file);
  return status;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

typedef struct run {
  qn_observed *o;
  qn_env *env;
  const qn_quantize_job *job;
  const qn_calibration_text *text;
  quern_session *s;
  float *logits; /* [BLOCK_TEXTS, labels] */
  size_t done;   /* rows of text */
  qn_outputs *outputs;
  int histograms;
} run;

static void see_rows(const run *r, uint32_t kind, const float *x, size_t rows, uint32_t d) {
  const qn_seen seen = {.kind = kind, .layer = QN_NO_LAYER, .d = d, .rows = rows, .ld = d, .x = x, .channels = 1};
  qn_observed_see(r->o, &seen);
}

/* What comes behind the layers: the last norm's output, the pooler's, logits. */
static quern_status see_outputs(run *r, uint32_t batch, size_t tokens) {
  quern_session *s = r->s;
  const qn_arch *a = &s->model->arch;
  see_rows(r, qn_site_output_kind(a), s->x, tokens, a->width);
  if (a->head == QN_HEAD_SPAN) {
    QN_TRY(qn_span_pass(s, (uint32_t)tokens));
    see_rows(r, QN_SITE_LOGITS, s->logits, tokens, a->labels);
  } else if (a->head != QN_HEAD_NONE) {
    QN_TRY(qn_classify_pass(s, batch, r->logits, NULL));
    if (a->head_pooler) see_rows(r, QN_SITE_HEAD_IN, s->pooler_out, batch, a->width);
    see_rows(r, QN_SITE_LOGITS, r->logits, batch, a->labels);
  }
  return QUERN_OK;
}

static quern_status progress(const run *r) {
  const size_t rows = qn_calibration_rows(r->text);
  const qn_quantize_job *job = r->job;
  if (job->progress && job->progress(job->progress_user, r->done, rows, "calibration"))
    return qn_fail(&r->s->error, QUERN_E_CANCELLED, "calibration was cancelled; nothing was written");
  return QUERN_OK;
}

static quern_status see_block(void *user, size_t first, uint32_t batch) {
  run *r = user;
  size_t tokens = 0;
  for (uint32_t i = 0; i < batch; i++) tokens += r->s->lens[i];
  QN_TRY(see_outputs(r, batch, tokens));
  if (r->outputs) QN_TRY(qn_outputs_add(r->outputs, r->env, r->s, batch));
  qn_observed_tokens(r->o, r->s->ids, r->s->positions, tokens);
  qn_observed_end_block(r->o, tokens, batch);
  r->done = first + batch;
  return progress(r);
}

static quern_status run_session(run *r) {
  quern_session *s = r->s;
  const qn_arch *a = &s->model->arch;
  void *scratch = NULL, *logits = NULL;
  const size_t width = qn_max_size(a->width, qn_arch_table_width(a));
  s->observe_floats = qn_max_size(QN_BLOCK_ROWS * width, 2 * (size_t)s->text_tokens);
  const size_t floats = s->observe_floats * s->lanes;
  quern_status status = qn_alloc_array(r->env, &scratch, floats, sizeof(float), "calibration");
  if (status == QUERN_OK)
    status = qn_alloc_array(r->env, &logits, (size_t)BLOCK_TEXTS * (a->labels ? a->labels : 1), sizeof(float),
                            "logits");
  if (status == QUERN_OK) {
    s->observe = qn_observed_see;
    s->observe_user = r->o;
    s->observe_scratch = scratch;
    r->logits = logits;
    status = progress(r);
    if (status == QUERN_OK)
      status = qn_calibration_run(s, r->env, r->text, r->text->texts, see_block, r, "calibrating", r->job->calibration);
  }
  qn_free(r->env, logits, (size_t)BLOCK_TEXTS * (a->labels ? a->labels : 1) * sizeof(float));
  qn_free(r->env, scratch, floats * sizeof(float));
  return status;
}

quern_status qn_calibration_session(quern_session **out, qn_env *env, quern_model *m) {
  quern_session_options options = {.max_sequences = BLOCK_TEXTS};
  QN_TRY(qn_session_resolve(&options, m, &env->error));
  options.max_sequences = BLOCK_TEXTS;
  options.max_tokens = BLOCK_TEXTS * options.text_tokens;
  QN_TRY(qn_session_resolve(&options, m, &env->error));
  return qn_session_create(out, m, &options);
}

quern_status qn_calibration_run(quern_session *s, qn_env *env, const qn_calibration_text *t, size_t texts,
                                qn_emit_fn *emit, void *user, const char *doing, const char *path) {
  if (s->model->arch.causal) {
    if (t->pairs)
      return qn_fail(&env->error, QUERN_E_SOURCE, "%s has pairs of texts, which a decoder does not take: one text a line", path);
    const quern_status decoded = qn_calibration_decode(s, env, t, texts, emit, user);
    return decoded == QUERN_OK || !s->error.text[0] ? decoded : qn_fail(&env->error, decoded, "%s on %s: %s", doing, path, s->error.text);
  }
  const quern_status status = qn_run_texts(s, (const char *)t->utf8.data,
                                           (const int64_t *)(const void *)t->offsets.data, texts, t->pairs, emit, user);
  if (status == QUERN_OK) return QUERN_OK;
  char message[QN_ERROR_BYTES];
  qn_error_copy(&s->error, message, sizeof message);
  return qn_fail(&env->error, status, "%s on %s: %s", doing, path, message);
}

static quern_status run_model(void *user, quern_model *m) {
  run *r = user;
  const size_t rows = qn_calibration_rows(r->text);
  QN_TRY(qn_calibration_session(&r->s, r->env, m));
  /* Tokens are not counted before: texts have at most a token a byte and their special ones. */
  const size_t most = qn_min_size(rows * r->s->text_tokens, r->text->utf8.bytes + rows * 4);
  quern_status status = qn_observed_create(r->o, r->env, &m->arch, most, r->histograms);
  if (status == QUERN_OK) status = run_session(r);
  qn_session_free(r->s);
  return status;
}

quern_status qn_calibrate(qn_observed *o, qn_env *env, const qn_quantize_job *job, const qn_calibration_text *text,
                          int histograms, qn_outputs *outputs) {
  run r = {.o = o, .env = env, .job = job, .text = text, .histograms = histograms, .outputs = outputs};
  return qn_with_float_model(env, job, run_model, &r);
}
