/* bench_text.c - `quern bench MODEL --text FILE`: how fast a model's tokenizer takes lines, one after another, on one thread. */
#include <stdlib.h>
#include "bench.h"

typedef struct bench {
  qn_cli_model m;
  qn_cli_batch texts;
  int32_t *ids;
  size_t ids_cap;
  double *speed; /* [repeat] bytes a second */
  uint64_t tokens;
} bench;

#define IDS_LEAST 512u

static int read_lines(bench *b, const char *path) {
  qn_cli_lines lines;
  const char *line = "";
  size_t n = 0;
  int code = qn_cli_lines_open(&lines, b->m.c, path);
  while (!code && line) {
    code = qn_cli_lines_next(&lines, &line, &n);
    if (!code && line) code = qn_cli_batch_add(b->m.c, &b->texts, line, n);
  }
  qn_cli_lines_close(&lines);
  if (!code && !b->texts.bytes) return qn_cli_fail(b->m.c, CLI_FAILED, "%s: no text", lines.path);
  return code;
}

/* Into b->ids, which grows where they do not fit and is kept: qn_cli_model_ids sizes its memory for each text, which is not to be measured. */
static int take_line(bench *b, const char *text, size_t n) {
  size_t count = 0;
  quern_status s = quern_tokenize(b->m.model, text, n, 0, b->ids, b->ids_cap, &count);
  if (s == QUERN_E_CAPACITY) {
    const int code = qn_cli_grow(b->m.c, &b->ids, count, sizeof *b->ids);
    if (code) return code;
    b->ids_cap = count;
    s = quern_tokenize(b->m.model, text, n, 0, b->ids, b->ids_cap, &count);
  }
  b->tokens += count;
  return s == QUERN_OK ? CLI_DONE : qn_cli_fail_status(b->m.c, s, b->m.path, NULL);
}

static int run_lines(bench *b, double *speed) {
  const qn_cli_batch *t = &b->texts;
  const uint64_t start = qn_cli_clock_ns();
  b->tokens = 0;
  int code = CLI_DONE;
  for (size_t i = 0; i < t->texts && !code; i++)
    code = take_line(b, t->utf8 + t->offsets[i], (size_t)(t->offsets[i + 1] - t->offsets[i]));
  *speed = (double)t->bytes / ((double)(qn_cli_clock_ns() - start) * 1e-9);
  return code;
}

static void print_result(bench *b, uint32_t repeat) {
  const double speed = qn_bench_median(b->speed, repeat), best = b->speed[repeat - 1];
  if (!b->m.c->common.json) {
    qn_cli_out *o = b->m.c->out;
    qn_cli_out_format(o, "%s: %llu lines, %.2f MB, %llu tokens, %u runs\n", b->m.path,
                      (unsigned long long)b->texts.texts, (double)b->texts.bytes * 1e-6, (unsigned long long)b->tokens,
                      (unsigned)repeat);
    qn_cli_out_format(o, "  tokenizing  %.2f MB/s (median run), %.2f (best)\n", speed * 1e-6, best * 1e-6);
    return;
  }
  qn_cli_json j = {.out = b->m.c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_text(&j, "model", b->m.path);
  qn_cli_json_int(&j, "lines", b->texts.texts);
  qn_cli_json_int(&j, "bytes", b->texts.bytes);
  qn_cli_json_int(&j, "tokens", b->tokens);
  qn_cli_json_int(&j, "repeat", repeat);
  qn_cli_json_double(&j, "bytes_per_second", speed);
  qn_cli_json_double(&j, "best_bytes_per_second", best);
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

int qn_bench_text(qn_cli_state *c, const char *path, const char *file, uint32_t repeat) {
  bench b = {0};
  int code = qn_cli_context_open(c);
  if (code) return code;
  code = qn_cli_model_open(&b.m, c, path, 0);
  if (!code) code = read_lines(&b, file);
  if (!code) code = qn_cli_grow(c, &b.ids, IDS_LEAST, sizeof *b.ids);
  b.ids_cap = IDS_LEAST;
  if (!code) code = qn_cli_grow(c, &b.speed, repeat, sizeof *b.speed);
  for (uint32_t i = 0; i < repeat && !code; i++) {
    code = run_lines(&b, &b.speed[i]);
    if (!code && qn_cli_progress(c, i + 1, repeat, "bench")) code = qn_cli_interrupted();
  }
  qn_cli_progress_clear();
  if (!code) print_result(&b, repeat);
  free(b.speed);
  free(b.ids);
  qn_cli_batch_free(&b.texts);
  qn_cli_model_close(&b.m);
  return code;
}
