/* select_text.c - which rows of a calibration file are taken (calibrate.h): drawn by the seed, the longest, or of some drawn ones those with the
 * most outliers, by a pass of the float model over their beginnings. */
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/calibrate.h"
#include "run/decoder.h"

#define DRAWN 4u        /* times as many rows, of which the ones with the most outliers are taken */
#define BEGINNING 128u  /* tokens of a text, special ones included */
#define ONE 1024.0      /* what squared ranges are counted in: as integers, whose sum has no order */
#define RANGE_MOST 1e9f /* above what any row has: twice its channels */

typedef struct scoring {
  qn_env *env;
  const qn_quantize_job *job;
  const qn_calibration_text *text;
  quern_session *s;
  uint64_t *of_token;    /* [max_tokens] of the pass */
  qn_ranked_row *scores; /* [rows] means over tokens */
} scoring;

/* The square of a row's range over its root mean square: what codes with one scale a token lose by. */
static uint64_t square_of_range(const float *x, size_t d) {
  float low = 0, high = 0;
  double power = 0;
  for (size_t i = 0; i < d; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
    power += (double)x[i] * (double)x[i];
  }
  const double range = (double)high - (double)low, square = range * range * (double)d / power;
  return square >= 0 && square < (double)RANGE_MOST ? (uint64_t)(square * ONE) : 0;
}

static void observe(void *user, const qn_seen *seen) {
  const scoring *c = user;
  const uint32_t k = seen->kind;
  if (seen->layer == QN_NO_LAYER ||
      (k != QN_SITE_QKV_IN && k != QN_SITE_ATTN_OUT_IN && k != QN_SITE_FFN_UP_IN && k != QN_SITE_FFN_DOWN_IN))
    return;
  for (size_t r = 0; r < seen->rows; r++)
    c->of_token[seen->row + r] += square_of_range(seen->x + r * seen->ld, seen->d);
}

static quern_status end_pass(void *user, size_t first, uint32_t batch) {
  const scoring *c = user;
  const quern_session *s = c->s;
  const qn_quantize_job *job = c->job;
  const size_t rows = qn_calibration_rows(c->text);
  for (uint32_t i = 0; i < batch && first + i < rows; i++) {
    double sum = 0;
    for (uint32_t t = 0; t < s->lens[i]; t++) sum += (double)c->of_token[s->starts[i] + t];
    c->scores[first + i].measure = sum / (double)qn_max_size(s->lens[i], 1);
  }
  memset(c->of_token, 0, s->max_tokens * sizeof *c->of_token);
  if (job->progress && job->progress(job->progress_user, first + batch, rows, "selecting text"))
    return qn_fail(&c->s->error, QUERN_E_CANCELLED, "calibration was cancelled; nothing was written");
  return QUERN_OK;
}

static quern_status run_session(scoring *c) {
  void *p = NULL;
  QN_TRY(qn_alloc_array(c->env, &p, c->s->max_tokens, sizeof *c->of_token, "outliers of tokens"));
  c->of_token = p;
  memset(c->of_token, 0, c->s->max_tokens * sizeof *c->of_token);
  c->s->observe = observe;
  c->s->observe_user = c;
  const quern_status status = qn_calibration_run(c->s, c->env, c->text, c->text->texts, end_pass, c, "selecting text",
                                                 c->job->calibration);
  qn_free(c->env, c->of_token, c->s->max_tokens * sizeof *c->of_token);
  return status;
}

static quern_status run_model(void *user, quern_model *m) {
  scoring *c = user;
  quern_session_options options = {.max_sequences = QN_CALIBRATION_BATCH};
  options.text_tokens = (uint32_t)qn_min_size(BEGINNING, m->arch.positions);
  options.max_tokens = QN_CALIBRATION_BATCH * options.text_tokens;
  if (m->arch.causal) options.cache_tokens = QN_CALIBRATION_BATCH * (uint32_t)qk_round_up(BEGINNING, QN_PAGE_TOKENS);
  QN_TRY(qn_session_resolve(&options, m, &c->env->error));
  QN_TRY(qn_session_create(&c->s, m, &options));
  const quern_status status = run_session(c);
  qn_session_free(c->s);
  return status;
}

/* Rows of scores [count], ascending, stay in the text. */
static void keep_rows(qn_calibration_text *t, const qn_ranked_row *scores, size_t count) {
  const size_t each = qn_calibration_each(t);
  int64_t *offsets = (int64_t *)(void *)t->offsets.data, at = 0;
  size_t texts = 0;
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < each; j++) {
      const int64_t from = offsets[scores[i].row * each + j], bytes = offsets[scores[i].row * each + j + 1] - from;
      memmove(t->utf8.data + at, t->utf8.data + from, (size_t)bytes);
      at += bytes;
      offsets[++texts] = at; /* not read again: rows ascend */
    }
  t->texts = texts;
  t->utf8.bytes = (size_t)at;
  t->offsets.bytes = (texts + 1) * sizeof *offsets;
}

static quern_status take_outliers(qn_calibration_text *t, qn_env *env, const qn_quantize_job *job, uint32_t rows) {
  const size_t drawn = qn_calibration_rows(t);
  void *p = NULL;
  if (drawn <= rows) return QUERN_OK;
  QN_TRY(qn_alloc_array(env, &p, drawn, sizeof(qn_ranked_row), "outliers of texts"));
  scoring c = {.env = env, .job = job, .text = t, .scores = p};
  for (size_t i = 0; i < drawn; i++) c.scores[i] = (qn_ranked_row){0, i};
  const quern_status status = qn_with_float_model(env, job, run_model, &c);
  if (status == QUERN_OK) {
    qn_rank_rows(c.scores, drawn, rows);
    keep_rows(t, c.scores, rows);
  }
  qn_free(env, p, drawn * sizeof(qn_ranked_row));
  return status;
}

quern_status qn_calibration_select(qn_calibration_text *t, qn_env *env, const qn_quantize_job *job, uint32_t rows) {
  const uint32_t most = (uint32_t)qn_min_size((uint64_t)DRAWN * rows, UINT32_MAX);
  if (job->select == QN_SELECT_LONGEST) return qn_calibration_longest(t, env, job->calibration, rows);
  if (job->select == QN_SELECT_RANDOM) return qn_calibration_read(t, env, job->calibration, rows, job->seed);
  QN_TRY(qn_calibration_read(t, env, job->calibration, most, job->seed));
  return take_outliers(t, env, job, rows);
}
