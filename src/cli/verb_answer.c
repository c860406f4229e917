/* verb_answer.c - `quern answer`: the answer to a question, found in its context; one JSON object for each. */
#include <string.h>
#include "cli.h"

typedef struct values {
  uint32_t max_tokens;
  const char *question;
  qn_cli_answering answering;
} values;

#define PAIRS (CLI_BATCH_TEXTS / 2)

static void print_answer(qn_cli_state *c, const char *context, quern_span answer, const float *scores) {
  const values *v = c->values;
  qn_cli_json j = {.out = c->out};
  if (v->answering.null && scores[1] > scores[0]) answer = (quern_span){0, 0};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_bytes(&j, "answer", context + answer.begin, (size_t)(answer.end - answer.begin));
  qn_cli_json_int(&j, "begin", answer.begin);
  qn_cli_json_int(&j, "end", answer.end);
  qn_cli_json_float(&j, "score", scores[0]);
  qn_cli_json_float(&j, "null_score", scores[1]);
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

static int answer_batch(qn_cli_model *m, const qn_cli_batch *b) {
  const values *v = m->c->values;
  quern_answer_options o;
  quern_span answers[PAIRS];
  float scores[2 * PAIRS];
  qn_cli_answering_options(&v->answering, &o);
  int code = qn_cli_model_answer(m, b, &o, answers, scores);
  for (size_t i = 0; i < b->texts / 2 && !code; i++)
    print_answer(m->c, b->utf8 + b->offsets[2 * i + 1], answers[i], scores + 2 * i);
  return code;
}

/* Lines of a question, a tab and its context, as many as come without waiting. */
static int read_pairs(qn_cli_state *c, qn_cli_lines *lines, qn_cli_batch *b) {
  const char *line;
  size_t n;
  int pair;
  qn_cli_batch_clear(b);
  while (b->texts < 2 * PAIRS && b->bytes < CLI_BATCH_BYTES && (!b->texts || qn_cli_lines_ready(lines))) {
    int code = qn_cli_lines_next(lines, &line, &n);
    if (code || !line) return code;
    code = qn_cli_batch_add_pair(c, b, line, n, &pair);
    if (code) return code;
    if (!pair) {
      return qn_cli_fail(c, CLI_FAILED,
                         "line %llu of %s has no tab: a line is a question, a tab and its context, unless --question "
                         "is given",
                         (unsigned long long)lines->number, lines->path);
    }
  }
  return CLI_DONE;
}

/* The whole input is the context of one question. */
static int read_context(qn_cli_state *c, qn_cli_lines *lines, const char *question, qn_cli_batch *b) {
  const char *text;
  size_t n;
  int code = qn_cli_lines_rest(lines, &text, &n);
  if (!code) code = qn_cli_batch_add(c, b, question, strlen(question));
  return code ? code : qn_cli_batch_add(c, b, text, n);
}

static int answer_all(qn_cli_model *m, qn_cli_lines *lines) {
  const values *v = m->c->values;
  qn_cli_batch batch = {0};
  int code;
  if (v->question) {
    code = read_context(m->c, lines, v->question, &batch);
    if (!code) code = answer_batch(m, &batch);
  } else {
    while ((code = read_pairs(m->c, lines, &batch)) == CLI_DONE && batch.texts && !m->c->out->error) {
      if ((code = answer_batch(m, &batch)) != 0) break;
      if (!lines->regular) qn_cli_out_flush(m->c->out);
    }
  }
  qn_cli_batch_free(&batch);
  return code;
}

static int run(qn_cli_state *c) {
  const values *v = c->values;
  qn_cli_model m;
  qn_cli_lines lines;
  int code = qn_cli_lines_open(&lines, c, c->argument[1]);
  if (code) return code;
  code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code) code = qn_cli_model_text_tokens(&m, v->max_tokens);
  if (!code && !m.info.span) code = qn_cli_model_fail_kind(&m, "has no span head, which finds answers");
  if (!code) code = answer_all(&m, &lines);
  qn_cli_model_close(&m);
  qn_cli_lines_close(&lines);
  return code;
}

static const qn_cli_option options[] = {
    {"question", 'q', CLI_TEXT, "TEXT", "one question, whose context is the whole input", offsetof(values, question), 0,
     0},
    {"max-tokens", 0, CLI_COUNT, "N", "windows of N tokens, the question's included; default: the model's",
     offsetof(values, max_tokens), 1, UINT32_MAX},
    CLI_ANSWERING_OPTIONS(values, answering, ""),
};

const qn_cli_verb qn_cli_verb_answer = {
    .name = "answer",
    .arguments = "MODEL [FILE]",
    .summary = "Finds the answer to each question in its context.",
    .details = "A line is a question, a tab and its context; with --question the input is one context. A long context\n"
               "is read in windows that overlap. The output is one JSON object a line: the answer, its bytes in the\n"
               "context, its score and that of there being none (null_score).",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 2,
    .values_bytes = sizeof(values),
    .run = run,
};
