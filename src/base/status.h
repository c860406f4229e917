/* status.h - how everything in src fails: a status returned, a message kept.
 * A qn_error holds the message of the last failure of one object (context, session, quantize job). Setting and reading
 * it are guarded by a lock of its own, so that one context can serve several threads. */
#ifndef QN_STATUS_H
#define QN_STATUS_H
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include "quern.h"

#define QN_ERROR_BYTES 512

typedef struct qn_error {
  atomic_flag lock;
  char text[QN_ERROR_BYTES];
} qn_error;

#define QN_PRINTF(f, a) __attribute__((format(printf, f, a)))

void qn_error_init(qn_error *e);
/* Formats the message (qn_format's subset) into e, which may be NULL, and returns s: `return qn_fail(e, QUERN_E_IO,
 * ...)`. */
quern_status qn_fail(qn_error *e, quern_status s, const char *fmt, ...) QN_PRINTF(3, 4);
void qn_error_copy(const qn_error *e, char *buf, size_t cap);
/* The message of `from` to `to` as well, where s is a failure; returns s. */
quern_status qn_error_pass(qn_error *to, const qn_error *from, quern_status s);
/* Text of an errno value, constant, thread-safe, without the locale: the system's words, begun small, since they follow a
   name: "no such file or directory". */
const char *qn_errno_text(int err);

/* A locale-free subset of snprintf: %s %.*s %c %d %u %x %zu %lld %llu %% (and %g-like %e is not there: no floats).
   Always terminates (cap > 0); returns the length it would have had. */
size_t qn_format(char *buf, size_t cap, const char *fmt, ...) QN_PRINTF(3, 4);
size_t qn_vformat(char *buf, size_t cap, const char *fmt, va_list ap);

#define QN_TRY(call)                                                                                                   \
  do {                                                                                                                 \
    quern_status qn_try_ = (call);                                                                                     \
    if (qn_try_ != QUERN_OK) return qn_try_;                                                                           \
  } while (0)
/* The same where something must be released first: the function has `quern_status status` and a label `cleanup`. */
#define QN_TRY_CLEANUP(call)                                                                                           \
  do {                                                                                                                 \
    if ((status = (call)) != QUERN_OK) goto cleanup;                                                                   \
  } while (0)
#endif
