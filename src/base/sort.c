/* sort.c - heap sort. Any thread. */
#include "base/sort.h"
#include <stdint.h>

static void sort_swap(uint8_t *a, uint8_t *b, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    const uint8_t was = a[i];
    a[i] = b[i];
    b[i] = was;
  }
}

/* Lets items[root] sink until no child is behind it. */
static void sort_sift(uint8_t *items, size_t root, size_t n, size_t bytes, qn_order_fn *order) {
  for (size_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && order(items + child * bytes, items + (child + 1) * bytes) < 0) child++;
    if (order(items + root * bytes, items + child * bytes) >= 0) return;
    sort_swap(items + root * bytes, items + child * bytes, bytes);
  }
}

void qn_sort_items(void *items, size_t n, size_t bytes, qn_order_fn *order) {
  uint8_t *p = items;
  for (size_t i = n / 2; i-- > 0;) sort_sift(p, i, n, bytes, order);
  for (size_t i = n; i-- > 1;) {
    sort_swap(p, p + i * bytes, bytes);
    sort_sift(p, 0, i, bytes, order);
  }
}
