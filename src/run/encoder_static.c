/* encoder_static.c - the steps of a static recipe: codes of static sites between all operators (docs/STATIC.md has the flow). Products
 * write codes, norms read and write them; hidden states lie in s->codes, in the place of the norm that wrote them last. */
#include "run/observe.h"
#include "run/static.h"
#include "run/steps.h"

static void run_product(const qn_block *b, qn_static_product p, size_t r0, size_t r1, size_t p0, size_t p1) {
  p.next = b->next;
  qn_static_product_run(b->g->s->kernels, &p, r0, r1, p0, p1);
}
static const qn_place *place_of(const qn_block *b, uint32_t kind, uint32_t layer) {
  return qn_model_place(b->g->s->model, kind, layer);
}
/* Where the norm behind layer `layer` writes. */
static const qn_place *output_place(const qn_block *b, uint32_t layer) {
  const qn_arch *a = b->g->arch;
  return layer + 1 < a->layers ? place_of(b, QN_SITE_QKV_IN, layer + 1)
                               : place_of(b, qn_site_output_kind(a), QN_NO_LAYER);
}
static qk_codes hidden_codes(const qn_block *b, const qn_place *p) {
  return qn_codes_at(b->g->s->codes, p, b->g->row + b->r0, b->g->arch->width);
}
static qk_codes context_codes(const qn_block *b) {
  return qn_codes_at(b->g->s->context_codes, place_of(b, QN_SITE_ATTN_OUT_IN, b->index), b->r0,
                     (uint32_t)qn_group_inner(b->g));
}
static qk_codes mid_codes(const qn_block *b) {
  return qn_codes_at(b->lane->mid, place_of(b, QN_SITE_FFN_DOWN_IN, b->index), 0, b->g->arch->ffn);
}
static qk_codes out_codes(const qn_block *b, const qn_place *p) {
  return qn_codes_at(b->lane->out, p, 0, b->g->arch->width);
}
static qk_codes project_codes(const qn_block *b) {
  return qn_codes_at(b->lane->in, place_of(b, QN_SITE_PROJECT_IN, QN_NO_LAYER), 0, qn_arch_table_width(b->g->arch));
}

/* ---- embeddings -------------------------------------------------------------------------------------------------- */

static void step_embed(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const quern_session *s = b->g->s;
  const quern_model *m = s->model;
  const size_t row = (size_t)b->g->row + b->r0;
  const uint32_t d = qn_arch_table_width(&m->arch);
  const qk_embed op = {
      .ids = s->ids + row,
      .positions = s->positions + row,
      .type_ids = b->g->typed ? s->types + row : NULL,
      .tokens = qn_step_table(&m->tokens),
      .position = qn_step_table(&m->positions),
      .types = qn_step_table(&m->types),
      .sum = qn_sites_of(place_of(b, QN_SITE_EMBED_SUM, QN_NO_LAYER)),
      .norm = {.out = b->lane->hidden,
               .gain = m->embed_norm.gain,
               .bias = m->embed_norm.bias,
               .q = m->arch.embed_width ? project_codes(b) : hidden_codes(b, place_of(b, QN_SITE_QKV_IN, 0)),
               .ldo = d,
               .d = d,
               .eps = m->arch.norm_eps}};
  qn_group_nonfinite(b->g, s->kernels->embed(&op, r0, r1));
}

static void step_project(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_place *place = place_of(b, QN_SITE_QKV_IN, 0);
  const qn_static_product p = qn_product_to(&b->g->s->model->project, place, project_codes(b), hidden_codes(b, place));
  run_product(b, p, r0, r1, p0, p1);
}
static void step_finish_projected(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qk_codes q = hidden_codes(b, place_of(b, QN_SITE_QKV_IN, 0));
  qn_codes_finish(b->g->s->kernels, &q, b->g->arch->width, r0, r1);
}

/* ---- a layer ----------------------------------------------------------------------------------------------------- */

/* Queries, keys and values: the arrays of their places are one behind the other. */
static void step_qkv(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const size_t ld = 3 * qn_group_inner(b->g);
  const qn_static_product p = {.linear = &b->layer->qkv,
                               .place = place_of(b, QN_SITE_Q, b->index),
                               .a = hidden_codes(b, place_of(b, QN_SITE_QKV_IN, b->index)),
                               .codes = b->g->s->qkv_codes + b->r0 * ld,
                               .ldc = ld};
  if (b->g->s->observe) qn_observe_codes(b, place_of(b, QN_SITE_QKV_IN, b->index), &p.a, r0, r1);
  run_product(b, p, r0, r1, p0, p1);
}

static void step_finish_context(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qk_codes q = context_codes(b);
  qn_codes_finish(b->g->s->kernels, &q, (uint32_t)qn_group_inner(b->g), r0, r1);
}

/* The product before a norm, into the lane's codes, or its floats. */
static void run_output(const qn_block *b, const qn_linear *l, uint32_t kind, qk_codes a, size_t r0, size_t r1,
                       size_t p0, size_t p1) {
  const qn_place *place = place_of(b, kind, b->index);
  qn_static_product p = qn_product_to(l, place, a, out_codes(b, place));
  p.floats = b->lane->hidden;
  p.ldo = b->g->arch->width;
  run_product(b, p, r0, r1, p0, p1);
}

/* The norm of that plus the hidden states, which are at `before`, to hidden states at `after`. out: kind of the product's place, whose
   sum is the kind after it. shortcut: what the hidden states are multiplied by. order: of channels after by those before; NULL: the same. */
static void run_norm(const qn_block *b, const qn_norm *norm, const float *shortcut, const int32_t *order, uint32_t out,
                     const qn_place *before, const qn_place *after, size_t r0, size_t r1) {
  const qn_arch *a = b->g->arch;
  const qn_place *place = place_of(b, out, b->index);
  const qk_codes x = out_codes(b, place), residual = hidden_codes(b, before);
  qk_norm_q8 op = {.x = qn_rows_of(&x, place),
                   .residual = qn_rows_of(&residual, before),
                   .gain = shortcut,
                   .sum = qn_sites_of(place_of(b, out + 1, b->index)),
                   .order = order,
                   .row = b->lane->row + r0 * b->g->arch->width, /* tiles of a block run at the same time */
                   .norm = {.out = b->lane->hidden,
                            .gain = norm->gain,
                            .bias = norm->bias,
                            .q = hidden_codes(b, after),
                            .ldo = a->width,
                            .d = a->width,
                            .eps = a->norm_eps}};
  if (!place->by) op.x = (qk_rows){.floats = b->lane->hidden, .ld = a->width};
  qn_group_nonfinite(b->g, b->g->s->kernels->norm_q8(&op, r0, r1));
}

static void step_attn_out(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  run_output(b, &b->layer->attn_out, QN_SITE_ATTN_OUT, context_codes(b), r0, r1, p0, p1);
}
static void step_attn_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->attn_norm, b->layer->attn_shortcut, b->layer->attn_order, QN_SITE_ATTN_OUT,
           place_of(b, QN_SITE_QKV_IN, b->index), place_of(b, QN_SITE_FFN_UP_IN, b->index), r0, r1);
}

/* The short GELU is as exact as codes of 8 bits can show. */
static uint32_t ffn_act(const qn_block *b, const qn_place *place) {
  const uint32_t act = qn_kernel_act(b->g->arch->activation);
  return act == QK_ACT_GELU && place->bits == 8 ? QK_ACT_GELU_SHORT : act;
}
static void step_ffn_up(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  const qn_place *place = place_of(b, QN_SITE_FFN_DOWN_IN, b->index);
  qn_static_product p = qn_product_to(&b->layer->ffn_up, place,
                                      hidden_codes(b, place_of(b, QN_SITE_FFN_UP_IN, b->index)), mid_codes(b));
  p.act = ffn_act(b, place);
  run_product(b, p, r0, r1, p0, p1);
}
static void step_finish_mid(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  const qk_codes q = mid_codes(b);
  qn_codes_finish(b->g->s->kernels, &q, b->g->arch->ffn, r0, r1);
}

static void step_ffn_down(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  run_output(b, &b->layer->ffn_down, QN_SITE_FFN_OUT, mid_codes(b), r0, r1, p0, p1);
}
static void step_ffn_norm(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1) {
  (void)p0, (void)p1;
  run_norm(b, &b->layer->ffn_norm, b->layer->ffn_shortcut, NULL, QN_SITE_FFN_OUT,
           place_of(b, QN_SITE_FFN_UP_IN, b->index), output_place(b, b->index), r0, r1);
}

/* ---- the lists --------------------------------------------------------------------------------------------------- */

qn_steps qn_static_before(const quern_model *m) {
  const int projected = m->arch.embed_width != 0;
  qn_steps list = {.count = 0};
  qn_step_add(&list, step_embed, 0, NULL);
  if (projected) qn_step_add(&list, step_project, 0, &m->project);
  if (projected) qn_step_add(&list, step_finish_projected, 0, NULL);
  qn_step_add(&list, step_qkv, 0, &m->layers[0].qkv);
  return list;
}

qn_steps qn_static_after(const quern_model *m, uint32_t layer) {
  const qn_layer *l = &m->layers[layer];
  qn_steps list = {.count = 0};
  qn_step_add(&list, step_finish_context, layer, NULL);
  qn_step_add(&list, step_attn_out, layer, &l->attn_out);
  qn_step_add(&list, step_attn_norm, layer, NULL);
  qn_step_add(&list, step_ffn_up, layer, &l->ffn_up);
  qn_step_add(&list, step_finish_mid, layer, NULL);
  qn_step_add(&list, step_ffn_down, layer, &l->ffn_down);
  qn_step_add(&list, step_ffn_norm, layer, NULL);
  if (layer + 1 < m->arch.layers) qn_step_add(&list, step_qkv, layer + 1, &l[1].qkv);
  return list;
}
