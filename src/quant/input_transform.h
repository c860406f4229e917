/* input_transform.h - the basis that a linear operator's input is quantized in: a rotation within blocks, an order of channels, a second rotation
 * (2406.01721, section 3), found on rows of activations; and what it makes of activations, weights and second moments. One call at a
 * time on a pool. */
#ifndef QN_INPUT_TRANSFORM_H
#define QN_INPUT_TRANSFORM_H
#include "base/thread.h"
#include "quant/quant.h"

struct qk_table;

/* What runs products. */
typedef struct qn_products {
  qn_env *env;
  const struct qk_table *kernels;
  qn_pool *pool;
} qn_products;

/* Of k channels in blocks. Matrices are inputs by outputs, integers that stand for 1 / QN_ROTATION_ONE of their value. */
typedef struct qn_transform {
  uint32_t k, block;
  int16_t *first;  /* [block, block]; NULL: none */
  int32_t *order;  /* [k] channel c is channel order[c] before it; NULL: as they are */
  int16_t *second; /* as first */
  int8_t *signs;   /* [k] and a Hadamard matrix behind them; not with second */
  float clip;      /* the part of a token's range behind it that codes cover; 0: not found yet */
  void *memory;
  size_t bytes;
} qn_transform;

/* Which of the parts an operator with k inputs has, and how long its rotations are searched for; block 0: none, since no block divides k. */
typedef struct qn_transform_shape {
  uint32_t block, steps;
  int first, order, second, signs;
  uint32_t
      head; /* channels of a head: it does not leave them and is the same in all, so that what makes values can have it; 0: else */
} qn_transform_shape;
qn_transform_shape qn_transform_shape_of(const qn_recipe *r, uint32_t k);
/* One that stays within heads of h channels: a rotation, or signs and a Hadamard matrix. */
qn_transform_shape qn_transform_shape_within(const qn_recipe *r, uint32_t h);

/* Ranges of rows on their way, each in units of the row's root mean square: the root of their mean square. What codes of few bits lose
   grows with it; of normal noise in 576 channels it is about 6.3. */
enum { QN_TRAIL_RAW, QN_TRAIL_SMOOTHED, QN_TRAIL_FIRST, QN_TRAIL_SECOND, QN_TRAIL_STEPS };
typedef struct qn_trail {
  double range[QN_TRAIL_STEPS]; /* 0: there is no such step, or no row was kept */
  qn_transform_shape shape;
  double uneven[2]; /* the largest mean of a block's channel maxima over the mean of all, before and behind the order */
} qn_trail;
double qn_trail_range(const float *rows, size_t count, size_t k);

/* rows: [count, k] of the input, already smoothed; changed: in the end transformed. Where there are none (count 0) rotations are random and the order stays.
   Ranges of steps go to the trail. To be freed, after a failure too. */
quern_status qn_transform_find(qn_transform *t, const qn_products *e, const qn_recipe *r,
                               const qn_transform_shape *shape, uint32_t k, uint64_t seed, float *rows, size_t count,
                               qn_trail *trail);
/* As one of the first k channels alone, of which a transform within heads has some. */
qn_transform qn_transform_narrowed(const qn_transform *t, uint32_t k);
void qn_transform_free(qn_env *env, qn_transform *t);

/* x [count, k] in the new basis; of weights, inverse 1, so that products with rows that are transformed stay the same: by the inverse of what the
   integers stand for. */
quern_status qn_transform_rows(const qn_transform *t, const qn_products *e, int inverse, float *x, size_t count);
/* The moments of inputs, m [k, k] of which the lower triangle is read and all is written. */
quern_status qn_transform_moments(const qn_transform *t, const qn_products *e, float *m);

/* A [block, block] matrix as i16 panels of outputs by inputs (kernels/layout.h). */
void qn_transform_panels(const int16_t *m, uint32_t block, int16_t *panels);
#endif
