/* transform_avx512vnni.c - inputs in another basis (products/transform.h): vpdpwssd on 512 bits. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"

#define QK_OWN_DOTS
#define QK_COLUMNS 16
#define QK_RADIX 16
#define QK_QUANTIZE qk_quantize_avx512
#define QK_START qk_start_q8_avx512
/* As assembly: gcc 12 copies the accumulator around the intrinsic. */
typedef int32_t qk_pair __attribute__((may_alias));
static inline vi qk_dot_spread(vi acc, vi a, const int16_t *p) {
  const qk_pair *pair = (const qk_pair *)(const void *)p;
  __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(a), "m"(*pair));
  return acc;
}

#include "kernels/products/transform.h"

size_t qk_transform_avx512vnni(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                               void *scratch, size_t r0, size_t r1) {
  return qk_transform_over_tiles(t, x, ldx, d, q, scratch, r0, r1);
}
QK_TARGET_END
#endif
