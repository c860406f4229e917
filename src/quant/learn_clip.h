/* learn_clip.h - the ranges of output channels of codes with a minimum, learned by gradient so that what an operator puts out on calibration
 * text changes least (learned weight clipping: 2308.13137, 2406.01721). One call at a time on a pool. */
#ifndef QN_LEARN_CLIP_H
#define QN_LEARN_CLIP_H
#include "quant/input_transform.h"

#define QN_LEARN_STEPS 40u

typedef struct qn_learning {
  const float *w;       /* [n, k] */
  const float *moments; /* C: [k, k], all of it: the second moments of the inputs */
  uint32_t n, k;
  float top;          /* the greatest code; the least is 0 */
  float *scale, *min; /* [n] */
} qn_learning;

/* Both ends of a channel's range are parts of its least and greatest weight. From the best of some parts that are the same for both Adam
   follows the gradient of (q - w)^T C (q - w) over QN_LEARN_STEPS steps on all calibration text at once, rounding taken for the identity; what cost least
   on the way is taken. The same bytes for any number of threads and any instruction set. Fails for want of memory alone. */
quern_status qn_learn_clip(const qn_products *e, const qn_learning *l);
/* Range of n weights with 0, times `part`, as the grid of codes 0 ... top. */
void qn_clip_grid(const float *w, size_t n, float top, float part, float *scale, float *min);
#endif
