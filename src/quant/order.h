/* order.h - the order of channels that makes groups of them narrow (2109.12948, section 4). Deterministic; any thread. */
#ifndef QN_ORDER_H
#define QN_ORDER_H
#include "quant/ranges.h"

/* Channels by ascending range, as one order for all hidden states or one for each layer, and one of each layer's neurons; the plan has
   memory for those that it calls for. Of hidden states that is the range in the residual sum behind the feed-forward block, in the block's
   output, or the greater of both: what makes the least error, as the groups of the layers' feed-forward blocks then are. */
quern_status qn_order_find(qn_plan *p, qn_env *env, const qn_observed *seen);
/* What the squared errors of a site's channels count where a norm follows its sum: the square of what that multiplies them by, which is about
   what a channel's range behind the norm is over that before it. weight: [channels], which is returned; NULL where no norm follows. */
const float *qn_order_weights(const qn_observed *seen, const qn_site *site, float *weight);
/* The order of a site's channels; NULL: as they are. */
const uint32_t *qn_order_of(const qn_plan *p, const qn_site *site);
#endif
