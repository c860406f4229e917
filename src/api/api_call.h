/* api_call.h - what brackets a call that runs passes on a session. */
#ifndef QN_CALL_H
#define QN_CALL_H
#include "run/session.h"

/* A call begins: workers are woken up, an earlier cancel is honoured. */
static inline quern_status qn_call_begin(quern_session *s) {
  qn_pool_enter(s->pool);
  return atomic_load_explicit(&s->cancel, memory_order_relaxed) ? qn_fail(&s->error, QUERN_E_CANCELLED, "cancelled")
                                                                : QUERN_OK;
}
/* And ends: a cancel that took effect is used up. */
static inline quern_status qn_call_end(quern_session *s, quern_status status) {
  if (status == QUERN_E_CANCELLED) atomic_store_explicit(&s->cancel, 0, memory_order_relaxed);
  qn_pool_leave(s->pool);
  return status;
}
#endif
