/* hash.h - XXH64 (Yann Collet's public algorithm), the checksum of .qrn sections. */
#ifndef QN_HASH_H
#define QN_HASH_H
#include <stddef.h>
#include <stdint.h>
uint64_t qn_xxh64(const void *data, size_t bytes, uint64_t seed);
/* Streaming form: the same value as one call over the joined pieces. */
typedef struct qn_xxh64_state {
  uint64_t lane[4], total, seed;
  uint8_t buffer[32];
  uint32_t fill;
} qn_xxh64_state;
void qn_xxh64_begin(qn_xxh64_state *s, uint64_t seed);
void qn_xxh64_update(qn_xxh64_state *s, const void *data, size_t bytes);
uint64_t qn_xxh64_end(const qn_xxh64_state *s);
#endif
