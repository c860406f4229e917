/* block_sums.h - sums of the codes of activations by blocks of 32. Over lanes. */
#ifndef QK_ROWS_BLOCK_SUMS_H
#define QK_ROWS_BLOCK_SUMS_H
#include "kernels/layout.h"

/* Lane i: the sum of codes 32 i ... 32 i + 31, of n blocks, at most 16; else 0. */
static inline vi qk_block_sums(const int8_t *codes, size_t n) {
  vi rows[16];
  for (size_t i = 0; i < 16; i++) {
    const int8_t *c = codes + i * QK_GROUP;
    rows[i] = i < n ? vi_add(vi_load8(c), vi_load8(c + 16)) : vi_zero();
  }
  return vi_sum_rows(rows);
}
#endif
