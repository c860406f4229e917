/* observe.h - what the encoder shows to an observer (session.h: qn_observe_fn). The results of a pass are the same
 * bytes with and without one. */
#ifndef QN_OBSERVE_H
#define QN_OBSERVE_H
#include "run/steps.h"

/* Runs rows r0 ... r1 - 1 of a product over all its columns, and shows its input; with scratch also its output and the residual sum. */
void qn_observe_product(const qn_block *b, const qn_product *p, size_t r0, size_t r1);
/* Shows queries and keys of rows r0 ... r1 - 1 of a block as attention takes them, where positions rotate them. */
void qn_observe_rotated(const qn_block *b, size_t r0, size_t r1);
/* Shows hidden codes of a static recipe, rows r0 ... r1 - 1 of a block, as floats in the model's own order of channels: the input of
   queries, keys and values. */
void qn_observe_codes(const qn_block *b, const qn_place *place, const qk_codes *codes, size_t r0, size_t r1);
/* Shows the sums of the embedding tables, which the kernel keeps to itself. */
void qn_observe_embeddings(const qn_block *b, size_t r0, size_t r1);
/* Shows scores (in units of log2, as they are executed) and probabilities of queries r0 ... r1 - 1; q: the sequence's first query of
   the head, row of the sequence within the pass. */
void qn_observe_attention(const quern_session *s, uint32_t lane, uint32_t layer, const qk_attention_f32 *op, size_t row,
                          size_t r0, size_t r1);
#endif
