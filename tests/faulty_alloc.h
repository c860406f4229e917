/* faulty_alloc.h - an allocator for tests: fails one chosen call, counts what is live, checks the sizes given to free.
 * Usable from several threads. */
#ifndef QN_FAULTY_ALLOC_H
#define QN_FAULTY_ALLOC_H
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "quern.h"

typedef struct faulty_alloc {
  long fail_at; /* this call fails, the first is 1; 0: none does */
  atomic_long calls, live;
  atomic_size_t live_bytes, peak_bytes;
  atomic_long wrong_sizes; /* frees with another size than was asked for */
} faulty_alloc;

#define FAULTY_HEAD 64 /* in front of each block: its size; keeps the alignment */

static void *faulty_alloc_alloc(void *user, size_t size, size_t align) {
  faulty_alloc *f = user;
  if (atomic_fetch_add(&f->calls, 1) + 1 == f->fail_at || align > FAULTY_HEAD) return NULL;
  char *p = aligned_alloc(FAULTY_HEAD, (size + 2 * FAULTY_HEAD - 1) / FAULTY_HEAD * FAULTY_HEAD);
  if (!p) return NULL;
  memcpy(p, &size, sizeof size);
  memset(p + FAULTY_HEAD, 0xA5, size); /* nobody may count on zeros */
  atomic_fetch_add(&f->live, 1);
  size_t now = atomic_fetch_add(&f->live_bytes, size) + size, peak = f->peak_bytes;
  while (now > peak && !atomic_compare_exchange_weak(&f->peak_bytes, &peak, now)) {}
  return p + FAULTY_HEAD;
}

static void faulty_alloc_free(void *user, void *p, size_t size) {
  faulty_alloc *f = user;
  char *block = (char *)p - FAULTY_HEAD;
  size_t was;
  memcpy(&was, block, sizeof was);
  if (was != size) atomic_fetch_add(&f->wrong_sizes, 1);
  atomic_fetch_sub(&f->live, 1);
  atomic_fetch_sub(&f->live_bytes, was);
  free(block);
}

static inline quern_allocator faulty_allocator(faulty_alloc *f) {
  return (quern_allocator){sizeof(quern_allocator), 0, f, faulty_alloc_alloc, faulty_alloc_free};
}

/* Something that allocates, releases all of it whatever happens, and returns the first failure. */
typedef quern_status faulty_attempt(const quern_allocator *alloc, void *arg);

/* Runs the attempt with no failure, then with its first, second, ... allocation failing. Each must give
   QUERN_E_MEMORY, leave nothing live and free by the right sizes. Returns the rules broken (0: all is well);
   *allocations: of the run without failure. */
static inline long faulty_each(faulty_attempt *attempt, void *arg, long *allocations) {
  long broken = 0, total = 0;
  for (long n = 0; n <= total; n++) {
    faulty_alloc f = {.fail_at = n};
    quern_allocator a = faulty_allocator(&f);
    quern_status s = attempt(&a, arg);
    if (n == 0) total = f.calls;
    if (s != (n ? QUERN_E_MEMORY : QUERN_OK) || f.live || f.live_bytes || f.wrong_sizes) {
      if (broken++ < 3)
        printf("  allocation %ld of %ld failing: status %d, %ld blocks live, %ld wrong sizes\n", n, total, (int)s,
               (long)f.live, (long)f.wrong_sizes);
    }
  }
  *allocations = total;
  return broken;
}
#endif
