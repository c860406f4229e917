/* generate.c - generation (generate.h): a loop of choosing and appending, and what stands between tokens and the caller. */
#include "run/generate.h"

#include <string.h>

#include "base/checked.h"

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

/* Those of a sequence's tokens before `position` that penalties are of, into recent; returns how many. */
static uint32_t recent_of(const quern_session *s, uint32_t sequence, uint32_t position, uint32_t most,
                          int32_t recent[QN_PENALTY_TOKENS]) {
  const uint32_t n = (uint32_t)qn_min_size(qn_min_size(most, QN_PENALTY_TOKENS), position);
  for (uint32_t i = 0; i < n; i++) recent[i] = *qn_cache_token(&s->cache, sequence, position - n + i);
  return n;
}

/* The token at `position`, of logits made after those before it. draws: whose draws, a sequence's number. */
static quern_status choose(quern_session *s, uint32_t sequence, uint32_t draws, uint32_t position, const float *logits,
                           const qn_sampling *o, uint32_t penalty_tokens, int32_t *id) {
  int32_t recent[QN_PENALTY_TOKENS];
  const int punishes = o->repeat_penalty != 1 || o->presence_penalty != 0;
  const uint32_t recents = punishes ? recent_of(s, sequence, position, penalty_tokens, recent) : 0;
  qn_sample(o, &s->sampler, logits, recent, recents, draws, position, id);
  return *id >= 0 ? QUERN_OK : qn_fail(&s->error, QUERN_E_ARGUMENT, "the biases forbid every token");
}

quern_status qn_generate_choose(quern_session *s, uint32_t sequence, uint32_t draws, const qn_sampling *o,
                                uint32_t penalty_tokens, int32_t *id) {
  const float *logits;
  QN_TRY(qn_decode_logits(s, sequence, &logits));
  return choose(s, sequence, draws, s->cache.sequence[sequence].length, logits, o, penalty_tokens, id);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

void qn_outlet_begin(qn_outlet *o, qn_generation *g) {
  o->g = g;
  o->held = 0;
  qn_detokenizer_begin(&o->text, &g->s->model->tokenizer, g->keep_special);
  o->text.when = 0; /* there is text before it */
}

/* The earliest stop in what is held: where it begins; SIZE_MAX: none. */
static size_t find_stop(const qn_outlet *o) {
  for (size_t at = 0; at < o->held; at++)
    for (uint32_t i = 0; i < o->g->stop_count; i++) {
      const size_t bytes = strlen(o->g->stop_texts[i]);
      if (bytes <= o->held - at && !memcmp(o->buf + at, o->g->stop_texts[i], bytes)) return at;
    }
  return SIZE_MAX;
}

/* From where on what is held may be the beginning of a stop. */
static size_t find_beginning(const qn_outlet *o) {
  for (size_t at = 0; at < o->held; at++)
    for (uint32_t i = 0; i < o->g->stop_count; i++)
      if (!strncmp(o->g->stop_texts[i], o->buf + at, o->held - at)) return at;
  return o->held;
}

/* Hands out the first `bytes` with a token, or with -1. Returns whether generation goes on. */
static int hand_out(qn_outlet *o, int32_t id, size_t bytes) {
  const int stopped = o->g->fn && (id >= 0 || bytes) && o->g->fn(o->g->user, id, o->buf, bytes);
  o->held -= bytes;
  memmove(o->buf, o->buf + bytes, o->held);
  if (stopped) o->g->reason = QUERN_STOP_CALLBACK;
  return !stopped;
}

int qn_outlet_put(qn_outlet *o, int32_t id) {
  size_t len = 0;
  o->g->tokens++;
  if (o->text.t->kind) {
    qn_detokenizer_feed(&o->text, id, o->buf + o->held, sizeof o->buf - o->held, &len);
    o->held += len;
  }
  const size_t stop = find_stop(o);
  if (stop == SIZE_MAX) return hand_out(o, id, find_beginning(o));
  o->held = stop;
  o->g->reason = QUERN_STOP_TEXT;
  hand_out(o, id, stop);
  return 0;
}

/* A stop may become complete yet. */
void qn_outlet_end(qn_outlet *o) {
  size_t len = 0;
  if (o->g->reason == QUERN_STOP_TEXT || o->g->reason == QUERN_STOP_CALLBACK) return;
  if (o->text.t->kind) qn_detokenizer_end(&o->text, o->buf + o->held, sizeof o->buf - o->held, &len);
  o->held += len;
  hand_out(o, -1, qn_min_size(find_stop(o), o->held));
}

int qn_generation_ends(const qn_generation *g, int32_t id) {
  const quern_model *m = g->s->model;
  for (uint32_t i = 0; i < m->end_count; i++)
    if (m->ends[i] == id) return 1;
  for (uint32_t i = 0; i < g->stops; i++)
    if (g->stop[i] == id) return 1;
  return 0;
}

/* ---- guesses ----------------------------------------------------------------------------------------------------- */

#define QN_MATCH_MOST 3u /* tokens before that must be the same, tried first; then less */

/* Token i of the sequence with `next` behind its last. */
static int32_t token_at(const qn_generation *g, uint32_t length, int32_t next, uint32_t i) {
  return i < length ? *qn_cache_token(&g->s->cache, g->sequence, i) : next;
}

/* Guesses what follows `next`: what followed the last place where the tokens before were the same. Returns how many. */
static uint32_t look_up(const qn_generation *g, uint32_t length, int32_t next, uint32_t most, int32_t *guess) {
  const uint32_t first = g->s->cache.sequence[g->sequence].first * QN_PAGE_TOKENS; /* that is held */
  for (uint32_t match = QN_MATCH_MOST; match > 0; match--)
    for (uint32_t end = length; end-- > match + first;) {
      uint32_t same = 0;
      while (same < match && token_at(g, length, next, end - same) == token_at(g, length, next, length - same)) same++;
      if (same < match) continue;
      const uint32_t n = (uint32_t)qn_min_size(most, length - end);
      for (uint32_t i = 0; i < n; i++) guess[i] = token_at(g, length, next, end + 1 + i);
      return n;
    }
  return 0;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* Appends `next` and guesses. Returns with *rows tokens appended, at least one. */
static quern_status append(qn_generation *g, int32_t next, uint32_t *rows) {
  quern_session *s = g->s;
  int32_t ids[1 + QN_GUESSES];
  const uint32_t length = s->cache.sequence[g->sequence].length, positions = s->model->arch.positions;
  const uint32_t left = g->max_new - g->tokens;
  ids[0] = next;
  *rows = 1;
  if (g->guesses && left > 1 && length + 1 < positions) {
    const uint32_t most = (uint32_t)qn_min_size(qn_min_size(g->guesses, left - 1), positions - length - 1);
    *rows += look_up(g, length, next, most, ids + 1);
  }
  quern_status status = qn_decode(s, &g->sequence, rows, 1, ids);
  if (status != QUERN_E_CAPACITY || *rows == 1) return status;
  *rows = 1; /* guesses alone did not fit */
  return qn_decode(s, &g->sequence, rows, 1, ids);
}

/* Follows the `rows` tokens appended last, of which all but the first are guesses, as long as they are what is chosen. *next: the
   first that is not there. Returns whether generation goes on. */
static int follow(qn_generation *g, qn_outlet *out, uint32_t rows, int32_t *next, quern_status *status) {
  quern_session *s = g->s;
  const uint32_t length = s->cache.sequence[g->sequence].length;
  for (uint32_t i = 0; i < rows; i++) {
    const uint32_t position = length - rows + i + 1;
    const float *logits = NULL;
    if (rows == 1)
      *status = qn_decode_logits(s, g->sequence, &logits);
    else if (i == 0)
      *status = qn_decode_rows(s, 0, rows, &logits);
    else
      logits = s->logits + (size_t)i * s->model->arch.labels;
    if (*status == QUERN_OK)
      *status = choose(s, g->sequence, g->sequence, position, logits, &g->sampling, g->penalty_tokens, next);
    if (*status != QUERN_OK) return 0;
    const int there = i + 1 < rows && *qn_cache_token(&s->cache, g->sequence, position) == *next;
    const int ends = qn_generation_ends(g, *next);
    if (!there || ends) qn_decode_truncate(s, g->sequence, position);
    if (ends) {
      g->reason = QUERN_STOP_END;
      return 0;
    }
    g->guessed += (uint32_t)there;
    const int goes_on = qn_outlet_put(out, *next) && g->tokens < g->max_new;
    if (!there) return goes_on;
    if (!goes_on) {
      qn_decode_truncate(s, g->sequence, position + 1);
      *next = -1; /* it is appended */
      return 0;
    }
  }
  return 1;
}

quern_status qn_generate(qn_generation *g) {
  qn_outlet out;
  int32_t next = -1;
  quern_status status = qn_generate_choose(g->s, g->sequence, g->sequence, &g->sampling, g->penalty_tokens, &next);
  QN_TRY(status);
  qn_outlet_begin(&out, g);
  g->tokens = g->guessed = 0;
  g->reason = QUERN_STOP_LENGTH;
  if (qn_generation_ends(g, next)) {
    g->reason = QUERN_STOP_END;
    return QUERN_OK;
  }
  int goes_on = qn_outlet_put(&out, next) && g->tokens < g->max_new;
  while (goes_on && status == QUERN_OK) {
    uint32_t rows;
    status = append(g, next, &rows);
    if (status == QUERN_OK) goes_on = follow(g, &out, rows, &next, &status);
  }
  if (status == QUERN_OK && g->reason != QUERN_STOP_END && next >= 0) {
    const uint32_t one = 1;
    status = qn_decode(g->s, &g->sequence, &one, 1, &next);
  }
  qn_outlet_end(&out);
  return status;
}
