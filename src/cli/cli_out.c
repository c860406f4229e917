/* cli_out.c - results: a buffered writer to standard output or to a file that appears when it is whole; JSON. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

/* Name of the temporary file in being, for the signal handler; one at a time. */
static char *volatile temporary_in_being;

void qn_cli_out_discard_temporary(void) {
  if (temporary_in_being) unlink(temporary_in_being);
}

static void write_all(qn_cli_out *o, const char *p, size_t n) {
  while (n && !o->error) {
    ssize_t done = write(o->fd, p, n);
    if (done < 0) {
      if (errno == EINTR && !qn_cli_interrupted()) continue;
      o->error = errno;
      return;
    }
    p += done;
    n -= (size_t)done;
  }
}

void qn_cli_out_flush(qn_cli_out *o) {
  write_all(o, o->buffer, o->used);
  o->used = 0;
}

void qn_cli_out_bytes(qn_cli_out *o, const void *p, size_t n) {
  if (n > sizeof o->buffer - o->used) {
    qn_cli_out_flush(o);
    if (n > sizeof o->buffer) {
      write_all(o, p, n);
      return;
    }
  }
  memcpy(o->buffer + o->used, p, n);
  o->used += n;
}

void qn_cli_out_text(qn_cli_out *o, const char *s) { qn_cli_out_bytes(o, s, strlen(s)); }

/* Length of the well-formed UTF-8 sequence at p, or 0; *bad: length of the maximal malformed subpart then. */
static size_t utf8_sequence(const unsigned char *p, size_t n, size_t *bad) {
  unsigned lead = p[0], low = 0x80, high = 0xbf;
  size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  *bad = 1;
  if (length < 2) return length;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; i++) {
    if (i >= n || p[i] < low || p[i] > high) return 0;
    low = 0x80;
    high = 0xbf;
    *bad = i + 1;
  }
  return length;
}

/* Does the well-formed sequence at p control a terminal: C0, DEL, C1? */
static int is_control(const unsigned char *p) { return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0); }

void qn_cli_out_shown(qn_cli_out *o, const char *text, size_t n) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *p = (const unsigned char *)text;
  if (!o->terminal) {
    qn_cli_out_bytes(o, text, n);
    return;
  }
  for (size_t i = 0; i < n;) {
    size_t bad, length = utf8_sequence(p + i, n - i, &bad);
    const int as_it_is = length && (!is_control(p + i) || p[i] == '\t' || p[i] == '\n');
    if (!length) length = bad;
    if (as_it_is) qn_cli_out_bytes(o, p + i, length);
    for (size_t k = i; k < i + length && !as_it_is; k++)
      qn_cli_out_bytes(o, (const char[]){'\\', 'x', digits[p[k] >> 4], digits[p[k] & 15]}, 4);
    i += length;
  }
}

void qn_cli_out_format(qn_cli_out *o, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n > 0) qn_cli_out_shown(o, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void qn_cli_out_int(qn_cli_out *o, int64_t v) {
  char digits[20];
  size_t n = sizeof digits;
  uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  do digits[--n] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (v < 0) qn_cli_out_bytes(o, "-", 1);
  qn_cli_out_bytes(o, digits + n, sizeof digits - n);
}

void qn_cli_out_float(qn_cli_out *o, float v) {
  char text[CLI_FLOAT_CHARS];
  qn_cli_out_bytes(o, text, qn_cli_float_text(v, text));
}

void qn_cli_out_double(qn_cli_out *o, double v) {
  char text[32];
  qn_cli_out_bytes(o, text, qn_cli_double_text(v, text));
}

/* Is something at path that a rename must not replace: a device, a pipe, a terminal? */
static int is_special(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int qn_cli_out_open(qn_cli_state *c, qn_cli_out **out, const char *path) {
  qn_cli_out *o = calloc(1, sizeof *o);
  size_t cap;
  if (!o) return qn_cli_fail(c, CLI_FAILED, "out of memory");
  o->fd = -1;
  /* Through a link the file that it names is replaced, not the link. */
  o->path = realpath(path, NULL);
  if (!o->path) o->path = strdup(path);
  if (!o->path) goto memory;
  if (is_special(o->path)) {
    o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
  } else {
    cap = strlen(o->path) + 32;
    o->temporary = malloc(cap);
    if (!o->temporary) goto memory;
    snprintf(o->temporary, cap, "%s.tmp.%ld", o->path, (long)getpid());
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  if (o->fd < 0) {
    int code = qn_cli_fail(c, CLI_FAILED, "cannot write %s: %s", path, qn_cli_reason(c, errno));
    free(o->temporary);
    free(o->path);
    free(o);
    return code;
  }
  temporary_in_being = o->temporary;
  *out = o;
  return CLI_DONE;
memory:
  free(o->path);
  free(o);
  return qn_cli_fail(c, CLI_FAILED, "out of memory");
}

void qn_cli_out_patch(qn_cli_out *o, uint64_t offset, const void *p, size_t n) {
  qn_cli_out_flush(o);
  if (o->error) return;
  if (lseek(o->fd, (off_t)offset, SEEK_SET) < 0) {
    o->error = errno;
    return;
  }
  write_all(o, p, n);
  if (!o->error && lseek(o->fd, 0, SEEK_END) < 0) o->error = errno;
}

int qn_cli_out_close(qn_cli_state *c, qn_cli_out *o, int code) {
  if (!o) return code;
  const char *name = o->path ? o->path : "standard output";
  qn_cli_out_flush(o);
  if (o->temporary && !code && !o->error && fsync(o->fd) != 0) o->error = errno;
  if (close(o->fd) != 0 && !o->error) o->error = errno;
  if (!code && o->error) {
    code = qn_cli_interrupted();
    /* A reader that has seen enough is no failure to speak of: end as quietly as SIGPIPE would. */
    if (!code)
      code = o->error == EPIPE ? 128 + 13
                               : qn_cli_fail(c, CLI_FAILED, "cannot write %s: %s", name, qn_cli_reason(c, o->error));
  }
  if (o->temporary) {
    if (!code && rename(o->temporary, o->path) != 0) {
      code = qn_cli_fail(c, CLI_FAILED, "cannot rename %s to %s: %s", o->temporary, o->path, qn_cli_reason(c, errno));
    }
    if (code) unlink(o->temporary);
    temporary_in_being = NULL;
  }
  if (o->path) {
    free(o->temporary);
    free(o->path);
    free(o);
  }
  return code;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void quoted(qn_cli_out *o, const char *text, size_t n) {
  const unsigned char *p = (const unsigned char *)text;
  qn_cli_out_bytes(o, "\"", 1);
  for (size_t i = 0; i < n;) {
    size_t bad, length = utf8_sequence(p + i, n - i, &bad);
    if (length == 0) {
      qn_cli_out_text(o, "\\ufffd");
      length = bad;
    } else if (p[i] == '"' || p[i] == '\\') {
      qn_cli_out_format(o, "\\%c", p[i]);
    } else if (is_control(p + i)) {
      qn_cli_out_format(o, "\\u%04x", p[i + length - 1]);
    } else {
      qn_cli_out_bytes(o, p + i, length);
    }
    i += length;
  }
  qn_cli_out_bytes(o, "\"", 1);
}

static void start_value(qn_cli_json *j, const char *key) {
  if (j->comma) qn_cli_out_bytes(j->out, ",", 1);
  j->comma = 1;
  if (key) {
    quoted(j->out, key, strlen(key));
    qn_cli_out_bytes(j->out, ":", 1);
  }
}

void qn_cli_json_open(qn_cli_json *j, const char *key, char bracket) {
  start_value(j, key);
  qn_cli_out_bytes(j->out, &bracket, 1);
  j->comma = 0;
}

void qn_cli_json_close(qn_cli_json *j, char bracket) {
  qn_cli_out_bytes(j->out, &bracket, 1);
  j->comma = 1;
}

void qn_cli_json_bytes(qn_cli_json *j, const char *key, const char *p, size_t n) {
  start_value(j, key);
  quoted(j->out, p, n);
}

void qn_cli_json_text(qn_cli_json *j, const char *key, const char *value) {
  qn_cli_json_bytes(j, key, value, strlen(value));
}

void qn_cli_json_int(qn_cli_json *j, const char *key, uint64_t value) {
  start_value(j, key);
  qn_cli_out_format(j->out, "%llu", (unsigned long long)value);
}

void qn_cli_json_double(qn_cli_json *j, const char *key, double value) {
  start_value(j, key);
  qn_cli_out_double(j->out, value);
}

void qn_cli_json_float(qn_cli_json *j, const char *key, float value) {
  start_value(j, key);
  qn_cli_out_float(j->out, value);
}

void qn_cli_json_bool(qn_cli_json *j, const char *key, int value) {
  start_value(j, key);
  qn_cli_out_text(j->out, value ? "true" : "false");
}

void qn_cli_json_floats(qn_cli_json *j, const char *key, const float *x, size_t n) {
  qn_cli_json_open(j, key, '[');
  for (size_t i = 0; i < n; i++) {
    if (i) qn_cli_out_bytes(j->out, ",", 1);
    qn_cli_out_float(j->out, x[i]);
  }
  qn_cli_json_close(j, ']');
}

void qn_cli_json_end(qn_cli_json *j) {
  qn_cli_out_bytes(j->out, "\n", 1);
  j->comma = 0;
}
