/* bytes.h - unaligned little-endian loads and stores. Quern runs on little-endian machines only (checked here). */
#ifndef QN_BYTES_H
#define QN_BYTES_H
#include <stdint.h>
#include <string.h>
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Quern supports little-endian machines only"
#endif
static inline uint16_t qn_load_u16(const void *p) {
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline uint32_t qn_load_u32(const void *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline uint64_t qn_load_u64(const void *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* Neither NaN nor infinity among them. */
static inline int qn_all_finite(const float *x, size_t n) {
  uint32_t bad = 0;
  for (size_t i = 0; i < n; i++) bad |= (qn_load_u32(x + i) & 0x7f800000u) == 0x7f800000u;
  return !bad;
}
#endif
