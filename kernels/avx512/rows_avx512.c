/* rows_avx512.c - the row operations over AVX-512 lanes; they need no VNNI. */
#include <string.h>
#include "kernels/sets.h"
#if QK_X86
QK_TARGET_BEGIN_AVX512
#include "kernels/lanes/lanes_avx512.h"
#include "kernels/rows/rows.h"

size_t qk_quantize_avx512(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q, size_t r0,
                          size_t r1) {
  return qk_rows_quantize(x, ldx, d, smooth, q, r0, r1);
}
void qk_start_q8_avx512(const qk_codes *q, uint32_t d, size_t r0, size_t r1) { qk_rows_start_q8(q, d, r0, r1); }
QK_TARGET_END

void qk_rows_avx512(qk_table *t) { QK_ROWS_SET(t); }
#endif
