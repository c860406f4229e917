/* input_transform.c - see input_transform.h. Every step is a product with a small matrix, the same for all blocks of all rows, by the kernels' float
 * products, or moves channels. */
#include "quant/input_transform.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/calibrate.h"
#include "quant/greedy.h"
#include "quant/orthogonal.h"
#include "quant/zigzag.h"
#include "run/linear.h"

#define TASK_ROWS 32u

/* ---- shape ------------------------------------------------------------------------------------------------------- */

qn_transform_shape qn_transform_shape_of(const qn_recipe *r, uint32_t k) {
  qn_transform_shape s = {.block = r->block ? r->block : 128, .steps = r->steps};
  const int any = r->rotate || r->rotate2 != QN_ROTATE2_NONE;
  while (s.block > 16 && k % s.block != 0) s.block /= 2;
  if (!any || k % s.block != 0) return (qn_transform_shape){0};
  s.first = r->rotate;
  s.order = r->permute;
  s.second = r->rotate2 == QN_ROTATE2_DENSE;
  s.signs = r->rotate2 == QN_ROTATE2_HADAMARD;
  return s;
}

qn_transform_shape qn_transform_shape_within(const qn_recipe *r, uint32_t h) {
  qn_transform_shape s = qn_transform_shape_of(r, h);
  if (!s.block) return s;
  s.first = s.first || s.second;
  s.signs = s.signs && !s.first;
  s.order = s.second = 0; /* one rotation after another in the same blocks is one */
  s.head = h;
  return s;
}

/* ---- rows through one step --------------------------------------------------------------------------------------- */

typedef struct task {
  const qn_products *e;
  const qn_transform *t;
  const float *panels; /* of the step's matrix as a linear operator; NULL: no product */
  const int8_t *signs;
  const int32_t *order;
  float *x, *work; /* [count, k]; [tasks at once: TASK_ROWS, k] */
  size_t count;
} task;

/* In place: rows of a task are copied to where no other task writes. */
static void run_rows(void *user, uint32_t index) {
  const task *s = user;
  const size_t k = s->t->k, b = s->t->block, r0 = (size_t)index * TASK_ROWS, n = qn_min_size(TASK_ROWS, s->count - r0);
  float *x = s->x + r0 * k, *work = s->work + r0 * k;
  for (size_t r = 0; r < n; r++)
    for (size_t i = 0; i < k; i++) {
      const float v = x[r * k + (s->order ? (size_t)s->order[i] : i)];
      work[r * k + i] = s->signs ? v * (float)s->signs[i] : v;
    }
  if (!s->panels) {
    memcpy(x, work, n * k * sizeof *x);
    return;
  }
  const qn_linear l = {.n = (uint32_t)b, .k = (uint32_t)b, .dtype = QRN_F32, .weight = s->panels};
  const qn_product p = {.linear = &l, .x = work, .out = x, .ldo = b};
  qn_product_run(s->e->kernels, &p, 0, n * k / b, 0, qk_panels(b));
}

static void run_step(task *s) {
  qn_pool_run(s->e->pool, run_rows, s, (uint32_t)((s->count + TASK_ROWS - 1) / TASK_ROWS));
}

/* What rows are multiplied by, y_j = sum of x_i m_ij, as panels of outputs by inputs; inverse: what weights are, its inverse turned round. */
static quern_status matrix_panels(const qn_products *e, const int16_t *m, uint32_t b, int inverse, float *panels) {
  const size_t bytes = 3 * (size_t)b * b * sizeof(double);
  void *work = NULL;
  QN_TRY(qn_alloc(e->env, &work, bytes, "the inverse of a rotation"));
  double *by = work;
  if (inverse) qn_orthogonal_inverse(m, b, by, by + (size_t)b * b);
  for (size_t j = 0; j < b; j++)
    for (size_t i = 0; i < b; i++)
      panels[(j / QK_PANEL * b + i) * QK_PANEL + j % QK_PANEL] = inverse ? (float)by[j * b + i]
                                                                         : (float)m[i * b + j] / QN_ROTATION_ONE;
  qn_free(e->env, work, bytes);
  return QUERN_OK;
}

static void hadamard_panels(uint32_t b, float *panels) {
  const float each = 1.0f / __builtin_sqrtf((float)b);
  for (uint32_t j = 0; j < b; j++)
    for (uint32_t i = 0; i < b; i++)
      panels[(j / QK_PANEL * b + i) * QK_PANEL + j % QK_PANEL] = __builtin_parity(i & j) ? -each : each;
}

static quern_status run_steps(task *s, int inverse, float *panels) {
  const qn_transform *t = s->t;
  if (t->first) {
    QN_TRY(matrix_panels(s->e, t->first, t->block, inverse, panels));
    s->panels = panels;
    run_step(s);
  }
  s->panels = NULL;
  s->order = t->order;
  if (t->second) {
    QN_TRY(matrix_panels(s->e, t->second, t->block, inverse, panels));
    s->panels = panels;
  } else if (t->signs) {
    hadamard_panels(t->block, panels);
    s->panels = panels;
    s->signs = t->signs;
  }
  if (s->panels || s->order) run_step(s);
  return QUERN_OK;
}

quern_status qn_transform_rows(const qn_transform *t, const qn_products *e, int inverse, float *x, size_t count) {
  const size_t floats = count * t->k + (size_t)t->block * t->block;
  void *work = NULL;
  QN_TRY(qn_alloc_array(e->env, &work, floats, sizeof(float), "rows in another basis"));
  task s = {.e = e, .t = t, .x = x, .work = work, .count = count};
  const quern_status status = run_steps(&s, inverse, s.work + count * t->k);
  qn_free(e->env, work, floats * sizeof(float));
  return status;
}

quern_status qn_transform_moments(const qn_transform *t, const qn_products *e, float *m) {
  const size_t k = t->k;
  for (size_t i = 0; i < k && !t->block; i++)
    for (size_t j = 0; j < i; j++) m[j * k + i] = m[i * k + j];
  for (int turn = 0; turn < 2 && t->block; turn++) {
    /* First the lower triangle, which is given, onto the upper one; then the columns, as rows. */
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < i; j++) {
        const float x = m[i * k + j], y = m[j * k + i];
        m[j * k + i] = x;
        if (turn) m[i * k + j] = y;
      }
    QN_TRY(qn_transform_rows(t, e, 0, m, k));
  }
  return QUERN_OK;
}

/* ---- finding one ------------------------------------------------------------------------------------------------- */

static void lay_out(qn_transform *t, qn_arena *a, const qn_transform_shape *s) {
  const size_t matrix = (size_t)s->block * s->block;
  if (s->first) t->first = qn_arena_take(a, matrix, sizeof *t->first);
  if (s->order) t->order = qn_arena_take(a, t->k, sizeof *t->order);
  if (s->second) t->second = qn_arena_take(a, matrix, sizeof *t->second);
  if (s->signs) t->signs = qn_arena_take(a, t->k, sizeof *t->signs);
}

static quern_status create(qn_transform *t, qn_env *env, const qn_transform_shape *s, uint32_t k) {
  qn_arena a = {0};
  *t = (qn_transform){.k = k, .block = s->block};
  lay_out(t, &a, s);
  const size_t bytes = a.used;
  QN_TRY(qn_alloc(env, &t->memory, bytes, "a transform"));
  memset(t->memory, 0, bytes);
  t->bytes = bytes;
  a = (qn_arena){.base = t->memory, .cap = bytes};
  lay_out(t, &a, s);
  return QUERN_OK;
}

void qn_transform_free(qn_env *env, qn_transform *t) {
  qn_free(env, t->memory, t->bytes);
  *t = (qn_transform){0};
}

static int16_t integer_of(float x) { return (int16_t)qn_pack_rint(qn_pack_held(x, -2, 2) * QN_ROTATION_ONE); }

/* What a search has in all its steps. */
typedef struct search {
  const qn_products *e;
  const qn_recipe *r;
  const qn_transform_shape *shape;
} search;

static quern_status find_rotation(const qn_transform *t, const search *s, uint64_t seed, const float *rows,
                                  size_t count, int16_t *to) {
  const qn_products *e = s->e;
  const size_t matrix = (size_t)t->block * t->block;
  const qn_greedy g = {e->kernels,    e->pool,           count, t->k, t->block, s->shape->steps,
                       s->r->restart, s->r->outlier_row, seed};
  void *work = NULL;
  quern_status status = QUERN_OK;
  QN_TRY(qn_alloc(e->env, &work, 3 * matrix * sizeof(double), "a rotation"));
  float *rotation = work;
  if (count) {
    status = qn_greedy_rotation(e->env, &g, rows, rotation);
    for (size_t i = 0; i < matrix && status == QUERN_OK; i++) to[i] = integer_of(rotation[i]);
  } else {
    double *m = work;
    qn_orthogonal_random(m, t->block, seed);
    for (size_t i = 0; i < matrix; i++) to[i] = integer_of((float)m[i]);
  }
  qn_free(e->env, work, 3 * matrix * sizeof(double));
  return status;
}

/* Rows with the same norm: codes have a scale for each, so that what counts is how a row's range compares with its norm. */
static void normalize(float *rows, size_t count, size_t k) {
  for (size_t r = 0; r < count; r++) {
    double sum = 0;
    for (size_t i = 0; i < k; i++) sum += (double)rows[r * k + i] * (double)rows[r * k + i];
    const float by = sum > 0 ? (float)(1 / __builtin_sqrt(sum / (double)k)) : 0;
    for (size_t i = 0; i < k; i++) rows[r * k + i] *= by;
  }
}

double qn_trail_range(const float *rows, size_t count, size_t k) {
  double sum = 0;
  for (size_t r = 0; r < count; r++) {
    double low = 0, high = 0, power = 0;
    for (size_t i = 0; i < k; i++) {
      const double x = (double)rows[r * k + i];
      low = x < low ? x : low;
      high = x > high ? x : high;
      power += x * x;
    }
    if (power > 0) sum += (high - low) * (high - low) * (double)k / power;
  }
  return count ? __builtin_sqrt(sum / (double)count) : 0;
}

/* The largest of the blocks' means over the mean; order: NULL, as they are. */
static double uneven(const float *most, const int32_t *order, size_t k, size_t block) {
  double all = 0, largest = 0;
  for (size_t b = 0; b < k; b += block) {
    double sum = 0;
    for (size_t i = b; i < b + block; i++) sum += (double)most[order ? (size_t)order[i] : i];
    all += sum;
    largest = sum > largest ? sum : largest;
  }
  return all > 0 ? largest * (double)(k / block) / all : 1;
}

/* By the largest magnitudes of channels in rows. */
static quern_status find_order(const qn_transform *t, const qn_products *e, const float *rows, size_t count,
                               qn_trail *trail) {
  const size_t k = t->k;
  void *work = NULL;
  QN_TRY(qn_alloc_array(e->env, &work, 2 * k, sizeof(float), "the order of channels"));
  float *most = work;
  for (size_t r = 0; r < count; r++)
    for (size_t i = 0; i < k; i++) {
      const float x = rows[r * k + i], a = x < 0 ? -x : x;
      most[i] = a > most[i] ? a : most[i];
    }
  qn_zigzag(most, t->k, t->block, t->order, (uint32_t *)work + k);
  trail->uneven[0] = uneven(most, NULL, k, t->block);
  trail->uneven[1] = uneven(most, t->order, k, t->block);
  qn_free(e->env, work, 2 * k * sizeof(float));
  return QUERN_OK;
}

/* A transform of which only one part is there, for rows on their way through it. */
static qn_transform part_of(const qn_transform *t, int16_t *first, int32_t *order) {
  return (qn_transform){.k = t->k, .block = t->block, .first = first, .order = order};
}

qn_transform qn_transform_narrowed(const qn_transform *t, uint32_t k) {
  return (qn_transform){.k = k, .block = t->block, .first = t->first, .signs = t->signs};
}

static quern_status find(qn_transform *t, const search *s, uint64_t seed, float *rows, size_t count, qn_trail *trail) {
  const qn_products *e = s->e;
  const uint32_t head = s->shape->head ? s->shape->head : t->k;
  qn_transform part;
  normalize(rows, count, t->k);
  if (t->first) {
    QN_TRY(find_rotation(t, s, seed, rows, count, t->first));
    part = part_of(t, t->first, NULL);
    QN_TRY(qn_transform_rows(&part, e, 0, rows, count));
    trail->range[QN_TRAIL_FIRST] = qn_trail_range(rows, count, t->k);
  }
  if (t->order) {
    QN_TRY(find_order(t, e, rows, count, trail));
    part = part_of(t, NULL, t->order);
    QN_TRY(qn_transform_rows(&part, e, 0, rows, count));
  }
  if (t->second) { QN_TRY(find_rotation(t, s, seed + 1, rows, count, t->second)); }
  for (uint32_t i = 0; t->signs && i < t->k; i++) t->signs[i] = qn_draw(seed, i % head) & 1 ? -1 : 1;
  part = part_of(t, t->second, NULL);
  part.signs = t->signs;
  if (!t->second && !t->signs) return QUERN_OK;
  QN_TRY(qn_transform_rows(&part, e, 0, rows, count));
  trail->range[QN_TRAIL_SECOND] = qn_trail_range(rows, count, t->k);
  return QUERN_OK;
}

quern_status qn_transform_find(qn_transform *t, const qn_products *e, const qn_recipe *r,
                               const qn_transform_shape *shape, uint32_t k, uint64_t seed, float *rows, size_t count,
                               qn_trail *trail) {
  const search s = {e, r, shape};
  QN_TRY(create(t, e->env, shape, k));
  return shape->block ? find(t, &s, seed, rows, count, trail) : QUERN_OK;
}

void qn_transform_panels(const int16_t *m, uint32_t block, int16_t *panels) {
  for (size_t j = 0; j < block; j++)
    for (size_t i = 0; i < block; i++)
      panels[((j / QK_PANEL * block / 2 + i / 2) * QK_PANEL + j % QK_PANEL) * 2 + i % 2] = m[i * block + j];
}
