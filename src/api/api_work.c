/* api_work.c - quern_encode, quern_embed*, quern_classify*, quern_answer*: checks arguments, brackets the call, runs passes. */
#include <string.h>

#include "api/api_call.h"
#include "api/api_options.h"
#include "base/checked.h"
#include "run/session.h"

static quern_status encode(quern_session *s, const int32_t *ids, const int32_t *types, const uint32_t *lens,
                           uint32_t batch, size_t total) {
  QN_TRY(qn_call_begin(s));
  memcpy(s->ids, ids, total * sizeof *ids);
  if (types) memcpy(s->types, types, total * sizeof *types);
  memcpy(s->lens, lens, batch * sizeof *lens);
  return qn_encode_pass(s, batch, types != NULL);
}

quern_status quern_encode(quern_session *s, const int32_t *ids, const int32_t *types, const uint32_t *lens,
                          uint32_t batch, quern_tensor_view *out) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!ids || !lens || !batch || !out)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "encode: ids, lens and out must be given, and at least one sequence");
  if (batch > s->max_sequences)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "%u sequences do not fit a session of %u", batch, s->max_sequences);
  size_t total = 0;
  for (uint32_t i = 0; i < batch; i++) {
    if (!lens[i] || lens[i] > s->model->arch.positions)
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u has %u tokens; the model takes 1 to %u", i, lens[i],
                     s->model->arch.positions);
    total += lens[i];
  }
  if (total > s->max_tokens)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "%zu tokens do not fit a session of %u", total, s->max_tokens);
  QN_TRY(qn_call_end(s, encode(s, ids, types, lens, batch, total)));
  qn_hidden_floats(s, batch);
  *out = (quern_tensor_view){s->x, total, s->model->arch.width};
  return QUERN_OK;
}

static quern_status check_texts(quern_session *s, const char *utf8, const int64_t *offsets, size_t n) {
  for (size_t i = 0; i <= n; i++)
    if (offsets[i] < 0 || (i && offsets[i] < offsets[i - 1]))
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "offset %zu of the texts is negative or below the one before", i);
  if (!utf8 && offsets[n] > 0) return qn_fail(&s->error, QUERN_E_ARGUMENT, "no text buffer");
  return QUERN_OK;
}

typedef struct results {
  quern_session *s;
  float *out, *probabilities;
} results;

static quern_status emit_embeddings(void *user, size_t first, uint32_t batch) {
  const results *r = user;
  return qn_embed_pass(r->s, batch, r->out + first * qn_arch_embedding_width(&r->s->model->arch));
}

static quern_status emit_logits(void *user, size_t first, uint32_t batch) {
  const results *r = user;
  const size_t labels = r->s->model->arch.labels;
  return qn_classify_pass(r->s, batch, r->out + first * labels,
                          r->probabilities ? r->probabilities + first * labels : NULL);
}

/* n texts to `rows` results of `width` floats: arguments checked, then run. */
static quern_status run(results *r, const char *utf8, const int64_t *offsets, size_t n, int pairs, size_t width,
                        size_t cap, qn_emit_fn *emit) {
  quern_session *s = r->s;
  size_t need = 0;
  QN_TRY(check_texts(s, utf8, offsets, n));
  if (!qn_mul_size(pairs ? n / 2 : n, width, &need) || need > cap)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "%zu results of %zu floats do not fit a buffer of %zu",
                   pairs ? n / 2 : n, width, cap);
  if (!n) return QUERN_OK;
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_run_texts(s, utf8, offsets, n, pairs, emit, r);
  return qn_call_end(s, status);
}

quern_status quern_embed_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n, float *out,
                               size_t cap, uint32_t *width) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!offsets || (!out && n)) return qn_fail(&s->error, QUERN_E_ARGUMENT, "embed: offsets and out must be given");
  const qn_arch *a = &s->model->arch;
  if (a->pool == QN_POOL_NONE && s->pool_kind == QUERN_POOL_MODEL)
    return qn_fail(&s->error, QUERN_E_TASK, "the model is no embedder: choose a pooling, or classify with it");
  results r = {s, out, NULL};
  QN_TRY(run(&r, utf8, offsets, n, 0, qn_arch_embedding_width(a), cap, emit_embeddings));
  if (width) *width = qn_arch_embedding_width(a);
  return QUERN_OK;
}

quern_status quern_embed(quern_session *s, const char *utf8, size_t len, float *out, size_t cap, uint32_t *width) {
  if (!s) return QUERN_E_ARGUMENT;
  if (len > INT64_MAX) return qn_fail(&s->error, QUERN_E_ARGUMENT, "embed: a text of %zu bytes", len);
  const int64_t offsets[2] = {0, (int64_t)len};
  return quern_embed_batch(s, utf8, offsets, 1, out, cap, width);
}

quern_status quern_classify_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n, uint32_t flags,
                                  float *logits, float *probabilities, size_t cap) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!offsets || (!logits && n))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "classify: offsets and logits must be given");
  const int pairs = (flags & QUERN_PAIRS) != 0;
  if (flags & ~QUERN_PAIRS) return qn_fail(&s->error, QUERN_E_ARGUMENT, "unknown classify flags 0x%x", flags);
  if (pairs && n % 2) return qn_fail(&s->error, QUERN_E_ARGUMENT, "%zu texts are no whole number of pairs", n);
  if (!qn_arch_classifies(&s->model->arch))
    return qn_fail(&s->error, QUERN_E_TASK, "the model has no classification head");
  results r = {s, logits, probabilities};
  return run(&r, utf8, offsets, n, pairs, s->model->arch.labels, cap, emit_logits);
}

void quern_answer_options_init(quern_answer_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
}

static quern_status begin_answers(qn_answers *a, const quern_answer_options *given) {
  quern_answer_options_init(&a->options, sizeof a->options);
  if (given && !QN_OPTIONS_COPY(&a->options, given))
    return qn_fail(&a->s->error, QUERN_E_ARGUMENT,
                   "answer options of an unknown size or with unknown fields: use quern_answer_options_init");
  if (a->options.reserved)
    return qn_fail(&a->s->error, QUERN_E_ARGUMENT, "answer options: the reserved field is not 0");
  return qn_answers_begin(a);
}

static quern_status run_answers(qn_answers *a, const char *utf8, const int64_t *offsets, size_t pairs) {
  QN_TRY(qn_call_begin(a->s));
  for (size_t i = 0; i < pairs; i++) {
    const int64_t *o = offsets + 2 * i;
    QN_TRY(qn_answers_add(a, i, utf8 + o[0], (size_t)(o[1] - o[0]), utf8 + o[1], (size_t)(o[2] - o[1])));
  }
  return qn_answers_flush(a);
}

quern_status quern_answer_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n,
                                const quern_answer_options *o, quern_span *answers, float *scores) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!offsets || ((!answers || !scores) && n))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "answer: offsets, answers and scores must be given");
  if (n % 2)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "%zu texts are no whole number of questions with their contexts", n);
  qn_answers a = {.s = s, .answers = answers, .scores = scores};
  QN_TRY(begin_answers(&a, o));
  QN_TRY(check_texts(s, utf8, offsets, n));
  return n ? qn_call_end(s, run_answers(&a, utf8 ? utf8 : "", offsets, n / 2)) : QUERN_OK;
}

static quern_status run_answer(qn_answers *a, const char *question, size_t question_len, const char *context,
                               size_t context_len) {
  QN_TRY(qn_call_begin(a->s));
  QN_TRY(qn_answers_add(a, 0, question, question_len, context, context_len));
  return qn_answers_flush(a);
}

quern_status quern_answer(quern_session *s, const char *question, size_t question_len, const char *context,
                          size_t context_len, const quern_answer_options *o, quern_span *answer, float *scores) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!answer || !scores || (!question && question_len) || (!context && context_len))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "answer: question, context, answer and scores must be given");
  quern_span found;
  float found_scores[2];
  qn_answers a = {.s = s, .answers = &found, .scores = found_scores};
  QN_TRY(begin_answers(&a, o));
  QN_TRY(qn_call_end(s, run_answer(&a, question, question_len, context, context_len)));
  *answer = found;
  memcpy(scores, found_scores, sizeof found_scores);
  return QUERN_OK;
}
