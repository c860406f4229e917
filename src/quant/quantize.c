/* quantize.c - the quantize job: source -> packed tensors -> .qrn file, one tensor at a time.
 * Not here: what codes are (pack.c), where weights come from (import/), the file's bytes (format/).
 * A model is a list of items (items.h), each one tensor of the source and the tensors it becomes; the list is walked
 * twice, to declare and to write. Same source and recipe: same bytes. One job belongs to one thread. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/thread.h"
#include "format/qrn.h"
#include "kernels/layout.h"
#include "quant/items.h"
#include "quant/quant.h"
#include "quant/relative.h"
#include "quant/report.h"
#include "quant/smooth.h"
#include "quant/split.h"
#include "text/tokenizer.h"

#define PRODUCER "quern 0.1.0"

typedef struct quantizer {
  qn_env *env;
  const qn_quantize_job *job;
  qn_source *source;
  qrn_writer *writer;
  qn_recipe recipe;
  qn_arch arch;
  qn_report report;
  qn_buffer rows_found; /* the report's rows: they grow with what the source has, not with what its config says */
  qn_maxima maxima;     /* of the linear operators' inputs, where the recipe smooths */
  uint32_t *split;      /* [layers, arch.ffn_copies]: the neuron that a copy repeats */
  size_t split_bytes;
  uint64_t done, total; /* progress: embeddings, layers, head */
  /* Working memory for the largest item. */
  void *floats, *packed;
  float *scale, *min, *bias, *smooth;
  void *sums; /* int32 or float */
  int8_t *step;
  size_t floats_bytes, packed_bytes, rows, scales, steps;
} quantizer;

/* Bits of an item's codes: 4-bit weights are for the layers, where the bytes are. */
static uint32_t bits_of(const quantizer *q, const qn_item *it) {
  const uint32_t weights = q->recipe.weight_bits;
  if (it->kind == QN_ITEM_TABLE && !it->small) return q->recipe.embedding_bits;
  if (it->kind == QN_ITEM_LINEAR) return weights == 4 && it->input < 0 ? 8 : weights;
  return 32;
}
static uint32_t group_of(const quantizer *q, const qn_item *it) {
  if (it->kind == QN_ITEM_TABLE) return q->recipe.embedding_group;
  return q->recipe.weight_group ? q->recipe.weight_group : (uint32_t)qk_k8(it->k);
}
static int is_int8(const quantizer *q, const qn_item *it) { return bits_of(q, it) == 8; }

static int is_smoothed(const quantizer *q, const qn_item *it) { return q->recipe.smooth && it->input >= 0; }

/* ---- what the file says before its data ---- */

static quern_status put_text(quantizer *q, const char *key, const char *value) {
  return qrn_put_string(q->writer, key, value, strlen(value));
}

/* What no text could be run with is refused now. */
static quern_status check_template(const quantizer *q, const qn_tokenizer *t) {
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

static quern_status put_tokenizer(quantizer *q) {
  qn_buffer section = {0};
  qn_tokenizer tokenizer;
  quern_status status;
  QN_TRY_CLEANUP(qn_source_tokenizer(q->source, &section));
  if (section.bytes > 0) {
    QN_TRY_CLEANUP(qn_tokenizer_open(&tokenizer, q->env, section.data, section.bytes));
    QN_TRY_CLEANUP(check_template(q, &tokenizer));
    QN_TRY_CLEANUP(put_text(q, "tokenizer.kind", tokenizer.kind == QN_TOKENIZER_WORDPIECE ? "wordpiece" : "unknown"));
    QN_TRY_CLEANUP(qrn_put_section(q->writer, QRN_TOKENIZER, section.data, section.bytes));
  }
  status = QUERN_OK;
cleanup:
  qn_buffer_free(q->env, &section);
  return status;
}

static quern_status put_meta(quantizer *q) {
  char text[512];
  const char *family = "";
  for (uint32_t i = 0; qn_family_at(i); i++)
    if (qn_family_at(i)->id == q->arch.family) family = qn_family_name(i);
  QN_TRY(put_text(q, "general.architecture", family));
  QN_TRY(put_text(q, "general.recipe", q->recipe.name));
  QN_TRY(put_text(q, "general.producer", PRODUCER));
  QN_TRY(put_text(q, "general.source", qn_source_name(q->source)));
  QN_TRY(put_tokenizer(q));
  for (uint32_t i = 0; i < q->arch.labels; i++) {
    const char *label = qn_source_label(q->source, i);
    if (!label) continue;
    qn_format(text, sizeof text, "label.%u", i);
    QN_TRY(put_text(q, text, label));
  }
  qn_recipe_format(&q->recipe, text, sizeof text);
  QN_TRY(put_text(q, "recipe.json", text));
  return qrn_put_section(q->writer, QRN_ARCH, &q->arch, sizeof q->arch);
}

static quern_status put_site(quantizer *q, const char *prefix, const char *name, uint32_t grain) {
  char full[QN_ITEM_NAME_BYTES];
  uint32_t bits = q->recipe.activation_bits;
  qrn_site site = {.bits = bits,
                   .grain = bits == 32 ? QRN_GRAIN_NONE : grain,
                   .groups = 1,
                   .symmetric = bits == 32 || grain != QRN_GRAIN_TOKEN};
  qn_format(full, sizeof full, "%s%s", prefix, name);
  return qrn_put_site(q->writer, full, &site);
}

static quern_status put_sites(quantizer *q) {
  static const struct {
    const char *name;
    uint32_t grain;
  } sites[] = {{"attn.qkv.in", QRN_GRAIN_TOKEN}, {"attn.q", QRN_GRAIN_TOKEN_HEAD},     {"attn.k", QRN_GRAIN_TOKEN_HEAD},
               {"attn.v", QRN_GRAIN_TOKEN_HEAD}, {"attn.probs", QRN_GRAIN_TOKEN_HEAD}, {"attn.out.in", QRN_GRAIN_TOKEN},
               {"ffn.up.in", QRN_GRAIN_TOKEN},   {"ffn.down.in", QRN_GRAIN_TOKEN}};
  if (q->arch.embed_width) QN_TRY(put_site(q, "", "embed.project.in", QRN_GRAIN_TOKEN));
  for (uint32_t layer = 0; layer < q->arch.layers; layer++) {
    char prefix[32];
    qn_format(prefix, sizeof prefix, "layers.%u.", layer);
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++)
      QN_TRY(put_site(q, prefix, sites[i].name, sites[i].grain));
  }
  if (q->arch.head_pooler) QN_TRY(put_site(q, "", "head.pooler.in", QRN_GRAIN_TOKEN));
  if (q->arch.head != QN_HEAD_NONE) QN_TRY(put_site(q, "", "head.out.in", QRN_GRAIN_TOKEN));
  if (q->arch.dense) QN_TRY(put_site(q, "", "pool.dense.in", QRN_GRAIN_TOKEN));
  return QUERN_OK;
}

/* ---- declaring ---- */

static quern_status declare(quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype, uint32_t layout,
                            uint32_t rank) {
  char name[QN_ITEM_NAME_BYTES];
  uint64_t dim[2] = {it->n, it->k};
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, rank, dim);
  return qrn_declare_tensor(q->writer, name, dtype, layout, rank, dim);
}

/* One of the tensors of an item, of another shape. */
static quern_status declare_part(quantizer *q, const qn_item *it, const char *suffix, uint32_t dtype, uint32_t layout,
                                 uint64_t n, uint64_t k, uint64_t pairs) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[3] = {n, k, pairs};
  const uint32_t rank = pairs ? 3 : k ? 2 : 1;
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, rank, dim);
  return qrn_declare_tensor(q->writer, name, dtype, layout, rank, dim);
}

/* Codes of 4 and 2 bits and what belongs to them. */
static quern_status declare_small(quantizer *q, const qn_item *it) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[2] = {it->n, it->k};
  const int linear = it->kind == QN_ITEM_LINEAR;
  const uint32_t dtype = bits_of(q, it) == 4 ? QRN_U4 : QRN_U2, layout = linear ? QRN_PANELS : QRN_ROWS;
  const uint64_t groups = qk_groups(it->k, group_of(q, it));
  qn_format(name, sizeof name, "%s%s", it->name, linear ? ".weight" : "");
  q->report.tensor_bytes += qrn_tensor_bytes(dtype, layout, 2, dim);
  QN_TRY(qrn_declare_codes(q->writer, name, dtype, layout, dim, group_of(q, it)));
  if (!linear) {
    QN_TRY(declare_part(q, it, ".scale", QRN_F32, QRN_ROWS, it->n, 2, 0));
    return declare_part(q, it, ".step", QRN_I8, QRN_ROWS, it->n, groups, 2);
  }
  QN_TRY(declare_part(q, it, ".scale", QRN_F32, QRN_PANELS, it->n, groups, 0));
  if (q->recipe.weight_min) QN_TRY(declare_part(q, it, ".min", QRN_F32, QRN_PANELS, it->n, groups, 0));
  return declare_part(q, it, ".sums", QRN_F32, QRN_ROWS, it->n, 0, 0);
}

/* Checks the item against the source, so that a missing tensor is found before anything is written, and declares what
   it becomes. source_bytes: what it takes there. */
static quern_status declare_item(quantizer *q, qn_item *it, uint64_t *source_bytes) {
  char name[QN_ITEM_NAME_BYTES];
  uint64_t bytes = 0, dim[2];
  const uint32_t rank = qn_item_source_shape(it, dim);
  const char *suffix = it->kind == QN_ITEM_LINEAR ? ".weight" : "";
  uint32_t layout = it->kind == QN_ITEM_LINEAR ? QRN_PANELS : QRN_ROWS;
  *source_bytes = 0;
  for (uint32_t p = 0; p < it->parts; p++) {
    qn_item_part_name(it, p, suffix, name);
    QN_TRY(qn_source_find(q->source, name, rank, dim, &bytes));
    *source_bytes += bytes;
    if (it->kind != QN_ITEM_LINEAR) continue;
    qn_item_part_name(it, p, ".bias", name);
    QN_TRY(qn_source_find(q->source, name, 1, dim, &bytes));
    *source_bytes += bytes;
    it->has_bias |= bytes > 0;
  }
  const uint32_t bits = bits_of(q, it);
  if (bits < 8)
    QN_TRY(declare_small(q, it));
  else
    QN_TRY(declare(q, it, suffix, bits == 8 ? QRN_I8 : QRN_F32, layout, it->kind == QN_ITEM_VECTOR ? 1 : 2));
  if (is_int8(q, it)) QN_TRY(declare(q, it, ".scale", QRN_F32, QRN_ROWS, 1));
  if (is_int8(q, it) && it->kind == QN_ITEM_LINEAR) QN_TRY(declare(q, it, ".sums", QRN_I32, QRN_ROWS, 1));
  if (is_smoothed(q, it)) {
    qn_item channels = *it;
    channels.n = it->k;
    QN_TRY(declare(q, &channels, ".smooth", QRN_F32, QRN_ROWS, 1));
  }
  if (it->has_bias) QN_TRY(declare(q, it, ".bias", QRN_F32, QRN_ROWS, 1));
  return QUERN_OK;
}

/* Working memory that an item needs; sizes cannot wrap: qn_arch_check has bounded them. */
static void size_item(quantizer *q, const qn_item *it) {
  size_t packed = 0, scales = it->n;
  if (bits_of(q, it) < 8) {
    const size_t groups = qk_groups(it->k, group_of(q, it));
    const int linear = it->kind == QN_ITEM_LINEAR;
    packed = linear ? qk_weight_bytes(it->n, it->k, 4) : it->n * qk_table_row(it->k, bits_of(q, it));
    scales = linear ? qk_panels(it->n) * QK_PANEL * groups : 2 * (size_t)it->n;
    if (!linear) q->steps = qn_max_size(q->steps, it->n * groups * 2);
  } else if (it->kind == QN_ITEM_LINEAR) {
    packed = is_int8(q, it) ? qk_weight_bytes_i8(it->n, it->k) : qk_weight_bytes_f32(it->n, it->k);
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

static quern_status declare_all(quantizer *q) {
  const uint32_t count = qn_item_count(&q->arch);
  for (uint32_t i = 0; i < count; i++) {
    qn_item it;
    uint64_t source_bytes, before = q->report.tensor_bytes;
    qn_item_at(&q->arch, i, &it);
    if (it.n == 0) continue;
    QN_TRY(declare_item(q, &it, &source_bytes));
    size_item(q, &it);
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
  return QUERN_OK;
}

static quern_status reserve(quantizer *q) {
  void *p;
  QN_TRY(qn_alloc(q->env, &q->floats, q->floats_bytes, "the largest tensor"));
  QN_TRY(qn_alloc(q->env, &q->packed, q->packed_bytes, "the largest tensor, packed"));
  QN_TRY(qn_alloc_array(q->env, &p, q->scales, sizeof *q->scale, "scales"));
  q->scale = p;
  if (q->recipe.weight_min) {
    QN_TRY(qn_alloc_array(q->env, &p, q->scales, sizeof *q->min, "minima"));
    q->min = p;
  }
  if (q->steps) {
    QN_TRY(qn_alloc_array(q->env, &p, q->steps, sizeof *q->step, "steps of scales"));
    q->step = p;
  }
  QN_TRY(qn_alloc_array(q->env, &p, q->rows, sizeof *q->bias, "a bias"));
  q->bias = p;
  QN_TRY(qn_alloc_array(q->env, &p, q->rows, sizeof *q->smooth, "a smoothing vector"));
  q->smooth = p;
  QN_TRY(qn_alloc_array(q->env, &p, q->rows, sizeof(int32_t), "column sums"));
  q->sums = p;
  return QUERN_OK;
}

/* ---- writing ---- */

/* What code i of row r of the packed item stands for. */
static double value_of(const quantizer *q, const qn_item *it, size_t r, size_t i) {
  const int linear = it->kind == QN_ITEM_LINEAR;
  const uint32_t bits = bits_of(q, it), group = group_of(q, it);
  const uint8_t *codes = q->packed;
  if (bits < 8 && linear) return (double)qn_value_u4(codes, q->scale, q->min, it->k, group, r, i);
  if (bits < 8) return (double)qn_value_small(codes, q->scale, q->step, it->k, bits, group, r, i);
  if (!linear) return (double)(int8_t)codes[r * it->k + i] * (double)q->scale[r];
  const size_t at = r / QK_PANEL * QK_PANEL * qk_k8(it->k) + r % QK_PANEL * QK_KSTEP;
  return (double)(int8_t)(codes[at + i / QK_KSTEP * QK_PANEL * QK_KSTEP + i % QK_KSTEP] ^ 0x80) * (double)q->scale[r];
}

/* Relative error of a quantized item into its report row. */
static void measure(const quantizer *q, const qn_item *it, qn_report_row *row) {
  const size_t k = it->k;
  double all_error = 0, all_power = 0, worst = -1;
  for (size_t r = 0; r < it->n; r++) {
    const float *w = (const float *)q->floats + r * k;
    double error = 0, power = 0;
    for (size_t i = 0; i < k; i++) {
      const double d = (double)w[i] - value_of(q, it, r, i);
      error += d * d;
      power += (double)w[i] * (double)w[i];
    }
    all_error += error;
    all_power += power;
    double relative = power > 0 ? error / power : 0;
    if (relative > worst) worst = relative, row->worst = (uint32_t)r;
  }
  row->error = all_power > 0 ? sqrt(all_error / all_power) : 0;
  row->worst_error = worst > 0 ? sqrt(worst) : 0;
}

static quern_status write_part(quantizer *q, const qn_item *it, const char *suffix, const void *data, size_t bytes) {
  char name[QN_ITEM_NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", it->name, suffix);
  return qrn_write_tensor(q->writer, name, data, bytes);
}

static quern_status read_item(quantizer *q, qn_item *it) {
  char name[QN_ITEM_NAME_BYTES];
  uint32_t n = it->n / it->parts;
  uint64_t dim[2];
  const uint32_t rank = qn_item_source_shape(it, dim);
  if (it->kind == QN_ITEM_RELATIVE) {
    QN_TRY(qn_source_read(q->source, it->name, rank, dim, q->packed, NULL));
    qn_relative_expand(q->packed, it->n, q->arch.positions, q->floats);
    return QUERN_OK;
  }
  const uint32_t *split = q->split && it->layer >= 0 ? q->split + (size_t)it->layer * q->arch.ffn_copies : NULL;
  for (uint32_t p = 0; p < it->parts; p++) {
    float *to = (float *)q->floats + (size_t)p * n * it->k;
    qn_item_part_name(it, p, it->kind == QN_ITEM_LINEAR ? ".weight" : "", name);
    QN_TRY(qn_source_read(q->source, name, rank, dim, to, NULL));
    if (it->kind != QN_ITEM_LINEAR) continue;
    int present;
    float *bias = q->bias + (size_t)p * n;
    memset(bias, 0, n * sizeof *bias);
    qn_item_part_name(it, p, ".bias", name);
    QN_TRY(qn_source_read(q->source, name, 1, dim, bias, &present));
    it->has_bias |= present;
  }
  if (it->row_copies) {
    qn_split_rows(q->floats, (uint32_t)dim[0], it->k, it->row_copies, split);
    qn_split_rows(q->bias, (uint32_t)dim[0], 1, it->row_copies, split);
  }
  if (it->column_copies) qn_split_columns(q->floats, it->n, (uint32_t)dim[1], it->column_copies, split);
  return QUERN_OK;
}

/* Chooses the neurons to split in every layer, before anything is written. */
static quern_status choose_splits(quantizer *q) {
  const uint32_t copies = q->arch.ffn_copies, ffn = q->arch.ffn - copies;
  const uint64_t dim[2] = {q->arch.width, ffn};
  void *p;
  if (!copies) return QUERN_OK;
  QN_TRY(qn_alloc_array(q->env, &p, (size_t)q->arch.layers * copies, sizeof *q->split, "split neurons"));
  q->split = p;
  q->split_bytes = (size_t)q->arch.layers * copies * sizeof *q->split;
  for (uint32_t layer = 0; layer < q->arch.layers; layer++) {
    char name[QN_ITEM_NAME_BYTES];
    qn_format(name, sizeof name, "layers.%u.ffn.down.weight", layer);
    QN_TRY(qn_source_read(q->source, name, 2, dim, q->floats, NULL));
    qn_split_choose(q->floats, q->arch.width, ffn, copies, q->split + (size_t)layer * copies, (uint32_t *)q->sums,
                    q->scale);
  }
  return QUERN_OK;
}

/* The maxima of a linear operator's input; those of copies, in the working memory for scales, are their neurons'. */
static const float *maxima_of(quantizer *q, const qn_item *it) {
  const float *maxima = qn_maxima_of(&q->maxima, (uint32_t)it->layer, (uint32_t)it->input);
  const uint32_t copies = it->column_copies;
  if (!copies) return maxima;
  memcpy(q->scale, maxima, (it->k - copies) * sizeof *maxima);
  qn_split_rows(q->scale, it->k - copies, 1, copies, q->split + (size_t)it->layer * copies);
  return q->scale;
}

static quern_status write_linear(quantizer *q, const qn_item *it) {
  size_t floats = it->n * sizeof(float);
  if (is_smoothed(q, it)) qn_smooth(q->floats, it->n, it->k, (uint32_t)it->input, maxima_of(q, it), q->smooth);
  if (bits_of(q, it) == 4) {
    const size_t scales = qk_weight_bytes_f32(it->n, qk_groups(it->k, group_of(q, it)));
    qn_pack_linear_u4(q->floats, it->n, it->k, group_of(q, it), q->packed, q->scale, q->min, q->sums);
    QN_TRY(write_part(q, it, ".weight", q->packed, qk_weight_bytes(it->n, it->k, 4)));
    QN_TRY(write_part(q, it, ".scale", q->scale, scales));
    if (q->min) QN_TRY(write_part(q, it, ".min", q->min, scales));
    QN_TRY(write_part(q, it, ".sums", q->sums, floats));
  } else if (is_int8(q, it)) {
    if (it->column_copies)
      qn_split_share(q->floats, it->n, it->k - it->column_copies, it->column_copies,
                     q->split + (size_t)it->layer * it->column_copies);
    qn_pack_linear_i8(q->floats, it->n, it->k, q->packed, q->scale, q->sums);
    QN_TRY(write_part(q, it, ".weight", q->packed, qk_weight_bytes_i8(it->n, it->k)));
    QN_TRY(write_part(q, it, ".scale", q->scale, floats));
    QN_TRY(write_part(q, it, ".sums", q->sums, it->n * sizeof(int32_t)));
  } else {
    qn_pack_linear_f32(q->floats, it->n, it->k, q->packed);
    QN_TRY(write_part(q, it, ".weight", q->packed, qk_weight_bytes_f32(it->n, it->k)));
  }
  if (is_smoothed(q, it)) QN_TRY(write_part(q, it, ".smooth", q->smooth, it->k * sizeof *q->smooth));
  return it->has_bias ? write_part(q, it, ".bias", q->bias, floats) : QUERN_OK;
}

static quern_status write_item(quantizer *q, qn_item *it, qn_report_row **row) {
  size_t elements = (size_t)it->n * it->k;
  QN_TRY(read_item(q, it));
  if (it->kind == QN_ITEM_LINEAR) {
    QN_TRY(write_linear(q, it));
  } else if (bits_of(q, it) < 8) {
    const uint32_t bits = bits_of(q, it), group = group_of(q, it);
    qn_pack_rows_small(q->floats, it->n, it->k, bits, group, q->packed, q->scale, q->step,
                       q->smooth); /* of k floats: room for two a group */
    QN_TRY(write_part(q, it, "", q->packed, it->n * qk_table_row(it->k, bits)));
    QN_TRY(write_part(q, it, ".scale", q->scale, 2 * it->n * sizeof *q->scale));
    QN_TRY(write_part(q, it, ".step", q->step, it->n * qk_groups(it->k, group) * 2));
  } else if (is_int8(q, it)) {
    qn_pack_rows_i8(q->floats, it->n, it->k, q->packed, q->scale);
    QN_TRY(write_part(q, it, "", q->packed, elements));
    QN_TRY(write_part(q, it, ".scale", q->scale, it->n * sizeof *q->scale));
  } else {
    QN_TRY(write_part(q, it, "", q->floats, elements * sizeof(float)));
  }
  if (it->kind == QN_ITEM_VECTOR || it->kind == QN_ITEM_RELATIVE) return QUERN_OK;
  if (bits_of(q, it) <= 8) measure(q, it, *row);
  ++*row;
  return QUERN_OK;
}

static quern_status step(quantizer *q, const char *what) {
  if (q->job->progress && q->job->progress(q->job->progress_user, q->done, q->total, what)) {
    return qn_fail(&q->env->error, QUERN_E_CANCELLED, "quantization was cancelled; nothing was written");
  }
  q->done++;
  return QUERN_OK;
}

static quern_status write_all(quantizer *q) {
  qn_report_row *row = q->report.rows;
  uint32_t count = qn_item_count(&q->arch), head = QN_EMBED_ITEMS + QN_LAYER_ITEMS * q->arch.layers;
  q->total = 1 + (uint64_t)q->arch.layers + (qn_has_outputs(&q->arch) ? 1 : 0);
  for (uint32_t i = 0; i < count; i++) {
    char what[32] = "embeddings";
    qn_item it;
    if (i >= QN_EMBED_ITEMS) qn_format(what, sizeof what, "layers.%u", (i - QN_EMBED_ITEMS) / QN_LAYER_ITEMS);
    if (i >= head) qn_format(what, sizeof what, "head");
    if (i == 0 || (i >= QN_EMBED_ITEMS && (i - QN_EMBED_ITEMS) % QN_LAYER_ITEMS == 0)) QN_TRY(step(q, what));
    qn_item_at(&q->arch, i, &it);
    if (it.n > 0) QN_TRY(write_item(q, &it, &row));
  }
  return step(q, "done");
}

/* ---- the job ---- */

static double worst_weight_error(const qn_report *r) {
  double worst = 0;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear && r->rows[i].error > worst) worst = r->rows[i].error;
  return worst;
}

static quern_status run_job(quantizer *q, quern_quantize_result *result) {
  const qn_quantize_job *job = q->job;
  uint64_t bytes;
  QN_TRY(qn_recipe_load(&q->recipe, q->env, job->recipe ? job->recipe : "int8"));
  QN_TRY(qn_source_open(&q->source, q->env, job->src, job->limit));
  q->arch = *qn_source_arch(q->source);
  q->arch.recipe = q->recipe.id;
  q->arch.ffn_copies = (uint32_t)qn_min_size(q->recipe.split, QN_MAX_FFN - q->arch.ffn);
  q->arch.ffn += q->arch.ffn_copies;
  QN_TRY(qn_arch_check(&q->arch, q->env, QUERN_E_SOURCE));
  if (job->calibration) {
    qn_log(q->env, 1, "recipe %s needs no calibration text; %s is not read", q->recipe.name, job->calibration);
  }
  if (q->recipe.smooth) QN_TRY(qn_maxima_observe(&q->maxima, q->env, job));
  QN_TRY(qrn_writer_create(&q->writer, q->env));
  QN_TRY(declare_all(q)); /* first: from here on the config's sizes are those of tensors that are there */
  QN_TRY(put_meta(q));
  QN_TRY(put_sites(q));
  QN_TRY(reserve(q));
  QN_TRY(choose_splits(q));
  QN_TRY(job->memory ? qrn_writer_start_memory(q->writer, job->memory)
                     : qrn_writer_start(q->writer, job->dst, job->dry_run));
  QN_TRY(write_all(q));
  q->report.source = qn_source_name(q->source);
  q->report.recipe = &q->recipe;
  q->report.arch = &q->arch;
  q->report.source_bytes = qn_source_weight_bytes(q->source);
  if (job->report) QN_TRY(qn_report_write(&q->report, q->env, job->report));
  QN_TRY(qrn_writer_finish(q->writer, &bytes));
  if (result) {
    result->source_bytes = q->report.source_bytes;
    result->bytes = bytes;
    result->worst_weight_error = worst_weight_error(&q->report);
  }
  return QUERN_OK;
}

/* Everything that a job allocates and releases, whatever happens. */
static quern_status run_and_release(qn_env *env, const qn_quantize_job *job, quern_quantize_result *result) {
  quantizer q = {.env = env, .job = job};
  qn_fpenv guard = qn_fpenv_enter();
  quern_status status = run_job(&q, result);
  qn_fpenv_leave(guard);
  qrn_writer_free(q.writer);
  qn_source_close(q.source);
  qn_buffer_free(env, &q.rows_found);
  qn_free(env, q.split, q.split_bytes);
  qn_free(env, q.floats, q.floats_bytes);
  qn_free(env, q.packed, q.packed_bytes);
  qn_free(env, q.scale, q.scales * sizeof *q.scale);
  qn_free(env, q.min, q.scales * sizeof *q.min);
  qn_free(env, q.step, q.steps);
  qn_free(env, q.bias, q.rows * sizeof *q.bias);
  qn_free(env, q.sums, q.rows * sizeof(int32_t));
  qn_free(env, q.smooth, q.rows * sizeof *q.smooth);
  qn_maxima_free(env, &q.maxima);
  return status;
}

/* The host's allocator with the job's limit on what is live at once. One thread. */
typedef struct budget {
  const quern_allocator *host;
  uint64_t left, refused; /* refused: bytes of the allocation that did not fit; 0: none */
} budget;

static void *budget_alloc(void *user, size_t size, size_t align) {
  budget *b = user;
  void *p = NULL;
  if (size > b->left)
    b->refused = size;
  else
    p = b->host->alloc(b->host->user, size, align);
  if (p) b->left -= size;
  return p;
}

static void budget_free(void *user, void *p, size_t size) {
  budget *b = user;
  b->left += size;
  b->host->free(b->host->user, p, size);
}

quern_status qn_quantize(qn_env *env, const qn_quantize_job *job, quern_quantize_result *result) {
  if (!job->limit) return run_and_release(env, job, result);
  qn_env limited;
  char message[QN_ERROR_BYTES];
  budget b = {.host = &env->alloc, .left = job->limit};
  const quern_allocator alloc = {sizeof alloc, 0, &b, budget_alloc, budget_free};
  qn_env_init(&limited, &alloc, env->log, env->log_user, env->log_level);
  quern_status status = run_and_release(&limited, job, result);
  if (status == QUERN_E_MEMORY && b.refused) {
    return qn_fail(&env->error, QUERN_E_LIMIT,
                   "quantizing needs more memory than the limit of %llu bytes: %llu more do not fit",
                   (unsigned long long)job->limit, (unsigned long long)b.refused);
  }
  qn_error_copy(&limited.error, message, sizeof message);
  return status == QUERN_OK ? status : qn_fail(&env->error, status, "%s", message);
}
