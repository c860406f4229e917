/* calibrate_decoder.c - calibration text through a decoder (calibrate.h): each text is a sequence of its own, from its first token
 * on; as many as fit are appended in one pass. */
#include <string.h>

#include "base/checked.h"
#include "quant/calibrate.h"
#include "run/score.h"

typedef struct texts {
  quern_session *s;
  qn_env *env;
  const qn_calibration_text *text;
  int32_t *ids, *types, *one; /* [room] of a pass, twice; [room] of a text without what the template adds */
  size_t room;                /* a pass, or a text that is longer */
  size_t left, share;         /* tokens that are still to be run; of the next text, at most */
  uint32_t batch, rows;       /* of the pass so far; lengths and first rows are the session's */
} texts;

/* Text i as ids behind those of the pass, cut to the session's text_tokens; *len: how many, which may be more than there is room for. */
static quern_status encode(const texts *t, size_t i, uint32_t *len) {
  const qn_tokenizer *k = &t->s->model->tokenizer;
  const int64_t *o = (const int64_t *)(const void *)t->text->offsets.data + i;
  const size_t specials = qn_tokenizer_specials(k, 0), room = t->s->text_tokens;
  if (!k->kind) return qn_fail(&t->env->error, QUERN_E_TASK, "calibration text needs a source with a tokenizer");
  qn_ids one = {.ids = t->one, .cap = room};
  qn_ids out = {.ids = t->ids + t->rows, .types = t->types + t->rows, .cap = t->room - t->rows};
  QN_TRY(qn_tokenizer_encode(k, (const char *)t->text->utf8.data + o[0], (size_t)(o[1] - o[0]), 0, &one));
  QN_TRY(qn_tokenizer_template(k, t->one, qn_min_size(one.count, room > specials ? room - specials : 0), NULL, 0, 0,
                               &out));
  *len = (uint32_t)qn_min_size(out.count, t->share);
  return QUERN_OK;
}

static quern_status run_pass(texts *t, size_t first, qn_emit_fn *emit, void *user) {
  quern_session *s = t->s;
  uint32_t lens[QN_CALIBRATION_BATCH], sequence[QN_CALIBRATION_BATCH];
  for (uint32_t i = 0; i < t->batch; i++) {
    lens[i] = s->lens[i];
    sequence[i] = i;
    qn_decode_truncate(s, i, 0);
  }
  if (t->batch) QN_TRY(qn_decode(s, sequence, lens, t->batch, t->ids));
  if (t->batch) QN_TRY(emit(user, first, t->batch));
  t->batch = t->rows = 0;
  return QUERN_OK;
}

/* A text that is longer than a pass, in pieces: each is shown as the first of a pass. */
static quern_status run_long(texts *t, size_t index, uint32_t len, qn_emit_fn *emit, void *user) {
  quern_session *s = t->s;
  const uint32_t sequence = 0;
  qn_decode_truncate(s, sequence, 0);
  for (uint32_t at = 0; at < len;) {
    const uint32_t n = (uint32_t)qn_min_size(len - at, s->max_tokens);
    QN_TRY(qn_decode(s, &sequence, &n, 1, t->ids + at));
    s->starts[0] = 0;
    s->lens[0] = n;
    QN_TRY(emit(user, index, 1));
    at += n;
  }
  return QUERN_OK;
}

static quern_status run(texts *t, size_t count, qn_emit_fn *emit, void *user) {
  quern_session *s = t->s;
  const uint32_t most = (uint32_t)qn_min_size(s->max_sequences, QN_CALIBRATION_BATCH);
  size_t first = 0;
  for (size_t i = 0; i < count && t->left; i++) {
    uint32_t len;
    t->share = t->left / (count - i) +
               (t->left % (count - i) != 0); /* all texts alike, and more where others are short */
    QN_TRY(encode(t, i, &len));
    if (t->batch == most || len > s->max_tokens - t->rows) {
      QN_TRY(run_pass(t, first, emit, user));
      first = i;
      QN_TRY(encode(t, i, &len));
    }
    if (!len) continue; /* nothing to see */
    t->left -= len;
    if (len > s->max_tokens) {
      QN_TRY(run_long(t, i, len, emit, user));
      first = i + 1;
      continue;
    }
    s->starts[t->batch] = t->rows;
    s->lens[t->batch++] = len;
    t->rows += len;
  }
  return run_pass(t, first, emit, user);
}

quern_status qn_calibration_decode(quern_session *s, qn_env *env, const qn_calibration_text *text, size_t count,
                                   qn_emit_fn *emit, void *user) {
  void *p = NULL;
  texts t = {.s = s, .env = env, .text = text};
  t.room = qn_max_size(s->max_tokens, s->text_tokens);
  t.left = text->tokens_most ? text->tokens_most : SIZE_MAX;
  QN_TRY(qn_alloc_array(env, &p, 3 * t.room, sizeof *t.ids, "ids of calibration text"));
  t.ids = p;
  t.types = t.ids + t.room;
  t.one = t.types + t.room;
  const quern_status status = run(&t, count, emit, user);
  qn_free(env, p, 3 * t.room * sizeof *t.ids);
  return status;
}
