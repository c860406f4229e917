/* parts.h - groups of a static site's channels as the parts in which a product takes its inputs (kernels/layout.h: qk_parts). Shared by
 * what opens models and what makes them. Stateless; any thread. */
#ifndef QN_PARTS_H
#define QN_PARTS_H
#include <stdint.h>

#include "kernels/layout.h"

/* The most that the sum of channels times 2^shift may be where sums are joined by shifts: they stay below 2^31. */
#define QN_SHIFTED_MOST 66052u

/* Where groups of a site's channels end. */
typedef struct qn_runs {
  const uint32_t
      *ends; /* [count] the channel behind each, ascending; NULL: all are `group` wide, the last perhaps less */
  uint32_t count, group, channels;
} qn_runs;
static inline uint32_t qn_run_end(const qn_runs *r, uint32_t g) {
  return g + 1 >= r->count ? r->channels : r->ends ? r->ends[g] : (g + 1) * r->group;
}

/* scale: [runs]. The least scale where scales are powers of two apart and no more than QN_SHIFTED_MOST comes of it; else 0. */
float qn_parts_unit(const float *scale, const qn_runs *runs);
/* part: [runs] to write. Where there is such a unit, shifts: parts by descending scale, then by channel, neighbours of one scale being
   one part, and *unit is it. Else floats: parts by channel, *unit is 1. */
qk_parts qn_parts_make(const float *scale, const qn_runs *runs, qk_part *part, float *unit);
#endif
