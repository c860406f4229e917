/* attention.c - a layer's attention over the lanes. A unit is one head of one sequence. Lanes are dealt units of about equal
 * cost, near the rows they made themselves, and take their longest first, so that what is left for others in the end is
 * short. Units too long to balance, where there are fewer of them than lanes, are cut by queries: first all lanes pack
 * them, then all lanes attend. Any cut gives the same bytes (docs/NUMERICS.md). Thread rule: as in encoder.c; the memory
 * of a head that is cut is that of the lane with its number. */
#include "base/checked.h"
#include "run/group.h"

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

/* How many of `units` units of equal cost are cut: those that do not come in a full round of one for each lane, where a
   unit is more than a quarter of a lane's share. */
static uint32_t units_to_cut(uint32_t units, uint32_t lanes, uint64_t cost, uint64_t total) {
  const uint32_t odd = units % lanes;
  if (lanes == 1 || cost * lanes <= total / 4) return 0;
  return cost * (lanes - odd) / lanes >= QN_CUT_GAIN ? odd : 0;
}

static int is_long(const qn_group *g, uint32_t n, uint64_t total) { return cost_of(n) * g->s->lanes > total / 4; }

/* Heads of a sequence that are cut: the last ones of all sequences as long as it. Asked for in ascending order. */
static uint32_t heads_to_cut(const qn_group *g, uint32_t sequence, uint64_t total) {
  const quern_session *s = g->s;
  const uint32_t heads = g->arch->heads, n = s->lens[sequence], end = g->first + g->count;
  uint32_t all = 0, after = 0;
  if (!is_long(g, n, total)) return 0;
  for (uint32_t i = g->first; i < end; i++)
    if (s->lens[i] == n) all += heads, after += i > sequence ? heads : 0;
  const uint32_t cut = units_to_cut(all, s->lanes, cost_of(n), total);
  return cut > after ? (uint32_t)qn_min_size(cut - after, heads) : 0;
}

/* Longest first (a Shell sort: no memory, no recursion). */
static void sort_units(const quern_session *s, qn_unit *u, uint32_t n) {
  for (uint32_t gap = n / 2; gap; gap = gap == 2 ? 1 : (uint32_t)(gap * (uint64_t)5 / 11))
    for (uint32_t i = gap; i < n; i++) {
      const qn_unit x = u[i];
      uint32_t j = i;
      for (; j >= gap && s->lens[u[j - gap].sequence] < s->lens[x.sequence]; j -= gap) u[j] = u[j - gap];
      u[j] = x;
    }
}

/* Lanes that take whole units. */
static uint32_t lanes_of(const qn_group *g) { return (uint32_t)qn_min_size(g->s->lanes, g->whole); }

/* Cuts the whole units, in the order of their rows, where the cost so far reaches a lane's share of it. */
static void deal_units(const qn_group *g, uint64_t cost) {
  const quern_session *s = g->s;
  const uint32_t lanes = lanes_of(g);
  uint64_t so_far = 0;
  uint32_t lane = 0, first = 0;
  for (uint32_t i = 0; i < g->whole; i++) {
    const uint64_t c = cost_of(s->lens[s->units[i].sequence]);
    while (lane + 1 < lanes && (so_far + c / 2) * lanes >= cost * (lane + 1)) s->lane[lane++].units_end = i;
    so_far += c;
  }
  while (lane < lanes) s->lane[lane++].units_end = g->whole;
  for (lane = 0; lane < lanes && lanes > 1; first = s->lane[lane++].units_end)
    sort_units(s, s->units + first, s->lane[lane].units_end - first);
}

void qn_attention_plan(qn_group *g) {
  quern_session *s = g->s;
  const uint32_t heads = g->arch->heads, units = g->count * heads;
  uint64_t total = 0, cost = 0;
  uint32_t cut = units; /* from the end downwards */
  g->whole = 0;
  for (uint32_t i = 0; i < g->count; i++) total += heads * cost_of(s->lens[g->first + i]);
  for (uint32_t i = g->first; i < g->first + g->count; i++) {
    const uint32_t whole = heads - heads_to_cut(g, i, total);
    for (uint32_t h = 0; h < whole; h++) s->units[g->whole++] = (qn_unit){i, h};
    for (uint32_t h = whole; h < heads; h++) s->units[--cut] = (qn_unit){i, h};
    cost += whole * cost_of(s->lens[i]);
  }
  g->cut = units - cut;
  sort_units(s, s->units + cut, g->cut); /* equal lengths together */
  deal_units(g, cost);
}

/* ---- a unit ------------------------------------------------------------------------------------------------------ */

/* First query of a unit. */
static const float *queries_of(const qn_group *g, qn_unit u) {
  const size_t row = g->s->starts[u.sequence] - g->row;
  return g->s->qkv + row * 3 * qn_group_inner(g) + (size_t)u.head * g->arch->head_dim;
}

static int is_packed(const qn_group *g) { return g->arch->recipe != QN_RECIPE_FLOAT; }

/* Rows r0 (a multiple of 64) ... r1 - 1 of a unit into a head's memory. */
static void pack(qn_group *g, const qk_head_q8 *head, qn_unit u, uint32_t r0, uint32_t r1) {
  const size_t inner = qn_group_inner(g);
  const float *q = queries_of(g, u);
  const qk_pack_q8 op = {*head, q, q + inner, q + 2 * inner, 3 * inner, g->s->fold};
  qn_group_nonfinite(g, g->s->kernels->pack_q8(&op, r0, r1));
}

/* Queries r0 ... r1 - 1 of a unit, packed in `head` unless the model is a float one. */
static void attend(const qn_group *g, const qk_head_q8 *head, qn_unit u, uint32_t r0, uint32_t r1) {
  const quern_session *s = g->s;
  const qn_arch *a = g->arch;
  const size_t inner = qn_group_inner(g), row = s->starts[u.sequence] - g->row;
  float *out = s->context + row * inner + (size_t)u.head * a->head_dim;
  const float *bias = s->model->relative_bias; /* of distance 0, where there is one */
  if (bias) bias += u.head * (2 * (size_t)a->positions - 1) + a->positions - 1;
  if (is_packed(g)) {
    const qk_attention_q8 op = {*head, bias, out, inner};
    s->kernels->attention_q8(&op, r0, r1);
  } else {
    const float *q = queries_of(g, u);
    const qk_attention_f32 op = {q,    q + inner, q + 2 * inner, 3 * inner,           s->fold,
                                 bias, out,       inner,         s->lens[u.sequence], a->head_dim};
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
    if (is_packed(g)) pack(g, &head, s->units[i], 0, n);
    attend(g, &head, s->units[i], 0, n);
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
      pack(t->g, &head, t->units[u], r0, r1);
    else
      attend(t->g, &head, t->units[u], r0, r1);
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
