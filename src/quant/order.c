/* order.c - see order.h. Needs round-to-nearest (base/thread.h's guard). */
#include "quant/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/groups.h"

typedef struct ranked {
  float range;
  uint32_t channel;
} ranked;
static int by_range(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->range < y->range || x->range > y->range) return x->range < y->range ? -1 : 1;
  return x->channel < y->channel ? -1 : 1;
}

/* A group is a panel at least, and in one with a channel a hundred times as wide as others these are lost, which hurts least where they
   are the narrowest. Costs in squares of ranges: a channel costs its group's, since its error is uniform over a step; one that is lost
   its own times LOST, its variance being (range / 6)^2. A step is 1/255 of the group's range: 12 * 255^2 / 36. */
#define LOST 21675.0

/* How many of the widest channels, ascending, share the last panel, of `last` channels, with as many of the narrowest as it has room for. */
static uint32_t widest(const ranked *all, uint32_t n, uint32_t last) {
  const double most = (double)all[n - 1].range * (double)all[n - 1].range;
  double least = __builtin_inf();
  uint32_t best = last;
  for (uint32_t wide = last; wide > 0; wide--) {
    double cost = wide * most;
    for (uint32_t i = 0; i < last - wide; i++)
      cost += __builtin_fmin(most, LOST * (double)all[i].range * (double)all[i].range);
    for (uint32_t end = n - wide; end >= QK_PANEL; end -= QK_PANEL)
      cost += QK_PANEL * (double)all[end - 1].range * (double)all[end - 1].range;
    if (cost < least) least = cost, best = wide;
  }
  return best;
}

/* By ascending range. shares: groups are of any width, and the last panel's room is shared as said above; with equal ones many channels
   share the widest's group anyway. */
static void sort_to(ranked *all, uint32_t n, int shares, uint32_t *order) {
  const uint32_t last = n % QK_PANEL ? n % QK_PANEL : QK_PANEL;
  qsort(all, n, sizeof *all, by_range);
  const uint32_t wide = shares && n >= 2 * QK_PANEL ? widest(all, n, last) : last, narrow = last - wide;
  for (uint32_t i = 0; i < n - last; i++) order[i] = all[narrow + i].channel;
  for (uint32_t i = 0; i < last; i++) order[n - last + i] = all[i < narrow ? i : n - last + i].channel;
}

static float range_of(const qn_extremes *e) {
  return e->high >= e->low ? __builtin_fmaxf(e->high, 0) - __builtin_fminf(e->low, 0) : 0;
}

/* Ranges of a site's channels over their mean into `all` where they are greater. */
static void take_ranges(const qn_site_seen *s, ranked *all) {
  double mean = 0;
  for (uint32_t c = 0; c < s->channels; c++) mean += (double)range_of(&s->channel[c]) / s->channels;
  for (uint32_t c = 0; c < s->channels && mean > 0; c++)
    all[c].range = __builtin_fmaxf(all[c].range, (float)((double)range_of(&s->channel[c]) / mean));
}

static void clear(ranked *all, uint32_t n) {
  for (uint32_t c = 0; c < n; c++) all[c] = (ranked){.channel = c};
}

/* ---- what an order costs ----------------------------------------------------------------------------------------- */

static double spread(const qn_extremes *e) { return e->high > e->low ? (double)e->high - (double)e->low : 0; }
static const qn_site_seen *seen_at(const qn_observed *seen, uint32_t kind, uint32_t layer) {
  return &seen->site[qn_site_index(&seen->arch, kind, layer)];
}
/* What the norm behind a layer's feed-forward block gives. */
static const qn_site_seen *normed(const qn_observed *seen, uint32_t layer) {
  const qn_arch *a = &seen->arch;
  return layer + 1 < a->layers ? seen_at(seen, QN_SITE_QKV_IN, layer + 1)
                               : seen_at(seen, qn_site_output_kind(a), QN_NO_LAYER);
}

/* Squared error that rounding to a site's groups makes of the norm behind it: of channel c it is multiplied by the norm's gain over the
   deviation, which is about what the channel's range behind the norm is over that before it. Of a step it is a twelfth of its square,
   or where the whole channel is lost its variance. */
static double rounding_of(const qn_site_plan *s, const qn_site_seen *at, const qn_site_seen *before,
                          const qn_site_seen *behind, const uint32_t *order) {
  double error = 0;
  for (uint32_t g = 0, i = 0; g < s->groups; g++) {
    const double step = (double)s->scale[g] * (double)s->scale[g] / 12;
    for (; i < s->ends[g]; i++) {
      const uint32_t c = order[i];
      const double own = spread(&at->channel[c]) / 6, sum = spread(&before->channel[c]);
      const double by = sum > 0 ? spread(&behind->channel[c]) / sum : 0;
      error += by * by * (own * own < step ? own * own : step);
    }
  }
  return error;
}

/* Adds what groups of hidden channels cost around a layer's feed-forward block in an order, over the power of what the norm behind it
   gives. groups: a site that has some, whose values are left as the last of the block's places would have them; all places count alike,
   so that a model keeps its order where some of them lose their groups. */
static quern_status add_cost(qn_site_plan *groups, qn_env *env, const qn_observed *seen, uint32_t layer,
                             const uint32_t *order, double *cost) {
  static const uint32_t kinds[] = {QN_SITE_FFN_UP_IN, QN_SITE_FFN_OUT, QN_SITE_FFN_SUM};
  const qn_site_seen *before = seen_at(seen, QN_SITE_FFN_SUM, layer), *behind = normed(seen, layer);
  double power = 0, error = 0;
  for (uint32_t c = 0; c < behind->channels; c++) power += spread(&behind->channel[c]) * spread(&behind->channel[c]);
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
    const qn_site_seen *at = seen_at(seen, kinds[k], layer);
    QN_TRY(qn_groups_fill(groups, env, at->channel, order));
    error += rounding_of(groups, at, before, behind, order);
  }
  if (power > 0) *cost += error / power;
  return QUERN_OK;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

/* The places whose ranges, the greatest, a channel may be sorted by. */
enum { CHOICES = 3, PLACES = 2 };
static const uint32_t choices[CHOICES][PLACES] = {{QN_SITE_FFN_SUM, QN_SITE_FFN_SUM},
                                                  {QN_SITE_FFN_OUT, QN_SITE_FFN_OUT},
                                                  {QN_SITE_FFN_SUM, QN_SITE_FFN_OUT}};

/* The first site that has groups of hidden channels; NULL. */
static const qn_site_plan *grouped(const qn_plan *p) {
  for (uint32_t i = 0; i < p->count; i++) {
    const qn_site_plan *s = &p->site[i];
    if (s->groups > 1 && s->site.kind != QN_SITE_FFN_DOWN_IN && qn_order_of(p, &s->site)) return s;
  }
  return NULL;
}

/* The order of hidden states of layers first ... end - 1. groups: as of a site that has some, or
   with none, where any order will do. all, trial: [width] scratch. */
static quern_status find_hidden(const qn_plan *p, qn_env *env, const qn_observed *seen, uint32_t first, uint32_t end,
                                qn_site_plan *groups, uint32_t *order, ranked *all, uint32_t *trial) {
  const int uneven = groups->rule.uneven > 0;
  double least = __builtin_inf();
  for (size_t k = 0; k < CHOICES; k++) {
    double cost = 0;
    clear(all, p->width);
    for (uint32_t l = first; l < end; l++)
      for (size_t j = 0; j < PLACES; j++) take_ranges(seen_at(seen, choices[k][j], l), all);
    sort_to(all, p->width, uneven, trial);
    for (uint32_t l = first; l < end && groups->groups; l++)
      QN_TRY(add_cost(groups, env, seen, l, trial, &cost));
    if (cost < least) least = cost, memcpy(order, trial, p->width * sizeof *order);
  }
  return QUERN_OK;
}

quern_status qn_order_find(qn_plan *p, qn_env *env, const qn_observed *seen) {
  const qn_arch *a = &seen->arch;
  const uint32_t most = a->width > a->ffn ? a->width : a->ffn;
  const qn_site_plan *like = grouped(p);
  const uint32_t count = like ? like->groups : 0;
  void *memory = NULL;
  quern_status status = QUERN_OK;
  if (!p->order) return QUERN_OK;
  const size_t bytes = most * sizeof(ranked) + (most + 3 * (size_t)count) * sizeof(float);
  QN_TRY(qn_alloc(env, &memory, bytes, "the order of channels"));
  ranked *all = memory;
  uint32_t *trial = (uint32_t *)(void *)(all + most);
  qn_site_plan groups = like ? *like : (qn_site_plan){0};
  groups.ends = trial + most;
  groups.scale = (float *)(void *)(groups.ends + count);
  groups.zero = groups.scale + count;
  if (like) memcpy(groups.ends, like->ends, count * sizeof *groups.ends);
  for (uint32_t o = 0; o < p->orders && status == QUERN_OK; o++)
    status = find_hidden(p, env, seen, o, p->orders > 1 ? o + 1 : a->layers, &groups, p->order + (size_t)o * a->width,
                         all, trial);
  for (uint32_t l = 0; l < a->layers && p->ffn_order; l++) {
    clear(all, a->ffn);
    take_ranges(seen_at(seen, QN_SITE_FFN_DOWN_IN, l), all);
    const int uneven = p->site[qn_site_index(a, QN_SITE_FFN_DOWN_IN, l)].rule.uneven > 0;
    sort_to(all, a->ffn, uneven, p->ffn_order + (size_t)l * a->ffn);
  }
  qn_free(env, memory, bytes);
  return status;
}

const uint32_t *qn_order_of(const qn_plan *p, const qn_site *site) {
  switch (site->kind) {
    case QN_SITE_QKV_IN:
    case QN_SITE_ATTN_OUT:
    case QN_SITE_ATTN_SUM:
      return qn_plan_order(p, (int)site->layer - 1);
    case QN_SITE_FFN_UP_IN:
    case QN_SITE_FFN_OUT:
    case QN_SITE_FFN_SUM:
      return qn_plan_order(p, (int)site->layer);
    case QN_SITE_EMBED_SUM:
      return p->embeds_alone ? NULL : qn_plan_order(p, -1);
    case QN_SITE_FFN_DOWN_IN:
      return p->ffn_order ? p->ffn_order + (size_t)site->layer * site->channels : NULL;
    default:
      return NULL;
  }
}
