/* relative.h - attention biases by relative position, from the buckets that a model learns to one value for each distance. */
#ifndef QN_RELATIVE_H
#define QN_RELATIVE_H
#include <stdint.h>

/* Bucket of a distance (key - query), 0 ... QN_RELATIVE_BUCKETS - 1: T5's rule for both directions (1910.10683 section 2.1),
   the widest bucket from 128 on. Exact in integers. */
uint32_t qn_relative_bucket(int64_t distance);
/* table: [QN_RELATIVE_BUCKETS, heads] -> out: [heads, 2 * positions - 1] for distances -(positions - 1) ... positions - 1,
   times log2(e), rounded once. */
void qn_relative_expand(const float *table, uint32_t heads, uint32_t positions, float *out);
#endif
