/* reconstruct.h - a layer of a float model with the rounding of a static recipe's sites put in, and the slopes of its output's error by
 * the sites' scales and zero points (the straight-through estimate of LSQ+, 2004.09576): what the fine stage of clipping follows. Floats
 * in a fixed order, by kernels that give the same bytes everywhere and loops without libm. */
#ifndef QN_RECONSTRUCT_H
#define QN_RECONSTRUCT_H
#include "run/session.h"

/* Sites of a layer that learn, in order of execution. */
enum { QN_LEARN_IN, QN_LEARN_Q, QN_LEARN_K, QN_LEARN_V, QN_LEARN_CONTEXT, QN_LEARN_UP, QN_LEARN_DOWN, QN_LEARNS };
/* QN_SITE_* of one. */
uint32_t qn_learn_kind(uint32_t i);

/* x -> (min(max(rint(x / scale + zero), lowest), highest) - zero) * scale. */
typedef struct qn_learn {
  float scale, zero, lowest, highest;
  int on;             /* 0: x stays as it is */
  int open;           /* no highest code: an unfolded site (unfold.h) */
  int fixed;          /* bit 0: the scale does not learn, bit 1: the zero point */
  double slope_scale; /* of the error, as qn_reconstruct_slopes leaves them */
  double slope_zero;
} qn_learn;

/* Tokens of some texts in a layer. All of it belongs to this; [tokens, ...] are of at most `rows` tokens. */
typedef struct qn_reconstruct {
  qn_env *env;
  const quern_session *s; /* of a float model, whose gains migrated alike */
  uint32_t layer;
  int first_alone; /* of each text only the first token's output counts: behind the last layer a classifier takes no other */
  int rounds;      /* 0: codes are held within their limits but not rounded: what slopes are those of */
  qn_learn site[QN_LEARNS];
  size_t rows, heads_floats; /* heads_floats: of probabilities, the sum over texts of heads * tokens^2 */
  float *rounded, *qkv, *qkv_rounded, *probs, *context, *context_rounded, *sum, *mid, *mid_rounded, *before, *up,
      *up_rounded, *last, *out;                                /* forward; out: [tokens, width] */
  float *slope, *slope_mid, *slope_qkv, *slope_more, *weights; /* backward; weights: panels of one transposed */
  float *turned[4];                                            /* of qkv, attn.out, ffn.up, ffn.down */
  void *memory;
  size_t bytes;
} qn_reconstruct;

quern_status qn_reconstruct_create(qn_reconstruct *r, qn_env *env, const quern_session *s, size_t rows,
                                   size_t heads_floats);
void qn_reconstruct_free(qn_reconstruct *r);
/* Takes a layer: its sites are off, to be set. */
void qn_reconstruct_layer(qn_reconstruct *r, uint32_t layer);
/* out of x: [tokens, width], texts of lens[texts] tokens. */
void qn_reconstruct_run(qn_reconstruct *r, const float *x, const uint32_t *lens, size_t texts);
/* Sum over tokens that count and channels of weight[c] * (out - want)^2 of the last run. want: [tokens, width]. */
double qn_reconstruct_error(const qn_reconstruct *r, const float *want, const float *weight, const uint32_t *lens,
                            size_t texts);
/* The slopes of that by each site's scale and zero point. */
void qn_reconstruct_slopes(qn_reconstruct *r, const float *x, const float *want, const float *weight,
                           const uint32_t *lens, size_t texts);
#endif
