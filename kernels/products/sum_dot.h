/* sum_dot.h - sums of tile_group.h where the dot product of tile_q8.h makes them: 32 bits from the start, so that a block goes on where
 * the group stands. Steps and codes are of its types, whatever they hold. */
#ifndef QK_PRODUCTS_SUM_DOT_H
#define QK_PRODUCTS_SUM_DOT_H
typedef vi qk_sum;
static inline vi qk_sum_begin(vi total) { return total; }
static inline vi qk_sum_next(vi sum, qk_dot_w w, qk_dot_a a) { return qk_dot(sum, w, a); }
static inline vi qk_sum_first(vi total, qk_dot_w w, qk_dot_a a) { return qk_dot(total, w, a); }
static inline vi qk_sum_end(vi total, vi sum) {
  (void)total;
  return sum;
}
#define QK_SUM_UNROLLED 0
#define QK_SUM_GOES_ON 1
#endif
