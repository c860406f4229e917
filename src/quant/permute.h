/* permute.h - an order of channels folded into a model's tensors, so that it costs nothing when the model runs. */
#ifndef QN_PERMUTE_H
#define QN_PERMUTE_H
#include "quant/items.h"
#include "quant/ranges.h"

/* Row i of x [n, k] becomes what row order[i] was; alike columns. work: [k]. */
void qn_permute_rows(float *x, uint32_t n, uint32_t k, const uint32_t *order, float *work);
void qn_permute_columns(float *x, uint32_t n, uint32_t k, const uint32_t *order, float *work);
/* An item in the plan's orders: x [n, k], and its bias [n]. work: [max(n, k)]. */
void qn_permute_item(const qn_plan *p, const qn_arch *a, const qn_item *it, float *x, float *bias, float *work);
#endif
