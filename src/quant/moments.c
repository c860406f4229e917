/* moments.c - second moments of inputs (moments.h). Rows of a pass are kept until it has run, so that lanes may come in any order; then
 * they are added by the kernels' float products, which give the same bytes everywhere, in the order of the text. */
#include "quant/moments.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/smooth.h"
#include "run/linear.h"

#define BLOCK 64u        /* rows of a matrix that are kept together */
#define PASS_TOKENS 512u /* at least: what one text may have, if that is more */
#define PASS_TEXTS QN_CALIBRATION_BATCH

/* ---- the matrices ------------------------------------------------------------------------------------------------ */

/* Channels of the rows of block b of a matrix of k. */
static size_t block_width(size_t k, size_t b) { return qn_min_size(k, (b + 1) * BLOCK); }
/* Floats before block b. */
static size_t block_at(size_t b) { return b * (b + 1) / 2 * BLOCK * BLOCK; }
static size_t blocks_of(size_t k) { return (k + BLOCK - 1) / BLOCK; }
static size_t matrix_floats(size_t k) { return block_at(k / BLOCK) + k % BLOCK * k; }

/* Floats of the matrices of a layer before that of `input`; QN_SITE_KINDS: of all. */
static size_t matrix_at(const qn_moments *m, uint32_t input) {
  size_t floats = 0;
  for (uint32_t i = 0; i < input; i++) floats += matrix_floats(m->inputs.width[i]);
  return floats;
}

static float *matrix_of(const qn_moments *m, uint32_t layer, uint32_t input) {
  return m->data + layer * matrix_at(m, QN_SITE_KINDS) + matrix_at(m, input);
}

static quern_status create(qn_moments *m, qn_env *env, const qn_arch *a) {
  void *p = NULL;
  size_t floats;
  *m = (qn_moments){.inputs = qn_inputs_of(a, 0)};
  if (!qn_mul_size(matrix_at(m, QN_SITE_KINDS), m->inputs.layers, &floats))
    return qn_fail(&env->error, QUERN_E_MEMORY, "moments of activations do not fit the address space");
  QN_TRY(qn_alloc_array(env, &p, floats, sizeof *m->data, "moments of the activations"));
  m->data = p;
  m->bytes = floats * sizeof *m->data;
  return QUERN_OK;
}

void qn_moments_free(qn_env *env, qn_moments *m) {
  qn_free(env, m->data, m->bytes);
  *m = (qn_moments){0};
}

static size_t widest(const qn_inputs *l) {
  size_t width = 0;
  for (uint32_t i = 0; i < QN_SITE_KINDS; i++) width = qn_max_size(width, l->width[i]);
  return width;
}

uint64_t qn_moments_tokens_wanted(const qn_moments *m) { return (uint64_t)widest(&m->inputs) * QN_MOMENTS_TOKENS; }

void qn_moments_of(const qn_moments *m, uint32_t layer, uint32_t input, uint32_t copies, const uint32_t *source,
                   const float *smooth, float *c) {
  const float *from = matrix_of(m, layer, input);
  const size_t width = m->inputs.width[input], k = width + copies;
  for (size_t i = 0; i < k; i++)
    for (size_t j = 0; j <= i; j++) {
      const size_t a = i < width ? i : source[i - width], b = j < width ? j : source[j - width];
      const size_t row = qn_max_size(a, b), column = qn_min_size(a, b), block = row / BLOCK;
      const float x = from[block_at(block) + row % BLOCK * block_width(width, block) + column];
      c[i * k + j] = smooth ? x * smooth[i] * smooth[j] : x;
    }
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

typedef struct collector {
  qn_moments *m;       /* NULL: rows alone are kept */
  qn_samples *samples; /* NULL: none are */
  qn_env *env;
  const qn_quantize_job *job;
  const qn_calibration_text *text;
  quern_session *s;
  size_t rows_most;
  float *rows; /* what the operators of a pass took: of each layer and input [rows_most, width] */
  /* One operator's at a time: */
  const float *x; /* [count, width] */
  size_t count, width;
  float *columns, *panels; /* [width, count], and as the weights of a product */
  float *matrix;
} collector;

static float *rows_of(const collector *c, uint32_t layer, uint32_t input) {
  return c->rows + qn_inputs_at(&c->m->inputs, layer, input) * c->rows_most;
}

static void observe(void *user, const qn_seen *seen) {
  const collector *c = user;
  if (c->samples) qn_samples_see(c->samples, seen);
  if (!c->m || !qn_inputs_have(&c->m->inputs, seen->layer, seen->kind)) return;
  float *to = rows_of(c, seen->layer, seen->kind) + seen->row * seen->d;
  for (size_t r = 0; r < seen->rows; r++) memcpy(to + r * seen->d, seen->x + r * seen->ld, seen->d * sizeof *to);
}

/* Block b of the channels, turned round. */
static void turn(void *task, uint32_t b) {
  const collector *c = task;
  const size_t end = qn_min_size(c->width, (b + 1) * BLOCK);
  for (size_t i = b * BLOCK; i < end; i++)
    for (size_t r = 0; r < c->count; r++) {
      const float x = c->x[r * c->width + i];
      c->columns[i * c->count + r] = x;
      c->panels[(i / QK_PANEL * c->count + r) * QK_PANEL + i % QK_PANEL] = x;
    }
}

/* Adds to a block of rows of the matrix, the largest first. */
static void add(void *task, uint32_t index) {
  const collector *c = task;
  const size_t b = blocks_of(c->width) - 1 - index, ld = block_width(c->width, b);
  const size_t rows = qn_min_size(c->width - b * BLOCK, BLOCK);
  float *to = c->matrix + block_at(b);
  const qn_linear w = {.n = (uint32_t)ld, .k = (uint32_t)c->count, .dtype = QRN_F32, .weight = c->panels};
  const qn_product p = {.linear = &w, .x = c->columns + b * BLOCK * c->count, .residual = to, .out = to, .ldo = ld};
  qn_product_run(c->s->kernels, &p, 0, rows, 0, qk_panels(ld));
}

static quern_status add_pass(void *user, size_t first, uint32_t batch) {
  collector *c = user;
  const quern_session *s = c->s;
  const size_t rows = qn_calibration_rows(c->text);
  c->count = s->starts[batch - 1] + s->lens[batch - 1];
  if (c->samples) c->samples->base += c->count;
  if (c->m) c->m->tokens += c->count;
  for (uint32_t layer = 0; c->m && layer < c->m->inputs.layers; layer++)
    for (uint32_t input = 0; input < QN_SITE_KINDS; input++) {
      if (!qn_inputs_have(&c->m->inputs, layer, input)) continue;
      c->width = c->m->inputs.width[input];
      c->x = rows_of(c, layer, input);
      c->matrix = matrix_of(c->m, layer, input);
      qn_pool_run(s->pool, turn, c, (uint32_t)blocks_of(c->width));
      qn_pool_run(s->pool, add, c, (uint32_t)blocks_of(c->width));
    }
  if (c->job->progress && c->job->progress(c->job->progress_user, first + batch, rows, "calibration"))
    return qn_fail(&c->s->error, QUERN_E_CANCELLED, "calibration was cancelled; nothing was written");
  return QUERN_OK;
}

static quern_status run(collector *c) {
  c->s->observe = observe;
  c->s->observe_user = c;
  if (!c->text) return qn_random_run(c->s, c->job->seed);
  return qn_calibration_run(c->s, c->env, c->text, c->text->texts, add_pass, c, "calibrating", c->job->calibration);
}

/* Memory for the rows of a pass, and for one operator's of them. */
static quern_status run_with_memory(collector *c) {
  void *rows = NULL, *work = NULL;
  size_t floats;
  if (!c->m) return run(c);
  const size_t most = widest(&c->m->inputs);
  if (!qn_mul_size(c->m->inputs.stride * c->m->inputs.layers, c->rows_most, &floats))
    return qn_fail(&c->env->error, QUERN_E_MEMORY, "calibration does not fit the address space");
  const size_t turned = (most + qk_panels(most) * QK_PANEL) * c->rows_most;
  quern_status status = qn_alloc_array(c->env, &rows, floats, sizeof *c->rows, "inputs of a pass");
  if (status == QUERN_OK) status = qn_alloc_array(c->env, &work, turned, sizeof(float), "inputs of an operator");
  if (status == QUERN_OK) {
    c->rows = rows;
    c->columns = work;
    c->panels = c->columns + most * c->rows_most;
    status = run(c);
  }
  qn_free(c->env, work, turned * sizeof(float));
  qn_free(c->env, rows, floats * sizeof *c->rows);
  return status;
}

static quern_status run_model(void *user, quern_model *m) {
  collector *c = user;
  quern_session_options options = {.max_sequences = PASS_TEXTS};
  if (c->m) QN_TRY(create(c->m, c->env, &m->arch));
  if (c->samples) QN_TRY(qn_samples_create(c->samples, c->env, &m->arch, c->job->seed));
  if (m->arch.causal) { /* texts as long as its positions would take memory, and say little more */
    const size_t tokens = c->text && c->text->tokens_most ? QN_CALIBRATION_WINDOW : PASS_TOKENS;
    options.text_tokens = (uint32_t)qn_min_size(tokens, m->arch.positions);
    options.cache_tokens = (uint32_t)tokens + PASS_TEXTS * QN_PAGE_TOKENS;
  }
  QN_TRY(qn_session_resolve(&options, m, &c->env->error));
  options.max_tokens = (uint32_t)qn_max_size(c->text ? PASS_TOKENS : QN_RANDOM_TOKENS,
                                             m->arch.causal ? 0 : options.text_tokens);
  c->rows_most = options.max_tokens;
  QN_TRY(qn_session_create(&c->s, m, &options));
  const quern_status status = run_with_memory(c);
  qn_session_free(c->s);
  if (c->samples) qn_samples_end(c->samples);
  return status;
}

quern_status qn_moments_observe(qn_moments *m, qn_samples *samples, qn_env *env, const qn_quantize_job *job,
                                const qn_calibration_text *text) {
  collector c = {.m = m, .samples = samples, .env = env, .job = job, .text = text};
  return qn_with_float_model(env, job, run_model, &c);
}
