/* generate_batch.c - generation after many prompts (generate.h): sequences join with their prompts and leave between steps, so that
 * weights are read once for all of them. A prompt joins when there are pages for all that it may become, so that none is given up
 * halfway. What it gives depends on nothing but the prompt: draws are those of sequence 0. */
#include <string.h>

#include "base/checked.h"
#include "run/generate.h"

typedef struct batch {
  const qn_generation_batch *of;
  quern_session *s;
  uint64_t count;        /* prompts that have joined */
  uint32_t taken, pages; /* sequences with a prompt; pages that those may come to hold */
  int ended;             /* no more prompts come */
  uint32_t n, rows;      /* of the call that is being put together: s->call_sequences, s->call_lens, s->ids */
} batch;

/* ---- a member ---------------------------------------------------------------------------------------------------- */

typedef struct told {
  const batch *b;
  const qn_member *m;
} told;

static int32_t on_token(void *user, int32_t id, const char *utf8, size_t len) {
  const told *t = user;
  const quern_prompts *p = t->b->of->prompts;
  return p->token(p->user, t->m->index, id, utf8, len);
}

/* The member's text goes on with a token, or ends (-1). Returns whether generation goes on. */
static int speak(const batch *b, qn_member *m, int32_t id) {
  told t = {b, m};
  qn_generation g = b->of->form;
  qn_outlet out;
  g.fn = b->of->prompts->token ? on_token : NULL;
  g.user = &t;
  g.tokens = m->tokens;
  g.reason = m->reason;
  out.g = &g;
  out.text = m->text;
  out.held = m->held;
  memcpy(out.buf, m->buf, m->held);
  int goes_on = 0;
  if (id >= 0)
    goes_on = qn_outlet_put(&out, id) && g.tokens < m->max_new;
  else
    qn_outlet_end(&out);
  m->tokens = g.tokens;
  m->reason = g.reason;
  m->text = out.text;
  m->held = (uint32_t)qn_min_size(out.held, sizeof m->buf);
  memcpy(m->buf, out.buf, m->held);
  return goes_on;
}

static void leave(batch *b, uint32_t sequence) {
  qn_member *m = &b->s->members[sequence];
  const quern_prompts *p = b->of->prompts;
  speak(b, m, -1);
  const quern_generated result = {.size = sizeof result, .tokens = m->tokens, .reason = m->reason};
  if (p->done) p->done(p->user, m->index, &result);
  qn_decode_truncate(b->s, sequence, 0);
  m->taken = 0;
  b->taken--;
  b->pages -= m->pages;
}

/* The token after all that the sequence has. */
static quern_status choose(batch *b, uint32_t sequence) {
  const qn_generation *form = &b->of->form;
  qn_member *m = &b->s->members[sequence];
  QN_TRY(qn_generate_choose(b->s, sequence, 0, &form->sampling, form->penalty_tokens, &m->next));
  if (qn_generation_ends(form, m->next)) {
    m->reason = QUERN_STOP_END;
    leave(b, sequence);
  } else if (!speak(b, m, m->next)) {
    leave(b, sequence);
  }
  return QUERN_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */

static quern_status run(batch *b) {
  quern_session *s = b->s;
  const uint32_t n = b->n;
  b->n = b->rows = 0;
  return n ? qn_decode(s, s->call_sequences, s->call_lens, n, s->ids) : QUERN_OK;
}

/* Tokens of a sequence into the call that is being put together, or, too many for a pass, in one of their own. */
static quern_status add(batch *b, uint32_t sequence, const int32_t *ids, uint32_t n) {
  quern_session *s = b->s;
  if (n > s->max_tokens - b->rows) QN_TRY(run(b));
  if (n > s->max_tokens) return qn_decode(s, &sequence, &n, 1, ids);
  memcpy(s->ids + b->rows, ids, n * sizeof *ids);
  s->call_sequences[b->n] = sequence;
  s->call_lens[b->n++] = n;
  b->rows += n;
  return QUERN_OK;
}

static uint32_t pages_of(const batch *b, uint32_t n, uint32_t *max_new) {
  const uint32_t positions = b->s->model->arch.positions, room = n < positions ? positions - n : 1;
  const uint32_t asked = b->of->form.max_new;
  *max_new = asked && asked < room ? asked : room;
  return (uint32_t)qn_min_size(qn_cache_pages(n + *max_new), b->s->cache.pages);
}

/* A prompt that came takes a free sequence. */
static quern_status join(batch *b, const int32_t *ids, uint32_t n, uint32_t pages, uint32_t max_new) {
  quern_session *s = b->s;
  uint32_t sequence = 0;
  qn_outlet out;
  qn_generation g = b->of->form;
  while (s->members[sequence].taken) sequence++;
  qn_outlet_begin(&out, &g);
  s->members[sequence] = (qn_member){.index = b->count++,
                                     .taken = 1,
                                     .pages = pages,
                                     .max_new = max_new,
                                     .reason = QUERN_STOP_LENGTH,
                                     .next = -1,
                                     .text = out.text};
  b->taken++;
  b->pages += pages;
  if (!ids || !n) return qn_fail(&s->error, QUERN_E_ARGUMENT, "generate_batch: a prompt without tokens");
  return add(b, sequence, ids, n);
}

/* A prompt that was handed over while there are no pages for it. */
typedef struct waiting {
  const int32_t *ids;
  uint32_t n;
} waiting;

static quern_status join_all(batch *b, waiting *w) {
  const quern_prompts *p = b->of->prompts;
  const quern_session *s = b->s;
  while (b->taken < s->max_sequences && b->taken < s->max_tokens) {
    uint32_t max_new;
    if (!w->ids && !p->next(p->user, b->taken == 0, &w->ids, &w->n)) {
      w->ids = NULL;
      b->ended = b->taken == 0;
      return QUERN_OK;
    }
    const uint32_t pages = pages_of(b, w->n, &max_new);
    if (b->taken && pages > s->cache.pages - b->pages) return QUERN_OK;
    QN_TRY(join(b, w->ids, w->n, pages, max_new));
    w->ids = NULL;
  }
  return QUERN_OK;
}

static quern_status step(batch *b, waiting *w) {
  quern_session *s = b->s;
  for (uint32_t i = 0; i < s->max_sequences; i++)
    if (s->members[i].taken) QN_TRY(add(b, i, &s->members[i].next, 1));
  QN_TRY(join_all(b, w));
  QN_TRY(run(b));
  for (uint32_t i = 0; i < s->max_sequences; i++)
    if (s->members[i].taken) QN_TRY(choose(b, i));
  return QUERN_OK;
}

quern_status qn_generate_batch(const qn_generation_batch *of) {
  quern_session *s = of->form.s;
  batch b = {.of = of, .s = s};
  waiting w = {0};
  for (uint32_t i = 0; i < s->max_sequences; i++) {
    qn_decode_truncate(s, i, 0);
    s->members[i].taken = 0;
  }
  quern_status status = QUERN_OK;
  do status = step(&b, &w);
  while (status == QUERN_OK && !b.ended);
  for (uint32_t i = 0; i < s->max_sequences; i++) qn_decode_truncate(s, i, 0);
  return status;
}
