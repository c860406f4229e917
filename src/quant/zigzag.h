/* zigzag.h - the order of channels that gives all blocks the same share of outliers (2406.01721, section 3.3). Stateless; any thread. */
#ifndef QN_ZIGZAG_H
#define QN_ZIGZAG_H
#include <stdint.h>

/* Channels by descending magnitude, dealt to the blocks to and fro; within a block the largest come first. order: [k], channel c is
   channel order[c] of before; of equal magnitudes the first before. work: [k]. k is a multiple of the block. With K blocks and no two
   neighbours in that sequence further apart than d the means of any two blocks differ by at most (K - 1) d / 2, since of every two
   turns the blocks' sums do by at most (K - 1) d; so the variance of the means is at most ((K - 1) d / 4)^2. */
void qn_zigzag(const float *magnitude, uint32_t k, uint32_t block, int32_t *order, uint32_t *work);
#endif
