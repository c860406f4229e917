/* gemm_any_parts.h - the 8-bit product where the inputs' codes come in any number of parts of any channels (layout.h: qk_parts, any),
 * down to one a channel: slow, and little code. A part takes the steps of four channels that it has some of, with the codes of all others
 * as 0: weights lie as they do for every other product. Over the dot product of tile_q8.h. */
#ifndef QK_PRODUCTS_GEMM_ANY_PARTS_H
#define QK_PRODUCTS_GEMM_ANY_PARTS_H
#include "kernels/products/finish_q8.h"

/* The four codes of the step of channel c, a multiple of 4, that are in a part; the others 0. */
static inline int32_t qk_any_part_codes(const int8_t *codes, size_t c, const qk_part *part) {
  uint32_t x, keep = UINT32_MAX;
  memcpy(&x, codes + c, sizeof x);
  if (c < part->first) keep <<= 8 * (part->first - c);
  if (c + QK_KSTEP > part->end) keep &= UINT32_MAX >> 8 * (c + QK_KSTEP - part->end);
  return (int32_t)(x & keep);
}

/* One row times QK_TILE_PANELS panels, w being of each: its sums of all parts, joined, to out. */
static inline void qk_any_parts_row(const qk_parts *parts, const int8_t *codes, const uint8_t *const w[QK_TILE_PANELS],
                                    int32_t *out) {
  vi joined[QK_TILE_PANELS]; /* integers, or the bits of floats */
  QK_UNROLL for (int p = 0; p < QK_TILE_PANELS; p++) joined[p] = vi_zero();
  for (uint32_t i = 0; i < parts->count; i++) {
    const qk_part *part = &parts->part[i];
    vi acc[QK_TILE_PANELS];
    int32_t sum = 0;
    QK_UNROLL for (int p = 0; p < QK_TILE_PANELS; p++) acc[p] = vi_zero();
    for (size_t c = part->first / QK_KSTEP * QK_KSTEP; c < part->end; c += QK_KSTEP) {
      int8_t some[QK_KSTEP];
      const int32_t x = qk_any_part_codes(codes, c, part);
      memcpy(some, &x, sizeof some);
      sum += some[0] + some[1] + some[2] + some[3];
      const qk_dot_a a = qk_dot_spread(some);
      QK_UNROLL for (int p = 0; p < QK_TILE_PANELS; p++) acc[p] = qk_dot(acc[p], qk_dot_load(w[p] + c * QK_PANEL), a);
    }
    const vi start = vi_set1(qk_dot_start((int32_t)(-128u * (uint32_t)sum)));
    const vf scale = vf_set1(part->scale);
    QK_UNROLL for (int p = 0; p < QK_TILE_PANELS; p++) {
      acc[p] = vi_add(acc[p], start);
      joined[p] = parts->shifts ? vi_add(vi_shl_by(joined[p], (int)part->shift), acc[p])
                                : vi_bits(vf_fma(vi_to_vf(acc[p]), scale, vf_from_bits(joined[p])));
    }
  }
  QK_UNROLL for (int p = 0; p < QK_TILE_PANELS; p++) vi_store(out + p * 16, joined[p]);
}

static __attribute__((noinline)) void qk_any_parts_run(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0,
                                                       size_t p1) {
  int32_t sums[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  for (size_t p = p0; p < p1; p += QK_TILE_PANELS) {
    const size_t panels = p1 - p < QK_TILE_PANELS ? p1 - p : QK_TILE_PANELS;
    const uint8_t *w[QK_TILE_PANELS]; /* past the last panel that again: its sums are not used */
    for (size_t i = 0; i < QK_TILE_PANELS; i++) w[i] = op->w + (i < panels ? p + i : p1 - 1) * QK_PANEL * qk_k8(op->k);
    for (size_t m = m0, rows; m < m1; m += rows) {
      rows = m1 - m < QK_TILE_ROWS ? m1 - m : QK_TILE_ROWS;
      for (size_t r = 0; r < rows; r++)
        qk_any_parts_row(&op->a.parts, op->a.codes + (m + r) * op->a.ld, w, sums + r * QK_TILE_WIDTH);
      QK_FINISH_Q8(op, sums, QK_TILE_WIDTH, m, rows, p, panels, !op->a.parts.shifts);
    }
  }
}
#endif
