/* rotation.h - rotary positions as a source describes them, and the frequencies that a file holds of them. Stateless; any thread. */
#ifndef QN_ROTATION_H
#define QN_ROTATION_H
#include <stdint.h>

/* base 0: there is none. A frequency is base^(-2 i / dimensions), divided by `linear` (0: 1); then, where factor is above 0, LLaMA 3's
   scaling: as it is where original positions hold more than `high` waves, divided by factor below `low` waves, in between mixed. */
typedef struct qn_rotation {
  double base, linear;
  double factor, low, high, original;
} qn_rotation;

/* out: [dimensions / 2], radians a position. factors: [dimensions / 2] that they are divided by, or NULL. Plain double arithmetic in one order, rounded to float at the end: the same on every
   machine. */
void qn_rotation_frequencies(const qn_rotation *r, uint32_t dimensions, const float *factors, float *out);
#endif
