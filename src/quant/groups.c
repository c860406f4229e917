/* groups.c - see groups.h. Needs round-to-nearest (base/thread.h's guard). */
#include "quant/groups.h"

#include "base/checked.h"
#include "kernels/layout.h"
#include "model/parts.h"

/* ---- widths ------------------------------------------------------------------------------------------------------ */

void qn_groups_equal(uint32_t channels, uint32_t count, uint32_t unit, uint32_t *ends) {
  const uint64_t units = (channels + unit - 1) / unit;
  for (uint32_t g = 0; g < count; g++) ends[g] = (uint32_t)(units * (g + 1) / count * unit);
  ends[count - 1] = channels;
}

#define UNITS_MOST 1024u /* cutting takes time with their square */

static void join(qn_extremes *e, qn_extremes with) {
  e->low = __builtin_fminf(e->low, with.low);
  e->high = __builtin_fmaxf(e->high, with.high);
}
/* Of channels first ... end - 1 in their order, and 0. */
static qn_extremes extremes_of(const qn_channels *of, uint32_t first, uint32_t end) {
  qn_extremes e = {0, 0};
  for (uint32_t i = first; i < end; i++) join(&e, of->seen[of->order ? of->order[i] : i]);
  return e;
}

/* least[j]: the least cost of the first j units in so many groups; from[g][j]: where the last of g + 1 groups of them begins. */
typedef struct cutting {
  uint32_t channels, width, units, count; /* width: of a unit, in channels */
  qn_extremes *unit;                      /* [units] */
  double *least, *next, *before;          /* [units + 1]; before: weights of the channels before each unit */
  uint32_t *from;                         /* [count, units + 1] */
} cutting;

/* Of channel i of the order, what a squared error counts. */
static double weight_of(const qn_channels *of, uint32_t i) {
  return of->weight ? (double)of->weight[of->order ? of->order[i] : i] : 1.0;
}

static uint32_t end_of(const cutting *c, uint32_t units) {
  return units < c->units ? units * c->width : c->channels;
}

/* Costs with one group more: g + 1 groups. */
static void add_group(cutting *c, uint32_t g) {
  for (uint32_t j = 0; j <= c->units; j++) {
    qn_extremes e = {0, 0};
    c->next[j] = __builtin_inf();    /* fewer units than groups */
    for (uint32_t i = j; i-- > g;) { /* the last group: units i ... j - 1 */
      join(&e, c->unit[i]);
      const double range = (double)e.high - (double)e.low;
      const double cost = c->least[i] + (c->before[j] - c->before[i]) * range * range;
      if (cost < c->next[j]) c->next[j] = cost, c->from[g * (c->units + 1) + j] = i;
    }
  }
  double *done = c->least;
  c->least = c->next;
  c->next = done;
}

quern_status qn_groups_uneven(qn_env *env, const qn_channels *of, uint32_t channels, uint32_t count, uint32_t unit,
                              uint32_t *ends) {
  cutting c = {.channels = channels, .width = unit, .units = (channels + unit - 1) / unit, .count = count};
  const size_t more = (size_t)c.units + 1;
  const size_t bytes = 3 * more * sizeof(double) + c.units * sizeof *c.unit + count * more * sizeof *c.from;
  void *memory = NULL;
  QN_TRY(qn_alloc(env, &memory, bytes, "the widths of groups"));
  c.least = memory;
  c.next = c.least + more;
  c.before = c.next + more;
  c.unit = (qn_extremes *)(void *)(c.before + more);
  c.from = (uint32_t *)(void *)(c.unit + c.units);
  c.before[0] = 0;
  for (uint32_t i = 0; i < c.units; i++) {
    const uint32_t end = end_of(&c, i + 1);
    c.unit[i] = extremes_of(of, end_of(&c, i), end);
    c.before[i + 1] = c.before[i];
    for (uint32_t j = end_of(&c, i); j < end; j++) c.before[i + 1] += weight_of(of, j);
  }
  for (size_t j = 0; j < more; j++) c.least[j] = c.next[j] = j ? __builtin_inf() : 0;
  for (uint32_t g = 0; g < count; g++) add_group(&c, g);
  for (uint32_t g = count, j = c.units; g-- > 0; j = c.from[g * more + j]) ends[g] = end_of(&c, j);
  qn_free(env, memory, bytes);
  return QUERN_OK;
}

uint32_t qn_groups_unit(const qn_site *site) {
  return site->flags & QN_SITE_INPUT ? QK_PANEL : (site->channels + UNITS_MOST - 1) / UNITS_MOST;
}

/* ---- scales ------------------------------------------------------------------------------------------------------ */

#define POWER_MOST 16
static float half_to(int n) { return 1.0f / (float)(1u << n); }

/* Whether products join groups of these scales by shifts. */
static int are_joined(const qn_site_plan *s) {
  const qn_runs runs = {.ends = s->ends, .count = s->groups, .channels = s->site.channels};
  return qn_parts_unit(s->scale, &runs) > 0;
}

/* Powers of two below `whole` that are not below the scales of groups, and that products join by shifts within their bound. */
static void to_powers(qn_site_plan *s, float whole) {
  for (uint32_t g = 0; g < s->groups; g++) {
    int power = 0;
    while (power < POWER_MOST && whole * half_to(power + 1) >= s->scale[g]) power++;
    s->scale[g] = whole * half_to(power);
  }
  for (int most = POWER_MOST; most-- > 0 && !are_joined(s);)
    for (uint32_t g = 0; g < s->groups; g++) s->scale[g] = __builtin_fmaxf(s->scale[g], whole * half_to(most));
}

/* Squared error of a channel that is rounded to such steps. */
static double rounding_at(const qn_extremes *e, double step) {
  const double own = ((double)e->high - (double)e->low) / 6, of_step = step * step / 12;
  return own * own < of_step ? own * own : of_step;
}

double qn_groups_error(const qn_site_plan *s, const qn_channels *of) {
  double error = 0;
  for (uint32_t g = 0, i = 0; g < s->groups; g++)
    for (; i < s->ends[g]; i++) {
      const qn_extremes *e = &of->seen[of->order ? of->order[i] : i];
      if (e->high > e->low) error += weight_of(of, i) * rounding_at(e, (double)s->scale[g]);
    }
  return error;
}

static void fill_scales(qn_site_plan *s, const qn_channels *of) {
  for (uint32_t g = 0; g < s->groups; g++) {
    const qn_extremes e = extremes_of(of, g ? s->ends[g - 1] : 0, s->ends[g]);
    qn_range_codes(e.low, e.high, s->rule.symmetric, s->rule.bits, &s->scale[g], &s->zero[g]);
  }
}

/* The grid of powers whose greatest scale is that of the whole site times 1 ... 2, in steps of an eighth, with the least error. A
   greater one makes the widest group coarser, where what is lost may be lost already, and the others finer or coarser. */
static void choose_powers(qn_site_plan *s, const qn_channels *of, float whole) {
  float best = 1;
  double least = __builtin_inf();
  for (uint32_t i = 0; i < 8; i++) {
    const float by = 1 + (float)i / 8;
    fill_scales(s, of);
    to_powers(s, whole * by);
    const double error = qn_groups_error(s, of);
    if (error < least) least = error, best = by;
  }
  fill_scales(s, of);
  to_powers(s, whole * best);
  for (uint32_t g = 0; g < s->groups && !s->rule.symmetric; g++) {
    const qn_extremes e = extremes_of(of, g ? s->ends[g - 1] : 0, s->ends[g]);
    s->zero[g] = qn_range_zero(e.low, s->scale[g], s->rule.bits);
  }
}

quern_status qn_groups_fill(qn_site_plan *s, qn_env *env, const qn_channels *of) {
  const uint32_t channels = s->site.channels;
  if (s->rule.uneven > 0)
    QN_TRY(qn_groups_uneven(env, of, channels, s->groups, qn_groups_unit(&s->site), s->ends));
  const qn_extremes all = extremes_of(of, 0, channels);
  s->low = all.low;
  s->high = all.high;
  fill_scales(s, of);
  if (s->rule.powers <= 0) return QUERN_OK;
  float whole, zero;
  qn_range_codes(all.low, all.high, s->rule.symmetric, s->rule.bits, &whole, &zero);
  choose_powers(s, of, whole);
  return QUERN_OK;
}

void qn_groups_sums(const qn_site_plan *s, const uint8_t *panels, uint32_t n, uint32_t k, float *sums) {
  const qn_runs runs = {.ends = s->ends, .count = s->groups, .channels = s->site.channels};
  const float shared = qn_parts_unit(s->scale, &runs), unit = shared > 0 ? shared : 1.0f;
  const size_t panel_bytes = qk_k8(k) * QK_PANEL;
  for (size_t row = 0; row < n; row++) {
    const uint8_t *w = panels + row / QK_PANEL * panel_bytes + row % QK_PANEL * QK_KSTEP;
    double sum = 0;
    for (uint32_t g = 0, i = 0; g < s->groups; g++) {
      int64_t codes = 0;
      for (; i < s->ends[g]; i++) codes += w[i / QK_KSTEP * (QK_PANEL * QK_KSTEP) + i % QK_KSTEP] - 128;
      const double zero = s->rule.symmetric ? 0 : (double)s->zero[g];
      sum += zero * (double)codes * ((double)s->scale[g] / (double)unit);
    }
    sums[row] = (float)sum;
  }
}
