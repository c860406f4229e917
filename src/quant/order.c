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

/* Groups have many channels, in a product's input 16 at least, and in one with a channel a hundred times as wide as others these are
   lost, which hurts least where they are the narrowest. Costs in squares of ranges: a channel costs its group's, since its error is uniform over a step; one that is lost
   its own times LOST, its variance being (range / 6)^2. A step is 1/255 of the group's range: 12 * 255^2 / 36. */
#define LOST 21675.0

/* How many of the widest channels, ascending, share the last group, of `last` channels, with as many of the narrowest as it has room for;
   the others are groups of `width`. */
static uint32_t widest(const ranked *all, uint32_t n, uint32_t width, uint32_t last) {
  const double most = (double)all[n - 1].range * (double)all[n - 1].range;
  double least = __builtin_inf();
  uint32_t best = last;
  for (uint32_t wide = last; wide > 0; wide--) {
    double cost = wide * most;
    for (uint32_t i = 0; i < last - wide; i++)
      cost += __builtin_fmin(most, LOST * (double)all[i].range * (double)all[i].range);
    for (uint32_t end = n - wide; end >= width; end -= width)
      cost += width * (double)all[end - 1].range * (double)all[end - 1].range;
    if (cost < least) least = cost, best = wide;
  }
  return best;
}

/* By ascending range; the last group's room is shared as said above where groups have this width, 0: they are not known. */
static void sort_to(ranked *all, uint32_t n, uint32_t width, uint32_t *order) {
  const uint32_t last = !width ? n : n % width ? n % width : width;
  qsort(all, n, sizeof *all, by_range);
  const uint32_t wide = width && n >= 2 * width ? widest(all, n, width, last) : last, narrow = last - wide;
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

static const qn_site_seen *seen_at(const qn_observed *seen, uint32_t kind, uint32_t layer) {
  return &seen->site[qn_site_index(&seen->arch, kind, layer)];
}
/* What the norm behind a layer's feed-forward block gives. */
static const qn_site_seen *normed(const qn_observed *seen, uint32_t layer) {
  const qn_arch *a = &seen->arch;
  return layer + 1 < a->layers ? seen_at(seen, QN_SITE_QKV_IN, layer + 1)
                               : seen_at(seen, qn_site_output_kind(a), QN_NO_LAYER);
}
static double spread(const qn_extremes *e) { return e->high > e->low ? (double)e->high - (double)e->low : 0; }

/* The sum that a site's channels go into, and what the norm of it gives; 0: they go elsewhere. */
static int norm_of(const qn_observed *seen, const qn_site *site, const qn_site_seen **before,
                   const qn_site_seen **behind) {
  switch (site->kind) {
    case QN_SITE_QKV_IN:
    case QN_SITE_ATTN_OUT:
    case QN_SITE_ATTN_SUM:
      *before = seen_at(seen, QN_SITE_ATTN_SUM, site->layer);
      *behind = seen_at(seen, QN_SITE_FFN_UP_IN, site->layer);
      return 1;
    case QN_SITE_FFN_UP_IN:
    case QN_SITE_FFN_OUT:
    case QN_SITE_FFN_SUM:
      *before = seen_at(seen, QN_SITE_FFN_SUM, site->layer);
      *behind = normed(seen, site->layer);
      return 1;
    default:
      return 0;
  }
}

const float *qn_order_weights(const qn_observed *seen, const qn_site *site, float *weight) {
  const qn_site_seen *before, *behind;
  if (!norm_of(seen, site, &before, &behind)) return NULL;
  for (uint32_t c = 0; c < site->channels; c++) {
    const double sum = spread(&before->channel[c]), by = sum > 0 ? spread(&behind->channel[c]) / sum : 0;
    weight[c] = (float)__builtin_fmin(by * by, 1e30);
  }
  return weight;
}

/* Adds what groups of hidden channels cost around a layer's feed-forward block in an order, over the power of what the norm behind it
   gives. Places without groups count as if they had those of `like`, so that a model keeps its order where some of them lose theirs.
   Values of both are left as this order has them. weight: scratch. */
static quern_status add_cost(qn_plan *p, qn_site_plan *like, qn_env *env, const qn_observed *seen, uint32_t layer,
                             const uint32_t *order, float *weight, double *cost) {
  static const uint32_t kinds[] = {QN_SITE_FFN_UP_IN, QN_SITE_FFN_OUT, QN_SITE_FFN_SUM};
  const qn_site_seen *behind = normed(seen, layer);
  double power = 0, error = 0;
  for (uint32_t c = 0; c < behind->channels; c++) power += spread(&behind->channel[c]) * spread(&behind->channel[c]);
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
    const uint32_t at = qn_site_index(&seen->arch, kinds[k], layer);
    qn_site_plan *groups = p->site[at].groups > 1 ? &p->site[at] : like;
    like->site = p->site[at].site;
    const qn_channels of = {seen->site[at].channel, qn_order_weights(seen, &like->site, weight), order};
    QN_TRY(qn_groups_fill(groups, env, &of));
    error += qn_groups_error(groups, &of);
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

/* The first site that has groups of hidden channels, of those that a product takes if there are such; NULL. */
static const qn_site_plan *grouped(const qn_plan *p) {
  const qn_site_plan *first = NULL;
  for (uint32_t i = 0; i < p->count; i++) {
    const qn_site_plan *s = &p->site[i];
    if (s->groups < 2 || s->site.kind == QN_SITE_FFN_DOWN_IN || !qn_order_of(p, &s->site)) continue;
    if (s->site.flags & QN_SITE_INPUT) return s;
    if (!first) first = s;
  }
  return first;
}

/* Channels of which a site's groups are made, of any number of such or of one; 0: it has none. */
static uint32_t width_of(const qn_site_plan *s) { return s->groups < 2 ? 0 : s->rule.uneven > 0 ? QK_PANEL : s->ends[0]; }

/* Whether any groups of hidden channels in or behind a feed-forward block are of uneven width: the last one is then always shared. Where
   all are equal many channels are lost either way, and what is the better is counted. */
static int is_uneven(const qn_plan *p, const qn_arch *a, const qn_site_plan *like, uint32_t layer) {
  return like->rule.uneven > 0 || p->site[qn_site_index(a, QN_SITE_FFN_SUM, layer)].rule.uneven > 0;
}

/* The order of hidden states of layers first ... end - 1: by each of the choices, the last group shared or not. like: as of a site that
   has groups, or with none, where any order will do. all, trial, weight: [width] scratch. */
static quern_status find_hidden(qn_plan *p, qn_env *env, const qn_observed *seen, uint32_t first, uint32_t end,
                                qn_site_plan *like, uint32_t *order, ranked *all, uint32_t *trial, float *weight) {
  double least = __builtin_inf();
  const size_t shares = is_uneven(p, &seen->arch, like, first) ? 1 : 0;
  for (size_t k = shares; k < 2 * CHOICES; k += 1 + shares) {
    double cost = 0;
    clear(all, p->width);
    for (uint32_t l = first; l < end; l++)
      for (size_t j = 0; j < PLACES; j++) take_ranges(seen_at(seen, choices[k / 2][j], l), all);
    sort_to(all, p->width, k % 2 ? width_of(like) : 0, trial);
    for (uint32_t l = first; l < end && like->groups; l++)
      QN_TRY(add_cost(p, like, env, seen, l, trial, weight, &cost));
    if (cost < least) least = cost, memcpy(order, trial, p->width * sizeof *order);
  }
  return QUERN_OK;
}

quern_status qn_order_find(qn_plan *p, qn_env *env, const qn_observed *seen) {
  const qn_arch *a = &seen->arch;
  const uint32_t most = a->width > a->ffn ? a->width : a->ffn;
  const qn_site_plan *some = grouped(p);
  const uint32_t count = some ? some->groups : 0;
  void *memory = NULL;
  quern_status status = QUERN_OK;
  if (!p->order) return QUERN_OK;
  const size_t bytes = most * sizeof(ranked) + (2 * (size_t)most + 3 * (size_t)count) * sizeof(float);
  QN_TRY(qn_alloc(env, &memory, bytes, "the order of channels"));
  ranked *all = memory;
  uint32_t *trial = (uint32_t *)(void *)(all + most);
  qn_site_plan like = some ? *some : (qn_site_plan){0};
  float *weight = (float *)(void *)(trial + most);
  like.ends = trial + 2 * (size_t)most;
  like.scale = (float *)(void *)(like.ends + count);
  like.zero = like.scale + count;
  if (some) memcpy(like.ends, some->ends, count * sizeof *like.ends);
  for (uint32_t o = 0; o < p->orders && status == QUERN_OK; o++)
    status = find_hidden(p, env, seen, o, p->orders > 1 ? o + 1 : a->layers, &like, p->order + (size_t)o * a->width,
                         all, trial, weight);
  for (uint32_t l = 0; l < a->layers && p->ffn_order; l++) {
    clear(all, a->ffn);
    take_ranges(seen_at(seen, QN_SITE_FFN_DOWN_IN, l), all);
    sort_to(all, a->ffn, width_of(&p->site[qn_site_index(a, QN_SITE_FFN_DOWN_IN, l)]), p->ffn_order + (size_t)l * a->ffn);
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
