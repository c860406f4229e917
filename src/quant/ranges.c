/* ranges.c - estimators of ranges and the plan of a static recipe's sites (ranges.h). Needs round-to-nearest (base/thread.h's guard).
 * Deterministic; any thread. */
#include "quant/ranges.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/groups.h"
#include "quant/order.h"

#define LOG2_E 1.44269504088896340736
#define STEPS 100u /* that an end of the range with the least squared error is looked for in */

/* ---- estimators -------------------------------------------------------------------------------------------------- */

/* The value that `beyond` of all values are above (direction 1) or below (-1), to the end of a bin. */
static float end_of(const qn_site_seen *s, double beyond, int direction) {
  double left = beyond * (double)s->count;
  for (uint32_t i = 0; i < QN_BINS; i++) {
    const uint32_t bin = direction > 0 ? QN_BINS - 1 - i : i;
    left -= (double)s->bin[bin];
    if (left >= 0) continue;
    const float end = direction > 0 ? qn_bin_end(bin) : bin ? qn_bin_end(bin - 1) : s->all.low;
    return direction > 0 ? __builtin_fminf(end, s->all.high) : __builtin_fmaxf(end, s->all.low);
  }
  return 0;
}

/* Squared error of all values when the range is low ... high: rounding within it, what is cut off outside. */
static double error_of(const qn_site_seen *s, double low, double high, double steps) {
  const double step = (high - low) / steps, rounding = step * step / 12;
  double error = 0;
  for (uint32_t i = 0; i < QN_BINS; i++) {
    if (!s->bin[i]) continue;
    const double x = (double)qn_bin_value(i), out = x > high ? x - high : x < low ? low - x : 0;
    error += (double)s->bin[i] * (out > 0 ? out * out : rounding);
  }
  return error;
}

/* Both ends drawn in together, then each by itself. */
static qn_extremes least_error(const qn_site_seen *s, qn_extremes all, int symmetric, double limit) {
  const double steps = 2 * limit, most = (double)__builtin_fmaxf(-all.low, all.high);
  const double low = symmetric ? -most : (double)all.low, high = symmetric ? most : (double)all.high;
  uint32_t at[2] = {STEPS, STEPS};
  double least = error_of(s, low, high, steps);
  for (uint32_t pass = 0; pass < (symmetric ? 1u : 3u); pass++)
    for (uint32_t i = 1; i <= STEPS; i++) {
      const uint32_t l = pass == 2 ? at[0] : i, h = pass == 1 ? at[1] : i;
      const double error = error_of(s, low * l / STEPS, high * h / STEPS, steps);
      if (error >= least) continue;
      least = error;
      at[0] = l, at[1] = h;
    }
  return (qn_extremes){(float)(low * at[0] / STEPS), (float)(high * at[1] / STEPS)};
}

qn_extremes qn_range_of(const qn_site_seen *seen, uint32_t blocks, const qn_site_rule *rule) {
  qn_extremes e = seen->all;
  if (!seen->count) return (qn_extremes){0, 0};
  if (rule->estimator == QN_RANGE_RUNNING) {
    e.low = (float)(seen->low_of_blocks / blocks);
    e.high = (float)(seen->high_of_blocks / blocks);
  } else if (rule->estimator == QN_RANGE_PERCENTILE) {
    const double beyond = 1 - rule->percentile / 100;
    e = (qn_extremes){end_of(seen, beyond, -1), end_of(seen, beyond, 1)};
  } else if (rule->estimator == QN_RANGE_MSE) {
    e = least_error(seen, (qn_extremes){__builtin_fminf(e.low, 0), __builtin_fmaxf(e.high, 0)}, rule->symmetric,
                    (double)qn_site_highest(rule->bits));
  }
  return e;
}

float qn_range_zero(float low, float scale, uint32_t bits) {
  const float highest = qn_site_highest(bits), lowest = qn_site_lowest(bits);
  return __builtin_fmaxf(lowest, __builtin_fminf(highest, __builtin_rintf(lowest - low / scale)));
}

void qn_range_codes(float low, float high, int symmetric, uint32_t bits, float *scale, float *zero) {
  const float highest = qn_site_highest(bits), lowest = qn_site_lowest(bits);
  low = __builtin_fminf(low, 0);
  high = __builtin_fmaxf(high, 0);
  const float most = __builtin_fmaxf(-low, high), range = symmetric ? most : high - low;
  *scale = range / (symmetric ? highest : highest - lowest);
  *zero = 0;
  if (!(*scale >= 0x1p-100f)) { /* nothing but zeros was seen */
    *scale = 1;
    return;
  }
  *scale = __builtin_fminf(*scale, 0x1p100f);
  if (!symmetric) *zero = qn_range_zero(low, *scale, bits);
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

int qn_plan_is_static(const qn_site_plan *s) { return s->rule.bits != 32 && !(s->site.flags & QN_SITE_DYNAMIC); }

static uint32_t groups_of(const qn_site *site, const qn_site_rule *rule) {
  return rule->count ? rule->count : rule->group ? (uint32_t)qk_groups(site->channels, rule->group) : 1;
}

uint32_t qn_plan_group(const qn_site_plan *s) {
  const uint32_t width = s->ends[0];
  for (uint32_t g = 1; g + 1 < s->groups; g++)
    if (s->ends[g] - s->ends[g - 1] != width) return 0;
  const int same = s->groups > 1 && s->ends[s->groups - 1] - s->ends[s->groups - 2] <= width;
  return same && width % 32 == 0 && width <= 512 ? width : 0;
}

/* Ends of groups that are as wide as the recipe says; others are not known yet. */
static void set_ends(qn_site_plan *s) {
  for (uint32_t g = 0; g + 1 < s->groups; g++) s->ends[g] = (g + 1) * s->rule.group;
  const int panels = s->rule.count && s->site.channels % (s->rule.count * QK_PANEL) == 0;
  const uint32_t unit = s->rule.uneven > 0 ? qn_groups_unit(&s->site) : panels ? QK_PANEL : 1;
  if (s->rule.count) qn_groups_equal(s->site.channels, s->groups, unit, s->ends);
  s->ends[s->groups - 1] = s->site.channels;
}

/* Counts what a plan takes, or, where it has its sites, lays out their values behind them. */
static size_t lay_out(qn_plan *p, const qn_arch *a, const qn_recipe *r) {
  size_t values = 0;
  int by_neuron = 0;
  float *at = p->site ? (float *)(void *)(p->site + p->count) : NULL;
  for (uint32_t i = 0; i < p->count; i++) {
    qn_site_plan s = {0};
    qn_site_at(a, i, &s.site);
    s.rule = qn_recipe_site(r, &s.site);
    s.groups = groups_of(&s.site, &s.rule);
    by_neuron |= s.site.kind == QN_SITE_FFN_DOWN_IN && s.groups > 1;
    if (at) {
      s.scale = at + values;
      s.zero = s.scale + s.groups;
      s.ends = (uint32_t *)(void *)(s.zero + s.groups);
      set_ends(&s);
      p->site[i] = s;
    }
    values += 3 * (size_t)s.groups;
  }
  if (p->copies) {
    if (at) p->fold = (qn_fold *)(void *)(at + values);
    values += 2 * (size_t)a->layers * p->copies;
  }
  if (r->order == QN_ORDER_NONE) return values;
  uint32_t *order = (uint32_t *)(void *)(at ? at + values : NULL);
  const size_t hidden = (size_t)p->orders * a->width;
  if (at) p->order = order;
  if (at && by_neuron) p->ffn_order = order + hidden;
  p->ordered = hidden + (by_neuron ? (size_t)a->layers * a->ffn : 0);
  return values + p->ordered;
}

/* count orders of n as things are. */
static void number(uint32_t *order, size_t count, uint32_t n) {
  for (size_t i = 0; order && i < count * n; i++) order[i] = (uint32_t)(i % n);
}

const uint32_t *qn_plan_order(const qn_plan *p, int layer) {
  const uint32_t at = layer < 0 ? 0 : (uint32_t)layer < p->orders ? (uint32_t)layer : p->orders - 1;
  return p->order ? p->order + (size_t)at * p->width : NULL;
}

quern_status qn_plan_create(qn_plan *p, qn_env *env, const qn_arch *a, const qn_recipe *r) {
  void *memory = NULL;
  *p = (qn_plan){
      .count = qn_site_count(a),
      .orders = r->order == QN_ORDER_LAYERS ? a->layers : 1,
      .width = a->width,
      .embeds_alone = a->embed_width != 0,
      .copies = r->unfold ? a->ffn_copies : 0};
  p->bytes = p->count * sizeof *p->site + lay_out(p, a, r) * sizeof(float);
  QN_TRY(qn_alloc(env, &memory, p->bytes, "the sites of a recipe"));
  p->site = memory;
  lay_out(p, a, r);
  if (p->fold) memset(p->fold, 0, (size_t)a->layers * p->copies * sizeof *p->fold);
  number(p->order, p->orders, a->width);
  number(p->ffn_order, a->layers, a->ffn);
  return QUERN_OK;
}

void qn_plan_free(qn_env *env, qn_plan *p) {
  qn_free(env, p->site, p->bytes);
  *p = (qn_plan){0};
}

static qn_fold *fold_of(const qn_plan *p, const qn_site *site) { return p->fold + (size_t)site->layer * p->copies; }

void qn_plan_copy(qn_plan *p, const qn_plan *from) {
  for (uint32_t i = 0; i < p->count; i++) {
    qn_site_plan *s = &p->site[i];
    const qn_site_plan *f = &from->site[i];
    s->low = f->low;
    s->high = f->high;
    for (uint32_t g = 0; g < s->groups; g++)
      s->scale[g] = f->scale[g], s->zero[g] = f->zero[g], s->ends[g] = f->ends[g];
    if (p->fold && s->site.kind == QN_SITE_FFN_DOWN_IN)
      memcpy(fold_of(p, &s->site), fold_of(from, &s->site), p->copies * sizeof *p->fold);
  }
  if (p->order) memcpy(p->order, from->order, p->ordered * sizeof *p->order);
}

const qn_fold *qn_plan_fold(const qn_plan *p, const qn_arch *a, uint32_t layer, float *end) {
  if (!p->fold) return NULL;
  const qn_site_plan *s = &p->site[qn_site_index(a, QN_SITE_FFN_DOWN_IN, layer)];
  *end = qn_plan_is_static(s) ? (qn_site_highest(s->rule.bits) - s->zero[0]) * s->scale[0] : 0;
  return fold_of(p, &s->site);
}

static int is_given(const qn_site_rule *r) { return r->scale > 0 || r->low < r->high; }

int qn_plan_needs_text(const qn_plan *p) {
  for (uint32_t i = 0; i < p->count; i++)
    if (qn_plan_is_static(&p->site[i]) && !is_given(&p->site[i].rule)) return 1;
  return 0;
}

int qn_plan_needs_histograms(const qn_plan *p) {
  for (uint32_t i = 0; i < p->count; i++)
    if (qn_plan_is_static(&p->site[i]) && p->site[i].rule.estimator >= QN_RANGE_PERCENTILE) return 1;
  return 0;
}

void qn_plan_set(qn_site_plan *s, uint32_t g, qn_extremes range) {
  qn_range_codes(range.low, range.high, s->rule.symmetric, s->rule.bits, &s->scale[g], &s->zero[g]);
  s->low = g ? __builtin_fminf(s->low, range.low) : range.low;
  s->high = g ? __builtin_fmaxf(s->high, range.high) : range.high;
}

static void fill_given(qn_site_plan *s) {
  /* Scores are executed in units of log2. */
  const double by = s->site.kind == QN_SITE_SCORES ? LOG2_E : 1;
  for (uint32_t g = 0; g < s->groups; g++) {
    s->low = (float)(s->rule.low * by);
    s->high = (float)(s->rule.high * by);
    if (s->rule.scale > 0)
      s->scale[g] = (float)(s->rule.scale * by), s->zero[g] = (float)s->rule.zero;
    else
      qn_range_codes(s->low, s->high, s->rule.symmetric, s->rule.bits, &s->scale[g], &s->zero[g]);
  }
}

static void fill_seen(const qn_plan *p, qn_site_plan *s, const qn_site_seen *seen, uint32_t blocks) {
  qn_extremes range = qn_range_of(seen, blocks, &s->rule);
  if (p->fold && s->site.kind == QN_SITE_FFN_DOWN_IN)
    range.high = qn_unfold_choose(seen->channel, seen->channels, p->copies, fold_of(p, &s->site));
  qn_plan_set(s, 0, range);
}

static quern_status fill_groups(const qn_plan *p, qn_env *env, qn_site_plan *s, const qn_observed *seen, uint32_t site) {
  void *weight = NULL;
  QN_TRY(qn_alloc_array(env, &weight, s->site.channels, sizeof(float), "weights of channels"));
  const qn_channels of = {seen->site[site].channel, qn_order_weights(seen, &s->site, weight), qn_order_of(p, &s->site)};
  const quern_status status = qn_groups_fill(s, env, &of);
  qn_free(env, weight, s->site.channels * sizeof(float));
  return status;
}

quern_status qn_plan_fill(qn_plan *p, qn_env *env, const qn_observed *seen) {
  if (seen) QN_TRY(qn_order_find(p, env, seen));
  for (uint32_t i = 0; i < p->count; i++) {
    qn_site_plan *s = &p->site[i];
    if (!qn_plan_is_static(s)) continue;
    if (is_given(&s->rule))
      fill_given(s);
    else if (s->groups > 1)
      QN_TRY(fill_groups(p, env, s, seen, i));
    else
      fill_seen(p, s, &seen->site[i], seen->blocks);
  }
  return QUERN_OK;
}
