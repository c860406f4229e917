/* groups.h - groups of a static site's channels (2109.12948, section 4): how wide they are, their scales and zero points. Deterministic; any
 * thread. */
#ifndef QN_GROUPS_H
#define QN_GROUPS_H
#include "quant/ranges.h"

/* Ends of `count` runs of equal width, as far as units of `unit` channels can be shared evenly; count <= units. */
void qn_groups_equal(uint32_t channels, uint32_t count, uint32_t unit, uint32_t *ends);
/* What was seen of a site's channels. weight: what the squared error of each counts, for what follows multiplies it; NULL: all the same. Both
   in the model's own order, of which `order` tells the one that groups are cut in; NULL: as they are. */
typedef struct qn_channels {
  const qn_extremes *seen;
  const float *weight;
  const uint32_t *order;
} qn_channels;
/* Ends of `count` runs of units of `unit` channels with the least sum of weights * range^2, by dynamic programming: what rounding to
   steps of a range costs. count <= units. */
quern_status qn_groups_uneven(qn_env *env, const qn_channels *of, uint32_t channels, uint32_t count, uint32_t unit,
                              uint32_t *ends);
/* Channels of which groups of uneven width are made of a site: where a product takes them a panel, for its parts are such; elsewhere
   one, since few channels are far wider than all others and each group loses the rest of what it holds besides; or so many that a site has at
   most 1,024 units. */
uint32_t qn_groups_unit(const qn_site *site);
/* Ends, where widths are uneven, scales and zero points of a site's groups. */
quern_status qn_groups_fill(qn_site_plan *s, qn_env *env, const qn_channels *of);
/* Squared error of rounding to them, weighed: of a channel a twelfth of its step's square, or where the whole channel is lost its variance,
   a sixth of its range being the deviation. */
double qn_groups_error(const qn_site_plan *s, const qn_channels *of);

/* What zero points add to a product of weights in panels (kernels/layout.h) whose input has the groups of s: sums [n], for
   qk_gemm_q8's part_sums. */
void qn_groups_sums(const qn_site_plan *s, const uint8_t *panels, uint32_t n, uint32_t k, float *sums);
#endif
