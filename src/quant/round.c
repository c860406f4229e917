/* round.c - rounding by second moments (round.h).
 *
 * With C = L L^T the error of an output channel is |L^T e|^2, e = q - w. Component j of L^T e is L_jj e_j + sum over i > j of L_ij e_i.
 * From the last input to the first the code is taken that makes this least, given those behind it: the nearest one to
 * w_j - sum over i > j of (L_ij / L_jj) e_i. This is what optimal brain compression (2208.11580) and GPTQ (2210.17323) do by the inverse
 * of C; without one it is the nearest plane algorithm. Inputs of large moments come last in L, so that their codes are chosen first and
 * their errors are made up for by others.
 *
 * C is scaled to a diagonal of 1 before it is damped and factored, in blocks of 64 inputs. Products of blocks are the kernels' float
 * products, which have one order on every instruction set; the rest is float and double as written. */
#include "quant/round.h"

#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "run/linear.h"

#define BLOCK 64u /* inputs between two products */
#define ROWS 32u  /* output channels that a lane takes at once */

typedef struct rounding {
  const qn_rounding *r;
  const qk_table *kernels;
  size_t k, ld, group, blocks, lanes; /* ld: k in whole panels; group: of inputs with one grid */
  uint32_t *order;                    /* [k] the inputs by ascending moments, as L has them */
  double *size;                       /* [k] the square root of an input's moment: what its error counts */
  float *l;      /* [k, ld] L, of which later the blocks on the diagonal are what errors do within them (weigh) */
  float *column; /* [k, BLOCK] of L, while it is made */
  float *corner; /* [BLOCK, BLOCK] the inverse of a block on the diagonal, as weights */
  float *
      panels; /* weights of products: of L's columns while it is made, then what errors of a block do to the inputs before it */
  float *lane; /* [lanes, lane_floats] */
  size_t lane_floats;
  float *out;
  size_t j0, j1; /* the block at work */
  atomic_uint next;
} rounding;

/* out [rows, n] = a [rows, k] w^T, or that added to it; columns up to panel `end`. */
static void multiply(const rounding *t, const float *a, size_t rows, const float *w, size_t n, size_t k, float *out,
                     size_t ldo, int adds, size_t end) {
  const qn_linear l = {.n = (uint32_t)n, .k = (uint32_t)k, .dtype = QRN_F32, .weight = w};
  const qn_product p = {.linear = &l, .x = a, .residual = adds ? out : NULL, .out = out, .ldo = ldo};
  qn_product_run(t->kernels, &p, 0, rows, 0, end);
}

/* ---- the factor -------------------------------------------------------------------------------------------------- */

/* Inputs by ascending size; of equal ones the first before. */
static void sort(const rounding *t) {
  for (size_t i = 0; i < t->k; i++) {
    size_t j = i;
    for (; j > 0 && t->size[t->order[j - 1]] > t->size[i]; j--) t->order[j] = t->order[j - 1];
    t->order[j] = (uint32_t)i;
  }
}

/* An input that was always zero, or that overflowed: its errors count by themselves. */
static int counts(float moment) { return moment > 0 && moment <= 0x1p120f; }

static void measure(const rounding *t) {
  for (size_t i = 0; i < t->k; i++) {
    const float x = t->r->moments[i * t->k + i];
    t->size[i] = counts(x) ? __builtin_sqrt((double)x) : 1;
  }
  sort(t);
}

/* C of two inputs, scaled and damped. */
static float scaled(const rounding *t, size_t i, size_t j) {
  const float *c = t->r->moments, x = i > j ? c[i * t->k + j] : c[j * t->k + i];
  if (i == j) return (float)(1 + QN_ROUND_DAMPING);
  if (!counts(c[i * t->k + i]) || !counts(c[j * t->k + j])) return 0;
  return (float)((double)x / (t->size[i] * t->size[j]));
}

/* Block b of rows. */
static void fill(void *task, uint32_t b) {
  const rounding *t = task;
  const size_t end = qn_min_size(t->k, (b + 1) * BLOCK);
  for (size_t i = b * BLOCK; i < end; i++)
    for (size_t j = 0; j < qk_round_up(end, QK_PANEL); j++)
      t->l[i * t->ld + j] = j <= i ? scaled(t, t->order[i], t->order[j]) : 0;
}

/* Lower triangle of a [n, n], definite, in place; without damping rounding could bring a pivot down to 0. */
static void cholesky(double a[BLOCK][BLOCK], size_t n) {
  for (size_t j = 0; j < n; j++) {
    for (size_t c = 0; c < j; c++) a[j][j] -= a[j][c] * a[j][c];
    a[j][j] = __builtin_sqrt(a[j][j] > QN_ROUND_DAMPING / 2 ? a[j][j] : QN_ROUND_DAMPING / 2);
    for (size_t i = j + 1; i < n; i++) {
      for (size_t c = 0; c < j; c++) a[i][j] -= a[i][c] * a[j][c];
      a[i][j] /= a[j][j];
    }
  }
}

static void invert(double a[BLOCK][BLOCK], size_t n, double inverse[BLOCK][BLOCK]) {
  for (size_t j = 0; j < n; j++)
    for (size_t i = j; i < n; i++) {
      double x = i == j;
      for (size_t c = j; c < i; c++) x -= a[i][c] * inverse[c][j];
      inverse[i][j] = x / a[i][i];
    }
}

/* Of the block on the diagonal its factor, and the inverse of that. */
static void factor_corner(const rounding *t) {
  double a[BLOCK][BLOCK], inverse[BLOCK][BLOCK];
  const size_t n = t->j1 - t->j0;
  float *l = t->l + t->j0 * t->ld + t->j0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= i; j++) a[i][j] = (double)l[i * t->ld + j];
  cholesky(a, n);
  invert(a, n, inverse);
  memset(t->corner, 0, qk_weight_bytes_f32(n, n));
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= i; j++) {
      l[i * t->ld + j] = (float)a[i][j];
      t->corner[(i / QK_PANEL * n + j) * QK_PANEL + i % QK_PANEL] = (float)inverse[i][j];
    }
}

/* A block of rows below it: their columns of L, and those as weights, negated. */
static void factor_column(void *task, uint32_t index) {
  const rounding *t = task;
  float in[BLOCK * BLOCK] = {0};
  const size_t n = t->j1 - t->j0, first = index * BLOCK, rows = qn_min_size(BLOCK, t->k - t->j1 - first);
  float *out = t->column + first * n, *l = t->l + (t->j1 + first) * t->ld + t->j0;
  for (size_t i = 0; i < rows; i++) memcpy(in + i * n, l + i * t->ld, n * sizeof *in);
  multiply(t, in, rows, t->corner, n, n, out, n, 0, qk_panels(n));
  for (size_t i = 0; i < rows; i++) {
    const size_t at = first + i;
    memcpy(l + i * t->ld, out + i * n, n * sizeof *l);
    for (size_t j = 0; j < n; j++) t->panels[(at / QK_PANEL * n + j) * QK_PANEL + at % QK_PANEL] = -out[i * n + j];
  }
}

/* What they take from the columns behind, up to the diagonal; the longest rows first. */
static void factor_rest(void *task, uint32_t index) {
  const rounding *t = task;
  const size_t n = t->j1 - t->j0, left = t->k - t->j1, first = ((left - 1) / BLOCK - index) * BLOCK;
  const size_t end = qn_min_size(first + BLOCK, left);
  multiply(t, t->column + first * n, end - first, t->panels, left, n, t->l + (t->j1 + first) * t->ld + t->j1, t->ld, 1,
           qk_panels(end));
}

static void factor(rounding *t, qn_pool *pool) {
  for (size_t b = 0; b < t->blocks; b++) {
    const uint32_t below = (uint32_t)(t->blocks - 1 - b);
    t->j0 = b * BLOCK;
    t->j1 = qn_min_size(t->j0 + BLOCK, t->k);
    factor_corner(t);
    qn_pool_run(pool, factor_column, t, below);
    qn_pool_run(pool, factor_rest, t, below);
  }
}

/* Floats of the weights of the blocks before b. */
static size_t panels_at(size_t b) { return b ? b * (b - 1) / 2 * BLOCK * BLOCK : 0; }

/* From L what an error at an input of block b does to the target of each one before it. */
static void weigh(void *task, uint32_t b) {
  const rounding *t = task;
  const size_t i0 = b * BLOCK, i1 = qn_min_size(i0 + BLOCK, t->k), n = i1 - i0;
  float *panels = t->panels + panels_at(b);
  for (size_t i = i0; i < i1; i++)
    for (size_t j = 0; j < i; j++) {
      const double own = (double)t->l[j * t->ld + j] * t->size[t->order[j]];
      const float x = (float)(-(double)t->l[i * t->ld + j] * t->size[t->order[i]] / own);
      if (j < i0)
        panels[(j / QK_PANEL * n + i - i0) * QK_PANEL + j % QK_PANEL] = x;
      else
        t->l[i * t->ld + j] = x;
    }
}

/* ---- codes ------------------------------------------------------------------------------------------------------- */

/* Some output channels at work. */
typedef struct channels {
  size_t first, rows;
  float *x;      /* [ROWS, ld] targets of their weights, in the order of L */
  float *values; /* [ROWS, k] of the codes chosen */
  float *errors; /* [ROWS, BLOCK] of a block */
  double cost[ROWS];
} channels;

/* Chooses the codes of a block, grids being `by` times as wide. nearest: to the weights, whatever they do. */
static void choose_block(const rounding *t, channels *c, size_t b, float by, int nearest) {
  const size_t i0 = b * BLOCK, i1 = qn_min_size(i0 + BLOCK, t->k), n = i1 - i0;
  for (size_t r = 0; r < c->rows; r++) {
    float *x = c->x + r * t->ld;
    qn_grid g = {0};
    for (size_t i = i1, group = SIZE_MAX; i-- > i0;) {
      const float *does = t->l + i * t->ld;
      const size_t at = t->order[i];
      if (at / t->group != group) {
        group = at / t->group;
        g = qn_grid_widened(qn_packed_grid(t->r->grids, &t->r->form, t->k, c->first + r, at), by);
      }
      const float w = t->r->w[(c->first + r) * t->k + at];
      const float value = qn_grid_code(&g, nearest ? w : x[i]) * g.scale + g.min, error = value - w;
      const double off = ((double)value - (double)x[i]) * (double)does[i] * t->size[at];
      c->cost[r] += off * off;
      c->values[r * t->k + at] = value;
      c->errors[r * n + i - i0] = error;
      for (size_t p = i0; p < i; p += QK_PANEL) /* whole panels: targets behind i are done with */
        for (size_t j = 0; j < QK_PANEL; j++) x[p + j] += does[p + j] * error;
    }
  }
}

static void choose(const rounding *t, channels *c, float by, int nearest) {
  memset(c->cost, 0, sizeof c->cost);
  for (size_t r = 0; r < c->rows; r++)
    for (size_t i = 0; i < t->k; i++) c->x[r * t->ld + i] = t->r->w[(c->first + r) * t->k + t->order[i]];
  for (size_t b = t->blocks; b-- > 0;) {
    const size_t before = b * BLOCK, n = qn_min_size(BLOCK, t->k - before);
    choose_block(t, c, b, by, nearest);
    if (b) multiply(t, c->errors, c->rows, t->panels + panels_at(b), before, n, c->x, t->ld, 1, before / QK_PANEL);
  }
}

/* The nearest codes, then those chosen, on grids that are wider or narrower too: of each channel what costs least. */
static void try_grids(const rounding *t, channels *c) {
  static const float factors[] = {1.0f, 1.0f, 1.08f, 1.04f, 0.96f, 0.92f, 0.88f, 0.84f, 0.8f, 0.76f, 0.72f};
  double least[ROWS];
  float best[ROWS];
  for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
    choose(t, c, factors[i], i == 0);
    for (size_t r = 0; r < c->rows; r++) {
      if (i && !(c->cost[r] < least[r])) continue;
      least[r] = c->cost[r];
      best[r] = factors[i];
      memcpy(t->out + (c->first + r) * t->k, c->values + r * t->k, t->k * sizeof *t->out);
    }
  }
  for (size_t r = 0; r < c->rows; r++) qn_packed_widen(t->r->grids, &t->r->form, t->k, c->first + r, best[r]);
}

static void run_lane(void *task, uint32_t lane) {
  rounding *t = task;
  float *x = t->lane + lane * t->lane_floats;
  channels c = {.x = x, .values = x + ROWS * t->ld, .errors = x + ROWS * (t->ld + t->k)};
  while ((c.first = (size_t)atomic_fetch_add(&t->next, 1) * ROWS) < t->r->n) {
    c.rows = qn_min_size(ROWS, t->r->n - c.first);
    try_grids(t, &c);
  }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void lay_out(rounding *t, qn_arena *a) {
  const size_t k = t->k;
  t->lane_floats = ROWS * (t->ld + k + BLOCK);
  t->order = qn_arena_take(a, k, sizeof *t->order);
  t->size = qn_arena_take(a, k, sizeof *t->size);
  t->l = qn_arena_take(a, k * t->ld, sizeof *t->l);
  t->column = qn_arena_take(a, k * BLOCK, sizeof *t->column);
  t->corner = qn_arena_take(a, BLOCK * BLOCK, sizeof *t->corner);
  t->panels = qn_arena_take(a, qn_max_size(panels_at(t->blocks), t->blocks * BLOCK * BLOCK), sizeof *t->panels);
  t->lane = qn_arena_take(a, t->lanes * t->lane_floats, sizeof *t->lane);
}

quern_status qn_round(qn_env *env, const struct qk_table *kernels, qn_pool *pool, const qn_rounding *r, float *out) {
  rounding t = {.r = r, .kernels = kernels, .k = r->k, .out = out};
  qn_arena a = {0};
  void *memory = NULL;
  t.ld = qk_round_up(t.k, QK_PANEL);
  t.group = r->form.group ? r->form.group : t.k;
  t.blocks = (t.k + BLOCK - 1) / BLOCK;
  t.lanes = qn_pool_threads(pool);
  lay_out(&t, &a);
  if (a.overflow) return qn_fail(&env->error, QUERN_E_MEMORY, "rounding does not fit the address space");
  const size_t bytes = a.used;
  QN_TRY(qn_alloc(env, &memory, bytes, "rounding by calibration"));
  a = (qn_arena){.base = memory, .cap = bytes};
  lay_out(&t, &a);
  measure(&t);
  qn_pool_run(pool, fill, &t, (uint32_t)t.blocks);
  factor(&t, pool);
  qn_pool_run(pool, weigh, &t, (uint32_t)t.blocks);
  qn_pool_run(pool, run_lane, &t, (uint32_t)t.lanes);
  qn_free(env, memory, bytes);
  return QUERN_OK;
}
