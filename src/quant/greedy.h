/* greedy.h - the rotation that brings down what stands out in rows of activations, found step by step (2406.01721, section 3.2). One call
 * at a time on a pool. */
#ifndef QN_GREEDY_H
#define QN_GREEDY_H
#include "base/thread.h"

struct qk_table;

typedef struct qn_greedy {
  const struct qk_table *kernels;
  qn_pool *pool;
  size_t rows, k;        /* k is a multiple of the block */
  uint32_t block, steps; /* block: a multiple of 16 */
  uint32_t restart;      /* steps after which it begins anew with another matrix; 0: never, as the paper has it */
  int by_row;            /* the channel that is spread is that of the paper's published code: the number of the row modulo the block */
  uint64_t seed;
} qn_greedy;

/* x: [rows, k], each row split into blocks that all are rotated by the same matrix. Each step spreads the channel of the
   largest magnitude over its block. rotation [block, block], inputs by outputs, is the product of those steps, up to some one since the search began, that leaves the least sum
   of squared ranges of rows, which is what codes with a scale for each row lose by; 0 steps leave the identity. The same bytes for any
   number of threads and any instruction set. Fails for want of memory alone: 2 * (rows * k + block^2) floats. */
quern_status qn_greedy_rotation(qn_env *env, const qn_greedy *g, const float *x, float *rotation);
#endif
