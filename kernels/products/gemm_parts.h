/* gemm_parts.h - the 8-bit product where the inputs' codes come in parts with scales of their own (layout.h: qk_parts): tile by tile all
 * parts, then the epilogue. Sums that are joined by shifts stay in registers; where they are joined in floats, these meet in the L1
 * cache. Over the tiles of tile_q8.h. */
#ifndef QK_PRODUCTS_GEMM_PARTS_H
#define QK_PRODUCTS_GEMM_PARTS_H
#include "kernels/products/finish_q8.h"

static inline size_t qk_part_steps(const qk_part *p) { return qk_round_up(p->end - p->first, QK_KSTEP) / QK_KSTEP; }
/* Start of a row's sum over all parts, joined by shifts. */
static inline int32_t qk_parts_start(const qk_parts *parts, const int32_t *starts) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < parts->count; i++) sum = (sum << parts->part[i].shift) + (uint32_t)starts[i];
  return (int32_t)sum;
}

/* One tile. t: its weights and its first row; starts: of its rows' parts. The sizes and shifts are constants. */
QK_INLINE void qk_parts_fixed(const qk_parts *parts, const int32_t *starts, const qk_tile_q8 *t, const int rows,
                              const int panels, const int shifts) {
  qk_tile_ahead ahead = qk_tile_ahead_of(t);
  float *out = (float *)(void *)t->out; /* [rows, QK_TILE_WIDTH] */
  vi acc[QK_TILE_ROWS][QK_TILE_PANELS];
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = vi_zero();
  for (uint32_t i = 0; i < parts->count; i++) {
    const qk_part *part = &parts->part[i];
    const vf scale = vf_set1(part->scale);
    const int shift = (int)part->shift, more = i > 0;
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const vi start = shifts ? vi_zero() : vi_set1(qk_dot_start(starts[(size_t)r * QK_PARTS + i]));
      QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = shifts ? vi_shl_by(acc[r][p], shift) : start;
    }
    qk_tile_steps(acc, t, part->first, qk_part_steps(part), &ahead, rows, panels);
    QK_UNROLL for (int r = 0; !shifts && r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++) {
      float *at = out + (size_t)r * QK_TILE_WIDTH + p * 16;
      const vf sum = vi_to_vf(acc[r][p]);
      vf_store(at, more ? vf_fma(sum, scale, vf_load(at)) : vf_fma(sum, scale, vf_zero()));
    }
  }
  QK_UNROLL for (int r = 0; shifts && r < rows; r++) {
    const vi start = vi_set1(qk_dot_start(qk_parts_start(parts, starts + (size_t)r * QK_PARTS)));
    QK_UNROLL for (int p = 0; p < panels; p++)
        vi_store(t->out + (size_t)r * QK_TILE_WIDTH + p * 16, vi_add(acc[r][p], start));
  }
}
/* A tile of the largest size. */
#define QK_PARTS_DEFINE(name, shifts)                                                                                  \
  static __attribute__((noinline)) void name(const qk_parts *parts, const int32_t *starts, const qk_tile_q8 *t) {      \
    qk_parts_fixed(parts, starts, t, QK_TILE_ROWS, QK_TILE_PANELS, shifts);                                            \
  }
QK_PARTS_DEFINE(qk_parts_floats, 0)
QK_PARTS_DEFINE(qk_parts_shifts, 1)

/* A tile of another size: each part's by itself, then joined. Less code. */
static __attribute__((noinline)) void qk_parts_other(const qk_parts *parts, const int32_t *starts, const qk_tile_q8 *t,
                                                     size_t rows, size_t panels) {
  int32_t sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64))), start[QK_TILE_ROWS];
  for (uint32_t i = 0; i < parts->count; i++) {
    const qk_part *part = &parts->part[i];
    qk_tile_q8 alone = *t;
    alone.out = sums;
    alone.start = start;
    alone.a += part->first;
    alone.w += part->first / QK_KSTEP * 64;
    alone.steps = qk_part_steps(part);
    for (size_t r = 0; r < rows; r++) start[r] = starts[r * QK_PARTS + i];
    qk_tile_run(&alone, rows, panels);
    for (size_t at = 0; at < rows * QK_TILE_WIDTH; at += 16) {
      const vi sum = vi_load(sums + at);
      float *floats = (float *)(void *)(t->out + at);
      if (parts->shifts)
        vi_store(t->out + at, i ? vi_add(sum, vi_shl_by(vi_load(t->out + at), (int)part->shift)) : sum);
      else
        vf_store(floats, vf_fma(vi_to_vf(sum), vf_set1(part->scale), i ? vf_load(floats) : vf_zero()));
    }
  }
}

/* A tile to outputs; t: its weights and its first row, m. */
static inline void qk_parts_run(const qk_gemm_q8 *op, const qk_tile_q8 *t, size_t m, size_t rows, size_t p,
                                size_t panels) {
  const qk_parts *parts = &op->a.parts;
  const int32_t *starts = op->a.part_start + m * QK_PARTS;
  if (panels < QK_TILE_PANELS || rows < QK_TILE_ROWS)
    qk_parts_other(parts, starts, t, rows, panels);
  else
    (parts->shifts ? qk_parts_shifts : qk_parts_floats)(parts, starts, t);
  QK_FINISH_Q8(op, t->out, QK_TILE_WIDTH, m, rows, p, panels, !parts->shifts);
}
#endif
