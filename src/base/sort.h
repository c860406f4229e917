/* sort.h - floats in ascending order. Any thread. */
#ifndef QN_SORT_H
#define QN_SORT_H
#include <stdlib.h>

static inline int qn_ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}
/* x: [n], without NaN. */
static inline void qn_sort_floats(float *x, size_t n) { qsort(x, n, sizeof *x, qn_ascending); }
#endif
