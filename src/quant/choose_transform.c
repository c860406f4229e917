/* choose_transform.c - for each input of a layer's operators, where the recipe leaves that open, the transform that loses least: how wide
 * its blocks are, whether its second rotation is found, a Hadamard matrix or none, and how long is searched (quantizer.h).
 *
 * A candidate is found on all rows that were kept; then those drawn go through it, codes of rows and the nearest codes of some output channels are
 * multiplied, and the squared difference from the float product, over the squares of that, is what it loses of a row: tokens with massive outliers
 * count as much as others. The recipe's own transform is the first candidate, and stays unless another is better by more than so few rows can
 * be wrong by. The budget is counted in multiply-adds as the sizes have them, not in time, so that the same seed chooses the same. */
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/calibrate.h"
#include "quant/quantizer.h"
#include "run/context.h"
#include "run/linear.h"

#define CHANNELS 256u  /* of an operator's outputs are measured, at most */
#define ROWS_LEAST 16u /* of an input, to choose by */
#define LONGER 4u      /* times as many steps */
#define BETTER 0.97    /* of what the recipe's own loses, at most */

typedef struct trial {
  qn_quantizer *q;
  const qn_products *e;
  qn_item some;      /* the operator with the outputs that are measured */
  const float *rows; /* [count, k], of which the first `measured` are drawn */
  size_t count, measured;
  float *moving;           /* as rows */
  float *weights, *panels; /* [some.n, k], smoothed; as a product's */
  float *want, *got;       /* [measured, some.n] */
} trial;

/* ---- candidates -------------------------------------------------------------------------------------------------- */

/* Candidate i behind the recipe's own: second rotations by Hadamard matrices, those alone, found ones, first rotations alone, each with the
   recipe's block and then others; then a longer search. 0: there are no more. Those that do not fit k have block 0. */
static int candidate(const qn_recipe *r, uint32_t k, uint32_t i, qn_transform_shape *out) {
  static const uint32_t blocks[] = {256, 128, 64, 32};
  static const struct {
    int rotate;
    uint32_t second;
  } kinds[] = {{1, QN_ROTATE2_HADAMARD}, {0, QN_ROTATE2_HADAMARD}, {1, QN_ROTATE2_DENSE}, {1, QN_ROTATE2_NONE}};
  const uint32_t each = 1 + sizeof blocks / sizeof blocks[0], all = each * (sizeof kinds / sizeof kinds[0]);
  const uint32_t own = qn_transform_shape_of(r, k).block;
  qn_recipe x = *r;
  if (i > all) return 0;
  if (i == all) {
    *out = qn_transform_shape_of(r, k);
    out->steps *= LONGER;
    return 1;
  }
  x.block = i % each ? blocks[i % each - 1] : own;
  x.rotate = kinds[i / each].rotate;
  x.permute = x.rotate && r->permute;
  x.rotate2 = kinds[i / each].second;
  *out = qn_transform_shape_of(&x, k);
  if (out->block != x.block || (i % each && x.block == own)) out->block = 0; /* it has been one before */
  return 1;
}

static int same(const qn_transform_shape *a, const qn_transform_shape *b) {
  return a->block == b->block && a->steps == b->steps && a->first == b->first && a->order == b->order &&
         a->second == b->second && a->signs == b->signs;
}

/* Multiply-adds of a trial, in thousands. */
static uint64_t cost_of(const trial *t, const qn_transform_shape *s) {
  const uint64_t k = t->some.k, block = s->block, searches = (uint64_t)(s->first + s->second);
  const uint64_t search = searches * s->steps * (t->count * k + block * block) * block;
  const uint64_t steps = (uint64_t)(s->first + (s->second || s->signs));
  return (search + steps * (t->some.n + t->measured) * k * block + t->measured * t->some.n * k) / 1000;
}

/* ---- what one loses ---------------------------------------------------------------------------------------------- */

static void multiply(const trial *t, const float *x, const float *w, float *out) {
  const uint32_t n = t->some.n, k = t->some.k;
  qn_pack_linear_f32(w, n, k, t->panels);
  const qn_linear l = {.n = n, .k = k, .dtype = QRN_F32, .weight = t->panels};
  const qn_product p = {.linear = &l, .x = x, .out = out, .ldo = n};
  qn_product_run(t->e->kernels, &p, 0, t->measured, 0, qk_panels(n));
}

static quern_status lose(const trial *t, const qn_transform *by, double *error) {
  qn_quantizer *q = t->q;
  const uint32_t n = t->some.n, k = t->some.k;
  const qn_form f = qn_quantizer_form(q, &t->some);
  const qn_packed p = qn_quantizer_packed(q);
  float *x = t->moving, *w = q->floats;
  memcpy(x, t->rows, t->measured * k * sizeof *x);
  memcpy(w, t->weights, (size_t)n * k * sizeof *w);
  QN_TRY(qn_transform_rows(by, t->e, 1, w, n));
  QN_TRY(qn_transform_rows(by, t->e, 0, x, t->measured));
  QN_TRY(qn_quantizer_pack_nearest(q, &t->some));
  for (size_t r = 0; r < n; r++)
    for (size_t i = 0; i < k; i++) w[r * k + i] = (float)qn_packed_value(&p, &f, k, r, i);
  const qn_token_codes codes = qn_quantizer_token_codes(q, &t->some);
  qn_token_round(&codes, x, t->measured, k);
  multiply(t, x, w, t->got);
  *error = 0;
  for (size_t r = 0; r < t->measured; r++) {
    double lost = 0, power = 0;
    for (size_t i = r * n; i < (r + 1) * n; i++) {
      const double d = (double)t->got[i] - (double)t->want[i];
      lost += d * d;
      power += (double)t->want[i] * (double)t->want[i];
    }
    if (power > 0) *error += lost / power;
  }
  return QUERN_OK;
}

static quern_status try_one(const trial *t, const qn_transform_shape *s, double *error) {
  const uint64_t seed = qn_quantizer_transform_seed(t->q, &t->some);
  qn_transform by = {0};
  qn_trail trail = {0};
  memcpy(t->moving, t->rows, t->count * t->some.k * sizeof *t->moving);
  quern_status status = qn_transform_find(&by, t->e, &t->q->recipe, s, t->some.k, seed, t->moving, t->count, &trail);
  if (status == QUERN_OK) status = lose(t, &by, error);
  qn_transform_free(t->e->env, &by);
  return status;
}

static quern_status choose(const trial *t, qn_transform_shape *best) {
  const qn_recipe *r = &t->q->recipe;
  const qn_transform_shape own = *best;
  uint64_t left = r->budget * cost_of(t, &own), cost = cost_of(t, &own);
  qn_transform_shape s;
  double least, error;
  QN_TRY(try_one(t, &own, &least));
  least *= BETTER;
  left -= cost;
  for (uint32_t i = 0; candidate(r, t->some.k, i, &s); i++) {
    if (!s.block || same(&s, &own) || (cost = cost_of(t, &s)) > left) continue;
    QN_TRY(try_one(t, &s, &error));
    left -= cost;
    if (error < least) least = error, *best = s;
  }
  return QUERN_OK;
}

/* ---- all inputs -------------------------------------------------------------------------------------------------- */

/* Outputs evenly spaced over all, in t->weights, smoothed. */
static void pick_channels(const qn_quantizer *q, const qn_item *it, const trial *t) {
  const size_t k = it->k;
  for (size_t r = 0; r < t->some.n; r++)
    memcpy(t->weights + r * k, (const float *)q->floats + r * it->n / t->some.n * k, k * sizeof *t->weights);
  if (qn_quantizer_smooths(q, it))
    qn_smooth_divide(t->weights, t->some.n, k, qn_maxima_of(&q->smoothed, (uint32_t)it->layer, (uint32_t)it->input));
}

static void lay_out(trial *t, qn_arena *a) {
  const size_t k = t->some.k, n = t->some.n;
  t->moving = qn_arena_take(a, t->count * k, sizeof *t->moving);
  t->weights = qn_arena_take(a, n * k, sizeof *t->weights);
  t->panels = qn_arena_take(a, qk_panels(n) * QK_PANEL * k, sizeof *t->panels);
  t->want = qn_arena_take(a, t->measured * n, sizeof *t->want);
  t->got = qn_arena_take(a, t->measured * n, sizeof *t->got);
}

static quern_status choose_with(trial *t, const qn_item *it, qn_transform_shape *best) {
  qn_arena a = {0};
  void *memory = NULL;
  lay_out(t, &a);
  const size_t bytes = a.used;
  QN_TRY(qn_alloc(t->e->env, &memory, bytes, "trials of a transform"));
  a = (qn_arena){.base = memory, .cap = bytes};
  lay_out(t, &a);
  pick_channels(t->q, it, t);
  multiply(t, t->rows, t->weights, t->want);
  const quern_status status = choose(t, best);
  qn_free(t->e->env, memory, bytes);
  return status;
}

static quern_status choose_input(qn_quantizer *q, qn_item *it, const qn_products *e) {
  qn_transform_shape *best = &q->shapes[it->layer * (int)QN_SITE_KINDS + it->input];
  trial t = {.q = q, .e = e, .some = *it};
  qn_trail trail = {0};
  void *rows = NULL;
  if (!best->block || best->head) return QUERN_OK; /* nothing is left to choose */
  t.some.n = (uint32_t)qn_min_size(it->n, CHANNELS);
  QN_TRY(qn_quantizer_read(q, it));
  quern_status status = qn_quantizer_rows(q, it, &rows, &t.count, &trail);
  t.rows = rows;
  t.measured = qn_samples_site(&q->samples, (uint32_t)it->layer, (uint32_t)it->input)->drawn_count;
  if (status == QUERN_OK && t.measured >= ROWS_LEAST) status = choose_with(&t, it, best);
  qn_free(q->env, rows, QN_SAMPLES_MOST * (size_t)it->k * sizeof(float));
  return status;
}

static quern_status choose_all(qn_quantizer *q, const qn_products *e) {
  const qn_quantize_job *job = q->job;
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count; i++) {
    qn_item it;
    qn_item_at(&q->arch, i, &it);
    if (it.kind != QN_ITEM_LINEAR || it.input < 0) continue;
    if (it.input == QN_SITE_QKV_IN && job->progress &&
        job->progress(job->progress_user, (uint64_t)it.layer, q->arch.layers, "choosing transforms"))
      return qn_fail(&q->env->error, QUERN_E_CANCELLED, "quantization was cancelled; nothing was written");
    QN_TRY(choose_input(q, &it, e));
  }
  return QUERN_OK;
}

quern_status qn_quantizer_choose_transforms(qn_quantizer *q) {
  const size_t shapes = (size_t)q->arch.layers * QN_SITE_KINDS;
  qn_transform_shape *own;
  quern_context engine;
  void *p = NULL;
  if (!q->recipe.budget) return QUERN_OK;
  QN_TRY(qn_alloc_array(q->env, &p, shapes, sizeof *own, "transforms that are chosen"));
  own = p;
  for (uint32_t i = 0; i < qn_item_count(&q->arch); i++) {
    qn_item it;
    qn_item_at(&q->arch, i, &it);
    if (it.kind == QN_ITEM_LINEAR && it.input >= 0)
      own[it.layer * (int)QN_SITE_KINDS + it.input] = qn_quantizer_shape(q, &it);
  }
  q->shapes = own;
  q->shapes_bytes = shapes * sizeof *own;
  QN_TRY(qn_engine_open(&engine, q->env, q->job));
  const qn_products e = {q->env, &engine.kernels, engine.pool};
  const quern_status status = choose_all(q, &e);
  qn_engine_close(&engine, q->job);
  return status;
}
