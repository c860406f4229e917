/* examine.c - see examine.h. Sums are taken in order, when lanes are done: the same report on every machine. */
#include "quant/examine.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/sort.h"

#define TEXTS 32u           /* that errors are taken on, at least one row */
#define HIDDEN_TOKENS 1024u /* of them, whose hidden states are kept */

/* ---- what a model gives ------------------------------------------------------------------------------------------ */

/* Hidden states and outputs of one model. */
typedef struct capture {
  const qn_examining *of;
  const qn_calibration_text *text;
  size_t texts, first, tokens; /* first: tokens of the blocks before; tokens: memory for so many */
  float *hidden;               /* [layers + 1, tokens, width] */
  size_t bytes;
  qn_outputs outputs;
  quern_session *s;
  qn_examination *names; /* whose tokens get their text from the model; NULL: none do */
} capture;

static float *rows_of(const capture *c, uint32_t index, size_t token) {
  return c->hidden + (index * c->tokens + token) * c->of->arch->width;
}

static void keep(void *user, const qn_seen *seen) {
  capture *c = user;
  const size_t bytes = c->of->arch->width * sizeof(float);
  if (seen->kind != QN_SITE_QKV_IN) return;
  for (size_t r = 0; r < seen->rows; r++) {
    const size_t token = c->first + seen->row + r;
    if (token < c->tokens) memcpy(rows_of(c, seen->layer, token), seen->x + r * seen->ld, bytes);
  }
}

static quern_status end_block(void *user, size_t first, uint32_t batch) {
  capture *c = user;
  quern_session *s = c->s;
  const size_t width = c->of->arch->width, tokens = s->starts[batch - 1] + s->lens[batch - 1];
  (void)first;
  qn_hidden_floats(s, batch);
  for (size_t t = 0; t < tokens && c->first + t < c->tokens; t++)
    memcpy(rows_of(c, c->of->arch->layers, c->first + t), s->x + t * width, width * sizeof(float));
  QN_TRY(qn_outputs_add(&c->outputs, c->of->env, s, batch));
  c->first += tokens;
  return QUERN_OK;
}

/* The text of a token; cut where it is long, between characters. */
static void name_token(const qn_tokenizer *t, qn_outlier_token *o) {
  char text[256];
  size_t n = 0;
  if (!t->kind || qn_tokenizer_decode(t, &o->id, 1, 1, text, sizeof text, &n) != QUERN_OK) return;
  if (n >= sizeof o->text) n = sizeof o->text - 1;
  while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80) n--;
  memcpy(o->text, text, n);
  o->text[n] = 0;
}

static quern_status run_model(void *user, quern_model *m) {
  capture *c = user;
  const qn_examining *e = c->of;
  for (uint32_t i = 0; c->names && i < c->names->before.sites; i++)
    for (uint32_t k = 0; k < c->names->site[i].tokens; k++) name_token(&m->tokenizer, &c->names->site[i].token[k]);
  QN_TRY(qn_calibration_session(&c->s, e->env, m));
  c->s->observe = keep;
  c->s->observe_user = c;
  const quern_status status = qn_calibration_run(c->s, e->env, c->text, c->texts, end_block, c, "comparing",
                                                 e->job->calibration);
  qn_session_free(c->s);
  return status;
}

static quern_status create(capture *c) {
  void *p = NULL;
  c->bytes = ((size_t)c->of->arch->layers + 1) * c->tokens * c->of->arch->width * sizeof(float);
  QN_TRY(qn_alloc(c->of->env, &p, c->bytes, "hidden states"));
  memset(p, 0, c->bytes);
  c->hidden = p;
  return QUERN_OK;
}

static void release(capture *c) {
  qn_free(c->of->env, c->hidden, c->bytes);
  qn_outputs_free(c->of->env, &c->outputs);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* Hidden states whose norm keeps its gain out are multiplied by it. */
static void put_gains(const capture *c, const qn_migration *m) {
  const size_t width = c->of->arch->width;
  for (uint32_t l = 0; l < c->of->arch->layers; l++) {
    const float *by = qn_migration_by(m, 2 * l);
    for (size_t t = 0; by && t < c->tokens; t++)
      for (size_t i = 0; i < width; i++) rows_of(c, l, t)[i] *= by[i];
  }
}

static double mean_cosine(const capture *got, const capture *of, size_t width) {
  const float *x = (const float *)(const void *)got->outputs.last.data;
  const float *y = (const float *)(const void *)of->outputs.last.data;
  const size_t n = got->outputs.last.bytes / (width * sizeof *x);
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double xy = 0, xx = 0, yy = 0;
    for (size_t j = i * width; j < (i + 1) * width; j++) {
      xy += (double)x[j] * (double)y[j];
      xx += (double)x[j] * (double)x[j];
      yy += (double)y[j] * (double)y[j];
    }
    sum += xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
  }
  return n ? sum / (double)n : 0;
}

static void compare(qn_examination *out, capture *got, const capture *of) {
  const qn_examining *e = of->of;
  const qn_arch *a = e->arch;
  put_gains(got, e->migration);
  out->tokens = qn_min_size(of->first, of->tokens);
  out->rows = of->texts / qn_calibration_each(of->text);
  for (uint32_t l = 0; l <= a->layers; l++)
    out->layer_error[l] = qn_error_over_spread(rows_of(got, l, 0), rows_of(of, l, 0), out->tokens * a->width);
  out->output_error = qn_outputs_loss(&got->outputs, &of->outputs);
  if (a->head == QN_HEAD_NONE && a->pool != QN_POOL_NONE)
    out->cosine = mean_cosine(got, of, qn_arch_embedding_width(a));
  out->layers = a->layers;
}

/* ---- outliers ---------------------------------------------------------------------------------------------------- */

static float magnitude(qn_extremes e) { return e.high >= e.low ? fmaxf(fabsf(e.low), fabsf(e.high)) : 0; }
static float range_of(qn_extremes e) { return e.high >= e.low ? fmaxf(e.high, 0) - fminf(e.low, 0) : 0; }

static float median(float *work, size_t n) {
  qn_sort_floats(work, n);
  return n ? work[n / 2] : 0;
}

static void find_channels(const qn_site_seen *seen, qn_site_examined *x, float *work) {
  for (uint32_t c = 0; c < seen->channels; c++) work[c] = range_of(seen->channel[c]);
  x->median_channel = median(work, seen->channels);
  for (uint32_t c = 0; c < seen->channels && seen->channels > 1; c++) {
    const float range = range_of(seen->channel[c]);
    if (!(range > QN_OUTLIER_CHANNEL * x->median_channel)) continue;
    x->outlier_channels++;
    uint32_t at = x->channels;
    while (at > 0 && range > x->channel[at - 1].high - x->channel[at - 1].low) at--;
    if (at == QN_OUTLIERS) continue;
    if (x->channels < QN_OUTLIERS) x->channels++;
    memmove(x->channel + at + 1, x->channel + at, (x->channels - at - 1) * sizeof *x->channel);
    x->channel[at] = (qn_outlier_channel){c, fminf(seen->channel[c].low, 0), fmaxf(seen->channel[c].high, 0)};
  }
}

/* Tokens are outliers by their id: a list of ids for the whole site, counts[vocab] of how often each is one. */
static void find_tokens(const qn_observed *o, const qn_site_seen *seen, uint32_t offset, qn_site_examined *x,
                        float *work, uint32_t *counts, uint32_t vocab) {
  const size_t n = o->first;
  memset(counts, 0, vocab * sizeof *counts);
  for (size_t t = 0; t < n; t++) work[t] = magnitude(seen->token[t]);
  x->median_token = median(work, n);
  for (size_t t = 0; t < n; t++) {
    if (!(magnitude(seen->token[t]) > QN_OUTLIER_TOKEN * x->median_token) || (uint32_t)o->id[t] >= vocab) continue;
    x->outlier_tokens++;
    counts[o->id[t]]++;
  }
  for (; x->tokens < QN_OUTLIERS; x->tokens++) {
    uint32_t most = 0;
    for (uint32_t id = 1; id < vocab; id++)
      if (counts[id] > counts[most]) most = id;
    if (!counts[most]) break;
    x->token[x->tokens] = (qn_outlier_token){.id = (int32_t)most, .count = counts[most], .first = UINT32_MAX};
    counts[most] = 0;
  }
  for (size_t t = 0; t < n; t++)
    for (uint32_t k = 0; k < x->tokens; k++) {
      qn_outlier_token *to = &x->token[k];
      const uint32_t position = (uint32_t)o->position[t] - offset;
      if (o->id[t] != to->id || !(magnitude(seen->token[t]) > QN_OUTLIER_TOKEN * x->median_token)) continue;
      to->first = position < to->first ? position : to->first;
      to->last = position > to->last ? position : to->last;
      to->low = fminf(to->low, seen->token[t].low);
      to->high = fmaxf(to->high, seen->token[t].high);
    }
}

/* The part of tokens that codes of a site, with one range, cannot hold. */
static double clipped(const qn_observed *o, const qn_site_seen *seen, const qn_site_plan *s) {
  if (!qn_plan_is_static(s) || s->groups > 1 || !o->first) return 0;
  const double scale = (double)s->scale[0], half = scale / 2, zero = (double)s->zero[0];
  const double low = ((double)qn_site_lowest(s->rule.bits) - zero) * scale - half;
  const double high = ((double)qn_site_highest(s->rule.bits) - zero) * scale + half;
  size_t count = 0;
  for (size_t t = 0; t < o->first; t++) count += (double)seen->token[t].low < low || (double)seen->token[t].high > high;
  return (double)count / (double)o->first;
}

/* Whether a site sees every token; else it sees one row of a text. */
static int sees_tokens(const qn_arch *a, const qn_site *s) {
  return s->layer != QN_NO_LAYER || s->kind < QN_SITE_QKV_IN || s->kind == qn_site_output_kind(a);
}

static quern_status find_outliers(const qn_examining *e, qn_examination *x) {
  const qn_observed *o = &x->before, *after = x->after.sites ? &x->after : o;
  const size_t floats = qn_max_size(o->first, qn_max_size(e->arch->ffn, e->arch->width)) + e->arch->labels;
  void *work = NULL, *counts = NULL;
  quern_status status = qn_alloc_array(e->env, &work, floats, sizeof(float), "outliers");
  if (status == QUERN_OK) status = qn_alloc_array(e->env, &counts, e->arch->vocab, sizeof(uint32_t), "outliers");
  for (uint32_t i = 0; i < o->sites && status == QUERN_OK; i++) {
    qn_site site;
    qn_site_at(e->arch, i, &site);
    find_channels(&o->site[i], &x->site[i], work);
    if (!sees_tokens(e->arch, &site)) continue;
    find_tokens(o, &o->site[i], e->arch->position_offset, &x->site[i], work, counts, e->arch->vocab);
    if (i < e->plan->count) x->site[i].clipped = clipped(after, &after->site[i], &e->plan->site[i]);
  }
  qn_free(e->env, work, floats * sizeof(float));
  qn_free(e->env, counts, e->arch->vocab * sizeof(uint32_t));
  return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void qn_examination_free(qn_env *env, qn_examination *x) {
  qn_free(env, x->site, x->before.sites * sizeof *x->site);
  qn_free(env, x->layer_error, (x->before.arch.layers + 1) * sizeof *x->layer_error);
  qn_observed_free(env, &x->before);
  qn_observed_free(env, &x->after);
  *x = (qn_examination){0};
}

static quern_status compare_models(const qn_examining *e, const qn_calibration_text *text, qn_examination *out) {
  capture of = {.of = e, .text = text, .names = out};
  of.texts = qn_min_size(TEXTS, qn_calibration_rows(text)) * qn_calibration_each(text);
  of.tokens = qn_min_size(HIDDEN_TOKENS, out->before.first);
  capture got = of;
  got.names = NULL;
  qn_quantize_job plain = *e->job, to = {.src = e->job->src, .seed = e->job->seed, .made = e->recipe};
  plain.migration = NULL;
  to.migration = e->migration;
  to.progress = e->job->progress, to.progress_user = e->job->progress_user;
  if (e->recipe->rounding) to.calibration = e->job->calibration, to.calibration_rows = e->job->calibration_rows;
  to.plan = e->plan->count ? e->plan : NULL;
  quern_status status = create(&of);
  if (status == QUERN_OK) status = create(&got);
  if (status == QUERN_OK) status = qn_with_float_model(e->env, &plain, run_model, &of);
  if (status == QUERN_OK) status = qn_with_model(e->env, &to, e->job, run_model, &got);
  if (status == QUERN_OK) compare(out, &got, &of);
  release(&of);
  release(&got);
  return status;
}

static quern_status run(const qn_examining *e, const qn_calibration_text *text, qn_examination *out) {
  qn_quantize_job job = *e->job;
  void *p = NULL;
  job.migration = NULL;
  QN_TRY(qn_calibrate(&out->before, e->env, &job, text, 0, NULL));
  job.migration = e->migration;
  if (e->migration->norms) QN_TRY(qn_calibrate(&out->after, e->env, &job, text, 0, NULL));
  QN_TRY(qn_alloc_array(e->env, &p, out->before.sites, sizeof *out->site, "what sites saw"));
  out->site = p;
  QN_TRY(qn_alloc_array(e->env, &p, out->before.arch.layers + 1, sizeof *out->layer_error, "errors of layers"));
  out->layer_error = p;
  QN_TRY(find_outliers(e, out));
  return compare_models(e, text, out);
}

quern_status qn_examine(const qn_examining *e, qn_examination *out) {
  qn_calibration_text text;
  const uint32_t rows = e->job->calibration_rows ? e->job->calibration_rows : QN_CALIBRATION_ROWS;
  *out = (qn_examination){0};
  quern_status status = qn_calibration_read(&text, e->env, e->job->calibration, rows, e->job->seed);
  if (status == QUERN_OK) status = run(e, &text, out);
  qn_calibration_free(e->env, &text);
  return status;
}
