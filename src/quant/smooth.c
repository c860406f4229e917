/* smooth.c - smoothing vectors (smooth.h). Observing keeps maxima only, so that the order in which lanes come does not matter. */
#include "quant/smooth.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/calibrate.h"
#include "run/decoder.h"

#define TEXTS 8u
#define TEXT_TOKENS 104u /* special tokens included */
_Static_assert(TEXTS *TEXT_TOKENS == QN_RANDOM_TOKENS, "smooth.h says how many");
#define WITHIN 32.0f /* smoothing vectors stay within this factor of their mean */

/* ---- maxima ------------------------------------------------------------------------------------------------------ */

static quern_status create(qn_maxima *m, qn_env *env, const qn_arch *a) {
  void *p = NULL;
  *m = (qn_maxima){.inputs = qn_inputs_of(a, 1)};
  const size_t floats = m->inputs.stride * m->inputs.layers;
  QN_TRY(qn_alloc_array(env, &p, floats, sizeof *m->data, "maxima of the activations"));
  m->data = p;
  m->bytes = floats * sizeof *m->data;
  return QUERN_OK;
}

void qn_maxima_free(qn_env *env, qn_maxima *m) {
  qn_free(env, m->data, m->bytes);
  *m = (qn_maxima){0};
}

const float *qn_maxima_of(const qn_maxima *m, uint32_t layer, uint32_t input) {
  return m->data + qn_inputs_at(&m->inputs, layer, input);
}

typedef struct observer {
  qn_maxima *maxima;
  pthread_mutex_t lock;
} observer;

static void observe(void *user, const qn_seen *seen) {
  observer *o = user;
  if (!qn_inputs_have(&o->maxima->inputs, seen->layer, seen->kind)) return;
  float *most = o->maxima->data + qn_inputs_at(&o->maxima->inputs, seen->layer, seen->kind);
  pthread_mutex_lock(&o->lock);
  for (size_t r = 0; r < seen->rows; r++) {
    for (size_t i = 0; i < seen->d; i++) {
      const float a = fabsf(seen->x[r * seen->ld + i]);
      most[i] = a > most[i] ? a : most[i];
    }
  }
  pthread_mutex_unlock(&o->lock);
}

/* ---- the run of the float model ---------------------------------------------------------------------------------- */

typedef struct texts {
  int32_t ids[TEXTS * TEXT_TOKENS], types[TEXTS * TEXT_TOKENS];
  uint32_t lens[TEXTS], rows;
} texts;

/* Random tokens in the model's own template. */
static quern_status draw(const quern_model *m, uint32_t seed, texts *to) {
  const qn_arch *a = &m->arch;
  const qn_tokenizer *t = &m->tokenizer;
  const size_t specials = t->kind ? qn_tokenizer_specials(t, 0) : 0, length = qn_min_size(TEXT_TOKENS, a->positions);
  const size_t n = length > specials ? length - specials : 0;
  to->rows = 0;
  for (uint32_t i = 0; i < TEXTS; i++) {
    int32_t ids[TEXT_TOKENS];
    for (size_t j = 0; j < n; j++) ids[j] = (int32_t)(qn_draw(seed, i * TEXT_TOKENS + j) % a->vocab);
    qn_ids out = {.ids = to->ids + to->rows, .types = to->types + to->rows, .cap = TEXTS * TEXT_TOKENS - to->rows};
    if (t->kind) {
      QN_TRY(qn_tokenizer_template(t, ids, n, NULL, 0, 0, &out));
    } else {
      memcpy(out.ids, ids, n * sizeof *ids);
      memset(out.types, 0, n * sizeof *out.types);
      out.count = n;
    }
    to->lens[i] = (uint32_t)out.count;
    to->rows += to->lens[i];
  }
  return QUERN_OK;
}

quern_status qn_random_run(quern_session *s, uint32_t seed) {
  const qn_arch *a = &s->model->arch;
  uint32_t sequence[TEXTS];
  texts drawn, *t = &drawn;
  QN_TRY(draw(s->model, seed, t));
  for (uint32_t i = 0; i < TEXTS; i++) sequence[i] = i;
  if (a->causal) return qn_decode(s, sequence, t->lens, TEXTS, t->ids);
  memcpy(s->ids, t->ids, t->rows * sizeof *t->ids);
  memcpy(s->types, t->types, t->rows * sizeof *t->types);
  memcpy(s->lens, t->lens, sizeof t->lens);
  return qn_encode_pass(s, TEXTS, a->types > 0);
}

typedef struct task {
  qn_maxima *maxima;
  qn_env *env;
  uint32_t seed;
} task;

static quern_status run_model(void *user, quern_model *m) {
  task *t = user;
  quern_session_options options = {.max_tokens = QN_RANDOM_TOKENS, .max_sequences = TEXTS};
  quern_session *s = NULL;
  if (m->arch.causal) options.cache_tokens = TEXTS * (uint32_t)qk_round_up(TEXT_TOKENS, QN_PAGE_TOKENS);
  QN_TRY(create(t->maxima, t->env, &m->arch));
  observer o = {.maxima = t->maxima, .lock = PTHREAD_MUTEX_INITIALIZER};
  QN_TRY(qn_session_resolve(&options, m, &m->env->error));
  QN_TRY(qn_session_create(&s, m, &options));
  s->observe = observe;
  s->observe_user = &o;
  const quern_status status = qn_random_run(s, t->seed);
  if (status != QUERN_OK && s->error.text[0]) qn_fail(&m->env->error, status, "%s", s->error.text);
  qn_session_free(s);
  return status;
}

quern_status qn_maxima_observe(qn_maxima *out, qn_env *env, const qn_quantize_job *job) {
  task t = {out, env, job->seed};
  return qn_with_float_model(env, job, run_model, &t);
}

/* ---- smoothing --------------------------------------------------------------------------------------------------- */

static float mean(const float *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i];
  return (float)(sum / (double)n);
}

/* x^(k / 8), k < 8, by square roots: the same everywhere, as powf is not. */
static float eighths(float x, uint32_t k) {
  const float half = __builtin_sqrtf(x), quarter = __builtin_sqrtf(half);
  return (k & 4 ? half : 1.0f) * (k & 2 ? quarter : 1.0f) * (k & 1 ? __builtin_sqrtf(quarter) : 1.0f);
}

qn_smoothing qn_smoothing_of(const qn_arch *a, uint32_t weight_bits, int calibrated, uint32_t input) {
  static const uint8_t encoders[QN_SITE_KINDS] = {
      [QN_SITE_QKV_IN] = 6, [QN_SITE_ATTN_OUT_IN] = 4, [QN_SITE_FFN_UP_IN] = 3, [QN_SITE_FFN_DOWN_IN] = 2};
  static const uint8_t others[QN_SITE_KINDS] = {
      [QN_SITE_QKV_IN] = 5, [QN_SITE_ATTN_OUT_IN] = 4, [QN_SITE_FFN_UP_IN] = 6, [QN_SITE_FFN_DOWN_IN] = 4};
  if (qn_arch_is_bert_like(a)) return (qn_smoothing){encoders[input], 8u - encoders[input]};
  if (weight_bits < 8) return (qn_smoothing){calibrated ? 3 : 4, 0};
  if (a->causal && a->gated && input == QN_SITE_FFN_DOWN_IN) return (qn_smoothing){2, 6};
  return (qn_smoothing){others[input], 8u - others[input]};
}

void qn_smooth_reach(const float *w, size_t n, size_t k, float *most) {
  memset(most, 0, k * sizeof *most);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < k; j++) most[j] = fmaxf(most[j], fabsf(w[i * k + j]));
}

void qn_smooth_balance(float *smooth, const float *maxima, size_t k, qn_smoothing by_what) {
  const float least = fmaxf(mean(maxima, k) / 1024, 0x1p-60f); /* a channel that is hardly used may not blow up */
  for (size_t j = 0; j < k; j++)
    smooth[j] = eighths(smooth[j], by_what.weights) / eighths(fmaxf(maxima[j], least), by_what.inputs);
  const float middle = mean(smooth, k), by = middle > 0 ? middle : 1.0f;
  for (size_t j = 0; j < k; j++) smooth[j] = fminf(fmaxf(smooth[j], by / WITHIN), by * WITHIN);
}

void qn_smooth_divide(float *w, size_t n, size_t k, const float *smooth) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < k; j++) w[i * k + j] /= smooth[j];
}

void qn_smooth(float *w, size_t n, size_t k, qn_smoothing by_what, const float *maxima, float *smooth) {
  qn_smooth_reach(w, n, k, smooth);
  qn_smooth_balance(smooth, maxima, k, by_what);
  qn_smooth_divide(w, n, k, smooth);
}
