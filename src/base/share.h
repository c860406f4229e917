/* share.h - units of one operation, dealt to lanes beforehand: a lane takes its own first, which are the same from operation
 * to operation and so still in its cache, then from the lane that has most left. Every unit is taken once. Lock-free: a
 * lane that stands still holds up nothing but the unit it took. Dealing is for one thread, before the lanes start. */
#ifndef QN_SHARE_H
#define QN_SHARE_H
#include <stdatomic.h>
#include <stdint.h>

/* Of one lane: units first ... end - 1 that nobody took, end in the upper half. */
typedef struct qn_share {
  _Alignas(64) _Atomic uint64_t left;
} qn_share;

void qn_share_set(qn_share *s, uint32_t first, uint32_t end);
/* Units 0 ... units - 1 to all lanes evenly, neighbours together. */
void qn_share_deal(qn_share *s, uint32_t lanes, uint32_t units);
/* The next unit for a lane: the first of its own, else the last of another's. 0: there is none left. */
int qn_share_take(qn_share *s, uint32_t lanes, uint32_t lane, uint32_t *unit);
#endif
