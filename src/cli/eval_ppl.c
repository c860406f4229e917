/* eval_ppl.c - perplexity: a text, tokenized whole, in windows without overlap; every token but a window's first is predicted from
 * those before it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "eval.h"

#define DEFAULT_CONTEXT 2048u
#define COMPARED_ROWS 16u /* whose logits both models hold at a time */

typedef struct ppl {
  qn_eval_run *r;
  uint32_t context;
  int32_t *ids;
  size_t count;             /* ids */
  float *log_probabilities; /* [context] */
  double sum, reference_sum;
  double kl;
  uint64_t predicted, compared, same_top;
} ppl;

static int read_ids(ppl *p) {
  qn_eval_run *r = p->r;
  qn_cli_lines lines;
  const char *text;
  size_t bytes;
  int code = qn_cli_lines_open(&lines, r->c, r->path);
  if (!code) code = qn_cli_lines_rest(&lines, &text, &bytes);
  if (!code) code = qn_cli_model_ids(&r->model, text, bytes, QUERN_PLAIN, &p->ids, &p->count);
  qn_cli_lines_close(&lines);
  return code;
}

static int score(ppl *p, qn_cli_model *m, const int32_t *ids, double *sum) {
  quern_session_options *o = &m->options;
  int code = qn_cli_model_session(m, o->max_tokens, 1);
  if (code) return code;
  code = qn_cli_model_call(m, quern_sequence_free(m->session, 0));
  if (!code) {
    qn_cli_signals_session(m->session);
    code = qn_cli_model_call(m, quern_decode_score(m->session, 0, ids, p->context, p->log_probabilities));
  }
  for (uint32_t i = 1; i < p->context && !code; i++) *sum -= p->log_probabilities[i];
  return code;
}

/* Of two rows of logits: the divergence of the second's distribution from the first's, and whether both have the same best. */
static double divergence(const float *a, const float *b, size_t n, int *same) {
  size_t best_a = 0, best_b = 0;
  double sum_a = 0, sum_b = 0, sum = 0;
  for (size_t i = 1; i < n; i++) {
    if (a[i] > a[best_a]) best_a = i;
    if (b[i] > b[best_b]) best_b = i;
  }
  for (size_t i = 0; i < n; i++) {
    const double e = exp((double)a[i] - a[best_a]);
    sum_a += e;
    sum_b += exp((double)b[i] - b[best_b]);
    sum += e * (((double)a[i] - a[best_a]) - ((double)b[i] - b[best_b]));
  }
  *same = best_a == best_b;
  return sum / sum_a - log(sum_a) + log(sum_b);
}

/* The last window's rows of both models, the reference first. */
static int compare(ppl *p, const int32_t *ids) {
  qn_cli_model *both[2] = {&p->r->reference, &p->r->model};
  int code = CLI_DONE;
  for (int i = 0; i < 2 && !code; i++) code = qn_cli_model_call(both[i], quern_sequence_free(both[i]->session, 0));
  for (uint32_t at = 0; at + 1 < p->context && !code; at += COMPARED_ROWS) {
    const uint32_t left = p->context - 1 - at, rows = left < COMPARED_ROWS ? left : COMPARED_ROWS;
    quern_tensor_view view[2];
    for (int i = 0; i < 2 && !code; i++) {
      quern_session *s = both[i]->session;
      code = qn_cli_model_call(both[i], quern_decode_feed(s, 0, ids + at, rows));
      if (!code) code = qn_cli_model_call(both[i], quern_decode_rows(s, 0, rows, &view[i], NULL));
    }
    for (uint32_t row = 0; row < rows && !code; row++) {
      int same;
      const size_t n = view[0].cols;
      p->kl += divergence((const float *)view[0].data + row * n, (const float *)view[1].data + row * n, n, &same);
      p->same_top += (uint64_t)same;
      p->compared++;
    }
  }
  return code;
}

static int run_windows(ppl *p) {
  qn_eval_run *r = p->r;
  uint64_t windows = p->count / p->context;
  if (r->limit && windows > r->limit) windows = r->limit;
  if (!windows)
    return qn_cli_fail(
        r->c, CLI_FAILED,
        "%s has %zu tokens, less than one window of --context %u: give a longer text or a smaller --context", r->path,
        p->count, (unsigned)p->context);
  for (; r->rows < windows; r->rows++) {
    const int32_t *ids = p->ids + r->rows * p->context;
    int code = score(p, &r->model, ids, &p->sum);
    if (!code && r->has_reference) code = score(p, &r->reference, ids, &p->reference_sum);
    if (!code && r->has_reference) code = compare(p, ids);
    if (code) return code;
    p->predicted += p->context - 1;
    if (qn_cli_progress(r->c, r->rows + 1, windows, "eval")) return qn_cli_interrupted();
  }
  return CLI_DONE;
}

static int prepare(ppl *p, qn_cli_model *m) {
  if (!m->info.decoder) return qn_cli_model_fail_kind(m, "predicts no next tokens");
  if (p->context > m->info.max_tokens)
    return qn_cli_fail(p->r->c, CLI_USAGE, "--context %u: %s reads at most %u tokens", (unsigned)p->context, m->path,
                       (unsigned)m->info.max_tokens);
  m->options.max_tokens = p->context;
  m->options.cache_tokens = p->context;
  m->options.logit_rows = COMPARED_ROWS;
  return CLI_DONE;
}

int qn_eval_ppl(qn_eval_run *r) {
  ppl p = {.r = r, .context = r->context};
  const uint32_t most = r->model.info.max_tokens;
  if (!p.context) p.context = most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
  if (p.context < 2) return qn_cli_fail(r->c, CLI_USAGE, "--context: at least 2 tokens, the first is not predicted");
  int code = prepare(&p, &r->model);
  if (!code && r->has_reference) code = prepare(&p, &r->reference);
  if (!code && r->has_reference && r->reference.info.vocab != r->model.info.vocab)
    code = qn_cli_fail(r->c, CLI_FAILED, "%s has %u tokens, the reference %u", r->model.path,
                       (unsigned)r->model.info.vocab, (unsigned)r->reference.info.vocab);
  if (!code) code = qn_cli_grow(r->c, &p.log_probabilities, p.context, sizeof(float));
  if (!code) code = read_ids(&p);
  if (!code) code = run_windows(&p);
  if (!code) {
    qn_eval_put_metric(r, "perplexity", exp(p.sum / (double)p.predicted));
    if (r->has_reference) {
      qn_eval_put_reference_metric(r, "perplexity", exp(p.reference_sum / (double)p.predicted));
      qn_eval_put_compared(r, "kl_mean", p.kl / (double)p.compared);
      qn_eval_put_compared(r, "top1_agreement", (double)p.same_top / (double)p.compared);
    }
  }
  free(p.log_probabilities);
  free(p.ids);
  return code;
}
