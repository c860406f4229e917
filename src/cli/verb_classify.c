/* verb_classify.c - `quern classify`: one JSON object per line of text, or per pair of texts separated by a tab. */
#include <stdlib.h>
#include "cli.h"

typedef struct values {
  uint32_t max_tokens;
} values;

static void print_result(qn_cli_model *m, char **labels, const float *logits, const float *probabilities) {
  qn_cli_json j = {.out = m->c->out};
  uint32_t n = m->info.labels, best = 0;
  qn_cli_json_open(&j, NULL, '{');
  if (m->info.regression) {
    qn_cli_json_float(&j, "score", logits[0]);
  } else {
    for (uint32_t i = 1; i < n; i++) {
      if (logits[i] > logits[best]) best = i;
    }
    qn_cli_json_text(&j, "label", labels[best]);
    qn_cli_json_int(&j, "index", best);
    qn_cli_json_floats(&j, "logits", logits, n);
    qn_cli_json_floats(&j, "probabilities", probabilities, n);
  }
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

/* Reads lines into the batch while they are of one kind, single texts or pairs; the first of the other kind is left in
   *line for the next call. *line NULL at the end. */
static int read_run(qn_cli_state *c, qn_cli_lines *lines, qn_cli_batch *b, const char **line, size_t *n, int *pairs) {
  int pair;
  qn_cli_batch_clear(b);
  int code = qn_cli_batch_add_pair(c, b, *line, *n, pairs);
  while (!code) {
    *line = NULL;
    if (b->texts >= CLI_BATCH_TEXTS || !qn_cli_lines_ready(lines)) return CLI_DONE;
    code = qn_cli_lines_next(lines, line, n);
    if (code || !*line) return code;
    size_t texts = b->texts, bytes = b->bytes;
    code = qn_cli_batch_add_pair(c, b, *line, *n, &pair);
    if (!code && pair != *pairs) {
      b->texts = texts;
      b->bytes = bytes;
      return CLI_DONE;
    }
  }
  return code;
}

static int classify_lines(qn_cli_model *m, qn_cli_lines *lines, char **labels) {
  qn_cli_batch batch = {0};
  float *logits = NULL, *probabilities = NULL;
  const size_t n = m->info.labels;
  const char *line = NULL;
  size_t bytes = 0;
  int pairs = 0, code = qn_cli_grow(m->c, &logits, CLI_BATCH_TEXTS * n, sizeof *logits);
  if (!code) code = qn_cli_grow(m->c, &probabilities, CLI_BATCH_TEXTS * n, sizeof *probabilities);
  while (!code) {
    if (!line) code = qn_cli_lines_next(lines, &line, &bytes);
    if (code || !line) break;
    if ((code = read_run(m->c, lines, &batch, &line, &bytes, &pairs)) != 0) break;
    size_t results = pairs ? batch.texts / 2 : batch.texts;
    code = qn_cli_model_classify(m, &batch, 0, batch.texts, pairs ? QUERN_PAIRS : 0, logits, probabilities);
    for (size_t i = 0; i < results && !code; i++) print_result(m, labels, logits + i * n, probabilities + i * n);
    if (!lines->regular) qn_cli_out_flush(m->c->out);
    if (m->c->out->error) break;
  }
  qn_cli_batch_free(&batch);
  free(logits);
  free(probabilities);
  return code;
}

static int run(qn_cli_state *c) {
  const values *v = c->values;
  qn_cli_model m;
  qn_cli_lines lines;
  char **labels = NULL;
  int code = qn_cli_lines_open(&lines, c, c->argument[1]);
  if (code) return code;
  code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code) code = qn_cli_model_text_tokens(&m, v->max_tokens);
  if (!code && !m.info.labels) code = qn_cli_model_fail_kind(&m, "has no classification head");
  if (!code) code = qn_cli_model_labels(&m, &labels);
  if (!code) code = classify_lines(&m, &lines, labels);
  if (!code) qn_cli_model_report_cut(&m);
  qn_cli_model_free_labels(&m, labels);
  qn_cli_model_close(&m);
  qn_cli_lines_close(&lines);
  return code;
}

static const qn_cli_option options[] = {
    {"max-tokens", 0, CLI_COUNT, "N", "cut texts to N tokens; default: the model's", offsetof(values, max_tokens), 1,
     UINT32_MAX},
};

const qn_cli_verb qn_cli_verb_classify = {
    .name = "classify",
    .arguments = "MODEL [FILE]",
    .summary = "Prints label, logits and probabilities of each line, or the score.",
    .details = "A tab in a line separates the two texts of a pair. The output is one JSON object a line.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 2,
    .values_bytes = sizeof(values),
    .run = run,
};
