/* transform_avx512.c - inputs in another basis (products/transform.h) over AVX-512 lanes without VNNI. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512
#include "kernels/lanes/lanes_avx512.h"

#define QK_COLUMNS 16
#define QK_RADIX 16
#define QK_QUANTIZE qk_quantize_avx512
#define QK_START qk_start_q8_avx512

#include "kernels/products/transform.h"

size_t qk_transform_avx512(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                           void *scratch, size_t r0, size_t r1) {
  return qk_transform_over_tiles(t, x, ldx, d, q, scratch, r0, r1);
}
QK_TARGET_END
#endif
