/* sort.h - floats in ascending order; items of any kind. Any thread. */
#ifndef QN_SORT_H
#define QN_SORT_H
#include <stdlib.h>

static inline int qn_ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}
/* x: [n], without NaN. */
static inline void qn_sort_floats(float *x, size_t n) { qsort(x, n, sizeof *x, qn_ascending); }

/* < 0, 0, > 0: a before b, equal, behind. */
typedef int qn_order_fn(const void *a, const void *b);
/* items: [n] of `bytes` each; of equal items the order is not kept. No allocation, no recursion, n log n for any input:
   for what comes from a file. */
void qn_sort_items(void *items, size_t n, size_t bytes, qn_order_fn *order);
#endif
