/* attention.c - a layer's attention over the lanes. A unit is one head of one sequence. Lanes are dealt units of about equal
 * cost, near the rows they made themselves, and take their longest first, so that what is left for others in the end is
 * short. Units too long to balance, where there are fewer of them than lanes, are cut by queries: first all lanes pack
 * them, then all lanes attend. Any cut gives the same bytes (docs/NUMERICS.md). Thread rule: as in encoder.c; the memory
 * of a head that is cut is that of the lane with its number. */
#include "base/checked.h"
#include "run/attention_static.h"
#include "run/observe.h"

/* Queries of a unit's part: few enough that each lane gets QN_PARTS, and at least QN_PART_LEAST. */
#define QN_PART_MOST 64u
#define QN_PART_LEAST 32u
#define QN_PARTS 3u
/* Cutting must gain this cost, about that of two fork-joins and of parts that do not fit evenly. */
#define QN_CUT_GAIN 8192u

/* In pairs of query and key; packing a row costs as much as QN_PACK_KEYS of them. */
#define QN_PACK_KEYS 32u
static uint64_t cost_of(uint32_t n) { return (uint64_t)n * (n + QN_PACK_KEYS); }

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

/* How many of `units` long units of equal cost are cut: those that do not come in a full round of one for each lane. */
static uint32_t units_to_cut(uint32_t units, uint32_t lanes, uint64_t cost) {
  const uint32_t odd = units % lanes;
  return cost * (lanes - odd) / lanes >= QN_CUT_GAIN ? odd : 0;
}

/* More than a quarter of a lane's share. */
static int is_long(const qn_group *g, uint32_t n, uint64_t total) { return cost_of(n) * g->s->lanes > total / 4; }

/* Heads of a sequence that are cut: the last ones of all sequences as long as it. Asked for in ascending order. */
static uint32_t heads_to_cut(const qn_group *g, uint32_t sequence, uint64_t total) {
  const quern_session *s = g->s;
  const uint32_t heads = g->arch->heads, n = s->lens[sequence], end = g->first + g->count;
  uint32_t all = 0, after = 0;
  if (!is_long(g, n, total)) return 0;
  for (uint32_t i = g->first; i < end; i++)
    if (s->lens[i] == n) all += heads, after += i > sequence ? heads : 0;
  const uint32_t cut = units_to_cut(all, s->lanes, cost_of(n));
  return cut > after ? (uint32_t)qn_min_size(cut - after, heads) : 0;
}

/* Lanes one after another, each with its longest first, then rows in order; those that are cut come last. */
static int comes_before(const quern_session *s, qn_unit a, qn_unit b) {
  const uint32_t na = s->lens[a.sequence], nb = s->lens[b.sequence];
  if (a.lane != b.lane) return a.lane < b.lane;
  if (na != nb) return na > nb;
  return a.sequence != b.sequence ? a.sequence < b.sequence : a.head < b.head;
}

/* A Shell sort: no memory, no recursion; what is in order already, as with equal lengths, costs one look. */
static void sort_units(const quern_session *s, qn_unit *u, uint32_t n) {
  uint32_t ordered = 1;
  while (ordered < n && comes_before(s, u[ordered - 1], u[ordered])) ordered++;
  if (ordered >= n) return;
  for (uint32_t gap = n / 2; gap; gap = gap == 2 ? 1 : (uint32_t)(gap * (uint64_t)5 / 11))
    for (uint32_t i = gap; i < n; i++) {
      const qn_unit x = u[i];
      uint32_t j = i;
      for (; j >= gap && comes_before(s, x, u[j - gap]); j -= gap) u[j] = u[j - gap];
      u[j] = x;
    }
}

/* Lanes that take whole units. */
static uint32_t lanes_of(const qn_group *g) { return (uint32_t)qn_min_size(g->s->lanes, g->whole); }

/* To a lane that is not over its share by it: the one that got the last, else the one with least. */
static uint32_t lane_for_long(const quern_session *s, uint32_t lanes, uint32_t lane, uint64_t c, uint64_t share) {
  if (s->lane[lane].units_cost + c <= share) return lane;
  lane = 0;
  for (uint32_t i = 1; i < lanes; i++)
    if (s->lane[i].units_cost < s->lane[lane].units_cost) lane = i;
  return lane;
}

/* Whole units to lanes: the long ones where there is least, then the others in the order of their rows up to each lane's
   share of the cost. */
static void deal_units(const qn_group *g, uint64_t cost, uint64_t total) {
  const quern_session *s = g->s;
  const uint32_t lanes = lanes_of(g), units = g->whole + g->cut;
  if (lanes < 2) return; /* all are lane 0's, in any order */
  const uint64_t share = (cost + lanes - 1) / lanes;
  for (uint32_t i = 0; i < lanes; i++) s->lane[i].units_cost = 0;
  for (int longs = 1; longs >= 0; longs--)
    for (uint32_t i = 0, lane = 0; i < units; i++) {
      qn_unit *u = &s->units[i];
      const uint32_t n = s->lens[u->sequence];
      const uint64_t c = cost_of(n);
      if (u->lane == QN_UNIT_CUT || is_long(g, n, total) != longs) continue;
      if (longs)
        lane = lane_for_long(s, lanes, lane, c, share);
      else
        while (lane + 1 < lanes && s->lane[lane].units_cost + c / 2 >= share) lane++;
      u->lane = lane;
      s->lane[lane].units_cost += c;
    }
}

void qn_attention_plan(qn_group *g) {
  quern_session *s = g->s;
  const uint32_t heads = g->arch->heads, units = g->count * heads;
  uint64_t total = 0, cost = 0;
  g->whole = 0;
  for (uint32_t i = 0; i < g->count; i++) total += heads * cost_of(s->lens[g->first + i]);
  for (uint32_t i = 0; i < g->count; i++) {
    const uint32_t whole = heads - heads_to_cut(g, g->first + i, total);
    for (uint32_t h = 0; h < heads; h++)
      s->units[i * heads + h] = (qn_unit){g->first + i, h, h < whole ? 0 : QN_UNIT_CUT};
    g->whole += whole;
    cost += whole * cost_of(s->lens[g->first + i]);
  }
  g->cut = units - g->whole;
  deal_units(g, cost, total);
  sort_units(s, s->units, units);
  for (uint32_t lane = 0, i = 0; lane < lanes_of(g); lane++) {
    while (i < g->whole && s->units[i].lane == lane) i++;
    s->lane[lane].units_end = i;
  }
}

/* ---- a unit ------------------------------------------------------------------------------------------------------ */

static int is_packed(const qn_group *g) { return g->arch->recipe != QN_RECIPE_FLOAT; }
static int is_static(const qn_group *g) { return g->arch->recipe == QN_RECIPE_STATIC; }

/* First key of a unit, which heads may share, and how far behind it the value is, in rows of queries, keys and values. */
static size_t keys_of(const qn_group *g, qn_unit u) {
  const uint32_t head = u.head / qn_group_share(g);
  return qn_group_queries(g, (qn_unit){.sequence = u.sequence}) + qn_group_inner(g) + (size_t)head * g->arch->head_dim;
}
static size_t values_behind(const qn_group *g) { return (size_t)g->arch->kv_heads * g->arch->head_dim; }

/* Rows r0 (a multiple of 64) ... r1 - 1 of a unit into the memory of lane `owner`; in a static recipe all of it, with the first. */
static void pack(qn_group *g, uint32_t owner, const qk_head_q8 *head, qn_unit u, uint32_t r0, uint32_t r1) {
  if (is_static(g)) {
    if (r0 == 0) qn_static_pack(g, owner, u);
    return;
  }
  const float *q = g->s->qkv + qn_group_queries(g, u), *k = g->s->qkv + keys_of(g, u);
  const qk_pack_q8 op = {*head, q, k, k + values_behind(g), qn_group_qkv(g), g->s->fold};
  qn_group_nonfinite(g, g->s->kernels->pack_q8(&op, r0, r1));
}

/* Queries r0 ... r1 - 1 of a unit, packed in the memory of lane `owner`, which `head` is of, unless the model is a float one; on
   lane `lane`. */
static void attend(const qn_group *g, uint32_t lane, uint32_t owner, const qk_head_q8 *head, qn_unit u, uint32_t r0,
                   uint32_t r1) {
  if (is_static(g)) {
    qn_static_attend(g, lane, owner, u, r0, r1);
    return;
  }
  const quern_session *s = g->s;
  const qn_arch *a = g->arch;
  const size_t inner = qn_group_inner(g), row = s->starts[u.sequence] - g->row;
  float *out = s->context + row * inner + (size_t)u.head * a->head_dim;
  const float *bias = qn_group_bias(g, u);
  if (is_packed(g)) {
    const qk_attention_q8 op = {.head = *head, .bias = bias, .out = out, .ldo = inner, .before = qn_group_window(g)};
    s->kernels->attention_q8(&op, r0, r1);
  } else {
    const float *q = g->s->qkv + qn_group_queries(g, u), *k = g->s->qkv + keys_of(g, u);
    const qk_attention_f32 op = {.q = q,
                                 .k = k,
                                 .v = k + values_behind(g),
                                 .ldx = qn_group_qkv(g),
                                 .fold = s->fold,
                                 .bias = bias,
                                 .out = out,
                                 .ldo = inner,
                                 .n = s->lens[u.sequence],
                                 .h = a->head_dim,
                                 .before = qn_group_window(g)};
    if (s->observe) qn_observe_attention(s, lane, g->layer, &op, s->starts[u.sequence], r0, r1);
    s->kernels->attention_f32(&op, r0, r1);
  }
}

static void whole_lane(void *task, uint32_t lane) {
  qn_group *g = task;
  quern_session *s = g->s;
  const uint32_t lanes = lanes_of(g);
  uint32_t i;
  while (qn_share_take(s->share, lanes, lane, &i) && !qn_group_stopped(g)) {
    const uint32_t n = s->lens[s->units[i].sequence];
    qk_head_q8 head = s->lane[lane].head;
    head.n = n;
    if (is_packed(g)) pack(g, lane, &head, s->units[i], 0, n);
    attend(g, lane, lane, &head, s->units[i], 0, n);
  }
}

/* ---- units that are cut ------------------------------------------------------------------------------------------ */

/* Units of equal length, at most one a lane, each in `parts` parts of `rows` rows. */
typedef struct cut_task {
  qn_group *g;
  const qn_unit *units;
  uint32_t n, rows, parts, lanes;
  int packing;
} cut_task;

static void cut_lane(void *task, uint32_t lane) {
  const cut_task *t = task;
  quern_session *s = t->g->s;
  uint32_t i;
  while (qn_share_take(s->share, t->lanes, lane, &i) && !qn_group_stopped(t->g)) {
    const uint32_t u = i / t->parts, r0 = i % t->parts * t->rows, r1 = (uint32_t)qn_min_size(r0 + t->rows, t->n);
    qk_head_q8 head = s->lane[u].head;
    head.n = t->n;
    if (t->packing)
      pack(t->g, u, &head, t->units[u], r0, r1);
    else
      attend(t->g, lane, u, &head, t->units[u], r0, r1);
  }
}

static void run_cut(cut_task *t, uint32_t units, uint32_t rows) {
  quern_session *s = t->g->s;
  t->rows = rows;
  t->parts = (t->n + rows - 1) / rows;
  t->lanes = (uint32_t)qn_min_size(s->lanes, (size_t)units * t->parts);
  qn_share_deal(s->share, t->lanes, units * t->parts);
  qn_pool_run(s->pool, cut_lane, t, t->lanes);
}

static void run_cut_units(qn_group *g, const qn_unit *units, uint32_t count) {
  const uint32_t lanes = g->s->lanes, n = g->s->lens[units->sequence];
  cut_task t = {.g = g, .units = units, .n = n, .packing = 1};
  if (is_packed(g)) run_cut(&t, count, QK_BLOCK);
  t.packing = 0;
  const uint32_t most = (n + QN_PART_MOST - 1) / QN_PART_MOST * count;
  run_cut(&t, count, most >= QN_PARTS * lanes ? QN_PART_MOST : QN_PART_LEAST);
}

void qn_attention_run(qn_group *g) {
  quern_session *s = g->s;
  for (uint32_t lane = 0, first = 0; lane < lanes_of(g); first = s->lane[lane++].units_end)
    qn_share_set(&s->share[lane], first, s->lane[lane].units_end);
  qn_pool_run(s->pool, whole_lane, g, lanes_of(g));
  for (uint32_t i = 0, count; i < g->cut; i += count) {
    const qn_unit *u = s->units + g->whole + i;
    for (count = 1; i + count < g->cut && s->lens[u[count].sequence] == s->lens[u->sequence];) count++;
    run_cut_units(g, u, count);
  }
}
