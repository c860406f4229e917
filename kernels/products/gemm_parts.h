/* gemm_parts.h - the 8-bit product where the inputs' codes come in parts with scales of their own (layout.h: qk_parts): tile by tile all
 * parts, whose sums meet in the L1 cache; then the epilogue. Over the tiles of tile_q8.h. */
#ifndef QK_PRODUCTS_GEMM_PARTS_H
#define QK_PRODUCTS_GEMM_PARTS_H
#include "kernels/products/finish_q8.h"

/* Where most rows are: evenly shared, they are in tiles of the largest size or one row less. */
static __attribute__((noinline)) void qk_part_most(const qk_tile_q8 *t) {
  qk_tile_fixed(t, QK_TILE_ROWS, QK_TILE_PANELS, 1);
}
static __attribute__((noinline)) void qk_part_less(const qk_tile_q8 *t) {
  qk_tile_fixed(t, QK_TILE_ROWS - 1, QK_TILE_PANELS, 1);
}
/* A tile of another size, by itself, then joined: less code. */
static __attribute__((noinline)) void qk_part_other(const qk_tile_q8 *t, size_t rows, size_t panels) {
  int32_t sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  qk_tile_q8 alone = *t;
  alone.out = sums;
  alone.ldo = QK_TILE_WIDTH;
  qk_tile_run(&alone, rows, panels);
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < panels * 16; i += 16) {
      int32_t *out = t->out + r * t->ldo + i;
      const vi sum = vi_load(sums + r * QK_TILE_WIDTH + i);
      float *floats = (float *)(void *)out;
      if (t->scaled)
        vf_store(floats, vf_fma(vi_to_vf(sum), vf_set1(t->scale), t->more ? vf_load(floats) : vf_zero()));
      else
        vi_store(out, t->more ? vi_add(sum, vi_shl_by(vi_load(out), t->shift)) : sum);
    }
}
static inline void qk_part_run(const qk_tile_q8 *t, size_t rows, size_t panels) {
  if (panels == QK_TILE_PANELS && rows == QK_TILE_ROWS)
    qk_part_most(t);
  else if (panels == QK_TILE_PANELS && rows + 1 == QK_TILE_ROWS)
    qk_part_less(t);
  else
    qk_part_other(t, rows, panels);
}

/* One tile's parts. t: its weights, at their first input. */
static __attribute__((noinline)) void qk_parts_run(const qk_gemm_q8 *op, qk_tile_q8 t, size_t m, size_t rows,
                                                   size_t panels) {
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
    qk_part_run(&t, rows, panels);
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
