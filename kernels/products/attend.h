/* attend.h - what integer attention is made of (docs/NUMERICS.md): up to 64 queries against a block of 64 keys, merged into what blocks
 * before gave. Queries are lanes: a vector holds one key's scores of 16 queries, so that maxima, sums, divisions and merging
 * exponentials cost as much for 16 queries as for one, and nothing is ever reduced across lanes. Scores are tiles of keys times
 * panels of queries, values tiles of queries times panels of channels: attend_tiles.h over tile_q8.h, attend_packed.h over
 * tile_packed.h. Blocks come from pointers: whole sequences (attention_q8.h) and caches (attend_cache.h) are taken alike. */
#ifndef QK_PRODUCTS_ATTEND_H
#define QK_PRODUCTS_ATTEND_H
#include <math.h>

#include "kernels/products/tile.h"
#include "kernels/rows/epilogue.h"

#define QK_ATTEND_VECTORS 4u /* of queries at a time: what one waits for is hidden by the others' work */
#define QK_QUERIES (QK_ATTEND_VECTORS * QK_LANES)
#define QK_KEY_STEPS (QK_BLOCK / QK_KSTEP) /* of values: keys j, 16 + j, 32 + j, 48 + j lie together */

/* A tile of scores or values. What rows give that are not there is not used, so there is no size but this. */
#define QK_ATTEND_ROWS (QK_TILE_PANELS > 1 ? 8 : 4)
#define QK_ATTEND_PANELS (QK_TILE_PANELS > 1 ? 2 : 1)

/* A block of 64 keys and values of one head, as codes (kernels.h: qk_head_q8), and queries on their way through such blocks. Where there
   is one number a query, rows of a last tile may lie past the end. */
typedef struct qk_attend {
  const int8_t *k;
  const int32_t *k_start;
  const float *k_scale;
  const uint8_t *v;
  const float *v_scale;
  size_t live; /* keys from here on are not looked at */
  /* Of the queries, vectors of 16: codes, scales, and results [queries, ldo], of which those of queries from ... to - 1 are written. */
  const uint8_t *q;
  const float *q_scale;
  float *out;
  size_t ldo, vectors, from, to;
  size_t h, hp; /* channels of a result; head size rounded up */
  int merging;  /* M and Z are there already */
  int begun;    /* results of blocks before are in out; else they are -0 */
  int last;     /* no block comes after this one */
  int biased;   /* the window of the bias table is added to scores */
  int masked;   /* queries see keys first ... end - 1 of the block, of each query its own */
  float cap;    /* of scores; 0: none */
  union {
    float score[QK_BLOCK][QK_QUERIES];  /* x_j, then u_j */
    int32_t sums[QK_BLOCK][QK_QUERIES]; /* of keys, or [query][channel] of values; rows in pairs */
  } __attribute__((aligned(64)));
  int32_t p[QK_KEY_STEPS * QK_QUERIES + QK_ATTEND_ROWS]; /* [step][query], four codes each */
  int32_t p_start[QK_QUERIES + QK_ATTEND_ROWS];
  float factor[QK_QUERIES];             /* f */
  float max[QK_QUERIES], z[QK_QUERIES]; /* M and Z of the blocks so far */
  float block_max[QK_QUERIES];          /* max of x_j, then m */
  float by[QK_QUERIES];                 /* 127 / t */
  float first[QK_QUERIES], end[QK_QUERIES];
  float window[QK_BLOCK + QK_QUERIES]; /* of the bias table, descending: that of key j and query r is at 63 - j + r */
  float keep[QK_QUERIES + QK_ATTEND_ROWS];   /* A */
  float add[QK_QUERIES + QK_ATTEND_ROWS];    /* B * (t / 127) */
  float divide[QK_QUERIES + QK_ATTEND_ROWS]; /* 1; with the last block 1 / Z */
} qk_attend;

/* What bias there is among n tokens for the block of keys from j0 on and QK_QUERIES queries from i on, the other way round, so that
   queries ascend. */
static inline void qk_attend_window(float window[QK_BLOCK + QK_QUERIES], const float *bias, size_t n, size_t j0,
                                    size_t i) {
  const ptrdiff_t most = (ptrdiff_t)n - 1, size = QK_BLOCK + QK_QUERIES;
  const ptrdiff_t first = (ptrdiff_t)j0 - (ptrdiff_t)i + (ptrdiff_t)QK_BLOCK - 1;
  for (ptrdiff_t k = 0; k < size; k++) {
    const ptrdiff_t d = first - k;
    window[k] = d >= -most && d <= most ? bias[d] : 0.0f;
  }
}
/* Whether scores are what tiles give, times the keys' scales. */
static inline int qk_attend_is_plain(const qk_attend *s) { return !s->biased && !s->masked && s->cap == 0.0f; }
/* x_j of the queries from `at` on, in the place of its sums. */
QK_INLINE vf qk_attend_score(qk_attend *s, size_t at, size_t j) {
  vf x = vf_mul(vi_to_vf(vi_bits(vf_load(s->score[j] + at))), vf_set1(s->k_scale[j]));
  if (s->biased) x = vf_fma(x, vf_load(s->q_scale + at), vf_load(s->window + QK_BLOCK - 1 - j + at));
  if (s->cap != 0.0f) x = qk_capped(vf_mul(x, vf_load(s->q_scale + at)), vf_set1(s->cap));
  if (s->masked) {
    const vf key = vf_set1((float)j), none = vf_set1(-INFINITY);
    x = vf_select_lt(key, vf_load(s->first + at), none, vf_select_lt(key, vf_load(s->end + at), x, none));
  }
  vf_store(s->score[j] + at, x);
  return x;
}
/* x of queries from `at` on that see a key of the block, y of others. */
static inline vf qk_attend_seen(const qk_attend *s, size_t at, vf x, vf y) {
  const vf some = vf_select_lt(vf_load(s->first + at), vf_set1((float)QK_BLOCK), x, y);
  return vf_select_lt(vf_zero(), vf_load(s->end + at), some, y);
}
/* O of query r from what it was; with the last block times 1 / Z. With the first block it was -0 and is not kept, which leaves
   every sum as it is. */
QK_INLINE vf qk_attend_value(const qk_attend *s, size_t r, vi sums, vf was) {
  const vf o = vf_mul(vf_set1(s->add[r]), vi_to_vf(sums));
  return vf_mul(vf_fma(vf_set1(s->keep[r]), was, o), vf_set1(s->divide[r]));
}
#define QK_NOTHING_8 -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f
static const float qk_nothing[32] = {QK_NOTHING_8, QK_NOTHING_8, QK_NOTHING_8, QK_NOTHING_8};

/* qk_attend_keys: scores of the block, and block_max. qk_attend_values: O of all channels. */
#ifdef QK_PRODUCTS_TILE_PACKED_H
#include "kernels/products/attend_packed.h"
#else
#include "kernels/products/attend_tiles.h"
#endif

/* The softmax of a block, of 16 queries from `at` on. Constants: `live` where the block is whole, so that loops over keys unroll;
   `calm`, whether no score is large. */

/* e_j and their sum z, u_j and their maximum t; the block merges into M and Z: keep and add for the values. */
QK_INLINE void qk_attend_exp(qk_attend *s, size_t at, const size_t live, const int calm) {
  const float *v_scale = s->v_scale;
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
        const vf x = vf_fma(vf_load(score), factor, less), e = calm ? qk_exp2_short_low(x) : qk_exp2_short(x);
        const vf u = vf_mul(e, vf_set1(v_scale[key]));
        sum[i] = vf_add(sum[i], e);
        top[i] = vf_max(u, top[i]); /* in this order +0 if none is above it */
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
  if (s->merging) {
    const vf old = vf_load(s->max + at), max = vf_max(old, m), now = qk_exp2(vf_sub(m, max));
    keep = qk_exp2(vf_sub(old, max));
    add = vf_mul(now, add);
    m = max;
    if (s->masked) { /* who sees nothing keeps all that was: O + -0 is O */
      keep = qk_attend_seen(s, at, keep, vf_set1(1.0f));
      add = qk_attend_seen(s, at, add, vf_set1(-0.0f));
      m = qk_attend_seen(s, at, m, old);
    }
    z = vf_fma(keep, vf_load(s->z + at), vf_mul(now, z));
  }
  vf_store(s->max + at, m);
  vf_store(s->z + at, z);
  vf_store(s->keep + at, keep);
  vf_store(s->add + at, add);
  if (s->last) vf_store(s->divide + at, vf_div(vf_set1(1.0f), z));
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

QK_INLINE void qk_attend_softmax(qk_attend *s, const size_t live, const int calm) {
  const size_t end = s->vectors * QK_LANES;
  for (size_t at = 0; at < end; at += QK_LANES) qk_attend_exp(s, at, live, calm);
  for (size_t at = 0; at < end; at += QK_LANES) qk_attend_codes(s, at, live);
}

/* m of all queries. Returns whether it makes no difference whether they are large: they are below 2^30 and numbers, and so
   no score is above m by more than its rounding, 64. */
static inline int qk_attend_max(qk_attend *s) {
  vi most = vi_zero();
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES) {
    vf m = vf_mul(vf_load(s->block_max + at), vf_load(s->factor + at));
    if (s->masked) m = qk_attend_seen(s, at, m, vf_zero());
    vf_store(s->block_max + at, m);
    most = vi_max(most, vi_bits(vf_abs(m)));
  }
  return !QK_LANES_SCALE || vi_hmax(most) < 0x4e800000; /* 2^30 */
}

/* Queries before their first block. */
static inline void qk_attend_begin(qk_attend *s) {
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES) {
    vf_store(s->factor + at, s->biased || s->cap != 0.0f ? vf_set1(1.0f) : vf_load(s->q_scale + at));
    vf_store(s->divide + at, vf_set1(1.0f));
    vf_store(s->max + at, vf_set1(-INFINITY));
    vf_store(s->z + at, vf_zero());
  }
  s->begun = s->last = s->masked = 0;
}
/* Query r sees keys of the block from first + row[r] to end + row[r] - 1; row: at most 63. */
static inline void qk_attend_mask(qk_attend *s, int64_t first, int64_t end, const float row[QK_QUERIES]) {
  const int64_t far = 4 * (int64_t)QK_BLOCK; /* as good as any distance more */
  const vf from = vf_set1((float)(first < -far ? -far : first)), to = vf_set1((float)(end > far ? far : end));
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES) {
    vf_store(s->first + at, vf_add(from, vf_load(row + at)));
    vf_store(s->end + at, vf_add(to, vf_load(row + at)));
  }
  s->masked = 1;
}
/* What a block gives all queries, merged. */
static __attribute__((noinline)) void qk_attend_block(qk_attend *s) {
  qk_attend_keys(s);
  const int calm = qk_attend_max(s);
  if (!calm)
    qk_attend_softmax(s, s->live, 0);
  else if (s->live == QK_BLOCK)
    qk_attend_softmax(s, QK_BLOCK, 1);
  else
    qk_attend_softmax(s, s->live, 1);
  qk_attend_values(s);
  s->merging = s->begun = 1;
}
#endif
