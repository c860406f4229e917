/* gemm_steps.h - many rows times weights of 4 bits with integer steps, of activations with one scale a row (kernels.h: qk_gemm_group):
 * once their codes are unpacked, times their steps, these are products of 8 bits, over the tiles of tile_q8.h. Blocks of panels are
 * unpacked into the L1 cache, once for up to QK_STEPS_TILES tiles of rows. Inputs that are too many for that pass in chunks, whose exact
 * sums are added up. */
#ifndef QK_PRODUCTS_GEMM_STEPS_H
#define QK_PRODUCTS_GEMM_STEPS_H
#include "kernels/products/finish_q8.h"
#include "kernels/products/tile_q8.h"
#include "kernels/products/unpack_steps.h"

#ifndef QK_STEPS_UNPACKED
#define QK_STEPS_UNPACKED 40960u /* bytes of a block of panels */
#endif
#define QK_STEPS_TILES 32u
/* Blocks of 32 inputs at once, at most. */
#define QK_STEPS_CHUNK (QK_STEPS_UNPACKED / (QK_TILE_PANELS * QK_PANEL * QK_GROUP))

/* A tile's sums of one chunk to those of the chunks before. */
static __attribute__((noinline)) void qk_steps_add(int32_t *sums, const int32_t *more, size_t rows) {
  for (size_t i = 0; i < rows * QK_TILE_WIDTH; i += 16)
    vi_store(sums + i, vi_add(vi_load(sums + i), vi_load(more + i)));
}

/* Tiles first ... first + count - 1 of `tiles` that `rows` rows are shared by, m being their first row, times panels p ...; next: panels
   that follow, to ask memory for, or NULL. as: the product with codes of 8 bits. */
static inline void qk_steps_tiles(const qk_gemm_group *op, const qk_gemm_q8 *as, size_t rows, size_t tiles,
                                  size_t first, size_t count, size_t m, size_t p, size_t panels, const uint8_t *next) {
  uint8_t unpacked[QK_STEPS_UNPACKED] __attribute__((aligned(64)));
  int32_t sums[QK_STEPS_TILES * QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  int32_t more[QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  static const int32_t none[QK_TILE_ROWS];
  const size_t blocks = (op->k + QK_GROUP - 1) / QK_GROUP, groups = qk_groups(op->k, op->group),
               each = op->group / QK_GROUP;
  const size_t chunks = (blocks + QK_STEPS_CHUNK - 1) / QK_STEPS_CHUNK, panel_bytes = QK_PANEL * qk_k8(op->k) / 2;
  for (size_t c = 0, b = 0, n; c < chunks; c++, b += n) {
    n = qk_tile_share(blocks, chunks, c);
    for (size_t j = 0; j < panels; j++)
      qk_unpack_wide(op->w + (p + j) * panel_bytes + b * QK_PANEL * QK_GROUP / 2, b, n,
                     op->steps + (p + j) * QK_PANEL * groups, each, 0, unpacked + j * n * QK_PANEL * QK_GROUP);
    qk_tile_q8 t = {.lda = op->a.ld,
                    .w = unpacked,
                    .panel_bytes = n * QK_PANEL * QK_GROUP,
                    .steps = n * (QK_GROUP / QK_KSTEP),
                    .ahead = unpacked,
                    .ldo = QK_TILE_WIDTH,
                    .ahead_by = next ? QK_TILE_PANELS * 32 / count : 0};
    for (size_t i = 0, at = m; i < count; i++) {
      const size_t some = qk_tile_share(rows, tiles, first + i);
      int32_t *to = sums + (chunks > 1 ? i : 0) * QK_TILE_ROWS * QK_TILE_WIDTH;
      t.a = op->a.codes + at * op->a.ld + b * QK_GROUP;
      t.start = c ? none : op->a.start + at;
      t.out = c ? more : to;
      if (next) t.ahead = next + (b * QK_GROUP / QK_KSTEP * count + i * t.steps) * t.ahead_by;
      qk_tile_run(&t, some, panels);
      if (c) qk_steps_add(to, more, some);
      if (c + 1 == chunks) QK_FINISH_Q8(as, to, QK_TILE_WIDTH, at, some, p, panels, 0);
      at += some;
    }
  }
}

/* op: 4 bits, with steps, activations not grouped. */
static inline void qk_gemm_steps_over_tiles(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  const qk_gemm_q8 as = {.a = op->a,
                         .w_scale = op->scale,
                         .w_sums = op->code_sums,
                         .bias = op->bias,
                         .residual = op->residual,
                         .out = op->out,
                         .ldr = op->ldr,
                         .ldo = op->ldo,
                         .n = op->n,
                         .k = op->k,
                         .act = op->act};
  const size_t tiles = (m1 - m0 + QK_TILE_ROWS - 1) / QK_TILE_ROWS,
               parts = (tiles + QK_STEPS_TILES - 1) / QK_STEPS_TILES;
  for (size_t p = p0; p < p1; p += QK_TILE_PANELS) {
    const size_t panels = p1 - p < QK_TILE_PANELS ? p1 - p : QK_TILE_PANELS;
    const uint8_t *next = p1 - p > QK_TILE_PANELS ? op->w + (p + QK_TILE_PANELS) * QK_PANEL * qk_k8(op->k) / 2 : NULL;
    for (size_t i = 0, first = 0, m = m0; i < parts; i++) {
      const size_t count = qk_tile_share(tiles, parts, i);
      qk_steps_tiles(op, &as, m1 - m0, tiles, first, count, m, p, panels, i ? NULL : next);
      for (size_t j = 0; j < count; j++) m += qk_tile_share(m1 - m0, tiles, first + j);
      first += count;
    }
  }
}
#endif
