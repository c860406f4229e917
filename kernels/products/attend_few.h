/* attend_few.h - a few queries, at most 16, over blocks of a cache (kernels.h: qk_attend_cache): what decoding asks for, where one row has
 * as many queries as heads share their keys. Keys are lanes: a block is read once, four panels of 16 keys at a time, for up to four
 * queries. What a block gives goes to memory as a part, and merges from there, so that attend_part and attend_merge are this, too.
 * Over tile_q8.h's dot product; QK_PART_FLOATS: the function for blocks of floats (attention_f32.h). */
#ifndef QK_PRODUCTS_ATTEND_FEW_H
#define QK_PRODUCTS_ATTEND_FEW_H
#include <math.h>

#include "kernels/products/attend_queries.h"

#define QK_FEW 16u
#define QK_FEW_ROWS 4
#define QK_FEW_PANELS (QK_TILE_PANELS > 1 ? 4 : 1)

typedef struct qk_few {
  const qk_attend_cache *op;
  qk_queries queries;
  size_t hp;
  ptrdiff_t ahead; /* bytes from this block to the next one */
  int8_t *codes;   /* [queries, hp]; this and what follows in scratch */
  float *parts;    /* of one block */
  float *o;        /* [queries, hp] */
  float score[QK_FEW][QK_BLOCK];
  int8_t p[QK_FEW][QK_BLOCK]; /* [step][4] */
  int32_t start[QK_FEW], p_start[QK_FEW];
  float scale[QK_FEW];
  float max[QK_FEW], sum[QK_FEW]; /* M and Z */
} qk_few;

/* Sums of `rows` rows of codes times panels; keys: whose bytes are codes without offset. ahead: bytes from here to those of the next
   block, which are asked for. */
QK_INLINE void qk_few_dots(vi acc[QK_FEW_ROWS][QK_FEW_PANELS], const int8_t *a, size_t lda, const int32_t *start,
                           const uint8_t *w, ptrdiff_t ahead, size_t panel_bytes, size_t steps, const int rows,
                           const int panels, const int keys) {
  QK_UNROLL for (int r = 0; r < rows; r++) QK_UNROLL for (int p = 0; p < panels; p++)
      acc[r][p] = vi_set1(qk_dot_start(start[r]));
  for (; steps > 0; steps--, a += QK_KSTEP, w += 64) {
    qk_dot_w b[QK_FEW_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) __builtin_prefetch((const char *)w + (size_t)p * panel_bytes + ahead);
    QK_UNROLL for (int p = 0; p < panels; p++)
        b[p] = keys ? qk_dot_load_codes((const int8_t *)w + (size_t)p * panel_bytes)
                    : qk_dot_load(w + (size_t)p * panel_bytes);
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const qk_dot_a x = qk_dot_spread(a + (size_t)r * lda);
      QK_UNROLL for (int p = 0; p < panels; p++) acc[r][p] = qk_dot(acc[r][p], b[p], x);
    }
  }
}
/* Scores of queries r ... r + rows - 1 to a block's keys. */
QK_INLINE void qk_few_scores(qk_few *f, const qk_head_q8 *hd, size_t r, const int rows) {
  const size_t hp = f->hp;
  for (size_t j = 0; j < QK_BLOCK; j += QK_FEW_PANELS * 16) {
    vi acc[QK_FEW_ROWS][QK_FEW_PANELS];
    qk_few_dots(acc, f->codes + r * hp, hp, f->start + r, (const uint8_t *)hd->k + j * hp, f->ahead, QK_PANEL * hp,
                hp / QK_KSTEP, rows, QK_FEW_PANELS, 1);
    QK_UNROLL for (int i = 0; i < rows; i++) QK_UNROLL for (int p = 0; p < QK_FEW_PANELS; p++)
        vf_store(f->score[r + (size_t)i] + j + p * 16, vf_mul(vi_to_vf(acc[i][p]), vf_load(hd->k_scale + j + p * 16)));
  }
}
/* Their sums of values. */
QK_INLINE void qk_few_values_of(const qk_few *f, const uint8_t *v, int32_t *to, size_t r, const int rows,
                                const int panels) {
  vi acc[QK_FEW_ROWS][QK_FEW_PANELS];
  qk_few_dots(acc, f->p[r], QK_BLOCK, f->p_start + r, v, f->ahead, QK_PANEL * QK_BLOCK, QK_BLOCK / QK_KSTEP, rows,
              panels, 0);
  QK_UNROLL for (int i = 0; i < rows; i++) QK_UNROLL for (int p = 0; p < panels; p++)
      vi_store(to + (r + (size_t)i) * f->hp + p * 16, acc[i][p]);
}
QK_INLINE void qk_few_values(const qk_few *f, const qk_head_q8 *hd, int32_t *to, size_t r, const int rows) {
  size_t c = 0;
  for (; c + QK_FEW_PANELS * 16 <= f->hp; c += QK_FEW_PANELS * 16)
    qk_few_values_of(f, hd->v + c * QK_BLOCK, to + c, r, rows, QK_FEW_PANELS);
  for (; c < f->hp; c += 16) qk_few_values_of(f, hd->v + c * QK_BLOCK, to + c, r, rows, 1);
}
/* Both, for each number of rows; to NULL: scores. */
typedef void qk_few_fn(qk_few *f, const qk_head_q8 *hd, int32_t *to, size_t r);
#define QK_FEW_DEFINE(name, rows)                                                                                            \
  static __attribute__((noinline)) void name(qk_few *f, const qk_head_q8 *hd, int32_t *to, size_t r) {        \
    if (to)                                                                                                            \
      qk_few_values(f, hd, to, r, rows);                                                                               \
    else                                                                                                               \
      qk_few_scores(f, hd, r, rows);                                                                                   \
  }
// clang-format off
QK_FEW_DEFINE(qk_few_1, 1)
QK_FEW_DEFINE(qk_few_2, 2)
QK_FEW_DEFINE(qk_few_3, 3)
QK_FEW_DEFINE(qk_few_4, 4)
// clang-format on

static void qk_few_products(qk_few *f, const qk_head_q8 *hd, int32_t *to) {
  static qk_few_fn *const by_rows[QK_FEW_ROWS] = {qk_few_1, qk_few_2, qk_few_3, qk_few_4};
  const size_t n = f->queries.n, tiles = (n + QK_FEW_ROWS - 1) / QK_FEW_ROWS;
  for (size_t i = 0, r = 0, rows; i < tiles; i++, r += rows) {
    rows = qk_tile_share(n, tiles, i);
    by_rows[rows - 1](f, hd, to, r);
  }
}

static const float qk_few_keys[QK_BLOCK] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                            32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                            48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/* Scores of query r, which sees `keys` of the block, to codes of probabilities; m, z, t to parts. */
QK_INLINE void qk_few_softmax(qk_few *f, const float *v_scale, size_t r, qk_span keys, float *parts) {
  enum { PARTS = QK_BLOCK / 16 };
  const int seen = keys.first < keys.end;
  const float cap = f->op->cap, scale = cap != 0.0f ? 1.0f : f->scale[r];
  vf x[PARTS], u[PARTS], z = vf_zero(), top = vf_zero();
  QK_UNROLL for (size_t i = 0; i < PARTS; i++) x[i] = vf_load(f->score[r] + i * 16);
  if (cap != 0.0f)
    QK_UNROLL for (size_t i = 0; i < PARTS; i++) x[i] = qk_capped(vf_mul(x[i], vf_set1(f->scale[r])), vf_set1(cap));
  if (keys.first > 0 || keys.end < QK_BLOCK) {
    const vf first = vf_set1((float)keys.first), end = vf_set1((float)keys.end), none = vf_set1(-INFINITY);
    QK_UNROLL for (size_t i = 0; i < PARTS; i++) {
      const vf key = vf_load(qk_few_keys + i * 16);
      x[i] = vf_select_lt(key, first, none, vf_select_lt(key, end, x[i], none));
    }
  }
  const float m = vf_hmax(vf_max(vf_max(x[0], x[1]), vf_max(x[2], x[3]))) * scale;
  const vf by = vf_set1(scale), less = vf_set1(seen ? -m : 0.0f);
  QK_UNROLL for (size_t i = 0; i < PARTS; i++) {
    const vf e = qk_exp2_short(vf_fma(x[i], by, less));
    z = vf_add(z, e);
    u[i] = vf_mul(e, vf_load(v_scale + i * 16));
    top = vf_max(u[i], top);
  }
  const float t = vf_hmax(top);
  const vf codes_by = vf_set1(t < 0x1p-100f ? 0.0f : 127.0f / t), magic = vf_set1(QK_MAGIC);
  QK_UNROLL for (size_t i = 0; i < PARTS; i++) u[i] = vf_fma(u[i], codes_by, magic);
  const vi codes = vi_join8(vi_bits(u[0]), vi_bits(u[1]), vi_bits(u[2]), vi_bits(u[3]));
  vi_store((int32_t *)(void *)f->p[r], codes);
  f->p_start[r] = -128 * vi_sum(vi_sum_bytes(codes));
  parts[QK_PART_MAX + r] = seen ? m : -INFINITY;
  parts[QK_PART_SUM + r] = vf_sum(z);
  parts[QK_PART_TOP + r] = t;
  parts[QK_PART_SEEN + r] = seen ? 1.0f : 0.0f;
}

/* What block b gives; next: the one that comes after it, or itself. */
static void qk_few_part(qk_few *f, size_t b, size_t next, float *parts) {
  if (f->op->bits == 32) {
    QK_PART_FLOATS(f->op, f->queries.row0, f->queries.first, f->queries.n, b, parts);
    return;
  }
  const qk_head_q8 hd = qk_attend_head(f->op, b);
  /* Of 4 bits they are asked for where they are unpacked. */
  f->ahead = f->op->bits == 4 ? 0 : (ptrdiff_t)((uintptr_t)f->op->block[next] - (uintptr_t)f->op->block[b]);
  for (size_t i = 0; i < 3 * QK_BLOCK; i += 16) __builtin_prefetch((const char *)(hd.k_scale + i) + f->ahead);
  qk_few_products(f, &hd, NULL);
  for (size_t r = 0; r < f->queries.n; r++)
    qk_few_softmax(f, hd.v_scale, r, qk_span_in(qk_queries_span(f->op, &f->queries, r), b * QK_BLOCK), parts);
  qk_few_products(f, &hd, (int32_t *)(void *)(parts + QK_PART_VALUES));
}

/* Codes of the queries. Returns how many have NaN or infinity. */
static size_t qk_few_codes(qk_few *f) {
  const size_t h = f->op->h, n = f->queries.n;
  float by[QK_FEW];
  qk_queries_gather(f->op, &f->queries, 0, n, f->o);
  const size_t bad = qk_scales_16(f->o, h, qk_rows_to(n), h, f->op->fold, f->scale, by);
  for (size_t r = 0; r < n; r++) {
    int8_t *codes = f->codes + r * f->hp;
    vi sum = vi_zero();
    for (size_t i = 0; i < h; i += 16) {
      const vi c = by[r] > 0.0f ? qk_codes_by(f->o + r * h + i, h - i, by[r]) : vi_zero();
      sum = vi_add(sum, c);
      vi_store8(codes + i, c);
    }
    f->start[r] = -128 * vi_sum(sum);
  }
  return bad;
}
/* Queries, at most QK_FEW, before their first block. */
static void qk_few_begin(qk_few *f, const qk_attend_cache *op, qk_queries queries) {
  f->op = op;
  f->queries = queries;
  f->hp = qk_round_up(op->h, QK_LANES);
  f->codes = op->scratch;
  f->parts = (float *)(void *)(f->codes + QK_FEW * f->hp);
  f->o = f->parts + qk_attend_part_words(QK_FEW, op->h);
}
static void qk_few_begin_merge(qk_few *f) {
  for (size_t i = 0; i < f->queries.n * f->hp; i += 16) vf_store(f->o + i, vf_set1(-0.0f));
  vf_store(f->max, vf_set1(-INFINITY));
  vf_store(f->sum, vf_zero());
}
static void qk_few_merge(qk_few *f, const float *parts) {
  const vf old = vf_load(f->max), seen = vf_load(parts + QK_PART_SEEN);
  const vf m = vf_load(parts + QK_PART_MAX), max = vf_max(old, m), now = qk_exp2(vf_sub(m, max));
  const vf t = vf_div(vf_load(parts + QK_PART_TOP), vf_set1(127.0f));
  /* Who sees nothing keeps all that was: O + -0 is O. */
  const vf keep = vf_select_lt(vf_zero(), seen, qk_exp2(vf_sub(old, max)), vf_set1(1.0f));
  const vf add = vf_select_lt(vf_zero(), seen, vf_mul(now, t), vf_set1(-0.0f));
  float keeps[QK_FEW], adds[QK_FEW];
  vf_store(keeps, keep);
  vf_store(adds, add);
  vf_store(f->max, vf_select_lt(vf_zero(), seen, max, old));
  vf_store(f->sum, vf_fma(keep, vf_load(f->sum), vf_mul(now, vf_load(parts + QK_PART_SUM))));
  const int floats = f->op->bits == 32;
  for (size_t r = 0; r < f->queries.n; r++) {
    const float *from = parts + QK_PART_VALUES + r * f->hp;
    const vf a = vf_set1(keeps[r]), b = vf_set1(adds[r]);
    float *o = f->o + r * f->hp;
    for (size_t c = 0; c < f->hp; c += 16) {
      const vf x = vf_load(from + c), value = floats ? x : vi_to_vf(vi_bits(x));
      vf_store(o + c, vf_fma(a, vf_load(o + c), vf_mul(b, value)));
    }
  }
}
static void qk_few_end(const qk_few *f) {
  const size_t h = f->op->h;
  for (size_t r = 0; r < f->queries.n; r++) {
    const vf z = vf_set1(f->sum[r]), whole = vf_div(vf_set1(1.0f), z);
    const float *o = f->o + r * f->hp;
    float *out = qk_queries_out(f->op, &f->queries, r);
    for (size_t c = 0; c < h; c += 16) {
      const vf x = vf_load(o + c);
      qk_store_n(out + c, f->op->bits == 32 ? vf_div(x, z) : vf_mul(x, whole), h - c);
    }
  }
}

static size_t qk_attend_few(const qk_attend_cache *op, size_t row0, size_t first, size_t n) {
  qk_few f __attribute__((aligned(64)));
  const qk_queries queries = {row0, first, n};
  qk_few_begin(&f, op, queries);
  const size_t bad = op->bits == 32 ? 0 : qk_few_codes(&f), end = qk_queries_end(op, &queries);
  qk_few_begin_merge(&f);
  for (size_t b = qk_queries_first(op, &queries); b < end; b++) {
    qk_few_part(&f, b, b + 1 < end ? b + 1 : b, f.parts);
    qk_few_merge(&f, f.parts);
  }
  qk_few_end(&f);
  return bad;
}

static size_t qk_attend_part_over_keys(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1,
                                       float *parts) {
  qk_few f __attribute__((aligned(64)));
  const size_t n = (r1 - r0) * op->heads;
  qk_few_begin(&f, op, (qk_queries){r0, 0, n});
  const size_t bad = op->bits == 32 ? 0 : qk_few_codes(&f);
  for (size_t b = b0; b < b1; b++)
    qk_few_part(&f, b, b + 1 < b1 ? b + 1 : b, parts + (b - b0) * qk_attend_part_words(n, op->h));
  return bad;
}
static void qk_attend_merge_over_keys(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1,
                                      const float *parts) {
  qk_few f __attribute__((aligned(64)));
  const size_t n = (r1 - r0) * op->heads;
  qk_few_begin(&f, op, (qk_queries){r0, 0, n});
  qk_few_begin_merge(&f);
  for (size_t b = b0; b < b1; b++) qk_few_merge(&f, parts + (b - b0) * qk_attend_part_words(n, op->h));
  qk_few_end(&f);
}

/* Puts attention over a cache into the table; after the target's end, as QK_ROWS_SET. */
#define QK_ATTEND_SET(t)                                                                                               \
  do {                                                                                                                 \
    (t)->attend_cache = qk_attend_cache_over_tiles;                                                                    \
    (t)->attend_part = qk_attend_part_over_keys;                                                                       \
    (t)->attend_merge = qk_attend_merge_over_keys;                                                                     \
  } while (0)
#endif
