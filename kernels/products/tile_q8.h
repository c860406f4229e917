/* tile_q8.h - tiles (tile.h) over a dot product of four channels, read where they lie. Written once; an ISA gives its
 * geometry and its dot product before including this, beside its lanes:
 *
 *   QK_TILE_ROWS, QK_TILE_PANELS   largest tile
 *   QK_TILE_CASES(X)               X(rows, panels) for every size of tile: QK_ROWS_4 and QK_ROWS_6 help to list them
 *   QK_TILE_AHEAD                  defined: a tile asks for a line of weights at each step, from t->ahead on, into the L2 cache
 *   QK_ROW_CHAINS                  of sums of a single row: a divisor of 16; not for attention alone
 *   qk_dot_w, qk_dot_a             a 64-byte step of a panel, and 4 codes of a row, as the dot product wants them
 *   qk_dot_load(w), qk_dot_spread(a4)
 *   qk_dot_load_codes(w)           the same of codes without their offset of 128
 *   qk_dot(acc, w, a)              acc[c] += sum over i < 4 of (w[c][i] or w[c][i] - 128) * a[i]
 *   qk_dot_start(start)            start where qk_dot takes offset codes as they are, 0 where it takes the offset away
 *
 * Everything is always_inline with constant tile sizes, so that accumulators live in registers. */
#ifndef QK_PRODUCTS_TILE_Q8_H
#define QK_PRODUCTS_TILE_Q8_H
#include "kernels/products/tile.h"

#define QK_TILE_PARTS /* tiles can take parts of the inputs (gemm_parts.h) */

/* Weights that a tile asks for, line by line. */
typedef struct qk_tile_ahead {
  const uint8_t *at;
  size_t by;
} qk_tile_ahead;
static inline qk_tile_ahead qk_tile_ahead_of(const qk_tile_q8 *t) { return (qk_tile_ahead){t->ahead, t->ahead_by}; }
/* Adds `steps` steps from input `first` on to the sums. */
QK_INLINE void qk_tile_steps(vi acc[QK_TILE_ROWS][QK_TILE_PANELS], const qk_tile_q8 *t, size_t first, size_t steps,
                             qk_tile_ahead *ahead, const int rows, const int panels) {
  const int8_t *a = t->a + first;
  const uint8_t *w = t->w + first / QK_KSTEP * 64;
  const size_t lda = t->lda, panel_bytes = t->panel_bytes;
  for (; steps > 0; steps--) {
#ifdef QK_TILE_AHEAD
    __builtin_prefetch(ahead->at, 0, 2);
    ahead->at += ahead->by;
#endif
    qk_dot_w b[QK_TILE_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) b[p] = qk_dot_load(w + (size_t)p * panel_bytes);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_dot_a x = qk_dot_spread(a + (size_t)r * lda);
      QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = qk_dot(acc[r][p], b[p], x);
    }
    a += 4;
    w += 64;
  }
  (void)ahead;
}

QK_INLINE void qk_tile_fixed(const qk_tile_q8 *t, const int rows, const int panels) {
  qk_tile_ahead ahead = qk_tile_ahead_of(t);
  vi acc[QK_TILE_ROWS][QK_TILE_PANELS];
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      acc[r][p] = vi_set1(qk_dot_start(t->start[r]));
  qk_tile_steps(acc, t, 0, t->steps, &ahead, rows, panels);
  int32_t *out = t->out;
  const size_t ldo = t->ldo;
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      vi_store(out + (size_t)r * ldo + p * 16, acc[r][p]);
}

typedef void qk_tile_fn(const qk_tile_q8 *t);
#define QK_TILE_DEFINE(r, p)                                                                                           \
  static __attribute__((noinline)) void qk_tile_##r##x##p(const qk_tile_q8 *t) { qk_tile_fixed(t, r, p); }
QK_TILE_CASES(QK_TILE_DEFINE)
#define QK_TILE_ENTRY(r, p) [r - 1][p - 1] = qk_tile_##r##x##p,
static qk_tile_fn *const qk_tiles[QK_TILE_ROWS][QK_TILE_PANELS] = {QK_TILE_CASES(QK_TILE_ENTRY)};

#ifdef QK_ROW_CHAINS
/* One row times `panels` panels, one after another: a single stream of weights, asked for ahead of its use, into chains of sums
   that do not wait for each other. Takes the whole of a panel, whose padding meets codes of 0. */
static __attribute__((noinline)) void qk_row_run(const qk_tile_q8 *t, size_t panels) {
  const uint8_t *w = t->w;
  for (size_t p = 0; p < panels; p++) {
    const int8_t *a = t->a;
    vi acc[QK_ROW_CHAINS];
    QK_UNROLL for (int i = 0; i < QK_ROW_CHAINS; i++) acc[i] = vi_set1(i ? 0 : qk_dot_start(t->start[0]));
    for (size_t s = t->panel_bytes / (64 * QK_ROW_CHAINS); s > 0; s--) {
      QK_UNROLL for (int i = 0; i < QK_ROW_CHAINS; i++) {
        qk_ask_ahead(w + i * 64, 1);
        acc[i] = qk_dot(acc[i], qk_dot_load(w + i * 64), qk_dot_spread(a + i * 4));
      }
      a += 4 * QK_ROW_CHAINS;
      w += 64 * QK_ROW_CHAINS;
    }
    QK_UNROLL for (int i = 1; i < QK_ROW_CHAINS; i++) acc[0] = vi_add(acc[0], acc[i]);
    vi_store(t->out + p * 16, acc[0]);
  }
}
#endif

/* rows: 1 ... QK_TILE_ROWS, panels: 1 ... QK_TILE_PANELS. */
static inline void qk_tile_run(const qk_tile_q8 *t, size_t rows, size_t panels) { qk_tiles[rows - 1][panels - 1](t); }
#endif
