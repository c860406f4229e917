/* transform_avx2.c - inputs in another basis (products/transform.h) over AVX2 lanes. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_OWN_DOTS
#define QK_COLUMNS 4
#define QK_QUANTIZE qk_quantize_avx2
#define QK_START qk_start_q8_avx2

/* Additions as assembly: gcc 12 copies accumulators around them, one of them through memory. */
static inline vi qk_dot_spread(vi acc, vi a, const int16_t *p) {
  int32_t x;
  memcpy(&x, p, sizeof x);
  const __m256i b = _mm256_set1_epi32(x), lo = _mm256_madd_epi16(a.lo, b), hi = _mm256_madd_epi16(a.hi, b);
  __asm__("vpaddd %1, %0, %0" : "+x"(acc.lo) : "x"(lo));
  __asm__("vpaddd %1, %0, %0" : "+x"(acc.hi) : "x"(hi));
  return acc;
}

#include "kernels/products/transform.h"

size_t qk_transform_avx2(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                         void *scratch, size_t r0, size_t r1) {
  return qk_transform_over_tiles(t, x, ldx, d, q, scratch, r0, r1);
}
QK_TARGET_END
#endif
