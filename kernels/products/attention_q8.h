/* attention_q8.h - integer attention of one head (kernels.h: qk_attention_q8): 16 queries against blocks of 64 keys. Scores and
 * values are tiles of tile.h; what is one number a query (maximum, sum, scale) is a lane of a vector, so that maxima, sums,
 * divisions and merging exponentials of 16 queries cost as much as one. */
#ifndef QK_PRODUCTS_ATTENTION_Q8_H
#define QK_PRODUCTS_ATTENTION_Q8_H
#include <math.h>

#include "kernels/products/tile.h"
#include "kernels/rows/epilogue.h"

#define QK_QUERIES 16u
#define QK_HALVES 2u /* groups of queries at a time: what one waits for is hidden by the other's work */

/* 16 queries on their way through the blocks; query r's numbers are lane r. */
typedef struct qk_attend {
  union {
    int32_t sums[QK_QUERIES][QK_BLOCK]; /* of keys, later of values */
    float score[QK_QUERIES][QK_BLOCK];  /* x_j, then u_j */
  };
  int8_t p[QK_QUERIES][QK_BLOCK]; /* in the order of values: keys j, 16 + j, 32 + j, 48 + j lie together */
  int32_t p_start[QK_QUERIES];
  size_t i, rows;                              /* the first query; how many, at most 16 */
  float max[QK_QUERIES], z[QK_QUERIES];        /* M and Z of the blocks so far; at the end 1 / Z */
  float factor[QK_QUERIES];                    /* f */
  float block_max[QK_QUERIES], by[QK_QUERIES]; /* m, 127 / t */
  float keep[QK_QUERIES], add[QK_QUERIES];     /* A, B * (t / 127) */
} qk_attend;

/* Sums of the queries' rows against `panels` panels, into s->sums. */
static inline void qk_attend_sums(qk_attend *s, qk_tile_q8 t, size_t panels) {
  const size_t tiles = (s->rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  t.ldo = QK_BLOCK;
  t.start_step = 1;
  for (size_t p = 0; p < panels; p += QK_TILE_PANELS) {
    qk_tile_q8 u = t;
    u.w = t.w + p * t.panel_bytes;
    u.ahead = u.w;
    for (size_t i = 0, r = 0; i < tiles; i++) {
      const size_t n = qk_tile_share(s->rows, tiles, i);
      u.a = t.a + r * t.lda;
      u.start = t.start + r;
      u.out = s->sums[r] + p * 16;
      qk_tile_run(&u, n, panels - p < QK_TILE_PANELS ? panels - p : QK_TILE_PANELS);
      r += n;
    }
  }
}

/* 16 - n floats in: n zeros, then -infinity for keys that are not there. */
static const float qk_dead_after[32] = {0,         0,         0,         0,         0,         0,         0,
                                        0,         0,         0,         0,         0,         0,         0,
                                        0,         0,         -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                                        -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                                        -INFINITY, -INFINITY, -INFINITY, -INFINITY};

/* The softmax of a block, in phases with a reduction between them. `live` and bias are constants where the block is whole and no bias is there, so that
   the loops over keys unroll. */

/* x_j, and m from their maxima. */
QK_INLINE void qk_attend_scores(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live, const float *bias) {
  vf m[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) m[r] = vf_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    vf max = vf_set1(-INFINITY);
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
      if (j >= live) continue;
      vf x = vf_mul(vi_to_vf(vi_load(s->sums[r] + j)), vf_load(hd->k_scale + j0 + j));
      if (bias)
        x = vf_fma(x, vf_set1(hd->q_scale[s->i + r]),
                   qk_load_n(bias + ((ptrdiff_t)(j0 + j) - (ptrdiff_t)(s->i + r)), live - j));
      if (live - j < 16) x = vf_add(vf_keep(x, live - j), vf_load(qk_dead_after + 16 - (live - j)));
      vf_store(s->score[r] + j, x);
      max = vf_max(max, x);
    }
    m[r] = max;
  }
  vf_store(s->block_max, vf_mul(vf_hmax_rows(m), vf_load(s->factor)));
}

/* e_j and their sums z, u_j and their maxima t; the block merges into M and Z: keep and add for the values. */
QK_INLINE void qk_attend_exp(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live) {
  vf sums[QK_QUERIES], tops[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) sums[r] = tops[r] = vf_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    const vf factor = vf_set1(s->factor[r]), less = vf_set1(-s->block_max[r]);
    vf sum = vf_zero(), top = vf_zero();
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
      if (j >= live) continue;
      const vf e = qk_exp2_short(vf_fma(vf_load(s->score[r] + j), factor, less));
      const vf u = vf_mul(e, vf_load(hd->v_scale + j0 + j));
      sum = vf_add(sum, e);
      top = vf_max(top, u);
      vf_store(s->score[r] + j, u);
    }
    sums[r] = sum;
    tops[r] = top;
  }
  const vf t = vf_hmax_rows(tops);
  vf m = vf_load(s->block_max), z = vf_sum_rows(sums), add = vf_div(t, vf_set1(127.0f)), keep = vf_zero();
  vf_store(s->by, vf_select_lt(t, vf_set1(0x1p-100f), vf_zero(), vf_div(vf_set1(127.0f), t)));
  if (j0) {
    const vf old = vf_load(s->max), max = vf_max(old, m), now = qk_exp2(vf_sub(m, max));
    keep = qk_exp2(vf_sub(old, max));
    add = vf_mul(now, add);
    z = vf_fma(keep, vf_load(s->z), vf_mul(now, z));
    m = max;
  }
  vf_store(s->max, m);
  vf_store(s->z, z);
  vf_store(s->keep, keep);
  vf_store(s->add, add);
}

/* p_j and their sums; those of dead keys are 0. A code is the low byte of u_j * by + QK_MAGIC, whose other bits are the same
   for all: four codes are joined by shifts. */
QK_INLINE void qk_attend_codes(qk_attend *s, const size_t live) {
  vi sums[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) sums[r] = vi_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    const vf by = vf_set1(s->by[r]), magic = vf_set1(QK_MAGIC);
    vi p[QK_BLOCK / 16];
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16)
        p[j / 16] = j < live ? vi_bits(vf_fma(vf_load(s->score[r] + j), by, magic)) : vi_zero();
    const vi low = vi_and(vi_or(p[0], vi_shl(p[1], 8)), vi_set1(0xffff));
    const vi codes = vi_or(low, vi_or(vi_shl(p[2], 16), vi_shl(p[3], 24)));
    sums[r] = vi_sum_bytes(codes);
    vi_store((int32_t *)(void *)s->p[r], codes);
  }
  vi_store(s->p_start, vi_mul(vi_sum_rows(sums), vi_set1(-128)));
}

/* O of channels c ... from the sums; after the last block times 1 / Z. */
static inline void qk_attend_values(const qk_attend *s, const qk_attention_q8 *op, size_t c, int first, int last) {
  const size_t h = op->head.h;
  for (size_t r = 0; r < s->rows; r++) {
    float *out = op->out + (s->i + r) * op->ldo;
    const vf add = vf_set1(s->add[r]), keep = vf_set1(s->keep[r]), whole = vf_set1(s->z[r]);
    for (size_t x = 0; x < QK_BLOCK && c + x < h; x += 16) {
      const size_t n = h - c - x;
      vf o = vf_mul(add, vi_to_vf(vi_load(s->sums[r] + x)));
      if (!first) o = vf_fma(keep, qk_load_n(out + c + x, n), o);
      if (last) o = vf_mul(o, whole);
      qk_store_n(out + c + x, o, n);
    }
  }
}

QK_INLINE void qk_attend_softmax(qk_attend *s, size_t halves, const qk_head_q8 *hd, size_t j0, const size_t live,
                                 const float *bias) {
  for (size_t i = 0; i < halves; i++) qk_attend_scores(s + i, hd, j0, live, bias);
  for (size_t i = 0; i < halves; i++) qk_attend_exp(s + i, hd, j0, live);
  for (size_t i = 0; i < halves; i++) qk_attend_codes(s + i, live);
}

static inline void qk_attend_queries(qk_attend *s, size_t halves, const qk_attention_q8 *op) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, hp = qk_round_up(hd->h, QK_LANES);
  for (size_t i = 0; i < halves; i++)
    for (size_t r = 0; r < QK_QUERIES; r++)
      s[i].factor[r] = op->bias || r >= s[i].rows ? 1.0f : hd->q_scale[s[i].i + r];
  for (size_t j0 = 0; j0 < n; j0 += QK_BLOCK) {
    const size_t live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
    for (size_t i = 0; i < halves; i++)
      qk_attend_sums(s + i,
                     (qk_tile_q8){.a = hd->q + s[i].i * hp,
                                  .start = hd->q_start + s[i].i,
                                  .w = hd->k + j0 * hp,
                                  .lda = hp,
                                  .panel_bytes = QK_PANEL * hp,
                                  .steps = hp / QK_KSTEP},
                     (live + QK_PANEL - 1) / QK_PANEL);
    if (live == QK_BLOCK && !op->bias)
      qk_attend_softmax(s, halves, hd, j0, QK_BLOCK, NULL);
    else
      qk_attend_softmax(s, halves, hd, j0, live, op->bias);
    const int last = j0 + QK_BLOCK >= n;
    for (size_t i = 0; last && i < halves; i++) vf_store(s[i].z, vf_div(vf_set1(1.0f), vf_load(s[i].z)));
    for (size_t c = 0; c < hp; c += QK_BLOCK) {
      for (size_t i = 0; i < halves; i++)
        qk_attend_sums(s + i,
                       (qk_tile_q8){.a = s[i].p[0],
                                    .start = s[i].p_start,
                                    .w = hd->v + j0 * hp + c * QK_BLOCK,
                                    .lda = QK_BLOCK,
                                    .panel_bytes = QK_PANEL * QK_BLOCK,
                                    .steps = live < 16 ? live : 16},
                       (hp - c < QK_BLOCK ? hp - c : QK_BLOCK) / QK_PANEL);
      for (size_t i = 0; i < halves; i++) qk_attend_values(s + i, op, c, j0 == 0, last);
    }
  }
}

static inline void qk_attention_q8_over_tiles(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attend s[QK_HALVES] __attribute__((aligned(64)));
  const size_t groups = (r1 - r0 + QK_QUERIES - 1) / QK_QUERIES;
  size_t row = r0;
  for (size_t g = 0; g < groups; g += QK_HALVES) {
    const size_t halves = groups - g < QK_HALVES ? groups - g : QK_HALVES;
    for (size_t i = 0; i < halves; i++) {
      s[i].i = row;
      s[i].rows = qk_tile_share(r1 - r0, groups, g + i);
      row += s[i].rows;
    }
    qk_attend_queries(s, halves, op);
  }
}
#endif
