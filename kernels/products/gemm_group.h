/* gemm_group.h - products by groups of inputs (kernels.h: qk_gemm_group) over tiles of float sums: what a tile is told, and the
 * loops around it. Two families have this in common. In the *small* one codes of 4 bits are multiplied as they are (2 bits become
 * 4 first), and activations have one scale a row. The *wide* one (QK_WIDE 1) multiplies codes of 8 bits: those of 8-bit weights
 * where they lie, and all else after unpacking, which multiplies by integer steps of scales on the way.
 *
 * Where codes are unpacked they go into steps that stay in the L1 cache. Inputs that fit there at once are unpacked once for all
 * rows, and a tile's epilogue follows it; more inputs pass in chunks, rows inside, float sums of a block of rows kept between
 * chunks. A set defines QK_TILE_ROWS, QK_TILE_PANELS, QK_FINISH_GROUP (finish_group.h), QK_WIDE, QK_GROUP_ROW (so many rows read
 * codes of 4 bits as they lie, one by one), QK_PANELS_ALONE, QK_UNPACKS_IN_TILE (a whole tile unpacks codes of 4 bits on the way), and, after
 * including this, qk_unpack_small (of the small family) and qk_tile_group_run; tile_group.h does. */
#ifndef QK_PRODUCTS_GEMM_GROUP_H
#define QK_PRODUCTS_GEMM_GROUP_H
#include "kernels/kernels.h"
#include "kernels/products/tile.h"
#include "kernels/products/unpack_steps.h"

#ifndef QK_GROUP_BLOCKS
#define QK_GROUP_BLOCKS                                                                                                \
  16u /* of 32 inputs: a chunk whose weights are unpacked at once; no group but one of all is longer */
#endif
#ifndef QK_UNPACKS_IN_TILE
#define QK_UNPACKS_IN_TILE 0
#endif
#ifndef QK_PANELS_ALONE
#define QK_PANELS_ALONE 0 /* 1: panels that are fewer than a tile's take tiles of one each, which is less code */
#endif
#ifndef QK_GROUP_TILES
#define QK_GROUP_TILES 8u /* of rows, that share a chunk, where there are several */
#endif
_Static_assert(QK_GROUP_BLOCKS * QK_GROUP >= 512, "a chunk has room for the longest group (kernels.h)");
#define QK_STEP_BYTES (QK_GROUP * 16u) /* of a block unpacked */
#define QK_SMALL_BYTES (QK_GROUP * 8u) /* of a block of 4 bits */
#define QK_SIX_BYTES (QK_GROUP * 12u)  /* of 6 bits */

typedef struct qk_tile_group {
  const int8_t *a;          /* first row of codes */
  const uint8_t *w;         /* first panel, packed or unpacked */
  const int32_t *start;     /* of the first row's first group: rows of `groups` */
  const float *scale, *min; /* of the first panel's first group; min NULL: none */
  /* [rows rounded up to 2, QK_TILE_WIDTH] sums so far, or of an unfinished group the bits of its exact sum */
  float *out;
  size_t lda, panel_bytes, groups, scale_panel; /* scale_panel: floats of a panel */
  size_t blocks, each;                          /* of 32 inputs: to sum, and of a group */
  int fresh;                                    /* no group has been summed before */
  int begin, end; /* a group begins here; the last one ends here. A group that is cut is the only one */
  int nibbles;    /* w is not unpacked */
  int narrow;     /* codes of activations have 4 bits */
  uint8_t *steps; /* NULL, or where the tile unpacks codes of 4 bits to, panels of steps_bytes; a whole tile */
  size_t steps_bytes;
  /* of the wide family */
  const float *a_scale, *a_zero; /* of the first row's first group, as start; NULL: not here */
  const float *sums;             /* of the first panel's first group, panels of sums_panel floats; NULL: none */
  size_t scale_step, sums_panel; /* scale_step: floats between groups, 16 or 0 */
  int32_t start_by;              /* start times this is -128 * sum of codes */
} qk_tile_group;

/* Sum of a group's codes out of its start, exactly: both are below 2^24 times a power of 2. */
QK_INLINE float qk_group_sum(int32_t start) { return (float)start * -0.125f; }

/* rows: 1 ... QK_TILE_ROWS, panels: 1 ... QK_TILE_PANELS, or of codes that are not unpacked any number. */
static inline void qk_tile_group_run(const qk_tile_group *t, size_t rows, size_t panels);

/* Four steps of 2 bits become two bytes of 4 bits each: q + 6, whose distance from 8 is that of q from 2; with a minimum q. */
static inline void qk_spread_u2(const uint8_t *w, size_t blocks, int min, uint8_t *to) {
  const vi low = vi_set1(0x03030303), high = vi_set1(0x30303030), add = vi_set1(min ? 0 : 0x66666666);
  for (size_t s = blocks * 2; s > 0; s--, w += 64, to += 128) {
    const vi x = vi_load((const int32_t *)(const void *)w);
    vi_store((int32_t *)(void *)to, vi_add(vi_or(vi_and(x, low), vi_and(vi_shl(x, 2), high)), add));
    vi_store((int32_t *)(void *)(to + 64), vi_add(vi_or(vi_and(vi_shr(x, 4), low), vi_and(vi_shr(x, 2), high)), add));
  }
}

#if QK_WIDE
/* Blocks of 6 bits: four low and two high ones, joined to codes whose offset becomes 128. */
static inline void qk_unpack_six(const uint8_t *w, size_t blocks, uint8_t *to) {
  const vi nibble = vi_set1(0x0f0f0f0f), pair = vi_set1(0x30303030), add = vi_set1(0x60606060);
  for (; blocks > 0; blocks--, w += QK_SIX_BYTES) {
    for (size_t half = 0; half < 2; half++, to += 256) { /* 16 inputs */
      const int32_t *low = (const int32_t *)(const void *)(w + half * 128);
      const vi high = vi_load((const int32_t *)(const void *)(w + QK_SMALL_BYTES + half * 64));
      const vi first = vi_load(low), second = vi_load(low + 16);
      int32_t *out = (int32_t *)(void *)to;
      vi_store(out, vi_add(vi_or(vi_and(first, nibble), vi_and(vi_shl(high, 4), pair)), add));
      vi_store(out + 16, vi_add(vi_or(vi_and(vi_shr(first, 4), nibble), vi_and(vi_shl(high, 2), pair)), add));
      vi_store(out + 32, vi_add(vi_or(vi_and(second, nibble), vi_and(high, pair)), add));
      vi_store(out + 48, vi_add(vi_or(vi_and(vi_shr(second, 4), nibble), vi_and(vi_shr(high, 2), pair)), add));
    }
  }
}
#else
static inline void qk_unpack_small(const uint8_t *w, size_t blocks, uint8_t *to);
#endif

#ifndef QK_GROUP_SIDE
#define QK_GROUP_SIDE 0
#endif
/* Some tiles of the rows of a product. */
typedef struct qk_group_tiles {
  size_t rows, tiles;     /* of the product */
  size_t first, count, m; /* tiles here, and their first row */
  size_t chunk;           /* blocks of inputs at once */
  int side;               /* a single tile of a few rows that read codes of 4 bits as they lie in the file */
} qk_group_tiles;

/* Where a product's scales lie: floats of a panel, and between groups. */
typedef struct qk_group_scales {
  const float *scale; /* of panel p */
  size_t panel, step;
} qk_group_scales;

/* Blocks b ... b + blocks - 1 of panels p ... into steps, or, of 2 bits that a single row reads, into nibbles. */
static inline void qk_group_unpack(const qk_gemm_group *op, size_t p, size_t panels, size_t b, size_t blocks,
                                   int nibbles, uint8_t *steps, size_t panel_steps) {
  const size_t panel_bytes = QK_PANEL * qk_k8(op->k) * op->bits / 8;
  uint8_t spread[QK_GROUP_BLOCKS * QK_SMALL_BYTES] __attribute__((aligned(64)));
  for (size_t j = 0; j < panels; j++) {
    const uint8_t *w = op->w + (p + j) * panel_bytes + b * QK_SMALL_BYTES * op->bits / 4;
    uint8_t *to = steps + j * panel_steps;
    if (op->bits == 2) {
      qk_spread_u2(w, blocks, op->min != NULL, nibbles ? to : spread);
      w = spread;
    }
    if (nibbles) continue;
#if QK_WIDE
    if (op->bits == 6) {
      qk_unpack_six(w, blocks, to);
      continue;
    }
    const uint8_t *step = op->steps ? op->steps + (p + j) * 16 * qk_groups(op->k, op->group) : NULL;
    qk_unpack_wide(w, b, blocks, step, step ? op->group / QK_GROUP : 1, op->min != NULL, to);
#else
    qk_unpack_small(w, blocks, to);
#endif
  }
}

/* One exact sum of a row, whatever the groups. */
static inline int qk_group_whole_row(const qk_gemm_group *op) { return QK_WIDE && op->steps && !op->a.grouped; }
/* row: a single one is multiplied. */
static inline int qk_group_in_place(const qk_gemm_group *op, int row) {
  return op->bits == 8 || (QK_GROUP_ROW && row && op->bits == 4);
}
/* Chunks are as even as can be, and of whole groups, unless all inputs are one. */
static inline size_t qk_group_chunk(const qk_gemm_group *op, int row) {
  const size_t blocks = (op->k + QK_GROUP - 1) / QK_GROUP, group = op->a.group / QK_GROUP;
  const size_t each = qk_group_whole_row(op) || group > QK_GROUP_BLOCKS ? 1 : group;
  const size_t most = QK_GROUP_BLOCKS / each * each, chunks = (blocks + most - 1) / most;
  if (qk_group_in_place(op, row) || chunks == 1) return blocks;
  return qk_round_up((blocks + chunks - 1) / chunks, each);
}

/* The tiles, with panels p ... sums: room for one, or where there are several chunks for each, with the rows of a whole one. */
static inline void qk_gemm_group_block(const qk_gemm_group *op, const qk_group_scales *scales, qk_group_tiles some,
                                       size_t p, size_t panels, float *sums) {
  uint8_t steps[QK_TILE_PANELS * QK_GROUP_BLOCKS * QK_STEP_BYTES] __attribute__((aligned(64)));
  const size_t blocks = (op->k + QK_GROUP - 1) / QK_GROUP, panel_bytes = QK_PANEL * qk_k8(op->k) * op->bits / 8;
  const int whole_row = qk_group_whole_row(op), row = some.rows == 1 || some.side;
  const int in_place = qk_group_in_place(op, row);
  qk_tile_group t = {.lda = op->a.ld,
                     .groups = whole_row ? 1 : qk_groups(op->k, op->a.group),
                     .scale_panel = scales->panel,
                     .scale_step = scales->step,
                     .each = whole_row ? blocks : op->a.group / QK_GROUP,
                     .nibbles = QK_GROUP_ROW && row,
                     .narrow = op->a.bits == 4,
                     .start_by = whole_row ? 1 : 16};
  const int32_t *starts = whole_row ? op->a.start : op->a.group_start;
  const size_t chunk = some.chunk;
  const int by_tile = QK_UNPACKS_IN_TILE && !in_place && op->bits == 4 && panels == QK_TILE_PANELS &&
                      qk_tile_share(some.rows, some.tiles, some.first) == QK_TILE_ROWS;
  const size_t steps_bytes = chunk * (t.nibbles ? QK_SMALL_BYTES : QK_STEP_BYTES);
  t.sums_panel = t.groups * 16;
  for (size_t b = 0; b < blocks; b += chunk) {
    const size_t g = b / t.each;
    t.blocks = blocks - b < chunk ? blocks - b : chunk;
    t.fresh = b == 0 || t.each > chunk;
    t.begin = b % t.each == 0;
    t.end = (b + t.blocks) % t.each == 0 || b + t.blocks == blocks;
    t.w = op->w + p * panel_bytes;
    t.panel_bytes = panel_bytes;
    if (by_tile) { /* the first one, for all */
      t.w += b * QK_SMALL_BYTES;
      t.steps = steps;
      t.steps_bytes = steps_bytes;
    } else if (!in_place) {
      qk_group_unpack(op, p, panels, b, t.blocks, t.nibbles, steps, steps_bytes);
      t.w = steps;
      t.panel_bytes = steps_bytes;
    }
    t.scale = scales->scale + g * scales->step;
    t.min = op->min ? op->min + p * scales->panel + g * scales->step : NULL;
    if (QK_WIDE && op->a.grouped && !op->a.symmetric) t.sums = op->value_sums + (p * t.groups + g) * 16;
    for (size_t i = 0, m = some.m; i < some.count; i++) {
      const size_t rows = qk_tile_share(some.rows, some.tiles, some.first + i);
      t.a = op->a.codes + m * op->a.ld + b * QK_GROUP;
      t.start = starts + m * t.groups + g;
      if (QK_WIDE && op->a.grouped) {
        t.a_scale = op->a.scale + m * t.groups + g;
        t.a_zero = op->a.zero + m * t.groups + g;
      }
      t.out = sums + (chunk < blocks ? i : 0) * QK_TILE_ROWS * QK_TILE_WIDTH;
      qk_tile_group_run(&t, rows, panels);
      if (b + t.blocks == blocks) QK_FINISH_GROUP(op, t.out, QK_TILE_WIDTH, m, rows, p, panels);
      m += rows;
      if (t.steps) {
        t.steps = NULL;
        t.w = steps;
        t.panel_bytes = steps_bytes;
      }
    }
  }
}

/* The scales that tiles of panels p ... apply to sums. channel: room for those of channels, which are not padded. */
static inline qk_group_scales qk_scales_of(const qk_gemm_group *op, size_t p, size_t panels,
                                           float channel[QK_TILE_WIDTH]) {
  const size_t groups = op->group && !op->steps ? qk_groups(op->k, op->group) : 0, n0 = p * QK_PANEL;
  if (groups) return (qk_group_scales){op->scale + p * groups * 16, groups * 16, groups > 1 ? 16 : 0};
  for (size_t i = 0; i < panels * QK_PANEL; i++)
    channel[i] = !op->a.grouped ? 1.0f : n0 + i < op->n ? op->scale[n0 + i] : 0.0f;
  return (qk_group_scales){channel, 16, 0};
}

static inline void qk_gemm_group_over_tiles(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  float sums[QK_GROUP_TILES * QK_TILE_ROWS * QK_TILE_WIDTH] __attribute__((aligned(64)));
  float channel[QK_TILE_WIDTH];
  /* Few rows read a single stream of weights each, of 4 bits as many panels between two epilogues as a tile has room for. */
  const int side = op->bits == 4 && m1 - m0 > 1 && m1 - m0 <= QK_GROUP_SIDE;
  const int one_by_one = QK_GROUP_ROW && !side && m1 - m0 <= QK_GROUP_ROW;
  const size_t wide = (one_by_one && op->bits == 4 ? QK_TILE_ROWS : 1) * QK_TILE_PANELS;
  const size_t passes = one_by_one ? m1 - m0 : 1;
  qk_group_tiles all = {.rows = one_by_one ? 1 : m1 - m0, .side = side};
  all.tiles = (all.rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  all.chunk = qk_group_chunk(op, all.rows == 1 || side);
  const int at_once = all.chunk * QK_GROUP >= op->k;
  const size_t parts = at_once ? 1 : (all.tiles + QK_GROUP_TILES - 1) / QK_GROUP_TILES;
  const int alone = QK_PANELS_ALONE && !(QK_GROUP_ROW && (one_by_one || side));
  for (size_t p = p0, panels; p < p1; p += panels) {
    panels = p1 - p >= wide ? wide : alone ? 1 : p1 - p;
    const qk_group_scales scales = qk_scales_of(op, p, panels, channel);
    for (size_t pass = 0; pass < passes; pass++) {
      qk_group_tiles some = all;
      some.m = m0 + pass;
      for (size_t i = 0; i < parts; i++) {
        some.count = qk_tile_share(all.tiles, parts, i);
        qk_gemm_group_block(op, &scales, some, p, panels, sums);
        for (size_t j = 0; j < some.count; j++) some.m += qk_tile_share(all.rows, all.tiles, some.first + j);
        some.first += some.count;
      }
    }
  }
}

/* The small family takes codes of 4 and 2 bits whose scales are floats, on activations with one scale a row; all else is for `wide`. */
static inline void qk_gemm_group_small_or(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1,
                                          void (*wide)(const qk_gemm_group *, size_t, size_t, size_t, size_t)) {
  if (op->bits <= 4 && !op->steps && !op->a.grouped)
    qk_gemm_group_over_tiles(op, m0, m1, p0, p1);
  else
    wide(op, m0, m1, p0, p1);
}
#endif
