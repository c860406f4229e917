/* encoder.c - the encoder: embedding, then layers, over a ragged batch of whole sequences, by the description in qn_arch.
 *
 * Between two attentions everything works row by row: lists of steps (attention output, norm, feed-forward, norm, the next
 * layer's q, k, v; layer_steps.c), which rows_run.c runs. Attention is attention.c's. Any cut gives the same bytes
 * (docs/NUMERICS.md). */
#include "base/checked.h"
#include "run/rows_run.h"

static quern_status run_group(qn_group *g) {
  const uint32_t layers = g->arch->layers;
  qn_steps list = qn_steps_before(g->s->model);
  qn_attention_plan(g);
  qn_rows_run(g, &list);
  QN_TRY(qn_group_check(g));
  for (g->layer = 0; g->layer < layers; g->layer++) {
    qn_attention_run(g);
    QN_TRY(qn_group_check(g));
    list = qn_steps_after(g->s->model, g->layer);
    qn_rows_run(g, &list);
    QN_TRY(qn_group_check(g));
  }
  return QUERN_OK;
}

/* Rows of a group: the pass in as few groups as have work enough for all lanes, about equal. */
static uint32_t group_rows(const quern_session *s, uint32_t rows) {
  return qn_parts_of(rows, qn_parts_of(rows, QN_GROUP_TOKENS * s->lanes));
}

/* Sequences first ... are taken while they fit the group's memory, until it has `enough` rows. */
static uint32_t group_size(const quern_session *s, uint32_t first, uint32_t batch, uint32_t enough, uint32_t *rows) {
  uint32_t count = 0;
  *rows = 0;
  while (first + count < batch && *rows < enough && count < s->group_sequences &&
         s->lens[first + count] <= s->group_tokens - *rows)
    *rows += s->lens[first + count++];
  return count;
}

/* Row and position of every token, and whether each is one the tables have: ids may come from a damaged tokenizer
 * section. */
static quern_status place_tokens(quern_session *s, uint32_t batch, int typed, uint32_t *rows) {
  const qn_arch *a = &s->model->arch;
  uint32_t row = 0;
  for (uint32_t i = 0; i < batch; i++) {
    s->starts[i] = row;
    for (uint32_t j = 0; j < s->lens[i]; j++, row++) {
      s->positions[row] = (int32_t)(j + a->position_offset);
      if ((uint32_t)s->ids[row] >= a->vocab)
        return qn_fail(&s->error, QUERN_E_ARGUMENT, "token id %d of sequence %u is outside the vocabulary of %u",
                       s->ids[row], i, a->vocab);
      if (typed && a->types && (uint32_t)s->types[row] >= a->types)
        return qn_fail(&s->error, QUERN_E_ARGUMENT, "token type %d of sequence %u: the model has %u", s->types[row], i,
                       a->types);
    }
  }
  *rows = row;
  return QUERN_OK;
}

quern_status qn_encode_pass(quern_session *s, uint32_t batch, int typed) {
  const qn_arch *a = &s->model->arch;
  const uint64_t t0 = qn_now_ns();
  uint32_t row = 0;
  if (a->causal)
    return qn_fail(&s->error, QUERN_E_TASK,
                   "the model is a decoder: its sequences are fed token by token (quern_decode_feed)");
  QN_TRY(place_tokens(s, batch, typed, &row));
  quern_status status = QUERN_OK;
  const uint32_t enough = group_rows(s, row);
  for (uint32_t first = 0, rows = 0; first < batch && status == QUERN_OK;) {
    const uint32_t count = group_size(s, first, batch, enough, &rows);
    qn_group g = {
        .s = s, .arch = a, .first = first, .count = count, .row = s->starts[first], .rows = rows, .typed = typed};
    if (s->x) g.x = s->x + (size_t)g.row * a->width;
    status = run_group(&g);
    first += count;
  }
  s->stats.ns_encode += qn_now_ns() - t0;
  if (status == QUERN_OK) {
    s->stats.sequences += batch;
    s->stats.tokens += row;
  }
  return status;
}
