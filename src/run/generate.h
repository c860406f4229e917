/* generate.h - tokens after tokens: choosing, appending, text as it becomes complete, stops, guesses ahead. What comes out is the
 * same with and without guesses, whatever the session's other sequences do. One call at a time on a session. */
#ifndef QN_GENERATE_H
#define QN_GENERATE_H
#include "run/decoder.h"
#include "run/sample.h"

#define QN_STOP_TEXTS 64u  /* texts that generation stops at, at most */
#define QN_STOP_BYTES 256u /* of each */
#define QN_GUESSES 64u     /* tokens guessed ahead at most */

/* The token after the last one of a sequence, for options that are valid; nothing is appended. QUERN_E_ARGUMENT: biases forbid
   all tokens. */
quern_status qn_generate_choose(quern_session *s, uint32_t sequence, const qn_sampling *o, uint32_t penalty_tokens,
                                int32_t *id);

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

/* Generates after the sequence's last token, whose logits must be there. All tokens that count are appended to the sequence. */
quern_status qn_generate(qn_generation *g);
#endif
