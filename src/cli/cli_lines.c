/* cli_lines.c - texts in: lines of a file or standard input, in chunks; memory is bounded by the longest line. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"

#define CHUNK ((size_t)1 << 16)

int qn_cli_grow(qn_cli_state *c, void *p, size_t n, size_t item) {
  size_t bytes;
  void *old, *grown;
  memcpy(&old, p, sizeof old);
  if (__builtin_mul_overflow(n, item, &bytes)) return qn_cli_fail(c, CLI_FAILED, "out of memory");
  grown = realloc(old, bytes ? bytes : 1);
  if (!grown) return qn_cli_fail(c, CLI_FAILED, "out of memory: %zu bytes", bytes);
  memcpy(p, &grown, sizeof grown); /* the caller's pointer has it now */
  // cppcheck-suppress memleak
  return CLI_DONE;
}

int qn_cli_lines_open(qn_cli_lines *l, qn_cli_state *c, const char *path) {
  struct stat st;
  memset(l, 0, sizeof *l);
  l->c = c;
  l->path = path && strcmp(path, "-") != 0 ? path : "standard input";
  l->fd = l->path == path ? open(path, O_RDONLY | O_CLOEXEC) : 0;
  if (l->fd < 0) return qn_cli_fail(c, CLI_FAILED, "cannot open %s: %s", path, qn_cli_reason(c, errno));
  if (fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode)) {
    l->regular = 1;
    l->total = (uint64_t)st.st_size;
  }
  return CLI_DONE;
}

void qn_cli_lines_close(qn_cli_lines *l) {
  if (l->fd > 0) close(l->fd);
  free(l->buffer);
  l->buffer = NULL;
  l->fd = 0;
}

/* Reads one chunk behind what is buffered. */
static int fill(qn_cli_lines *l) {
  if (l->start) {
    memmove(l->buffer, l->buffer + l->start, l->end - l->start);
    l->scanned -= l->start;
    l->end -= l->start;
    l->start = 0;
  }
  if (l->cap - l->end < CHUNK) {
    size_t cap = l->cap * 2 > l->end + CHUNK ? l->cap * 2 : l->end + CHUNK;
    uint64_t limit = l->c->common.limit_bytes;
    if (limit && cap > limit && l->end > CHUNK) {
      return qn_cli_fail(l->c, CLI_FAILED, "line %llu of %s is too long for --limit-bytes %llu",
                         (unsigned long long)l->number + 1, l->path, (unsigned long long)limit);
    }
    int code = qn_cli_grow(l->c, &l->buffer, cap, 1);
    if (code) return code;
    l->cap = cap;
  }
  for (;;) {
    ssize_t n = read(l->fd, l->buffer + l->end, CHUNK);
    if (qn_cli_interrupted()) return qn_cli_interrupted();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return qn_cli_fail(l->c, CLI_FAILED, "cannot read %s: %s", l->path, qn_cli_reason(l->c, errno));
    if (n == 0) l->end_of_file = 1;
    l->end += (size_t)n;
    l->done += (uint64_t)n;
    return CLI_DONE;
  }
}

/* The newline that ends the buffered line, or NULL. Bytes are looked at once. */
static char *find_newline(qn_cli_lines *l) {
  char *newline = l->end > l->scanned ? memchr(l->buffer + l->scanned, '\n', l->end - l->scanned) : NULL;
  l->scanned = newline ? (size_t)(newline - l->buffer) : l->end;
  return newline;
}

int qn_cli_lines_ready(qn_cli_lines *l) { return l->regular || l->end_of_file || find_newline(l) != NULL; }

int qn_cli_lines_next(qn_cli_lines *l, const char **line, size_t *n) {
  char *newline;
  while (!(newline = find_newline(l)) && !l->end_of_file) {
    int code = fill(l);
    if (code) return code;
  }
  if (!newline && l->start == l->end) {
    *line = NULL;
    *n = 0;
    return CLI_DONE;
  }
  size_t end = newline ? (size_t)(newline - l->buffer) : l->end;
  *line = l->buffer + l->start;
  *n = end - l->start;
  if (*n && (*line)[*n - 1] == '\r') --*n;
  l->start = l->scanned = newline ? end + 1 : end;
  l->number++;
  return CLI_DONE;
}

int qn_cli_lines_rest(qn_cli_lines *l, const char **text, size_t *n) {
  while (!l->end_of_file) {
    int code = fill(l);
    if (code) return code;
  }
  *text = l->buffer + l->start;
  *n = l->end - l->start;
  l->start = l->scanned = l->end;
  return CLI_DONE;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

void qn_cli_batch_clear(qn_cli_batch *b) { b->texts = b->bytes = 0; }

void qn_cli_batch_free(qn_cli_batch *b) {
  free(b->utf8);
  free(b->offsets);
  memset(b, 0, sizeof *b);
}

int qn_cli_batch_add(qn_cli_state *c, qn_cli_batch *b, const char *text, size_t n) {
  int code;
  if (b->texts + 2 > b->texts_cap) {
    size_t cap = b->texts_cap ? b->texts_cap * 2 : 64;
    if ((code = qn_cli_grow(c, &b->offsets, cap, sizeof *b->offsets)) != 0) return code;
    b->texts_cap = cap;
  }
  if (n > b->utf8_cap - b->bytes || !b->utf8) {
    size_t cap = (b->bytes + n) * 2 > 4096 ? (b->bytes + n) * 2 : 4096;
    if ((code = qn_cli_grow(c, &b->utf8, cap, 1)) != 0) return code;
    b->utf8_cap = cap;
  }
  if (n) memcpy(b->utf8 + b->bytes, text, n);
  b->offsets[b->texts++] = (int64_t)b->bytes;
  b->bytes += n;
  b->offsets[b->texts] = (int64_t)b->bytes;
  return CLI_DONE;
}

int qn_cli_batch_add_pair(qn_cli_state *c, qn_cli_batch *b, const char *line, size_t n, int *pair) {
  const char *tab = n ? memchr(line, '\t', n) : NULL;
  int code;
  *pair = tab != NULL;
  if (!tab) return qn_cli_batch_add(c, b, line, n);
  size_t first = (size_t)(tab - line);
  code = qn_cli_batch_add(c, b, line, first);
  return code ? code : qn_cli_batch_add(c, b, tab + 1, n - first - 1);
}

int qn_cli_batch_read(qn_cli_batch *b, qn_cli_lines *l) {
  const char *line;
  size_t n;
  qn_cli_batch_clear(b);
  while (b->texts < CLI_BATCH_TEXTS && b->bytes < CLI_BATCH_BYTES && (b->texts == 0 || qn_cli_lines_ready(l))) {
    int code = qn_cli_lines_next(l, &line, &n);
    if (code) return code;
    if (!line) break;
    if ((code = qn_cli_batch_add(l->c, b, line, n)) != 0) return code;
  }
  return CLI_DONE;
}
