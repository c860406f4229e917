/* reconstruct.c - reconstruct.h: forward and backward of one layer. Products and their transposes are gemm_f32, norms, softmax and
 * activations the kernels of the float model; the rest are plain loops. Slopes of a site are summed in double, in the order of the
 * values. One thread, but for products, whose rows are dealt to the pool. */
#include "quant/reconstruct.h"

#include <string.h>

#include "base/checked.h"
#include "quant/quant.h"

#define SLOPE_STEP 0x1p-6f /* on either side, for slopes of activations: of GELU within 4e-5 */

typedef struct sizes {
  size_t width, inner, ffn, heads, h;
} sizes;
static sizes sizes_of(const qn_reconstruct *r) {
  const qn_arch *a = &r->s->model->arch;
  return (sizes){a->width, (size_t)a->heads * a->head_dim, a->ffn, a->heads, a->head_dim};
}
static const qn_layer *layer_of(const qn_reconstruct *r) { return &r->s->model->layers[r->layer]; }

uint32_t qn_learn_kind(uint32_t i) {
  static const uint32_t kinds[QN_LEARNS] = {QN_SITE_QKV_IN,      QN_SITE_Q,         QN_SITE_K,          QN_SITE_V,
                                            QN_SITE_ATTN_OUT_IN, QN_SITE_FFN_UP_IN, QN_SITE_FFN_DOWN_IN};
  return kinds[i];
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void lay_out(qn_reconstruct *r, qn_arena *a) {
  const sizes z = sizes_of(r);
  const size_t n = r->rows, widest = qn_max_size(z.ffn, 3 * z.inner);
  float **const hidden[] = {&r->rounded, &r->sum, &r->mid,   &r->mid_rounded,
                            &r->last,    &r->out, &r->slope, &r->slope_more};
  float **const inner[] = {&r->context, &r->context_rounded};
  for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
    *hidden[i] = qn_arena_take(a, n * z.width, sizeof(float));
  for (size_t i = 0; i < 2; i++) *inner[i] = qn_arena_take(a, n * z.inner, sizeof(float));
  r->qkv = qn_arena_take(a, n * 3 * z.inner, sizeof(float));
  r->qkv_rounded = qn_arena_take(a, n * 3 * z.inner, sizeof(float));
  r->slope_qkv = qn_arena_take(a, n * 3 * z.inner, sizeof(float));
  r->before = qn_arena_take(a, n * z.ffn, sizeof(float));
  r->up = qn_arena_take(a, n * z.ffn, sizeof(float));
  r->up_rounded = qn_arena_take(a, n * z.ffn, sizeof(float));
  r->slope_mid = qn_arena_take(a, n * widest, sizeof(float));
  r->probs = qn_arena_take(a, r->heads_floats, sizeof(float));
  r->weights = qn_arena_take(a, qn_max_size(widest * z.width, n), sizeof(float));
  r->turned[0] = qn_arena_take(a, 1, qk_weight_bytes_f32(z.width, 3 * z.inner));
  r->turned[1] = qn_arena_take(a, 1, qk_weight_bytes_f32(z.inner, z.width));
  r->turned[2] = qn_arena_take(a, 1, qk_weight_bytes_f32(z.width, z.ffn));
  r->turned[3] = qn_arena_take(a, 1, qk_weight_bytes_f32(z.ffn, z.width));
}

quern_status qn_reconstruct_create(qn_reconstruct *r, qn_env *env, const quern_session *s, size_t rows,
                                   size_t heads_floats) {
  qn_arena arena = {0};
  *r = (qn_reconstruct){.env = env, .s = s, .rows = rows, .heads_floats = heads_floats, .rounds = 1};
  lay_out(r, &arena);
  if (arena.overflow) return qn_fail(&env->error, QUERN_E_MEMORY, "a layer of this many tokens does not fit memory");
  QN_TRY(qn_alloc(env, &r->memory, arena.used, "a layer that learns its scales"));
  r->bytes = arena.used;
  arena = (qn_arena){.base = r->memory, .cap = r->bytes};
  lay_out(r, &arena);
  return QUERN_OK;
}

void qn_reconstruct_free(qn_reconstruct *r) {
  if (r->env) qn_free(r->env, r->memory, r->bytes);
  *r = (qn_reconstruct){0};
}

/* Panels of W [n, k] become panels of its transpose. */
static void turn(qn_reconstruct *r, const qn_linear *l, float *to) {
  const float *from = l->weight;
  for (size_t row = 0; row < l->n; row++)
    for (size_t i = 0; i < l->k; i++)
      r->weights[i * l->n + row] = from[row / QK_PANEL * QK_PANEL * l->k + i * QK_PANEL + row % QK_PANEL];
  qn_pack_linear_f32(r->weights, l->k, l->n, to);
}

void qn_reconstruct_layer(qn_reconstruct *r, uint32_t layer) {
  r->layer = layer;
  memset(r->site, 0, sizeof r->site);
  const qn_layer *l = layer_of(r);
  turn(r, &l->qkv, r->turned[0]);
  turn(r, &l->attn_out, r->turned[1]);
  turn(r, &l->ffn_up, r->turned[2]);
  turn(r, &l->ffn_down, r->turned[3]);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

typedef struct product {
  const qk_table *kernels;
  qk_gemm_f32 op;
  size_t rows, lanes;
} product;
static void product_lane(void *task, uint32_t lane) {
  const product *p = task;
  const size_t each = (p->rows + p->lanes - 1) / p->lanes, r0 = qn_min_size(lane * each, p->rows);
  p->kernels->gemm_f32(&p->op, r0, qn_min_size(r0 + each, p->rows), 0, qk_panels(p->op.n));
}
/* out [rows, n] = a [rows, k] times panels of W [n, k], plus bias and residual where they are. */
static void multiply(const qn_reconstruct *r, size_t rows, const float *a, const float *w, const float *bias,
                     const float *residual, float *out, size_t n, size_t k) {
  const qk_gemm_f32 op = {.a = a,
                          .w = w,
                          .bias = bias,
                          .residual = residual,
                          .out = out,
                          .lda = k,
                          .ldr = n,
                          .ldo = n,
                          .n = (uint32_t)n,
                          .k = (uint32_t)k};
  product p = {r->s->kernels, op, rows, r->s->lanes};
  qn_pool_run(r->s->pool, product_lane, &p, (uint32_t)p.lanes);
}
static void apply(const qn_reconstruct *r, const qn_linear *l, size_t rows, const float *a, const float *residual,
                  float *out) {
  multiply(r, rows, a, l->weight, l->bias, residual, out, l->n, l->k);
}

/* ---- sites ------------------------------------------------------------------------------------------------------- */

/* The code before it is rounded, held within the limits. */
static inline float code_of(const qn_learn *q, float by, float x) {
  const float c = x * by + q->zero;
  return c < q->lowest ? q->lowest : !q->open && c > q->highest ? q->highest : c;
}

/* Columns c0 ... c0 + d - 1 of rows of ld. y may be x. */
static void round_to(const qn_reconstruct *r, const qn_learn *q, const float *x, float *y, size_t rows, size_t ld,
                     size_t c0, size_t d) {
  const float by = 1.0f / q->scale;
  for (size_t i = 0; i < rows; i++) {
    const float *from = x + i * ld + c0;
    float *to = y + i * ld + c0;
    if (!q->on) {
      memmove(to, from, d * sizeof *to);
      continue;
    }
    for (size_t j = 0; j < d; j++) {
      const float c = code_of(q, by, from[j]);
      to[j] = ((r->rounds && c < 0x1p21f ? qn_pack_rint(c) : c) - q->zero) * q->scale;
    }
  }
}

/* slope: by what the site puts out; becomes that by what goes in, and what the site's own are is added. */
static void slope_of(const qn_reconstruct *r, qn_learn *q, const float *x, float *slope, size_t rows, size_t ld,
                     size_t c0, size_t d) {
  const float by = 1.0f / q->scale;
  if (!q->on) return;
  for (size_t i = 0; i < rows; i++) {
    const float *from = x + i * ld + c0;
    float *s = slope + i * ld + c0;
    double scale = 0, zero = 0;
    for (size_t j = 0; j < d; j++) {
      const float free = from[j] * by + q->zero, c = code_of(q, by, from[j]);
      if (free != c) {
        scale += (double)(s[j] * (c - q->zero));
        zero -= (double)(s[j] * q->scale);
        s[j] = 0;
      } else if (r->rounds && c < 0x1p21f) {
        scale += (double)(s[j] * (qn_pack_rint(c) - c));
      }
    }
    q->slope_scale += scale;
    q->slope_zero += zero;
  }
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

typedef struct head {
  const float *q, *k, *v; /* rows of 3 * inner */
  size_t n, ld, at;       /* at: of the head's channels, in rows of inner */
  const float *bias;      /* by key - query, log2 units; NULL: none */
  float *probs;           /* [n, n] */
} head;

static head head_at(const qn_reconstruct *r, size_t row, size_t n, size_t index, float *probs) {
  const sizes z = sizes_of(r);
  const size_t positions = r->s->model->arch.positions;
  const float *bias = r->s->model->relative_bias, *q = r->qkv_rounded + row * 3 * z.inner + index * z.h;
  return (head){q,
                q + z.inner,
                q + 2 * z.inner,
                n,
                3 * z.inner,
                row * z.inner + index * z.h,
                bias ? bias + index * (2 * positions - 1) + positions - 1 : NULL,
                probs};
}

#define LN_2 0.693147180559945309f

static void attend(const qn_reconstruct *r, const head *t) {
  const sizes z = sizes_of(r);
  const qk_table *k = r->s->kernels;
  for (size_t i = 0; i < t->n; i++) {
    float *p = t->probs + i * t->n, *out = r->context + t->at + i * z.inner;
    for (size_t j = 0; j < t->n; j++) {
      const float dot = k->dot(t->q + i * t->ld, t->k + j * t->ld, z.h) * r->s->fold;
      p[j] = (t->bias ? dot + t->bias[(ptrdiff_t)j - (ptrdiff_t)i] : dot) * LN_2;
    }
    k->softmax(p, p, t->n);
    memset(out, 0, z.h * sizeof *out);
    for (size_t j = 0; j < t->n; j++)
      for (size_t c = 0; c < z.h; c++) out[c] += p[j] * t->v[j * t->ld + c];
  }
}

/* slope: [rows, inner] by the context; slope_qkv: by queries, keys and values, zeros before. d: [n] scratch. */
static void attend_back(const qn_reconstruct *r, const head *t, const float *slope, float *to, float *d) {
  const sizes z = sizes_of(r);
  const float fold = r->s->fold * LN_2;
  for (size_t i = 0; i < t->n; i++) {
    const float *p = t->probs + i * t->n, *s = slope + t->at + i * z.inner, *q = t->q + i * t->ld;
    float *dq = to + i * t->ld, mean = 0;
    for (size_t j = 0; j < t->n; j++) {
      float *dv = to + 2 * z.inner + j * t->ld;
      for (size_t c = 0; c < z.h; c++) dv[c] += p[j] * s[c];
      d[j] = r->s->kernels->dot(s, t->v + j * t->ld, z.h);
      mean += p[j] * d[j];
    }
    for (size_t j = 0; j < t->n; j++) {
      const float by = p[j] * (d[j] - mean) * fold, *k = t->k + j * t->ld;
      float *dk = to + z.inner + j * t->ld;
      for (size_t c = 0; c < z.h; c++) dq[c] += by * k[c];
      for (size_t c = 0; c < z.h; c++) dk[c] += by * q[c];
    }
  }
}

/* Every head of every text. slope NULL: forward. */
static void all_heads(const qn_reconstruct *r, const uint32_t *lens, size_t texts, const float *slope, float *to) {
  const sizes z = sizes_of(r);
  size_t row = 0;
  float *probs = r->probs;
  for (size_t t = 0; t < texts; row += lens[t], t++)
    for (size_t i = 0; i < z.heads; i++, probs += (size_t)lens[t] * lens[t]) {
      const head h = head_at(r, row, lens[t], i, probs);
      if (slope)
        attend_back(r, &h, slope, to + (size_t)(h.q - r->qkv_rounded), r->weights);
      else
        attend(r, &h);
    }
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

static size_t count(const uint32_t *lens, size_t texts) {
  size_t rows = 0;
  for (size_t i = 0; i < texts; i++) rows += lens[i];
  return rows;
}

/* to = x times what shortcuts are multiplied by. */
static void shorten(const float *x, const float *by, float *to, size_t rows, size_t width) {
  for (size_t i = 0; i < rows * width; i++) to[i] = by ? x[i] * by[i % width] : x[i];
}

static void norm(const qn_reconstruct *r, const qn_norm *n, const float *x, float *out, size_t rows) {
  const uint32_t d = r->s->model->arch.width;
  const qk_norm op = {.x = x,
                      .out = out,
                      .gain = n->gain,
                      .bias = n->bias,
                      .ldx = d,
                      .ldo = d,
                      .d = d,
                      .eps = r->s->model->arch.norm_eps};
  r->s->kernels->norm(&op, 0, rows);
}

void qn_reconstruct_run(qn_reconstruct *r, const float *x, const uint32_t *lens, size_t texts) {
  const sizes z = sizes_of(r);
  const qn_layer *l = layer_of(r);
  const size_t n = count(lens, texts);
  round_to(r, &r->site[QN_LEARN_IN], x, r->rounded, n, z.width, 0, z.width);
  apply(r, &l->qkv, n, r->rounded, NULL, r->qkv);
  for (uint32_t i = 0; i < 3; i++)
    round_to(r, &r->site[QN_LEARN_Q + i], r->qkv, r->qkv_rounded, n, 3 * z.inner, i * z.inner, z.inner);
  all_heads(r, lens, texts, NULL, NULL);
  round_to(r, &r->site[QN_LEARN_CONTEXT], r->context, r->context_rounded, n, z.inner, 0, z.inner);
  shorten(r->rounded, l->attn_shortcut, r->sum, n, z.width);
  apply(r, &l->attn_out, n, r->context_rounded, r->sum, r->sum);
  norm(r, &l->attn_norm, r->sum, r->mid, n);
  round_to(r, &r->site[QN_LEARN_UP], r->mid, r->mid_rounded, n, z.width, 0, z.width);
  apply(r, &l->ffn_up, n, r->mid_rounded, NULL, r->before);
  r->s->kernels->activate(r->before, r->up, n * z.ffn, qn_kernel_act(r->s->model->arch.activation));
  round_to(r, &r->site[QN_LEARN_DOWN], r->up, r->up_rounded, n, z.ffn, 0, z.ffn);
  shorten(r->mid_rounded, l->ffn_shortcut, r->last, n, z.width);
  apply(r, &l->ffn_down, n, r->up_rounded, r->last, r->last);
  norm(r, &l->ffn_norm, r->last, r->out, n);
}

/* Rows of text t that count. */
static size_t counted(const qn_reconstruct *r, const uint32_t *lens, size_t t) { return r->first_alone ? 1 : lens[t]; }

double qn_reconstruct_error(const qn_reconstruct *r, const float *want, const float *weight, const uint32_t *lens,
                            size_t texts) {
  const size_t width = r->s->model->arch.width;
  double error = 0;
  for (size_t t = 0, at = 0; t < texts; at += lens[t] * width, t++)
    for (size_t i = 0; i < counted(r, lens, t) * width; i++) {
      const double off = (double)r->out[at + i] - (double)want[at + i];
      error += (double)weight[i % width] * off * off;
    }
  return error;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* slope: by the norm's output, becomes that by its input x. */
static void norm_back(const qn_reconstruct *r, const qn_norm *n, const float *x, float *slope, size_t rows) {
  const size_t d = r->s->model->arch.width;
  for (size_t i = 0; i < rows; i++) {
    const float *at = x + i * d;
    float *s = slope + i * d;
    double sum = 0, square = 0, mean = 0, along = 0;
    for (size_t c = 0; c < d; c++) sum += (double)at[c];
    sum /= (double)d;
    for (size_t c = 0; c < d; c++) square += ((double)at[c] - sum) * ((double)at[c] - sum);
    const double by = 1 / __builtin_sqrt(square / (double)d + (double)r->s->model->arch.norm_eps);
    for (size_t c = 0; c < d; c++) {
      const double g = (double)s[c] * (double)n->gain[c];
      mean += g;
      along += g * ((double)at[c] - sum) * by;
    }
    mean /= (double)d, along /= (double)d;
    for (size_t c = 0; c < d; c++)
      s[c] = (float)(by * ((double)s[c] * (double)n->gain[c] - mean - ((double)at[c] - sum) * by * along));
  }
}

/* slope: by the activation's output, becomes that by its input. */
static void activation_back(const qn_reconstruct *r, float *slope, size_t rows) {
  const size_t ffn = r->s->model->arch.ffn;
  const uint32_t act = qn_kernel_act(r->s->model->arch.activation);
  float *above = r->weights, *below = above + ffn; /* room for twice that: width is at least 2 */
  for (size_t i = 0; i < rows; i++) {
    const float *x = r->before + i * ffn;
    for (size_t c = 0; c < ffn; c++) above[c] = x[c] + SLOPE_STEP, below[c] = x[c] - SLOPE_STEP;
    r->s->kernels->activate(above, above, 2 * ffn, act);
    for (size_t c = 0; c < ffn; c++) slope[i * ffn + c] *= (above[c] - below[c]) * (0.5f / SLOPE_STEP);
  }
}

void qn_reconstruct_slopes(qn_reconstruct *r, const float *x, const float *want, const float *weight,
                           const uint32_t *lens, size_t texts) {
  const sizes z = sizes_of(r);
  const qn_layer *l = layer_of(r);
  const size_t n = count(lens, texts);
  for (uint32_t i = 0; i < QN_LEARNS; i++) r->site[i].slope_scale = r->site[i].slope_zero = 0;
  memset(r->slope, 0, n * z.width * sizeof *r->slope);
  for (size_t t = 0, at = 0; t < texts; at += lens[t] * z.width, t++)
    for (size_t i = at; i < at + counted(r, lens, t) * z.width; i++)
      r->slope[i] = 2 * weight[(i - at) % z.width] * (r->out[i] - want[i]);
  norm_back(r, &l->ffn_norm, r->last, r->slope, n);
  multiply(r, n, r->slope, r->turned[3], NULL, NULL, r->slope_mid, z.ffn, z.width);
  slope_of(r, &r->site[QN_LEARN_DOWN], r->up, r->slope_mid, n, z.ffn, 0, z.ffn);
  activation_back(r, r->slope_mid, n);
  shorten(r->slope, l->ffn_shortcut, r->slope_more, n, z.width);
  multiply(r, n, r->slope_mid, r->turned[2], NULL, r->slope_more, r->slope_more, z.width, z.ffn);
  slope_of(r, &r->site[QN_LEARN_UP], r->mid, r->slope_more, n, z.width, 0, z.width);
  norm_back(r, &l->attn_norm, r->sum, r->slope_more, n);
  multiply(r, n, r->slope_more, r->turned[1], NULL, NULL, r->slope_mid, z.inner, z.width);
  slope_of(r, &r->site[QN_LEARN_CONTEXT], r->context, r->slope_mid, n, z.inner, 0, z.inner);
  memset(r->slope_qkv, 0, n * 3 * z.inner * sizeof(float));
  all_heads(r, lens, texts, r->slope_mid, r->slope_qkv);
  for (uint32_t i = 0; i < 3; i++)
    slope_of(r, &r->site[QN_LEARN_Q + i], r->qkv, r->slope_qkv, n, 3 * z.inner, i * z.inner, z.inner);
  shorten(r->slope_more, l->attn_shortcut, r->slope, n, z.width);
  multiply(r, n, r->slope_qkv, r->turned[0], NULL, r->slope, r->slope, z.width, 3 * z.inner);
  slope_of(r, &r->site[QN_LEARN_IN], x, r->slope, n, z.width, 0, z.width);
}
