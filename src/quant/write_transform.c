/* write_transform.c - the transform of a linear operator's input in the file (quantizer.h). */
#include <string.h>

#include "base/checked.h"
#include "quant/calibrate.h"
#include "quant/quantizer.h"
#include "run/context.h"

/* Rows of the input into *out; *count 0: there are none. */
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
  for (size_t r = 0; r < count; r++)
    for (size_t i = 0; i < it->k; i++) rows[r * it->k + i] *= q->smooth[i];
  trail->range[QN_TRAIL_SMOOTHED] = qn_trail_range(rows, count, it->k);
}

static quern_status find(qn_quantizer *q, const qn_item *it, const qn_products *e, qn_transform *t) {
  const uint64_t seed = qn_draw(q->job->seed, (uint64_t)it->layer * QN_SITE_KINDS + (uint64_t)it->input) >> 32;
  void *rows = NULL;
  size_t count;
  qn_trail trail = {0};
  quern_status status = rows_of(q, it, &rows, &count);
  if (status == QUERN_OK) smooth_rows(q, it, rows, count, &trail);
  if (status == QUERN_OK) status = qn_transform_find(t, e, &q->recipe, it->k, seed, rows, count, &trail);
  if (status == QUERN_OK) status = qn_transform_rows(t, e, 1, q->floats, it->n);
  if (status == QUERN_OK && q->trails.data)
    ((qn_trail *)(void *)q->trails.data)[it->layer * (int)QN_SITE_KINDS + it->input] = trail;
  qn_free(q->env, rows, QN_SAMPLES_MOST * (size_t)it->k * sizeof(float));
  return status;
}

quern_status qn_quantizer_transform(qn_quantizer *q, const qn_item *it, qn_transform *t) {
  quern_context engine;
  QN_TRY(qn_engine_open(&engine, q->env, q->job));
  const qn_products e = {q->env, &engine.kernels, engine.pool};
  const quern_status status = find(q, it, &e, t);
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

quern_status qn_quantizer_write_transform(qn_quantizer *q, const qn_item *it, const qn_transform *t) {
  const float clip = (float)q->recipe.activation_clip;
  if (t->first) QN_TRY(write_matrix(q, it, ".in.rotation", t->first, t->block));
  if (t->order) QN_TRY(qn_quantizer_write(q, it, ".in.order", t->order, it->k * sizeof *t->order));
  if (t->second) QN_TRY(write_matrix(q, it, ".in.rotation2", t->second, t->block));
  if (t->signs) QN_TRY(qn_quantizer_write(q, it, ".in.signs", t->signs, it->k));
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
  const qn_transform_shape s = qn_quantizer_shape(q, it);
  if (s.first) QN_TRY(declare(q, it, ".in.rotation", QRN_I16, QRN_PANELS, 2, s.block, s.block));
  if (s.order) QN_TRY(declare(q, it, ".in.order", QRN_I32, QRN_ROWS, 1, it->k, 0));
  if (s.second) QN_TRY(declare(q, it, ".in.rotation2", QRN_I16, QRN_PANELS, 2, s.block, s.block));
  if (s.signs) QN_TRY(declare(q, it, ".in.signs", QRN_I8, QRN_ROWS, 2, it->k / s.block, s.block));
  return qn_quantizer_clips(q, it) ? declare(q, it, ".in.clip", QRN_F32, QRN_ROWS, 1, 1, 0) : QUERN_OK;
}
