/* layer_steps.c - the steps of a dynamic or float recipe, and the lists of them that a qn_arch calls for: what takes rows
 * from one attention to the next. Thread rule: a step touches the rows it is called for, and its lane's scratch. */
#include "run/observe.h"

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
qn_steps qn_steps_before(const quern_model *m) {
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
qn_steps qn_steps_after(const quern_model *m, uint32_t layer) {
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
