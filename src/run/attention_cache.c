/* attention_cache.c - attention of a decoder's layer. New keys and values go to their sequences' pages first: a unit is one
 * head of one segment, so that no two lanes write to a block. Then queries see them: a unit is some rows of a segment for one
 * head of keys and values, or, where that leaves lanes without work, some of its blocks of keys, whose parts are merged in
 * their order afterwards. Any cut gives the same bytes (docs/NUMERICS.md).
 * Thread rule: lanes touch disjoint blocks, rows and parts, and their own scratch. */
#include "base/checked.h"
#include "run/group.h"

/* log2(e): scores are kept in units of log2 (docs/NUMERICS.md). */
#define LOG2_E 1.44269504088896340736f

#define QN_APPEND_LEAST 32u /* rows of keys that another lane is asked to append */
#define QN_TILE_QUERIES 64u /* of a unit, where there are enough */
#define QN_PART_BLOCKS 4u   /* of a part, at least */
#define QN_BLOCKS_LEAST 8u  /* that another lane is asked to see */

typedef struct attend_task {
  qn_group *g;
  uint32_t lanes;
  uint32_t rows;   /* of a unit */
  uint32_t blocks; /* of a part; 0: units are not cut by blocks */
} attend_task;

/* Blocks first ... end - 1, that rows r0 ... r1 - 1 of a segment see. */
typedef struct block_range {
  uint32_t first, end;
} block_range;
static block_range blocks_seen(const qn_group *g, const qn_segment *seg, uint32_t r0, uint32_t r1) {
  const uint32_t window = qn_group_window(g), from = seg->position + r0;
  return (block_range){window && from >= window ? (from - window + 1) / QK_BLOCK : 0,
                       (seg->position + r1 - 1) / QK_BLOCK + 1};
}

/* A lane's pointers to a head's blocks, those of the range alone. */
static uint8_t **point(const qn_group *g, uint32_t lane, const qn_segment *seg, uint32_t head, block_range r) {
  uint8_t **blocks = g->s->lane[lane].blocks;
  for (uint32_t i = r.first; i < r.end; i++) blocks[i] = qn_cache_block(&g->s->cache, seg->sequence, i, g->layer, head);
  return blocks;
}

/* ---- appending --------------------------------------------------------------------------------------------------- */

static void append_lane(void *task, uint32_t lane) {
  const attend_task *t = task;
  qn_group *g = t->g;
  const quern_session *s = g->s;
  const qn_arch *a = g->arch;
  uint32_t i;
  while (qn_share_take(s->share, t->lanes, lane, &i)) {
    const qn_segment *seg = &s->segments[i / a->kv_heads];
    const uint32_t head = i % a->kv_heads;
    const block_range r = {seg->position / QK_BLOCK, (seg->position + seg->rows - 1) / QK_BLOCK + 1};
    const float *k = s->qkv + seg->row * qn_group_qkv(g) + qn_group_inner(g) + (size_t)head * a->head_dim;
    const qk_append op = {.block = point(g, lane, seg, head, r),
                          .k = k,
                          .v = k + (size_t)a->kv_heads * a->head_dim,
                          .ldx = qn_group_qkv(g),
                          .h = a->head_dim,
                          .bits = s->cache.bits,
                          .position = seg->position};
    qn_group_nonfinite(g, s->kernels->cache_append(&op, 0, seg->rows));
  }
}

/* ---- seeing ------------------------------------------------------------------------------------------------------ */

/* Some rows of a segment for one head of keys and values. */
typedef struct unit {
  const qn_segment *seg;
  uint32_t head, r0, r1;
  uint32_t part; /* of its blocks */
} unit;

static uint32_t parts_of_segment(const attend_task *t, const qn_segment *seg) {
  const block_range r = blocks_seen(t->g, seg, 0, seg->rows);
  return t->blocks ? qn_parts_of(r.end - r.first, t->blocks) : qn_parts_of(seg->rows, t->rows);
}

/* Unit number i. Heads alternate, and rows ascend: a lane's own units are of about the rows that it takes through the steps before and
   behind (rows_run.c), so that most of what it reads and leaves is in its own cache. */
static unit unit_at(const attend_task *t, uint32_t i) {
  const quern_session *s = t->g->s;
  const uint32_t heads = t->g->arch->kv_heads;
  uint32_t low = 0, high = t->g->segments - 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (s->segments[middle].units > i)
      high = middle;
    else
      low = middle + 1;
  }
  const qn_segment *seg = &s->segments[low];
  if (low) i -= s->segments[low - 1].units;
  unit u = {.seg = seg, .head = i % heads, .r1 = seg->rows, .part = i / heads};
  if (t->blocks) return u;
  u.r0 = u.part * t->rows;
  u.r1 = (uint32_t)qn_min_size(u.r0 + t->rows, seg->rows);
  return u;
}

static qk_attend_cache attend_of(const qn_group *g, uint32_t lane, const unit *u) {
  const quern_session *s = g->s;
  const qn_arch *a = g->arch;
  const size_t at = (size_t)u->head * qn_group_share(g) * a->head_dim;
  return (qk_attend_cache){
      .block = (const uint8_t *const *)point(g, lane, u->seg, u->head, blocks_seen(g, u->seg, u->r0, u->r1)),
      .keys = u->seg->position + u->seg->rows,
      .q = s->qkv + u->seg->row * qn_group_qkv(g) + at,
      .ldq = qn_group_qkv(g),
      .heads = qn_group_share(g),
      .h = a->head_dim,
      .bits = s->cache.bits,
      .position = u->seg->position,
      .before = qn_group_window(g),
      .fold = s->fold,
      .cap = a->score_cap * LOG2_E,
      .out = s->context + u->seg->row * qn_group_inner(g) + at,
      .ldo = qn_group_inner(g),
      .scratch = s->lane[lane].attend};
}

static void attend_lane(void *task, uint32_t lane) {
  const attend_task *t = task;
  const quern_session *s = t->g->s;
  uint32_t i;
  while (qn_share_take(s->share, t->lanes, lane, &i) && !qn_group_stopped(t->g)) {
    const unit u = unit_at(t, i);
    const qk_attend_cache op = attend_of(t->g, lane, &u);
    qn_group_nonfinite(t->g, s->kernels->attend_cache(&op, u.r0, u.r1));
  }
}

/* ---- cut by blocks of keys --------------------------------------------------------------------------------------- */

static uint32_t queries_of(const qn_group *g, const qn_segment *seg) { return seg->rows * qn_group_share(g); }
/* Floats of s->parts that a block of a segment takes, and where those of a unit's blocks begin. */
static size_t part_floats(const qn_group *g, const qn_segment *seg) {
  return qk_attend_part_words(queries_of(g, seg), g->arch->head_dim);
}
static float *parts_at(const qn_group *g, const unit *u) {
  const block_range r = blocks_seen(g, u->seg, 0, u->seg->rows);
  return g->s->parts + u->seg->parts + (size_t)u->head * (r.end - r.first) * part_floats(g, u->seg);
}

static void part_lane(void *task, uint32_t lane) {
  const attend_task *t = task;
  const quern_session *s = t->g->s;
  uint32_t i;
  while (qn_share_take(s->share, t->lanes, lane, &i) && !qn_group_stopped(t->g)) {
    const unit u = unit_at(t, i);
    const qk_attend_cache op = attend_of(t->g, lane, &u);
    const block_range r = blocks_seen(t->g, u.seg, 0, u.r1);
    const size_t b0 = r.first + (size_t)u.part * t->blocks, b1 = qn_min_size(b0 + t->blocks, r.end);
    float *parts = parts_at(t->g, &u) + (b0 - r.first) * part_floats(t->g, u.seg);
    const size_t bad = s->kernels->attend_part(&op, 0, u.r1, b0, b1, parts);
    if (u.part == 0) qn_group_nonfinite(t->g, bad); /* queries are the same in all parts */
  }
}

/* One task: what is merged is little. */
static void merge_parts(void *task, uint32_t lane) {
  const attend_task *t = task;
  const quern_session *s = t->g->s;
  for (uint32_t i = 0; i < t->g->segments && !qn_group_stopped(t->g); i++)
    for (uint32_t head = 0; head < t->g->arch->kv_heads; head++) {
      const unit u = {.seg = &s->segments[i], .head = head, .r1 = s->segments[i].rows};
      const qk_attend_cache op = attend_of(t->g, lane, &u);
      const block_range r = blocks_seen(t->g, u.seg, 0, u.r1);
      s->kernels->attend_merge(&op, 0, u.r1, r.first, r.end, parts_at(t->g, &u));
    }
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static uint32_t count_units(const attend_task *t) {
  uint32_t units = 0;
  for (uint32_t i = 0; i < t->g->segments; i++) {
    qn_segment *seg = &t->g->s->segments[i];
    units += parts_of_segment(t, seg) * t->g->arch->kv_heads;
    seg->units = units;
  }
  return units;
}

/* Blocks that heads see, all together; *few: whether all units have few queries, whose parts fit their memory. */
static uint64_t count_blocks(const qn_group *g, int *few) {
  uint64_t blocks = 0;
  size_t floats = 0;
  *few = 1;
  for (uint32_t i = 0; i < g->segments; i++) {
    qn_segment *seg = &g->s->segments[i];
    const block_range r = blocks_seen(g, seg, 0, seg->rows);
    const uint64_t own = (uint64_t)(r.end - r.first) * g->arch->kv_heads;
    seg->parts = floats;
    blocks += own;
    if (queries_of(g, seg) > QN_PART_QUERIES) *few = 0;
    if (*few) floats += (size_t)own * part_floats(g, seg);
    if (floats > g->s->parts_floats) *few = 0;
  }
  return blocks;
}

static void run(attend_task *t, quern_task_fn *fn, uint32_t units, uint32_t lanes) {
  quern_session *s = t->g->s;
  t->lanes = (uint32_t)qn_min_size(units, lanes);
  qn_share_deal(s->share, t->lanes, units);
  qn_pool_run(s->pool, fn, t, t->lanes);
}

void qn_attention_cache_run(qn_group *g) {
  const quern_session *s = g->s;
  const uint32_t heads = g->arch->kv_heads, share = qn_group_share(g);
  attend_task t = {.g = g, .rows = (uint32_t)qn_max_size(QN_TILE_QUERIES / share, 1)};
  run(&t, append_lane, g->segments * heads, (uint64_t)g->rows * heads < QN_APPEND_LEAST ? 1 : s->lanes);
  if (s->lanes == 1) t.rows = UINT32_MAX / 2;
  int few = 0;
  const uint64_t blocks = count_blocks(g, &few);
  uint32_t units = count_units(&t);
  if (units < QN_UNITS_A_LANE * s->lanes && s->lanes > 1) {
    t.rows = (uint32_t)qn_max_size(QN_PART_QUERIES / share, 1);
    if (few && blocks >= (uint64_t)QN_BLOCKS_LEAST * s->lanes)
      t.blocks = (uint32_t)qn_max_size((size_t)(blocks / (QN_UNITS_A_LANE * s->lanes)), QN_PART_BLOCKS);
    units = count_units(&t);
  }
  run(&t, t.blocks ? part_lane : attend_lane, units, blocks * g->rows < QN_BLOCKS_LEAST ? 1 : s->lanes);
  if (t.blocks) qn_pool_run(s->pool, merge_parts, &t, 1);
}
