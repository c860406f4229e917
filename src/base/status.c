/* status.c - messages: a locale-free formatter, the errors kept by objects, texts of errno values.
 * Not a general printf: no floats, widths or flags. Thread rule: everything here may be called from any thread; a
 * qn_error is guarded by its own lock, held only while a finished message is copied. */
#include "base/status.h"
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

/* ---- formatting -------------------------------------------------------------------------------------------------- */

typedef struct status_sink {
  char *buf;
  size_t cap, len; /* len counts on past cap */
} status_sink;

static void status_put(status_sink *s, const char *text, size_t n) {
  if (s->len < s->cap) {
    size_t room = s->cap - s->len;
    memcpy(s->buf + s->len, text, n < room ? n : room);
  }
  s->len += n;
}

static void status_put_unsigned(status_sink *s, unsigned long long v, unsigned base, int negative) {
  char digits[24];
  size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[v % base];
    v /= base;
  } while (v);
  if (negative) digits[--at] = '-';
  status_put(s, digits + at, sizeof digits - at);
}

static void status_put_signed(status_sink *s, long long v) {
  status_put_unsigned(s, v < 0 ? 0ull - (unsigned long long)v : (unsigned long long)v, 10, v < 0);
}

/* One conversion; *fmt stands behind the '%' and is moved past it. args is a pointer so that it advances for the caller
 * too (a va_list that is a parameter may be an array). */
typedef struct status_args {
  va_list list;
} status_args;

static void status_convert(status_sink *s, const char **fmt, status_args *args) {
  const char *f = *fmt;
  size_t limit = SIZE_MAX;
  int longs = 0, size = 0;
  if (f[0] == '.' && f[1] == '*') {
    int n = va_arg(args->list, int);
    limit = n < 0 ? 0 : (size_t)n;
    f += 2;
  }
  for (; *f == 'l' || *f == 'z'; f++) {
    if (*f == 'l')
      longs++;
    else
      size = 1;
  }
  switch (*f) {
    case '%':
      status_put(s, "%", 1);
      break;
    case 'c': {
      char c = (char)va_arg(args->list, int);
      status_put(s, &c, 1);
      break;
    }
    case 's': {
      const char *text = va_arg(args->list, const char *);
      if (!text) text = "(null)";
      status_put(s, text, limit == SIZE_MAX ? strlen(text) : strnlen(text, limit));
      break;
    }
    case 'd':
      if (size)
        status_put_signed(s, (long long)va_arg(args->list, ptrdiff_t));
      else if (longs == 2)
        status_put_signed(s, va_arg(args->list, long long));
      else if (longs == 1)
        status_put_signed(s, va_arg(args->list, long));
      else
        status_put_signed(s, va_arg(args->list, int));
      break;
    case 'u':
    case 'x': {
      unsigned base = *f == 'x' ? 16 : 10;
      if (size)
        status_put_unsigned(s, va_arg(args->list, size_t), base, 0);
      else if (longs == 2)
        status_put_unsigned(s, va_arg(args->list, unsigned long long), base, 0);
      else if (longs == 1)
        status_put_unsigned(s, va_arg(args->list, unsigned long), base, 0);
      else
        status_put_unsigned(s, va_arg(args->list, unsigned), base, 0);
      break;
    }
    default:
      assert(0 && "a conversion that qn_format does not have");
      *fmt = f + (*f != 0);
      return;
  }
  *fmt = f + 1;
}

size_t qn_vformat(char *buf, size_t cap, const char *fmt, va_list ap) {
  status_sink s = {buf, cap, 0};
  status_args args;
  va_copy(args.list, ap);
  while (*fmt) {
    const char *percent = strchr(fmt, '%');
    size_t plain = percent ? (size_t)(percent - fmt) : strlen(fmt);
    status_put(&s, fmt, plain);
    fmt += plain;
    if (percent) {
      fmt++;
      status_convert(&s, &fmt, &args);
    }
  }
  va_end(args.list);
  if (cap) buf[s.len < cap ? s.len : cap - 1] = 0;
  return s.len;
}

size_t qn_format(char *buf, size_t cap, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  size_t n = qn_vformat(buf, cap, fmt, ap);
  va_end(ap);
  return n;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

#define STATUS_TRIES 100000

/* Held for a copy of a few hundred bytes. The bound is for a forked child whose parent had it at the fork: it goes
 * without a message rather than hang. */
static int status_lock(const qn_error *e) {
  for (int i = 0; i < STATUS_TRIES; i++) {
    if (!atomic_flag_test_and_set_explicit((atomic_flag *)&e->lock, memory_order_acquire)) return 1;
    sched_yield();
  }
  return 0;
}

static void status_unlock(const qn_error *e) {
  atomic_flag_clear_explicit((atomic_flag *)&e->lock, memory_order_release);
}

void qn_error_init(qn_error *e) {
  atomic_flag_clear(&e->lock);
  e->text[0] = 0;
}

quern_status qn_fail(qn_error *e, quern_status s, const char *fmt, ...) {
  if (!e) return s;
  /* Formatted before the lock is taken: an argument may be e->text itself. */
  char text[QN_ERROR_BYTES];
  va_list ap;
  va_start(ap, fmt);
  qn_vformat(text, sizeof text, fmt, ap);
  va_end(ap);
  if (!status_lock(e)) return s;
  memcpy(e->text, text, strlen(text) + 1);
  status_unlock(e);
  return s;
}

void qn_error_copy(const qn_error *e, char *buf, size_t cap) {
  if (!cap) return;
  buf[0] = 0;
  if (!status_lock(e)) return;
  size_t n = strlen(e->text);
  if (n > cap - 1) n = cap - 1;
  memcpy(buf, e->text, n);
  status_unlock(e);
  buf[n] = 0;
}

quern_status qn_error_pass(qn_error *to, const qn_error *from, quern_status s) {
  char text[QN_ERROR_BYTES];
  if (s == QUERN_OK) return s;
  qn_error_copy(from, text, sizeof text);
  return qn_fail(to, s, "%s", text);
}

const char *qn_errno_text(int err) {
  switch (err) {
    case EPERM:
      return "operation not permitted";
    case ENOENT:
      return "no such file or directory";
    case EINTR:
      return "interrupted system call";
    case EIO:
      return "input/output error";
    case ENXIO:
      return "no such device or address";
    case E2BIG:
      return "argument list too long";
    case EBADF:
      return "bad file descriptor";
    case EAGAIN:
      return "resource temporarily unavailable";
    case ENOMEM:
      return "cannot allocate memory";
    case EACCES:
      return "permission denied";
    case EFAULT:
      return "bad address";
    case EBUSY:
      return "device or resource busy";
    case EEXIST:
      return "file exists";
    case EXDEV:
      return "invalid cross-device link";
    case ENODEV:
      return "no such device";
    case ENOTDIR:
      return "not a directory";
    case EISDIR:
      return "is a directory";
    case EINVAL:
      return "invalid argument";
    case ENFILE:
      return "too many open files in system";
    case EMFILE:
      return "too many open files";
    case ETXTBSY:
      return "text file busy";
    case EFBIG:
      return "file too large";
    case ENOSPC:
      return "no space left on device";
    case ESPIPE:
      return "illegal seek";
    case EROFS:
      return "read-only file system";
    case EMLINK:
      return "too many links";
    case EPIPE:
      return "broken pipe";
    case ENAMETOOLONG:
      return "file name too long";
    case ENOSYS:
      return "function not implemented";
    case ELOOP:
      return "too many levels of symbolic links";
    case EOVERFLOW:
      return "value too large for defined data type";
    case ENOTSUP:
      return "operation not supported";
    case ETIMEDOUT:
      return "connection timed out";
    case ESTALE:
      return "stale file handle";
    case EDQUOT:
      return "disk quota exceeded";
    default:
      return "system error";
  }
}
