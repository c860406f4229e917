/* calibration_text.c - rows of text for calibration (calibrate.h). */
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sort.h"
#include "quant/calibrate.h"

typedef struct span {
  const char *p;
  size_t n;
} span;
typedef struct line_reader {
  const char *p, *end;
} line_reader;

/* The next line that is not empty, without its end; 0: none. */
static int next_line(line_reader *r, span *out) {
  while (r->p < r->end) {
    const char *nl = memchr(r->p, '\n', (size_t)(r->end - r->p)), *stop = nl ? nl : r->end;
    *out = (span){r->p, (size_t)(stop - r->p)};
    r->p = nl ? nl + 1 : r->end;
    if (out->n && out->p[out->n - 1] == '\r') out->n--;
    if (out->n) return 1;
  }
  return 0;
}

/* Field i of a line; n 0 past the last. */
static span field_of(span line, uint32_t i) {
  for (;; i--) {
    const char *tab = line.n ? memchr(line.p, '\t', line.n) : NULL;
    const span f = {line.p, tab ? (size_t)(tab - line.p) : line.n};
    if (i == 0) return f;
    if (!tab) return (span){line.p, 0};
    line = (span){tab + 1, line.n - f.n - 1};
  }
}

#define COLUMNS_MOST 256u
static int column_named(span header, const char *name) {
  for (uint32_t i = 0; i < COLUMNS_MOST; i++) {
    const span f = field_of(header, i);
    if (f.n == strlen(name) && !memcmp(f.p, name, f.n)) return (int)i;
  }
  return -1;
}

/* Columns of text: the second is -1 where there is one alone. */
typedef struct columns {
  int first, second;
} columns;

static int ends_in(const char *path, const char *with) {
  const size_t n = strlen(path), m = strlen(with);
  return n >= m && !strcmp(path + n - m, with);
}
static int is_tsv(const char *path) { return ends_in(path, ".tsv"); }

/* The columns that a header names; first -1: the line is no header. A word alone is one in a .tsv file only. */
static columns columns_of(span header, int tsv) {
  static const char *const known[][2] = {{"sentence1", "sentence2"},
                                         {"premise", "hypothesis"},
                                         {"question", "sentence"},
                                         {"question1", "question2"},
                                         {"question", "context"},
                                         {"sentence", NULL},
                                         {"text", NULL}};
  if (!tsv && !memchr(header.p, '\t', header.n)) return (columns){-1, -1};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    const int a = column_named(header, known[i][0]), b = known[i][1] ? column_named(header, known[i][1]) : -1;
    if (a >= 0 && (b >= 0 || !known[i][1])) return (columns){a, b};
  }
  return (columns){-1, -1};
}

static quern_status add_text(qn_calibration_text *t, qn_env *env, span text) {
  QN_TRY(qn_buffer_append(env, &t->utf8, text.p, text.n));
  const int64_t end = (int64_t)t->utf8.bytes;
  QN_TRY(qn_buffer_append(env, &t->offsets, &end, sizeof end));
  t->texts++;
  return QUERN_OK;
}

typedef struct source {
  const char *path;
  columns c;
  int jsonl;        /* lines are objects whose "text" is taken */
  line_reader body; /* behind the header */
} source;

static quern_status take_object(qn_calibration_text *t, qn_env *env, const source *s, span line, size_t number) {
  qn_json j;
  QN_TRY(qn_json_parse(&j, env, s->path, line.p, line.n));
  const uint32_t at = j.nodes[0].kind == QN_JSON_OBJECT ? qn_json_get(&j, 0, "text") : 0;
  const int is_text = at && j.nodes[at].kind == QN_JSON_STRING && j.nodes[at].bytes;
  const quern_status status = is_text ? add_text(t, env, (span){j.nodes[at].string, j.nodes[at].bytes})
                                      : qn_fail(&env->error, QUERN_E_SOURCE, "%s: row %zu is no object with a \"text\"",
                                                s->path, number);
  qn_json_free(env, &j);
  return status;
}

static quern_status take_row(qn_calibration_text *t, qn_env *env, const source *s, span line, size_t number) {
  if (s->jsonl) return take_object(t, env, s, line, number);
  const span a = s->c.first >= 0 ? field_of(line, (uint32_t)s->c.first) : field_of(line, 0);
  const span b = s->c.second >= 0 ? field_of(line, (uint32_t)s->c.second) : (span){NULL, 0};
  if (!a.n || (t->pairs && !b.n))
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: row %zu has %s", s->path, number,
                   t->pairs ? "not two texts, as the rows before: all are pairs or none is" : "no text");
  QN_TRY(add_text(t, env, a));
  return t->pairs ? add_text(t, env, b) : QUERN_OK;
}

/* A .tsv file whose first line names no columns of text: with more than two of them it is not taken for text. */
static quern_status check_unnamed(qn_calibration_text *t, qn_env *env, const char *path, span line) {
  if (!is_tsv(path)) return QUERN_OK;
  t->unnamed = 1;
  if (!field_of(line, 2).n) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_SOURCE, "%s: its first line names no columns of text (" QN_TEXT_COLUMNS "): %.*s",
                 path, (int)qn_min_size(line.n, 100), line.p);
}

/* By the first line, behind which *behind is; in a .jsonl file it is a row like all others. */
static quern_status find_columns(qn_calibration_text *t, qn_env *env, source *s, span line, const line_reader *behind) {
  s->c = (columns){-1, -1};
  s->body.p = line.p; /* behind a byte order mark */
  if (s->jsonl) return QUERN_OK;
  s->c = columns_of(line, is_tsv(s->path));
  if (s->c.first >= 0) {
    s->body = *behind;
  } else {
    QN_TRY(check_unnamed(t, env, s->path, line));
    s->c.second = memchr(line.p, '\t', line.n) ? 1 : -1;
  }
  t->pairs = s->c.second >= 0;
  return QUERN_OK;
}

static int by_row(const void *a, const void *b) {
  const qn_ranked_row *x = a, *y = b;
  return x->row < y->row ? -1 : x->row > y->row;
}
static int by_measure(const void *a, const void *b) {
  const qn_ranked_row *x = a, *y = b;
  return x->measure > y->measure ? -1 : x->measure < y->measure ? 1 : by_row(a, b);
}

void qn_rank_rows(qn_ranked_row *rows, size_t n, size_t best) {
  qn_sort_items(rows, n, sizeof *rows, by_measure);
  qn_sort_items(rows, best, sizeof *rows, by_row);
}

/* Row i of those left is taken with the chance that as many are taken as are still wanted. */
static quern_status take_drawn(qn_calibration_text *t, qn_env *env, const source *s, size_t wanted, uint32_t seed) {
  line_reader r = s->body;
  span line;
  for (size_t i = 0; wanted && next_line(&r, &line); i++) {
    if (qn_draw(seed, i) % (t->rows_found - i) >= wanted) continue;
    QN_TRY(take_row(t, env, s, line, i + 1));
    wanted--;
  }
  return QUERN_OK;
}

static quern_status take_longest(qn_calibration_text *t, qn_env *env, const source *s, size_t wanted) {
  const size_t bytes = t->rows_found * sizeof(qn_ranked_row);
  line_reader r = s->body;
  span line;
  void *p = NULL;
  size_t next = 0;
  quern_status status = QUERN_OK;
  QN_TRY(qn_alloc_array(env, &p, t->rows_found, sizeof(qn_ranked_row), "lengths of calibration text"));
  qn_ranked_row *rows = p;
  for (size_t i = 0; next_line(&r, &line); i++) rows[i] = (qn_ranked_row){(double)line.n, i};
  qn_rank_rows(rows, t->rows_found, wanted);
  r = s->body;
  for (size_t i = 0; status == QUERN_OK && next < wanted && next_line(&r, &line); i++) {
    if (rows[next].row != i) continue;
    status = take_row(t, env, s, line, i + 1);
    next++;
  }
  qn_free(env, p, bytes);
  return status;
}

/* seed: NULL, the longest are taken. */
static quern_status read_rows(qn_calibration_text *t, qn_env *env, const char *path, const qn_map *map, uint32_t rows,
                              const uint32_t *seed) {
  source s = {.path = path,
              .jsonl = ends_in(path, ".jsonl"),
              .body = {(const char *)map->data, (const char *)map->data + map->bytes}};
  span line;
  const int64_t zero = 0;
  line_reader r = s.body;
  if (!next_line(&r, &line))
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s is empty: calibration needs texts, one a line", path);
  if (line.n >= 3 && !memcmp(line.p, "\xef\xbb\xbf", 3)) line.p += 3, line.n -= 3; /* a byte order mark */
  QN_TRY(find_columns(t, env, &s, line, &r));
  for (r = s.body; next_line(&r, &line);) t->rows_found++;
  if (!t->rows_found) return qn_fail(&env->error, QUERN_E_SOURCE, "%s has a header and no rows", path);
  QN_TRY(qn_buffer_append(env, &t->offsets, &zero, sizeof zero));
  const size_t wanted = qn_min_size(rows, t->rows_found);
  return seed ? take_drawn(t, env, &s, wanted, *seed) : take_longest(t, env, &s, wanted);
}

static quern_status read_file(qn_calibration_text *t, qn_env *env, const char *path, uint32_t rows,
                              const uint32_t *seed) {
  qn_map map;
  *t = (qn_calibration_text){0};
  QN_TRY(qn_map_open(&map, env, path, 0));
  const quern_status status = read_rows(t, env, path, &map, rows, seed);
  qn_map_close(&map);
  return status;
}

quern_status qn_calibration_read(qn_calibration_text *t, qn_env *env, const char *path, uint32_t rows, uint32_t seed) {
  return read_file(t, env, path, rows, &seed);
}
quern_status qn_calibration_longest(qn_calibration_text *t, qn_env *env, const char *path, uint32_t rows) {
  return read_file(t, env, path, rows, NULL);
}

void qn_calibration_free(qn_env *env, qn_calibration_text *t) {
  qn_buffer_free(env, &t->utf8);
  qn_buffer_free(env, &t->offsets);
}
