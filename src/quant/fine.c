/* fine.c - fine.h: the texts' hidden states before the first layer, then for each layer what the float one puts out, some passes over
 * the texts with a step of Adam behind each part of them, and what the layer puts out with what was kept. One thread, as
 * reconstruct.c. */
#include "quant/fine.h"

#include <string.h>

#include "base/checked.h"
#include "quant/reconstruct.h"

#define PART_TOKENS 512u /* of a step, about */
#define PASSES 2u
#define RATE                                                                                                           \
  0.02 /* of the first step: by how much a scale may change, and of half the codes by how much a zero point; falls to 0 */

/* Adam: of slopes by the logarithm of the scale, and by the zero point in half the codes there are. */
typedef struct momentum {
  double mean, square;
} momentum;

typedef struct learner {
  const qn_fine *f;
  quern_session *s;      /* of the float model */
  qn_buffer x, lens;     /* [tokens, width] what the layer gets, rounded before; [texts] */
  float *pass;           /* [max_tokens, width] of the pass that runs */
  float *exact, *weight; /* [tokens, width] the same of the float model; [width] of channels in the error */
  size_t tokens, texts;
  qn_reconstruct r;
  momentum m[QN_LEARNS][2];
  double decay[2]; /* powers of what means decay by */
} learner;

/* ---- before the first layer -------------------------------------------------------------------------------------- */

static void see(void *user, const qn_seen *seen) {
  const learner *t = user;
  if (seen->kind != QN_SITE_QKV_IN || seen->layer) return;
  for (size_t i = 0; i < seen->rows; i++)
    memcpy(t->pass + (seen->row + i) * seen->d, seen->x + i * seen->ld, seen->d * sizeof(float));
}

static quern_status emit(void *user, size_t first, uint32_t batch) {
  (void)first;
  learner *t = user;
  const size_t tokens = t->s->starts[batch - 1] + t->s->lens[batch - 1];
  QN_TRY(qn_buffer_append(t->f->env, &t->lens, t->s->lens, batch * sizeof *t->s->lens));
  return qn_buffer_append(t->f->env, &t->x, t->pass, tokens * t->s->model->arch.width * sizeof(float));
}

static quern_status run_texts(learner *t) {
  void *p = NULL;
  const size_t floats = (size_t)t->s->max_tokens * t->s->model->arch.width;
  QN_TRY(qn_alloc_array(t->f->env, &p, floats, sizeof(float), "hidden states"));
  t->pass = p;
  t->s->observe = see;
  t->s->observe_user = t;
  const quern_status status = qn_calibration_run(t->s, t->f->env, t->f->text, t->f->texts, emit, t, "learning",
                                                 t->f->job->calibration);
  t->s->observe = NULL;
  qn_free(t->f->env, t->pass, floats * sizeof(float));
  return status;
}

/* ---- parts of the texts ------------------------------------------------------------------------------------------ */

typedef struct part {
  size_t text, texts, row, rows;
} part;

static const uint32_t *lens_of(const learner *t) { return (const uint32_t *)(const void *)t->lens.data; }
static float *states_of(const learner *t) { return (float *)(void *)t->x.data; }

/* The part behind p, of at least one text; 0: there is none. */
static int next_part(const learner *t, part *p) {
  const uint32_t *lens = lens_of(t);
  *p = (part){.text = p->text + p->texts, .row = p->row + p->rows};
  while (p->text + p->texts < t->texts && (!p->rows || p->rows + lens[p->text + p->texts] <= PART_TOKENS))
    p->rows += lens[p->text + p->texts++];
  return p->texts != 0;
}

static quern_status create(learner *t) {
  const qn_arch *a = &t->s->model->arch;
  size_t rows = 0, floats = 0;
  void *p = NULL;
  t->texts = t->lens.bytes / sizeof(uint32_t);
  t->tokens = t->x.bytes / (a->width * sizeof(float));
  for (part at = {0}; next_part(t, &at);) {
    size_t squares = 0;
    for (size_t i = 0; i < at.texts; i++) squares += (size_t)lens_of(t)[at.text + i] * lens_of(t)[at.text + i];
    rows = qn_max_size(rows, at.rows);
    floats = qn_max_size(floats, squares * a->heads);
  }
  QN_TRY(qn_alloc_array(t->f->env, &p, (t->tokens + 1) * a->width, sizeof(float), "hidden states"));
  t->exact = p;
  t->weight = t->exact + t->tokens * a->width;
  memcpy(t->exact, t->x.data, t->x.bytes);
  return qn_reconstruct_create(&t->r, t->f->env, t->s, rows, floats);
}

/* ---- a layer ----------------------------------------------------------------------------------------------------- */

static uint32_t site_of(const learner *t, uint32_t i) {
  return qn_site_index(&t->s->model->arch, qn_learn_kind(i), t->r.layer);
}

/* The layer's sites as the plan has them. */
static void take_sites(learner *t) {
  for (uint32_t i = 0; i < QN_LEARNS; i++) {
    const qn_site_plan *s = &t->f->plan->site[site_of(t, i)];
    const int learns = t->f->learns[site_of(t, i)];
    if (!qn_plan_is_static(s) || s->groups > 1) continue; /* it stays as it is */
    t->r.site[i] = (qn_learn){.scale = s->scale[0],
                              .zero = s->zero[0],
                              .lowest = qn_site_lowest(s->rule.bits),
                              .highest = qn_site_highest(s->rule.bits),
                              .on = 1,
                              .open = i == QN_LEARN_DOWN && t->f->plan->fold,
                              .fixed = !learns             ? 3
                                       : s->rule.symmetric ? 2
                                                           : 0};
  }
}

/* x: [tokens, width] through the layer; to NULL: the error, else that is what comes out. */
static double run_layer(learner *t, const float *x, float *to) {
  const size_t width = t->s->model->arch.width;
  double error = 0;
  for (part p = {0}; next_part(t, &p);) {
    const uint32_t *lens = lens_of(t) + p.text;
    qn_reconstruct_run(&t->r, x + p.row * width, lens, p.texts);
    if (to)
      memcpy(to + p.row * width, t->r.out, p.rows * width * sizeof *to);
    else
      error += qn_reconstruct_error(&t->r, t->exact + p.row * width, t->weight, lens, p.texts);
  }
  return error;
}

/* How far a value goes: as far as the mean slope is of its root mean square. */
static double step_of(learner *t, momentum *m, double slope) {
  m->mean = 0.9 * m->mean + 0.1 * slope;
  m->square = 0.99 * m->square + 0.01 * slope * slope;
  const double root = __builtin_sqrt(m->square / (1 - t->decay[1]));
  return root > 0 ? m->mean / (1 - t->decay[0]) / root : 0;
}

static void step(learner *t, double rate) {
  t->decay[0] *= 0.9, t->decay[1] *= 0.99;
  for (uint32_t i = 0; i < QN_LEARNS; i++) {
    qn_learn *q = &t->r.site[i];
    const double half = 0.5 * ((double)q->highest - (double)q->lowest);
    if (!q->on) continue;
    if (!(q->fixed & 1)) q->scale *= (float)(1 - rate * step_of(t, &t->m[i][0], q->slope_scale * (double)q->scale));
    if (q->fixed & 2) continue;
    q->zero -= (float)(rate * half * step_of(t, &t->m[i][1], q->slope_zero * half));
    q->zero = __builtin_fminf(__builtin_fmaxf(q->zero, q->lowest), q->highest);
  }
}

/* Zero points are codes. */
static void settle(learner *t) {
  for (uint32_t i = 0; i < QN_LEARNS; i++) t->r.site[i].zero = qn_pack_rint(t->r.site[i].zero);
}

static void learn(learner *t) {
  const size_t width = t->s->model->arch.width;
  uint32_t parts = 0, done = 0;
  for (part p = {0}; next_part(t, &p);) parts++;
  memset(t->m, 0, sizeof t->m);
  t->decay[0] = t->decay[1] = 1;
  for (uint32_t pass = 0; pass < PASSES; pass++)
    for (part p = {0}; next_part(t, &p); done++) {
      const float *x = states_of(t) + p.row * width, *want = t->exact + p.row * width;
      const uint32_t *lens = lens_of(t) + p.text;
      qn_reconstruct_run(&t->r, x, lens, p.texts);
      qn_reconstruct_slopes(&t->r, x, want, t->weight, lens, p.texts);
      step(t, RATE * (1 - (double)done / (PASSES * parts)));
    }
  settle(t);
}

static quern_status offer(learner *t) {
  qn_fine_value value[QN_LEARNS];
  uint32_t n = 0;
  int kept = 0;
  for (uint32_t i = 0; i < QN_LEARNS; i++)
    if (t->r.site[i].on && t->r.site[i].fixed != 3)
      value[n++] = (qn_fine_value){site_of(t, i), t->r.site[i].scale, t->r.site[i].zero};
  if (n) QN_TRY(t->f->offer(t->f->user, value, n, &kept));
  return QUERN_OK;
}

static quern_status progress(const learner *t) {
  const qn_quantize_job *job = t->f->job;
  if (job->progress && job->progress(job->progress_user, t->r.layer, t->s->model->arch.layers, "learning scales"))
    return qn_fail(&t->f->env->error, QUERN_E_CANCELLED, "quantization was cancelled; nothing was written");
  return QUERN_OK;
}

static quern_status run_layers(learner *t) {
  const qn_arch *a = &t->s->model->arch;
  for (uint32_t layer = 0; layer < a->layers; layer++) {
    const float *by = qn_migration_by(t->f->migration, 2 * layer + 2);
    qn_reconstruct_layer(&t->r, layer);
    QN_TRY(progress(t));
    t->r.first_alone = layer + 1 == a->layers && qn_arch_classifies(a);
    for (uint32_t c = 0; c < a->width; c++) t->weight[c] = by ? by[c] * by[c] : 1.0f;
    run_layer(t, t->exact, t->exact);
    take_sites(t);
    const double before = run_layer(t, states_of(t), NULL);
    learn(t);
    const double after = run_layer(t, states_of(t), NULL);
    if (after < before) QN_TRY(offer(t));
    take_sites(t);
    run_layer(t, states_of(t), states_of(t));
  }
  return QUERN_OK;
}

static quern_status run_model(void *user, quern_model *m) {
  learner *t = user;
  QN_TRY(qn_calibration_session(&t->s, t->f->env, m));
  quern_status status = run_texts(t);
  if (status == QUERN_OK) status = create(t);
  if (status == QUERN_OK) status = run_layers(t);
  qn_reconstruct_free(&t->r);
  qn_free(t->f->env, t->exact, (t->tokens + 1) * m->arch.width * sizeof(float));
  qn_buffer_free(t->f->env, &t->x);
  qn_buffer_free(t->f->env, &t->lens);
  qn_session_free(t->s);
  return status;
}

quern_status qn_fine_run(const qn_fine *f) {
  learner t = {.f = f};
  qn_quantize_job job = *f->job;
  job.migration = f->migration;
  return qn_with_float_model(f->env, &job, run_model, &t);
}
