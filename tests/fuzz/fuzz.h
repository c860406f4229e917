/* fuzz.h - what fuzz targets share: the entry, the input as a stream of choices, an allocator that counts and has a limit.
 * A target aborts where a contract is broken; a sanitizer sees the rest. libFuzzer drives a target (make fuzz), or replay.c
 * over its corpus (make test). One thread. */
#ifndef QN_FUZZ_H
#define QN_FUZZ_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "quern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FUZZ_NEED(cond)                                                                                                \
  do {                                                                                                                 \
    if (!(cond)) abort();                                                                                              \
  } while (0)

/* Choices come from the input's bytes; behind its end all are 0. */
typedef struct fuzz_input {
  const uint8_t *p;
  size_t left;
} fuzz_input;

static inline uint32_t fuzz_u8(fuzz_input *in) { return in->left ? in->left--, (uint32_t)*in->p++ : 0; }
static inline uint32_t fuzz_u16(fuzz_input *in) {
  const uint32_t low = fuzz_u8(in);
  return low | fuzz_u8(in) << 8;
}
/* 0 ... n - 1, n at most 65536. */
static inline uint32_t fuzz_below(fuzz_input *in, uint32_t n) { return (n <= 256 ? fuzz_u8(in) : fuzz_u16(in)) % n; }
/* Up to `most` of the next bytes; *n: how many. */
static inline const uint8_t *fuzz_take(fuzz_input *in, size_t most, size_t *n) {
  const uint8_t *at = in->p;
  *n = most < in->left ? most : in->left;
  in->p += *n, in->left -= *n;
  return at;
}

/* The host's allocator of a run: `left` bytes may be live at once; call number fail_at fails (0: none). */
typedef struct fuzz_heap {
  size_t left;
  long calls, fail_at, live;
} fuzz_heap;

static inline void *fuzz_heap_alloc(void *user, size_t size, size_t align) {
  fuzz_heap *h = user;
  void *p = NULL;
  if (++h->calls == h->fail_at || size > h->left) return NULL;
  if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size)) return NULL;
  memset(p, 0xA5, size); /* nobody may count on zeros */
  h->live++, h->left -= size;
  return p;
}
static inline void fuzz_heap_free(void *user, void *p, size_t size) {
  fuzz_heap *h = user;
  h->live--, h->left += size;
  free(p);
}
static inline quern_allocator fuzz_allocator(fuzz_heap *h) {
  return (quern_allocator){sizeof(quern_allocator), 0, h, fuzz_heap_alloc, fuzz_heap_free};
}
#endif
