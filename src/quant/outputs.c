/* outputs.c - outputs.h. Sums are taken in double, in order: the same on every machine. */
#include "quant/outputs.h"

#include <string.h>

#include "base/checked.h"

/* Room for n more floats at the end of a buffer; *at: where. */
static quern_status extend(qn_env *env, qn_buffer *b, size_t n, float **at) {
  QN_TRY(qn_buffer_reserve(env, b, n * sizeof(float)));
  *at = (float *)(void *)(b->data + b->bytes);
  b->bytes += n * sizeof(float);
  return QUERN_OK;
}

static quern_status add_hidden(qn_outputs *o, qn_env *env, quern_session *s, uint32_t batch, size_t tokens) {
  const size_t width = s->model->arch.width;
  float *at;
  qn_hidden_floats(s, batch);
  if (!qn_arch_classifies(&s->model->arch)) {
    QN_TRY(extend(env, &o->last, tokens * width, &at));
    memcpy(at, s->x, tokens * width * sizeof *at);
    return QUERN_OK;
  }
  QN_TRY(extend(env, &o->first, batch * width, &at));
  for (uint32_t i = 0; i < batch; i++) memcpy(at + i * width, s->x + s->starts[i] * width, width * sizeof *at);
  return QUERN_OK;
}

quern_status qn_outputs_add(qn_outputs *o, qn_env *env, quern_session *s, uint32_t batch) {
  const qn_arch *a = &s->model->arch;
  const size_t tokens = s->starts[batch - 1] + s->lens[batch - 1];
  float *at;
  if (qn_arch_classifies(a)) {
    QN_TRY(add_hidden(o, env, s, batch, tokens));
    QN_TRY(extend(env, &o->last, (size_t)batch * a->labels, &at));
    return qn_classify_pass(s, batch, at, NULL);
  }
  if (a->head == QN_HEAD_SPAN) {
    QN_TRY(qn_span_pass(s, (uint32_t)tokens));
    QN_TRY(extend(env, &o->last, tokens * a->labels, &at));
    memcpy(at, s->logits, tokens * a->labels * sizeof *at);
    return QUERN_OK;
  }
  if (a->pool == QN_POOL_NONE) return add_hidden(o, env, s, batch, tokens);
  QN_TRY(extend(env, &o->last, (size_t)batch * qn_arch_embedding_width(a), &at));
  return qn_embed_pass(s, batch, at);
}

void qn_outputs_clear(qn_outputs *o) { o->last.bytes = o->first.bytes = 0; }

void qn_outputs_free(qn_env *env, qn_outputs *o) {
  qn_buffer_free(env, &o->last);
  qn_buffer_free(env, &o->first);
}

double qn_error_over_spread(const float *got, const float *of, size_t n) {
  double mean = 0, spread = 0, error = 0;
  for (size_t i = 0; i < n; i++) mean += (double)of[i];
  mean /= n ? (double)n : 1;
  for (size_t i = 0; i < n; i++) {
    const double away = (double)of[i] - mean, off = (double)got[i] - (double)of[i];
    spread += away * away;
    error += off * off;
  }
  return spread > 0 ? error / spread : error;
}

static double error_of(const qn_buffer *got, const qn_buffer *of) {
  if (got->bytes > of->bytes) return __builtin_inf();
  return qn_error_over_spread((const float *)(const void *)got->data, (const float *)(const void *)of->data,
                              got->bytes / sizeof(float));
}

double qn_outputs_loss(const qn_outputs *got, const qn_outputs *of) { return error_of(&got->last, &of->last); }

double qn_outputs_error(const qn_outputs *got, const qn_outputs *of) {
  return error_of(&got->last, &of->last) + error_of(&got->first, &of->first);
}
