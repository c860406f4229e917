/* decoder.h - passes of a decoder: tokens appended to sequences that the session holds, and logits of what was appended.
 * Sequences are numbers below s->max_sequences; one without tokens is as new. A call that fails leaves all of them as they
 * were, but that logits of those it was to append to may have to be made anew. One call at a time on a session. */
#ifndef QN_DECODER_H
#define QN_DECODER_H
#include "run/session.h"

/* Whether the model is a decoder and the session has this sequence; what takes a sequence below counts on it where it does not say so. */
quern_status qn_decode_check(quern_session *s, uint32_t sequence);

/* Appends lens[i] >= 1 tokens to sequence[i], each of `n` different ones, their ids one after another, in as few passes as
   the session's max_tokens allows: the tokens of all sequences together read the weights once. QUERN_E_ARGUMENT: an id, a
   sequence or a length that the model or the session does not have; QUERN_E_CAPACITY: no pages for them. */
quern_status qn_decode(quern_session *s, const uint32_t *sequence, const uint32_t *lens, uint32_t n,
                       const int32_t *ids);
/* Logits [vocab] of the token after the last one of a sequence; those of all sequences of the last pass are made together.
   Valid until the next call. QUERN_E_ARGUMENT: it has no tokens, or was cut since the last of them was appended. */
quern_status qn_decode_logits(quern_session *s, uint32_t sequence, const float **logits);
/* The same after each of rows first ... first + n - 1 of the last pass, [n, vocab]; n at most s->logit_rows. The rows of a
   pass are its tokens, sequence after sequence. */
quern_status qn_decode_rows(quern_session *s, uint32_t first, uint32_t n, const float **logits);

/* Drops the tokens of a sequence but for the first `tokens`. */
void qn_decode_truncate(quern_session *s, uint32_t sequence, uint32_t tokens);
/* Sequence `to` becomes the first `tokens` of `from`, at most as many as that has, whose pages it shares. */
void qn_decode_copy(quern_session *s, uint32_t from, uint32_t to, uint32_t tokens);
#endif
