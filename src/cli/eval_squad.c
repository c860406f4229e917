/* eval_squad.c - answers found in contexts against the right ones. */
#include <stdlib.h>
#include <string.h>
#include "eval.h"

#define ROWS 64u

typedef struct squad {
  qn_eval_run *r;
  int question, context, right; /* columns */
  qn_cli_batch texts, answers;  /* of some rows: questions with their contexts; the right answers */
  quern_span found[ROWS], expected[ROWS];
  float scores[2 * ROWS];
  double exact, f1;
  /* against the reference */
  float *logits; /* of the rows' windows, in order */
  size_t logit_count, logit_cap, compared;
  int differ, code; /* the reference has other windows; a failure within the callback */
  qn_eval_error error;
  uint64_t agreeing;
} squad;

static int find_columns(squad *q) {
  qn_tsv *t = &q->r->data;
  q->question = qn_tsv_column(t, "question");
  q->context = qn_tsv_column(t, "context");
  q->right = qn_tsv_column(t, "answers");
  if (q->right < 0) q->right = qn_tsv_column(t, "answer");
  if (q->question >= 0 && q->context >= 0 && q->right >= 0) return CLI_DONE;
  return qn_tsv_fail_columns(t, "question, context, or answers (or answer)");
}

static int read_rows(squad *q, size_t *rows) {
  const qn_tsv_field *f = q->r->data.fields;
  qn_cli_state *c = q->r->c;
  qn_cli_batch_clear(&q->texts);
  qn_cli_batch_clear(&q->answers);
  for (*rows = 0; *rows < ROWS; ++*rows) {
    int more, code = qn_eval_next_row(q->r, &more);
    if (code || !more) return code;
    code = qn_cli_batch_add(c, &q->texts, f[q->question].text, f[q->question].bytes);
    if (!code) code = qn_cli_batch_add(c, &q->texts, f[q->context].text, f[q->context].bytes);
    if (!code) code = qn_cli_batch_add(c, &q->answers, f[q->right].text, f[q->right].bytes);
    if (code) return code;
  }
  return CLI_DONE;
}

/* Keeps the model's logits. */
static int32_t keep_window(void *user, const quern_window *w) {
  squad *q = user;
  const size_t n = 2 * (size_t)w->tokens;
  if (q->logit_cap - q->logit_count < n) {
    const size_t cap = 2 * q->logit_cap + n;
    if ((q->code = qn_cli_grow(q->r->c, &q->logits, cap, sizeof *q->logits)) != 0) return 1;
    q->logit_cap = cap;
  }
  memcpy(q->logits + q->logit_count, w->logits, n * sizeof *w->logits);
  q->logit_count += n;
  return 0;
}

/* Holds the reference's against them. */
static int32_t compare_window(void *user, const quern_window *w) {
  squad *q = user;
  const size_t n = 2 * (size_t)w->tokens;
  if ((q->differ = q->logit_count - q->compared < n) != 0) return 1;
  for (size_t i = 0; i < n; i++) qn_eval_error_add(&q->error, (double)q->logits[q->compared + i], (double)w->logits[i]);
  q->compared += n;
  return 0;
}

/* Answers of one of the models; one that is none is empty. */
static int run_model(squad *q, qn_cli_model *m, quern_window_fn *window, quern_span *found) {
  quern_answer_options o;
  const qn_cli_answering *how = &q->r->answering;
  qn_cli_answering_options(how, &o);
  o.window = window;
  o.window_user = q;
  int code = qn_cli_model_answer(m, &q->texts, &o, found, q->scores);
  for (size_t i = 0; i < q->texts.texts / 2 && !code; i++)
    if (how->null && q->scores[2 * i + 1] > q->scores[2 * i]) found[i] = (quern_span){0, 0};
  return code;
}

static int run_reference(squad *q, size_t rows) {
  int code = run_model(q, &q->r->reference, compare_window, q->expected);
  if (q->differ || (!code && q->compared != q->logit_count)) {
    return qn_cli_fail(q->r->c, CLI_FAILED,
                       "%s and the reference read the rows in different windows: both need the same tokenizer and "
                       "length",
                       q->r->model.path);
  }
  for (size_t i = 0; i < rows && !code; i++) q->agreeing += !memcmp(&q->found[i], &q->expected[i], sizeof q->found[i]);
  return code;
}

static int run_rows(squad *q, size_t rows) {
  const int64_t *text = q->texts.offsets, *right = q->answers.offsets;
  q->logit_count = q->compared = 0;
  int code = run_model(q, &q->r->model, q->r->has_reference ? keep_window : NULL, q->found);
  if (q->code) code = q->code;
  for (size_t i = 0; i < rows && !code; i++) {
    double exact, f1;
    if (!qn_metric_answer(q->texts.utf8 + text[2 * i + 1] + q->found[i].begin, q->found[i].end - q->found[i].begin,
                          q->answers.utf8 + right[i], (size_t)(right[i + 1] - right[i]), &exact, &f1))
      code = qn_cli_fail(q->r->c, CLI_FAILED, "out of memory");
    q->exact += exact;
    q->f1 += f1;
  }
  return code || !q->r->has_reference ? code : run_reference(q, rows);
}

static void put_metrics(squad *q) {
  qn_eval_run *r = q->r;
  const double rows = r->rows ? (double)r->rows : 1;
  qn_eval_put_metric(r, "exact_match", q->exact / rows);
  qn_eval_put_metric(r, "f1", q->f1 / rows);
  if (!r->has_reference) return;
  qn_eval_put_compared(r, "nmse", qn_eval_error_normalized(&q->error));
  qn_eval_put_compared(r, "agreement", (double)q->agreeing / rows);
}

int qn_eval_squad(qn_eval_run *r) {
  size_t rows = 0;
  if (!r->model.info.span || (r->has_reference && !r->reference.info.span)) {
    return qn_cli_model_fail_kind(r->model.info.span ? &r->reference : &r->model,
                                  "has no span head, which finds answers");
  }
  squad *q = calloc(1, sizeof *q);
  if (!q) return qn_cli_fail(r->c, CLI_FAILED, "out of memory");
  q->r = r;
  int code = find_columns(q);
  while (!code && (code = read_rows(q, &rows)) == CLI_DONE && rows) code = run_rows(q, rows);
  if (!code) put_metrics(q);
  qn_cli_batch_free(&q->texts);
  qn_cli_batch_free(&q->answers);
  free(q->logits);
  free(q);
  return code;
}
