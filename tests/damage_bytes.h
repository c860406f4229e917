/* damage_bytes.h - random damage to bytes of a section, for readers that are to refuse it or to live with it. Tests only; stateless. */
#ifndef QN_DAMAGE_BYTES_H
#define QN_DAMAGE_BYTES_H
#include <stddef.h>
#include <stdint.h>

/* `changes` of the first n bytes get other values or have a bit turned; *seed, which is not 0, goes on. */
static inline void damage_bytes(uint8_t *p, size_t n, int changes, uint64_t *seed) {
  uint64_t s = *seed;
  for (int k = 0; k < changes; k++) {
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    const size_t at = s % n;
    p[at] = (uint8_t)(s >> 40 & 1 ? s >> 48 : p[at] ^ 1u << (s >> 32 & 7));
  }
  *seed = s;
}
#endif
