/* api_decode.c - quern_decode_*, quern_sequence_*: checks arguments, brackets the call, forwards to run/decoder.h. */
#include "api/api_call.h"
#include "run/decoder.h"
#include "run/saved.h"
#include "run/score.h"

/* The session's own lens are a pass's. */
static quern_status decode(quern_session *s, const uint32_t *sequences, const uint32_t *lens, uint32_t n,
                           const int32_t *ids) {
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_decode(s, sequences, lens, n, ids);
  return qn_call_end(s, status);
}

quern_status quern_decode_feed(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!ids || !n) return qn_fail(&s->error, QUERN_E_ARGUMENT, "feed: at least one token id must be given");
  QN_TRY(qn_decode_check(s, sequence));
  return decode(s, &sequence, &n, 1, ids);
}

quern_status quern_decode_batch(quern_session *s, const uint32_t *sequences, const uint32_t *offsets,
                                const int32_t *ids, uint32_t n) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!sequences || !offsets || !ids || !n)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "batch: sequences, offsets and ids must be given, and at least one sequence");
  for (uint32_t i = 0; i < n; i++) QN_TRY(qn_decode_check(s, sequences[i]));
  if (n > s->max_sequences)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "%u different sequences of a session that holds %u", n,
                   s->max_sequences);
  for (uint32_t i = 0; i < n; i++) {
    if (offsets[i + 1] <= offsets[i])
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u gets no tokens: offset %u is not above the one before",
                     sequences[i], i + 1);
    s->call_lens[i] = offsets[i + 1] - offsets[i];
  }
  return decode(s, sequences, s->call_lens, n, ids + offsets[0]);
}

quern_status quern_decode_logits(quern_session *s, uint32_t sequence, const float **logits, uint32_t *n) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!logits) return qn_fail(&s->error, QUERN_E_ARGUMENT, "no place for the logits");
  const float *found = NULL;
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_decode_logits(s, sequence, &found);
  QN_TRY(qn_call_end(s, status));
  *logits = found;
  if (n) *n = s->model->arch.labels;
  return QUERN_OK;
}

quern_status quern_decode_rows(quern_session *s, uint32_t first, uint32_t n, quern_tensor_view *out, uint32_t *of) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!out) return qn_fail(&s->error, QUERN_E_ARGUMENT, "no place for the logits");
  QN_TRY(qn_decode_check(s, 0));
  const float *found = NULL;
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_decode_rows(s, first, n, &found);
  QN_TRY(qn_call_end(s, status));
  *out = (quern_tensor_view){found, n, s->model->arch.labels};
  if (of) *of = s->feed_rows;
  return QUERN_OK;
}

quern_status quern_decode_score(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n,
                                float *log_probabilities) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!ids || !n || !log_probabilities)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "score: ids, at least one, and a place for probabilities must be given");
  QN_TRY(qn_decode_check(s, sequence));
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_score(s, sequence, ids, n, log_probabilities);
  return qn_call_end(s, status);
}

/* Whether the sequence is there and has that many tokens. */
static quern_status check_tokens(quern_session *s, uint32_t sequence, uint32_t tokens) {
  QN_TRY(qn_decode_check(s, sequence));
  const uint32_t length = s->cache.sequence[sequence].length, least = qn_cache_least(&s->cache, sequence);
  if (tokens > length)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "%u tokens of sequence %u, which has %u", tokens, sequence, length);
  if (tokens && tokens < least)
    return qn_fail(
        &s->error, QUERN_E_ARGUMENT,
        "%u tokens of sequence %u: what is behind the model's window was released, %u and more can be had, or 0",
        tokens, sequence, least);
  return QUERN_OK;
}

quern_status quern_sequence_length(quern_session *s, uint32_t sequence, uint32_t *tokens) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!tokens) return qn_fail(&s->error, QUERN_E_ARGUMENT, "no place for the number of tokens");
  QN_TRY(qn_decode_check(s, sequence));
  *tokens = s->cache.sequence[sequence].length;
  return QUERN_OK;
}

quern_status quern_sequence_prefix(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n,
                                   uint32_t *tokens) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!tokens || (n && !ids))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "prefix: ids or the place for a number is NULL");
  QN_TRY(qn_decode_check(s, sequence));
  const qn_pages *held = &s->cache.sequence[sequence];
  uint32_t same = 0;
  while (!held->first && same < n && same < held->length && *qn_cache_token(&s->cache, sequence, same) == ids[same])
    same++;
  *tokens = same;
  return QUERN_OK;
}

quern_status quern_sequence_truncate(quern_session *s, uint32_t sequence, uint32_t tokens) {
  if (!s) return QUERN_E_ARGUMENT;
  QN_TRY(check_tokens(s, sequence, tokens));
  qn_decode_truncate(s, sequence, tokens);
  return QUERN_OK;
}

quern_status quern_sequence_copy(quern_session *s, uint32_t from, uint32_t to, uint32_t tokens) {
  if (!s) return QUERN_E_ARGUMENT;
  QN_TRY(check_tokens(s, from, tokens));
  QN_TRY(qn_decode_check(s, to));
  qn_decode_copy(s, from, to, tokens);
  return QUERN_OK;
}

quern_status quern_sequence_save(quern_session *s, uint32_t sequence, const char *path) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!path) return qn_fail(&s->error, QUERN_E_ARGUMENT, "save: no path");
  QN_TRY(qn_decode_check(s, sequence));
  return qn_saved_write(s, sequence, path);
}

quern_status quern_sequence_restore(quern_session *s, uint32_t sequence, const char *path) {
  if (!s) return QUERN_E_ARGUMENT;
  if (!path) return qn_fail(&s->error, QUERN_E_ARGUMENT, "restore: no path");
  QN_TRY(qn_decode_check(s, sequence));
  return qn_saved_read(s, sequence, path);
}

quern_status quern_sequence_free(quern_session *s, uint32_t sequence) {
  return quern_sequence_truncate(s, sequence, 0);
}
