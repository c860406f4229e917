/* orthogonal.h - small square matrices in double, [n, n] by rows: the orthogonal ones that spread a channel, and inverses of what they
 * become as integers. Square roots and the four operations in a fixed order, so that the bytes are the same everywhere. Stateless; any
 * thread. */
#ifndef QN_ORTHOGONAL_H
#define QN_ORTHOGONAL_H
#include <stddef.h>
#include <stdint.h>

/* The integers of a matrix are its entries times this. */
#define QN_ROTATION_ONE 8192

/* Random, uniform among orthogonal matrices but for the shape of the draw (sums of uniform numbers in the place of normal ones). */
void qn_orthogonal_random(double *m, size_t n, uint64_t seed);
/* Orthogonal, its first row 1 / sqrt(n) throughout: what lies in the first channel is spread evenly over all. The others are random.
   work: [n, n]. */
void qn_orthogonal_spread(double *m, size_t n, uint64_t seed, double *work);
/* The inverse of integers / QN_ROTATION_ONE, which come from an orthogonal matrix and so have one. work: [n, 2 n]. */
void qn_orthogonal_inverse(const int16_t *m, size_t n, double *inverse, double *work);
#endif
