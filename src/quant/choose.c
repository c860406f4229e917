/* choose.c - the search of choose.h. The most accurate model that there is is made once; then sites take other forms in place, one
 * after another, and what is compared is what kernels make of them. First each form of each site by itself, which gives an order: the
 * least error for what is saved. Then forms are taken in that order as long as the loss allows. One thread but for the runs. */
#include "quant/choose.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/trial.h"

#define GROUPS 6u /* of uneven widths, as peg-uneven has them */

typedef struct search {
  const qn_choosing *of;
  const qn_recipe *recipe;
  qn_choice *choice;
  qn_observed seen;
  qn_outputs reference;
  qn_recipe
      first; /* of the model that trials are made with: sites that may have groups have them, others their most bits */
  qn_plan plan; /* its sites */
  size_t texts; /* of a trial */
  double error; /* of all sites at their most bits */
  qn_trial t;
} search;

void qn_choice_free(qn_env *env, qn_choice *c) {
  qn_free(env, c->site, c->bytes);
  *c = (qn_choice){0};
}

double qn_choice_cost(const qn_choice_form *f) { return f->multiply_adds + QN_COST_BYTE * f->bytes; }

/* ---- forms and what they cost ------------------------------------------------------------------------------------ */

/* Multiply-adds a token in what takes a site's values, `tokens` being those of a text; of a product of two sites half for each. */
static double products_of(const qn_arch *a, const qn_site *s, double tokens) {
  const double width = a->width, inner = (double)a->heads * a->head_dim, ffn = a->ffn;
  switch (s->kind) {
    case QN_SITE_PROJECT_IN:
      return s->channels * width;
    case QN_SITE_QKV_IN:
      return 3 * inner * width;
    case QN_SITE_Q:
    case QN_SITE_K:
    case QN_SITE_V:
    case QN_SITE_PROBS:
      return inner * tokens / 2;
    case QN_SITE_ATTN_OUT_IN:
      return inner * width;
    case QN_SITE_FFN_UP_IN:
    case QN_SITE_FFN_DOWN_IN:
      return ffn * width;
    case QN_SITE_POOLER_IN:
      return width * width / tokens;
    case QN_SITE_HEAD_IN:
      return width * a->labels / (a->head == QN_HEAD_SPAN ? 1 : tokens);
    default:
      return 0;
  }
}

/* Values of a site a token. */
static double values_of(const qn_arch *a, const qn_site *s, double tokens) {
  if (s->channels == 1 && s->layer != QN_NO_LAYER) return a->heads * tokens;
  const int of_text = a->head != QN_HEAD_SPAN &&
                      (s->kind == QN_SITE_LOGITS || (s->kind == QN_SITE_HEAD_IN && a->head_pooler));
  return of_text ? s->channels / tokens : s->channels;
}

static void add_form(qn_choice_site *c, const qn_arch *a, const qn_site *s, double tokens, uint32_t bits,
                     uint32_t groups) {
  const double products = products_of(a, s, tokens);
  qn_choice_form *f = &c->form[c->forms++];
  *f = (qn_choice_form){.bits = bits,
                        .groups = groups,
                        .multiply_adds = products * bits / 8,
                        .bytes = values_of(a, s, tokens) * bits / 8};
  if (groups > 1 && s->flags & QN_SITE_INPUT) f->multiply_adds += products / s->channels * groups * QN_COST_JOIN;
}

/* The forms of a site, down to the recipe's bits. Groups cost nothing where no product takes them: there is no plain form then. */
static void list_forms(const search *s, uint32_t i, double tokens) {
  const qn_arch *a = s->of->arch;
  const uint32_t least = s->recipe->activation_bits;
  qn_choice_site *c = &s->choice->site[i];
  qn_site site;
  qn_site_at(a, i, &site);
  if (site.flags & QN_SITE_DYNAMIC) return;
  const uint32_t panels = (uint32_t)qk_panels(site.channels);
  const uint32_t groups = site.flags & QN_SITE_MAY_GROUP && panels > 1 ? (uint32_t)qn_min_size(GROUPS, panels) : 1;
  const int plain = groups == 1 || site.flags & QN_SITE_INPUT;
  if (site.flags & QN_SITE_MAY_16) add_form(c, a, &site, tokens, 16, 1);
  if (groups > 1) add_form(c, a, &site, tokens, 8, groups);
  if (plain) add_form(c, a, &site, tokens, 8, 1);
  for (uint32_t bits = 6; bits >= least && site.flags & QN_SITE_MAY_LOW; bits -= 2)
    add_form(c, a, &site, tokens, bits, 1);
}

/* ---- recipes ----------------------------------------------------------------------------------------------------- */

static qn_site_rule rule_of(const qn_site *site, const qn_choice_form *f) {
  qn_site_rule rule = {.bits = f->bits, .symmetric = -1, .estimator = -1, .uneven = -1, .powers = -1};
  qn_format(rule.site, sizeof rule.site, "%s", site->name);
  if (f->groups > 1) rule.count = f->groups, rule.uneven = 1;
  return rule;
}

/* The form of a site in the model that trials are made with. */
static uint32_t first_form(const qn_choice_site *c) { return c->forms > 1 && c->form[1].groups > 1 ? 1 : 0; }

/* A recipe of rules: of the first model, or of what was chosen. *out is to be freed after a failure too. */
static quern_status make_recipe(const search *s, int chosen, qn_recipe *out) {
  void *p = NULL;
  *out = *s->recipe;
  out->max_loss = 0;
  out->activation_bits = 8;
  out->order = QN_ORDER_RANGE;
  out->rules = NULL;
  out->rule_count = 0;
  QN_TRY(qn_alloc_array(s->of->env, &p, s->choice->sites, sizeof *out->rules, "the sites of a recipe"));
  out->rules = p;
  out->rules_room = s->choice->sites;
  for (uint32_t i = 0; i < s->choice->sites; i++) {
    const qn_choice_site *c = &s->choice->site[i];
    const qn_choice_form *f = &c->form[chosen ? c->at : first_form(c)];
    qn_site site;
    qn_site_at(s->of->arch, i, &site);
    if (c->forms && (f->bits != 8 || f->groups > 1)) out->rules[out->rule_count++] = rule_of(&site, f);
  }
  return QUERN_OK;
}

/* ---- trials ------------------------------------------------------------------------------------------------------ */

/* Site i takes a form. */
static void put(search *s, uint32_t i, uint32_t form) {
  const qn_choice_form *f = &s->choice->site[i].form[form];
  qn_site_plan p = s->plan.site[i];
  float scale, zero;
  uint32_t end = p.site.channels;
  if (f->groups == 1) {
    qn_site_rule rule = rule_of(&p.site, f);
    qn_recipe one = s->first;
    one.rules = &rule;
    one.rule_count = 1;
    p.rule = qn_recipe_site(&one, &p.site);
    p.groups = 1;
    p.scale = &scale, p.zero = &zero, p.ends = &end;
    qn_plan_set(&p, 0, qn_range_of(&s->seen.site[i], s->seen.blocks, &p.rule));
  }
  qn_trial_place(&s->t, i, &p);
}

static quern_status loss_of(search *s, size_t texts, double *loss) {
  QN_TRY(qn_trial_run(&s->t, texts));
  *loss = qn_outputs_loss(&s->t.got, &s->reference);
  return QUERN_OK;
}

/* Every form of every site by itself. */
static quern_status measure_sites(search *s) {
  QN_TRY(qn_trial_run(&s->t, s->texts));
  s->error = qn_outputs_error(&s->t.got, &s->reference);
  for (uint32_t i = 0; i < s->choice->sites; i++) {
    qn_choice_site *c = &s->choice->site[i];
    for (uint32_t f = 1; f < c->forms; f++) {
      put(s, i, f);
      QN_TRY(qn_trial_run(&s->t, s->texts));
      c->form[f].error = qn_outputs_error(&s->t.got, &s->reference) - s->error;
    }
    if (c->forms > 1) put(s, i, 0);
  }
  return QUERN_OK;
}

/* The site whose next form adds the least error for what it saves; UINT32_MAX: there is none. */
static uint32_t next_site(const qn_choice *choice) {
  uint32_t best = UINT32_MAX;
  double least = __builtin_inf();
  for (uint32_t i = 0; i < choice->sites; i++) {
    const qn_choice_site *c = &choice->site[i];
    if (c->done || c->at + 1 >= c->forms) continue;
    const qn_choice_form *from = &c->form[c->at], *to = from + 1;
    const double saved = qn_choice_cost(from) - qn_choice_cost(to);
    const double more = __builtin_fmax(to->error, 0) - __builtin_fmax(from->error, 0);
    const double ratio = __builtin_fmax(more, 0) / saved;
    if (saved > 0 && ratio < least) least = ratio, best = i;
  }
  return best;
}

static quern_status take_forms(search *s) {
  qn_choice *choice = s->choice;
  for (uint32_t i; (i = next_site(choice)) != UINT32_MAX;) {
    qn_choice_site *c = &choice->site[i];
    qn_choice_move *m = &choice->move[choice->moves++];
    *m = (qn_choice_move){.site = i, .to = c->at + 1};
    put(s, i, m->to);
    QN_TRY(loss_of(s, s->texts, &m->loss));
    m->kept = m->loss <= choice->max_loss;
    if (m->kept) {
      c->at = m->to;
    } else {
      put(s, i, c->at);
      c->done = 1;
    }
  }
  return QUERN_OK;
}

/* The whole text decides: moves are taken back, the last first, until it agrees. */
static quern_status take_back(search *s) {
  qn_choice *choice = s->choice;
  QN_TRY(loss_of(s, s->of->text->texts, &choice->loss));
  for (uint32_t k = choice->moves; k-- > 0 && choice->loss > choice->max_loss;) {
    qn_choice_move *m = &choice->move[k];
    if (!m->kept) continue;
    m->kept = 2;
    choice->site[m->site].at = m->to - 1;
    put(s, m->site, m->to - 1);
    QN_TRY(loss_of(s, s->of->text->texts, &choice->loss));
  }
  return QUERN_OK;
}

static double cost_of(const qn_choice *choice) {
  double cost = 0;
  for (uint32_t i = 0; i < choice->sites; i++) cost += qn_choice_cost(&choice->site[i].form[choice->site[i].at]);
  return cost;
}

static quern_status search_forms(search *s) {
  qn_choice *choice = s->choice;
  for (uint32_t i = 0; i < choice->sites; i++)
    if (choice->site[i].forms) put(s, i, 0);
  QN_TRY(loss_of(s, s->of->text->texts, &choice->least_loss));
  if (choice->least_loss > choice->max_loss) {
    char least[32], most[32];
    qn_format_number(least, sizeof least, choice->least_loss);
    qn_format_number(most, sizeof most, choice->max_loss);
    return qn_fail(&s->of->env->error, QUERN_E_UNSUPPORTED,
                   "recipe %s: with all activations at their most bits the loss is %s, above the %s that are allowed: "
                   "allow more (--max-loss), or take recipe int8 or float",
                   s->recipe->name, least, most);
  }
  choice->cost_before = cost_of(choice);
  QN_TRY(measure_sites(s));
  QN_TRY(take_forms(s));
  QN_TRY(take_back(s));
  choice->cost = cost_of(choice);
  return QUERN_OK;
}

static quern_status run_model(void *user, quern_model *m) {
  search *s = user;
  quern_status status = qn_trial_begin(&s->t, m);
  if (status == QUERN_OK) status = search_forms(s);
  qn_trial_end(&s->t);
  return status;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

/* Sites with their forms, and room for all moves. */
static quern_status lay_out(search *s) {
  qn_choice *c = s->choice;
  void *p = NULL;
  const uint32_t sites = qn_site_count(s->of->arch);
  const size_t bytes = sites * (sizeof *c->site + QN_CHOICE_FORMS * sizeof *c->move);
  QN_TRY(qn_alloc(s->of->env, &p, bytes, "the forms of sites"));
  memset(p, 0, bytes);
  c->site = p;
  c->move = (qn_choice_move *)(void *)(c->site + sites);
  c->sites = sites;
  c->bytes = bytes;
  const double tokens = s->seen.texts ? (double)s->seen.first / (double)s->seen.texts : 1;
  for (uint32_t i = 0; i < sites; i++) {
    list_forms(s, i, tokens);
    s->t.runs_known += 2 * c->site[i].forms;
  }
  return QUERN_OK;
}

static quern_status choose(search *s, qn_recipe *recipe, qn_plan *plan) {
  const qn_choosing *of = s->of;
  const int histograms = s->recipe->estimator >= QN_RANGE_PERCENTILE;
  QN_TRY(qn_calibrate(&s->seen, of->env, of->job, of->text, histograms, &s->reference));
  s->texts = qn_trial_texts(of->text, s->seen.first);
  s->choice->trial_rows = s->texts / qn_calibration_each(of->text);
  s->choice->rows = qn_calibration_rows(of->text);
  QN_TRY(lay_out(s));
  QN_TRY(make_recipe(s, 0, &s->first));
  QN_TRY(qn_plan_create(&s->plan, of->env, of->arch, &s->first));
  QN_TRY(qn_plan_fill(&s->plan, of->env, &s->seen));
  const qn_quantize_job to = {.src = of->job->src, .made = &s->first, .seed = of->job->seed, .plan = &s->plan};
  QN_TRY(qn_with_model(of->env, &to, of->job, run_model, s));
  QN_TRY(make_recipe(s, 1, recipe));
  QN_TRY(qn_plan_create(plan, of->env, of->arch, recipe));
  return qn_plan_fill(plan, of->env, &s->seen);
}

/* For people. */
static void tell(const search *s, const char *name) {
  char loss[32], share[32];
  qn_format_number(loss, sizeof loss, s->choice->loss);
  qn_format_number(share, sizeof share, s->choice->cost / s->choice->cost_before);
  qn_log(s->of->env, 2, "recipe %s: loss %s on the calibration text at %s of the cost of most bits", name, loss, share);
}

quern_status qn_choose(const qn_choosing *c, qn_recipe *recipe, qn_plan *plan, qn_choice *choice) {
  qn_calibration_text text;
  qn_choosing shuffled = *c;
  const qn_recipe given = *recipe; /* without rules of its own */
  search s = {.of = &shuffled, .recipe = &given, .choice = choice};
  shuffled.text = &text;
  choice->max_loss = recipe->max_loss;
  quern_status status = qn_trial_shuffle(c->env, c->text, c->job->seed, &text);
  s.t = (qn_trial){.env = c->env, .job = c->job, .text = &text, .doing = "choosing"};
  if (status == QUERN_OK) status = choose(&s, recipe, plan);
  if (status == QUERN_OK) tell(&s, given.name);
  qn_plan_free(c->env, &s.plan);
  qn_recipe_free(c->env, &s.first);
  qn_outputs_free(c->env, &s.reference);
  qn_observed_free(c->env, &s.seen);
  qn_calibration_free(c->env, &text);
  return status;
}
