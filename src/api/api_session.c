/* api_session.c - quern_session_*: creation over exactly the bytes that were told, cancelling, statistics. */
#include <string.h>

#include "api/api_options.h"
#include "base/checked.h"
#include "run/session.h"

void quern_session_options_init(quern_session_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
}

static quern_status resolve(quern_session_options *o, const quern_model *m, const quern_session_options *given) {
  quern_session_options_init(o, sizeof *o);
  if (given && !QN_OPTIONS_COPY(o, given))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT,
                   "session options of an unknown size or with unknown fields: use "
                   "quern_session_options_init");
  if (o->reserved) return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "session options: the reserved field is not 0");
  return qn_session_resolve(o, m, &m->env->error);
}

quern_status quern_session_bytes(const quern_model *m, const quern_session_options *options, size_t *bytes) {
  quern_session_options o;
  if (!m) return QUERN_E_ARGUMENT;
  if (!bytes) return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "no place for the number of bytes");
  QN_TRY(resolve(&o, m, options));
  return qn_session_count(m, &o, bytes);
}

quern_status quern_session_create(quern_session **out, quern_model *m, const quern_session_options *options) {
  quern_session_options o;
  if (!m) return QUERN_E_ARGUMENT;
  if (!out) return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "a session is created into a pointer: it is NULL");
  QN_TRY(resolve(&o, m, options));
  return qn_session_create(out, m, &o);
}

void quern_session_free(quern_session *s) { qn_session_free(s); }

quern_status quern_session_error(const quern_session *s, char *buf, size_t cap) {
  if (!s || !buf || !cap) return QUERN_E_ARGUMENT;
  qn_error_copy(&s->error, buf, cap);
  return QUERN_OK;
}

quern_status quern_session_cancel(quern_session *s) {
  if (!s) return QUERN_E_ARGUMENT;
  atomic_store_explicit(&s->cancel, 1, memory_order_relaxed);
  return QUERN_OK;
}

quern_status quern_session_get_stats(const quern_session *s, quern_stats *st) {
  if (!s || !st) return QUERN_E_ARGUMENT;
  quern_stats full = s->stats;
  full.cache_pages = s->cache.pages;
  full.cache_pages_free = s->cache.unused_count;
  return qn_info_copy(st, &full, sizeof full) ? QUERN_OK : QUERN_E_ARGUMENT;
}
