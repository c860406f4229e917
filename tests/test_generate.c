/* test_generate.c - choosing, generating, guessing ahead, scoring: the same tokens by every way to them. */
#include "decoder_session.h"
#include "run/score.h"

enum { PROMPT = 40, NEW = 60, VOCAB = TINY_VOCAB };

typedef struct told {
  int32_t ids[NEW + 1];
  uint32_t count, stop_after;
} told;

static int32_t tell(void *user, int32_t id, const char *utf8, size_t len) {
  told *t = user;
  CHECK(id >= 0 && len == 0 && utf8); /* there is no tokenizer */
  t->ids[t->count++] = id;
  return t->count == t->stop_after;
}

static void feed_prompt(const decoder *d, uint32_t sequence) {
  int32_t ids[PROMPT];
  for (uint32_t i = 0; i < PROMPT; i++) ids[i] = token_of(5, i % 13); /* words that come again */
  CHECK_EQ(say(d, quern_sequence_free(d->s, sequence)), QUERN_OK);
  CHECK_EQ(say(d, quern_decode_feed(d->s, sequence, ids, PROMPT)), QUERN_OK);
}

static uint32_t length_of(const decoder *d, uint32_t sequence) {
  uint32_t n = 0;
  CHECK_EQ(quern_sequence_length(d->s, sequence, &n), QUERN_OK);
  return n;
}

static quern_sampling_options sampling_of(float temperature, uint64_t seed) {
  quern_sampling_options o;
  quern_sampling_options_init(&o, sizeof o);
  o.temperature = temperature;
  o.seed = seed;
  o.repeat_penalty = temperature > 0 ? 1.1f : 1.0f;
  return o;
}

/* Tokens after the prompt by one call of quern_decode_next each. */
static void step_by_step(const decoder *d, uint32_t sequence, const quern_sampling_options *o, int32_t *ids) {
  feed_prompt(d, sequence);
  for (uint32_t i = 0; i < NEW; i++) CHECK_EQ(say(d, quern_decode_next(d->s, &sequence, 1, o, &ids[i])), QUERN_OK);
}

static quern_generated generate(const decoder *d, uint32_t sequence, const quern_sampling_options *sampling,
                                quern_generate_options o, told *t) {
  quern_generated r = {.size = sizeof r};
  feed_prompt(d, sequence);
  t->count = 0;
  o.sampling = sampling;
  CHECK_EQ(say(d, quern_generate(d->s, sequence, &o, tell, t, &r)), QUERN_OK);
  CHECK_EQ(r.tokens, t->count);
  return r;
}

static quern_generate_options options_of(uint32_t max_new, uint32_t lookup) {
  quern_generate_options o;
  quern_generate_options_init(&o, sizeof o);
  o.max_new = max_new;
  o.lookup = lookup;
  return o;
}

static void same_with_guesses(void) {
  uint32_t guessed = 0;
  for (int r = 0; r < 2; r++) {
    const quern_session_options so = session_of(64, 2, 512, 9);
    decoder d = open_decoder("llama", r ? "int4" : "float", NULL, 2, &so);
    for (uint32_t k = 0; k < 4; k++) {
      const quern_sampling_options sampling = sampling_of(k ? 0.3f * (float)k : 0, k);
      int32_t want[NEW];
      told t = {.stop_after = 0};
      step_by_step(&d, 1, &sampling, want);
      for (uint32_t lookup = 0; lookup <= 8; lookup += 4) {
        const quern_generated g = generate(&d, 1, &sampling, options_of(NEW, lookup), &t);
        CHECK(g.reason == QUERN_STOP_LENGTH && t.count == NEW && !memcmp(t.ids, want, sizeof want));
        CHECK(lookup || !g.guessed);
        guessed += g.guessed;
        CHECK_EQ(length_of(&d, 1), PROMPT + NEW); /* all that was handed out is there */
        int32_t next = -1, after = -1;
        CHECK_EQ(say(&d, quern_decode_sample(d.s, 1, &sampling, &next)), QUERN_OK);
        CHECK_EQ(say(&d, quern_sequence_truncate(d.s, 1, PROMPT + NEW - 1)), QUERN_OK);
        CHECK_EQ(say(&d, quern_decode_feed(d.s, 1, &want[NEW - 1], 1)), QUERN_OK);
        CHECK_EQ(say(&d, quern_decode_sample(d.s, 1, &sampling, &after)), QUERN_OK);
        CHECK_EQ(next, after);
      }
    }
    close_decoder(&d);
  }
  CHECK(guessed > 0);
}

static void stops(void) {
  const quern_session_options so = session_of(64, 2, 512, 9);
  decoder d = open_decoder("llama", "float", NULL, 1, &so);
  int32_t want[NEW];
  told t = {.stop_after = 0};
  const quern_sampling_options sampling = sampling_of(1, 3);
  step_by_step(&d, 0, &sampling, want);
  for (uint32_t lookup = 0; lookup <= 8; lookup += 8)
    for (uint32_t at = 0; at < NEW; at += 7) {
      uint32_t first = 0;
      while (want[first] != want[at]) first++;
      quern_generate_options o = options_of(NEW, lookup);
      o.stop = &want[at];
      o.stops = 1;
      quern_generated g = generate(&d, 0, &sampling, o, &t);
      CHECK(g.reason == QUERN_STOP_END && t.count == first && !memcmp(t.ids, want, first * sizeof *want));
      CHECK_EQ(length_of(&d, 0), PROMPT + first);
      t.stop_after = at + 1;
      g = generate(&d, 0, &sampling, options_of(NEW, lookup), &t);
      CHECK(g.reason == QUERN_STOP_CALLBACK && t.count == at + 1);
      CHECK_EQ(length_of(&d, 0), PROMPT + at + 1);
      t.stop_after = 0;
    }
  close_decoder(&d);
}

static void full_cache(void) {
  const quern_session_options so = session_of(64, 1, 64, 9);
  decoder d = open_decoder("llama", "float", NULL, 1, &so);
  told t = {.stop_after = 0};
  for (uint32_t lookup = 0; lookup <= 8; lookup += 8) {
    quern_generated r = {.size = sizeof r};
    const quern_generate_options o = options_of(NEW, lookup);
    feed_prompt(&d, 0);
    t.count = 0;
    CHECK_EQ(quern_generate(d.s, 0, &o, tell, &t, &r), QUERN_E_CAPACITY);
    CHECK(r.tokens == 64 - PROMPT + 1 && t.count == r.tokens); /* the last one was chosen, but not appended */
    CHECK_EQ(length_of(&d, 0), 64);
  }
  close_decoder(&d);
}

/* max_new 0: up to the last position, and no further. */
static void all_positions(void) {
  const quern_session_options so = session_of(64, 1, 512, 9);
  decoder d = open_decoder("llama", "float", NULL, 1, &so);
  told t = {.stop_after = 0};
  int32_t ids[500];
  for (uint32_t i = 0; i < 500; i++) ids[i] = token_of(3, i);
  for (uint32_t lookup = 0; lookup <= 8; lookup += 8) {
    quern_generated r = {.size = sizeof r};
    const quern_generate_options o = options_of(0, lookup);
    t.count = 0;
    CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
    CHECK_EQ(say(&d, quern_decode_feed(d.s, 0, ids, 500)), QUERN_OK);
    CHECK_EQ(say(&d, quern_generate(d.s, 0, &o, tell, &t, &r)), QUERN_OK);
    CHECK(r.reason == QUERN_STOP_LENGTH && r.tokens == 12 && t.count == 12);
    CHECK_EQ(length_of(&d, 0), 512);
    CHECK(quern_generate(d.s, 0, &o, tell, &t, &r) != QUERN_OK);
  }
  close_decoder(&d);
}

static void sequences_of_a_batch(void) {
  const quern_session_options so = session_of(64, 3, 512, 3);
  decoder d = open_decoder("llama", "int4", NULL, 2, &so);
  const quern_sampling_options sampling = sampling_of(0.8f, 11);
  const uint32_t all[] = {2, 0, 1};
  int32_t want[3][NEW], got[3];
  for (uint32_t q = 0; q < 3; q++) step_by_step(&d, q, &sampling, want[q]);
  CHECK(memcmp(want[0], want[1], sizeof want[0])); /* each sequence has draws of its own */
  for (uint32_t q = 0; q < 3; q++) feed_prompt(&d, q);
  for (uint32_t i = 0; i < NEW; i++) {
    CHECK_EQ(say(&d, quern_decode_next(d.s, all, 3, &sampling, got)), QUERN_OK);
    for (uint32_t q = 0; q < 3; q++) CHECK_EQ(got[q], want[all[q]][i]);
  }
  close_decoder(&d);
}

static void scores(void) {
  const quern_session_options so = session_of(16, 2, 512, 5);
  decoder d = open_decoder("llama", "float", NULL, 1, &so);
  static float rows[NEW * VOCAB];
  float got[NEW], again[NEW];
  int32_t ids[NEW];
  for (uint32_t i = 0; i < NEW; i++) ids[i] = token_of(8, i);
  const quern_session_options large = session_of(NEW, 1, 512, NEW);
  decoder e = open_decoder("llama", "float", NULL, 1, &large);
  feed_rows(&e, 0, 8, 0, NEW, NEW, rows);
  CHECK_EQ(say(&d, quern_decode_score(d.s, 0, ids, NEW, got)), QUERN_OK);
  CHECK(got[0] == 0);
  for (uint32_t i = 1; i < NEW; i++) {
    const float *x = rows + (i - 1) * VOCAB;
    double sum = 0;
    for (uint32_t j = 0; j < VOCAB; j++) sum += exp((double)x[j]);
    CHECK(fabs(got[i] - (x[ids[i]] - log(sum))) < 1e-4);
  }
  CHECK_EQ(say(&d, quern_decode_score(d.s, 1, ids, 7, again)), QUERN_OK);
  CHECK_EQ(say(&d, quern_decode_score(d.s, 1, ids + 7, NEW - 7, again + 7)), QUERN_OK);
  CHECK(!memcmp(got, again, sizeof got));
  close_decoder(&e);
  close_decoder(&d);
  for (double x = 1e-300; x < 1e300; x *= 1.37) CHECK(fabs(qn_ln(x) - log(x)) <= 2e-15 * fmax(1, fabs(log(x))));
}

static void refused(void) {
  const quern_session_options so = session_of(64, 1, 512, 4);
  decoder d = open_decoder("llama", "float", NULL, 1, &so);
  quern_sampling_options sampling = sampling_of(0, 0);
  const quern_generate_options guesses = options_of(4, 4), plain = options_of(4, 0);
  int32_t id;
  const int32_t outside = VOCAB;
  float score;
  CHECK_EQ(quern_decode_sample(d.s, 0, &sampling, &id), QUERN_E_ARGUMENT); /* nothing to go on from */
  feed_prompt(&d, 0);
  CHECK_EQ(quern_decode_sample(d.s, 1, NULL, &id), QUERN_E_ARGUMENT);
  sampling.temperature = -1;
  CHECK_EQ(quern_decode_sample(d.s, 0, &sampling, &id), QUERN_E_ARGUMENT);
  sampling = sampling_of(0, 0);
  sampling.penalty_tokens = 2000;
  CHECK_EQ(quern_decode_sample(d.s, 0, &sampling, &id), QUERN_E_ARGUMENT);
  sampling.size = 3;
  CHECK_EQ(quern_decode_sample(d.s, 0, &sampling, &id), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_generate(d.s, 0, &guesses, NULL, NULL, NULL), QUERN_E_ARGUMENT); /* four rows of logits */
  quern_generate_options o = plain;
  const char *const stop[] = {""};
  o.stop_texts = stop;
  o.stop_text_count = 1;
  CHECK_EQ(quern_generate(d.s, 0, &o, NULL, NULL, NULL), QUERN_E_ARGUMENT);
  o = plain;
  o.stops = 1;
  CHECK_EQ(quern_generate(d.s, 0, &o, NULL, NULL, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_score(d.s, 0, &outside, 1, &score), QUERN_E_ARGUMENT);
  CHECK_EQ(length_of(&d, 0), PROMPT);
  CHECK_EQ(say(&d, quern_generate(d.s, 0, &plain, NULL, NULL, NULL)), QUERN_OK);
  close_decoder(&d);
}

/* ---- many prompts ------------------------------------------------------------------------------------------------ */

enum { MANY = 23, LONGEST = 150 };

/* Prompts of 1 to LONGEST tokens, which come one by one or now and then none. */
typedef struct many {
  told told[MANY];
  quern_generated result[MANY];
  int32_t ids[LONGEST];
  uint32_t given, done, asked, begins; /* begins: the first one */
  uint32_t stop_after;                 /* of prompt 3 */
  int empty;                           /* prompt 5 has no tokens */
} many;

static uint32_t prompt_of(uint32_t i, int32_t *ids) {
  const uint32_t n = i % 5 == 4 ? LONGEST - i : 1 + (uint32_t)(tiny_hash(i) % 40);
  for (uint32_t j = 0; j < n; j++) ids[j] = token_of(i, j % 11);
  return n;
}

static int32_t next_prompt(void *user, int32_t wait, const int32_t **ids, uint32_t *n) {
  many *m = user;
  if (!wait && m->asked++ % 3 == 0) return 0;
  if (m->given == MANY) return 0;
  *n = m->empty && m->given == 5 ? 0 : prompt_of(m->given, m->ids);
  m->given++;
  *ids = m->ids;
  return 1;
}

static int32_t tell_of(void *user, uint64_t prompt, int32_t id, const char *utf8, size_t len) {
  many *m = user;
  m->told[prompt].stop_after = prompt == 3 ? m->stop_after : 0;
  return tell(&m->told[prompt], id, utf8, len);
}

static void done_of(void *user, uint64_t prompt, const quern_generated *result) {
  many *m = user;
  CHECK_EQ(m->result[prompt].size, 0);
  m->result[prompt] = *result;
  m->done++;
}

/* Whatever joins and leaves beside it, each prompt gives what it gives alone. */
static void prompts_of_a_batch(void) {
  static const uint32_t sequences[] = {1, 4, 16}, pages[] = {4, 9, 64};
  static many m, want;
  for (int r = 0; r < 4; r++) {
    const quern_sampling_options sampling = sampling_of(r > 1 ? 0.9f : 0, 11);
    quern_generate_options o = options_of(40, 0);
    int32_t stop = 0;
    o.sampling = &sampling;
    const quern_session_options one = session_of(256, 1, 512, 1);
    decoder d = open_decoder("llama", r % 2 ? "int4" : "float", NULL, 1, &one);
    memset(&want, 0, sizeof want);
    for (uint32_t i = 0; i < MANY; i++) {
      const uint32_t n = prompt_of(i, want.ids);
      if (i == 1) stop = want.told[0].ids[20], o.stop = &stop, o.stops = 1;
      want.told[i].stop_after = i == 3 ? 1 : 0;
      want.result[i].size = sizeof want.result[i];
      CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
      CHECK_EQ(say(&d, quern_decode_feed(d.s, 0, want.ids, n)), QUERN_OK);
      CHECK_EQ(say(&d, quern_generate(d.s, 0, &o, tell, &want.told[i], &want.result[i])), QUERN_OK);
    }
    close_decoder(&d);
    o.lookup = r > 2 ? 3 : 0; /* is not used */
    for (int k = 0; k < 3; k++) {
      const quern_session_options so = session_of(64, sequences[k], 64 * pages[k], 4);
      d = open_decoder("llama", r % 2 ? "int4" : "float", NULL, 1 + (uint32_t)k % 2, &so);
      memset(&m, 0, sizeof m);
      m.stop_after = 1; /* before it gives the stop token */
      /* The first prompt is compared without the stop token that was taken of it. */
      const quern_prompts p = {.size = sizeof p, .user = &m, .next = next_prompt, .token = tell_of, .done = done_of};
      CHECK_EQ(say(&d, quern_generate_batch(d.s, &o, &p)), QUERN_OK);
      CHECK_EQ(m.done, MANY);
      for (uint32_t i = 1; i < MANY; i++)
        CHECK(m.told[i].count == want.told[i].count && m.result[i].reason == want.result[i].reason &&
              m.result[i].tokens == want.result[i].tokens && !m.result[i].guessed &&
              !memcmp(m.told[i].ids, want.told[i].ids, m.told[i].count * sizeof(int32_t)));
      CHECK(m.result[0].reason == QUERN_STOP_END && m.result[3].reason == QUERN_STOP_CALLBACK);
      for (uint32_t i = 0; i < sequences[k]; i++) CHECK_EQ(length_of(&d, i), 0);
      /* Nobody is told. */
      const quern_prompts mute = {.size = sizeof mute, .user = &m, .next = next_prompt};
      m.given = MANY - 3;
      CHECK_EQ(say(&d, quern_generate_batch(d.s, &o, &mute)), QUERN_OK);
      /* Failures end it. */
      memset(&m, 0, sizeof m);
      m.empty = 1;
      CHECK_EQ(quern_generate_batch(d.s, &o, &p), QUERN_E_ARGUMENT);
      for (uint32_t i = 0; i < sequences[k]; i++) CHECK_EQ(length_of(&d, i), 0);
      const quern_prompts none = {.size = sizeof none};
      CHECK_EQ(quern_generate_batch(d.s, &o, &none), QUERN_E_ARGUMENT);
      CHECK_EQ(quern_generate_batch(d.s, &o, NULL), QUERN_E_ARGUMENT);
      CHECK_EQ(quern_generate_batch(NULL, &o, &p), QUERN_E_ARGUMENT);
      CHECK_EQ(quern_session_cancel(d.s), QUERN_OK);
      memset(&m, 0, sizeof m);
      CHECK_EQ(quern_generate_batch(d.s, &o, &p), QUERN_E_CANCELLED);
      close_decoder(&d);
    }
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  tiny_source = tiny_arch("llama");
  make_decoder("llama", "float");
  make_decoder("llama", "int4");
  RUN(same_with_guesses);
  RUN(stops);
  RUN(full_cache);
  RUN(all_positions);
  RUN(sequences_of_a_batch);
  RUN(scores);
  RUN(prompts_of_a_batch);
  RUN(refused);
  tiny_dir_remove(dir);
  return TEST_END();
}
