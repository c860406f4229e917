/* describe.c - what a quantized file says before its data, by recipe and architecture: how each item is stored, sites, metadata
 * (quantizer.h). */
#include <string.h>
#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/fold.h"
#include "quant/quantizer.h"
#include "text/tokenizer.h"

#define PRODUCER "quern 0.1.0"

/* ---- how items are stored ---- */

uint32_t qn_quantizer_bits(const qn_quantizer *q, const qn_item *it) {
  /* Those of static recipes are in bytes whatever they are, as are tables of 6. */
  const uint32_t weights = q->recipe.id == QN_RECIPE_STATIC ? 8 : q->recipe.weight_bits;
  if (it->kind == QN_ITEM_TABLE && !it->small) return q->recipe.embedding_bits == 6 ? 8 : q->recipe.embedding_bits;
  if (it->head && q->recipe.head_bits) return q->recipe.head_bits;
  if (it->kind == QN_ITEM_LINEAR) return weights < 8 && it->input < 0 ? 8 : weights;
  return 32;
}
float qn_quantizer_most(const qn_quantizer *q, const qn_item *it) {
  const uint32_t bits = it->kind == QN_ITEM_TABLE ? q->recipe.embedding_bits
                        : it->input < 0           ? 8
                                                  : q->recipe.weight_bits;
  return qn_site_highest(bits);
}
qn_form qn_quantizer_form(const qn_quantizer *q, const qn_item *it) {
  const qn_recipe *r = &q->recipe;
  qn_form f = {.bits = qn_quantizer_bits(q, it)};
  if (it->input < 0 && !it->head) return f;
  f.group = it->head ? r->head_group : r->weight_group;
  if (f.bits < 8 && !f.group) f.group = (uint32_t)qk_k8(it->k);
  f.steps = it->head ? r->head_steps : r->weight_steps;
  const int minimum = it->head ? r->head_min : r->weight_min;
  f.zeros = f.steps && minimum;
  f.min = minimum && !f.steps;
  return f;
}
static int is_int8(const qn_quantizer *q, const qn_item *it) { return qn_quantizer_bits(q, it) == 8; }
int qn_quantizer_plain(const qn_quantizer *q, const qn_item *it) {
  return is_int8(q, it) && (it->kind != QN_ITEM_LINEAR || !qn_quantizer_form(q, it).group);
}
/* An input whose rows have outliers in ever other channels, which smoothing does not balance: products of gates and values, and
   what a decoder's head takes. */
static int has_outliers(const qn_quantizer *q, const qn_item *it) {
  if (it->input >= 0)
    return it->input == QN_SITE_FFN_DOWN_IN && q->arch.gated && q->recipe.activation_bits == 8 && !q->recipe.transforms;
  return it->head && q->arch.head == QN_HEAD_TOKENS;
}
/* Scales for groups of such an input; where the weights' scales are in the same sum, groups are theirs. */
static uint32_t outlier_group(const qn_quantizer *q, const qn_item *it) {
  if (q->recipe.activation_outliers <= 0 || !has_outliers(q, it)) return 0;
  const qn_form f = qn_quantizer_form(q, it);
  return f.group && f.group < it->k && !f.steps ? f.group : (uint32_t)q->recipe.activation_outliers;
}
uint32_t qn_quantizer_input_group(const qn_quantizer *q, const qn_item *it) {
  const uint32_t outliers = outlier_group(q, it), group = outliers ? outliers : q->recipe.activation_group;
  return (outliers || it->input >= 0) && it->k > group ? group : 0;
}
int qn_quantizer_symmetric(const qn_quantizer *q, const qn_item *it) {
  return outlier_group(q, it) != 0 || (it->input >= 0 && q->recipe.activation_symmetric);
}
int qn_quantizer_group_sums(const qn_quantizer *q, const qn_item *it) {
  return it->kind == QN_ITEM_LINEAR && qn_quantizer_input_group(q, it) && !qn_quantizer_symmetric(q, it);
}

const qn_site_plan *qn_quantizer_parts(const qn_quantizer *q, const qn_item *it) {
  if (!q->plan.count || it->kind != QN_ITEM_LINEAR || it->input < 0) return NULL;
  const qn_site_plan *s = &q->plan.site[qn_site_index(&q->arch, (uint32_t)it->input, (uint32_t)it->layer)];
  return s->groups > 1 ? s : NULL;
}

/* Of floats, in a file only what folds. */
int qn_quantizer_smooths(const qn_quantizer *q, const qn_item *it) {
  if (!q->recipe.smooth || it->input < 0) return 0;
  return q->recipe.weight_bits < 32 || qn_fold_fits(&q->arch, (uint32_t)it->input);
}
int qn_quantizer_multiplies(const qn_quantizer *q, const qn_item *it) {
  return qn_quantizer_smooths(q, it) && !(q->recipe.transforms && qn_fold_fits(&q->arch, (uint32_t)it->input));
}

uint32_t qn_quantizer_input_bits(const qn_quantizer *q, const qn_item *it) {
  return it->input >= 0 ? q->recipe.activation_bits : 8;
}
/* Of floats, in a file only what is merged. */
qn_transform_shape qn_quantizer_shape(const qn_quantizer *q, const qn_item *it) {
  if (!q->recipe.transforms || it->input < 0) return (qn_transform_shape){0};
  if (q->recipe.merge && it->input == QN_SITE_ATTN_OUT_IN) {
    const qn_transform_shape s = qn_transform_shape_within(&q->recipe, q->arch.head_dim);
    if (s.block) return s;
  }
  if (q->shapes) return q->shapes[it->layer * (int)QN_SITE_KINDS + it->input];
  return q->recipe.weight_bits < 32 ? qn_transform_shape_of(&q->recipe, it->k) : (qn_transform_shape){0};
}
int qn_quantizer_clips(const qn_quantizer *q, const qn_item *it) {
  return it->input >= 0 && q->recipe.activation_clip != 0 && q->recipe.id == QN_RECIPE_INT8;
}
qn_token_codes qn_quantizer_token_codes(const qn_quantizer *q, const qn_item *it) {
  const double part = q->recipe.activation_clip;
  qn_token_codes c = {qn_quantizer_input_bits(q, it), qn_quantizer_input_group(q, it), qn_quantizer_symmetric(q, it),
                      1};
  if (part > 0) c.clip = (float)part;
  if (part == QN_ACTIVATION_CLIP_SEARCHED) c.clip = 0;
  return c;
}
int qn_quantizer_needs_moments(const qn_quantizer *q) {
  return q->recipe.rounding != QN_ROUNDING_NEAREST || q->recipe.weight_clip == QN_WEIGHT_CLIP_LEARNED;
}
int qn_quantizer_needs_samples(const qn_quantizer *q) {
  const qn_recipe *r = &q->recipe;
  return r->transforms && (r->smooth || r->rotate || r->permute || r->rotate2 == QN_ROTATE2_DENSE || r->budget ||
                           r->activation_clip == QN_ACTIVATION_CLIP_SEARCHED);
}

/* ---- what the file says before its data ---- */

static quern_status put_text(qn_quantizer *q, const char *key, const char *value) {
  return qrn_put_string(q->writer, key, value, strlen(value));
}

/* What no text could be run with is refused now. */
static quern_status check_template(const qn_quantizer *q, const qn_tokenizer *t) {
  const uint32_t specials = qn_tokenizer_specials(t, 0), types = qn_tokenizer_types(t, 0);
  if (specials >= q->arch.positions)
    return qn_fail(&q->env->error, QUERN_E_SOURCE,
                   "tokenizer: %u special tokens leave no room for a text in %u positions", specials,
                   q->arch.positions);
  if (q->arch.types && types > q->arch.types)
    return qn_fail(&q->env->error, QUERN_E_SOURCE, "tokenizer: the template gives token type %u, config.json has %u",
                   types - 1, q->arch.types);
  return QUERN_OK;
}

static quern_status put_tokenizer(qn_quantizer *q) {
  qn_buffer section = {0};
  qn_tokenizer tokenizer;
  quern_status status;
  QN_TRY_CLEANUP(qn_source_tokenizer(q->source, &section));
  if (section.bytes > 0) {
    QN_TRY_CLEANUP(qn_tokenizer_open(&tokenizer, q->env, section.data, section.bytes));
    QN_TRY_CLEANUP(check_template(q, &tokenizer));
    QN_TRY_CLEANUP(put_text(q, "tokenizer.kind", qn_tokenizer_name(&tokenizer)));
    QN_TRY_CLEANUP(qrn_put_section(q->writer, QRN_TOKENIZER, section.data, section.bytes));
  }
  status = QUERN_OK;
cleanup:
  qn_buffer_free(q->env, &section);
  return status;
}

static quern_status put_recipe(qn_quantizer *q) {
  qn_buffer text = {0};
  quern_status status = qn_recipe_format(&q->recipe, q->env, &text);
  if (status == QUERN_OK) status = qrn_put_string(q->writer, "recipe.json", (const char *)text.data, text.bytes);
  qn_buffer_free(q->env, &text);
  return status;
}

/* What the ranges came from: the file's name without its path. */
static quern_status put_calibration(qn_quantizer *q) {
  const qn_report *r = &q->report;
  if (!r->calibration) return QUERN_OK;
  QN_TRY(put_text(q, "calibration.file", r->calibration));
  QN_TRY(qrn_put_u64(q->writer, "calibration.rows", r->calibration_rows));
  return qrn_put_u64(q->writer, "calibration.seed", q->job->seed);
}

/* What generation needs to know beside the tokenizer. */
static quern_status put_speech(qn_quantizer *q) {
  qn_speech speech;
  char ends[QN_SPEECH_ENDS * 11 + 1];
  size_t n = 0;
  if (!q->arch.causal) return QUERN_OK;
  QN_TRY(qn_source_speech(q->source, &speech));
  for (uint32_t i = 0; i < speech.end_count; i++)
    n += qn_format(ends + n, sizeof ends - n, "%s%d", i ? " " : "", speech.ends[i]);
  if (n) QN_TRY(put_text(q, "tokenizer.end", ends));
  return speech.chat ? put_text(q, "chat.form", speech.chat) : QUERN_OK;
}

static quern_status put_meta(qn_quantizer *q) {
  char text[64];
  const char *family = "";
  for (uint32_t i = 0; qn_family_at(i); i++)
    if (qn_family_at(i)->id == q->arch.family) family = qn_family_name(i);
  QN_TRY(put_text(q, "general.architecture", family));
  QN_TRY(put_text(q, "general.recipe", q->recipe.name));
  QN_TRY(put_text(q, "general.producer", PRODUCER));
  QN_TRY(put_text(q, "general.source", qn_source_name(q->source)));
  QN_TRY(put_tokenizer(q));
  QN_TRY(put_speech(q));
  for (uint32_t i = 0; i < q->arch.labels; i++) {
    const char *label = qn_source_label(q->source, i);
    if (!label) continue;
    qn_format(text, sizeof text, "label.%u", i);
    QN_TRY(put_text(q, text, label));
  }
  QN_TRY(put_recipe(q));
  QN_TRY(put_calibration(q));
  qn_arch record = q->arch;
  record.bytes = qn_arch_record_bytes(&record);
  return qrn_put_section(q->writer, QRN_ARCH, &record, record.bytes);
}

static quern_status put_site(qn_quantizer *q, const char *prefix, const char *name, const qrn_site *quantized) {
  static const qrn_site floats = {.bits = 32, .grain = QRN_GRAIN_NONE, .groups = 1, .symmetric = 1};
  char full[QN_ITEM_NAME_BYTES];
  qn_format(full, sizeof full, "%s%s", prefix, name);
  return qrn_put_site(q->writer, full, q->recipe.activation_bits == 32 ? &floats : quantized);
}

static quern_status put_head_sites(qn_quantizer *q, uint32_t layer) {
  static const qrn_site site = {.bits = 8, .grain = QRN_GRAIN_TOKEN_HEAD, .groups = 1, .symmetric = 1};
  char prefix[32];
  qn_format(prefix, sizeof prefix, "layers.%u.attn.", layer);
  QN_TRY(put_site(q, prefix, "q", &site));
  QN_TRY(put_site(q, prefix, "k", &site));
  QN_TRY(put_site(q, prefix, "v", &site));
  return put_site(q, prefix, "probs", &site);
}

/* Those of a static recipe. */
static quern_status put_plan(qn_quantizer *q) {
  for (uint32_t i = 0; i < q->plan.count; i++) {
    const qn_site_plan *s = &q->plan.site[i];
    const int floats = s->rule.bits == 32, values = qn_plan_is_static(s);
    const qrn_site site = {.bits = s->rule.bits,
                           .grain = floats   ? QRN_GRAIN_NONE
                                    : values ? QRN_GRAIN_STATIC
                                             : QRN_GRAIN_TOKEN,
                           .groups = floats ? 1 : s->groups,
                           .group = floats ? 0 : qn_plan_group(s),
                           .symmetric = floats || (values && s->rule.symmetric)};
    QN_TRY(qrn_put_site(q->writer, s->site.name, &site));
  }
  return QUERN_OK;
}

/* Of linear operators as they come, which is how they are executed; of attention behind its first. */
static quern_status put_sites(qn_quantizer *q) {
  if (q->recipe.id == QN_RECIPE_STATIC) return put_plan(q);
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count; i++) {
    qn_item it;
    qn_item_at(&q->arch, i, &it);
    if (it.n == 0 || it.kind != QN_ITEM_LINEAR) continue;
    const uint32_t group = qn_quantizer_input_group(q, &it);
    const qrn_site site = {.bits = qn_quantizer_input_bits(q, &it),
                           .grain = QRN_GRAIN_TOKEN,
                           .groups = group ? (uint32_t)qk_groups(it.k, group) : 1,
                           .group = group,
                           .symmetric = (uint32_t)qn_quantizer_symmetric(q, &it)};
    QN_TRY(put_site(q, it.name, ".in", &site));
    if (it.input == QN_SITE_QKV_IN) QN_TRY(put_head_sites(q, (uint32_t)it.layer));
  }
  return QUERN_OK;
}

quern_status qn_quantizer_describe(qn_quantizer *q) {
  QN_TRY(put_meta(q));
  return put_sites(q);
}

/* ---- declaring ---- */

static quern_status declare(qn_quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype, uint32_t layout,
                            uint32_t rank) {
  char name[QN_ITEM_NAME_BYTES];
  uint64_t dim[2] = {it->n, it->k};
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, rank, dim);
  return qrn_declare_tensor(q->writer, name, dtype, layout, rank, dim);
}

/* One of the tensors of an item, of another shape. */
static quern_status declare_part(qn_quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype,
                                 uint32_t layout, uint64_t n, uint64_t k, uint64_t pairs) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[3] = {n, k, pairs};
  const uint32_t rank = pairs ? 3 : k ? 2 : 1;
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, rank, dim);
  return qrn_declare_tensor(q->writer, name, dtype, layout, rank, dim);
}

/* A matrix of codes in groups. */
static quern_status declare_codes(qn_quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype,
                                  uint32_t layout, uint32_t group) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[2] = {it->n, it->k};
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, 2, dim);
  return qrn_declare_codes(q->writer, name, dtype, layout, dim, group);
}

static uint32_t dtype_of(uint32_t bits) {
  return bits == 8 ? QRN_I8 : bits == 6 ? QRN_U6 : bits == 4 ? QRN_U4 : bits == 2 ? QRN_U2 : QRN_F32;
}

/* Codes of 4 and 2 bits of a table and what belongs to them. */
static quern_status declare_small_table(qn_quantizer *q, const qn_item *it) {
  const uint32_t group = q->recipe.embedding_group;
  QN_TRY(declare_codes(q, it, "", dtype_of(qn_quantizer_bits(q, it)), QRN_ROWS, group));
  QN_TRY(declare_part(q, it, ".scale", QRN_F32, QRN_ROWS, it->n, 2, 0));
  return declare_part(q, it, ".step", QRN_I8, QRN_ROWS, it->n, qk_groups(it->k, group), 2);
}

/* The same of a linear operator, and codes of 8 bits in groups. */
static quern_status declare_form(qn_quantizer *q, const qn_item *it) {
  const qn_form f = qn_quantizer_form(q, it);
  const uint64_t groups = qk_groups(it->k, f.group);
  QN_TRY(declare_codes(q, it, ".weight", dtype_of(f.bits), QRN_PANELS, f.group));
  if (f.steps) {
    QN_TRY(declare_part(q, it, ".step", QRN_U8, QRN_PANELS, it->n, groups, 0));
    QN_TRY(declare_part(q, it, ".scale", QRN_F32, QRN_ROWS, it->n, 0, 0));
    return declare_part(q, it, ".sums", QRN_I32, QRN_ROWS, it->n, 0, 0);
  }
  QN_TRY(declare_part(q, it, ".scale", QRN_F32, QRN_PANELS, it->n, groups, 0));
  if (f.min) QN_TRY(declare_part(q, it, ".min", QRN_F32, QRN_PANELS, it->n, groups, 0));
  return declare_part(q, it, ".sums", QRN_F32, QRN_ROWS, it->n, 0, 0);
}

/* Finds the item in the source. source_bytes: what it takes there. */
static quern_status find_item(qn_quantizer *q, qn_item *it, uint64_t *source_bytes) {
  char name[QN_ITEM_NAME_BYTES];
  uint64_t bytes = 0, dim[2];
  const char *suffix = it->kind == QN_ITEM_LINEAR ? ".weight" : "";
  *source_bytes = 0;
  for (uint32_t p = 0; p < it->part_count; p++) {
    const uint32_t rank = qn_item_source_shape(it, p, dim);
    qn_item_part_name(it, p, suffix, name);
    QN_TRY(qn_source_find(q->source, name, rank, dim, &bytes));
    *source_bytes += bytes;
    if (it->kind != QN_ITEM_LINEAR) continue;
    qn_item_part_name(it, p, ".bias", name);
    QN_TRY(qn_source_find(q->source, name, 1, dim, &bytes));
    *source_bytes += bytes;
    it->has_bias |= bytes > 0;
  }
  it->has_bias |= it->row_copies && q->plan.fold; /* copies differ by it */
  return QUERN_OK;
}

/* What it becomes. */
static quern_status declare_item(qn_quantizer *q, const qn_item *it) {
  const char *suffix = it->kind == QN_ITEM_LINEAR ? ".weight" : "";
  const uint32_t layout = it->kind == QN_ITEM_LINEAR ? QRN_PANELS : QRN_ROWS;
  const uint32_t bits = qn_quantizer_bits(q, it);
  if (bits < 8 && it->kind == QN_ITEM_TABLE)
    QN_TRY(declare_small_table(q, it));
  else if (bits <= 8 && !qn_quantizer_plain(q, it))
    QN_TRY(declare_form(q, it));
  else
    QN_TRY(declare(q, it, suffix, dtype_of(bits), layout, it->kind == QN_ITEM_VECTOR ? 1 : 2));
  if (qn_quantizer_plain(q, it)) QN_TRY(declare(q, it, ".scale", QRN_F32, QRN_ROWS, 1));
  if (qn_quantizer_plain(q, it) && it->kind == QN_ITEM_LINEAR) QN_TRY(declare(q, it, ".sums", QRN_I32, QRN_ROWS, 1));
  if (qn_quantizer_parts(q, it)) QN_TRY(declare(q, it, ".in.sums", QRN_F32, QRN_ROWS, 1));
  if (qn_quantizer_group_sums(q, it))
    QN_TRY(declare_part(q, it, ".in.sums", QRN_F32, QRN_PANELS, it->n,
                        qk_groups(it->k, qn_quantizer_input_group(q, it)), 0));
  if (qn_quantizer_multiplies(q, it)) {
    qn_item channels = *it;
    channels.n = it->k;
    QN_TRY(declare(q, &channels, ".smooth", QRN_F32, QRN_ROWS, 1));
  }
  if (it->kind == QN_ITEM_LINEAR) QN_TRY(qn_quantizer_declare_transform(q, it));
  if (it->has_bias) QN_TRY(declare(q, it, ".bias", QRN_F32, QRN_ROWS, 1));
  return QUERN_OK;
}

/* Working memory that an item needs; sizes cannot wrap: qn_arch_check has bounded them. */
static void size_item(qn_quantizer *q, const qn_item *it) {
  size_t packed = 0, scales = it->n;
  const uint32_t bits = qn_quantizer_bits(q, it);
  if (bits <= 8 && it->kind == QN_ITEM_LINEAR) {
    const qn_form f = qn_quantizer_form(q, it);
    packed = qk_weight_bytes(it->n, it->k, bits);
    scales = qn_form_scales(&f, it->n, it->k);
    if (f.steps) q->steps = qn_max_size(q->steps, qk_panels(it->n) * QK_PANEL * qn_form_groups(&f, it->k));
    if (qn_quantizer_group_sums(q, it))
      scales = qn_max_size(scales, qk_panels(it->n) * QK_PANEL * qk_groups(it->k, qn_quantizer_input_group(q, it)));
  } else if (bits < 8) {
    packed = it->n * qk_table_row(it->k, bits);
    scales = 2 * (size_t)it->n;
    q->steps = qn_max_size(q->steps, it->n * qk_groups(it->k, q->recipe.embedding_group) * 2);
  } else if (it->kind == QN_ITEM_LINEAR) {
    packed = qk_weight_bytes_f32(it->n, it->k);
  } else if (is_int8(q, it)) {
    packed = (size_t)it->n * it->k;
  } else if (it->kind == QN_ITEM_RELATIVE) {
    packed = (size_t)QN_RELATIVE_BUCKETS * it->n * sizeof(float); /* as it is read */
  }
  q->floats_bytes = qn_max_size(q->floats_bytes, (size_t)it->n * it->k * sizeof(float));
  q->packed_bytes = qn_max_size(q->packed_bytes, packed);
  q->rows = qn_max_size(q->rows, qn_max_size(it->n, it->k));
  q->scales = qn_max_size(q->scales, qn_max_size(scales, q->rows));
}

/* A vector of 4 bytes an element, declared or written. */
static quern_status put_vector(qn_quantizer *q, const char *base, const char *suffix, uint32_t dtype, const void *data,
                               uint64_t n, int declares) {
  char name[QN_ITEM_NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  if (!declares) return qrn_write_tensor(q->writer, name, data, n * 4);
  q->report.tensor_bytes += n * 4;
  return qrn_declare_tensor(q->writer, name, dtype, QRN_ROWS, 1, &n);
}

/* The order of channels behind the last layer, and where each layer has its own that behind its attention's norm by the one before. */
static quern_status orders(qn_quantizer *q, int declares) {
  const uint32_t width = q->arch.width, layers = q->arch.layers;
  int32_t *place = q->sums, *by = q->floats; /* not there yet when they are declared */
  if (!q->plan.order) return QUERN_OK;
  for (uint32_t l = 1; l < layers && q->plan.orders > 1; l++) {
    const uint32_t *before = qn_plan_order(&q->plan, (int)l - 1), *after = qn_plan_order(&q->plan, (int)l);
    char name[QN_ITEM_NAME_BYTES];
    for (uint32_t i = 0; i < width && !declares; i++) place[before[i]] = (int32_t)i;
    for (uint32_t i = 0; i < width && !declares; i++) by[i] = place[after[i]];
    qn_format(name, sizeof name, "layers.%u.attn.norm", l);
    QN_TRY(put_vector(q, name, ".order", QRN_I32, by, width, declares));
  }
  return put_vector(q, "hidden.order", "", QRN_I32, qn_plan_order(&q->plan, (int)layers - 1), width, declares);
}

/* Scale, and zero point and ends of groups where there are such, of each static site. */
static quern_status site_values(qn_quantizer *q, int declares) {
  for (uint32_t i = 0; i < q->plan.count; i++) {
    const qn_site_plan *s = &q->plan.site[i];
    const char *name = s->site.name;
    if (!qn_plan_is_static(s)) continue;
    QN_TRY(put_vector(q, name, ".scale", QRN_F32, s->scale, s->groups, declares));
    if (!s->rule.symmetric) QN_TRY(put_vector(q, name, ".zero", QRN_F32, s->zero, s->groups, declares));
    if (s->groups > 1 && !qn_plan_group(s)) QN_TRY(put_vector(q, name, ".ends", QRN_I32, s->ends, s->groups, declares));
  }
  return QUERN_OK;
}

/* Of every shortcut that takes the output of a norm without its gain: declared, or written. */
static quern_status shortcuts(qn_quantizer *q, int declares) {
  for (uint32_t i = 0; i < 2 * q->arch.layers; i++) {
    const float *by = qn_migration_by(&q->migration, i);
    char name[QN_ITEM_NAME_BYTES];
    if (!by) continue;
    qn_format(name, sizeof name, "layers.%u.%s.shortcut", i / 2, i % 2 ? "ffn" : "attn");
    QN_TRY(put_vector(q, name, "", QRN_F32, by, q->arch.width, declares));
  }
  return QUERN_OK;
}

static quern_status vectors(qn_quantizer *q, int declares) {
  QN_TRY(shortcuts(q, declares));
  QN_TRY(site_values(q, declares));
  return orders(q, declares);
}
quern_status qn_quantizer_write_vectors(qn_quantizer *q) { return vectors(q, 0); }

quern_status qn_quantizer_size(qn_quantizer *q) {
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count; i++) {
    qn_item it;
    uint64_t source_bytes;
    qn_item_at(&q->arch, i, &it);
    if (it.n == 0) continue;
    QN_TRY(find_item(q, &it, &source_bytes));
    size_item(q, &it);
  }
  return QUERN_OK;
}

quern_status qn_quantizer_declare(qn_quantizer *q) {
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count; i++) {
    qn_item it;
    uint64_t source_bytes, before = q->report.tensor_bytes;
    qn_item_at(&q->arch, i, &it);
    if (it.n == 0) continue;
    QN_TRY(find_item(q, &it, &source_bytes));
    QN_TRY(declare_item(q, &it));
    if (it.kind == QN_ITEM_VECTOR || it.kind == QN_ITEM_RELATIVE) continue;
    qn_report_row row = {.linear = it.kind == QN_ITEM_LINEAR,
                         .n = it.n,
                         .k = it.k,
                         .before = source_bytes,
                         .after = q->report.tensor_bytes - before};
    memcpy(row.name, it.name, sizeof row.name);
    QN_TRY(qn_buffer_append(q->env, &q->rows_found, &row, sizeof row));
    q->report.count++;
  }
  q->report.rows = (qn_report_row *)(void *)q->rows_found.data;
  return vectors(q, 1);
}
