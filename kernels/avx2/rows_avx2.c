/* rows_avx2.c - the row operations over AVX2 lanes. */
#include <string.h>
#include "kernels/sets.h"
#if QK_X86
QK_TARGET_BEGIN_AVX2
#include "kernels/lanes/lanes_avx2.h"
#include "kernels/rows/rows.h"
QK_TARGET_END

void qk_rows_avx2(qk_table *t) { QK_ROWS_SET(t); }
#endif
