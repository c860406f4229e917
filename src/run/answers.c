/* answers.c - questions to passes and passes to answers: contexts cut into overlapping windows, a span head's logits, and
 * the best span over all windows of a question. Not here: the encoder, the tokenizer. One call at a time on a session. */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "run/heads_static.h"
#include "run/linear.h"
#include "run/session.h"

#define DEFAULT_STRIDE 128u
#define DEFAULT_ANSWER_TOKENS 30u

/* ---- logits ------------------------------------------------------------------------------------------------------ */

typedef struct span_task {
  quern_session *s;
  uint32_t rows, lanes;
  atomic_size_t nonfinite;
} span_task;

/* Every lanes-th block of rows, with one lane's memory. */
static void span_lane(void *task, uint32_t lane) {
  span_task *t = task;
  const quern_session *s = t->s;
  if (s->model->arch.recipe == QN_RECIPE_STATIC) {
    if (lane == 0) qn_static_span(t->s, t->rows);
    return;
  }
  const qn_linear *l = &s->model->head;
  for (uint32_t r0 = lane * QN_BLOCK_ROWS; r0 < t->rows; r0 += t->lanes * QN_BLOCK_ROWS) {
    const size_t rows = qn_min_size(QN_BLOCK_ROWS, t->rows - r0);
    const float *x = s->x + (size_t)r0 * l->k;
    const qk_codes q = qn_input_codes(s->lane[lane].in, l);
    if (l->dtype != QRN_F32) {
      const size_t bad = qn_input_rows(s->kernels, l, x, l->k, &q, s->lane[lane].transform, 0, rows);
      if (bad) atomic_fetch_add_explicit(&t->nonfinite, bad, memory_order_relaxed);
    }
    const qn_product p = {
        .linear = l, .site = QN_SITE_KINDS, .x = x, .q = q, .out = s->logits + (size_t)r0 * l->n, .ldo = l->n};
    qn_product_run(s->kernels, &p, 0, rows, 0, qk_panels(l->n));
  }
}

quern_status qn_span_pass(quern_session *s, uint32_t rows) {
  const size_t blocks = ((size_t)rows + QN_BLOCK_ROWS - 1) / QN_BLOCK_ROWS;
  span_task t = {.s = s, .rows = rows, .lanes = (uint32_t)qn_min_size(s->lanes, blocks)};
  qn_pool_run(s->pool, span_lane, &t, t.lanes);
  if (atomic_load(&t.nonfinite) || !qn_all_finite(s->logits, (size_t)rows * 2))
    return qn_fail(&s->error, QUERN_E_NONFINITE, "NaN or infinity in the span head: check the file with quern verify");
  return QUERN_OK;
}

/* ---- answers of a pass ------------------------------------------------------------------------------------------- */

/* Better: a higher score; of equal ones the answer that begins first, then the shorter. */
static int is_better(float score, quern_span a, float best, quern_span b) {
  if (score != best) return score > best;
  return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
}

/* The best answer of a window against the best so far. Within a window tokens ascend, so that the first of equal scores
   is the one to take. */
static void select_answer(qn_answers *a, const qn_window *w, uint32_t start) {
  const quern_session *s = a->s;
  const float *logits = s->logits + (size_t)start * 2;
  const quern_span *spans = s->spans + start;
  float *score = a->scores + 2 * w->pair, best = -__builtin_inff();
  const float null_score = logits[0] + logits[1];
  const uint32_t end = w->first + w->count;
  uint32_t from = 0, to = 0;
  for (uint32_t i = w->first; i < end; i++) {
    const uint32_t stop = end - i < a->options.answer_tokens ? end : i + a->options.answer_tokens;
    for (uint32_t j = i; j < stop; j++) {
      const float sum = logits[2 * (size_t)i] + logits[2 * (size_t)j + 1];
      if (sum > best) best = sum, from = i, to = j;
    }
  }
  if (null_score < score[1]) score[1] = null_score;
  if (!w->count) return;
  const quern_span found = {spans[from].begin, spans[to].end};
  if (!is_better(best, found, score[0], a->answers[w->pair])) return;
  score[0] = best;
  a->answers[w->pair] = found;
}

static quern_status show_window(const qn_answers *a, const qn_window *w, uint32_t start, uint32_t tokens) {
  quern_session *s = a->s;
  const quern_window view = {.size = sizeof view,
                             .tokens = tokens,
                             .pair = w->pair,
                             .context = w->first,
                             .context_tokens = w->count,
                             .ids = s->ids + start,
                             .spans = s->spans + start,
                             .logits = s->logits + (size_t)start * 2};
  return a->options.window(a->options.window_user, &view)
             ? qn_fail(&s->error, QUERN_E_CANCELLED, "cancelled by the callback that gets the windows")
             : QUERN_OK;
}

quern_status qn_answers_flush(qn_answers *a) {
  quern_session *s = a->s;
  if (!a->batch) return QUERN_OK;
  QN_TRY(qn_encode_pass(s, a->batch, 1));
  QN_TRY(qn_span_pass(s, a->rows));
  for (uint32_t i = 0; i < a->batch; i++) {
    select_answer(a, &s->windows[i], s->starts[i]);
    if (a->options.window) QN_TRY(show_window(a, &s->windows[i], s->starts[i], s->lens[i]));
  }
  a->batch = a->rows = 0;
  return QUERN_OK;
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

quern_status qn_answers_begin(qn_answers *a) {
  quern_session *s = a->s;
  const qn_arch *arch = &s->model->arch;
  if (arch->head != QN_HEAD_SPAN)
    return qn_fail(&s->error, QUERN_E_TASK,
                   "the model has no span head: it does not find answers (a ...ForQuestionAnswering model does)");
  if (!s->model->tokenizer.kind)
    return qn_fail(&s->error, QUERN_E_TASK, "the model file has no tokenizer: quantize it again with its tokenizer");
  if (s->text_tokens > s->max_tokens)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "windows of %u tokens need a session of at least that many, not %u",
                   s->text_tokens, s->max_tokens);
  if (!a->options.answer_tokens) a->options.answer_tokens = DEFAULT_ANSWER_TOKENS;
  return QUERN_OK;
}

/* The window of context tokens `at` ... at + count - 1 behind the question, at the end of the pass, which runs before
   when it is full. chunk: context token that s->context_ids begins with. */
static quern_status add_window(qn_answers *a, size_t pair, size_t question, size_t chunk, size_t at, size_t count) {
  quern_session *s = a->s;
  const qn_tokenizer *t = &s->model->tokenizer;
  const size_t tokens = qn_tokenizer_specials(t, 1) + question + count;
  const size_t first = qn_tokenizer_before(t, 1, 1, question);
  if (a->batch == s->max_sequences || tokens > s->max_tokens - a->rows) QN_TRY(qn_answers_flush(a));
  qn_ids out = {.ids = s->ids + a->rows, .types = s->types + a->rows, .cap = s->max_tokens - a->rows};
  QN_TRY(qn_tokenizer_template(t, s->text_ids, question, s->context_ids + (at - chunk), count, 1, &out));
  if (out.count != tokens || first > tokens - count)
    return qn_fail(&s->error, QUERN_E_FORMAT, "the tokenizer's template for pairs does not hold each text once");
  quern_span *spans = s->spans + a->rows;
  memset(spans, 0, tokens * sizeof *spans);
  if (count) memcpy(spans + first, s->context_spans + (at - chunk), count * sizeof *spans);
  s->windows[a->batch] = (qn_window){pair, (uint32_t)first, (uint32_t)count};
  s->lens[a->batch++] = (uint32_t)tokens;
  a->rows += (uint32_t)tokens;
  return QUERN_OK;
}

/* Context tokens from number `from` on, as many as a pass holds; *total: how many the context has. */
static quern_status encode_context(quern_session *s, const char *context, size_t len, size_t from, size_t *total) {
  qn_ids out = {.ids = s->context_ids, .cap = s->max_tokens, .skip = from, .spans = s->context_spans};
  QN_TRY(qn_tokenizer_encode(&s->model->tokenizer, context, len, 1, &out));
  *total = out.count;
  return QUERN_OK;
}

quern_status qn_answers_add(qn_answers *a, size_t pair, const char *question, size_t question_len, const char *context,
                            size_t context_len) {
  quern_session *s = a->s;
  const size_t limit = s->text_tokens, specials = qn_tokenizer_specials(&s->model->tokenizer, 1);
  qn_ids q = {.ids = s->text_ids, .cap = limit};
  QN_TRY(qn_tokenizer_encode(&s->model->tokenizer, question, question_len, 0, &q));
  if (q.count >= limit || specials >= limit - q.count)
    return qn_fail(&s->error, QUERN_E_CAPACITY,
                   "question %zu, \"%.*s\", has %zu tokens: with %zu special ones it leaves no room for a context in "
                   "windows of %zu; shorten it or raise text_tokens",
                   pair, (int)qn_min_size(question_len, 60), question, q.count, specials, limit);
  const size_t room = limit - specials - q.count;
  const size_t stride = a->options.stride ? a->options.stride : qn_min_size(DEFAULT_STRIDE, room / 2);
  size_t total = 0, chunk = 0;
  QN_TRY(encode_context(s, context, context_len, 0, &total));
  if (total > room && stride >= room)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "question %zu leaves room for %zu tokens of its context in windows of %zu: they cannot share %zu; "
                   "lower stride or raise text_tokens",
                   pair, room, limit, stride);
  a->answers[pair] = (quern_span){0, 0};
  a->scores[2 * pair] = -__builtin_inff();
  a->scores[2 * pair + 1] = __builtin_inff();
  for (size_t at = 0;; at += room - stride) {
    const size_t count = qn_min_size(room, total - at);
    if (at + count > chunk + s->max_tokens) { /* a context longer than a pass is tokenized again for each */
      chunk = at;
      QN_TRY(encode_context(s, context, context_len, chunk, &total));
    }
    QN_TRY(add_window(a, pair, q.count, chunk, at, count));
    if (at + count >= total) return QUERN_OK;
  }
}
