/* balance.h - balancing queries and keys: channels of a head's queries are divided by what the same channels of its keys are multiplied
 * by, so that neither's outliers take the whole grid of their 8-bit codes (some families give keys biases a hundred times as large as
 * the rest). Scores stay as they are; the factors go into the rows that make queries and keys, or into the gains of their
 * norms. The two channels of a pair that is rotated together share a factor. Stateless; any thread. */
#ifndef QN_BALANCE_H
#define QN_BALANCE_H
#include "quant/items.h"
#include "quant/smooth.h"

/* Multiplies rows of w [n, k] and bias [n] of attn.qkv, or the gains w [n] of a norm of queries or keys; leaves other items, and models
   whose queries and keys were not observed, alone. */
void qn_balance_item(const qn_maxima *m, const qn_arch *a, const qn_item *it, float *w, float *bias);
#endif
