/* attention_q8.h - integer attention of one head of a whole sequence (kernels.h: qk_attention_q8), over attend.h. */
#ifndef QK_PRODUCTS_ATTENTION_Q8_H
#define QK_PRODUCTS_ATTENTION_Q8_H
#include "kernels/products/attend.h"

/* Queries i ... against all blocks that they see. */
static inline void qk_attend_sequence(qk_attend *s, const qk_attention_q8 *op, size_t i) {
  const qk_head_q8 *hd = &op->head;
  const size_t most = i + s->vectors * QK_LANES - 1 < hd->n ? i + s->vectors * QK_LANES - 1 : hd->n - 1;
  const size_t first = qk_span_of(i, op->before, hd->n, 0).first / QK_BLOCK * QK_BLOCK;
  const size_t end = qk_span_of(most, op->before, hd->n, 0).end;
  const int64_t reach = (uint32_t)(op->before - 1);
  float row[QK_QUERIES];
  for (size_t r = 0; r < QK_QUERIES; r++) row[r] = (float)r;
  qk_attend_begin(s);
  s->merging = op->before != 0;
  for (size_t j0 = first; j0 < end; j0 += QK_BLOCK) {
    s->k = hd->k + j0 * s->hp;
    s->k_start = hd->k_start + j0;
    s->k_scale = hd->k_scale + j0;
    s->v = hd->v + j0 * s->hp;
    s->v_scale = hd->v_scale + j0;
    s->live = hd->n - j0 < QK_BLOCK ? hd->n - j0 : QK_BLOCK;
    s->last = j0 + QK_BLOCK >= end;
    if (op->bias) qk_attend_window(s->window, op->bias, hd->n, j0, i);
    s->masked = 0;
    if (op->before) {
      const int64_t from = (int64_t)i - (int64_t)j0;
      qk_attend_mask(s, from - reach, from + reach + 1, row);
    }
    qk_attend_block(s);
  }
}

static inline void qk_attention_q8_over_tiles(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attend s __attribute__((aligned(64)));
  size_t i = r0 / QK_LANES * QK_LANES;
  const size_t vectors = (r1 - i + QK_LANES - 1) / QK_LANES;
  const size_t groups = (vectors + QK_ATTEND_VECTORS - 1) / QK_ATTEND_VECTORS;
  s.h = op->head.h;
  s.hp = qk_round_up(op->head.h, QK_LANES);
  s.ldo = op->ldo;
  s.biased = op->bias != NULL;
  s.cap = 0.0f;
  for (size_t g = 0; g < groups; g++) {
    s.vectors = qk_tile_share(vectors, groups, g);
    s.q = op->head.q + i * s.hp;
    s.q_scale = op->head.q_scale + i;
    s.out = op->out + i * op->ldo;
    s.from = r0 > i ? r0 - i : 0;
    s.to = r1 - i < s.vectors * QK_LANES ? r1 - i : s.vectors * QK_LANES;
    qk_attend_sequence(&s, op, i);
    i += s.vectors * QK_LANES;
  }
}
#endif
