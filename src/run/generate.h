/* generate.h - tokens after tokens: choosing, appending, text as it becomes complete, stops, guesses ahead. What comes out is the
 * same with and without guesses, whatever the session's other sequences do. One call at a time on a session. */
#ifndef QN_GENERATE_H
#define QN_GENERATE_H
#include "run/decoder.h"
#include "run/sample.h"

#define QN_STOP_TEXTS 64u /* texts that generation stops at, at most, of QN_STOP_BYTES each */
#define QN_GUESSES 64u    /* tokens guessed ahead at most */

/* The token after the last one of a sequence, for options that are valid; nothing is appended. draws: the number of the sequence
   whose draws are taken. QUERN_E_ARGUMENT: biases forbid all tokens. */
quern_status qn_generate_choose(quern_session *s, uint32_t sequence, uint32_t draws, const qn_sampling *o,
                                uint32_t penalty_tokens, int32_t *id);

typedef struct qn_generation {
  quern_session *s;
  uint32_t sequence;
  qn_sampling sampling;
  uint32_t penalty_tokens;
  uint32_t max_new;    /* tokens at most */
  uint32_t guesses;    /* ahead, at most; less than s->logit_rows */
  const int32_t *stop; /* [stops] tokens that end it beside the model's; they are not handed out */
  uint32_t stops;
  const char *const
      *stop_texts; /* [stop_count] texts that end it, left out of what is handed out; each 1 ... QN_STOP_BYTES bytes */
  uint32_t stop_count;
  int keep_special;
  quern_token_fn *fn; /* NULL: nobody is told */
  void *user;
  /* what comes of it */
  uint32_t tokens;  /* chosen, without an end */
  uint32_t reason;  /* QUERN_STOP_* */
  uint32_t guessed; /* of the tokens, those that had been guessed */
} qn_generation;

/* Text on its way to the caller: what may be the beginning of a stop is held until that is known, less than QN_STOP_BYTES between
   two tokens. */
typedef struct qn_outlet {
  qn_generation *g;
  qn_detokenizer text;
  size_t held;
  char buf[QN_STOP_BYTES + QN_DETOKENIZER_BYTES];
} qn_outlet;
void qn_outlet_begin(qn_outlet *o, qn_generation *g);
/* A token that counts. Returns whether generation goes on. */
int qn_outlet_put(qn_outlet *o, int32_t id);
/* What is held when no token follows. */
void qn_outlet_end(qn_outlet *o);
/* Whether the token ends texts, the model's or the caller's. */
int qn_generation_ends(const qn_generation *g, int32_t id);

/* Generates after the sequence's last token, whose logits must be there. All tokens that count are appended to the sequence. */
quern_status qn_generate(qn_generation *g);

/* Many prompts, which take the session's sequences as they come (include/quern.h: quern_generate_batch). */
typedef struct qn_generation_batch {
  qn_generation
      form; /* what all have in common; without sequence, fn, user and results. max_new 0: as positions allow */
  const quern_prompts *prompts;
} qn_generation_batch;
quern_status qn_generate_batch(const qn_generation_batch *b);
#endif
