/* fold.h - smoothing vectors folded into what makes an operator's input, so that they cost nothing when the model runs: the gain (and bias) of
 * the norm before it, the rows of values before attention's output, the rows before a feed-forward block's second operator. Exact in float.
 *
 * A norm before a block feeds that block alone; one behind a block (POST) is the shortcut's too, and keeps its gain. Heads that share values
 * share the vector of their channels. Behind gates the value's rows take the vector, since a gate multiplies; behind ReLU all rows, since
 * vectors are positive; other activations do not let factors through. Where one norm feeds both blocks (PARALLEL) both have the vector of
 * the first. Stateless; any thread. */
#ifndef QN_FOLD_H
#define QN_FOLD_H
#include "quant/items.h"
#include "quant/smooth.h"

/* Whether the smoothing vector of an input (QN_SITE_*) can be folded. */
int qn_fold_fits(const qn_arch *a, uint32_t input);
/* Of attention's output that folds: x [heads * head_dim], of channels of heads that share values the largest, in all of them. */
void qn_fold_share(const qn_arch *a, float *x);
/* Multiplies rows of w [n, k] and bias [n] of an operator, or a norm's gain or bias w [n], by the vectors of the inputs that it makes, as far as
   they fold. vectors: laid out as maxima are. */
void qn_fold_item(const qn_maxima *vectors, const qn_arch *a, const qn_item *it, float *w, float *bias);
#endif
