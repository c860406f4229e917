/* rows_neon.c - the row operations over NEON lanes. */
#include <string.h>
#include "kernels/sets.h"
#if QK_ARM64
#include "kernels/lanes/lanes_neon.h"
#include "kernels/rows/rows.h"

size_t qk_quantize_neon(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q, size_t r0,
                        size_t r1) {
  return qk_rows_quantize(x, ldx, d, smooth, q, r0, r1);
}
void qk_start_q8_neon(const qk_codes *q, uint32_t d, size_t r0, size_t r1) { qk_rows_start_q8(q, d, r0, r1); }

void qk_rows_neon(qk_table *t) { QK_ROWS_SET(t); }
#endif
