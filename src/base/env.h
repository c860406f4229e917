/* env.h - what every room is handed: where memory comes from, where messages go. A qn_env lives in a context. */
#ifndef QN_ENV_H
#define QN_ENV_H
#include "base/status.h"

typedef struct qn_env {
  quern_allocator alloc;
  qn_error error;
  quern_log_fn *log; /* may be NULL */
  void *log_user;
  int32_t log_level;
} qn_env;

/* o: the host's allocator or NULL for the C library's (aligned_alloc). */
void qn_env_init(qn_env *env, const quern_allocator *alloc, quern_log_fn *log, void *log_user, int32_t log_level);
void qn_log(qn_env *env, int32_t level, const char *fmt, ...) QN_PRINTF(3, 4);

/* 64-byte aligned memory; *out is NULL for 0 bytes; QUERN_E_MEMORY with a message naming `what`. */
quern_status qn_alloc(qn_env *env, void **out, size_t bytes, const char *what);
/* n * item bytes, checked, zeroed. */
quern_status qn_alloc_array(qn_env *env, void **out, size_t n, size_t item, const char *what);
/* `bytes` as it was asked for; p may be NULL. */
void qn_free(qn_env *env, void *p, size_t bytes);

/* A growing byte buffer, for writers. Zero-initialise. */
typedef struct qn_buffer {
  uint8_t *data;
  size_t bytes, cap;
} qn_buffer;
/* Makes room for `more` bytes behind the content; the first reservation takes exactly that many. */
quern_status qn_buffer_reserve(qn_env *env, qn_buffer *b, size_t more);
quern_status qn_buffer_append(qn_env *env, qn_buffer *b, const void *p, size_t bytes);
/* Appends zeros up to the next multiple of align. */
quern_status qn_buffer_pad(qn_env *env, qn_buffer *b, size_t align);
void qn_buffer_free(qn_env *env, qn_buffer *b);

/* A bump allocator over one block. With base NULL it only counts: plan and lay out with the same code. Aligns to 64. */
typedef struct qn_arena {
  uint8_t *base;
  size_t used, cap;
  int overflow; /* set when a size wrapped or cap was exceeded (cap is ignored while counting) */
} qn_arena;
void *qn_arena_take(qn_arena *a, size_t n, size_t item); /* n * item bytes; while counting returns NULL */
#endif
