/* decoder.c - passes of a decoder (decoder.h). A pass is rows of some sequences, one after another; it goes through all layers
 * in groups of rows, each of which appends its own keys and values before its queries see them, so that any cut of tokens
 * into calls, passes and groups gives the same bytes (docs/NUMERICS.md). Pages are had before anything runs, and tokens
 * count when all of them are through. Logits are made when they are asked for, of hidden states that were kept. */
#include "run/decoder.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "run/rows_run.h"

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

static quern_status run_group(qn_group *g) {
  const uint32_t layers = g->arch->layers;
  qn_steps list = qn_steps_before(g->s->model);
  qn_rows_run(g, &list);
  QN_TRY(qn_group_check(g));
  for (g->layer = 0; g->layer < layers; g->layer++) {
    qn_attention_cache_run(g);
    QN_TRY(qn_group_check(g));
    list = qn_steps_after(g->s->model, g->layer);
    qn_rows_run(g, &list);
    QN_TRY(qn_group_check(g));
  }
  return QUERN_OK;
}

/* Rows of the pass from `row` on that make up a group: its segments, of the sequences that have tokens there. */
static void cut_group(qn_group *g) {
  quern_session *s = g->s;
  uint32_t start = 0;
  for (uint32_t i = 0; i < s->feed_count; start += s->lens[i++]) {
    const uint32_t first = (uint32_t)qn_max_size(start, g->row);
    const uint32_t end = (uint32_t)qn_min_size(start + s->lens[i], g->row + g->rows);
    if (first >= end) continue;
    s->segments[g->segments++] = (qn_segment){.sequence = s->feeds[i],
                                              .row = first - g->row,
                                              .rows = end - first,
                                              .position = s->cache.sequence[s->feeds[i]].length + first - start};
  }
}

/* Positions of the rows, and their tokens into the pages that are there for them. */
static void place_rows(quern_session *s) {
  uint32_t row = 0;
  for (uint32_t i = 0; i < s->feed_count; i++)
    for (uint32_t j = 0; j < s->lens[i]; j++)
{
      const uint32_t position = s->cache.sequence[s->feeds[i]].length + j;
      *qn_cache_token(&s->cache, s->feeds[i], position) = s->ids[row];
      s->positions[row++] = (int32_t)position;
    }
  s->feed_rows = row;
}

/* The tokens of the pass count from now on; the last hidden states of each sequence are kept for its logits. */
static quern_status commit(quern_session *s) {
  const size_t width = s->model->arch.width;
  uint32_t row = 0;
  for (uint32_t i = 0; i < s->feed_count; i++) {
    row += s->lens[i];
    if (!qn_all_finite(s->x + (row - 1) * width, width))
      return qn_fail(&s->error, QUERN_E_NONFINITE,
                     "NaN or infinity behind the last layer: the file is damaged (quern verify) or its source had such "
                     "weights");
  }
  row = 0;
  for (uint32_t i = 0; i < s->feed_count; i++) {
    qn_sequence *q = &s->sequences[s->feeds[i]];
    row += s->lens[i];
    s->cache.sequence[s->feeds[i]].length += s->lens[i];
    memcpy(s->last + s->feeds[i] * width, s->x + (row - 1) * width, width * sizeof(float));
    q->last = 1;
    q->logits = QN_NO_LOGITS;
  }
  return QUERN_OK;
}

/* s->feeds, s->lens, s->ids: at most max_tokens rows, whose pages are there. */
static quern_status run_pass(quern_session *s) {
  const qn_arch *a = &s->model->arch;
  const uint64_t t0 = qn_now_ns();
  quern_status status = QUERN_OK;
  place_rows(s);
  for (uint32_t row = 0; row < s->feed_rows && status == QUERN_OK;) {
    qn_group g = {.s = s,
                  .arch = a,
                  .row = row,
                  .rows = (uint32_t)qn_min_size(s->feed_rows - row, s->group_tokens),
                  .x = s->x + (size_t)row * a->width};
    cut_group(&g);
    status = run_group(&g);
    row += g.rows;
  }
  s->stats.ns_encode += qn_now_ns() - t0;
  if (status == QUERN_OK) status = commit(s);
  if (status == QUERN_OK) s->stats.tokens += s->feed_rows;
  return status;
}

quern_status qn_decode_check(quern_session *s, uint32_t sequence) {
  if (!s->model->arch.causal) return qn_fail(&s->error, QUERN_E_TASK, "the model is no decoder: it has no next tokens");
  if (sequence >= s->max_sequences)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u of a session that holds %u", sequence, s->max_sequences);
  return QUERN_OK;
}

/* ---- a call ------------------------------------------------------------------------------------------------------ */

static quern_status check_call(quern_session *s, const uint32_t *sequence, const uint32_t *lens, uint32_t n,
                               const int32_t *ids) {
  const qn_arch *a = &s->model->arch;
  const uint32_t most = s->cache.pages_most * QN_PAGE_TOKENS, limit = most < a->positions ? most : a->positions;
  size_t at = 0;
  for (uint32_t i = 0; i < n; i++) {
    QN_TRY(qn_decode_check(s, sequence[i]));
    qn_sequence *q = &s->sequences[sequence[i]];
    const uint32_t length = s->cache.sequence[sequence[i]].length;
    if (q->in_call) return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u is named twice in one call", sequence[i]);
    q->in_call = 1;
    q->before = length;
    if (!lens[i]) return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u gets no tokens", sequence[i]);
    if (lens[i] > a->positions - length)
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u of %u tokens gets %u more; the model takes %u",
                     sequence[i], length, lens[i], a->positions);
    if (lens[i] > limit - length)
      return qn_fail(&s->error, QUERN_E_CAPACITY, "sequence %u of %u tokens gets %u more: the session's cache holds %u",
                     sequence[i], length, lens[i], limit);
    for (uint32_t j = 0; j < lens[i]; j++, at++)
      if ((uint32_t)ids[at] >= a->vocab)
        return qn_fail(&s->error, QUERN_E_ARGUMENT, "token id %d for sequence %u is outside the vocabulary of %u",
                       ids[at], sequence[i], a->vocab);
  }
  return QUERN_OK;
}

static quern_status run_call(quern_session *s, const uint32_t *sequence, const uint32_t *lens, uint32_t n,
                             const int32_t *ids) {
  const uint32_t missing = qn_cache_reserve(&s->cache, s->kernels, sequence, lens, n);
  if (missing)
    return qn_fail(&s->error, QUERN_E_CAPACITY,
                   "the cache is full: %u pages of %u tokens are missing; free or cut sequences, or give the session "
                   "more cache_tokens",
                   missing, (unsigned)QN_PAGE_TOKENS);
  for (uint32_t i = 0, done = 0; i < n;) { /* done: tokens of sequence i that are through */
    uint32_t rows = 0;
    s->feed_count = 0;
    while (i < n && rows < s->max_tokens) {
      const uint32_t take = (uint32_t)qn_min_size(lens[i] - done, s->max_tokens - rows);
      s->feeds[s->feed_count] = sequence[i];
      s->lens[s->feed_count++] = take;
      rows += take;
      done += take;
      if (done == lens[i]) i++, done = 0;
    }
    memmove(s->ids, ids, rows * sizeof *ids); /* texts are there already */
    ids += rows;
    QN_TRY(run_pass(s));
  }
  return QUERN_OK;
}

/* As sequences were before the call. */
static void roll_back(quern_session *s, const uint32_t *sequence, uint32_t n) {
  s->feed_count = s->feed_rows = 0;
  for (uint32_t i = 0; i < n; i++) {
    qn_decode_truncate(s, sequence[i], s->sequences[sequence[i]].before);
    qn_cache_wipe(&s->cache, sequence[i]);
  }
}

quern_status qn_decode(quern_session *s, const uint32_t *sequence, const uint32_t *lens, uint32_t n,
                       const int32_t *ids) {
  quern_status status = check_call(s, sequence, lens, n, ids);
  for (uint32_t i = 0; i < n; i++)
    if (sequence[i] < s->max_sequences) s->sequences[sequence[i]].in_call = 0;
  QN_TRY(status);
  status = run_call(s, sequence, lens, n, ids);
  if (status != QUERN_OK) roll_back(s, sequence, n);
  if (status == QUERN_OK) s->stats.sequences += n;
  for (uint32_t i = 0; i < n; i++) qn_cache_release(&s->cache, sequence[i]);
  return status;
}

/* ---- logits ------------------------------------------------------------------------------------------------------ */

/* The rows of s->logits belong to nobody from now on. */
static void drop_logits(quern_session *s) {
  for (uint32_t i = 0; i < s->logit_count; i++) s->sequences[s->logit_owners[i]].logits = QN_NO_LOGITS;
  s->logit_count = 0;
}

/* Logits of rows x into s->logits. */
static quern_status run_head(quern_session *s, float *x, uint32_t rows) {
  qn_group g = {.s = s, .arch = &s->model->arch, .rows = rows, .x = x, .logits = s->logits};
  const qn_steps list = qn_steps_head(s->model);
  qn_rows_run(&g, &list);
  if (qn_group_stopped(&g)) return qn_group_check(&g);
  if (atomic_load(&g.nonfinite) || !qn_all_finite(s->logits, (size_t)rows * s->model->arch.labels))
    return qn_fail(&s->error, QUERN_E_NONFINITE, "NaN or infinity in the head: check the file with quern verify");
  return QUERN_OK;
}

/* Whose logits are made: the sequence's, and if it was in the last pass those of the others there. */
static uint32_t choose_owners(quern_session *s, uint32_t sequence) {
  uint32_t count = 0, with = 0;
  s->logit_owners[count++] = sequence;
  for (uint32_t i = 0; i < s->feed_count; i++) with |= s->feeds[i] == sequence;
  for (uint32_t i = 0; with && i < s->feed_count && count < s->logit_rows; i++)
    if (s->feeds[i] != sequence && s->sequences[s->feeds[i]].last) s->logit_owners[count++] = s->feeds[i];
  return count;
}

quern_status qn_decode_logits(quern_session *s, uint32_t sequence, const float **logits) {
  const size_t width = s->model->arch.width;
  QN_TRY(qn_decode_check(s, sequence));
  const qn_sequence *q = &s->sequences[sequence];
  if (!q->last)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "sequence %u has no logits: no token was appended to it since it was made or cut", sequence);
  if (q->logits == QN_NO_LOGITS) {
    drop_logits(s);
    const uint32_t count = choose_owners(s, sequence);
    for (uint32_t i = 0; i < count; i++)
      memcpy(s->head_rows + i * width, s->last + s->logit_owners[i] * width, width * sizeof(float));
    QN_TRY(run_head(s, s->head_rows, count));
    for (uint32_t i = 0; i < count; i++) s->sequences[s->logit_owners[i]].logits = i;
    s->logit_count = count;
  }
  *logits = s->logits + (size_t)q->logits * s->model->arch.labels;
  return QUERN_OK;
}

quern_status qn_decode_rows(quern_session *s, uint32_t first, uint32_t n, const float **logits) {
  if (first > s->feed_rows || n > s->feed_rows - first)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "rows %u to %llu were asked for; the last pass had %u", first,
                   (unsigned long long)first + n, s->feed_rows);
  if (n > s->logit_rows)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "logits of %u rows were asked for; the session holds %u", n,
                   s->logit_rows);
  drop_logits(s);
  if (n) QN_TRY(run_head(s, s->x + (size_t)first * s->model->arch.width, n));
  *logits = s->logits;
  return QUERN_OK;
}

/* ---- sequences --------------------------------------------------------------------------------------------------- */

void qn_decode_truncate(quern_session *s, uint32_t sequence, uint32_t tokens) {
  qn_sequence *q = &s->sequences[sequence];
  if (tokens < s->cache.sequence[sequence].length) {
    q->last = 0;
    q->logits = QN_NO_LOGITS;
  }
  qn_cache_truncate(&s->cache, sequence, tokens);
}

void qn_decode_copy(quern_session *s, uint32_t from, uint32_t to, uint32_t tokens) {
  const size_t width = s->model->arch.width;
  const int whole = tokens == s->cache.sequence[from].length && s->sequences[from].last;
  if (from == to) {
    qn_decode_truncate(s, to, tokens);
    return;
  }
  qn_cache_share(&s->cache, from, to, tokens);
  s->sequences[to].last = (uint32_t)whole;
  s->sequences[to].logits = QN_NO_LOGITS;
  if (whole) memcpy(s->last + to * width, s->last + from * width, width * sizeof(float));
}
