/* tile.h - what the products ask of a tile: exact int32 sums of a few rows of activation codes times a few panels. A set
 * defines QK_TILE_ROWS and QK_TILE_PANELS, its largest tile, and includes tile_q8.h (over a dot product of one step)
 * or tile_packed.h (over copied activations); each gives qk_tile_run. */
#ifndef QK_PRODUCTS_TILE_H
#define QK_PRODUCTS_TILE_H
#include "kernels/layout.h"

/* For QK_TILE_CASES: tiles of up to 4, of up to 6 rows; of more than one. */
#define QK_ROWS_FROM_2_TO_4(X, panels) X(2, panels) X(3, panels) X(4, panels)
#define QK_ROWS_FROM_2_TO_6(X, panels) QK_ROWS_FROM_2_TO_4(X, panels) X(5, panels) X(6, panels)
#define QK_ROWS_4(X, panels) X(1, panels) QK_ROWS_FROM_2_TO_4(X, panels)
#define QK_ROWS_6(X, panels) X(1, panels) QK_ROWS_FROM_2_TO_6(X, panels)

/* Bytes of weights that a few rows ask for before their use, into the L2 and then into the L1 cache: lines from memory wait for less room
   in the former. */
#define QK_ROW_AHEAD 8192
#define QK_ROW_SOON 2048
/* For the line at w of one of `streams` panels that are read side by side. */
QK_INLINE void qk_ask_ahead(const uint8_t *w, const int streams) {
  __builtin_prefetch(w + QK_ROW_AHEAD / streams, 0, 2);
  __builtin_prefetch(w + QK_ROW_SOON / streams);
}

#define QK_TILE_WIDTH (QK_TILE_PANELS * 16) /* columns of a full tile */

typedef struct qk_tile_q8 {
  const int8_t *a;       /* first row of codes */
  const int32_t *start;  /* of the rows: -128 * sum of codes */
  const uint8_t *w;      /* first panel */
  const uint8_t *ahead;  /* weights that tiles ask for before their use, where QK_TILE_AHEAD is defined */
  const int32_t *w_sums; /* [panels * 16] sums of the columns' codes, where QK_TILE_W_SUMS is defined */
  int32_t *out;          /* [rows rounded up to 2, ldo] sums */
  size_t lda, panel_bytes, steps, ldo,
      ahead_by; /* steps of 4 input channels; past them, codes are 0 as far as the panel goes */
} qk_tile_q8;

/* Rows of tile `i` of `tiles` that share `rows` rows as evenly as can be: 16 rows in tiles of 6 are 6, 5, 5. */
static inline size_t qk_tile_share(size_t rows, size_t tiles, size_t i) { return rows / tiles + (i < rows % tiles); }
#endif
