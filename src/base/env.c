/* env.c - memory through the caller's allocator, log messages, the growing buffer and the bump arena.
 * Thread rule: alloc, free and log may be called from any thread; a buffer or arena belongs to one thread at a time. */
#include "base/env.h"
#include "base/checked.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENV_ALIGN ((size_t)64)

static void *env_libc_alloc(void *user, size_t size, size_t align) {
  (void)user;
  /* C11 wants a size that is a multiple of the alignment; the caller has checked that rounding does not wrap. */
  return aligned_alloc(align, qn_round_up(size, align));
}

static void env_libc_free(void *user, void *p, size_t size) {
  (void)user, (void)size;
  free(p);
}

void qn_env_init(qn_env *env, const quern_allocator *alloc, quern_log_fn *log, void *log_user, int32_t log_level) {
  memset(env, 0, sizeof *env);
  qn_error_init(&env->error);
  /* Named and static: gcc for AArch64 puts an anonymous one among the writable data. */
  static const quern_allocator libc = {sizeof(quern_allocator), 0, NULL, env_libc_alloc, env_libc_free};
  env->alloc = alloc ? *alloc : libc;
  env->log = log;
  env->log_user = log_user;
  env->log_level = log_level;
}

void qn_log(qn_env *env, int32_t level, const char *fmt, ...) {
  if (!env->log || level > env->log_level) return;
  char text[QN_ERROR_BYTES];
  va_list ap;
  va_start(ap, fmt);
  qn_vformat(text, sizeof text, fmt, ap);
  va_end(ap);
  env->log(env->log_user, level, text);
}

quern_status qn_alloc(qn_env *env, void **out, size_t bytes, const char *what) {
  *out = NULL;
  if (bytes == 0) return QUERN_OK;
  /* No object may be larger than PTRDIFF_MAX; this also keeps every rounding up of the size from wrapping. */
  void *p = bytes <= (size_t)PTRDIFF_MAX - ENV_ALIGN ? env->alloc.alloc(env->alloc.user, bytes, ENV_ALIGN) : NULL;
  if (!p) return qn_fail(&env->error, QUERN_E_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
  *out = p;
  return QUERN_OK;
}

quern_status qn_alloc_array(qn_env *env, void **out, size_t n, size_t item, const char *what) {
  size_t bytes;
  *out = NULL;
  if (!qn_mul_size(n, item, &bytes))
    return qn_fail(&env->error, QUERN_E_MEMORY, "out of memory: %zu times %zu bytes for %s", n, item, what);
  QN_TRY(qn_alloc(env, out, bytes, what));
  if (bytes) memset(*out, 0, bytes);
  return QUERN_OK;
}

void qn_free(qn_env *env, void *p, size_t bytes) {
  if (p) env->alloc.free(env->alloc.user, p, bytes);
}

quern_status qn_buffer_reserve(qn_env *env, qn_buffer *b, size_t more) {
  size_t need;
  if (!qn_add_size(b->bytes, more, &need))
    return qn_fail(&env->error, QUERN_E_MEMORY, "out of memory: %zu more bytes for a buffer", more);
  if (need <= b->cap) return QUERN_OK;
  size_t cap = b->cap > SIZE_MAX / 2 ? need : qn_max_size(qn_max_size(need, 2 * b->cap), 256);
  void *data;
  QN_TRY(qn_alloc(env, &data, cap, "a buffer"));
  if (b->bytes) memcpy(data, b->data, b->bytes);
  qn_free(env, b->data, b->cap);
  b->data = data;
  b->cap = cap;
  return QUERN_OK;
}

quern_status qn_buffer_append(qn_env *env, qn_buffer *b, const void *p, size_t bytes) {
  if (!bytes) return QUERN_OK;
  QN_TRY(qn_buffer_reserve(env, b, bytes));
  memcpy(b->data + b->bytes, p, bytes);
  b->bytes += bytes;
  return QUERN_OK;
}

quern_status qn_buffer_pad(qn_env *env, qn_buffer *b, size_t align) {
  size_t pad = (align - b->bytes % align) % align;
  if (!pad) return QUERN_OK;
  QN_TRY(qn_buffer_reserve(env, b, pad));
  memset(b->data + b->bytes, 0, pad);
  b->bytes += pad;
  return QUERN_OK;
}

void qn_buffer_free(qn_env *env, qn_buffer *b) {
  qn_free(env, b->data, b->cap);
  *b = (qn_buffer){NULL, 0, 0};
}

void *qn_arena_take(qn_arena *a, size_t n, size_t item) {
  size_t bytes, rounded, end;
  if (a->overflow || !qn_mul_size(n, item, &bytes) || !qn_add_size(bytes, ENV_ALIGN - 1, &rounded) ||
      !qn_add_size(a->used, rounded & ~(ENV_ALIGN - 1), &end) || (a->base && end > a->cap)) {
    a->overflow = 1;
    return NULL;
  }
  void *p = a->base ? a->base + a->used : NULL;
  a->used = end;
  return p;
}
