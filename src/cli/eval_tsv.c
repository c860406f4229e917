/* eval_tsv.c - rows of tab-separated files with a header line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eval.h"

/* Splits a line at its tabs; returns the number of fields, at most TSV_MAX_COLUMNS. */
static uint32_t split(const char *line, size_t n, qn_tsv_field fields[TSV_MAX_COLUMNS]) {
  uint32_t count = 0;
  while (count < TSV_MAX_COLUMNS) {
    const char *tab = n ? memchr(line, '\t', n) : NULL;
    size_t bytes = tab ? (size_t)(tab - line) : n;
    fields[count++] = (qn_tsv_field){line, bytes};
    if (!tab) break;
    line = tab + 1;
    n -= bytes + 1;
  }
  return count;
}

int qn_tsv_open(qn_tsv *t, qn_cli_state *c, const char *path) {
  const char *line;
  size_t n;
  memset(t, 0, sizeof *t);
  int code = qn_cli_lines_open(&t->lines, c, path);
  if (!code) code = qn_cli_lines_next(&t->lines, &line, &n);
  if (code) return code;
  if (!line) return qn_cli_fail(c, CLI_FAILED, "%s is empty; its first line should name the columns", t->lines.path);
  if (n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) line += 3, n -= 3;
  if ((code = qn_cli_grow(c, &t->header, n + 1, 1)) != 0) return code;
  memcpy(t->header, line, n);
  t->header[n] = 0;
  t->count = split(t->header, n, t->columns);
  return CLI_DONE;
}

void qn_tsv_close(qn_tsv *t) {
  qn_cli_lines_close(&t->lines);
  free(t->header);
  t->header = NULL;
}

int qn_tsv_column(const qn_tsv *t, const char *name) {
  for (uint32_t i = 0; i < t->count; i++) {
    if (t->columns[i].bytes == strlen(name) && memcmp(t->columns[i].text, name, t->columns[i].bytes) == 0) {
      return (int)i;
    }
  }
  return -1;
}

int qn_tsv_fail_columns(qn_tsv *t, const char *wanted) {
  char have[512] = "";
  for (uint32_t i = 0; i < t->count; i++) {
    size_t used = strlen(have);
    snprintf(have + used, sizeof have - used, "%s%.*s", i ? ", " : "", (int)t->columns[i].bytes, t->columns[i].text);
  }
  return qn_cli_fail(t->lines.c, CLI_FAILED, "%s lacks %s; its first line names: %s", t->lines.path, wanted, have);
}

int qn_tsv_next(qn_tsv *t, int *more) {
  const char *line;
  size_t n;
  do {
    int code = qn_cli_lines_next(&t->lines, &line, &n);
    if (code) return code;
  } while (line && n == 0);
  *more = line != NULL;
  if (!line) return CLI_DONE;
  uint32_t count = split(line, n, t->fields);
  if (count >= t->count) return CLI_DONE;
  return qn_cli_fail(t->lines.c, CLI_FAILED, "line %llu of %s has %u columns, its first line %u",
                     (unsigned long long)t->lines.number, t->lines.path, (unsigned)count, (unsigned)t->count);
}

int qn_tsv_number(qn_tsv *t, int column, double *out) {
  const qn_tsv_field *f = &t->fields[column];
  char text[64] = "", *end = text;
  double v = 0;
  if (f->bytes > 0 && f->bytes < sizeof text) {
    memcpy(text, f->text, f->bytes);
    text[f->bytes] = 0;
    v = strtod(text, &end);
  }
  if (end == text || *end || !isfinite(v)) {
    return qn_cli_fail(t->lines.c, CLI_FAILED, "line %llu of %s: '%.*s' in column %.*s is no number",
                       (unsigned long long)t->lines.number, t->lines.path, (int)(f->bytes < 40 ? f->bytes : 40),
                       f->text, (int)t->columns[column].bytes, t->columns[column].text);
  }
  *out = v;
  return CLI_DONE;
}
