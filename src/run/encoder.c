/* encoder.c - the encoder: embedding, then layers, over a ragged batch, by the description in qn_arch.
 *
 * Between two attentions everything works row by row, so a lane takes a block of rows through a list of steps
 * (attention output, norm, feed-forward, norm, the next layer's q, k, v) while it stays in cache. With too few rows for
 * all lanes each step is cut into tiles of output columns and rows instead. Blocks and tiles are dealt to lanes and may
 * be taken from them (base/share.h). Attention is attention.c's. Any cut gives the same bytes (docs/NUMERICS.md).
 * Thread rule: lanes touch disjoint rows and heads, and their own scratch. */
#include "base/checked.h"
#include "run/observe.h"

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

static int is_int8(const qn_group *g) { return g->arch->recipe == QN_RECIPE_INT8; }
static float *hidden_rows(const qn_block *b) { return b->g->s->x + (size_t)(b->g->row + b->r0) * b->g->arch->width; }
static float *context_rows(const qn_block *b) { return b->g->s->context + (size_t)b->r0 * qn_group_inner(b->g); }

/* The lane's codes as the input of a linear operator; none in a float model. */
static qk_codes in_codes(const qn_block *b, const qn_linear *l) {
  return is_int8(b->g) ? qn_input_codes(b->lane->in, l) : (qk_codes){0};
}
static qk_codes mid_codes(const qn_block *b) { return qn_input_codes(b->lane->mid, &b->layer->ffn_down); }

uint32_t qn_kernel_act(uint32_t act) {
  static const uint32_t acts[] = {[QN_ACT_GELU] = QK_ACT_GELU,
                                  [QN_ACT_GELU_TANH] = QK_ACT_GELU_TANH,
                                  [QN_ACT_RELU] = QK_ACT_RELU,
                                  [QN_ACT_TANH] = QK_ACT_TANH,
                                  [QN_ACT_NONE] = QK_ACT_NONE};
  return acts[act];
}

/* A block's product p, p->next apart; observers see what they ask for. */
static void run_product(const qn_block *b, qn_product p, size_t r0, size_t r1, size_t p0, size_t p1) {
  p.next = b->next;
  if (b->g->s->observe)
    qn_observe_product(b, &p, r0, r1);
  else
    qn_product_run(b->g->s->kernels, &p, r0, r1, p0, p1);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void step_embed(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const size_t row = (size_t)b->g->row + b->r0, d = qn_arch_table_width(&m->arch);
  const int projected = m->arch.embed_width != 0;
  const qk_embed op = {.ids = s->ids + row,
                       .positions = s->positions + row,
                       .type_ids = b->g->typed ? s->types + row : NULL,
                       .tokens = qn_step_table(&m->tokens),
                       .position = qn_step_table(&m->positions),
                       .types = qn_step_table(&m->types),
                       .norm = {.out = projected ? b->lane->hidden : hidden_rows(b),
                                .gain = m->embed_norm.gain,
                                .bias = m->embed_norm.bias,
                                .smooth = projected ? m->project.smooth : b->layer->qkv.smooth,
                                .q = in_codes(b, projected ? &m->project : &b->layer->qkv),
                                .ldo = d,
                                .d = (uint32_t)d,
                                .eps = m->arch.norm_eps}};
  if (s->observe) qn_observe_embeddings(b, r0, r1);
  qn_group_nonfinite(b->g, s->kernels->embed(&op, r0, r1));
}

/* From the tables' width to that of the hidden states. */
static void step_project(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_arch *a = b->g->arch;
  const qn_product p = {.linear = &b->g->s->model->project,
                        .site = QN_SITE_PROJECT_IN,
                        .x = b->lane->hidden,
                        .q = in_codes(b, &b->g->s->model->project),
                        .out = hidden_rows(b),
                        .ldo = a->width};
  run_product(b, p, r0, r1, p0, p1);
}

static void step_quantize_projected(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const uint32_t width = b->g->arch->width;
  const qk_codes q = in_codes(b, &b->layer->qkv);
  qn_group_nonfinite(b->g, b->g->s->kernels->quantize(hidden_rows(b), width, width, b->layer->qkv.smooth, &q, r0, r1));
}

static void step_qkv(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const size_t ld = 3 * qn_group_inner(b->g);
  const qn_product p = {.linear = &b->layer->qkv,
                        .site = QN_SITE_QKV_IN,
                        .x = hidden_rows(b),
                        .q = in_codes(b, &b->layer->qkv),
                        .out = b->g->s->qkv + (size_t)b->r0 * ld,
                        .ldo = ld};
  run_product(b, p, r0, r1, p0, p1);
}

static void step_quantize_context(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const size_t inner = qn_group_inner(b->g);
  const qk_codes q = in_codes(b, &b->layer->attn_out);
  qn_group_nonfinite(
      b->g, b->g->s->kernels->quantize(context_rows(b), inner, (uint32_t)inner, b->layer->attn_out.smooth, &q, r0, r1));
}

/* Hidden rows, which their products have read, as what is added behind the block. */
static void scale_hidden(const qn_block *b, const float *by, size_t r0, size_t r1) {
  const size_t width = b->g->arch->width;
  float *x = hidden_rows(b);
  for (size_t r = r0; r < r1; r++)
    for (size_t i = 0; i < width; i++) x[r * width + i] *= by[i];
}
static void step_attn_shortcut(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  scale_hidden(b, b->layer->attn_shortcut, r0, r1);
}
static void step_ffn_shortcut(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  scale_hidden(b, b->layer->ffn_shortcut, r0, r1);
}

static void step_attn_out(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->attn_out,
                        .site = QN_SITE_ATTN_OUT_IN,
                        .x = context_rows(b),
                        .q = in_codes(b, &b->layer->attn_out),
                        .residual = hidden_rows(b),
                        .out = hidden_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, p, r0, r1, p0, p1);
}

/* Norm of the hidden rows; codes for the linear operator `next`, if there is one. */
static void run_norm(const qn_block *b, const qn_norm *norm, const qn_linear *next, size_t r0, size_t r1) {
  const qn_arch *a = b->g->arch;
  const qk_norm op = {.x = hidden_rows(b),
                      .out = hidden_rows(b),
                      .gain = norm->gain,
                      .bias = norm->bias,
                      .smooth = next ? next->smooth : NULL,
                      .q = next ? in_codes(b, next) : (qk_codes){0},
                      .ldx = a->width,
                      .ldo = a->width,
                      .d = a->width,
                      .eps = a->norm_eps};
  qn_group_nonfinite(b->g, b->g->s->kernels->norm(&op, r0, r1));
}

static void step_attn_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->attn_norm, &b->layer->ffn_up, r0, r1);
}

/* In an integer model, codes of 8 bits follow. */
static uint32_t ffn_act(const qn_arch *a) {
  const uint32_t act = qn_kernel_act(a->activation);
  return act == QK_ACT_GELU && a->recipe != QN_RECIPE_FLOAT ? QK_ACT_GELU_SHORT : act;
}

static void step_ffn_up(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_arch *a = b->g->arch;
  const qn_product p = {.linear = &b->layer->ffn_up,
                        .site = QN_SITE_FFN_UP_IN,
                        .x = hidden_rows(b),
                        .q = in_codes(b, &b->layer->ffn_up),
                        .out = b->lane->hidden,
                        .ldo = a->ffn,
                        .act = ffn_act(a)};
  run_product(b, p, r0, r1, p0, p1);
}

static void step_quantize_hidden(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const uint32_t ffn = b->g->arch->ffn;
  const qk_codes q = mid_codes(b);
  qn_group_nonfinite(b->g,
                     b->g->s->kernels->quantize(b->lane->hidden, ffn, ffn, b->layer->ffn_down.smooth, &q, r0, r1));
}

static void step_ffn_down(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->ffn_down,
                        .site = QN_SITE_FFN_DOWN_IN,
                        .x = b->lane->hidden,
                        .q = mid_codes(b),
                        .residual = hidden_rows(b),
                        .out = hidden_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, p, r0, r1, p0, p1);
}

static void step_ffn_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->ffn_norm, b->index + 1 < b->g->arch->layers ? &b->layer[1].qkv : NULL, r0, r1);
}

/* Before the first attention. */
static qn_steps steps_before(const quern_model *m) {
  const qn_arch *a = &m->arch;
  if (a->recipe == QN_RECIPE_STATIC) return qn_static_before(m);
  qn_steps list = {.count = 0};
  qn_step_add(&list, step_embed, 0, NULL);
  if (a->embed_width) qn_step_add(&list, step_project, 0, &m->project);
  if (a->embed_width && a->recipe == QN_RECIPE_INT8) qn_step_add(&list, step_quantize_projected, 0, NULL);
  qn_step_add(&list, step_qkv, 0, &m->layers[0].qkv);
  return list;
}

/* Between attention `layer` and the next one, or the end. */
static qn_steps steps_after(const quern_model *m, uint32_t layer) {
  const qn_arch *a = &m->arch;
  if (a->recipe == QN_RECIPE_STATIC) return qn_static_after(m, layer);
  const qn_layer *l = &m->layers[layer];
  const int int8 = a->recipe == QN_RECIPE_INT8;
  qn_steps list = {.count = 0};
  if (int8) qn_step_add(&list, step_quantize_context, layer, NULL);
  if (l->attn_shortcut) qn_step_add(&list, step_attn_shortcut, layer, NULL);
  qn_step_add(&list, step_attn_out, layer, &l->attn_out);
  qn_step_add(&list, step_attn_norm, layer, NULL);
  qn_step_add(&list, step_ffn_up, layer, &l->ffn_up);
  if (int8) qn_step_add(&list, step_quantize_hidden, layer, NULL);
  if (l->ffn_shortcut) qn_step_add(&list, step_ffn_shortcut, layer, NULL);
  qn_step_add(&list, step_ffn_down, layer, &l->ffn_down);
  qn_step_add(&list, step_ffn_norm, layer, NULL);
  if (layer + 1 < a->layers) qn_step_add(&list, step_qkv, layer + 1, &l[1].qkv);
  return list;
}

/* ---- running steps ----------------------------------------------------------------------------------------------- */

typedef struct row_task {
  qn_group *g;
  const qn_steps *list;
  uint32_t block_rows; /* at most QN_BLOCK_ROWS */
  uint32_t lanes;      /* that take blocks */
} row_task;

static qn_block block_at(const row_task *t, uint32_t index, uint32_t lane) {
  const uint32_t r0 = index * t->block_rows;
  return (qn_block){
      .g = t->g, .lane = &t->g->s->lane[lane], .r0 = r0, .rows = (uint32_t)qn_min_size(t->block_rows, t->g->rows - r0)};
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
  uint32_t i;
  while (qn_share_take(t->b->g->s->share, t->lanes, lane, &i)) {
    const size_t r0 = (size_t)(i % t->down) * t->rows, r1 = qn_min_size(r0 + t->rows, t->b->rows);
    const size_t p0 = (size_t)(i / t->down) * t->panels, p1 = qn_min_size(p0 + t->panels, qn_step_panels(t->step));
    t->step->run(t->b, r0, r1, p0, p1);
  }
}

static uint32_t parts_of(uint32_t whole, uint32_t part) { return (whole + part - 1) / part; }

/* The tiles of a product with which lanes that take one after another are done first: `down` of them one below the other,
   `wide` kernel tiles wide. A tile costs its rows and, for reading weights, some more, for each kernel tile, and a call. */
static void choose_tiles(tile_task *t, uint32_t rows, uint32_t panels, uint32_t lanes) {
  const uint32_t across = parts_of(panels, QN_TILE_PANELS);
  uint64_t least = UINT64_MAX;
  for (uint32_t down = 1; down == 1 || rows / down >= QN_TILE_LEAST; down++) {
    const uint32_t tile = down == 1 ? rows : parts_of(parts_of(rows, down), QN_TILE_LEAST) * QN_TILE_LEAST;
    for (uint32_t wide = 1; wide == 1 || wide * QN_TILES_A_LANE * lanes <= across; wide++) {
      const uint32_t rounds = parts_of(parts_of(rows, tile) * parts_of(across, wide), lanes);
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
    t.rows = (uint32_t)qn_max_size(parts_of(b->rows, s->lanes), QN_ROWS_LEAST);
  t.down = parts_of(b->rows, t.rows);
  const uint32_t tiles = t.down * (panels ? parts_of(panels, t.panels) : 1);
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

static void run_rows(qn_group *g, const qn_steps *list) {
  quern_session *s = g->s;
  row_task t = {.g = g, .list = list, .block_rows = QN_BLOCK_ROWS};
  if (s->lanes > 1 && g->rows < QN_NARROW_ROWS * s->lanes && !s->observe) { /* an observer sees whole rows */
    run_narrow(&t);
    return;
  }
  t.block_rows = share_rows(g->rows, s->lanes);
  const uint32_t blocks = parts_of(g->rows, t.block_rows);
  t.lanes = (uint32_t)qn_min_size(s->lanes, blocks);
  qn_share_deal(s->share, t.lanes, blocks);
  qn_pool_run(s->pool, run_lane, &t, t.lanes);
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

static quern_status check_group(qn_group *g) {
  quern_session *s = g->s;
  if (qn_group_stopped(g)) return qn_fail(&s->error, QUERN_E_CANCELLED, "cancelled");
  if (atomic_load(&g->nonfinite))
    return qn_fail(&s->error, QUERN_E_NONFINITE,
                   "NaN or infinity in the activations of layer %u: the file is damaged (quern verify) or its source "
                   "had such weights",
                   g->layer);
  return QUERN_OK;
}

static quern_status run_group(qn_group *g) {
  const uint32_t layers = g->arch->layers;
  qn_steps list = steps_before(g->s->model);
  qn_attention_plan(g);
  run_rows(g, &list);
  QN_TRY(check_group(g));
  for (g->layer = 0; g->layer < layers; g->layer++) {
    qn_attention_run(g);
    QN_TRY(check_group(g));
    list = steps_after(g->s->model, g->layer);
    run_rows(g, &list);
    QN_TRY(check_group(g));
  }
  return QUERN_OK;
}

/* Rows of a group: the pass in as few groups as have work enough for all lanes, about equal. */
static uint32_t group_rows(const quern_session *s, uint32_t rows) {
  return parts_of(rows, parts_of(rows, QN_GROUP_TOKENS * s->lanes));
}

/* Sequences first ... are taken while they fit the group's memory, until it has `enough` rows. */
static uint32_t group_size(const quern_session *s, uint32_t first, uint32_t batch, uint32_t enough, uint32_t *rows) {
  uint32_t count = 0;
  *rows = 0;
  while (first + count < batch && *rows < enough && count < s->group_sequences &&
         s->lens[first + count] <= s->group_tokens - *rows)
    *rows += s->lens[first + count++];
  return count;
}

/* Row and position of every token, and whether each is one the tables have: ids may come from a damaged tokenizer
 * section. */
static quern_status place_tokens(quern_session *s, uint32_t batch, int typed, uint32_t *rows) {
  const qn_arch *a = &s->model->arch;
  uint32_t row = 0;
  for (uint32_t i = 0; i < batch; i++) {
    s->starts[i] = row;
    for (uint32_t j = 0; j < s->lens[i]; j++, row++) {
      s->positions[row] = (int32_t)(j + a->position_offset);
      if ((uint32_t)s->ids[row] >= a->vocab)
        return qn_fail(&s->error, QUERN_E_ARGUMENT, "token id %d of sequence %u is outside the vocabulary of %u",
                       s->ids[row], i, a->vocab);
      if (typed && a->types && (uint32_t)s->types[row] >= a->types)
        return qn_fail(&s->error, QUERN_E_ARGUMENT, "token type %d of sequence %u: the model has %u", s->types[row], i,
                       a->types);
    }
  }
  *rows = row;
  return QUERN_OK;
}

quern_status qn_encode_pass(quern_session *s, uint32_t batch, int typed) {
  const qn_arch *a = &s->model->arch;
  const uint64_t t0 = qn_now_ns();
  uint32_t row = 0;
  QN_TRY(place_tokens(s, batch, typed, &row));
  quern_status status = QUERN_OK;
  const uint32_t enough = group_rows(s, row);
  for (uint32_t first = 0, rows = 0; first < batch && status == QUERN_OK;) {
    const uint32_t count = group_size(s, first, batch, enough, &rows);
    qn_group g = {
        .s = s, .arch = a, .first = first, .count = count, .row = s->starts[first], .rows = rows, .typed = typed};
    status = run_group(&g);
    first += count;
  }
  s->stats.ns_encode += qn_now_ns() - t0;
  if (status == QUERN_OK) {
    s->stats.sequences += batch;
    s->stats.tokens += row;
  }
  return status;
}
