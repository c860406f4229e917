/* learn_clip.c - see learn_clip.h. With q = low + s c, s = (high - low) / top and the rounding taken for the identity, dq is
 * s' (c - u) of weights that lie at u between the ends, and the change of the end of those that are cut off. */
#include "quant/learn_clip.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "run/linear.h"

#define ROWS 32u /* output channels of a task */
#define TINY 0x1p-100f
#define PART_LEAST 0.2f
/* Of Adam: steps of a part, from the first to the last; decays. */
#define RATE 0.012f
#define RATE_END 0.001f
#define FIRST_DECAY 0.9f
#define SECOND_DECAY 0.98f

static void range_of(const float *w, size_t n, float *low, float *high) {
  *low = *high = 0;
  for (size_t i = 0; i < n; i++) {
    *low = w[i] < *low ? w[i] : *low;
    *high = w[i] > *high ? w[i] : *high;
  }
}

void qn_clip_grid(const float *w, size_t n, float top, float part, float *scale, float *min) {
  float low, high;
  range_of(w, n, &low, &high);
  *min = low * part;
  *scale = (high - low) * part / top;
  if (*scale < TINY) *scale = *min = 0;
}

/* An output channel at work; 0: the low end, 1: the high one. */
typedef struct channel {
  float end[2], part[2], slope[2], first[2], second[2];
  double least;
} channel;

typedef struct learning {
  const qn_products *e;
  const qn_learning *l;
  float *panels; /* C as a linear operator */
  float *work;   /* [n, 2 k]: errors of channels, and those times C */
  channel *channels;
} learning;

typedef struct grid {
  float low, scale, by;
} grid;
static grid grid_of(const channel *c, float top) {
  grid g = {.low = c->end[0] * c->part[0]};
  g.scale = (c->end[1] * c->part[1] - g.low) / top;
  g.by = g.scale > TINY ? 1.0f / g.scale : 0;
  return g;
}

static void errors_of(const learning *t, const channel *c, const float *w, float *error) {
  const grid g = grid_of(c, t->l->top);
  for (size_t i = 0; i < t->l->k; i++) {
    const float u = qn_pack_held((w[i] - g.low) * g.by, -1, t->l->top + 1);
    error[i] = g.low + g.scale * qn_pack_held(qn_pack_rint(u), 0, t->l->top) - w[i];
  }
}

static double cost_of(const float *error, const float *product, size_t k) {
  double sum = 0;
  for (size_t i = 0; i < k; i++) sum += (double)error[i] * (double)product[i];
  return sum;
}

/* By the errors' products with C. */
static void slopes_of(const learning *t, channel *c, const float *w, const float *product) {
  const grid g = grid_of(c, t->l->top);
  double between = 0, cut[2] = {0, 0};
  for (size_t i = 0; i < t->l->k; i++) {
    const float u = qn_pack_held((w[i] - g.low) * g.by, -1, t->l->top + 1), code = qn_pack_rint(u);
    if (code < 0)
      cut[0] += (double)product[i];
    else if (code > t->l->top)
      cut[1] += (double)product[i];
    else
      between += (double)product[i] * (double)(code - u);
  }
  between /= (double)t->l->top;
  c->slope[0] = (float)((cut[0] - between) * (double)c->end[0]);
  c->slope[1] = (float)((cut[1] + between) * (double)c->end[1]);
}

/* Adam's step; slopes by their size at the first one, so that floats hold their squares. */
static void move(channel *c, uint32_t step) {
  float decay1 = 1, decay2 = 1;
  for (uint32_t i = 0; i <= step; i++) decay1 *= FIRST_DECAY, decay2 *= SECOND_DECAY;
  const float rate = RATE + (RATE_END - RATE) * (float)step / (float)QN_LEARN_STEPS;
  for (int i = 0; i < 2; i++) {
    c->first[i] = FIRST_DECAY * c->first[i] + (1 - FIRST_DECAY) * c->slope[i];
    c->second[i] = SECOND_DECAY * c->second[i] + (1 - SECOND_DECAY) * c->slope[i] * c->slope[i];
    const float size = __builtin_sqrtf(c->second[i] / (1 - decay2));
    if (size > TINY) c->part[i] -= rate * (c->first[i] / (1 - decay1)) / size;
    c->part[i] = qn_pack_held(c->part[i], PART_LEAST, 1);
  }
}

/* What channels cost with their parts; the best so far is what the caller gets. */
static void measure(const learning *t, size_t r0, size_t rows) {
  const size_t k = t->l->k;
  float *error = t->work + r0 * 2 * k, *product = error + rows * k;
  for (size_t r = 0; r < rows; r++) errors_of(t, &t->channels[r0 + r], t->l->w + (r0 + r) * k, error + r * k);
  const qn_linear l = {.n = (uint32_t)k, .k = (uint32_t)k, .dtype = QRN_F32, .weight = t->panels};
  const qn_product p = {.linear = &l, .x = error, .out = product, .ldo = k};
  qn_product_run(t->e->kernels, &p, 0, rows, 0, qk_panels(k));
  for (size_t r = 0; r < rows; r++) {
    channel *c = &t->channels[r0 + r];
    const double cost = cost_of(error + r * k, product + r * k, k);
    if (!(cost < c->least)) continue;
    const grid g = grid_of(c, t->l->top);
    c->least = cost;
    t->l->scale[r0 + r] = g.by > 0 ? g.scale : 0;
    t->l->min[r0 + r] = g.by > 0 ? g.low : 0;
  }
}

static void learn_rows(void *user, uint32_t index) {
  const learning *t = user;
  static const float parts[] = {1.0f, 0.92f, 0.84f, 0.76f, 0.68f, 0.6f};
  const size_t k = t->l->k, r0 = (size_t)index * ROWS, rows = qn_min_size(ROWS, t->l->n - r0);
  float best[ROWS];
  double least[ROWS];
  for (size_t r = 0; r < rows; r++) {
    channel *c = &t->channels[r0 + r];
    *c = (channel){.least = 0x1p1000};
    range_of(t->l->w + (r0 + r) * k, k, &c->end[0], &c->end[1]);
    least[r] = c->least;
  }
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    for (size_t r = 0; r < rows; r++) t->channels[r0 + r].part[0] = t->channels[r0 + r].part[1] = parts[i];
    measure(t, r0, rows);
    for (size_t r = 0; r < rows; r++)
      if (t->channels[r0 + r].least < least[r]) least[r] = t->channels[r0 + r].least, best[r] = parts[i];
  }
  for (size_t r = 0; r < rows; r++)
    t->channels[r0 + r].part[0] = t->channels[r0 + r].part[1] = least[r] < 0x1p1000 ? best[r] : 1;
  for (uint32_t step = 0; step < QN_LEARN_STEPS; step++) {
    measure(t, r0, rows);
    for (size_t r = 0; r < rows; r++) {
      const float *product = t->work + r0 * 2 * k + (rows + r) * k;
      slopes_of(t, &t->channels[r0 + r], t->l->w + (r0 + r) * k, product);
      move(&t->channels[r0 + r], step);
    }
  }
  measure(t, r0, rows);
}

static void lay_out(learning *t, qn_arena *a) {
  const size_t k = t->l->k, n = t->l->n;
  t->panels = qn_arena_take(a, qk_weight_bytes_f32(k, k), 1);
  t->work = qn_arena_take(a, 2 * n * k, sizeof *t->work);
  t->channels = qn_arena_take(a, n, sizeof *t->channels);
}

quern_status qn_learn_clip(const qn_products *e, const qn_learning *l) {
  learning t = {.e = e, .l = l};
  qn_arena a = {0};
  void *memory = NULL;
  lay_out(&t, &a);
  if (a.overflow) return qn_fail(&e->env->error, QUERN_E_MEMORY, "learning ranges does not fit the address space");
  const size_t bytes = a.used;
  QN_TRY(qn_alloc(e->env, &memory, bytes, "learned ranges"));
  a = (qn_arena){.base = memory, .cap = bytes};
  lay_out(&t, &a);
  qn_pack_linear_f32(l->moments, l->k, l->k, t.panels);
  qn_pool_run(e->pool, learn_rows, &t, (uint32_t)((l->n + ROWS - 1) / ROWS));
  qn_free(e->env, memory, bytes);
  return QUERN_OK;
}
