/* heads.c - what is made of hidden states: pooled embeddings, class logits. */
#include <string.h>

#include "base/bytes.h"
#include "run/heads_static.h"
#include "run/linear.h"
#include "run/session.h"

typedef struct head_task {
  quern_session *s;
  uint32_t batch;
  float *out;           /* [batch, width], of embeddings or labels */
  float *probabilities; /* [batch, labels] or NULL */
  uint32_t pool;
  int normalize;
  size_t nonfinite;
} head_task;

static const float *row_at(const quern_session *s, uint32_t row) { return s->x + (size_t)row * s->model->arch.width; }

static void pool_task(void *task, uint32_t i) {
  const head_task *t = task;
  const quern_session *s = t->s;
  const uint32_t width = s->model->arch.width, n = s->lens[i], start = s->starts[i];
  float *out = t->out + (size_t)i * width;
  if (t->pool == QN_POOL_MEAN)
    s->kernels->mean_rows(row_at(s, start), width, n, width, out);
  else
    memcpy(out, row_at(s, t->pool == QN_POOL_CLS ? start : start + n - 1), width * sizeof(float));
  if (t->normalize) s->kernels->normalize(out, width);
}

static uint32_t pool_of(const quern_session *s) {
  static const uint32_t pool[] = {
      [QUERN_POOL_MEAN] = QN_POOL_MEAN, [QUERN_POOL_CLS] = QN_POOL_CLS, [QUERN_POOL_LAST] = QN_POOL_LAST};
  return s->pool_kind == QUERN_POOL_MODEL ? s->model->arch.pool : pool[s->pool_kind];
}

/* y = act(x W^T + b) for `rows` rows of s->pooled or s->pooler_out; returns how many rows have NaN or infinity. One thread at a
   time: lane 0's scratch. */
static size_t apply(const quern_session *s, const qn_linear *l, const float *x, uint32_t rows, float *y, uint32_t act) {
  const qk_codes q = qn_input_codes(s->pooled_codes, l);
  const qn_product p = {.linear = l, .site = QN_SITE_KINDS, .x = x, .q = q, .out = y, .ldo = l->n, .act = act};
  size_t bad = 0;
  if (l->dtype != QRN_F32) bad = qn_input_rows(s->kernels, l, x, l->k, &q, s->lane[0].transform, 0, rows);
  qn_product_run(s->kernels, &p, 0, rows, 0, qk_panels(l->n));
  return bad;
}

/* The linear operators after pooling, one or two, s->pooled to out: one task. */
static void dense_task(void *task, uint32_t index) {
  (void)index;
  head_task *t = task;
  const quern_session *s = t->s;
  const qn_arch *a = &s->model->arch;
  const uint32_t width = qn_arch_embedding_width(a);
  float *first = a->dense2 ? s->pooler_out : t->out;
  t->nonfinite += apply(s, &s->model->dense, s->pooled, t->batch, first, qn_kernel_act(a->dense_activation));
  if (a->dense2)
    t->nonfinite += apply(s, &s->model->dense2, first, t->batch, t->out, qn_kernel_act(a->dense2_activation));
  for (uint32_t i = 0; t->normalize && i < t->batch; i++) s->kernels->normalize(t->out + (size_t)i * width, width);
}

quern_status qn_embed_pass(quern_session *s, uint32_t batch, float *out) {
  qn_hidden_floats(s, batch);
  const int dense = s->model->arch.dense != 0;
  const int normalize = s->model->arch.normalize && !(s->flags & QUERN_NO_NORMALIZE);
  head_task t = {
      .s = s, .batch = batch, .out = dense ? s->pooled : out, .pool = pool_of(s), .normalize = normalize && !dense};
  qn_pool_run(s->pool, pool_task, &t, batch);
  if (dense) {
    t.out = out;
    t.normalize = normalize;
    qn_pool_run(s->pool, dense_task, &t, 1);
  }
  /* Scales and biases of the last operator show nowhere but in its outputs. */
  if (t.nonfinite || !qn_all_finite(out, (size_t)batch * qn_arch_embedding_width(&s->model->arch)))
    return qn_fail(&s->error, QUERN_E_NONFINITE, "NaN or infinity in %s: check the file with quern verify",
                   dense ? "the dense layer after pooling" : "an embedding");
  return QUERN_OK;
}

/* Pooler and output on the first tokens. */
static void apply_head(head_task *t) {
  quern_session *s = t->s;
  const qn_arch *a = &s->model->arch;
  const float *x = s->pooled;
  for (uint32_t i = 0; i < t->batch; i++)
    memcpy(s->pooled + (size_t)i * a->width, row_at(s, s->starts[i]), a->width * sizeof(float));
  if (a->head_pooler) {
    t->nonfinite += apply(s, &s->model->pooler, x, t->batch, s->pooler_out, qn_kernel_act(a->head_activation));
    x = s->pooler_out;
  }
  t->nonfinite += apply(s, &s->model->head, x, t->batch, t->out, QK_ACT_NONE);
}

/* Small work (a few rows of one dense layer): one task. */
static void classify_task(void *task, uint32_t index) {
  (void)index;
  head_task *t = task;
  quern_session *s = t->s;
  const qn_arch *a = &s->model->arch;
  if (a->recipe == QN_RECIPE_STATIC)
    qn_static_classify(s, t->batch, t->out);
  else
    apply_head(t);
  for (uint32_t i = 0; t->probabilities && i < t->batch; i++)
    s->kernels->softmax(t->out + (size_t)i * a->labels, t->probabilities + (size_t)i * a->labels, a->labels);
}

quern_status qn_classify_pass(quern_session *s, uint32_t batch, float *logits, float *probabilities) {
  head_task t = {.s = s, .batch = batch, .out = logits, .probabilities = probabilities};
  qn_pool_run(s->pool, classify_task, &t, 1);
  if (t.nonfinite || !qn_all_finite(logits, (size_t)batch * s->model->arch.labels))
    return qn_fail(&s->error, QUERN_E_NONFINITE,
                   "NaN or infinity in the classification head: check the file with quern verify");
  return QUERN_OK;
}
