/* attention_q8.h - integer attention of one head (kernels.h: qk_attention_q8): 16 queries against blocks of 64 keys. Scores and
 * values are tiles of tile.h; what is one number a query (maximum, sum, scale) is a lane of a vector, so that maxima, sums,
 * divisions and merging exponentials of 16 queries cost as much as one. */
#ifndef QK_PRODUCTS_ATTENTION_Q8_H
#define QK_PRODUCTS_ATTENTION_Q8_H
#include <math.h>

#include "kernels/products/tile.h"
#include "kernels/rows/epilogue.h"

#define QK_QUERIES 16u

/* 16 queries on their way through the blocks; query r's numbers are lane r. */
typedef struct qk_attend {
  float score[QK_QUERIES][QK_BLOCK]; /* s_j, then u_j */
  int32_t sums[QK_QUERIES][QK_BLOCK];
  int8_t p[QK_QUERIES][QK_BLOCK];
  int32_t p_start[QK_QUERIES];
  size_t i, rows;                              /* the first query; how many, at most 16 */
  float max[QK_QUERIES], z[QK_QUERIES];        /* M and Z of the blocks so far */
  float block_max[QK_QUERIES], by[QK_QUERIES]; /* m, 127 / t */
  float keep[QK_QUERIES], add[QK_QUERIES];     /* A, B * (t / 127) */
} qk_attend;

/* Sums of the queries' rows against `panels` panels, into s->sums. */
static inline void qk_attend_sums(qk_attend *s, qk_tile_q8 t, size_t panels) {
  const size_t tiles = (s->rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  t.ldo = QK_BLOCK;
  for (size_t p = 0; p < panels; p += QK_TILE_PANELS) {
    qk_tile_q8 u = t;
    u.w = t.w + p * t.panel_bytes;
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

/* s_j and their maxima. */
QK_INLINE void qk_attend_scores(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live, const float *bias) {
  vf m[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) m[r] = vf_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    const vf q_scale = vf_set1(hd->q_scale[s->i + r]);
    vf max = vf_set1(-INFINITY);
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
      if (j >= live) continue;
      vf x = vf_mul(vf_mul(vi_to_vf(vi_load(s->sums[r] + j)), vf_load(hd->k_scale + j0 + j)), q_scale);
      if (bias) x = vf_add(x, qk_load_n(bias + ((ptrdiff_t)(j0 + j) - (ptrdiff_t)(s->i + r)), live - j));
      if (live - j < 16) x = vf_add(vf_keep(x, live - j), vf_load(qk_dead_after + 16 - (live - j)));
      vf_store(s->score[r] + j, x);
      max = vf_max(max, x);
    }
    m[r] = max;
  }
  vf_store(s->block_max, vf_hmax_rows(m));
}

/* e_j and their sums z, u_j and their maxima t; the block merges into M and Z: keep and add for the values. */
QK_INLINE void qk_attend_exp(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live) {
  vf sums[QK_QUERIES], tops[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) sums[r] = tops[r] = vf_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    const vf max = vf_set1(s->block_max[r]);
    vf sum = vf_zero(), top = vf_zero();
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
      if (j >= live) continue;
      const vf e = qk_exp2(vf_sub(vf_load(s->score[r] + j), max)), u = vf_mul(e, vf_load(hd->v_scale + j0 + j));
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

/* p_j and their sums; those of dead keys are 0. */
QK_INLINE void qk_attend_codes(qk_attend *s, const size_t live) {
  vi sums[QK_QUERIES];
  if (s->rows < QK_QUERIES) { QK_UNROLL for (size_t r = 0; r < QK_QUERIES; r++) sums[r] = vi_zero(); }
  for (size_t r = 0; r < s->rows; r++) {
    const vf by = vf_set1(s->by[r]);
    vi sum = vi_zero();
    QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
      if (j >= live) {
        vi_store8(s->p[r] + j, vi_zero());
        continue;
      }
      const vi p = vf_to_vi(vf_mul(vf_load(s->score[r] + j), by));
      sum = vi_add(sum, p);
      vi_store8(s->p[r] + j, p);
    }
    sums[r] = sum;
  }
  vi_store(s->p_start, vi_mul(vi_sum_rows(sums), vi_set1(-128)));
}

/* O of channels c ... from the sums; the last block divides by Z. */
static inline void qk_attend_values(const qk_attend *s, const qk_attention_q8 *op, size_t c, int first, int last) {
  const size_t h = op->head.h;
  for (size_t r = 0; r < s->rows; r++) {
    float *out = op->out + (s->i + r) * op->ldo;
    for (size_t x = 0; x < QK_BLOCK && c + x < h; x += 16) {
      const size_t n = h - c - x;
      vf o = vf_mul(vf_set1(s->add[r]), vi_to_vf(vi_load(s->sums[r] + x)));
      if (!first) o = vf_fma(vf_set1(s->keep[r]), qk_load_n(out + c + x, n), o);
      if (last) o = vf_div(o, vf_set1(s->z[r]));
      qk_store_n(out + c + x, o, n);
    }
  }
}

QK_INLINE void qk_attend_softmax(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live, const float *bias) {
  qk_attend_scores(s, hd, j0, live, bias);
  qk_attend_exp(s, hd, j0, live);
  qk_attend_codes(s, live);
}

static inline void qk_attend_queries(qk_attend *s, const qk_attention_q8 *op) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, hp = qk_round_up(hd->h, QK_LANES);
  for (size_t j0 = 0; j0 < n; j0 += QK_BLOCK) {
    const size_t live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
    qk_attend_sums(s,
                   (qk_tile_q8){.a = hd->q + s->i * hp,
                                .start = hd->q_start + s->i,
                                .w = hd->k + j0 * hp,
                                .lda = hp,
                                .panel_bytes = QK_PANEL * hp,
                                .steps = hp / QK_KSTEP},
                   (live + QK_PANEL - 1) / QK_PANEL);
    if (live == QK_BLOCK && !op->bias)
      qk_attend_softmax(s, hd, j0, QK_BLOCK, NULL);
    else
      qk_attend_softmax(s, hd, j0, live, op->bias);
    for (size_t c = 0; c < hp; c += QK_BLOCK) {
      qk_attend_sums(s,
                     (qk_tile_q8){.a = s->p[0],
                                  .start = s->p_start,
                                  .w = hd->v + j0 * hp + c * QK_BLOCK,
                                  .lda = QK_BLOCK,
                                  .panel_bytes = QK_PANEL * QK_BLOCK,
                                  .steps = (live + QK_KSTEP - 1) / QK_KSTEP},
                     (hp - c < QK_BLOCK ? hp - c : QK_BLOCK) / QK_PANEL);
      qk_attend_values(s, op, c, j0 == 0, j0 + QK_BLOCK >= n);
    }
  }
}

static inline void qk_attention_q8_over_tiles(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attend s __attribute__((aligned(64)));
  const size_t groups = (r1 - r0 + QK_QUERIES - 1) / QK_QUERIES;
  s.i = r0;
  for (size_t g = 0; g < groups; g++) {
    s.rows = qk_tile_share(r1 - r0, groups, g);
    qk_attend_queries(&s, op);
    s.i += s.rows;
  }
}
#endif
