/* quantize.c - the quantize job: source -> packed tensors -> .qrn file, one tensor at a time.
 * Not here: what codes are (pack.c), where weights come from (import/), the file's bytes (format/).
 * A model is a list of items (items.h), each one tensor of the source and the tensors it becomes; the list is walked
 * twice, to declare and to write. Same source and recipe: same bytes. One job belongs to one thread. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/thread.h"
#include "kernels/layout.h"
#include "quant/balance.h"
#include "quant/calibrate.h"
#include "quant/fit_recipe.h"
#include "quant/fold.h"
#include "quant/groups.h"
#include "quant/permute.h"
#include "quant/quantizer.h"
#include "quant/relative.h"
#include "quant/split.h"
#include "quant/suppress.h"

static quern_status reserve(qn_quantizer *q) {
  void *p;
  QN_TRY(qn_alloc(q->env, &q->floats, q->floats_bytes, "the largest tensor"));
  QN_TRY(qn_alloc(q->env, &q->packed, q->packed_bytes, "the largest tensor, packed"));
  QN_TRY(qn_alloc_array(q->env, &p, q->scales, sizeof *q->scale, "scales"));
  q->scale = p;
  if (q->recipe.weight_min || q->recipe.head_min) {
    QN_TRY(qn_alloc_array(q->env, &p, q->scales, sizeof *q->min, "minima"));
    q->min = p;
  }
  if (q->recipe.activation_group && !q->recipe.activation_symmetric) {
    QN_TRY(qn_alloc_array(q->env, &p, q->scales, sizeof *q->group_sums, "sums by group"));
    q->group_sums = p;
  }
  QN_TRY(qn_alloc_array(q->env, &p, q->rows, sizeof *q->work, "the scales of a channel"));
  q->work = p;
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
static double value_of(const qn_quantizer *q, const qn_item *it, size_t r, size_t i) {
  const uint32_t bits = qn_quantizer_bits(q, it);
  if (it->kind == QN_ITEM_LINEAR) {
    const qn_form f = qn_quantizer_form(q, it);
    const qn_packed p = qn_quantizer_packed(q);
    return qn_packed_value(&p, &f, it->k, r, i);
  }
  if (bits < 8)
    return (double)qn_value_small(q->packed, q->scale, q->step, it->k, bits, q->recipe.embedding_group, r, i);
  return (double)((const int8_t *)q->packed)[r * it->k + i] * (double)q->scale[r];
}

/* Relative error of a quantized item into its report row. */
static void measure(const qn_quantizer *q, const qn_item *it, qn_report_row *row) {
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

/* Part p of an item's weights or bias, in rows `width` floats wide, into the rows of `to` that it gives; absent: they stay. */
static quern_status read_part(qn_quantizer *q, const qn_item *it, uint32_t p, const char *suffix, uint32_t rank,
                              float *to, size_t width, int *present) {
  char name[QN_ITEM_NAME_BYTES];
  uint64_t dim[2];
  size_t at = 0;
  (void)qn_item_source_shape(it, p, dim);
  qn_item_part_name(it, p, suffix, name);
  const uint64_t rows = dim[0], run = it->run ? it->run : rows;
  for (uint32_t i = 0; i < p; i++) at += it->run ? it->run : it->parts[i].rows;
  for (uint64_t r = 0; r < rows; r += run, at += it->part_count * run)
    QN_TRY(qn_source_read_rows(q->source, name, rank, dim, r, run, to + at * width, present));
  return QUERN_OK;
}

quern_status qn_quantizer_read(qn_quantizer *q, qn_item *it) {
  uint64_t dim[2];
  const uint32_t rank = qn_item_source_shape(it, 0, dim);
  if (it->kind == QN_ITEM_RELATIVE) {
    QN_TRY(qn_source_read(q->source, it->name, rank, dim, q->packed, NULL));
    qn_relative_expand(q->packed, it->n, q->arch.positions, q->floats);
    return QUERN_OK;
  }
  const uint32_t *split = q->split && it->layer >= 0 ? q->split + (size_t)it->layer * q->arch.ffn_copies : NULL;
  const int linear = it->kind == QN_ITEM_LINEAR;
  if (linear) memset(q->bias, 0, it->n * sizeof *q->bias);
  for (uint32_t p = 0; p < it->part_count; p++) {
    int present = 0;
    QN_TRY(read_part(q, it, p, linear ? ".weight" : "", rank, q->floats, dim[1], NULL));
    if (linear) QN_TRY(read_part(q, it, p, ".bias", 1, q->bias, 1, &present));
    it->has_bias |= present;
  }
  float end = 0;
  const qn_fold *fold = it->layer >= 0 ? qn_plan_fold(&q->plan, &q->arch, (uint32_t)it->layer, &end) : NULL;
  if (it->row_copies && fold) {
    qn_unfold_rows(q->floats, (uint32_t)dim[0], it->k, it->row_copies, fold);
    qn_unfold_bias(q->bias, (uint32_t)dim[0], it->row_copies, fold, end);
    it->has_bias = 1;
  } else if (it->row_copies) {
    qn_split_rows(q->floats, (uint32_t)dim[0], it->k, it->row_copies, split);
    qn_split_rows(q->bias, (uint32_t)dim[0], 1, it->row_copies, split);
  }
  if (it->column_copies && fold)
    qn_unfold_columns(q->floats, it->n, (uint32_t)dim[1], it->column_copies, fold);
  else if (it->column_copies)
    qn_split_columns(q->floats, it->n, (uint32_t)dim[1], it->column_copies, split);
  qn_migrate_item(&q->migration, it, q->floats);
  qn_permute_item(&q->plan, &q->arch, it, q->floats, q->bias, q->work);
  qn_balance_item(&q->maxima, &q->arch, it, q->floats, q->bias);
  return QUERN_OK;
}

/* Chooses the neurons to split in every layer, before anything is written. */
static quern_status choose_splits(qn_quantizer *q) {
  const uint32_t copies = q->arch.ffn_copies, ffn = q->arch.ffn - copies;
  const uint64_t dim[2] = {q->arch.width, ffn};
  void *p;
  if (!copies || q->plan.fold) return QUERN_OK;
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

static quern_status write_item(qn_quantizer *q, qn_item *it, qn_report_row **row) {
  size_t elements = (size_t)it->n * it->k;
  QN_TRY(qn_quantizer_read(q, it));
  if (q->recipe.transforms && q->smoothed.data) qn_fold_item(&q->smoothed, &q->arch, it, q->floats, q->bias);
  QN_TRY(qn_quantizer_merge(q, it));
  if (it->kind == QN_ITEM_LINEAR) {
    QN_TRY(qn_quantizer_write_linear(q, it));
  } else if (qn_quantizer_bits(q, it) < 8) {
    const uint32_t bits = qn_quantizer_bits(q, it), group = q->recipe.embedding_group;
    /* smooth has k floats: room for two a group. */
    qn_pack_rows_small(q->floats, it->n, it->k, bits, group, q->packed, q->scale, q->step, q->smooth);
    QN_TRY(qn_quantizer_write(q, it, "", q->packed, it->n * qk_table_row(it->k, bits)));
    QN_TRY(qn_quantizer_write(q, it, ".scale", q->scale, 2 * it->n * sizeof *q->scale));
    QN_TRY(qn_quantizer_write(q, it, ".step", q->step, it->n * qk_groups(it->k, group) * 2));
  } else if (qn_quantizer_bits(q, it) == 8) {
    qn_pack_rows_i8(q->floats, it->n, it->k, qn_quantizer_most(q, it), q->packed, q->scale);
    QN_TRY(qn_quantizer_write(q, it, "", q->packed, elements));
    QN_TRY(qn_quantizer_write(q, it, ".scale", q->scale, it->n * sizeof *q->scale));
  } else {
    QN_TRY(qn_quantizer_write(q, it, "", q->floats, elements * sizeof(float)));
  }
  if (it->kind == QN_ITEM_VECTOR || it->kind == QN_ITEM_RELATIVE) return QUERN_OK;
  if (qn_quantizer_bits(q, it) <= 8) measure(q, it, *row);
  ++*row;
  return QUERN_OK;
}

static quern_status step(qn_quantizer *q, const char *what) {
  if (q->job->progress && q->job->progress(q->job->progress_user, q->done, q->total, what)) {
    return qn_fail(&q->env->error, QUERN_E_CANCELLED, "quantization was cancelled; nothing was written");
  }
  q->done++;
  return QUERN_OK;
}

static quern_status write_all(qn_quantizer *q) {
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
  QN_TRY(qn_quantizer_write_vectors(q));
  return step(q, "done");
}

/* ---- the job ---- */

static double worst_weight_error(const qn_report *r) {
  double worst = 0;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear && r->rows[i].error > worst) worst = r->rows[i].error;
  return worst;
}

/* The name of a file, without its path. */
static const char *name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Ranges of a static recipe's sites, and what migrates, from calibration text. */
static quern_status calibrate(qn_quantizer *q, const qn_calibration_text *text) {
  const qn_recipe *r = &q->recipe;
  qn_quantize_job job = *q->job;
  if (r->clip || r->migrate >= QN_MIGRATE_BALANCED) {
    const qn_suppression s = {q->env, q->job, r, &q->arch, q->source, text};
    return qn_suppress(&s, &q->plan, &q->migration, &q->report.search_error);
  }
  if (r->max_loss > 0) {
    const qn_choosing c = {q->env, q->job, &q->arch, text};
    return qn_choose(&c, &q->recipe, &q->plan, &q->choice);
  }
  qn_observed seen = {0};
  job.migration = &q->migration;
  quern_status status = qn_calibrate(&seen, q->env, &job, text, qn_plan_needs_histograms(&q->plan), NULL);
  if (status == QUERN_OK) status = qn_plan_fill(&q->plan, q->env, &seen);
  qn_observed_free(q->env, &seen);
  return status;
}

/* Second moments and rows of inputs, as the recipe needs them. text: NULL with rows alone. */
static quern_status observe_inputs(qn_quantizer *q, const qn_calibration_text *text) {
  qn_moments *m = qn_quantizer_needs_moments(q) ? &q->moments : NULL;
  QN_TRY(qn_moments_observe(m, qn_quantizer_needs_samples(q) ? &q->samples : NULL, q->env, q->job, text));
  q->report.calibration_tokens = m ? m->tokens : 0;
  q->report.calibration_wanted = m ? qn_moments_tokens_wanted(m) : 0;
  if (q->report.calibration_tokens < q->report.calibration_wanted)
    qn_log(
        q->env, 1,
        "%s: %llu tokens are little to choose codes by, and can make the model worse than without: give %llu or more "
        "(a longer text, more --rows)",
        q->job->calibration, (unsigned long long)m->tokens, (unsigned long long)q->report.calibration_wanted);
  return QUERN_OK;
}

/* Draws the calibration text for fn. why: what a recipe has that needs it. */
static quern_status with_text(qn_quantizer *q, const char *why,
                              quern_status (*fn)(qn_quantizer *q, const qn_calibration_text *text)) {
  const qn_quantize_job *job = q->job;
  qn_calibration_text text = {0};
  if (!job->calibration)
    return qn_fail(&q->env->error, QUERN_E_ARGUMENT,
                   "recipe %s %s: give texts to calibrate on (--calibrate FILE, one text a line)", q->recipe.name, why);
  const uint32_t most = q->arch.causal ? QN_CALIBRATION_LONG : QN_CALIBRATION_ROWS;
  const uint32_t rows = job->calibration_rows ? job->calibration_rows : most;
  quern_status status = qn_calibration_select(&text, q->env, job, rows);
  if (status == QUERN_OK && text.unnamed)
    qn_log(q->env, 1, "%s: the first line names no columns of text (" QN_TEXT_COLUMNS "): every line is taken as text",
           job->calibration);
  if (status == QUERN_OK && job->calibration_rows > text.rows_found)
    qn_log(q->env, 1, "%s has %zu rows of text: all are taken, not %u", job->calibration, text.rows_found, rows);
  const size_t windows = job->calibration_rows ? job->calibration_rows : QN_CALIBRATION_WINDOWS;
  if (q->recipe.transforms) text.tokens_most = windows * QN_CALIBRATION_WINDOW;
  if (status == QUERN_OK) status = fn(q, &text);
  q->report.calibration = name_of(job->calibration);
  q->report.calibration_rows = qn_calibration_rows(&text);
  qn_calibration_free(q->env, &text);
  return status;
}

static quern_status plan_sites(qn_quantizer *q) {
  const qn_quantize_job *job = q->job;
  const int chooses = q->recipe.max_loss > 0;
  QN_TRY(qn_recipe_check_sites(&q->recipe, q->env, &q->arch));
  if (!chooses) QN_TRY(qn_plan_create(&q->plan, q->env, &q->arch, &q->recipe));
  if (job->plan) {
    qn_plan_copy(&q->plan, job->plan);
    return QUERN_OK;
  }
  if (!chooses && !qn_plan_needs_text(&q->plan) && q->recipe.migrate < QN_MIGRATE_BALANCED)
    return qn_plan_fill(&q->plan, q->env, NULL);
  return with_text(q, "has static ranges", calibrate);
}

/* What the recipe says of migration where that needs no text; or what this job is given. */
static quern_status choose_migration(qn_quantizer *q) {
  if (q->job->migration) {
    q->migration = *q->job->migration;
    return QUERN_OK;
  }
  const uint32_t mode = q->recipe.migrate;
  return q->recipe.clip || mode >= QN_MIGRATE_BALANCED
             ? QUERN_OK
             : qn_migration_create(&q->migration, q->env, q->source, &q->arch, mode, NULL);
}

static quern_status load_recipe(qn_quantizer *q) {
  const qn_quantize_job *job = q->job;
  if (job->made) {
    q->recipe = *job->made;
    return QUERN_OK;
  }
  QN_TRY(qn_recipe_load(&q->recipe, q->env, job->recipe ? job->recipe : "int8"));
  if (job->max_loss <= 0) return QUERN_OK;
  if (q->recipe.max_loss <= 0)
    return qn_fail(
        &q->env->error, QUERN_E_ARGUMENT,
        "a greatest loss (--max-loss) is for recipes that choose by it: auto, or a file with \"max_loss\"; not for %s",
        q->recipe.name);
  q->recipe.max_loss = job->max_loss;
  return QUERN_OK;
}

/* By text where there is some. */
static void settle_rounding(qn_quantizer *q) {
  if (q->recipe.rounding != QN_ROUNDING_EITHER) return;
  q->recipe.rounding = q->job->calibration ? QN_ROUNDING_CALIBRATED : QN_ROUNDING_NEAREST;
  if (!q->job->calibration && q->arch.causal)
    qn_log(q->env, 1,
           "recipe %s of a decoder without text: codes are the nearest, which lose more than those that a few hundred "
           "paragraphs are given for (--calibrate FILE --rows N)",
           q->recipe.name);
}

/* Room for smoothing vectors that are needed after their operator is written. */
static quern_status keep_smoothing(qn_quantizer *q) {
  void *p = NULL;
  if (!q->recipe.smooth || !(q->job->report || q->recipe.transforms)) return QUERN_OK;
  q->smoothed.inputs = qn_inputs_of(&q->arch, 0);
  const size_t channels = q->smoothed.inputs.stride * q->smoothed.inputs.layers;
  q->smoothed.bytes = channels * sizeof(float);
  QN_TRY(qn_alloc_array(q->env, &p, channels, sizeof(float), "smoothing vectors"));
  q->smoothed.data = p;
  return QUERN_OK;
}

/* What a report tells of calibration text, before anything is written. */
static quern_status examine(qn_quantizer *q) {
  const qn_quantize_job *job = q->job;
  if (!job->report) return QUERN_OK;
  if (q->samples.rows) {
    QN_TRY(qn_buffer_reserve(q->env, &q->trails, q->arch.layers * QN_SITE_KINDS * sizeof(qn_trail)));
    memset(q->trails.data, 0, q->trails.cap);
  }
  /* Places between operators are those of encoders like BERT. */
  if (!job->calibration || q->recipe.id == QN_RECIPE_FLOAT || !qn_arch_is_bert_like(&q->arch)) return QUERN_OK;
  const qn_examining e = {q->env, job, &q->recipe, &q->arch, &q->plan, &q->migration};
  return qn_examine(&e, &q->examined);
}

static quern_status write_report(qn_quantizer *q) {
  qn_report *r = &q->report;
  r->source = qn_source_name(q->source);
  r->recipe = &q->recipe;
  r->arch = &q->arch;
  r->plan = &q->plan;
  r->seed = q->job->seed;
  r->examined = &q->examined;
  r->choice = &q->choice;
  r->migration = &q->migration;
  r->smooth = &q->smoothed;
  r->trails = (const qn_trail *)(const void *)q->trails.data;
  r->samples = &q->samples;
  if (q->examined.layers) {
    r->calibration = name_of(q->job->calibration);
    r->calibration_rows = q->examined.before.texts;
  }
  return qn_report_write(r, q->env, q->job->report);
}

/* The file that is written replaces none of those that it is made from, in a dry run either. */
static quern_status check_output(qn_quantizer *q) {
  const qn_quantize_job *job = q->job;
  const int preset = job->recipe && qn_recipe_preset_json(job->recipe);
  const char *const from[] = {job->src, job->calibration, preset ? NULL : job->recipe};
  for (size_t i = 0; job->dst && i < sizeof from / sizeof from[0]; i++)
    if (from[i] && qn_path_same(from[i], job->dst))
      return qn_fail(&q->env->error, QUERN_E_ARGUMENT, "%s is what the model is made from: name another file to write",
                     job->dst);
  if (job->report) QN_TRY(qn_report_check(q->env, job->report));
  return job->dst && !job->dry_run ? qn_output_check(q->env, job->dst) : QUERN_OK;
}

static quern_status run_job(qn_quantizer *q, quern_quantize_result *result) {
  const qn_quantize_job *job = q->job;
  uint64_t bytes;
  QN_TRY(check_output(q));
  QN_TRY(load_recipe(q));
  QN_TRY(qn_source_open(&q->source, q->env, job->src, job->limit));
  q->arch = *qn_source_arch(q->source);
  q->arch.recipe = q->recipe.id;
  QN_TRY(qn_fit_recipe(&q->recipe, &q->arch, q->env));
  settle_rounding(q);
  const uint32_t copies = q->recipe.unfold && qn_unfold_fits(q->arch.activation) ? q->recipe.unfold : q->recipe.split;
  q->arch.ffn_copies = (uint32_t)qn_min_size(copies, QN_MAX_FFN - q->arch.ffn);
  q->arch.ffn += q->arch.ffn_copies;
  QN_TRY(qn_arch_check(&q->arch, q->env, QUERN_E_SOURCE));
  QN_TRY(choose_migration(q));
  if (q->recipe.id == QN_RECIPE_STATIC) {
    QN_TRY(plan_sites(q));
  } else if (qn_quantizer_needs_moments(q)) {
    QN_TRY(with_text(q, q->recipe.rounding ? "rounds weights by calibration" : "learns ranges of weights",
                     observe_inputs));
  } else if (qn_quantizer_needs_samples(q)) {
    QN_TRY(job->calibration ? with_text(q, "", observe_inputs) : observe_inputs(q, NULL));
  } else if (job->calibration && !job->report) {
    qn_log(q->env, 1, "recipe %s needs no calibration text; %s is not read", q->recipe.name, job->calibration);
  }
  const int smooths = q->recipe.smooth && !q->recipe.transforms; /* those smooth by what samples show */
  if (smooths || qn_balances(&q->recipe, &q->arch)) QN_TRY(qn_maxima_observe(&q->maxima, q->env, job));
  QN_TRY(keep_smoothing(q));
  QN_TRY(examine(q));
  QN_TRY(qrn_writer_create(&q->writer, q->env));
  QN_TRY(qn_quantizer_size(q)); /* first: from here on the config's sizes are those of tensors that are there */
  QN_TRY(reserve(q));
  QN_TRY(choose_splits(q));
  QN_TRY(qn_quantizer_find_smooth(q));
  QN_TRY(qn_quantizer_choose_transforms(q));
  QN_TRY(qn_quantizer_declare(q));
  QN_TRY(qn_quantizer_describe(q));
  QN_TRY(job->memory ? qrn_writer_start_memory(q->writer, job->memory)
                     : qrn_writer_start(q->writer, job->dst, job->dry_run));
  QN_TRY(write_all(q));
  q->report.source_bytes = qn_source_weight_bytes(q->source);
  if (job->report) QN_TRY(write_report(q));
  QN_TRY(qrn_writer_finish(q->writer, &bytes));
  if (result) {
    result->source_bytes = q->report.source_bytes;
    result->bytes = bytes;
    result->worst_weight_error = worst_weight_error(&q->report);
    result->loss = q->choice.loss;
  }
  return QUERN_OK;
}

/* Everything that a job allocates and releases, whatever happens. */
static quern_status run_and_release(qn_env *env, const qn_quantize_job *job, quern_quantize_result *result) {
  qn_quantizer q = {.env = env, .job = job};
  qn_fpenv guard = qn_fpenv_enter();
  quern_status status = run_job(&q, result);
  qn_fpenv_leave(guard);
  qrn_writer_free(q.writer);
  qn_source_close(q.source);
  qn_buffer_free(env, &q.rows_found);
  if (!job->migration) qn_migration_free(env, &q.migration);
  qn_free(env, q.split, q.split_bytes);
  qn_free(env, q.floats, q.floats_bytes);
  qn_free(env, q.packed, q.packed_bytes);
  qn_free(env, q.scale, q.scales * sizeof *q.scale);
  qn_free(env, q.min, q.scales * sizeof *q.min);
  qn_free(env, q.group_sums, q.scales * sizeof *q.group_sums);
  qn_free(env, q.work, q.rows * sizeof *q.work);
  qn_free(env, q.step, q.steps);
  qn_free(env, q.bias, q.rows * sizeof *q.bias);
  qn_free(env, q.sums, q.rows * sizeof(int32_t));
  qn_free(env, q.smooth, q.rows * sizeof *q.smooth);
  qn_maxima_free(env, &q.maxima);
  qn_maxima_free(env, &q.smoothed);
  qn_examination_free(env, &q.examined);
  qn_moments_free(env, &q.moments);
  qn_samples_free(env, &q.samples);
  qn_transform_free(env, &q.merged);
  qn_free(env, q.shapes, q.shapes_bytes);
  qn_buffer_free(env, &q.trails);
  qn_plan_free(env, &q.plan);
  qn_choice_free(env, &q.choice);
  if (!job->made) qn_recipe_free(env, &q.recipe);
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
  budget b = {.host = &env->alloc, .left = job->limit};
  const quern_allocator alloc = {sizeof alloc, 0, &b, budget_alloc, budget_free};
  qn_env_init(&limited, &alloc, env->log, env->log_user, env->log_level);
  quern_status status = run_and_release(&limited, job, result);
  if (status == QUERN_E_MEMORY && b.refused) {
    return qn_fail(&env->error, QUERN_E_LIMIT,
                   "quantizing needs more memory than the limit of %llu bytes: %llu more do not fit",
                   (unsigned long long)job->limit, (unsigned long long)b.refused);
  }
  return qn_error_pass(&env->error, &limited.error, status);
}
