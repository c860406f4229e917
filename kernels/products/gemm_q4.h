/* gemm_q4.h - the 4-bit product (kernels.h: qk_gemm_q4) over tiles of float sums: what a tile is told, and the loops around it.
 * Where several rows read a panel, its codes are unpacked first, into steps that stay in the L1 cache: chunks of
 * inputs outside, rows inside, float sums of a block of rows kept between them. A set defines QK_TILE_ROWS,
 * QK_TILE_PANELS, QK_FINISH_Q4 (finish_q4.h), QK_Q4_ROW (so many rows read codes as they lie, one by one), and, after including this, qk_unpack_q4 and
 * qk_tile_q4_run (tile_q4.h does). */
#ifndef QK_PRODUCTS_GEMM_Q4_H
#define QK_PRODUCTS_GEMM_Q4_H
#include "kernels/kernels.h"
#include "kernels/products/tile.h"

#ifndef QK_Q4_BLOCKS
#define QK_Q4_BLOCKS 16u /* of 32 inputs: a chunk whose weights are unpacked at once */
#endif
#ifndef QK_Q4_TILES
#define QK_Q4_TILES 8u /* of rows, that share what is unpacked */
#endif
#define QK_Q4_STEP_BYTES (QK_GROUP * 16u) /* of a block unpacked */
#define QK_Q4_BLOCK_BYTES (QK_GROUP * 8u) /* of a block in a panel */

typedef struct qk_tile_q4 {
  const int8_t *a;          /* first row of codes */
  const uint8_t *w;         /* first panel, packed or unpacked */
  const int32_t *start;     /* of the first row's first group: rows of `groups` */
  const float *scale, *min; /* of the first panel's first group; min NULL: none */
  float
      *out; /* [rows rounded up to 2, QK_TILE_WIDTH] sums so far, or of an unfinished group the bits of its exact sum */
  size_t lda, panel_bytes, groups, scale_panel; /* scale_panel: floats of a panel */
  size_t blocks, each;                          /* of 32 inputs: to sum, and of a group */
  int fresh;                                    /* no group has been summed before */
  int begin, end; /* a group begins here; the last one ends here. A group that is cut is the only one */
  int nibbles;    /* w is not unpacked */
} qk_tile_q4;

/* Sum of a group's codes out of its start, exactly: both are below 2^24 times a power of 2. */
QK_INLINE float qk_group_sum(int32_t start) { return (float)start * -0.125f; }

static inline void qk_unpack_q4(const uint8_t *w, size_t blocks, uint8_t *to);
/* rows: 1 ... QK_TILE_ROWS, panels: 1 ... QK_TILE_PANELS, or of codes that are not unpacked any number. */
static inline void qk_tile_q4_run(const qk_tile_q4 *t, size_t rows, size_t panels);

/* Some tiles of the rows of a product. */
typedef struct qk_q4_tiles {
  size_t rows, tiles;     /* of the product */
  size_t first, count, m; /* tiles here, and their first row */
} qk_q4_tiles;

/* Sums of the tiles, each with the rows of a whole tile, and panels p ... */
static inline void qk_gemm_q4_block(const qk_gemm_q4 *op, qk_q4_tiles some, size_t p, size_t panels, float *sums) {
  uint8_t steps[QK_TILE_PANELS * QK_Q4_BLOCKS * QK_Q4_STEP_BYTES] __attribute__((aligned(64)));
  const size_t panel_bytes = QK_PANEL * qk_k8(op->k) / 2, groups = qk_groups(op->k, op->group);
  const size_t blocks = (op->k + QK_GROUP - 1) / QK_GROUP;
  const uint8_t *w = op->w + p * panel_bytes;
  qk_tile_q4 t = {.lda = op->a.ld,
                  .groups = groups,
                  .scale_panel = groups * 16,
                  .each = op->group / QK_GROUP,
                  .nibbles = QK_Q4_ROW && some.rows == 1};
  const size_t chunk = t.nibbles ? blocks : QK_Q4_BLOCKS;
  t.panel_bytes = t.nibbles ? panel_bytes : chunk * QK_Q4_STEP_BYTES;
  for (size_t b = 0; b < blocks; b += chunk) {
    const size_t g = b / t.each;
    t.blocks = blocks - b < chunk ? blocks - b : chunk;
    t.fresh = b == 0 || t.each > chunk;
    t.begin = b % t.each == 0;
    t.end = (b + t.blocks) % t.each == 0 || b + t.blocks == blocks;
    t.w = w + b * QK_Q4_BLOCK_BYTES;
    if (!t.nibbles) {
      for (size_t j = 0; j < panels; j++) qk_unpack_q4(t.w + j * panel_bytes, t.blocks, steps + j * t.panel_bytes);
      t.w = steps;
    }
    t.scale = op->scale + (p * groups + g) * 16;
    t.min = op->min ? op->min + (p * groups + g) * 16 : NULL;
    for (size_t i = 0, m = some.m; i < some.count; i++) {
      const size_t rows = qk_tile_share(some.rows, some.tiles, some.first + i);
      t.a = op->a.codes + m * op->a.ld + b * QK_GROUP;
      t.start = op->a.group_start + m * groups + g;
      t.out = sums + i * QK_TILE_ROWS * QK_TILE_WIDTH;
      qk_tile_q4_run(&t, rows, panels);
      m += rows;
    }
  }
}

static inline void qk_gemm_q4_over_tiles(const qk_gemm_q4 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  float sums[QK_Q4_TILES * QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  /* Few rows read a single stream of weights each, as many panels between two epilogues as a tile has room for. */
  const int one_by_one = m1 - m0 <= QK_Q4_ROW;
  const size_t wide = (one_by_one ? QK_TILE_ROWS : 1) * QK_TILE_PANELS, passes = one_by_one ? m1 - m0 : 1;
  qk_q4_tiles all = {.rows = one_by_one ? 1 : m1 - m0};
  all.tiles = (all.rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  const size_t parts = (all.tiles + QK_Q4_TILES - 1) / QK_Q4_TILES;
  for (size_t p = p0; p < p1; p += wide) {
    const size_t panels = p1 - p < wide ? p1 - p : wide;
    for (size_t pass = 0; pass < passes; pass++) {
      qk_q4_tiles some = all;
      some.m = m0 + pass;
      for (size_t i = 0; i < parts; i++) {
        some.count = qk_tile_share(all.tiles, parts, i);
        qk_gemm_q4_block(op, some, p, panels, sums);
        for (size_t j = 0; j < some.count; j++) {
          const size_t rows = qk_tile_share(all.rows, all.tiles, some.first + j);
          QK_FINISH_Q4(op, sums + j * QK_TILE_ROWS * QK_TILE_WIDTH, QK_TILE_WIDTH, some.m, rows, p, panels);
          some.m += rows;
        }
        some.first += some.count;
      }
    }
  }
}
#endif
