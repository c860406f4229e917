/* attention_q8.h - integer attention of one head (kernels.h: qk_attention_q8): up to 64 queries against blocks of 64 keys.
 * Queries are lanes: a vector holds one key's scores of 16 queries, so that maxima, sums, divisions and merging exponentials
 * cost as much for 16 queries as for one, and nothing is ever reduced across lanes. Scores are tiles (tile.h) of keys times
 * panels of queries, values tiles of queries times panels of channels. */
#ifndef QK_PRODUCTS_ATTENTION_Q8_H
#define QK_PRODUCTS_ATTENTION_Q8_H
#include <math.h>

#include "kernels/products/tile.h"
#include "kernels/rows/epilogue.h"

#define QK_ATTEND_VECTORS 4u /* of queries at a time: what one waits for is hidden by the others' work */
#define QK_QUERIES (QK_ATTEND_VECTORS * QK_LANES)
#define QK_KEY_STEPS (QK_BLOCK / QK_KSTEP) /* steps of a block of values: keys j, 16 + j, 32 + j, 48 + j lie together */

/* A tile of values. What rows past the last query give is not used, so there is no size but the largest. */
#ifdef QK_PRODUCTS_TILE_PACKED_H
#define QK_VALUE_ROWS QK_TILE_ROWS
#else
#define QK_VALUE_ROWS (QK_TILE_PANELS > 1 ? 8 : QK_TILE_ROWS)
#endif
#define QK_VALUE_PANELS (QK_TILE_PANELS > 1 ? 2 : 1)

/* Queries on their way through the blocks. */
typedef struct qk_attend {
  union {
    int32_t sums[QK_BLOCK + QK_VALUE_ROWS][QK_QUERIES]; /* of keys; later [query][channel] those of values */
    float score[QK_BLOCK][QK_QUERIES];                  /* x_j, then u_j */
  };
  int32_t p[QK_KEY_STEPS * QK_QUERIES + QK_VALUE_ROWS]; /* [step][query], four codes each */
  int32_t p_start[QK_QUERIES + QK_VALUE_ROWS];
  float window[QK_BLOCK + QK_QUERIES];           /* of the bias table, descending: that of key j and query r is at 63 - j + r */
  float factor[QK_QUERIES];                      /* f */
  float max[QK_QUERIES], z[QK_QUERIES];          /* M and Z of the blocks so far; at the end 1 / Z */
  float block_max[QK_QUERIES], by[QK_QUERIES];   /* m, 127 / t */
  float keep[QK_QUERIES], add[QK_QUERIES];       /* A, B * (t / 127) */
  size_t i, vectors, from, to;                   /* the first query, a multiple of 16; results are of i + from ... i + to - 1 */
} qk_attend;

/* Sums of `live` keys from j0 on and all queries. */
static inline void qk_attend_keys(qk_attend *s, const qk_head_q8 *hd, size_t j0, size_t live) {
  const size_t hp = qk_round_up(hd->h, QK_LANES), tiles = (live + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  for (size_t v = 0; v < s->vectors; v += QK_TILE_PANELS) {
    const size_t panels = s->vectors - v < QK_TILE_PANELS ? s->vectors - v : QK_TILE_PANELS;
    qk_tile_q8 t = {.w = hd->q + (s->i + v * QK_LANES) * hp,
                    .lda = hp,
                    .panel_bytes = QK_PANEL * hp,
                    .steps = hp / QK_KSTEP,
                    .ldo = QK_QUERIES};
    for (size_t i = 0, j = 0; i < tiles; i++) {
      const size_t n = qk_tile_share(live, tiles, i);
      t.a = hd->k + (j0 + j) * hp;
      t.start = hd->k_start + j0 + j;
      t.out = s->sums[j] + v * QK_LANES;
      qk_tile_run(&t, n, panels);
      j += n;
    }
  }
}

/* The softmax of a block, in phases; at: where the vector of queries begins. `live` and `biased` are constants where the block is
   whole and no bias is there, so that the loops over keys unroll. */

/* What bias there is for the block's keys and all queries, the other way round, so that queries ascend. */
static inline void qk_attend_window(qk_attend *s, const float *bias, size_t n, size_t j0) {
  const ptrdiff_t most = (ptrdiff_t)n - 1, first = (ptrdiff_t)j0 - (ptrdiff_t)s->i + (ptrdiff_t)QK_BLOCK - 1;
  for (ptrdiff_t k = 0; k < (ptrdiff_t)(QK_BLOCK + QK_QUERIES); k++) {
    const ptrdiff_t d = first - k;
    s->window[k] = d >= -most && d <= most ? bias[d] : 0.0f;
  }
}

/* x_j and m. */
QK_INLINE void qk_attend_scores(qk_attend *s, size_t at, const float *k_scale, const size_t live, const int biased,
                                const float *q_scale) {
  const vf scale = biased ? vf_load(q_scale + at) : vf_zero();
  vf max[4];
  QK_UNROLL for (size_t i = 0; i < 4; i++) max[i] = vf_set1(-INFINITY);
  for (size_t j = 0; j < live; j += 4)
    QK_UNROLL for (size_t i = 0; i < 4; i++) {
      if (j + i >= live) continue;
      vf x = vf_mul(vi_to_vf(vi_load(s->sums[j + i] + at)), vf_set1(k_scale[j + i]));
      if (biased) x = vf_fma(x, scale, vf_load(s->window + QK_BLOCK - 1 - (j + i) + at));
      vf_store(s->score[j + i] + at, x);
      max[i] = vf_max(max[i], x);
    }
  const vf m = vf_max(vf_max(max[0], max[1]), vf_max(max[2], max[3]));
  vf_store(s->block_max + at, vf_mul(m, vf_load(s->factor + at)));
}

/* e_j and their sum z, u_j and their maximum t; the block merges into M and Z: keep and add for the values. */
QK_INLINE void qk_attend_exp(qk_attend *s, size_t at, const float *v_scale, const size_t live, int first) {
  const vf factor = vf_load(s->factor + at), less = vf_neg(vf_load(s->block_max + at));
  float tree[8][QK_LANES]; /* lanes l and l + 8 of sum16, of each query */
  vf t = vf_zero();
  for (size_t l = 0; l < 8; l++) {
    vf sum[2], top[2];
    QK_UNROLL for (size_t i = 0; i < 2; i++) {
      sum[i] = top[i] = vf_zero();
      QK_UNROLL for (size_t j = 0; j < QK_BLOCK; j += 16) {
        const size_t key = l + 8 * i + j;
        if (key >= live) continue;
        float *score = s->score[key] + at;
        const vf e = qk_exp2_short(vf_fma(vf_load(score), factor, less)), u = vf_mul(e, vf_set1(v_scale[key]));
        sum[i] = vf_add(sum[i], e);
        top[i] = vf_max(top[i], u);
        vf_store(score, u);
      }
    }
    vf_store(tree[l], vf_add(sum[0], sum[1]));
    t = vf_max(t, vf_max(top[0], top[1]));
  }
  QK_UNROLL for (size_t step = 4; step; step /= 2) QK_UNROLL for (size_t l = 0; l < step; l++)
      vf_store(tree[l], vf_add(vf_load(tree[l]), vf_load(tree[l + step])));
  vf m = vf_load(s->block_max + at), z = vf_load(tree[0]), add = vf_div(t, vf_set1(127.0f)), keep = vf_zero();
  vf_store(s->by + at, vf_select_lt(t, vf_set1(0x1p-100f), vf_zero(), vf_div(vf_set1(127.0f), t)));
  if (!first) {
    const vf old = vf_load(s->max + at), max = vf_max(old, m), now = qk_exp2(vf_sub(m, max));
    keep = qk_exp2(vf_sub(old, max));
    add = vf_mul(now, add);
    z = vf_fma(keep, vf_load(s->z + at), vf_mul(now, z));
    m = max;
  }
  vf_store(s->max + at, m);
  vf_store(s->z + at, z);
  vf_store(s->keep + at, keep);
  vf_store(s->add + at, add);
}

/* p_j and their sums. A code is the low byte of u_j * by + QK_MAGIC. Codes are at most 127, so those of two steps add up within
   their bytes. */
QK_INLINE void qk_attend_codes(qk_attend *s, size_t at, const size_t live) {
  const vf by = vf_load(s->by + at), magic = vf_set1(QK_MAGIC);
  vi sum = vi_zero();
  for (size_t l = 0; l < QK_KEY_STEPS && l < live; l += 2) {
    vi two = vi_zero();
    QK_UNROLL for (size_t i = 0; i < 2; i++) {
      if (l + i >= live) continue;
      vi p[4];
      QK_UNROLL for (size_t j = 0; j < 4; j++) {
        const size_t key = l + i + 16 * j;
        p[j] = key < live ? vi_bits(vf_fma(vf_load(s->score[key] + at), by, magic)) : vi_zero();
      }
      const vi codes = vi_join8(p[0], p[1], p[2], p[3]);
      two = vi_add(two, codes);
      vi_store(s->p + (l + i) * QK_QUERIES + at, codes);
    }
    sum = vi_add(sum, vi_sum_bytes(two));
  }
  vi_store(s->p_start + at, vi_mul(sum, vi_set1(-128)));
}

QK_INLINE void qk_attend_softmax(qk_attend *s, const qk_head_q8 *hd, size_t j0, const size_t live, const int biased) {
  for (size_t v = 0; v < s->vectors; v++)
    qk_attend_scores(s, v * QK_LANES, hd->k_scale + j0, live, biased, hd->q_scale + s->i);
  for (size_t v = 0; v < s->vectors; v++) qk_attend_exp(s, v * QK_LANES, hd->v_scale + j0, live, j0 == 0);
  for (size_t v = 0; v < s->vectors; v++) qk_attend_codes(s, v * QK_LANES, live);
}

#ifdef QK_PRODUCTS_TILE_PACKED_H
/* Sums of queries from ... to - 1 and `panels` panels of values, to the queries' rows of s->sums. */
static inline void qk_attend_sums(qk_attend *s, const uint8_t *w, size_t steps, size_t panels) {
  int8_t rows[QK_QUERIES][QK_BLOCK] __attribute__((aligned(64)));
  const size_t tiles = (s->to - s->from + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  for (size_t r = s->from; r < s->to; r++)
    for (size_t j = 0; j < QK_KEY_STEPS; j++) {
      const int32_t codes = j < steps ? s->p[j * QK_QUERIES + r] : 0;
      memcpy(rows[r] + QK_KSTEP * j, &codes, sizeof codes);
    }
  qk_tile_q8 t = {.w = w, .lda = QK_BLOCK, .panel_bytes = QK_PANEL * QK_BLOCK, .steps = steps, .ldo = QK_QUERIES};
  for (size_t i = 0, r = s->from; i < tiles; i++) {
    const size_t n = qk_tile_share(s->to - s->from, tiles, i);
    t.a = rows[r];
    t.start = s->p_start + r;
    t.out = s->sums[r];
    qk_tile_run(&t, n, panels);
    r += n;
  }
}
#else
/* A tile whose rows lie side by side, their steps one after another: from row r on. */
QK_INLINE void qk_attend_tile(qk_attend *s, size_t r, const uint8_t *w, size_t steps, int32_t *out, const int panels) {
  vi acc[QK_VALUE_ROWS][QK_VALUE_PANELS];
  QK_UNROLL for (int i = 0; i < QK_VALUE_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++)
      acc[i][p] = vi_set1(qk_dot_start(s->p_start[r + (size_t)i]));
  const int32_t *a = s->p + r;
  for (; steps > 0; steps--) {
    qk_dot_w b[QK_VALUE_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) b[p] = qk_dot_load(w + (size_t)p * QK_PANEL * QK_BLOCK);
    QK_UNROLL for (int i = 0; i < QK_VALUE_ROWS; i++) {
      const qk_dot_a x = qk_dot_spread((const int8_t *)(a + i));
      QK_UNROLL for (int p = 0; p < panels; p++) acc[i][p] = qk_dot(acc[i][p], b[p], x);
    }
    a += QK_QUERIES;
    w += 64;
  }
  QK_UNROLL for (int i = 0; i < QK_VALUE_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++)
      vi_store(out + (size_t)i * QK_QUERIES + p * 16, acc[i][p]);
}

static inline void qk_attend_sums(qk_attend *s, const uint8_t *w, size_t steps, size_t panels) {
  for (size_t p = 0; p < panels; p += QK_VALUE_PANELS, w += QK_VALUE_PANELS * QK_PANEL * QK_BLOCK)
    for (size_t r = s->from; r < s->to; r += QK_VALUE_ROWS) {
      int32_t *out = s->sums[r] + p * QK_PANEL;
      if (QK_VALUE_PANELS > 1 && panels - p > 1)
        qk_attend_tile(s, r, w, steps, out, QK_VALUE_PANELS);
      else
        qk_attend_tile(s, r, w, steps, out, 1);
    }
}
#endif

/* O of channels c ... from the sums; after the last block times 1 / Z. */
QK_INLINE void qk_attend_values(const qk_attend *s, const qk_attention_q8 *op, size_t c, const int first,
                                const int last) {
  for (size_t r = s->from; r < s->to; r++) {
    float *out = op->out + (s->i + r) * op->ldo + c;
    const vf add = vf_set1(s->add[r]), keep = vf_set1(s->keep[r]), whole = vf_set1(s->z[r]);
    for (size_t x = 0; x < QK_BLOCK && c + x < op->head.h; x += 16) {
      const size_t n = op->head.h - c - x;
      vf o = vf_mul(add, vi_to_vf(vi_load(s->sums[r] + x)));
      if (!first) o = vf_fma(keep, qk_load_n(out + x, n), o);
      if (last) o = vf_mul(o, whole);
      qk_store_n(out + x, o, n);
    }
  }
}

static inline void qk_attend_queries(qk_attend *s, const qk_attention_q8 *op) {
  const qk_head_q8 *hd = &op->head;
  const size_t n = hd->n, hp = qk_round_up(hd->h, QK_LANES);
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES)
    vf_store(s->factor + at, op->bias ? vf_set1(1.0f) : vf_load(hd->q_scale + s->i + at));
  for (size_t j0 = 0; j0 < n; j0 += QK_BLOCK) {
    const size_t live = n - j0 < QK_BLOCK ? n - j0 : QK_BLOCK;
    const int first = j0 == 0, last = j0 + QK_BLOCK >= n;
    qk_attend_keys(s, hd, j0, live);
    if (op->bias) {
      qk_attend_window(s, op->bias, n, j0);
      qk_attend_softmax(s, hd, j0, live, 1);
    } else if (live == QK_BLOCK)
      qk_attend_softmax(s, hd, j0, QK_BLOCK, 0);
    else
      qk_attend_softmax(s, hd, j0, live, 0);
    for (size_t at = 0; last && at < s->vectors * QK_LANES; at += QK_LANES)
      vf_store(s->z + at, vf_div(vf_set1(1.0f), vf_load(s->z + at)));
    for (size_t c = 0; c < hp; c += QK_BLOCK) {
      qk_attend_sums(s, hd->v + j0 * hp + c * QK_BLOCK, live < QK_KEY_STEPS ? live : QK_KEY_STEPS,
                     (hp - c < QK_BLOCK ? hp - c : QK_BLOCK) / QK_PANEL);
      if (first && last)
        qk_attend_values(s, op, c, 1, 1);
      else if (first)
        qk_attend_values(s, op, c, 1, 0);
      else if (last)
        qk_attend_values(s, op, c, 0, 1);
      else
        qk_attend_values(s, op, c, 0, 0);
    }
  }
}

static inline void qk_attention_q8_over_tiles(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attend s __attribute__((aligned(64)));
  s.i = r0 / QK_LANES * QK_LANES;
  const size_t vectors = (r1 - s.i + QK_LANES - 1) / QK_LANES;
  const size_t groups = (vectors + QK_ATTEND_VECTORS - 1) / QK_ATTEND_VECTORS;
  for (size_t g = 0; g < groups; g++) {
    s.vectors = qk_tile_share(vectors, groups, g);
    s.from = r0 > s.i ? r0 - s.i : 0;
    s.to = r1 - s.i < s.vectors * QK_LANES ? r1 - s.i : s.vectors * QK_LANES;
    qk_attend_queries(&s, op);
    s.i += s.vectors * QK_LANES;
  }
}
#endif
