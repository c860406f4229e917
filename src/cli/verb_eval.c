/* verb_eval.c - `quern eval`: a task's metrics on labelled rows, and the comparison with another model. */
#include <stdlib.h>
#include <string.h>
#include "eval.h"

enum { TASK_STS = 1, TASK_CLASSIFY = 2, TASK_SQUAD = 3, TASK_RETRIEVAL = 4, TASK_PPL = 5, TASK_CHOICE = 6 };

typedef struct values {
  uint32_t task, limit, max_tokens, context, cache;
  const char *data, *reference;
  qn_cli_answering answering;
} values;

static const char *const task_names[] = {"", "sts", "classify", "squad", "retrieval", "ppl", "choice"};

int qn_eval_series_add(qn_cli_state *c, qn_eval_series *s, double x) {
  if (s->count == s->cap) {
    size_t cap = s->cap ? s->cap * 2 : 1024;
    int code = qn_cli_grow(c, &s->x, cap, sizeof *s->x);
    if (code) return code;
    s->cap = cap;
  }
  s->x[s->count++] = x;
  return CLI_DONE;
}

void qn_eval_put_metric(qn_eval_run *r, const char *name, double value) {
  if (r->qn_metric_count < EVAL_MAX_METRICS) r->metrics[r->qn_metric_count++] = (qn_eval_metric){name, value};
}

void qn_eval_put_reference_metric(qn_eval_run *r, const char *name, double value) {
  if (r->reference_metric_count < EVAL_MAX_METRICS) {
    r->reference_metrics[r->reference_metric_count++] = (qn_eval_metric){name, value};
  }
}

void qn_eval_put_compared(qn_eval_run *r, const char *name, double value) {
  if (r->compared_count < EVAL_MAX_METRICS) r->compared[r->compared_count++] = (qn_eval_metric){name, value};
}

void qn_eval_put_cosines(qn_eval_run *r, qn_eval_series *cosines) {
  size_t n = cosines->count;
  double sum = 0;
  if (!n) return;
  for (size_t i = 0; i < n; i++) sum += cosines->x[i];
  qn_metric_sort(cosines->x, n);
  r->comparison = "cosine";
  qn_eval_put_compared(r, "mean", sum / (double)n);
  qn_eval_put_compared(r, "p1", cosines->x[(n - 1) / 100]);
  qn_eval_put_compared(r, "min", cosines->x[0]);
}

int qn_eval_check_embeddings(qn_eval_run *r) {
  const uint32_t d = r->model.info.embedding_width;
  if (!d) return qn_cli_model_fail_kind(&r->model, "gives no embeddings");
  if (!r->has_reference || r->reference.info.embedding_width == d) return CLI_DONE;
  return qn_cli_fail(r->c, CLI_FAILED, "%s gives embeddings of %u values, the reference of %u", r->model.path,
                     (unsigned)d, (unsigned)r->reference.info.embedding_width);
}

int qn_eval_next_row(qn_eval_run *r, int *more) {
  *more = 0;
  if (r->limit && r->rows >= r->limit) return CLI_DONE;
  int code = qn_tsv_next(&r->data, more);
  if (!code && *more) r->rows++;
  if (!code) qn_cli_progress(r->c, r->data.lines.done, r->data.lines.total, "eval");
  return code;
}

static void print_json(qn_eval_run *r, const values *v) {
  qn_cli_json j = {.out = r->c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_text(&j, "task", task_names[v->task]);
  qn_cli_json_text(&j, "model", r->model.path);
  qn_cli_json_int(&j, "rows", r->rows);
  qn_cli_json_open(&j, "metrics", '{');
  for (uint32_t i = 0; i < r->qn_metric_count; i++) qn_cli_json_double(&j, r->metrics[i].name, r->metrics[i].value);
  qn_cli_json_close(&j, '}');
  if (r->has_reference) {
    qn_cli_json_open(&j, "reference", '{');
    qn_cli_json_text(&j, "model", r->reference.path);
    for (uint32_t i = 0; i < r->reference_metric_count; i++) {
      qn_cli_json_double(&j, r->reference_metrics[i].name, r->reference_metrics[i].value);
    }
    if (r->comparison) qn_cli_json_open(&j, r->comparison, '{');
    for (uint32_t i = 0; i < r->compared_count; i++) qn_cli_json_double(&j, r->compared[i].name, r->compared[i].value);
    if (r->comparison) qn_cli_json_close(&j, '}');
    qn_cli_json_close(&j, '}');
  }
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

static void print_table(qn_eval_run *r, const values *v) {
  qn_cli_out *o = r->c->out;
  qn_cli_out_format(o, "task          %s\n", task_names[v->task]);
  qn_cli_out_format(o, "model         %s\n", r->model.path);
  qn_cli_out_format(o, "rows          %llu\n", (unsigned long long)r->rows);
  for (uint32_t i = 0; i < r->qn_metric_count; i++) {
    qn_cli_out_format(o, "%-12s  %.4f\n", r->metrics[i].name, r->metrics[i].value);
  }
  if (!r->has_reference) return;
  qn_cli_out_format(o, "against       %s\n", r->reference.path);
  for (uint32_t i = 0; i < r->reference_metric_count; i++) {
    qn_cli_out_format(o, "%-12s  %.4f\n", r->reference_metrics[i].name, r->reference_metrics[i].value);
  }
  for (uint32_t i = 0; i < r->compared_count; i++) {
    qn_cli_out_format(o, "%s%s%-*s  %.6f\n", r->comparison ? r->comparison : "", r->comparison ? " " : "",
                      r->comparison ? 12 - (int)strlen(r->comparison) - 1 : 12, r->compared[i].name,
                      r->compared[i].value);
  }
}

static int (*const tasks[])(qn_eval_run *) = {
    NULL, qn_eval_sts, qn_eval_classify, qn_eval_squad, qn_eval_retrieval, qn_eval_ppl, qn_eval_choice};

static int run_task(qn_eval_run *r, const values *v) {
  int code = v->task == TASK_RETRIEVAL || v->task == TASK_PPL ? CLI_DONE : qn_tsv_open(&r->data, r->c, v->data);
  if (!code) code = qn_cli_model_open(&r->model, r->c, r->c->argument[0], 0);
  if (!code) code = qn_cli_model_text_tokens(&r->model, v->max_tokens);
  if (!code) code = qn_cli_model_cache(&r->model, v->cache);
  if (!code && v->reference) {
    r->has_reference = 1;
    code = qn_cli_model_open(&r->reference, r->c, v->reference, 0);
    if (!code) code = qn_cli_model_text_tokens(&r->reference, v->max_tokens);
  }
  if (!code) code = tasks[v->task](r);
  qn_cli_progress_clear();
  if (!code && r->rows == 0) code = qn_cli_fail(r->c, CLI_FAILED, "%s has no rows", v->data);
  return code;
}

static int run(qn_cli_state *c) {
  const values *v = c->values;
  if (!v->task) return qn_cli_fail(c, CLI_USAGE, "needs --task sts, classify, squad, retrieval, ppl or choice");
  if (!v->data) return qn_cli_fail(c, CLI_USAGE, "needs --data FILE, or DIR for retrieval");
  qn_eval_run *r = calloc(1, sizeof *r);
  if (!r) return qn_cli_fail(c, CLI_FAILED, "out of memory");
  r->c = c;
  r->limit = v->limit;
  r->context = v->context;
  r->path = v->data;
  r->answering = v->answering;
  int code = run_task(r, v);
  if (!code && c->common.json) {
    print_json(r, v);
  } else if (!code) {
    print_table(r, v);
  }
  if (!code) qn_cli_model_report_cut(&r->model);
  qn_cli_model_close(&r->reference);
  qn_cli_model_close(&r->model);
  qn_tsv_close(&r->data);
  free(r);
  return code;
}

static const qn_cli_option options[] = {
    {"task", 0, CLI_CHOICE, "sts|classify|squad|retrieval|ppl|choice", "what to measure", offsetof(values, task), 0, 0},
    {"data", 0, CLI_TEXT, "FILE|DIR", "rows separated by tabs; the first line names the columns",
     offsetof(values, data), 0, 0},
    {"reference", 0, CLI_TEXT, "MODEL", "compare the outputs with this model's", offsetof(values, reference), 0, 0},
    {"limit", 0, CLI_COUNT, "N", "the first N rows only; of retrieval: queries; of ppl: windows",
     offsetof(values, limit), 1, UINT32_MAX},
    {"context", 0, CLI_COUNT, "N", "of ppl: tokens of a window; default: 2048, or what the model reads",
     offsetof(values, context), 2, UINT32_MAX},
    {"max-tokens", 0, CLI_COUNT, "N", "cut texts to N tokens, or read in windows of N; default: the model's",
     offsetof(values, max_tokens), 1, UINT32_MAX},
    CLI_CACHE_OPTION(values, cache, "of ppl and choice: "),
    CLI_ANSWERING_OPTIONS(values, answering, "of squad: "),
};

const qn_cli_verb qn_cli_verb_eval = {
    .name = "eval",
    .arguments = "MODEL --task T --data FILE|DIR",
    .summary = "Measures a model on labelled rows.",
    .details =
        "sts: score, sentence1, sentence2. Gives Spearman's and Pearson's correlation of the cosine.\n"
        "classify: label (an index or a label's name) and sentence, or sentence1 and sentence2, premise and\n"
        "hypothesis, question and sentence, question1 and question2. Gives accuracy, F1 (of class 1 when there\n"
        "are two classes, else the mean), Matthews' correlation; with score and a regression head correlations.\n"
        "squad: question, context and answers or answer, of which \"|||\" separates several. Gives the share of exact\n"
        "matches and F1 of words, the best over the right answers, both as SQuAD normalizes them.\n"
        "retrieval: a directory with corpus.tsv (id, title if there is one, text), queries.tsv (qid, text) and\n"
        "qrels.tsv (qid, docid, rel). Gives nDCG and recall of the 10 best documents by dot product, the mean over\n"
        "the queries that have a relevant document; rows are these queries.\n"
        "ppl: a text, tokenized whole, in windows of --context tokens without overlap, the last one dropped if it is "
        "not\n"
        "full. Gives exp of the mean negative log-probability of all tokens but a window's first; rows are windows.\n"
        "choice: gold (an index), question, ctx or goal, c0, c1, ... (empty ones are none); or gold, sentence with _ "
        "where\n"
        "the choices go, of which the text behind it is scored; or label (0 no, 1 yes), question, passage. Gives the "
        "share of rows\n"
        "where the right choice has the highest log-probability, summed and by its bytes.\n"
        "--reference adds for sts and retrieval the cosine of both models' embeddings (mean, 1st percentile, "
        "minimum),\n"
        "for retrieval the other model's metrics as well, for classify and squad the normalized squared error of\n"
        "the logits and how often both choose the same class or answer; for ppl the divergence of the distributions\n"
        "and how often both have the same likeliest token.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 1,
    .values_bytes = sizeof(values),
    .run = run,
};
