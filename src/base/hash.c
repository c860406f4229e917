/* hash.c - XXH64 in its streaming form, on which the one-call form stands: stripes of 32 bytes through four lanes, a
 * tail of words, an avalanche. Pure functions of their state. */
#include "base/hash.h"
#include "base/bytes.h"
#include <string.h>

#define HASH_P1 0x9E3779B185EBCA87ull
#define HASH_P2 0xC2B2AE3D27D4EB4Full
#define HASH_P3 0x165667B19E3779F9ull
#define HASH_P4 0x85EBCA77C2B2AE63ull
#define HASH_P5 0x27D4EB2F165667C5ull

static inline uint64_t hash_rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }
static inline uint64_t hash_round(uint64_t acc, uint64_t word) { return hash_rotl(acc + word * HASH_P2, 31) * HASH_P1; }
static inline uint64_t hash_merge(uint64_t h, uint64_t lane) { return (h ^ hash_round(0, lane)) * HASH_P1 + HASH_P4; }

/* Whole stripes; returns the bytes taken. */
static size_t hash_stripes(uint64_t lane[4], const uint8_t *p, size_t bytes) {
  uint64_t a = lane[0], b = lane[1], c = lane[2], d = lane[3];
  size_t i = 0;
  for (; bytes - i >= 32; i += 32) {
    a = hash_round(a, qn_load_u64(p + i));
    b = hash_round(b, qn_load_u64(p + i + 8));
    c = hash_round(c, qn_load_u64(p + i + 16));
    d = hash_round(d, qn_load_u64(p + i + 24));
  }
  lane[0] = a, lane[1] = b, lane[2] = c, lane[3] = d;
  return i;
}

void qn_xxh64_begin(qn_xxh64_state *s, uint64_t seed) {
  memset(s, 0, sizeof *s);
  s->seed = seed;
  s->lane[0] = seed + HASH_P1 + HASH_P2;
  s->lane[1] = seed + HASH_P2;
  s->lane[2] = seed;
  s->lane[3] = seed - HASH_P1;
}

void qn_xxh64_update(qn_xxh64_state *s, const void *data, size_t bytes) {
  const uint8_t *p = data;
  if (!bytes) return;
  s->total += bytes;
  if (s->fill) {
    size_t room = sizeof s->buffer - s->fill, n = bytes < room ? bytes : room;
    memcpy(s->buffer + s->fill, p, n);
    s->fill += (uint32_t)n;
    p += n, bytes -= n;
    if (s->fill < sizeof s->buffer) return;
    hash_stripes(s->lane, s->buffer, sizeof s->buffer);
    s->fill = 0;
  }
  size_t taken = hash_stripes(s->lane, p, bytes);
  s->fill = (uint32_t)(bytes - taken);
  memcpy(s->buffer, p + taken, s->fill);
}

uint64_t qn_xxh64_end(const qn_xxh64_state *s) {
  uint64_t h = s->seed + HASH_P5;
  if (s->total >= 32) {
    const uint64_t *v = s->lane;
    h = hash_rotl(v[0], 1) + hash_rotl(v[1], 7) + hash_rotl(v[2], 12) + hash_rotl(v[3], 18);
    for (int i = 0; i < 4; i++) h = hash_merge(h, v[i]);
  }
  h += s->total;
  const uint8_t *p = s->buffer;
  uint32_t left = s->fill;
  for (; left >= 8; left -= 8, p += 8) h = hash_rotl(h ^ hash_round(0, qn_load_u64(p)), 27) * HASH_P1 + HASH_P4;
  if (left >= 4) {
    h = hash_rotl(h ^ qn_load_u32(p) * HASH_P1, 23) * HASH_P2 + HASH_P3;
    left -= 4, p += 4;
  }
  for (; left; left--, p++) h = hash_rotl(h ^ *p * HASH_P5, 11) * HASH_P1;
  h = (h ^ h >> 33) * HASH_P2;
  h = (h ^ h >> 29) * HASH_P3;
  return h ^ h >> 32;
}

uint64_t qn_xxh64(const void *data, size_t bytes, uint64_t seed) {
  qn_xxh64_state s;
  qn_xxh64_begin(&s, seed);
  qn_xxh64_update(&s, data, bytes);
  return qn_xxh64_end(&s);
}
