/* checked.h - arithmetic on sizes that came from outside. Each returns 1 and writes *out, or 0 on overflow. */
#ifndef QN_CHECKED_H
#define QN_CHECKED_H
#include <stddef.h>
#include <stdint.h>

static inline int qn_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline int qn_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline int qn_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline int qn_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
/* align: a power of two. Callers have checked that x + align does not wrap. */
static inline size_t qn_round_up(size_t x, size_t align) { return (x + align - 1) & ~(align - 1); }
static inline size_t qn_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t qn_max_size(size_t a, size_t b) { return a > b ? a : b; }
/* Is [offset, offset + bytes) inside [0, limit)? */
static inline int qn_in_range(uint64_t offset, uint64_t bytes, uint64_t limit) {
  return offset <= limit && bytes <= limit - offset;
}
#endif
