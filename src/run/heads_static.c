/* heads_static.c - what is made of a static recipe's hidden codes: floats where they are asked for, logits. One task: a few rows of
 * small operators. */
#include "run/heads_static.h"

#include <string.h>

#include "run/static.h"

static const qn_place *output_of(const quern_session *s) {
  return qn_model_place(s->model, qn_site_output_kind(&s->model->arch), QN_NO_LAYER);
}

void qn_hidden_floats(quern_session *s, uint32_t batch) {
  const qn_arch *a = &s->model->arch;
  if (a->recipe != QN_RECIPE_STATIC) return;
  const qn_place *place = output_of(s);
  const qk_codes q = qn_codes_at(s->codes, place, 0, a->width);
  qn_codes_floats(&q, place, s->starts[batch - 1] + s->lens[batch - 1], a->width, s->model->order, s->x);
}

/* Output of the head from rows of codes: [rows, labels]. */
static void run_output(const quern_session *s, qk_codes a, uint32_t rows, float *logits) {
  const qn_linear *l = &s->model->head;
  const qn_place *place = qn_model_place(s->model, QN_SITE_LOGITS, QN_NO_LAYER);
  const qk_codes to = qn_codes_at(s->logit_codes, place, 0, l->n);
  qn_static_product p = qn_product_to(l, place, a, to);
  p.floats = logits;
  p.ldo = l->n;
  qn_static_product_run(s->kernels, &p, 0, rows, 0, qk_panels(l->n));
  if (place->by) qn_codes_floats(&to, place, rows, l->n, NULL, logits);
}

void qn_static_classify(quern_session *s, uint32_t batch, float *logits) {
  const qn_arch *arch = &s->model->arch;
  const qn_place *place = output_of(s);
  const uint32_t width = arch->width;
  qk_codes a = qn_codes_at(s->pooled_codes, place, 0, width);
  for (uint32_t i = 0; i < batch; i++) {
    const qk_codes first = qn_codes_at(s->codes, place, s->starts[i], width);
    memcpy(a.codes + i * a.ld, first.codes, a.ld);
    if (a.low) memcpy(a.low + i * a.ld, first.low, a.ld);
  }
  qn_codes_finish(s->kernels, &a, width, 0, batch);
  if (arch->head_pooler) {
    const qn_place *pooled = qn_model_place(s->model, QN_SITE_HEAD_IN, QN_NO_LAYER);
    const qk_codes to = qn_codes_at(s->pooler_codes, pooled, 0, width);
    qn_static_product p = qn_product_to(&s->model->pooler, pooled, a, to);
    p.act = qn_kernel_act(arch->head_activation);
    qn_static_product_run(s->kernels, &p, 0, batch, 0, qk_panels(width));
    qn_codes_finish(s->kernels, &to, width, 0, batch);
    a = to;
  }
  run_output(s, a, batch, logits);
}

void qn_static_span(quern_session *s, uint32_t rows) {
  run_output(s, qn_codes_at(s->codes, output_of(s), 0, s->model->arch.width), rows, s->logits);
}
