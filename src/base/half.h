/* half.h - the float32 of a bit pattern, of an IEEE half and of a bfloat16, all exact; NaN keeps its payload. Pure. */
#ifndef QN_HALF_H
#define QN_HALF_H
#include <stdint.h>
#include <string.h>

static inline float qn_from_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
static inline float qn_from_half(uint32_t h) {
  const uint32_t sign = (h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
  if (exponent == 31) return qn_from_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return qn_from_bits(sign | (exponent + 112) << 23 | fraction << 13); /* bias 15 -> 127 */
  const float x = (float)fraction * 0x1p-24f;                                             /* subnormal */
  return sign ? -x : x;
}
static inline float qn_from_bf16(uint32_t b) { return qn_from_bits(b << 16); }
#endif
