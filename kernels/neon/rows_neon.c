/* rows_neon.c - the row operations over NEON lanes. */
#include <string.h>
#include "kernels/sets.h"
#if QK_ARM64
#include "kernels/lanes/lanes_neon.h"
#include "kernels/rows/rows.h"

void qk_rows_neon(qk_table *t) { QK_ROWS_SET(t); }
#endif
