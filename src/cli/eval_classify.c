/* eval_classify.c - classification and regression heads against labels or scores. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "eval.h"

#define ROWS (CLI_BATCH_TEXTS / 2)

/* The columns that hold the text or the two texts, in the order they are looked for. */
static const char *const text_columns[][2] = {
    {"sentence1", "sentence2"}, {"premise", "hypothesis"}, {"question", "sentence"},
    {"question1", "question2"}, {"sentence", NULL},
};

typedef struct classification {
  qn_eval_run *r;
  int truth, first, second; /* columns; second -1: single texts */
  char **labels;
  qn_cli_batch batch;
  uint32_t classes[ROWS]; /* of the rows in the batch */
  float *logits, *expected, *probabilities;
  qn_confusion counts;
  qn_eval_series outputs, scores; /* regression */
  qn_eval_error error;            /* of the logits against the reference's */
  uint64_t agreeing;
} classification;

static int find_columns(classification *k) {
  qn_tsv *t = &k->r->data;
  const char *truth = k->r->model.info.regression ? "score" : "label";
  k->truth = qn_tsv_column(t, truth);
  if (k->truth < 0) {
    return qn_tsv_fail_columns(t, k->r->model.info.regression ? "the column score" : "the column label");
  }
  for (size_t i = 0; i < sizeof text_columns / sizeof text_columns[0]; i++) {
    const char *second = text_columns[i][1];
    k->first = qn_tsv_column(t, text_columns[i][0]);
    k->second = second ? qn_tsv_column(t, second) : -1;
    if (k->first >= 0 && (!second || k->second >= 0)) return CLI_DONE;
  }
  return qn_tsv_fail_columns(t, "a text: sentence, or sentence1 and sentence2, premise and hypothesis, question and "
                                "sentence, question1 and question2");
}

/* The label as an index, or as one of the model's names. */
static int class_of(classification *k, uint32_t *out) {
  qn_tsv *t = &k->r->data;
  const qn_tsv_field *f = &t->fields[k->truth];
  uint32_t n = k->r->model.info.labels;
  uint64_t index = 0;
  size_t i = 0;
  for (; i < f->bytes && i < 9 && f->text[i] >= '0' && f->text[i] <= '9'; i++)
    index = index * 10 + (uint64_t)(f->text[i] - '0');
  if (i && i == f->bytes && index < n) {
    *out = (uint32_t)index;
    return CLI_DONE;
  }
  for (uint32_t j = 0; j < n; j++) {
    if (strlen(k->labels[j]) == f->bytes && strncasecmp(k->labels[j], f->text, f->bytes) == 0) {
      *out = j;
      return CLI_DONE;
    }
  }
  return qn_cli_fail(k->r->c, CLI_FAILED,
                     "line %llu of %s: label '%.*s' is no index below %u and no label of the model (%s, ...)",
                     (unsigned long long)t->lines.number, t->lines.path, (int)(f->bytes < 40 ? f->bytes : 40), f->text,
                     (unsigned)n, k->labels[0]);
}

static int read_rows(classification *k, size_t *rows) {
  qn_tsv *t = &k->r->data;
  qn_cli_state *c = k->r->c;
  qn_cli_batch_clear(&k->batch);
  for (*rows = 0; *rows < ROWS; ++*rows) {
    int more, code = qn_eval_next_row(k->r, &more);
    double score = 0;
    if (code || !more) return code;
    if (k->r->model.info.regression) {
      code = qn_tsv_number(t, k->truth, &score);
      if (!code) code = qn_eval_series_add(c, &k->scores, score);
    } else {
      code = class_of(k, &k->classes[*rows]);
    }
    if (!code) code = qn_cli_batch_add(c, &k->batch, t->fields[k->first].text, t->fields[k->first].bytes);
    if (!code && k->second >= 0) {
      code = qn_cli_batch_add(c, &k->batch, t->fields[k->second].text, t->fields[k->second].bytes);
    }
    if (code) return code;
  }
  return CLI_DONE;
}

static uint32_t largest(const float *x, uint32_t n) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < n; i++) {
    if (x[i] > x[best]) best = i;
  }
  return best;
}

static int run_rows(classification *k, size_t rows) {
  qn_eval_run *r = k->r;
  const uint32_t n = r->model.info.labels, flags = k->second >= 0 ? QUERN_PAIRS : 0;
  int code = qn_cli_model_classify(&r->model, &k->batch, 0, k->batch.texts, flags, k->logits, k->probabilities);
  for (size_t i = 0; i < rows && !code; i++) {
    if (r->model.info.regression) {
      code = qn_eval_series_add(r->c, &k->outputs, (double)k->logits[i]);
    } else {
      k->counts.counts[(size_t)k->classes[i] * n + largest(k->logits + i * n, n)]++;
    }
  }
  if (code || !r->has_reference) return code;
  code = qn_cli_model_classify(&r->reference, &k->batch, 0, k->batch.texts, flags, k->expected, k->probabilities);
  for (size_t i = 0; i < rows * n && !code; i++)
    qn_eval_error_add(&k->error, (double)k->logits[i], (double)k->expected[i]);
  for (size_t i = 0; i < rows && !code; i++)
    k->agreeing += largest(k->logits + i * n, n) == largest(k->expected + i * n, n);
  return code;
}

static int put_metrics(classification *k) {
  qn_eval_run *r = k->r;
  int code = CLI_DONE;
  double spearman = 0;
  if (r->model.info.regression) {
    code = qn_metric_spearman(r->c, k->outputs.x, k->scores.x, k->outputs.count, &spearman);
    qn_eval_put_metric(r, "pearson", qn_metric_pearson(k->outputs.x, k->scores.x, k->outputs.count));
    qn_eval_put_metric(r, "spearman", spearman);
  } else {
    qn_eval_put_metric(r, "accuracy", qn_metric_accuracy(&k->counts));
    qn_eval_put_metric(r, "f1", qn_metric_f1(&k->counts));
    qn_eval_put_metric(r, "matthews", qn_metric_matthews(&k->counts));
  }
  if (r->has_reference && k->error.count) {
    qn_eval_put_compared(r, "nmse", qn_eval_error_normalized(&k->error));
    if (!r->model.info.regression) qn_eval_put_compared(r, "agreement", (double)k->agreeing / (double)r->rows);
  }
  return code;
}

static int run_all(classification *k) {
  qn_cli_state *c = k->r->c;
  const size_t n = k->r->model.info.labels;
  size_t rows = 0;
  int code = qn_cli_model_labels(&k->r->model, &k->labels);
  if (!code) code = qn_cli_grow(c, &k->logits, ROWS * n, sizeof *k->logits);
  if (!code) code = qn_cli_grow(c, &k->expected, ROWS * n, sizeof *k->expected);
  if (!code) code = qn_cli_grow(c, &k->probabilities, ROWS * n, sizeof *k->probabilities);
  if (!code) code = qn_cli_grow(c, &k->counts.counts, n * n, sizeof *k->counts.counts);
  if (!code) memset(k->counts.counts, 0, n * n * sizeof *k->counts.counts);
  k->counts.classes = (uint32_t)n;
  while (!code && (code = read_rows(k, &rows)) == CLI_DONE && rows) code = run_rows(k, rows);
  return code ? code : put_metrics(k);
}

int qn_eval_classify(qn_eval_run *r) {
  classification k = {.r = r};
  if (!r->model.info.labels) return qn_cli_model_fail_kind(&r->model, "has no classification head");
  if (r->has_reference &&
      (r->reference.info.labels != r->model.info.labels || r->reference.info.regression != r->model.info.regression)) {
    return qn_cli_fail(r->c, CLI_FAILED, "%s and the reference have different heads", r->model.path);
  }
  int code = find_columns(&k);
  if (!code) code = run_all(&k);
  qn_cli_model_free_labels(&r->model, k.labels);
  qn_cli_batch_free(&k.batch);
  free(k.logits);
  free(k.expected);
  free(k.probabilities);
  free(k.counts.counts);
  free(k.outputs.x);
  free(k.scores.x);
  return code;
}
