/* transform_avxvnni.c - inputs in another basis (products/transform.h): vpdpwssd on 256 bits. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"

#define QK_OWN_DOTS
#define QK_COLUMNS 4
#define QK_QUANTIZE qk_quantize_avx2
#define QK_START qk_start_q8_avx2
/* As assembly: no compiler flag is needed for it, and gcc 12 copies the accumulator around the intrinsic. */
static inline vi qk_dot_spread(vi acc, vi a, const int16_t *p) {
  int32_t x;
  memcpy(&x, p, sizeof x);
  const __m256i b = _mm256_set1_epi32(x);
  __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc.lo) : "x"(a.lo), "x"(b));
  __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc.hi) : "x"(a.hi), "x"(b));
  return acc;
}

#include "kernels/products/transform.h"

size_t qk_transform_avxvnni(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                            void *scratch, size_t r0, size_t r1) {
  return qk_transform_over_tiles(t, x, ldx, d, q, scratch, r0, r1);
}
QK_TARGET_END
#endif
