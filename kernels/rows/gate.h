/* gate.h - the hidden rows of a gated feed-forward, and their codes (kernels.h: qk_gate). Over lanes. */
#ifndef QK_ROWS_GATE_H
#define QK_ROWS_GATE_H
#include "kernels/rows/quantize.h"

/* One row; act: a constant. Returns its bounds, smoothed. */
QK_INLINE qk_bounds qk_gate_as(const qk_gate *op, const float *x, float *out, const float *smooth, const uint32_t act) {
  qk_bounds b = qk_bounds_none();
  for (size_t i = 0; i < op->d; i += 16) {
    const vf y = vf_mul(qk_act(vf_load(x + 2 * i), act), vf_load(x + 2 * i + 16));
    vf_store(out + i, y);
    qk_bounds_take(&b, qk_smoothed(y, smooth, i, 16));
  }
  return b;
}
static inline qk_bounds qk_gate_row(const qk_gate *op, const float *x, float *out, const float *smooth) {
  if (op->act == QK_ACT_SILU) return qk_gate_as(op, x, out, smooth, QK_ACT_SILU);
  if (op->act == QK_ACT_GELU_TANH) return qk_gate_as(op, x, out, smooth, QK_ACT_GELU_TANH);
  return qk_gate_as(op, x, out, smooth, op->act);
}

static size_t qk_rows_gate(const qk_gate *op, size_t r0, size_t r1) {
  const float *smooth = op->q.codes ? op->smooth : NULL;
  size_t bad = 0;
  for (size_t r = r0; r < r1; r += QK_ROWS) {
    const int rows = r1 - r < QK_ROWS ? (int)(r1 - r) : QK_ROWS;
    float *out = op->out + r * op->ldo;
    qk_bounds b[QK_ROWS];
    for (size_t i = 0; i < (size_t)rows; i++)
      b[i] = qk_gate_row(op, op->x + (r + i) * op->ldx, out + i * op->ldo, smooth);
    bad += qk_quantize_some(out, op->ldo, op->d, smooth, b, op->q.codes ? &op->q : NULL, r, rows);
  }
  return bad;
}
#endif
