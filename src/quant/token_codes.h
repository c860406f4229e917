/* token_codes.h - what codes with a scale for each row, or group of it, found while running, make of rows of activations (docs/NUMERICS.md,
 * Codes). Stateless; any thread. */
#ifndef QN_TOKEN_CODES_H
#define QN_TOKEN_CODES_H
#include <stddef.h>
#include <stdint.h>

typedef struct qn_token_codes {
  uint32_t bits, group; /* group: channels with a scale; 0: all of a row */
  int symmetric;
  float clip; /* a factor of the range; 0: searched (qn_token_clip) */
} qn_token_codes;

/* x [count, k] as what its codes stand for. */
void qn_token_round(const qn_token_codes *c, float *x, size_t count, size_t k);
/* c->clip, or where it is searched for the factor, in 32nds from 5/8 to 1, at which codes lose least: the mean, over at most 64 of the rows at even distances, of a row's squared
   error over its squares. Wide rows of noise have their optimum far within their range. 1 where there are no rows. */
float qn_token_clip(const qn_token_codes *c, const float *x, size_t count, size_t k);
#endif
