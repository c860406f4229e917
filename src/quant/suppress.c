/* suppress.c - the search of suppress.h. Each candidate is the integer model itself with other scales and zero points, run over the
 * calibration text by the kernels: what is compared is what will be executed. The same on every machine: outputs are the same bytes. */
#include "quant/suppress.h"

#include <string.h>

#include "quant/clip.h"
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
  int fine; /* site by site, from where the clip is */
  qn_trial t;
} trial;

/* ---- one way -------------------------------------------------------------------------------------------------------- */

static quern_status create(const qn_suppression *s, candidate *c, uint32_t mode) {
  qn_observed seen = {0};
  *c = (candidate){.error = __builtin_inf()};
  QN_TRY(qn_migration_create(&c->migration, s->env, s->source, s->arch, mode));
  QN_TRY(qn_plan_create(&c->plan, s->env, s->arch, s->recipe));
  qn_quantize_job job = *s->job;
  job.migration = &c->migration;
  quern_status status = qn_calibrate(&seen, s->env, &job, s->text, qn_plan_needs_histograms(&c->plan), &c->reference);
  if (status == QUERN_OK) status = qn_plan_fill(&c->plan, s->env, &seen);
  if (status == QUERN_OK) {
    c->texts = qn_trial_texts(s->text, seen.first);
    status = qn_clip_create(&c->clip, s->env, &seen, &c->plan);
  }
  qn_observed_free(s->env, &seen);
  return status;
}

static void release(qn_env *env, candidate *c) {
  qn_migration_free(env, &c->migration);
  qn_plan_free(env, &c->plan);
  qn_clip_free(env, &c->clip);
  qn_outputs_free(env, &c->reference);
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

/* A site's values from its steps, in the plan and in the model. */
static void place(trial *t, uint32_t site) {
  qn_site_plan *s = &t->c->plan.site[site];
  qn_plan_set(s, 0, qn_clip_range(&t->c->clip, site));
  qn_trial_place(&t->t, site, s);
}

static quern_status run(trial *t, double *error) {
  QN_TRY(qn_trial_run(&t->t, t->c->texts));
  *error = qn_outputs_error(&t->t.got, &t->c->reference);
  return QUERN_OK;
}

typedef struct steps {
  int low, high;
} steps;

static int moved(uint8_t *at, int by) {
  const int before = *at, to = before + by, last = (int)QN_CLIP_STEPS - 1;
  *at = (uint8_t)(to < 0 ? 0 : to > last ? last : to);
  return *at != before;
}

/* Moves the ends of all sites of a kind (kind QN_SITE_KINDS: of site `site`) where they can; with what comes out worse they go back. */
static quern_status try_move(trial *t, uint32_t kind, uint32_t site, steps by, int *better) {
  qn_clip *c = &t->c->clip;
  const uint32_t sites = c->sites;
  double error;
  int any = 0;
  *better = 0;
  memcpy(c->old_low, c->at_low, sites);
  memcpy(c->old_high, c->at_high, sites);
  for (uint32_t i = 0; i < sites; i++) {
    if (!c->clips[i] || (kind == QN_SITE_KINDS ? i != site : t->c->plan.site[i].site.kind != kind)) continue;
    const int low = by.low && moved(&c->at_low[i], by.low), high = by.high && moved(&c->at_high[i], by.high);
    if (!low && !high) continue;
    place(t, i);
    any = 1;
  }
  if (!any) return QUERN_OK;
  QN_TRY(run(t, &error));
  if (error < t->c->error) {
    t->c->error = error;
    *better = 1;
    return QUERN_OK;
  }
  for (uint32_t i = 0; i < sites; i++) {
    const int back = c->old_low[i] != c->at_low[i] || c->old_high[i] != c->at_high[i];
    c->at_low[i] = c->old_low[i];
    c->at_high[i] = c->old_high[i];
    if (back) place(t, i);
  }
  return QUERN_OK;
}

/* Further the same way as long as it helps. */
static quern_status follow(trial *t, uint32_t kind, uint32_t site, steps by, int *any) {
  int better = 1;
  while (better) {
    QN_TRY(try_move(t, kind, site, by, &better));
    *any |= better;
  }
  return QUERN_OK;
}

static quern_status fine_of(trial *t, uint32_t kind, uint32_t site) {
  static const steps all[] = {
      {-(int)QN_CLIP_STEPS, -(int)QN_CLIP_STEPS}, {2, 2}, {-1, -1}, {1, 0}, {0, 1}, {-1, 0}, {0, -1}};
  int any = 0;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    if (i == 2 && any) continue; /* where further in or all the way back was better, a step back is not */
    QN_TRY(follow(t, kind, site, all[i], &any));
  }
  return QUERN_OK;
}

/* By kinds of sites, then by sites. */
static quern_status fine(trial *t) {
  for (uint32_t kind = QN_SITE_QKV_IN; kind <= QN_SITE_FFN_DOWN_IN; kind++) QN_TRY(fine_of(t, kind, 0));
  for (uint32_t i = 0; i < t->c->clip.sites; i++)
    if (t->c->clip.clips[i]) QN_TRY(fine_of(t, QN_SITE_KINDS, i));
  return QUERN_OK;
}

/* All sites at one step: as far as a range of that many bits may be drawn in. */
static quern_status coarse(trial *t) {
  static const uint32_t last[3] = {13, 19, QN_CLIP_STEPS - 1};
  const uint32_t bits = t->of->recipe->activation_bits, most = last[bits == 8 ? 0 : bits == 6 ? 1 : 2];
  qn_clip *c = &t->c->clip;
  uint32_t best = 0;
  for (uint32_t step = 0; step <= (t->of->recipe->clip ? most : 0); step++) {
    double error;
    for (uint32_t i = 0; i < c->sites; i++) {
      c->at_low[i] = c->at_high[i] = (uint8_t)step;
      if (c->clips[i] && step) place(t, i);
    }
    QN_TRY(run(t, &error));
    if (step && error >= t->c->error) continue;
    t->c->error = error;
    best = step;
  }
  for (uint32_t i = 0; i < c->sites; i++) {
    c->at_low[i] = c->at_high[i] = (uint8_t)best;
    if (c->clips[i] && t->of->recipe->clip) place(t, i);
  }
  return QUERN_OK;
}

static quern_status run_model(void *user, quern_model *m) {
  trial *t = user;
  const qn_suppression *s = t->of;
  t->t = (qn_trial){.env = s->env, .job = s->job, .text = s->text, .doing = t->fine ? "fine clipping" : "clipping"};
  quern_status status = qn_trial_begin(&t->t, m);
  if (status == QUERN_OK) status = t->fine ? fine(t) : coarse(t);
  qn_trial_end(&t->t);
  return status;
}

static quern_status search(const qn_suppression *s, candidate *c, int is_fine) {
  trial t = {.of = s, .c = c, .fine = is_fine};
  const qn_quantize_job to = {
      .src = s->job->src, .recipe = s->job->recipe, .seed = s->job->seed, .migration = &c->migration, .plan = &c->plan};
  return qn_with_model(s->env, &to, s->job, run_model, &t);
}

static quern_status choose(const qn_suppression *s, qn_plan *plan, qn_migration *m, double *error) {
  const int automatic = s->recipe->migrate == QN_MIGRATE_AUTO;
  const uint32_t first = automatic ? QN_MIGRATE_NONE : s->recipe->migrate, last = automatic ? QN_MIGRATE_ALL : first;
  candidate best = {.error = __builtin_inf()}, next = {0};
  quern_status status = QUERN_OK;
  for (uint32_t mode = first; mode <= last && status == QUERN_OK; mode++) {
    status = create(s, &next, mode);
    if (status == QUERN_OK) status = search(s, &next, 0);
    if (status == QUERN_OK && (mode == first || next.error < best.error)) {
      const candidate worse = best;
      best = next;
      next = worse;
    }
    release(s->env, &next);
    next = (candidate){0};
  }
  if (status == QUERN_OK && s->recipe->clip == QN_CLIP_FINE) status = search(s, &best, 1);
  if (status == QUERN_OK) {
    const qn_plan empty = *plan;
    *plan = best.plan;
    best.plan = empty;
    *m = best.migration;
    best.migration = (qn_migration){0};
    *error = best.error;
  }
  release(s->env, &best);
  return status;
}

/* Which norms, for people. */
static void tell(const qn_suppression *s, const qn_migration *m) {
  static const char *const what[QN_MIGRATE_AUTO] = {"no norm", "attention norms", "all norms"};
  qn_log(s->env, 1, "recipe %s: gains of %s migrate", s->recipe->name, what[m->mode]);
}

quern_status qn_suppress(const qn_suppression *s, qn_plan *plan, qn_migration *m, double *error) {
  qn_calibration_text text;
  qn_suppression shuffled = *s;
  shuffled.text = &text;
  quern_status status = qn_trial_shuffle(s->env, s->text, s->job->seed, &text);
  if (status == QUERN_OK) status = choose(&shuffled, plan, m, error);
  if (status == QUERN_OK) tell(s, m);
  qn_calibration_free(s->env, &text);
  return status;
}
