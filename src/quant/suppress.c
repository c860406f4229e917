/* suppress.c - the search of suppress.h. Each candidate is the integer model itself with other scales and zero points, run over the
 * calibration text by the kernels: what is compared is what will be executed. The same on every machine: outputs are the same bytes. */
#include "quant/suppress.h"

#include <string.h>

#include "quant/clip.h"
#include "quant/fine.h"
#include "quant/trial.h"

/* One way for gains to migrate, and what was found out about it. */
typedef struct candidate {
  qn_migration migration;
  qn_plan plan;
  qn_clip clip;
  qn_outputs reference;
  size_t texts; /* that it is compared on, the first of the calibration's */
  double error;
} candidate;

/* An integer model whose sites' values change. */
typedef struct trial {
  const qn_suppression *of;
  candidate *c;
  quern_status (*search)(struct trial *t);
  qn_trial t;
} trial;

/* ---- what it starts from -------------------------------------------------------------------------------------------- */

/* The float model as it is, on all texts. */
typedef struct base {
  qn_observed seen;
  float *reach; /* [norms, width] the greatest magnitude of each channel behind each norm that may migrate */
  size_t floats;
} base;

static qn_site_seen *behind(qn_observed *seen, uint32_t norm) {
  return &seen->site[qn_site_index(&seen->arch, norm % 2 ? QN_SITE_FFN_UP_IN : QN_SITE_QKV_IN, norm / 2)];
}

static quern_status calibrate(const qn_suppression *s, const qn_migration *m, qn_observed *seen, candidate *c) {
  const int histograms = qn_plan_needs_histograms(&c->plan);
  qn_quantize_job job = *s->job;
  job.migration = m;
  qn_outputs_clear(&c->reference);
  QN_TRY(qn_calibrate(seen, s->env, &job, s->text, histograms, &c->reference));
  c->texts = qn_trial_texts(s->text, seen->first);
  return qn_plan_fill(&c->plan, s->env, seen);
}

static quern_status create_base(const qn_suppression *s, base *b, candidate *c) {
  const uint32_t norms = 2 * s->arch->layers, width = s->arch->width;
  void *p = NULL;
  *b = (base){.floats = (size_t)norms * width};
  QN_TRY(qn_plan_create(&c->plan, s->env, s->arch, s->recipe));
  QN_TRY(calibrate(s, &c->migration, &b->seen, c));
  QN_TRY(qn_alloc_array(s->env, &p, b->floats, sizeof(float), "channels"));
  b->reach = p;
  for (uint32_t n = 0; n < norms; n++) {
    const qn_extremes *e = behind(&b->seen, n)->channel;
    for (uint32_t i = 0; i < width; i++) b->reach[n * width + i] = __builtin_fmaxf(-e[i].low, e[i].high);
  }
  return QUERN_OK;
}

static void free_base(const qn_suppression *s, base *b) {
  qn_free(s->env, b->reach, b->floats * sizeof(float));
  qn_observed_free(s->env, &b->seen);
}

/* Ranges from what was seen without migration: of the sites behind norms that migrate by least and greatest values. */
static quern_status fill_migrated(const qn_suppression *s, base *b, candidate *c) {
  QN_TRY(qn_plan_fill(&c->plan, s->env, &b->seen));
  for (uint32_t n = 0; n < c->migration.norms; n++) {
    const float *by = qn_migration_by(&c->migration, n);
    const qn_site_seen *seen = behind(&b->seen, n);
    qn_site_plan *site = &c->plan.site[seen - b->seen.site];
    qn_extremes all = {0, 0};
    if (!by || !qn_plan_is_static(site) || site->rule.scale > 0 || site->rule.low < site->rule.high) continue;
    for (uint32_t i = 0; i < s->arch->width; i++) {
      const float x = seen->channel[i].low / by[i], y = seen->channel[i].high / by[i];
      all.low = __builtin_fminf(all.low, __builtin_fminf(x, y));
      all.high = __builtin_fmaxf(all.high, __builtin_fmaxf(x, y));
    }
    qn_plan_set(site, 0, all);
  }
  return QUERN_OK;
}

static void release(qn_env *env, candidate *c) {
  qn_migration_free(env, &c->migration);
  qn_plan_free(env, &c->plan);
  qn_clip_free(env, &c->clip);
  qn_outputs_free(env, &c->reference);
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

static quern_status run(trial *t, double *error) {
  QN_TRY(qn_trial_run(&t->t, t->c->texts));
  *error = qn_outputs_error(&t->t.got, &t->c->reference);
  return QUERN_OK;
}

/* What a stage came to, for people. */
static void tell(const qn_suppression *s, const candidate *c, const char *stage) {
  static const char *const what[QN_MIGRATE_WAYS] = {"no norm migrate", "attention norms migrate", "all norms migrate",
                                                    "all norms migrate, balanced", "all norms migrate, balanced more"};
  char error[32];
  qn_format_number(error, sizeof error, __builtin_floor(c->error * 1e5 + 0.5) / 1e5);
  qn_log(s->env, 2, "recipe %s: gains of %s; %s: error %s", s->recipe->name, what[c->migration.mode], stage, error);
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

/* A site's values from the plan in the model. */
static void place(trial *t, uint32_t site) { qn_trial_place(&t->t, site, &t->c->plan.site[site]); }

/* Clipped sites at one step of the ladder. */
static void place_all(trial *t, uint32_t step) {
  qn_clip *c = &t->c->clip;
  for (uint32_t i = 0; i < c->sites; i++) {
    if (!c->clips[i]) continue;
    c->at[i] = (uint8_t)step;
    qn_plan_set(&t->c->plan.site[i], 0, qn_clip_range(c, i));
    place(t, i);
  }
}

/* As the plan has it. */
static quern_status compare(trial *t) { return run(t, &t->c->error); }

/* All sites at one step: as far as a range of that many bits may be drawn in. */
static quern_status coarse(trial *t) {
  static const uint32_t last[3] = {13, 19, QN_CLIP_STEPS - 1};
  const uint32_t bits = t->of->recipe->activation_bits, most = last[bits == 8 ? 0 : bits == 6 ? 1 : 2];
  uint32_t best = 0;
  QN_TRY(compare(t));
  for (uint32_t step = 1; step <= most && t->of->recipe->clip; step++) {
    double error;
    place_all(t, step);
    QN_TRY(run(t, &error));
    if (error >= t->c->error) continue;
    t->c->error = error;
    best = step;
  }
  if (t->of->recipe->clip) place_all(t, best);
  return QUERN_OK;
}

static void exchange(trial *t, qn_fine_value *value, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    qn_site_plan *s = &t->c->plan.site[value[i].site];
    const qn_fine_value before = {value[i].site, s->scale[0], s->zero[0]};
    s->scale[0] = value[i].scale;
    s->zero[0] = value[i].zero;
    s->low = (qn_site_lowest(s->rule.bits) - s->zero[0]) * s->scale[0];
    s->high = (qn_site_highest(s->rule.bits) - s->zero[0]) * s->scale[0];
    place(t, value[i].site);
    value[i] = before;
  }
}

/* What a layer has learned stays where the integer model's outputs are better with it. */
static quern_status offer(void *user, qn_fine_value *value, uint32_t n, int *kept) {
  trial *t = user;
  double error;
  exchange(t, value, n);
  QN_TRY(run(t, &error));
  *kept = error < t->c->error;
  if (*kept)
    t->c->error = error;
  else
    exchange(t, value, n);
  return QUERN_OK;
}

static quern_status fine(trial *t) {
  const qn_fine f = {.env = t->of->env,
                     .job = t->of->job,
                     .text = t->of->text,
                     .texts = t->c->texts,
                     .migration = &t->c->migration,
                     .plan = &t->c->plan,
                     .learns = t->c->clip.clips,
                     .offer = offer,
                     .user = t};
  return qn_fine_run(&f);
}

static quern_status clip(trial *t) {
  QN_TRY(coarse(t));
  tell(t->of, t->c, "clipped");
  if (t->of->recipe->clip != QN_CLIP_FINE) return QUERN_OK;
  t->t.doing = "learning scales";
  QN_TRY(fine(t));
  tell(t->of, t->c, "learned");
  return QUERN_OK;
}

static quern_status run_model(void *user, quern_model *m) {
  trial *t = user;
  quern_status status = qn_trial_begin(&t->t, m);
  if (status == QUERN_OK) status = t->search(t);
  qn_trial_end(&t->t);
  return status;
}

static quern_status search_with(const qn_suppression *s, candidate *c, quern_status (*how)(trial *t),
                                const char *doing) {
  trial t = {.of = s, .c = c, .search = how, .t = {.env = s->env, .job = s->job, .text = s->text, .doing = doing}};
  const qn_quantize_job to = {
      .src = s->job->src, .recipe = s->job->recipe, .seed = s->job->seed, .migration = &c->migration, .plan = &c->plan};
  return qn_with_model(s->env, &to, s->job, run_model, &t);
}

/* The way for gains to migrate with which the model comes nearest before anything is clipped. from: with what it is compared. */
static quern_status choose(const qn_suppression *s, base *b, candidate *from, uint32_t *best) {
  const uint32_t migrate = s->recipe->migrate;
  double least = __builtin_inf();
  *best = migrate;
  if (migrate < QN_MIGRATE_BALANCED) return QUERN_OK;
  for (uint32_t way = migrate == QN_MIGRATE_AUTO ? 0 : migrate; way < QN_MIGRATE_WAYS; way++) {
    candidate c = {.reference = from->reference, .texts = from->texts};
    quern_status status = qn_migration_create(&c.migration, s->env, s->source, s->arch, way, b->reach);
    if (status == QUERN_OK) status = qn_plan_create(&c.plan, s->env, s->arch, s->recipe);
    if (status == QUERN_OK) status = fill_migrated(s, b, &c);
    if (status == QUERN_OK) status = search_with(s, &c, compare, "migrating gains");
    if (status == QUERN_OK) tell(s, &c, "nothing clipped");
    if (status == QUERN_OK && c.error < least) least = c.error, *best = way;
    c.reference = (qn_outputs){0};
    release(s->env, &c);
    QN_TRY(status);
  }
  return QUERN_OK;
}

static quern_status find(const qn_suppression *s, base *b, candidate *c) {
  uint32_t way;
  QN_TRY(create_base(s, b, c));
  QN_TRY(choose(s, b, c, &way));
  if (way != QN_MIGRATE_NONE) {
    QN_TRY(qn_migration_create(&c->migration, s->env, s->source, s->arch, way, b->reach));
    qn_observed_free(s->env, &b->seen);
    QN_TRY(calibrate(s, &c->migration, &b->seen, c));
  }
  QN_TRY(qn_clip_create(&c->clip, s->env, &b->seen, &c->plan));
  qn_observed_free(s->env, &b->seen);
  return search_with(s, c, clip, "clipping");
}

quern_status qn_suppress(const qn_suppression *s, qn_plan *plan, qn_migration *m, double *error) {
  qn_calibration_text text;
  qn_suppression shuffled = *s;
  candidate c = {0};
  base b = {0};
  shuffled.text = &text;
  quern_status status = qn_trial_shuffle(s->env, s->text, s->job->seed, &text);
  if (status == QUERN_OK) status = find(&shuffled, &b, &c);
  if (status == QUERN_OK) {
    const qn_plan empty = *plan;
    *plan = c.plan;
    c.plan = empty;
    *m = c.migration;
    c.migration = (qn_migration){0};
    *error = c.error;
  }
  release(s->env, &c);
  free_base(s, &b);
  qn_calibration_free(s->env, &text);
  return status;
}
