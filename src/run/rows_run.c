/* rows_run.c - runs lists of steps over the rows of a group (rows_run.h).
 *
 * A lane takes a block of rows through all steps of a list while it stays in cache. With too few rows for all lanes each
 * step is cut into tiles of output columns and rows instead. Blocks and tiles are dealt to lanes and may be taken from
 * them (base/share.h). Any cut gives the same bytes (docs/NUMERICS.md).
 * Thread rule: lanes touch disjoint rows and columns, and their own scratch. */
#include "run/rows_run.h"

#include "base/checked.h"

/* Below this many rows a lane, weights are read too often for the work done on them: columns are shared instead. */
#define QN_NARROW_ROWS 24u
#define QN_TILE_ROWS 6u   /* of the widest kernels in vectors */
#define QN_STRIP_ROWS 32u /* of those in tiles of a matrix unit */
#define QN_TILE_PANELS 4u /* of all */
/* Of tiles that lanes take where columns are shared. Rows: a multiple of a matrix unit's. Costs in rows times kernel tiles:
   of reading a kernel tile's weights, and of a tile for itself. At least QN_TILES_A_LANE tiles, so that a late lane can be
   helped. */
#define QN_TILE_LEAST 16u
#define QN_TILE_COST 8u
#define QN_CALL_COST 4u
#define QN_TILES_A_LANE 3u
#define QN_ROWS_LEAST 4u /* of row work that another lane is asked to do */

typedef struct row_task {
  qn_group *g;
  const qn_steps *list;
  uint32_t block_rows; /* at most QN_BLOCK_ROWS */
  uint32_t lanes;      /* that take blocks */
} row_task;

static qn_block block_at(const row_task *t, uint32_t index, uint32_t lane) {
  const uint32_t r0 = index * t->block_rows;
  return (qn_block){.g = t->g,
                    .lane = &t->g->s->lane[lane],
                    .scratch = t->g->s->lane[lane].transform,
                    .r0 = r0,
                    .rows = (uint32_t)qn_min_size(t->block_rows, t->g->rows - r0)};
}

/* What is multiplied after step i, or NULL. */
static const qn_linear *next_of(const qn_steps *list, uint32_t i) {
  while (++i < list->count)
    if (list->list[i].linear) return list->list[i].linear;
  return NULL;
}

/* A lane: blocks, one after another, each through all steps. */
static void run_lane(void *task, uint32_t lane) {
  const row_task *t = task;
  uint32_t i;
  while (qn_share_take(t->g->s->share, t->lanes, lane, &i) && !qn_group_stopped(t->g)) {
    qn_block b = block_at(t, i, lane);
    for (uint32_t j = 0; j < t->list->count; j++) {
      const qn_step *st = &t->list->list[j];
      b.index = st->layer;
      b.layer = &t->g->s->model->layers[st->layer];
      b.next = next_of(t->list, j);
      st->run(&b, 0, b.rows, 0, qn_step_panels(st));
    }
  }
}

/* One step of one block in tiles: `rows` rows, and of a product `panels` panels. */
typedef struct tile_task {
  const qn_block *b;
  const qn_step *step;
  uint32_t rows, panels;
  uint32_t down;  /* tiles one below the other */
  uint32_t lanes; /* that take tiles */
} tile_task;

static void run_tiles(void *task, uint32_t lane) {
  const tile_task *t = task;
  qn_block b = *t->b;
  uint32_t i;
  b.scratch = b.g->s->lane[lane].transform;
  while (qn_share_take(t->b->g->s->share, t->lanes, lane, &i)) {
    const size_t r0 = (size_t)(i % t->down) * t->rows, r1 = qn_min_size(r0 + t->rows, t->b->rows);
    const size_t p0 = (size_t)(i / t->down) * t->panels, p1 = qn_min_size(p0 + t->panels, qn_step_panels(t->step));
    t->step->run(&b, r0, r1, p0, p1);
  }
}

/* The tiles of a product with which lanes that take one after another are done first: `down` of them one below the other,
   `wide` kernel tiles wide. A tile costs its rows and, for reading weights, some more, for each kernel tile, and a call. */
static void choose_tiles(tile_task *t, uint32_t rows, uint32_t panels, uint32_t lanes) {
  const uint32_t across = qn_parts_of(panels, QN_TILE_PANELS);
  uint64_t least = UINT64_MAX;
  for (uint32_t down = 1; down == 1 || rows / down >= QN_TILE_LEAST; down++) {
    const uint32_t tile = down == 1 ? rows : qn_parts_of(qn_parts_of(rows, down), QN_TILE_LEAST) * QN_TILE_LEAST;
    for (uint32_t wide = 1; wide == 1 || wide * QN_TILES_A_LANE * lanes <= across; wide++) {
      const uint32_t rounds = qn_parts_of(qn_parts_of(rows, tile) * qn_parts_of(across, wide), lanes);
      const uint64_t time = rounds * ((uint64_t)wide * (tile + QN_TILE_COST) + QN_CALL_COST);
      if (time >= least) continue;
      least = time;
      t->rows = tile;
      t->panels = wide * QN_TILE_PANELS;
    }
  }
}

/* A step of a block over all lanes. Few rows without a product are not worth waking anybody. */
static void run_step(const qn_block *b, const qn_step *st) {
  quern_session *s = b->g->s;
  const uint32_t panels = qn_step_panels(st);
  tile_task t = {.b = b, .step = st, .panels = 1};
  if (panels)
    choose_tiles(&t, b->rows, panels, s->lanes);
  else
    t.rows = (uint32_t)qn_max_size(qn_parts_of(b->rows, s->lanes), QN_ROWS_LEAST);
  t.down = qn_parts_of(b->rows, t.rows);
  const uint32_t tiles = t.down * (panels ? qn_parts_of(panels, t.panels) : 1);
  t.lanes = (uint32_t)qn_min_size(tiles, s->lanes);
  qn_share_deal(s->share, t.lanes, tiles);
  qn_pool_run(s->pool, run_tiles, &t, t.lanes);
}

static void run_narrow(const row_task *t) {
  for (uint32_t r = 0, i = 0; r < t->g->rows && !qn_group_stopped(t->g); r += t->block_rows, i++) {
    qn_block b = block_at(t, i, 0);
    for (uint32_t j = 0; j < t->list->count; j++) {
      b.index = t->list->list[j].layer;
      b.layer = &t->g->s->model->layers[b.index];
      b.next = next_of(t->list, j);
      run_step(&b, &t->list->list[j]);
    }
  }
}

/* Rows of a block: at most QN_BLOCK_ROWS, such that all lanes get as many blocks; whole tiles, of the largest where that
   adds little. */
static uint32_t share_rows(uint32_t rows, uint32_t lanes) {
  const uint32_t rounds = (rows + lanes * QN_BLOCK_ROWS - 1) / (lanes * QN_BLOCK_ROWS);
  const uint32_t share = (rows + lanes * rounds - 1) / (lanes * rounds);
  const uint32_t strips = (share + QN_STRIP_ROWS - 1) / QN_STRIP_ROWS * QN_STRIP_ROWS;
  if (strips - share <= share / 16 && strips <= QN_BLOCK_ROWS) return strips;
  return (uint32_t)qn_min_size((share + QN_TILE_ROWS - 1) / QN_TILE_ROWS * QN_TILE_ROWS, QN_BLOCK_ROWS);
}

void qn_rows_run(qn_group *g, const qn_steps *list) {
  quern_session *s = g->s;
  row_task t = {.g = g, .list = list, .block_rows = QN_BLOCK_ROWS};
  if (s->lanes > 1 && g->rows < QN_NARROW_ROWS * s->lanes && !s->observe) { /* an observer sees whole rows */
    run_narrow(&t);
    return;
  }
  t.block_rows = share_rows(g->rows, s->lanes);
  const uint32_t blocks = qn_parts_of(g->rows, t.block_rows);
  t.lanes = (uint32_t)qn_min_size(s->lanes, blocks);
  qn_share_deal(s->share, t.lanes, blocks);
  qn_pool_run(s->pool, run_lane, &t, t.lanes);
}

quern_status qn_group_check(qn_group *g) {
  quern_session *s = g->s;
  if (qn_group_stopped(g)) return qn_fail(&s->error, QUERN_E_CANCELLED, "cancelled");
  if (atomic_load(&g->nonfinite))
    return qn_fail(&s->error, QUERN_E_NONFINITE,
                   "NaN or infinity in the activations of layer %u: the file is damaged (quern verify) or its source "
                   "had such weights",
                   g->layer);
  return QUERN_OK;
}
