/* transform_neon.c - inputs in another basis (products/transform.h) over NEON lanes. */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
#include "kernels/lanes/lanes_neon.h"

#define QK_COLUMNS 4
#define QK_QUANTIZE qk_quantize_neon
#define QK_START qk_start_q8_neon

#include "kernels/products/transform.h"

size_t qk_transform_neon(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                         void *scratch, size_t r0, size_t r1) {
  return qk_transform_over_tiles(t, x, ldx, d, q, scratch, r0, r1);
}
#endif
