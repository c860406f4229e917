/* texts.c - texts to passes: tokenize, cut to length, apply the template, fill the session, run, hand out. */
#include <string.h>

#include "base/checked.h"
#include "run/session.h"

/* Lengths that two texts of na and nb tokens are cut to so that they fit `room` together, as Hugging Face's "longest
   first": the longer gives up tokens first; when both are long each gets half, the longer one the odd token. */
static void cut_pair(size_t *na, size_t *nb, size_t room) {
  if (*na + *nb <= room) return;
  size_t *shorter = *na <= *nb ? na : nb, *longer = *na <= *nb ? nb : na;
  if (*shorter <= room / 2) {
    *longer = room - *shorter;
  } else {
    *shorter = room / 2;
    *longer = room - room / 2;
  }
}

/* The tokenizer's message is the context's; a session's call leaves it with the session, too. */
static quern_status tokenizer_said(quern_session *s, quern_status status) {
  return qn_error_pass(&s->error, &s->model->env->error, status);
}

/* One text or pair as token ids at the end of the pass's ids; *len: how many. */
static quern_status encode_text(quern_session *s, const char *a, size_t a_len, const char *b, size_t b_len, int pair,
                                uint32_t row, uint32_t *len) {
  const qn_tokenizer *t = &s->model->tokenizer;
  const size_t specials = qn_tokenizer_specials(t, pair), limit = s->text_tokens;
  if (specials >= limit)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "texts of %zu tokens have no room beside %zu special tokens", limit,
                   specials);
  qn_ids ia = {.ids = s->text_ids, .cap = limit}, ib = {.ids = s->text_ids + limit, .cap = limit};
  QN_TRY(qn_tokenizer_encode(t, a, a_len, 0, &ia));
  if (pair) QN_TRY(qn_tokenizer_encode(t, b, b_len, 1, &ib));
  size_t na = ia.count, nb = ib.count;
  if (pair)
    cut_pair(&na, &nb, limit - specials);
  else
    na = qn_min_size(na, limit - specials);
  if (na < ia.count || nb < ib.count) s->stats.texts_cut++;
  qn_ids out = {.ids = s->ids + row, .types = s->types + row, .cap = s->max_tokens - row};
  QN_TRY(tokenizer_said(s, qn_tokenizer_template(t, ia.ids, na, pair ? ib.ids : NULL, nb, pair, &out)));
  if (!out.count)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "an empty text has no tokens: this model has no special tokens to stand for it");
  *len = (uint32_t)out.count; /* more than cap when it does not fit any more */
  return QUERN_OK;
}

quern_status qn_run_texts(quern_session *s, const char *utf8, const int64_t *offsets, size_t n, int pairs,
                          qn_emit_fn *emit, void *user) {
  const size_t texts = pairs ? 2 : 1, results = n / texts;
  if (!s->model->tokenizer.kind)
    return qn_fail(&s->error, QUERN_E_TASK, "the model file has no tokenizer: give token ids to quern_encode");
  if (s->text_tokens > s->max_tokens)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "texts of up to %u tokens need a session of at least that many, not %u",
                   s->text_tokens, s->max_tokens);
  size_t first = 0;
  uint32_t batch = 0, rows = 0;
  const uint64_t cut = s->stats.texts_cut;
  for (size_t i = 0; i < results;) {
    const int64_t *o = offsets + i * texts;
    uint32_t len = 0;
    int full = batch == s->max_sequences;
    if (!full) {
      const uint64_t cut_before = s->stats.texts_cut;
      quern_status status = encode_text(s, utf8 + o[0], (size_t)(o[1] - o[0]), pairs ? utf8 + o[1] : NULL,
                                        pairs ? (size_t)(o[2] - o[1]) : 0, pairs, rows, &len);
      if (status != QUERN_OK) {
        s->stats.texts_cut = cut;
        return status;
      }
      full = len > s->max_tokens - rows;
      if (full) s->stats.texts_cut = cut_before; /* it is encoded again for the next pass */
    }
    if (!full) {
      s->lens[batch++] = len;
      rows += len;
      i++;
      if (i < results) continue;
    }
    QN_TRY(qn_encode_pass(s, batch, 1));
    QN_TRY(emit(user, first, batch));
    first += batch;
    batch = 0, rows = 0;
  }
  return QUERN_OK;
}
