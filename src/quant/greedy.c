/* greedy.c - see greedy.h. The identity goes through all steps behind the rows: what it has become is the rotation.
 *
 * Once what stands out is spread, rows are near to normal noise, and further steps with the same matrix move about without getting lower:
 * on models the first step or two of a chain are the best. So a search begins anew after some steps, with the rows of the matrix in another
 * order and with other signs, which is another random matrix that spreads its first channel. */
#include "quant/greedy.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "quant/calibrate.h"
#include "quant/orthogonal.h"
#include "run/linear.h"

#define TASK_ROWS 16u /* rows of activations of a task */

/* What a task saw in its rows. */
typedef struct seen {
  double ranges; /* sum of squares */
  float most;
  size_t at; /* of that: row of blocks times the block, plus channel */
} seen;

typedef struct search {
  const qn_greedy *g;
  float *from, *to; /* [rows, k], then [block, block] */
  float *panels;    /* of the step as a linear operator */
  seen *seen;       /* [tasks] */
  uint32_t tasks;
} search;

/* Least and greatest of a row and 0: in lanes, so that compilers make vectors of them. */
static void ends_of(const float *x, size_t k, float *low, float *high) {
  float least[QK_LANES] = {0}, most[QK_LANES] = {0};
  *low = *high = 0;
  for (size_t i = 0; i < k; i += QK_LANES)
    for (size_t j = 0; j < QK_LANES; j++) {
      least[j] = x[i + j] < least[j] ? x[i + j] : least[j];
      most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
    }
  for (size_t j = 0; j < QK_LANES; j++) {
    *low = least[j] < *low ? least[j] : *low;
    *high = most[j] > *high ? most[j] : *high;
  }
}

static void measure(const search *s, uint32_t task, const float *x) {
  const size_t k = s->g->k, r0 = (size_t)task * TASK_ROWS, r1 = qn_min_size(r0 + TASK_ROWS, s->g->rows);
  seen all = {0, -1, 0};
  for (size_t r = r0; r < r1; r++) {
    float low, high;
    ends_of(x + r * k, k, &low, &high);
    all.ranges += (double)(high - low) * (double)(high - low);
    const float most = high > -low ? high : -low;
    if (!(most > all.most)) continue;
    size_t i = 0;
    while (x[r * k + i] != most && x[r * k + i] != -most) i++;
    all.most = most;
    all.at = r * k + i;
  }
  s->seen[task] = all;
}

static void measure_task(void *task, uint32_t i) {
  const search *s = task;
  measure(s, i, s->from);
}

/* Rows of a task through the step; the last task has the rotation. */
static void step_task(void *task, uint32_t i) {
  const search *s = task;
  const size_t b = s->g->block, each = TASK_ROWS * s->g->k / b, all = s->g->rows * s->g->k / b;
  const size_t r0 = i == s->tasks ? all : i * each, r1 = i == s->tasks ? all + b : qn_min_size(r0 + each, all);
  const qn_linear l = {.n = (uint32_t)b, .k = (uint32_t)b, .dtype = QRN_F32, .weight = s->panels};
  const qn_product p = {.linear = &l, .x = s->from, .out = s->to, .ldo = b};
  qn_product_run(s->g->kernels, &p, r0, r1, 0, qk_panels(b));
  if (i < s->tasks) measure(s, i, s->to);
}

static seen sum_up(const search *s) {
  seen all = s->seen[0];
  for (uint32_t t = 1; t < s->tasks; t++) {
    all.ranges += s->seen[t].ranges;
    if (s->seen[t].most > all.most) all.most = s->seen[t].most, all.at = s->seen[t].at;
  }
  return all;
}

/* The base matrix with channel d in the place of the first, and the first in its. */
static void make_step(const search *s, const double *base, size_t d) {
  const size_t b = s->g->block;
  for (size_t j = 0; j < b; j++)
    for (size_t i = 0; i < b; i++) {
      const size_t from = i == 0 ? d : i == d ? 0 : i, to = j == 0 ? d : j == d ? 0 : j;
      s->panels[(j / QK_PANEL * b + i) * QK_PANEL + j % QK_PANEL] = (float)base[from * b + to];
    }
}

/* Rows but the first in another order, with other signs. */
static void shuffle(double *base, size_t b, uint64_t seed, uint32_t turn) {
  for (size_t i = b - 1; i > 0; i--) {
    const uint64_t drawn = qn_draw(seed, ((uint64_t)turn + 1) * b + i);
    const size_t j = 1 + (size_t)((drawn >> 8) % i);
    const double sign = drawn & 1 ? -1 : 1;
    for (size_t c = 0; c < b; c++) {
      const double x = base[i * b + c];
      base[i * b + c] = sign * base[j * b + c];
      base[j * b + c] = i == j ? sign * x : x;
    }
  }
}

static void begin(search *s, const float *x) {
  const size_t b = s->g->block, all = s->g->rows * s->g->k;
  memcpy(s->from, x, all * sizeof *x);
  memset(s->from + all, 0, b * b * sizeof *s->from);
  for (size_t i = 0; i < b; i++) s->from[all + i * b + i] = 1;
}

static void run(search *s, double *base, const float *x, float *rotation) {
  const qn_greedy *g = s->g;
  const size_t b = g->block, all = g->rows * g->k;
  begin(s, x);
  qn_pool_run(g->pool, measure_task, s, s->tasks);
  const seen first = sum_up(s);
  double least = first.ranges;
  seen now = first;
  memcpy(rotation, s->from + all, b * b * sizeof *rotation);
  for (uint32_t i = 0; i < g->steps; i++) {
    if (i && g->restart && i % g->restart == 0) {
      begin(s, x);
      shuffle(base, b, g->seed, i);
      now = first;
    }
    make_step(s, base, (g->by_row ? now.at / b : now.at) % b);
    qn_pool_run(g->pool, step_task, s, s->tasks + 1);
    float *swap = s->from;
    s->from = s->to;
    s->to = swap;
    now = sum_up(s);
    if (!(now.ranges < least)) continue;
    least = now.ranges;
    memcpy(rotation, s->from + all, b * b * sizeof *rotation);
  }
}

quern_status qn_greedy_rotation(qn_env *env, const qn_greedy *g, const float *x, float *rotation) {
  const size_t b = g->block, floats = g->rows * g->k + b * b, tasks = (g->rows + TASK_ROWS - 1) / TASK_ROWS;
  const size_t bytes = 2 * b * b * sizeof(double) + (2 * floats + b * b) * sizeof(float) + tasks * sizeof(seen);
  void *memory = NULL;
  QN_TRY(qn_alloc(env, &memory, bytes, "the search for a rotation"));
  memset(memory, 0, bytes);
  double *base = memory;
  search s = {.g = g, .seen = (seen *)(void *)(base + 2 * b * b), .tasks = (uint32_t)tasks};
  s.from = (float *)(void *)(s.seen + tasks);
  s.to = s.from + floats;
  s.panels = s.to + floats;
  qn_orthogonal_spread(base, b, g->seed, base + b * b);
  if (g->rows)
    run(&s, base, x, rotation);
  else
    for (size_t i = 0; i < b * b; i++) rotation[i] = i % (b + 1) == 0;
  qn_free(env, memory, bytes);
  return QUERN_OK;
}
