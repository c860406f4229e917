/* attention_amx.h - integer attention (attention_q8.h) with its sums in AMX tiles: 16 queries are one tile of codes, 64 keys or
 * channels four tiles of sums. Over lanes and the vocabulary of kernels/amx/tiles_amx.h. */
#ifndef QK_PRODUCTS_ATTENTION_AMX_H
#define QK_PRODUCTS_ATTENTION_AMX_H
#include "kernels/products/amx_config.h"
#include "kernels/products/tile.h"

static void qk_tile_run(const qk_tile_q8 *t, size_t rows, size_t panels);
#include "kernels/products/attention_q8.h"

/* Tiles 4 and 5 are codes and weights of 64 channels, 6 and 7 of the channels that a head has beyond a multiple of 64. */
static inline qk_amx_config qk_amx_head_config(size_t hp) {
  qk_amx_config c = qk_amx_whole();
  if (hp % QK_AMX_BYTES) {
    c.bytes[6] = (uint16_t)(hp % QK_AMX_BYTES);
    c.rows[7] = (uint8_t)(hp % QK_AMX_BYTES / QK_KSTEP);
  }
  return c;
}

#define QK_AMX_PANELS(a, w_tile, w)                                                                                    \
  do {                                                                                                                 \
    AMX_LOAD(w_tile, w, QK_AMX_BYTES);                                                                                 \
    AMX_DOT(0, a, w_tile);                                                                                             \
    if (panels > 1) {                                                                                                  \
      AMX_LOAD(w_tile, (w) + t->panel_bytes, QK_AMX_BYTES);                                                            \
      AMX_DOT(1, a, w_tile);                                                                                           \
    }                                                                                                                  \
    if (panels > 2) {                                                                                                  \
      AMX_LOAD(w_tile, (w) + 2 * t->panel_bytes, QK_AMX_BYTES);                                                        \
      AMX_DOT(2, a, w_tile);                                                                                           \
    }                                                                                                                  \
    if (panels > 3) {                                                                                                  \
      AMX_LOAD(w_tile, (w) + 3 * t->panel_bytes, QK_AMX_BYTES);                                                        \
      AMX_DOT(3, a, w_tile);                                                                                           \
    }                                                                                                                  \
  } while (0)

/* Writes all 16 rows of out. Fewer rows are copied: past the last query there may be no memory. */
static void qk_tile_run(const qk_tile_q8 *t, size_t rows, size_t panels) {
  int32_t start[QK_QUERIES][16] __attribute__((aligned(64))) = {{0}};
  int8_t copy[QK_QUERIES][QK_AMX_BYTES] __attribute__((aligned(64))) = {{0}};
  const size_t channels = t->panel_bytes / QK_PANEL, out_bytes = t->ldo * sizeof(int32_t);
  for (size_t r = 0; r < rows; r++) vi_store(start[r], vi_set1(t->start[r]));
  AMX_LOAD(0, start, 64);
  if (panels > 1) AMX_LOAD(1, start, 64);
  if (panels > 2) AMX_LOAD(2, start, 64);
  if (panels > 3) AMX_LOAD(3, start, 64);
  for (size_t c = 0; c < channels; c += QK_AMX_BYTES) {
    const size_t n = channels - c < QK_AMX_BYTES ? channels - c : QK_AMX_BYTES;
    const int8_t *a = t->a + c;
    const uint8_t *w = t->w + c * QK_PANEL;
    size_t lda = t->lda;
    if (rows < QK_QUERIES) {
      for (size_t r = 0; r < rows; r++) memcpy(copy[r], a + r * lda, n);
      a = copy[0];
      lda = QK_AMX_BYTES;
    }
    if (n == QK_AMX_BYTES) {
      AMX_LOAD(4, a, lda);
      QK_AMX_PANELS(4, 5, w);
    } else {
      AMX_LOAD(6, a, lda);
      QK_AMX_PANELS(6, 7, w);
    }
  }
  AMX_STORE(0, t->out, out_bytes);
  if (panels > 1) AMX_STORE(1, t->out + 16, out_bytes);
  if (panels > 2) AMX_STORE(2, t->out + 32, out_bytes);
  if (panels > 3) AMX_STORE(3, t->out + 48, out_bytes);
}

static inline void qk_attention_q8_over_amx(const qk_attention_q8 *op, size_t r0, size_t r1) {
  const qk_amx_config c = qk_amx_head_config(qk_round_up(op->head.h, QK_LANES));
  AMX_CONFIGURE(&c);
  qk_attention_q8_over_tiles(op, r0, r1);
  AMX_RELEASE();
}
#endif
