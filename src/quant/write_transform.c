/* write_transform.c - the transform of a linear operator's input in the file (quantizer.h). */
#include <string.h>

#include "base/checked.h"
#include "quant/calibrate.h"
#include "quant/quantizer.h"
#include "run/context.h"

/* Rows of the input as they are. */
static quern_status rows_of(const qn_quantizer *q, const qn_item *it, void **out, size_t *count) {
  *count = 0;
  if (!q->samples.rows) return QUERN_OK;
  QN_TRY(qn_alloc(q->env, out, QN_SAMPLES_MOST * (size_t)it->k * sizeof(float), "rows of activations"));
  *count = qn_samples_rows(&q->samples, (uint32_t)it->layer, (uint32_t)it->input, *out);
  return QUERN_OK;
}

static void smooth_rows(const qn_quantizer *q, const qn_item *it, float *rows, size_t count, qn_trail *trail) {
  trail->range[QN_TRAIL_RAW] = qn_trail_range(rows, count, it->k);
  if (!qn_quantizer_smooths(q, it)) return;
  const float *by = qn_maxima_of(&q->smoothed, (uint32_t)it->layer, (uint32_t)it->input);
  for (size_t r = 0; r < count; r++)
    for (size_t i = 0; i < it->k; i++) rows[r * it->k + i] *= by[i];
  trail->range[QN_TRAIL_SMOOTHED] = qn_trail_range(rows, count, it->k);
}

quern_status qn_quantizer_rows(const qn_quantizer *q, const qn_item *it, void **out, size_t *count, qn_trail *trail) {
  QN_TRY(rows_of(q, it, out, count));
  if (*count) smooth_rows(q, it, *out, *count, trail);
  return QUERN_OK;
}

uint64_t qn_quantizer_transform_seed(const qn_quantizer *q, const qn_item *it) {
  return qn_draw(q->job->seed, (uint64_t)it->layer * QN_SITE_KINDS + (uint64_t)it->input) >> 32;
}

/* Of the item its layer, input and inputs alone are read. */
static quern_status find(qn_quantizer *q, const qn_item *it, const qn_products *e, qn_transform *t) {
  const qn_transform_shape shape = qn_quantizer_shape(q, it);
  const uint64_t seed = qn_quantizer_transform_seed(q, it);
  void *rows = NULL;
  size_t count;
  qn_trail trail = {.shape = shape};
  quern_status status = qn_quantizer_rows(q, it, &rows, &count, &trail);
  if (status == QUERN_OK) status = qn_transform_find(t, e, &q->recipe, &shape, it->k, seed, rows, count, &trail);
  const qn_token_codes codes = qn_quantizer_token_codes(q, it);
  if (status == QUERN_OK) t->clip = qn_token_clip(&codes, rows, count, it->k);
  if (status == QUERN_OK && q->trails.data)
    ((qn_trail *)(void *)q->trails.data)[it->layer * (int)QN_SITE_KINDS + it->input] = trail;
  qn_free(q->env, rows, QN_SAMPLES_MOST * (size_t)it->k * sizeof(float));
  return status;
}

quern_status qn_quantizer_transform(qn_quantizer *q, const qn_item *it, qn_transform *t) {
  quern_context engine;
  QN_TRY(qn_engine_open(&engine, q->env, q->job));
  const qn_products e = {q->env, &engine.kernels, engine.pool};
  quern_status status = QUERN_OK;
  if (qn_quantizer_shape(q, it).head) { /* found when values were written */
    *t = q->merged;
    q->merged = (qn_transform){0};
  } else {
    status = find(q, it, &e, t);
  }
  if (status == QUERN_OK) status = qn_transform_rows(t, &e, 1, q->floats, it->n);
  qn_engine_close(&engine, q->job);
  return status;
}

/* Rows of values as columns and back: heads lie side by side in a row then, as they do in attention's output. The last row is the bias. */
static void turn_values(const qn_quantizer *q, const qn_item *it, float *x, int back) {
  const size_t h = q->arch.head_dim, values = q->arch.kv_heads * h, k = it->k;
  float *w = (float *)q->floats + (q->arch.heads + q->arch.kv_heads) * h * k;
  float *bias = q->bias + (q->arch.heads + q->arch.kv_heads) * h;
  for (size_t i = 0; i < values; i++)
    for (size_t j = 0; j <= k; j++) {
      float *own = j < k ? &w[i * k + j] : &bias[i], *turned = &x[j * values + i];
      if (back)
        *own = *turned;
      else
        *turned = *own;
    }
}

static quern_status merge(qn_quantizer *q, const qn_item *it, const qn_item *out, const qn_products *e) {
  const uint32_t values = q->arch.kv_heads * q->arch.head_dim;
  const size_t bytes = ((size_t)it->k + 1) * values * sizeof(float);
  void *turned = NULL;
  QN_TRY(find(q, out, e, &q->merged));
  const qn_transform t = qn_transform_narrowed(&q->merged, values);
  QN_TRY(qn_alloc(q->env, &turned, bytes, "rows of values"));
  turn_values(q, it, turned, 0);
  const quern_status status = qn_transform_rows(&t, e, 0, turned, (size_t)it->k + 1);
  turn_values(q, it, turned, 1);
  qn_free(q->env, turned, bytes);
  return status;
}

quern_status qn_quantizer_merge(qn_quantizer *q, const qn_item *it) {
  const qn_item out = {
      .kind = QN_ITEM_LINEAR, .layer = it->layer, .input = QN_SITE_ATTN_OUT_IN, .k = qn_arch_inner(&q->arch)};
  quern_context engine;
  if (it->input != QN_SITE_QKV_IN || !qn_quantizer_shape(q, &out).head) return QUERN_OK;
  QN_TRY(qn_engine_open(&engine, q->env, q->job));
  const qn_products e = {q->env, &engine.kernels, engine.pool};
  const quern_status status = merge(q, it, &out, &e);
  qn_engine_close(&engine, q->job);
  return status;
}

static quern_status write_matrix(qn_quantizer *q, const qn_item *it, const char *suffix, const int16_t *m,
                                 uint32_t block) {
  const size_t bytes = (size_t)block * block * sizeof *m;
  void *panels = NULL;
  QN_TRY(qn_alloc(q->env, &panels, bytes, "a rotation"));
  qn_transform_panels(m, block, panels);
  const quern_status status = qn_quantizer_write(q, it, suffix, panels, bytes);
  qn_free(q->env, panels, bytes);
  return status;
}

/* What of it is in the file. */
static qn_transform_shape written(const qn_quantizer *q, const qn_item *it) {
  const qn_transform_shape s = qn_quantizer_shape(q, it);
  return s.head ? (qn_transform_shape){0} : s;
}

quern_status qn_quantizer_write_transform(qn_quantizer *q, const qn_item *it, const qn_transform *t) {
  const qn_token_codes codes = qn_quantizer_token_codes(q, it);
  const float clip = t->clip > 0 ? t->clip : qn_token_clip(&codes, NULL, 0, it->k); /* 0: the input has no transform */
  const qn_transform_shape s = written(q, it);
  if (s.first) QN_TRY(write_matrix(q, it, ".in.rotation", t->first, t->block));
  if (s.order) QN_TRY(qn_quantizer_write(q, it, ".in.order", t->order, it->k * sizeof *t->order));
  if (s.second) QN_TRY(write_matrix(q, it, ".in.rotation2", t->second, t->block));
  if (s.signs) QN_TRY(qn_quantizer_write(q, it, ".in.signs", t->signs, it->k));
  return qn_quantizer_clips(q, it) ? qn_quantizer_write(q, it, ".in.clip", &clip, sizeof clip) : QUERN_OK;
}

static quern_status declare(qn_quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype, uint32_t layout,
                            uint32_t rank, uint64_t n, uint64_t k) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[2] = {n, k};
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, rank, dim);
  return qrn_declare_tensor(q->writer, name, dtype, layout, rank, dim);
}

quern_status qn_quantizer_declare_transform(qn_quantizer *q, const qn_item *it) {
  const qn_transform_shape s = written(q, it);
  if (s.first) QN_TRY(declare(q, it, ".in.rotation", QRN_I16, QRN_PANELS, 2, s.block, s.block));
  if (s.order) QN_TRY(declare(q, it, ".in.order", QRN_I32, QRN_ROWS, 1, it->k, 0));
  if (s.second) QN_TRY(declare(q, it, ".in.rotation2", QRN_I16, QRN_PANELS, 2, s.block, s.block));
  if (s.signs) QN_TRY(declare(q, it, ".in.signs", QRN_I8, QRN_ROWS, 2, it->k / s.block, s.block));
  return qn_quantizer_clips(q, it) ? declare(q, it, ".in.clip", QRN_F32, QRN_ROWS, 1, 1, 0) : QUERN_OK;
}
