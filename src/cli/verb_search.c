/* verb_search.c - `quern search`: the lines of a file that are nearest in meaning to a query. Memory is bounded by the
 * batch and the best lines kept. */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

typedef struct values {
  uint32_t k;
} values;

typedef struct hit {
  float score;
  uint64_t line;
  char *text;
  size_t bytes;
} hit;

/* The best so far, best first. */
typedef struct ranking {
  hit *hits;
  size_t count, cap, k;
} ranking;

/* Lines come in ascending order, so an equal score ranks behind those that are there. */
static int ranking_add(qn_cli_state *c, ranking *r, float score, uint64_t line, const char *text, size_t n) {
  size_t low = 0, high = r->count;
  if (r->count == r->k && !(score > r->hits[r->count - 1].score)) return CLI_DONE;
  if (r->count == r->cap && r->count < r->k) {
    size_t cap = r->cap ? r->cap * 2 : 16;
    int code = qn_cli_grow(c, &r->hits, cap, sizeof *r->hits);
    if (code) return code;
    r->cap = cap;
  }
  char *copy = malloc(n + 1);
  if (!copy) return qn_cli_fail(c, CLI_FAILED, "out of memory");
  memcpy(copy, text, n);
  if (r->count == r->k) free(r->hits[--r->count].text);
  high = r->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (r->hits[middle].score >= score) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  memmove(r->hits + low + 1, r->hits + low, (r->count - low) * sizeof *r->hits);
  r->hits[low] = (hit){score, line, copy, n};
  r->count++;
  return CLI_DONE;
}

static int rank_lines(qn_cli_model *m, qn_cli_lines *lines, const float *query, ranking *r) {
  const size_t d = m->info.embedding_width;
  qn_cli_batch batch = {0};
  float *x = NULL;
  int code = qn_cli_grow(m->c, &x, CLI_BATCH_TEXTS * d, sizeof *x);
  uint64_t line = 0;
  while (!code && (code = qn_cli_batch_read(&batch, lines)) == CLI_DONE && batch.texts) {
    code = qn_cli_model_embed(m, &batch, x);
    for (size_t i = 0; i < batch.texts && !code; i++) {
      float score = quern_dot(m->c->context, query, x + i * d, d);
      code = ranking_add(m->c, r, score, ++line, batch.utf8 + batch.offsets[i],
                         (size_t)(batch.offsets[i + 1] - batch.offsets[i]));
    }
    qn_cli_progress(m->c, lines->done, lines->total, "search");
  }
  qn_cli_progress_clear();
  qn_cli_batch_free(&batch);
  free(x);
  return code;
}

static void print_hits(qn_cli_state *c, const ranking *r) {
  qn_cli_json j = {.out = c->out};
  if (c->common.json) qn_cli_json_open(&j, NULL, '[');
  for (size_t i = 0; i < r->count; i++) {
    const hit *h = &r->hits[i];
    if (c->common.json) {
      qn_cli_json_open(&j, NULL, '{');
      qn_cli_json_float(&j, "score", h->score);
      qn_cli_json_int(&j, "line", h->line);
      qn_cli_json_bytes(&j, "text", h->text, h->bytes);
      qn_cli_json_close(&j, '}');
    } else {
      qn_cli_out_format(c->out, "%.4f\t%llu\t", (double)h->score, (unsigned long long)h->line);
      qn_cli_out_shown(c->out, h->text, h->bytes);
      qn_cli_out_bytes(c->out, "\n", 1);
    }
  }
  if (c->common.json) {
    qn_cli_json_close(&j, ']');
    qn_cli_json_end(&j);
  }
}

static int search(qn_cli_model *m, qn_cli_lines *lines) {
  const values *v = m->c->values;
  const char *text = m->c->argument[2];
  ranking r = {.k = v->k ? v->k : 10};
  qn_cli_batch batch = {0};
  float *query = NULL;
  int code = qn_cli_grow(m->c, &query, m->info.embedding_width, sizeof *query);
  if (!code) code = qn_cli_batch_add(m->c, &batch, text, strlen(text));
  if (!code) code = qn_cli_model_embed(m, &batch, query);
  if (!code) code = rank_lines(m, lines, query, &r);
  if (!code) {
    print_hits(m->c, &r);
    qn_cli_model_report_cut(m);
  }
  for (size_t i = 0; i < r.count; i++) free(r.hits[i].text);
  free(r.hits);
  qn_cli_batch_free(&batch);
  free(query);
  return code;
}

static int run(qn_cli_state *c) {
  qn_cli_model m;
  qn_cli_lines lines;
  int code = qn_cli_lines_open(&lines, c, c->argument[1]);
  if (code) return code;
  code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code && !m.info.embedding_width) code = qn_cli_model_fail_kind(&m, "gives no embeddings");
  if (!code) code = search(&m, &lines);
  qn_cli_model_close(&m);
  qn_cli_lines_close(&lines);
  return code;
}

static const qn_cli_option options[] = {
    {"count", 'k', CLI_COUNT, "N", "how many lines; default: 10", offsetof(values, k), 1, 1000000},
};

const qn_cli_verb qn_cli_verb_search = {
    .name = "search",
    .arguments = "MODEL FILE QUERY",
    .summary = "Prints the lines of FILE nearest in meaning to QUERY.",
    .details =
        "Each as score, line number and text, separated by tabs; equal scores by line number. --json: an array.\n"
        "A terminal is shown control characters of the text as \\xHH.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 3,
    .max_arguments = 3,
    .values_bytes = sizeof(values),
    .run = run,
};
