/* api_generate.c - quern_decode_sample, quern_decode_next, quern_generate, quern_generate_batch: options checked, calls bracketed, run/generate.h. */
#include <string.h>

#include "api/api_call.h"
#include "api/api_options.h"
#include "base/checked.h"
#include "run/generate.h"

#define DEFAULT_PENALTY_TOKENS 64u

void quern_sampling_options_init(quern_sampling_options *o, uint32_t size) {
  if (!o) return;
  const quern_sampling_options whole = {
      .size = size, .top_p = 1, .repeat_penalty = 1, .penalty_tokens = DEFAULT_PENALTY_TOKENS};
  memcpy(o, &whole, qn_min_size(size, sizeof whole));
}

void quern_generate_options_init(quern_generate_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
}

/* Options with defaults where none are given. */
static quern_status resolve_sampling(quern_session *s, const quern_sampling_options *given, qn_sampling *out,
                                     uint32_t *penalty_tokens) {
  quern_sampling_options o;
  const char *what;
  quern_sampling_options_init(&o, sizeof o);
  if (given && !QN_OPTIONS_COPY(&o, given))
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "sampling options of an unknown size or with unknown fields: use quern_sampling_options_init");
  if (o.reserved) return qn_fail(&s->error, QUERN_E_ARGUMENT, "sampling options: the reserved field is not 0");
  if (o.penalty_tokens > QN_PENALTY_TOKENS)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "penalties look back at %u tokens at most, not %u",
                   (unsigned)QN_PENALTY_TOKENS, o.penalty_tokens);
  *penalty_tokens = o.penalty_tokens;
  *out = (qn_sampling){.temperature = o.temperature,
                       .top_k = o.top_k,
                       .top_p = o.top_p,
                       .min_p = o.min_p,
                       .repeat_penalty = o.repeat_penalty,
                       .presence_penalty = o.presence_penalty,
                       .seed = o.seed,
                       .bias_ids = o.bias_ids,
                       .bias = o.bias,
                       .biases = o.biases};
  return qn_sampling_valid(out, s->sampler.vocab, &what)
             ? QUERN_OK
             : qn_fail(&s->error, QUERN_E_ARGUMENT, "sampling options: %s", what);
}

quern_status quern_decode_sample(quern_session *s, uint32_t sequence, const quern_sampling_options *o, int32_t *id) {
  qn_sampling sampling;
  uint32_t penalty_tokens;
  int32_t chosen = -1;
  if (!s) return QUERN_E_ARGUMENT;
  if (!id) return qn_fail(&s->error, QUERN_E_ARGUMENT, "no place for the token");
  QN_TRY(qn_decode_check(s, sequence));
  QN_TRY(resolve_sampling(s, o, &sampling, &penalty_tokens));
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_generate_choose(s, sequence, sequence, &sampling, penalty_tokens, &chosen);
  QN_TRY(qn_call_end(s, status));
  *id = chosen;
  return QUERN_OK;
}

quern_status quern_decode_next(quern_session *s, const uint32_t *sequences, uint32_t n, const quern_sampling_options *o,
                               int32_t *ids) {
  qn_sampling sampling;
  uint32_t penalty_tokens;
  if (!s) return QUERN_E_ARGUMENT;
  if (!sequences || !ids || !n)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "next: sequences and ids must be given, and at least one sequence");
  for (uint32_t i = 0; i < n; i++) QN_TRY(qn_decode_check(s, sequences[i]));
  if (n > s->max_sequences)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "%u different sequences of a session that holds %u", n,
                   s->max_sequences);
  QN_TRY(resolve_sampling(s, o, &sampling, &penalty_tokens));
  quern_status status = qn_call_begin(s);
  for (uint32_t i = 0; i < n && status == QUERN_OK; i++) {
    s->call_lens[i] = 1;
    status = qn_generate_choose(s, sequences[i], sequences[i], &sampling, penalty_tokens, &ids[i]);
  }
  if (status == QUERN_OK) status = qn_decode(s, sequences, s->call_lens, n, ids);
  return qn_call_end(s, status);
}

static quern_status check_stops(quern_session *s, const quern_generate_options *o) {
  if ((o->stops && !o->stop) || (o->stop_text_count && !o->stop_texts))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "generate: stop tokens or stop texts are NULL");
  if (o->stop_text_count > QN_STOP_TEXTS)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "generate: %u stop texts, at most %u are taken", o->stop_text_count,
                   (unsigned)QN_STOP_TEXTS);
  for (uint32_t i = 0; i < o->stop_text_count; i++) {
    const size_t bytes = o->stop_texts[i] ? strnlen(o->stop_texts[i], QN_STOP_BYTES + 1) : 0;
    if (!bytes || bytes > QN_STOP_BYTES)
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "generate: stop text %u is empty or longer than %u bytes", i,
                     (unsigned)QN_STOP_BYTES);
  }
  return QUERN_OK;
}

static quern_status resolve_generation(quern_session *s, const quern_generate_options *given, qn_generation *g) {
  quern_generate_options o;
  quern_generate_options_init(&o, sizeof o);
  if (given && !QN_OPTIONS_COPY(&o, given))
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "generate options of an unknown size or with unknown fields: use quern_generate_options_init");
  if (o.flags & ~QUERN_NO_SPECIAL) return qn_fail(&s->error, QUERN_E_ARGUMENT, "unknown generate flags 0x%x", o.flags);
  if (o.lookup > QN_GUESSES || o.lookup >= s->logit_rows)
    return qn_fail(
        &s->error, QUERN_E_ARGUMENT,
        "generate: %u tokens guessed ahead need logit_rows above that in the session's options, which are %u; "
        "at most %u",
        o.lookup, s->logit_rows, (unsigned)QN_GUESSES);
  QN_TRY(check_stops(s, &o));
  QN_TRY(resolve_sampling(s, o.sampling, &g->sampling, &g->penalty_tokens));
  g->max_new = o.max_new;
  g->guesses = o.lookup;
  g->stop = o.stop;
  g->stops = o.stops;
  g->stop_texts = o.stop_texts;
  g->stop_count = o.stop_text_count;
  g->keep_special = (o.flags & QUERN_NO_SPECIAL) != 0;
  return QUERN_OK;
}

quern_status quern_generate(quern_session *s, uint32_t sequence, const quern_generate_options *o, quern_token_fn *fn,
                            void *user, quern_generated *result) {
  if (!s) return QUERN_E_ARGUMENT;
  qn_generation g = {.s = s, .sequence = sequence, .fn = fn, .user = user};
  QN_TRY(qn_decode_check(s, sequence));
  QN_TRY(resolve_generation(s, o, &g));
  /* At least 1: a sequence that is full says so. */
  const uint32_t length = s->cache.sequence[sequence].length, positions = s->model->arch.positions;
  if (!g.max_new) g.max_new = length < positions ? positions - length : 1;
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_generate(&g);
  status = qn_call_end(s, status);
  const quern_generated full = {.size = sizeof full, .tokens = g.tokens, .reason = g.reason, .guessed = g.guessed};
  if (result && !qn_info_copy(result, &full, sizeof full))
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "generate: a result of an unknown size");
  return status;
}

quern_status quern_generate_batch(quern_session *s, const quern_generate_options *o, const quern_prompts *prompts) {
  quern_prompts p = {.size = sizeof p};
  if (!s) return QUERN_E_ARGUMENT;
  qn_generation_batch b = {.form = {.s = s}, .prompts = &p};
  QN_TRY(qn_decode_check(s, 0));
  if (!prompts || !QN_OPTIONS_COPY(&p, prompts) || p.reserved || !p.next)
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "generate_batch: prompts of an unknown size, or without a function next");
  QN_TRY(resolve_generation(s, o, &b.form));
  quern_status status = qn_call_begin(s);
  if (status == QUERN_OK) status = qn_generate_batch(&b);
  return qn_call_end(s, status);
}
