/* write_linear.c - a linear operator's weights, read as floats, to its tensors in the file (quantizer.h): smoothed, in the basis of its
 * input, packed. */
#include <string.h>

#include "base/checked.h"
#include "quant/calibrate.h"
#include "quant/groups.h"
#include "quant/learn_clip.h"
#include "quant/quantizer.h"
#include "quant/round.h"
#include "quant/split.h"
#include "run/context.h"

qn_packed qn_quantizer_packed(const qn_quantizer *q) {
  return (qn_packed){.panels = q->packed,
                     .scale = q->scale,
                     .min = q->min,
                     .steps = (uint8_t *)q->step,
                     .sums = q->sums,
                     .code_sums = q->sums};
}

quern_status qn_quantizer_write(qn_quantizer *q, const qn_item *it, const char *suffix, const void *data,
                                size_t bytes) {
  char name[QN_ITEM_NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  return qrn_write_tensor(q->writer, name, data, bytes);
}

/* The maxima of a linear operator's input; those of copies, in the working memory for scales, are their neurons'. */
static const float *maxima_of(qn_quantizer *q, const qn_item *it) {
  const float *maxima = qn_maxima_of(&q->maxima, (uint32_t)it->layer, (uint32_t)it->input);
  const uint32_t copies = it->column_copies;
  if (!copies) return maxima;
  memcpy(q->scale, maxima, (it->k - copies) * sizeof *maxima);
  qn_split_rows(q->scale, it->k - copies, 1, copies, q->split + (size_t)it->layer * copies);
  return q->scale;
}

static void smooth(qn_quantizer *q, const qn_item *it) {
  const uint32_t layer = (uint32_t)it->layer, input = (uint32_t)it->input;
  if (q->recipe.transforms) { /* found before anything was written */
    memcpy(q->smooth, qn_maxima_of(&q->smoothed, layer, input), it->k * sizeof *q->smooth);
    qn_smooth_divide(q->floats, it->n, it->k, q->smooth);
    return;
  }
  const qn_smoothing by_what = qn_smoothing_of(&q->arch, q->recipe.weight_bits, q->moments.data != NULL, input);
  qn_smooth(q->floats, it->n, it->k, by_what, maxima_of(q, it), q->smooth);
  if (!q->smoothed.data) return;
  float *to = q->smoothed.data + qn_inputs_at(&q->smoothed.inputs, layer, input);
  memcpy(to, q->smooth, (it->k - it->column_copies) * sizeof *to);
}

/* The moments of an operator's input as it is multiplied, into *out [k, k], the caller's to free. */
static quern_status moments_of(qn_quantizer *q, const qn_item *it, const qn_transform *t, const qn_products *e,
                               void **out) {
  const uint32_t *split = it->column_copies ? q->split + (size_t)it->layer * it->column_copies : NULL;
  QN_TRY(qn_alloc(q->env, out, (size_t)it->k * it->k * sizeof(float), "moments of an operator"));
  qn_moments_of(&q->moments, (uint32_t)it->layer, (uint32_t)it->input, it->column_copies, split,
                qn_quantizer_smooths(q, it) ? q->smooth : NULL, *out);
  return qn_transform_moments(t, e, *out);
}

/* Ranges of output channels, as the recipe has them. */
static quern_status clip_rows(qn_quantizer *q, const qn_item *it, const qn_packed *p, const qn_products *e,
                              const float *moments) {
  const size_t scales = qk_panels(it->n) * QK_PANEL * sizeof(float); /* with zeros behind the last channel */
  memset(p->scale, 0, scales);
  memset(p->min, 0, scales);
  const qn_learning l = {
      .w = q->floats, .moments = moments, .n = it->n, .k = it->k, .top = 15, .scale = p->scale, .min = p->min};
  if (q->recipe.weight_clip == QN_WEIGHT_CLIP_LEARNED) return qn_learn_clip(e, &l);
  for (size_t r = 0; r < it->n && q->recipe.weight_clip == QN_WEIGHT_CLIP_PART; r++)
    qn_clip_grid(l.w + r * it->k, it->k, l.top, (float)q->recipe.weight_part, &p->scale[r], &p->min[r]);
  return QUERN_OK;
}

/* Grids of a layer's operator, and the values of codes that change least on calibration text, which go to q->floats. */
static quern_status fit_codes(qn_quantizer *q, const qn_item *it, const qn_form *f, const qn_packed *p,
                              const qn_transform *t, const qn_products *e) {
  const size_t k = it->k, floats = (size_t)it->n * k;
  void *moments = NULL, *values = NULL;
  quern_status status = QUERN_OK;
  if (q->moments.data) QN_TRY_CLEANUP(moments_of(q, it, t, e, &moments));
  if (q->recipe.weight_clip) QN_TRY_CLEANUP(clip_rows(q, it, p, e, moments));
  if (q->recipe.rounding == QN_ROUNDING_CALIBRATED) {
    const qn_rounding r = {.w = q->floats, .moments = moments, .n = it->n, .k = it->k, .form = *f, .grids = p};
    QN_TRY_CLEANUP(qn_alloc(q->env, &values, floats * sizeof(float), "rounded weights"));
    QN_TRY_CLEANUP(qn_round(q->env, e->kernels, e->pool, &r, values));
  }
cleanup:
  if (status == QUERN_OK) qn_pack_codes(values ? values : q->floats, it->n, it->k, f, p);
  qn_free(q->env, values, floats * sizeof(float));
  qn_free(q->env, moments, k * k * sizeof(float));
  return status;
}

quern_status qn_quantizer_pack_nearest(qn_quantizer *q, const qn_item *it) {
  const qn_form f = qn_quantizer_form(q, it);
  const qn_packed p = qn_quantizer_packed(q);
  if (qn_quantizer_plain(q, it)) {
    qn_pack_linear_i8(q->floats, it->n, it->k, qn_quantizer_most(q, it), q->packed, q->scale, q->sums);
    return QUERN_OK;
  }
  if (q->recipe.weight_clip == QN_WEIGHT_CLIP_PART)
    QN_TRY(clip_rows(q, it, &p, NULL, NULL));
  else
    qn_pack_grids(q->floats, it->n, it->k, &f, &p, q->work);
  qn_pack_codes(q->floats, it->n, it->k, &f, &p);
  return QUERN_OK;
}

static quern_status pack_form(qn_quantizer *q, const qn_item *it, const qn_form *f, const qn_packed *p,
                              const qn_transform *t) {
  quern_context engine;
  if (it->input < 0 || !q->recipe.weight_clip) qn_pack_grids(q->floats, it->n, it->k, f, p, q->work);
  if (it->input < 0) {
    qn_pack_codes(q->floats, it->n, it->k, f, p);
    return QUERN_OK;
  }
  QN_TRY(qn_engine_open(&engine, q->env, q->job));
  const qn_products e = {q->env, &engine.kernels, engine.pool};
  const quern_status status = fit_codes(q, it, f, p, t, &e);
  qn_engine_close(&engine, q->job);
  return status;
}

/* Codes of a linear operator, and what they need. */
static quern_status write_codes(qn_quantizer *q, const qn_item *it, const qn_transform *t) {
  const qn_form f = qn_quantizer_form(q, it);
  const qn_packed p = qn_quantizer_packed(q);
  const size_t floats = it->n * sizeof(float);
  if (qn_quantizer_plain(q, it)) {
    if (it->column_copies && q->split)
      qn_split_share(q->floats, it->n, it->k - it->column_copies, it->column_copies, qn_quantizer_most(q, it),
                     q->split + (size_t)it->layer * it->column_copies);
    qn_pack_linear_i8(q->floats, it->n, it->k, qn_quantizer_most(q, it), q->packed, q->scale, q->sums);
  } else {
    QN_TRY(pack_form(q, it, &f, &p, t));
  }
  const size_t scales = qn_quantizer_plain(q, it) || f.steps ? floats
                                                             : qn_form_scales(&f, it->n, it->k) * sizeof(float);
  QN_TRY(qn_quantizer_write(q, it, ".weight", q->packed, qk_weight_bytes(it->n, it->k, f.bits)));
  if (f.steps)
    QN_TRY(qn_quantizer_write(q, it, ".step", q->step, qk_panels(it->n) * QK_PANEL * qn_form_groups(&f, it->k)));
  QN_TRY(qn_quantizer_write(q, it, ".scale", q->scale, scales));
  if (f.min) QN_TRY(qn_quantizer_write(q, it, ".min", q->min, scales));
  QN_TRY(qn_quantizer_write(q, it, ".sums", q->sums, floats));
  const qn_site_plan *parts = qn_quantizer_parts(q, it);
  if (parts) {
    qn_groups_sums(parts, q->packed, it->n, it->k, q->work);
    return qn_quantizer_write(q, it, ".in.sums", q->work, floats);
  }
  if (!qn_quantizer_group_sums(q, it)) return QUERN_OK;
  const uint32_t group = qn_quantizer_input_group(q, it);
  qn_packed_sums(&p, &f, it->n, it->k, group, q->group_sums);
  return qn_quantizer_write(q, it, ".in.sums", q->group_sums, qk_weight_bytes_f32(it->n, qk_groups(it->k, group)));
}

static quern_status write_all(qn_quantizer *q, const qn_item *it, const qn_transform *t) {
  if (qn_quantizer_bits(q, it) <= 8) {
    QN_TRY(write_codes(q, it, t));
  } else {
    qn_pack_linear_f32(q->floats, it->n, it->k, q->packed);
    QN_TRY(qn_quantizer_write(q, it, ".weight", q->packed, qk_weight_bytes_f32(it->n, it->k)));
  }
  if (qn_quantizer_multiplies(q, it))
    QN_TRY(qn_quantizer_write(q, it, ".smooth", q->smooth, it->k * sizeof *q->smooth));
  QN_TRY(qn_quantizer_write_transform(q, it, t));
  return it->has_bias ? qn_quantizer_write(q, it, ".bias", q->bias, it->n * sizeof(float)) : QUERN_OK;
}

quern_status qn_quantizer_write_linear(qn_quantizer *q, const qn_item *it) {
  qn_transform t = {.k = it->k};
  quern_status status = QUERN_OK;
  if (qn_quantizer_smooths(q, it)) smooth(q, it);
  if (qn_quantizer_shape(q, it).block) status = qn_quantizer_transform(q, it, &t);
  if (status == QUERN_OK) status = write_all(q, it, &t);
  qn_transform_free(q->env, &t);
  return status;
}
