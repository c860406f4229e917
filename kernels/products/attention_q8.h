/* attention_q8.h - integer attention of one head (kernels.h: qk_attention_q8): 16 queries against blocks of 64 keys. Scores and
 * values are tiles of tile_q8.h; what is one number a query (maximum, sum, scale) is a lane of a vector, so that maxima, sums,
 * divisions and merging exponentials of 16 queries cost as much as one. */
#ifndef QK_PRODUCTS_ATTENTION_Q8_H
#define QK_PRODUCTS_ATTENTION_Q8_H
#include <math.h>

#include "kernels/products/tile_q8.h"
#include "kernels/rows/epilogue.h"

#define QK_QUERIES 16u

/* 16 queries on their way through the blocks. */
typedef struct qk_attend {
  float score[QK_QUERIES][QK_BLOCK]; /* s_j, then u_j */
  int32_t sums[QK_QUERIES][QK_BLOCK];
  int8_t p[QK_QUERIES][QK_BLOCK];
  int32_t p_start[QK_QUERIES];
  float max[QK_QUERIES], z[QK_QUERIES];        /* M and Z of the blocks so far */
  float block_max[QK_QUERIES], by[QK_QUERIES]; /* m, 127 / t */
  float keep[QK_QUERIES], add[QK_QUERIES];     /* A, B * (t / 127) */
} qk_attend;

/* Sums of `rows` rows against `panels` panels, into s->sums. */
static inline void qk_attend_sums(qk_attend *s, qk_tile_q8 t, size_t rows, size_t panels) {
  const size_t tiles = (rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  t.ldo = QK_BLOCK;
  for (size_t p = 0; p < panels; p += QK_TILE_PANELS) {
    qk_tile_q8 u = t;
    u.w = t.w + p * t.panel_bytes;
    for (size_t i = 0, r = 0; i < tiles; i++) {
      const size_t n = qk_tile_share(rows, tiles, i);
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

/* s_j of row r, query i, keys j0 ..., `live` of them; returns their maximum lane by lane. */
static inline vf qk_attend_scores(qk_attend *s, const qk_attention_q8 *op, size_t r, size_t i, size_t j0, size_t live) {
  const vf q_scale = vf_set1(op->head.q_scale[i]);
  vf max = vf_set1(-INFINITY);
  for (size_t j = 0; j < live; j += 16) {
    vf x = vf_mul(vf_mul(vi_to_vf(vi_load(s->sums[r] + j)), vf_load(op->head.k_scale + j0 + j)), q_scale);
    if (op->bias) x = vf_add(x, qk_load_n(op->bias + ((ptrdiff_t)(j0 + j) - (ptrdiff_t)i), live - j));
    if (live - j < 16) x = vf_add(vf_keep(x, live - j), vf_load(qk_dead_after + 16 - (live - j)));
    vf_store(s->score[r] + j, x);
    max = vf_max(max, x);
  }
  return max;
}

/* u_j of row r from its scores; *z: e_j, *t: u_j, both lane by lane. */
static inline void qk_attend_exp(qk_attend *s, const float *v_scale, size_t r, size_t live, vf *z, vf *t) {
  const vf max = vf_set1(s->block_max[r]);
  vf sum = vf_zero(), top = vf_zero();
  for (size_t j = 0; j < live; j += 16) {
    const vf e = qk_exp2(vf_sub(vf_load(s->score[r] + j), max)), u = vf_mul(e, vf_load(v_scale + j));
    sum = vf_add(sum, e);
    top = vf_max(top, u);
    vf_store(s->score[r] + j, u);
  }
  *z = sum;
  *t = top;
}

/* p_j of row r; returns their sum lane by lane. Keys past `live` have p = 0. */
static inline vi qk_attend_codes(qk_attend *s, size_t r, size_t live) {
  const vf by = vf_set1(s->by[r]);
  vi sum = vi_zero();
  for (size_t j = 0; j < QK_BLOCK; j += 16) {
    const vi p = j < live ? vf_to_vi(vf_mul(vf_load(s->score[r] + j), by)) : vi_zero();
    sum = vi_add(sum, p);
    vi_store8(s->p[r] + j, p);
  }
  return sum;
}

/* Merges the block's maxima m, sums z and tops t into M and Z; keep and add for the values. */
static inline void qk_attend_merge(qk_attend *s, int first, vf m, vf z, vf t) {
  vf add = vf_div(t, vf_set1(127.0f)), keep = vf_zero();
  if (!first) {
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

/* O of columns c ... of `rows` queries from the sums; the last block divides by Z. */
static inline void qk_attend_values(const qk_attend *s, const qk_attention_q8 *op, size_t i, size_t rows, size_t c,
                                    int first, int last) {
  const size_t h = op->head.h;
  for (size_t r = 0; r < rows; r++) {
    float *out = op->out + (i + r) * op->ldo;
    for (size_t x = 0; x < QK_BLOCK && c + x < h; x += 16) {
      const size_t n = h - c - x;
      vf o = vf_mul(vf_set1(s->add[r]), vi_to_vf(vi_load(s->sums[r] + x)));
      if (!first) o = vf_fma(vf_set1(s->keep[r]), qk_load_n(out + c + x, n), o);
      if (last) o = vf_div(o, vf_set1(s->z[r]));
      qk_store_n(out + c + x, o, n);
    }
  }
}

/* Queries i ... i + rows - 1, rows <= 16. */
static inline void qk_attend_queries(qk_attend *s, const qk_attention_q8 *op, size_t i, size_t rows) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, hp = qk_round_up(hd->h, QK_LANES);
  for (size_t j0 = 0; j0 < n; j0 += QK_BLOCK) {
    const size_t live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
    const int first = j0 == 0, last = j0 + QK_BLOCK >= n;
    vf a[QK_QUERIES], b[QK_QUERIES];
    vi c[QK_QUERIES];
    for (size_t r = rows; r < QK_QUERIES; r++) a[r] = b[r] = vf_zero(), c[r] = vi_zero();
    qk_attend_sums(s,
                   (qk_tile_q8){.a = hd->q + i * hp,
                                .start = hd->q_start + i,
                                .w = hd->k + j0 * hp,
                                .lda = hp,
                                .panel_bytes = QK_PANEL * hp,
                                .steps = hp / QK_KSTEP},
                   rows, (live + QK_PANEL - 1) / QK_PANEL);
    for (size_t r = 0; r < rows; r++) a[r] = qk_attend_scores(s, op, r, i + r, j0, live);
    const vf m = vf_hmax_rows(a);
    vf_store(s->block_max, m);
    for (size_t r = 0; r < rows; r++) qk_attend_exp(s, hd->v_scale + j0, r, live, &a[r], &b[r]);
    const vf z = vf_sum_rows(a), t = vf_hmax_rows(b);
    vf_store(s->by, vf_select_lt(t, vf_set1(0x1p-100f), vf_zero(), vf_div(vf_set1(127.0f), t)));
    for (size_t r = 0; r < rows; r++) c[r] = qk_attend_codes(s, r, live);
    vi_store(s->p_start, vi_mul(vi_sum_rows(c), vi_set1(-128)));
    qk_attend_merge(s, first, m, z, t);
    for (size_t x = 0; x < hp; x += QK_BLOCK) {
      const size_t panels = (hp - x < QK_BLOCK ? hp - x : QK_BLOCK) / QK_PANEL;
      qk_attend_sums(s,
                     (qk_tile_q8){.a = s->p[0],
                                  .start = s->p_start,
                                  .w = hd->v + j0 * hp + x * QK_BLOCK,
                                  .lda = QK_BLOCK,
                                  .panel_bytes = QK_PANEL * QK_BLOCK,
                                  .steps = (live + QK_KSTEP - 1) / QK_KSTEP},
                     rows, panels);
      qk_attend_values(s, op, i, rows, x, first, last);
    }
  }
}

static inline void qk_attention_q8_over_tiles(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attend s __attribute__((aligned(64)));
  const size_t groups = (r1 - r0 + QK_QUERIES - 1) / QK_QUERIES;
  for (size_t g = 0, i = r0; g < groups; g++) {
    const size_t rows = qk_tile_share(r1 - r0, groups, g);
    qk_attend_queries(&s, op, i, rows);
    i += rows;
  }
}
#endif
