/* parts.h - groups of a static site's channels as the parts in which a product takes its inputs (kernels/layout.h: qk_parts). Shared by
 * what opens models and what makes them. Stateless; any thread. */
#ifndef QN_PARTS_H
#define QN_PARTS_H
#include <stdint.h>

#include "kernels/layout.h"

/* The most that the sum of channels times 2^shift may be where sums are joined by shifts: they stay below 2^31. */
#define QN_SHIFTED_MOST 66052u

/* scale: [groups]; ends: [groups] first channels behind them, ascending; groups <= QK_PARTS. part: [groups] to write. Where scales are
   powers of two apart and no more than QN_SHIFTED_MOST comes of it, shifts: parts by descending scale, then by channel,
   neighbours of one scale being one part, and *unit is the least scale. Else floats: parts by channel, *unit is 1. */
qk_parts qn_parts_make(const float *scale, const uint32_t *ends, uint32_t groups, qk_part *part, float *unit);
#endif
