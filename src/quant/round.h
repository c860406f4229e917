/* round.h - rounding the weights of a linear operator so that what it puts out on calibration text changes least: of each output
 * channel (q - w)^T C (q - w) is made small over its codes, q being their values and C the second moments of the operator's input.
 * One call at a time on a pool. */
#ifndef QN_ROUND_H
#define QN_ROUND_H
#include "base/thread.h"
#include "quant/quant.h"

struct qk_table;

/* Of the moment of each input this share is added to it: what little text says of how inputs go together is believed less. */
#define QN_ROUND_DAMPING 0.02

typedef struct qn_rounding {
  const float *w;       /* [n, k] */
  const float *moments; /* C: [k, k] of which the lower triangle is read, positive semidefinite */
  uint32_t n, k;
  qn_form form; /* of 4 or 2 bits */
  /* scales, minima and steps, as qn_pack_grids makes them; those of a channel may become wider or narrower together, by a
     factor between 0.7 and 1.1 */
  const qn_packed *grids;
} qn_rounding;

/* out: [n, k], the values of the codes that were chosen; the form with C damped is never above that of the nearest codes. The same
   bytes for any number of threads and any instruction set. Fails for want of memory alone:
   6 k^2 bytes, and 256 k for each thread. */
quern_status qn_round(qn_env *env, const struct qk_table *kernels, qn_pool *pool, const qn_rounding *r, float *out);
#endif
