/* static.c - products between codes of static sites (static.h). Stateless; any thread. */
#include "run/static.h"

qk_codes qn_codes_at(qk_codes q, const qn_place *p, size_t row, uint32_t d) {
  q.ld = qk_k8(d);
  q.codes += row * q.ld;
  q.scale += row;
  q.zero += row;
  q.start += row;
  q.low = p->bits == 16 ? q.low + row * q.ld : NULL;
  q.low_start = p->bits == 16 ? q.low_start + row : NULL;
  q.group_start = NULL;
  q.given_scale = p->parts.count ? &p->unit : p->scale;
  q.given_zero = p->parts.count ? &p->one : p->zero;
  q.limits = p->limits;
  q.parts = p->parts;
  q.site = qn_sites_of(p);
  q.part_start = qk_parts_have_starts(&p->parts) ? q.part_start + row * QK_PARTS : NULL;
  return q;
}

qn_static_product qn_product_to(const qn_linear *l, const qn_place *place, qk_codes a, qk_codes to) {
  return (qn_static_product){.linear = l, .place = place, .a = a, .codes = to.codes, .low = to.low, .ldc = to.ld};
}

void qn_static_product_run(const qk_table *k, const qn_static_product *p, size_t r0, size_t r1, size_t p0, size_t p1) {
  qk_gemm_q8 op = qn_linear_gemm_q8(p->linear, p->next, p1);
  op.a = p->a;
  op.out = p->floats;
  op.ldo = p->ldo;
  op.act = p->act;
  op.codes = p->place->by ? p->codes : NULL;
  op.low = p->low;
  op.by = p->place->by;
  op.zero = p->place->zero;
  op.limits = p->place->limits;
  op.ldc = p->ldc;
  op.by_column = p->place->by_column;
  k->gemm_q8(&op, r0, r1, p0, p1);
}

void qn_codes_floats(const qk_codes *q, const qn_place *place, size_t rows, size_t d, const int32_t *order,
                     float *out) {
  const size_t each = place->by_column ? 1 : QK_PANEL;
  for (size_t r = 0; r < rows; r++) {
    const int8_t *high = q->codes + r * q->ld, *low = q->low ? q->low + r * q->ld : NULL;
    for (size_t i = 0; i < d; i++) {
      const float code = (float)(low ? 128 * high[i] + low[i] : high[i]);
      out[r * d + (order ? (size_t)order[i] : i)] = (code - place->zero[i / each]) * place->scale[i / each];
    }
  }
}

void qn_codes_finish(const qk_table *k, const qk_codes *q, uint32_t d, size_t r0, size_t r1) {
  k->start_q8(q, d, r0, r1);
  for (size_t r = r0; r < r1; r++) q->scale[r] = q->given_scale[0], q->zero[r] = q->given_zero[0];
}
