/* encoder.c - the encoder: embedding, then layers, over a ragged batch, by the description in qn_arch.
 *
 * Between two attentions everything works row by row, so a lane takes a block of rows through a list of steps
 * (attention output, norm, feed-forward, norm, the next layer's q, k, v) while it stays in cache. With fewer blocks
 * than threads each step is cut by output columns instead. Attention runs per sequence and head. Any cut gives the same
 * bytes (docs/NUMERICS.md). Thread rule: lanes touch disjoint rows and heads, and their own scratch. */
#include "base/checked.h"
#include "run/linear.h"
#include "run/session.h"

/* A group of sequences on its way through the layers. */
typedef struct group {
  quern_session *s;
  const qn_arch *arch;
  uint32_t first, count; /* sequences */
  uint32_t row, rows;    /* rows of the pass */
  uint32_t layer;        /* whose attention runs, or ran last */
  int typed;             /* the pass has token types */
  atomic_uint next;      /* block or head handed out next */
  atomic_size_t nonfinite;
} group;

/* A block of rows of a group, in a lane's scratch. */
typedef struct block {
  group *g;
  qn_lane *lane;
  const qn_layer *layer;
  uint32_t index;    /* of the layer */
  uint32_t r0, rows; /* within the group */
} block;

/* One step over rows r0 ... r1 - 1 of a block; for a product also output panels p0 ... p1 - 1. */
typedef void step_fn(const block *b, size_t r0, size_t r1, size_t p0, size_t p1);
typedef struct step {
  step_fn *run;
  uint32_t layer;  /* whose weights it uses */
  uint32_t panels; /* 0: row work, not a product */
} step;

/* Below this many rows a lane, weights are read too often for the work done on them: columns are shared instead. */
#define QN_NARROW_ROWS 24u
#define QN_TILE_ROWS 6u   /* of the widest kernels in vectors */
#define QN_STRIP_ROWS 32u /* of those in tiles of a matrix unit */

#define MAX_STEPS 8u
typedef struct steps {
  step list[MAX_STEPS];
  uint32_t count;
} steps;

static size_t inner_of(const qn_arch *a) { return (size_t)a->heads * a->head_dim; }
static int is_int8(const group *g) { return g->arch->recipe == QN_RECIPE_INT8; }
static float *hidden_rows(const block *b) { return b->g->s->x + (size_t)(b->g->row + b->r0) * b->g->arch->width; }
static float *context_rows(const block *b) { return b->g->s->context + (size_t)b->r0 * inner_of(b->g->arch); }

/* The lane's codes as the input of a linear operator; none in a float model. */
static qk_codes in_codes(const block *b, const qn_linear *l) {
  return is_int8(b->g) ? qn_input_codes(b->lane->in, l) : (qk_codes){0};
}
static qk_codes mid_codes(const block *b) { return qn_input_codes(b->lane->mid, &b->layer->ffn_down); }
static qk_table_ref table_of(const qn_table *t) {
  return (qk_table_ref){.data = t->data, .scale = t->scale, .step = t->step, .bits = t->bits, .group = t->group};
}

uint32_t qn_kernel_act(uint32_t act) {
  static const uint32_t acts[] = {[QN_ACT_GELU] = QK_ACT_GELU,
                                  [QN_ACT_GELU_TANH] = QK_ACT_GELU_TANH,
                                  [QN_ACT_RELU] = QK_ACT_RELU,
                                  [QN_ACT_TANH] = QK_ACT_TANH,
                                  [QN_ACT_NONE] = QK_ACT_NONE};
  return acts[act];
}

static void count_nonfinite(group *g, size_t n) {
  if (n) atomic_fetch_add_explicit(&g->nonfinite, n, memory_order_relaxed);
}

/* A block's product; an observer sees its input once, with the first columns. */
static void run_product(const block *b, const qn_product *p, size_t r0, size_t r1, size_t p0, size_t p1) {
  const quern_session *s = b->g->s;
  const uint32_t k = p->linear->k;
  if (s->observe && p0 == 0 && p->input < QN_INPUT_KINDS)
    s->observe(s->observe_user, b->index, p->input, p->x + r0 * k, k, r1 - r0, k);
  qn_product_run(s->kernels, p, r0, r1, p0, p1);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void step_embed(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const size_t row = (size_t)b->g->row + b->r0, d = qn_arch_table_width(&m->arch);
  const int projected = m->arch.embed_width != 0;
  const qk_embed op = {.ids = s->ids + row,
                       .positions = s->positions + row,
                       .type_ids = b->g->typed ? s->types + row : NULL,
                       .tokens = table_of(&m->tokens),
                       .position = table_of(&m->positions),
                       .types = table_of(&m->types),
                       .norm = {.out = projected ? b->lane->hidden : hidden_rows(b),
                                .gain = m->embed_norm.gain,
                                .bias = m->embed_norm.bias,
                                .smooth = projected ? m->project.smooth : b->layer->qkv.smooth,
                                .q = in_codes(b, projected ? &m->project : &b->layer->qkv),
                                .ldo = d,
                                .d = (uint32_t)d,
                                .eps = m->arch.norm_eps}};
  count_nonfinite(b->g, s->kernels->embed(&op, r0, r1));
}

/* From the tables' width to that of the hidden states. */
static void step_project(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_arch *a = b->g->arch;
  const qn_product p = {.linear = &b->g->s->model->project,
                        .input = QN_INPUT_UNSEEN,
                        .x = b->lane->hidden,
                        .q = in_codes(b, &b->g->s->model->project),
                        .out = hidden_rows(b),
                        .ldo = a->width};
  run_product(b, &p, r0, r1, p0, p1);
}

static void step_quantize_projected(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const uint32_t width = b->g->arch->width;
  const qk_codes q = in_codes(b, &b->layer->qkv);
  count_nonfinite(b->g, b->g->s->kernels->quantize(hidden_rows(b), width, width, b->layer->qkv.smooth, &q, r0, r1));
}

static void step_qkv(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const size_t ld = 3 * inner_of(b->g->arch);
  const qn_product p = {.linear = &b->layer->qkv,
                        .input = QN_INPUT_QKV,
                        .x = hidden_rows(b),
                        .q = in_codes(b, &b->layer->qkv),
                        .out = b->g->s->qkv + (size_t)b->r0 * ld,
                        .ldo = ld};
  run_product(b, &p, r0, r1, p0, p1);
}

static void step_quantize_context(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const size_t inner = inner_of(b->g->arch);
  const qk_codes q = in_codes(b, &b->layer->attn_out);
  count_nonfinite(
      b->g, b->g->s->kernels->quantize(context_rows(b), inner, (uint32_t)inner, b->layer->attn_out.smooth, &q, r0, r1));
}

static void step_attn_out(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->attn_out,
                        .input = QN_INPUT_ATTN_OUT,
                        .x = context_rows(b),
                        .q = in_codes(b, &b->layer->attn_out),
                        .residual = hidden_rows(b),
                        .out = hidden_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, &p, r0, r1, p0, p1);
}

/* Norm of the hidden rows; codes for the linear operator `next`, if there is one. */
static void run_norm(const block *b, const qn_norm *norm, const qn_linear *next, size_t r0, size_t r1) {
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
  count_nonfinite(b->g, b->g->s->kernels->norm(&op, r0, r1));
}

static void step_attn_norm(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->attn_norm, &b->layer->ffn_up, r0, r1);
}

/* In an integer model, codes of 8 bits follow. */
static uint32_t ffn_act(const qn_arch *a) {
  const uint32_t act = qn_kernel_act(a->activation);
  return act == QK_ACT_GELU && a->recipe != QN_RECIPE_FLOAT ? QK_ACT_GELU_SHORT : act;
}

static void step_ffn_up(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_arch *a = b->g->arch;
  const qn_product p = {.linear = &b->layer->ffn_up,
                        .input = QN_INPUT_FFN_UP,
                        .x = hidden_rows(b),
                        .q = in_codes(b, &b->layer->ffn_up),
                        .out = b->lane->hidden,
                        .ldo = a->ffn,
                        .act = ffn_act(a)};
  run_product(b, &p, r0, r1, p0, p1);
}

static void step_quantize_hidden(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const uint32_t ffn = b->g->arch->ffn;
  const qk_codes q = mid_codes(b);
  count_nonfinite(b->g, b->g->s->kernels->quantize(b->lane->hidden, ffn, ffn, b->layer->ffn_down.smooth, &q, r0, r1));
}

static void step_ffn_down(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->ffn_down,
                        .input = QN_INPUT_FFN_DOWN,
                        .x = b->lane->hidden,
                        .q = mid_codes(b),
                        .residual = hidden_rows(b),
                        .out = hidden_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, &p, r0, r1, p0, p1);
}

static void step_ffn_norm(const block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->ffn_norm, b->index + 1 < b->g->arch->layers ? &b->layer[1].qkv : NULL, r0, r1);
}

static void add_step(steps *list, step_fn *run, uint32_t layer, size_t columns) {
  list->list[list->count++] = (step){run, layer, (uint32_t)qk_panels(columns)};
}

/* Before the first attention. */
static steps steps_before(const qn_arch *a) {
  steps list = {.count = 0};
  add_step(&list, step_embed, 0, 0);
  if (a->embed_width) add_step(&list, step_project, 0, a->width);
  if (a->embed_width && a->recipe == QN_RECIPE_INT8) add_step(&list, step_quantize_projected, 0, 0);
  add_step(&list, step_qkv, 0, 3 * inner_of(a));
  return list;
}

/* Between attention `layer` and the next one, or the end. */
static steps steps_after(const qn_arch *a, uint32_t layer) {
  const int int8 = a->recipe == QN_RECIPE_INT8;
  steps list = {.count = 0};
  if (int8) add_step(&list, step_quantize_context, layer, 0);
  add_step(&list, step_attn_out, layer, a->width);
  add_step(&list, step_attn_norm, layer, 0);
  add_step(&list, step_ffn_up, layer, a->ffn);
  if (int8) add_step(&list, step_quantize_hidden, layer, 0);
  add_step(&list, step_ffn_down, layer, a->width);
  add_step(&list, step_ffn_norm, layer, 0);
  if (layer + 1 < a->layers) add_step(&list, step_qkv, layer + 1, 3 * inner_of(a));
  return list;
}

/* ---- running steps ----------------------------------------------------------------------------------------------- */

typedef struct row_task {
  group *g;
  const steps *list;
  uint32_t block_rows; /* at most QN_BLOCK_ROWS */
} row_task;

static block block_at(const row_task *t, uint32_t index, uint32_t lane) {
  const uint32_t r0 = index * t->block_rows;
  return (block){
      .g = t->g, .lane = &t->g->s->lane[lane], .r0 = r0, .rows = (uint32_t)qn_min_size(t->block_rows, t->g->rows - r0)};
}

static int stopped(const group *g) { return atomic_load_explicit(&g->s->cancel, memory_order_relaxed); }

/* A lane: blocks, one after another, each through all steps. */
static void run_lane(void *task, uint32_t lane) {
  const row_task *t = task;
  const uint32_t blocks = (t->g->rows + t->block_rows - 1) / t->block_rows;
  uint32_t i;
  while ((i = atomic_fetch_add_explicit(&t->g->next, 1, memory_order_relaxed)) < blocks && !stopped(t->g)) {
    block b = block_at(t, i, lane);
    for (uint32_t j = 0; j < t->list->count; j++) {
      const step *st = &t->list->list[j];
      b.index = st->layer;
      b.layer = &t->g->s->model->layers[st->layer];
      st->run(&b, 0, b.rows, 0, st->panels);
    }
  }
}

/* One step of one block, cut into `parts` by panels (in fours, a kernel's tile) or by rows. */
typedef struct part_task {
  const block *b;
  const step *step;
  uint32_t parts;
} part_task;

static void run_part(void *task, uint32_t index) {
  const part_task *t = task;
  const size_t panels = t->step->panels, units = panels ? (panels + 3) / 4 : t->b->rows;
  const size_t u0 = units * index / t->parts, u1 = units * (index + 1) / t->parts;
  if (panels)
    t->step->run(t->b, 0, t->b->rows, u0 * 4, qn_min_size(u1 * 4, panels));
  else
    t->step->run(t->b, u0, u1, 0, 0);
}

static void run_wide(const row_task *t) {
  qn_pool *pool = t->g->s->pool;
  for (uint32_t r = 0, i = 0; r < t->g->rows && !stopped(t->g); r += t->block_rows, i++) {
    block b = block_at(t, i, 0);
    for (uint32_t j = 0; j < t->list->count; j++) {
      const step *st = &t->list->list[j];
      const size_t units = st->panels ? (st->panels + 3) / 4 : b.rows;
      b.index = st->layer;
      b.layer = &t->g->s->model->layers[st->layer];
      part_task part = {&b, st, (uint32_t)qn_min_size(units, t->g->s->lanes)};
      qn_pool_run(pool, run_part, &part, part.parts);
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

static void run_rows(group *g, const steps *list) {
  const uint32_t lanes = g->s->lanes;
  row_task t = {g, list, QN_BLOCK_ROWS};
  if (lanes > 1 && g->rows < QN_NARROW_ROWS * lanes) {
    run_wide(&t);
    return;
  }
  t.block_rows = share_rows(g->rows, lanes);
  atomic_store_explicit(&g->next, 0, memory_order_relaxed);
  qn_pool_run(g->s->pool, run_lane, &t, lanes);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static void attend(group *g, qn_lane *lane, uint32_t sequence, uint32_t head) {
  const quern_session *s = g->s;
  const qn_arch *a = g->arch;
  const size_t inner = inner_of(a), ld = 3 * inner;
  const uint32_t n = s->lens[sequence], row = s->starts[sequence] - g->row;
  const float *q = s->qkv + (size_t)row * ld + (size_t)head * a->head_dim;
  float *out = s->context + (size_t)row * inner + (size_t)head * a->head_dim;
  const float *bias = s->model->relative_bias; /* of distance 0, where there is one */
  if (bias) bias += head * (2 * (size_t)a->positions - 1) + a->positions - 1;
  if (is_int8(g)) {
    lane->head.n = n;
    const qk_pack_q8 pack = {lane->head, q, q + inner, q + 2 * inner, ld, s->fold};
    count_nonfinite(g, s->kernels->pack_q8(&pack, 0, n));
    const qk_attention_q8 op = {lane->head, bias, out, inner};
    s->kernels->attention_q8(&op, 0, n);
  } else {
    const qk_attention_f32 op = {q, q + inner, q + 2 * inner, ld, s->fold, bias, out, inner, n, a->head_dim};
    s->kernels->attention_f32(&op, 0, n);
  }
}

static void attention_lane(void *task, uint32_t lane) {
  group *g = task;
  const uint32_t heads = g->arch->heads, units = g->count * heads;
  uint32_t i;
  while ((i = atomic_fetch_add_explicit(&g->next, 1, memory_order_relaxed)) < units && !stopped(g))
    attend(g, &g->s->lane[lane], g->first + i / heads, i % heads);
}

static void run_attention(group *g) {
  atomic_store_explicit(&g->next, 0, memory_order_relaxed);
  qn_pool_run(g->s->pool, attention_lane, g, (uint32_t)qn_min_size(g->s->lanes, (size_t)g->count * g->arch->heads));
}

/* ---- passes ------------------------------------------------------------------------------------------------------ */

static quern_status check_group(group *g) {
  quern_session *s = g->s;
  if (stopped(g)) return qn_fail(&s->error, QUERN_E_CANCELLED, "cancelled");
  if (atomic_load(&g->nonfinite))
    return qn_fail(&s->error, QUERN_E_NONFINITE,
                   "NaN or infinity in the activations of layer %u: the file is damaged (quern verify) or its source "
                   "had such weights",
                   g->layer);
  return QUERN_OK;
}

static quern_status run_group(group *g) {
  const uint32_t layers = g->arch->layers;
  steps list = steps_before(g->arch);
  run_rows(g, &list);
  QN_TRY(check_group(g));
  for (g->layer = 0; g->layer < layers; g->layer++) {
    run_attention(g);
    QN_TRY(check_group(g));
    list = steps_after(g->arch, g->layer);
    run_rows(g, &list);
    QN_TRY(check_group(g));
  }
  return QUERN_OK;
}

/* Sequences first ... are taken while they fit the group's memory, until it has work enough for all lanes. */
static uint32_t group_size(const quern_session *s, uint32_t first, uint32_t batch, uint32_t *rows) {
  const uint32_t enough = QN_GROUP_TOKENS * s->lanes;
  uint32_t count = 0;
  *rows = 0;
  while (first + count < batch && *rows < enough && s->lens[first + count] <= s->group_tokens - *rows)
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
  for (uint32_t first = 0, rows = 0; first < batch && status == QUERN_OK;) {
    const uint32_t count = group_size(s, first, batch, &rows);
    group g = {
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
