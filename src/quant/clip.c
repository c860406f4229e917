/* clip.c - token-wise clipping (clip.h). Deterministic; one thread. */
#include "quant/clip.h"

#include <string.h>

#include "base/checked.h"
#include "base/sort.h"

double qn_clip_part(uint32_t step) {
  static const double parts[QN_CLIP_STEPS] = {0,    0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03,
                                              0.04, 0.05,   0.06,  0.08,  0.1,   0.12, 0.15,  0.18, 0.22,
                                              0.26, 0.3,    0.4,   0.5,   0.6,   0.7,  0.8,   0.9};
  return parts[step];
}

static int may_clip(const qn_plan *plan, const qn_site_plan *s) {
  const uint32_t kind = s->site.kind;
  const int input = s->site.flags & QN_SITE_INPUT || kind == QN_SITE_Q || kind == QN_SITE_K || kind == QN_SITE_V;
  return input && s->site.layer != QN_NO_LAYER && s->groups == 1 && qn_plan_is_static(s) && s->rule.bits <= 8 &&
         !(s->rule.scale > 0) && !(s->rule.low < s->rule.high) && !(plan->fold && kind == QN_SITE_FFN_DOWN_IN);
}

quern_status qn_clip_create(qn_clip *c, qn_env *env, const qn_observed *seen, const qn_plan *plan) {
  const size_t n = seen->first, sites = plan->count;
  void *p = NULL;
  *c = (qn_clip){.sites = plan->count, .tokens = (uint32_t)n};
  const size_t bytes = 2 * sites * n * sizeof(float) + 2 * sites; /* less than what was seen takes */
  QN_TRY(qn_alloc(env, &p, bytes, "extremes of tokens"));
  c->bytes = bytes;
  c->low = p;
  c->high = c->low + sites * n;
  c->at = (uint8_t *)(void *)(c->high + sites * n);
  c->clips = c->at + sites;
  memset(c->at, 0, 2 * sites);
  for (size_t i = 0; i < sites; i++) {
    float *low = c->low + i * n, *high = c->high + i * n;
    c->clips[i] = (uint8_t)(n > 0 && may_clip(plan, &plan->site[i]));
    if (!c->clips[i]) continue;
    for (size_t t = 0; t < n; t++) {
      low[t] = seen->site[i].token[t].low;
      high[t] = seen->site[i].token[t].high;
    }
    qn_sort_floats(low, n);
    qn_sort_floats(high, n);
  }
  return QUERN_OK;
}

void qn_clip_free(qn_env *env, qn_clip *c) {
  qn_free(env, c->low, c->bytes);
  *c = (qn_clip){0};
}

/* Not the paper's quantile of magnitudes: of a site whose tokens' maxima are below 0 it would choose none. */
qn_extremes qn_clip_range(const qn_clip *c, uint32_t site) {
  const size_t n = c->tokens, beyond = (size_t)(qn_clip_part(c->at[site]) * (double)n);
  return (qn_extremes){c->low[site * n + beyond], c->high[site * n + n - 1 - beyond]};
}
