/* gemm_parts.h - the 8-bit product where the inputs' codes come in parts with scales of their own (kernels.h: qk_parts): tile by tile all
 * parts, whose sums meet in the L1 cache; then the epilogue. Over the tiles of tile_q8.h. */
#ifndef QK_PRODUCTS_GEMM_PARTS_H
#define QK_PRODUCTS_GEMM_PARTS_H
#include "kernels/products/finish_q8.h"

/* One tile's parts. t: its weights, at their first input. */
static inline void qk_parts_run(const qk_gemm_q8 *op, qk_tile_q8 t, size_t m, size_t rows, size_t panels) {
  const qk_parts *parts = &op->a.parts;
  const int32_t *starts = op->a.part_start + m * QK_PARTS;
  const int8_t *a = op->a.codes + m * op->a.ld;
  const uint8_t *w = t.w;
  t.start_step = QK_PARTS;
  t.scaled = !parts->shifts;
  for (uint32_t i = 0; i < parts->count; i++) {
    const qk_part *part = &parts->part[i];
    t.start = starts + i;
    t.a = a + part->first;
    t.w = w + part->first / QK_KSTEP * 64;
    t.steps = qk_round_up(part->end - part->first, QK_KSTEP) / QK_KSTEP;
    t.more = i > 0;
    t.shift = (int)part->shift;
    t.scale = part->scale;
    qk_tile_run(&t, rows, panels);
#ifdef QK_TILE_AHEAD
    t.ahead += t.steps * t.ahead_by;
#endif
  }
}

/* Sums to outputs. */
static inline void qk_parts_finish(const qk_gemm_q8 *op, const int32_t *sums, size_t m, size_t rows, size_t p,
                                   size_t panels) {
  if (op->a.parts.shifts)
    qk_gemm_q8_finish(op, sums, m, rows, p, panels);
  else
    qk_gemm_q8_finish_floats(op, sums, m, rows, p, panels);
}
#endif
