/* eval_sts.c - sentence similarity: the cosine of two embeddings against a score given by people. */
#include <stdlib.h>
#include "eval.h"

/* Pairs embedded at a time: two texts each. */
#define PAIRS (CLI_BATCH_TEXTS / 2)

typedef struct sts {
  qn_eval_run *r;
  int score, first, second; /* columns */
  qn_cli_batch batch;
  float *x, *y; /* embeddings by the model and by the reference */
  qn_eval_series cosines, scores, agreement;
} sts;

static int read_pairs(sts *s) {
  qn_tsv *t = &s->r->data;
  qn_cli_batch_clear(&s->batch);
  while (s->batch.texts < 2 * PAIRS) {
    int more;
    double score;
    int code = qn_eval_next_row(s->r, &more);
    if (code || !more) return code;
    code = qn_tsv_number(t, s->score, &score);
    if (!code) code = qn_cli_batch_add(s->r->c, &s->batch, t->fields[s->first].text, t->fields[s->first].bytes);
    if (!code) code = qn_cli_batch_add(s->r->c, &s->batch, t->fields[s->second].text, t->fields[s->second].bytes);
    if (!code) code = qn_eval_series_add(s->r->c, &s->scores, score);
    if (code) return code;
  }
  return CLI_DONE;
}

static int embed_pairs(sts *s) {
  qn_eval_run *r = s->r;
  const size_t d = r->model.info.embedding_width;
  int code = qn_cli_model_embed(&r->model, &s->batch, s->x);
  for (size_t i = 0; i + 1 < s->batch.texts && !code; i += 2) {
    code = qn_eval_series_add(r->c, &s->cosines, qn_metric_cosine(s->x + i * d, s->x + (i + 1) * d, d));
  }
  if (code || !r->has_reference) return code;
  code = qn_cli_model_embed(&r->reference, &s->batch, s->y);
  for (size_t i = 0; i < s->batch.texts && !code; i++) {
    code = qn_eval_series_add(r->c, &s->agreement, qn_metric_cosine(s->x + i * d, s->y + i * d, d));
  }
  return code;
}

static int run_pairs(sts *s) {
  qn_eval_run *r = s->r;
  int code = CLI_DONE;
  double spearman = 0;
  for (;;) {
    if ((code = read_pairs(s)) != 0) return code;
    if (!s->batch.texts) break;
    if ((code = embed_pairs(s)) != 0) return code;
  }
  code = qn_metric_spearman(r->c, s->cosines.x, s->scores.x, s->cosines.count, &spearman);
  if (code) return code;
  qn_eval_put_metric(r, "spearman", spearman);
  qn_eval_put_metric(r, "pearson", qn_metric_pearson(s->cosines.x, s->scores.x, s->cosines.count));
  qn_eval_put_cosines(r, &s->agreement);
  return CLI_DONE;
}

int qn_eval_sts(qn_eval_run *r) {
  sts s = {.r = r};
  const size_t d = r->model.info.embedding_width;
  int code = qn_eval_check_embeddings(r);
  if (code) return code;
  s.score = qn_tsv_column(&r->data, "score");
  s.first = qn_tsv_column(&r->data, "sentence1");
  s.second = qn_tsv_column(&r->data, "sentence2");
  if (s.score < 0 || s.first < 0 || s.second < 0) {
    return qn_tsv_fail_columns(&r->data, s.score < 0   ? "the column score"
                                         : s.first < 0 ? "the column sentence1"
                                                       : "the column sentence2");
  }
  code = qn_cli_grow(r->c, &s.x, 2 * PAIRS * d, sizeof *s.x);
  if (!code && r->has_reference) code = qn_cli_grow(r->c, &s.y, 2 * PAIRS * d, sizeof *s.y);
  if (!code) code = run_pairs(&s);
  qn_cli_batch_free(&s.batch);
  free(s.x);
  free(s.y);
  free(s.cosines.x);
  free(s.scores.x);
  free(s.agreement.x);
  return code;
}
