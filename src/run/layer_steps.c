/* layer_steps.c - the steps of a dynamic or float recipe, and the lists of them that a qn_arch calls for: what takes rows
 * from one attention to the next. Where a block's norm stands before it (all placements but POST), its output is in the
 * lane's `normed`, and hidden states change by the sums behind blocks alone.
 * Thread rule: a step touches the rows it is called for, and its lane's scratch. */
#include "base/checked.h"
#include "run/observe.h"

static int is_int8(const qn_group *g) { return g->arch->recipe == QN_RECIPE_INT8; }
static int is_post(const qn_block *b) { return b->g->arch->place == QN_PLACE_POST; }
static float *hidden_rows(const qn_block *b) { return b->g->x + (size_t)b->r0 * b->g->arch->width; }
static float *context_rows(const qn_block *b) { return b->g->s->context + (size_t)b->r0 * qn_group_inner(b->g); }
static float *qkv_rows(const qn_block *b) { return b->g->s->qkv + (size_t)b->r0 * qn_group_qkv(b->g); }
/* What a layer's two blocks begin with. */
static float *input_rows(const qn_block *b) { return is_post(b) ? hidden_rows(b) : b->lane->normed; }
/* Where a block's last product goes: hidden states, which it is added to, or before a norm of its own. */
static float *output_rows(const qn_block *b) {
  return b->g->arch->place == QN_PLACE_SANDWICH ? b->lane->normed : hidden_rows(b);
}
static const float *residual_rows(const qn_block *b) {
  return b->g->arch->place == QN_PLACE_SANDWICH ? NULL : hidden_rows(b);
}

/* The lane's codes as the input of a linear operator; none in a float model. */
static qk_codes in_codes(const qn_block *b, const qn_linear *l) {
  return is_int8(b->g) ? qn_input_codes(b->lane->in, l) : (qk_codes){0};
}
static qk_codes mid_codes(const qn_block *b) {
  return is_int8(b->g) ? qn_input_codes(b->lane->mid, &b->layer->ffn_down) : (qk_codes){0};
}

/* The codes that an operation makes of its result for the operator behind it, NULL: none; floats alone where those go through a
   transform first, which transform_rows does. */
static qk_codes own_codes(const qn_linear *next, qk_codes q) {
  return next && !next->transform.block ? q : (qk_codes){0};
}
/* Rows that such an operation is called for: a tile that is still in the cache when the transform reads it. */
static size_t own_end(const qn_linear *next, size_t r, size_t r1) {
  return next && next->transform.block ? qn_min_size(r + QK_LANES, r1) : r1;
}
/* x: [block's rows, ldx]. */
static void transform_rows(const qn_block *b, const qn_linear *next, const float *x, size_t ldx, const qk_codes *q,
                           size_t r0, size_t r1) {
  if (next && next->transform.block)
    qn_group_nonfinite(b->g, qn_input_rows(b->g->s->kernels, next, x, ldx, q, b->scratch, r0, r1));
}
/* Rows of floats that nothing has made codes of. */
static void input_codes(const qn_block *b, const qn_linear *l, const float *x, const qk_codes *q, size_t r0,
                        size_t r1) {
  qn_group_nonfinite(b->g, qn_input_rows(b->g->s->kernels, l, x, l->k, q, b->scratch, r0, r1));
}

uint32_t qn_kernel_act(uint32_t act) {
  static const uint32_t acts[] = {
      [QN_ACT_GELU] = QK_ACT_GELU, [QN_ACT_GELU_TANH] = QK_ACT_GELU_TANH, [QN_ACT_RELU] = QK_ACT_RELU,
      [QN_ACT_TANH] = QK_ACT_TANH, [QN_ACT_NONE] = QK_ACT_NONE,           [QN_ACT_SILU] = QK_ACT_SILU};
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

/* Codes follow where what comes next is a product. */
static void step_embed(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const size_t row = (size_t)b->g->row + b->r0, d = qn_arch_table_width(&m->arch);
  const int projected = m->arch.embed_width != 0;
  const qn_linear *next = projected ? &m->project : is_post(b) ? &b->layer->qkv : NULL;
  const qk_codes q = next ? in_codes(b, next) : (qk_codes){0};
  float *out = projected ? b->lane->hidden : hidden_rows(b);
  const qk_embed op = {.ids = s->ids + row,
                       .positions = s->positions + row,
                       .type_ids = b->g->typed ? s->types + row : NULL,
                       .tokens = qn_step_table(&m->tokens),
                       .position = qn_step_table(&m->positions),
                       .types = qn_step_table(&m->types),
                       .scale = m->arch.embed_scale,
                       .norm = {.out = out,
                                .gain = m->embed_norm.gain,
                                .bias = m->embed_norm.bias,
                                .smooth = next ? next->smooth : NULL,
                                .q = own_codes(next, q),
                                .ldo = d,
                                .d = (uint32_t)d,
                                .eps = m->arch.norm_eps,
                                .rms = m->arch.norm == QN_NORM_RMS}};
  if (s->observe) qn_observe_embeddings(b, r0, r1);
  for (size_t r = r0, end; r < r1; r = end) {
    end = own_end(next, r, r1);
    qn_group_nonfinite(b->g, s->kernels->embed(&op, r, end));
    transform_rows(b, next, out, d, &q, r, end);
  }
}

/* Cosines and sines of the group's positions, for all layers. */
static void step_turns(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const int32_t *positions = s->positions + b->g->row + b->r0;
  const size_t n = m->arch.rotary / 2, at = b->r0 * n;
  s->kernels->turns(m->frequency, n, positions, s->turn[0].cosine + at, s->turn[0].sine + at, r0, r1);
  if (m->local_frequency)
    s->kernels->turns(m->local_frequency, n, positions, s->turn[1].cosine + at, s->turn[1].sine + at, r0, r1);
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
  const qk_codes q = in_codes(b, &b->layer->qkv);
  input_codes(b, &b->layer->qkv, hidden_rows(b), &q, r0, r1);
}

static void step_qkv(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->qkv,
                        .site = QN_SITE_QKV_IN,
                        .x = input_rows(b),
                        .q = in_codes(b, &b->layer->qkv),
                        .out = qkv_rows(b),
                        .ldo = qn_group_qkv(b->g)};
  run_product(b, p, r0, r1, p0, p1);
}

/* Queries and keys, with their norms where they have some. */
static void step_rotate(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const qn_arch *a = b->g->arch;
  const qn_turn *turn = &s->turn[a->local_rotary && qn_arch_is_local(a, b->index)];
  const size_t at = (size_t)b->r0 * (a->rotary / 2);
  qk_rotate op = {.x = qkv_rows(b),
                  .ldx = qn_group_qkv(b->g),
                  .heads = a->heads,
                  .h = a->head_dim,
                  .rotary = a->rotary,
                  .gain = b->layer->q_norm,
                  .eps = a->norm_eps,
                  .cosine = turn->cosine + at,
                  .sine = turn->sine + at,
                  .hadamard = a->head_hadamard};
  s->kernels->rotate(&op, r0, r1);
  op.x += qn_group_inner(b->g);
  op.heads = a->kv_heads;
  op.gain = b->layer->k_norm;
  s->kernels->rotate(&op, r0, r1);
  if (s->observe) qn_observe_rotated(b, r0, r1);
}

static void step_quantize_context(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qk_codes q = in_codes(b, &b->layer->attn_out);
  input_codes(b, &b->layer->attn_out, context_rows(b), &q, r0, r1);
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
                        .residual = residual_rows(b),
                        .out = output_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, p, r0, r1, p0, p1);
}

/* Norm of the hidden rows to rows `out`, and codes for the linear operator `next`, if there is one. */
static void run_norm(const qn_block *b, const qn_norm *norm, float *out, const qn_linear *next, size_t r0, size_t r1) {
  const qn_arch *a = b->g->arch;
  const qk_codes q = next ? in_codes(b, next) : (qk_codes){0};
  const qk_norm op = {.x = hidden_rows(b),
                      .out = out,
                      .gain = norm->gain,
                      .bias = norm->bias,
                      .smooth = next ? next->smooth : NULL,
                      .q = own_codes(next, q),
                      .ldx = a->width,
                      .ldo = a->width,
                      .d = a->width,
                      .eps = a->norm_eps,
                      .rms = a->norm == QN_NORM_RMS};
  for (size_t r = r0, end; r < r1; r = end) {
    end = own_end(next, r, r1);
    qn_group_nonfinite(b->g, b->g->s->kernels->norm(&op, r, end));
    transform_rows(b, next, out, a->width, &q, r, end);
  }
}

/* Norm of what a block put out, added to the hidden rows. */
static void add_norm(const qn_block *b, const qn_norm *norm, size_t r0, size_t r1) {
  const qn_arch *a = b->g->arch;
  const qk_norm op = {.x = output_rows(b),
                      .out = hidden_rows(b),
                      .gain = norm->gain,
                      .residual = hidden_rows(b),
                      .ldx = a->width,
                      .ldo = a->width,
                      .ldr = a->width,
                      .d = a->width,
                      .eps = a->norm_eps,
                      .rms = 1};
  qn_group_nonfinite(b->g, b->g->s->kernels->norm(&op, r0, r1));
}
static void step_attn_post(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  add_norm(b, &b->layer->attn_post, r0, r1);
}
static void step_ffn_post(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  add_norm(b, &b->layer->ffn_post, r0, r1);
}

/* Before attention. */
static void step_qkv_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->attn_norm, input_rows(b), &b->layer->qkv, r0, r1);
}

/* Before the feed-forward block, where POST has the norm behind attention, and PARALLEL that of attention again: the lane
   has seen other rows since. */
static void step_up_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const uint32_t place = b->g->arch->place;
  const int own = place == QN_PLACE_PRE || place == QN_PLACE_SANDWICH;
  run_norm(b, own ? &b->layer->ffn_norm : &b->layer->attn_norm, input_rows(b), &b->layer->ffn_up, r0, r1);
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
                        .x = input_rows(b),
                        .q = in_codes(b, &b->layer->ffn_up),
                        .out = b->lane->hidden,
                        .ldo = qn_arch_up(a),
                        .act = a->gated ? QK_ACT_NONE : ffn_act(a)};
  run_product(b, p, r0, r1, p0, p1);
}

/* Gates times values, and their codes. */
static void step_gate(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qn_arch *a = b->g->arch;
  const qn_linear *next = &b->layer->ffn_down;
  const qk_codes q = mid_codes(b);
  const qk_gate op = {.x = b->lane->hidden,
                      .out = b->lane->hidden,
                      .ldx = qn_arch_up(a),
                      .ldo = qn_arch_up(a),
                      .d = a->ffn,
                      .act = ffn_act(a),
                      .smooth = next->smooth,
                      .q = own_codes(next, q)};
  for (size_t r = r0, end; r < r1; r = end) {
    end = own_end(next, r, r1);
    qn_group_nonfinite(b->g, b->g->s->kernels->gate(&op, r, end));
    transform_rows(b, next, b->lane->hidden, qn_arch_up(a), &q, r, end);
  }
}

static void step_quantize_hidden(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qk_codes q = mid_codes(b);
  input_codes(b, &b->layer->ffn_down, b->lane->hidden, &q, r0, r1);
}

static void step_ffn_down(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_product p = {.linear = &b->layer->ffn_down,
                        .site = QN_SITE_FFN_DOWN_IN,
                        .x = b->lane->hidden,
                        .ldx = qn_arch_up(b->g->arch),
                        .q = mid_codes(b),
                        .residual = residual_rows(b),
                        .out = output_rows(b),
                        .ldo = b->g->arch->width};
  run_product(b, p, r0, r1, p0, p1);
}

/* Behind the feed-forward block of POST. */
static void step_ffn_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qn_linear *next = b->index + 1 < b->g->arch->layers ? &b->layer[1].qkv : NULL;
  run_norm(b, &b->layer->ffn_norm, hidden_rows(b), next, r0, r1);
}

/* Of an encoder, behind its last layer. */
static void step_final_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->g->s->model->final_norm, hidden_rows(b), NULL, r0, r1);
}

/* ---- the head of a decoder --------------------------------------------------------------------------------------- */

static void step_head_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_model *m = b->g->s->model;
  run_norm(b, &m->final_norm, b->lane->normed, &m->head, r0, r1);
}

static float *logit_rows(const qn_block *b) { return b->g->logits + (size_t)b->r0 * b->g->arch->labels; }

static void step_head(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const quern_session *s = b->g->s;
  const qn_linear *l = &s->model->head;
  const qn_product p = {
      .linear = l, .site = QN_SITE_KINDS, .x = b->lane->normed, .q = in_codes(b, l), .out = logit_rows(b), .ldo = l->n};
  qn_product_run(s->kernels, &p, r0, r1, p0, p1);
}

static void step_cap(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const size_t n = b->g->arch->labels;
  float *x = logit_rows(b) + r0 * n;
  b->g->s->kernels->cap(x, x, (r1 - r0) * n, b->g->arch->logit_cap);
}

/* ---- the lists --------------------------------------------------------------------------------------------------- */

/* From hidden states to a layer's queries, keys and values. */
static void add_attention(qn_steps *list, const quern_model *m, uint32_t layer) {
  const qn_arch *a = &m->arch;
  if (a->place != QN_PLACE_POST) qn_step_add(list, step_qkv_norm, layer, NULL);
  qn_step_add(list, step_qkv, layer, &m->layers[layer].qkv);
  if (a->rotary) qn_step_add(list, step_rotate, layer, NULL);
}

qn_steps qn_steps_before(const quern_model *m) {
  const qn_arch *a = &m->arch;
  if (a->recipe == QN_RECIPE_STATIC) return qn_static_before(m);
  qn_steps list = {.count = 0};
  qn_step_add(&list, step_embed, 0, NULL);
  if (a->embed_width) qn_step_add(&list, step_project, 0, &m->project);
  if (a->embed_width && a->recipe == QN_RECIPE_INT8) qn_step_add(&list, step_quantize_projected, 0, NULL);
  if (a->rotary) qn_step_add(&list, step_turns, 0, NULL);
  add_attention(&list, m, 0);
  return list;
}

/* From the context to the sum behind attention. */
static void add_context(qn_steps *list, const quern_model *m, uint32_t layer) {
  const qn_layer *l = &m->layers[layer];
  if (m->arch.recipe == QN_RECIPE_INT8) qn_step_add(list, step_quantize_context, layer, NULL);
  if (l->attn_shortcut) qn_step_add(list, step_attn_shortcut, layer, NULL);
  qn_step_add(list, step_attn_out, layer, &l->attn_out);
  if (m->arch.place == QN_PLACE_SANDWICH) qn_step_add(list, step_attn_post, layer, NULL);
}

/* Into the feed-forward block. */
static void add_up(qn_steps *list, const quern_model *m, uint32_t layer) {
  qn_step_add(list, step_up_norm, layer, NULL);
  qn_step_add(list, step_ffn_up, layer, &m->layers[layer].ffn_up);
  if (m->arch.gated)
    qn_step_add(list, step_gate, layer, NULL);
  else if (m->arch.recipe == QN_RECIPE_INT8)
    qn_step_add(list, step_quantize_hidden, layer, NULL);
}

qn_steps qn_steps_after(const quern_model *m, uint32_t layer) {
  const qn_arch *a = &m->arch;
  if (a->recipe == QN_RECIPE_STATIC) return qn_static_after(m, layer);
  const qn_layer *l = &m->layers[layer];
  qn_steps list = {.count = 0};
  if (a->place == QN_PLACE_PARALLEL) { /* both blocks begin with the hidden states that the first sum would change */
    add_up(&list, m, layer);
    add_context(&list, m, layer);
  } else {
    add_context(&list, m, layer);
    add_up(&list, m, layer);
  }
  if (l->ffn_shortcut) qn_step_add(&list, step_ffn_shortcut, layer, NULL);
  qn_step_add(&list, step_ffn_down, layer, &l->ffn_down);
  if (a->place == QN_PLACE_SANDWICH) qn_step_add(&list, step_ffn_post, layer, NULL);
  if (a->place == QN_PLACE_POST) qn_step_add(&list, step_ffn_norm, layer, NULL);
  if (layer + 1 < a->layers)
    add_attention(&list, m, layer + 1);
  else if (a->final_norm && !a->causal) /* a decoder's is its head's: few rows need it */
    qn_step_add(&list, step_final_norm, layer, NULL);
  return list;
}

qn_steps qn_steps_head(const quern_model *m) {
  qn_steps list = {.count = 0};
  qn_step_add(&list, step_head_norm, 0, NULL);
  qn_step_add(&list, step_head, 0, &m->head);
  if (m->arch.logit_cap != 0) qn_step_add(&list, step_cap, 0, NULL);
  return list;
}
