/* sum_wide.h - the dot product of tile_q8.h in the names of tile_group.h: codes of 8 bits, whose sums have 32 from the start. */
#ifndef QK_PRODUCTS_SUM_WIDE_H
#define QK_PRODUCTS_SUM_WIDE_H
typedef qk_dot_w qk_nib_w;
typedef qk_dot_a qk_nib_a;
typedef vi qk_sum;
static inline qk_nib_w qk_nib_load(const uint8_t *w) { return qk_dot_load(w); }
static inline qk_nib_a qk_nib_spread(const int8_t *a) { return qk_dot_spread(a); }
static inline vi qk_sum_begin(vi total) { return total; }
static inline vi qk_sum_next(vi sum, qk_nib_w w, qk_nib_a a) { return qk_dot(sum, w, a); }
static inline vi qk_sum_first(vi total, qk_nib_w w, qk_nib_a a) { return qk_dot(total, w, a); }
static inline vi qk_sum_end(vi total, vi sum) {
  (void)total;
  return sum;
}
/* Nothing is read packed. */
#define qk_nib_low qk_nib_load
#define qk_nib_high qk_nib_load
#define QK_SUM_UNROLLED 0
#endif
