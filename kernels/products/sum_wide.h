/* sum_wide.h - the dot product of tile_q8.h in the names of tile_group.h: codes of 8 bits, nothing is read packed. */
#ifndef QK_PRODUCTS_SUM_WIDE_H
#define QK_PRODUCTS_SUM_WIDE_H
#include "kernels/products/sum_dot.h"
typedef qk_dot_w qk_nib_w;
typedef qk_dot_a qk_nib_a;
static inline qk_nib_w qk_nib_load(const uint8_t *w) { return qk_dot_load(w); }
static inline qk_nib_a qk_nib_spread(const int8_t *a) { return qk_dot_spread(a); }
#define qk_nib_low qk_nib_load
#define qk_nib_high qk_nib_load
#endif
