/* rows_ref.c - the row operations over plain C lanes: the specification of every other set's. */
#include <string.h>
#include "kernels/sets.h"
#include "kernels/lanes/lanes_ref.h"
#include "kernels/rows/rows.h"

void qk_rows_ref(qk_table *t) { qk_rows_set(t); }
