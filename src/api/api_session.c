/* api_session.c - quern_session_*: creation over exactly the bytes that were told, cancelling, statistics. */
#include <string.h>

#include "api/api_options.h"
#include "base/checked.h"
#include "run/session.h"

/* log2(e): scores are kept in units of log2 (docs/NUMERICS.md). */
#define LOG2_E 1.44269504088896340736

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
  return qn_session_resolve(o, m, &m->env->error);
}

/* The session struct, then its buffers. */
static quern_session *lay_out(const quern_model *m, const quern_session_options *o, qn_arena *arena,
                              quern_session *counting) {
  quern_session *s = qn_arena_take(arena, 1, sizeof *s);
  qn_session_layout(s ? s : counting, m, o, arena);
  return s;
}

static quern_status count_bytes(const quern_model *m, const quern_session_options *o, size_t *bytes) {
  qn_arena arena = {0};
  quern_session counting = {0};
  lay_out(m, o, &arena, &counting);
  if (arena.overflow)
    return qn_fail(&m->env->error, QUERN_E_MEMORY,
                   "a session of %u tokens and %u sequences does not fit the address space", o->max_tokens,
                   o->max_sequences);
  *bytes = arena.used;
  return QUERN_OK;
}

quern_status quern_session_bytes(const quern_model *m, const quern_session_options *options, size_t *bytes) {
  quern_session_options o;
  if (!m || !bytes) return QUERN_E_ARGUMENT;
  QN_TRY(resolve(&o, m, options));
  return count_bytes(m, &o, bytes);
}

quern_status quern_session_create(quern_session **out, quern_model *m, const quern_session_options *options) {
  quern_session_options o;
  size_t bytes = 0;
  if (!out || !m) return QUERN_E_ARGUMENT;
  QN_TRY(resolve(&o, m, options));
  QN_TRY(count_bytes(m, &o, &bytes));
  void *block = o.workspace;
  if (block && ((uintptr_t)block % QRN_ALIGN || o.workspace_bytes < bytes))
    return qn_fail(&m->env->error, QUERN_E_CAPACITY, "the workspace needs %zu bytes aligned to %u", bytes, QRN_ALIGN);
  if (!block) QN_TRY(qn_alloc(m->env, &block, bytes, "the session"));

  qn_arena arena = {.base = block, .cap = bytes};
  quern_session *s = block;
  memset(s, 0, sizeof *s);
  lay_out(m, &o, &arena, NULL);
  s->model = m;
  s->kernels = &m->context->kernels;
  s->pool = m->context->pool;
  s->own_memory = !o.workspace;
  s->bytes = bytes;
  s->stats.bytes = bytes;
  s->fold = (float)(LOG2_E / __builtin_sqrt((double)m->arch.head_dim));
  qn_error_init(&s->error);
  atomic_init(&s->cancel, 0);
  quern_model_retain(m);
  *out = s;
  return QUERN_OK;
}

void quern_session_free(quern_session *s) {
  if (!s) return;
  quern_model *m = s->model;
  if (s->own_memory) qn_free(m->env, s, s->bytes);
  quern_model_free(m);
}

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
  return qn_info_copy(st, &s->stats, sizeof s->stats) ? QUERN_OK : QUERN_E_ARGUMENT;
}
