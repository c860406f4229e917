/* share.c - dealing and taking units (share.h). One word a lane, changed by compare and exchange: its two ends cannot cross.
 * Relaxed order: what a unit needs was made visible by the start of the run. */
#include "base/share.h"

#define SHARE_END 32

static uint32_t share_count(uint64_t left) {
  const uint32_t first = (uint32_t)left, end = (uint32_t)(left >> SHARE_END);
  return end > first ? end - first : 0;
}

void qn_share_set(qn_share *s, uint32_t first, uint32_t end) {
  atomic_store_explicit(&s->left, (uint64_t)end << SHARE_END | first, memory_order_relaxed);
}

void qn_share_deal(qn_share *s, uint32_t lanes, uint32_t units) {
  for (uint64_t i = 0; i < lanes; i++)
    qn_share_set(&s[i], (uint32_t)(units * i / lanes), (uint32_t)(units * (i + 1) / lanes));
}

static int share_take_first(qn_share *s, uint32_t *unit) {
  uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed);
  while (share_count(left))
    if (atomic_compare_exchange_weak_explicit(&s->left, &left, left + 1, memory_order_relaxed, memory_order_relaxed)) {
      *unit = (uint32_t)left;
      return 1;
    }
  return 0;
}

static int share_take_last(qn_share *s, uint64_t left, uint32_t *unit) {
  const uint64_t less = left - ((uint64_t)1 << SHARE_END);
  if (!atomic_compare_exchange_strong_explicit(&s->left, &left, less, memory_order_relaxed, memory_order_relaxed))
    return 0;
  *unit = (uint32_t)(less >> SHARE_END);
  return 1;
}

int qn_share_take(qn_share *s, uint32_t lanes, uint32_t lane, uint32_t *unit) {
  if (share_take_first(&s[lane], unit)) return 1;
  for (;;) {
    uint64_t most = 0;
    uint32_t from = 0;
    for (uint32_t i = 0; i < lanes; i++) {
      const uint64_t left = atomic_load_explicit(&s[i].left, memory_order_relaxed);
      if (share_count(left) > share_count(most)) most = left, from = i;
    }
    if (!most) return 0;
    if (share_take_last(&s[from], most, unit)) return 1;
  }
}
