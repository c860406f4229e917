/* rows_avx512.c - the row operations over AVX-512 lanes; they need no VNNI. */
#include <string.h>
#include "kernels/sets.h"
#if QK_X86
QK_TARGET_BEGIN_AVX512
#include "kernels/lanes/lanes_avx512.h"
#include "kernels/rows/rows.h"
QK_TARGET_END

void qk_rows_avx512(qk_table *t) { QK_ROWS_SET(t); }
#endif
