/* attention_codes.h - attention of one head between codes of static sites (kernels.h: qk_attention_codes), over the tiles of
 * attend_tiles.h. Queries are lanes, as in attend.h; a lane's four bytes are codes of four keys. Scores become codes in the
 * tile's registers, their weights and the codes of probabilities take their place, which are then the rows of the product with the values. */
#ifndef QK_PRODUCTS_ATTENTION_CODES_H
#define QK_PRODUCTS_ATTENTION_CODES_H
#include "kernels/products/attend.h"

#define QK_CODES_QUERIES (QK_ATTEND_PANELS * QK_LANES) /* at a time: those of a tile of scores */

/* Queries on their way. */
typedef struct qk_codes_attend {
  const qk_attention_codes *op;
  size_t i, from, to;            /* the first query, a multiple of 16; results are of queries i + from ... i + to - 1 */
  size_t hp;                     /* head size rounded up */
  int calm;                      /* no score is 2^31 or more before it is a code */
  int32_t *words;                /* [keys / 4][QK_CODES_QUERIES] codes of scores, then of probabilities */
  int32_t *weights;              /* [keys / 4][2][16] of 16 queries */
  int32_t max[QK_CODES_QUERIES]; /* four bytes: the highest code of every fourth key from key 0, 1, 2, 3 on */
  int32_t p_start[QK_CODES_QUERIES + QK_ATTEND_ROWS];
  float window[QK_BLOCK + QK_QUERIES]; /* of the bias table, as attend.h has it */
} qk_codes_attend;

/* All ones where keys below n % 4 are: in the two vectors of halves in the order of pairs (lanes_ref.h), in a word's bytes. */
static const int32_t qk_pairs_left[3][2] = {{0xffff, 0}, {-1, 0}, {-1, 0xffff}};
static const int32_t qk_bytes_left[3] = {0xff, 0xffff, 0xffffff};

/* Scores of keys j ... j + 3 of the queries from `at` on, from their sums, to codes. */
QK_INLINE vi qk_score_codes(const qk_codes_attend *s, const vi *const acc[4], size_t at, size_t j, vl limits) {
  const qk_attention_codes *op = s->op;
  const vf k_scale = vf_set1(op->k_scale), q_scale = vf_set1(op->q_scale);
  const vf by = vf_set1(op->scores.by), zero = vf_set1(op->scores.zero);
  vf y[4];
  QK_UNROLL for (size_t i = 0; i < 4; i++) y[i] = vf_mul(vf_mul(vi_to_vf(*acc[i]), k_scale), q_scale);
  if (op->bias)
    QK_UNROLL for (size_t i = 0; i < 4; i++)
        y[i] = vf_add(y[i], vf_load(s->window + QK_BLOCK - 1 - j % QK_BLOCK - i + at));
  QK_UNROLL for (size_t i = 0; i < 4; i++) y[i] = vf_fma(y[i], by, zero);
  if (!s->calm) QK_UNROLL for (size_t i = 0; i < 4; i++) y[i] = vf_held(y[i]);
  return vi_codes4(y[0], y[1], y[2], y[3], limits);
}

/* Codes of the scores of `panels` vectors of queries, and max. */
QK_INLINE void qk_codes_scores(qk_codes_attend *s, const int panels) {
  const qk_attention_codes *op = s->op;
  const qk_head_codes *hd = &op->head;
  const size_t n = hd->n, hp = s->hp;
  const vl limits = vl_of(op->scores.limits.lowest, op->scores.limits.highest);
  vi max[QK_ATTEND_PANELS];
  QK_UNROLL for (int p = 0; p < panels; p++) max[p] = vi_set1((int32_t)0x80808080u);
  for (size_t j = 0; j < n; j += QK_ATTEND_ROWS) {
    vi acc[QK_ATTEND_ROWS][QK_ATTEND_PANELS];
    if (op->bias && j % QK_BLOCK == 0) qk_attend_window(s->window, op->bias, n, j, s->i);
    qk_attend_dots(acc, hd->k + j / 16 * 16 * hp + j % 16 * QK_KSTEP, QK_KSTEP * QK_PANEL, hd->k_start + j,
                   hd->k_less + j, hd->q + s->i * hp, QK_PANEL * hp, hp / QK_KSTEP, panels);
    QK_UNROLL for (size_t k = 0; k < QK_ATTEND_ROWS; k += 4) {
      if (j + k >= n) continue;
      QK_UNROLL for (int p = 0; p < panels; p++) {
        const vi *const four[4] = {&acc[k][p], &acc[k + 1][p], &acc[k + 2][p], &acc[k + 3][p]};
        const size_t at = (size_t)p * QK_LANES;
        vi x = qk_score_codes(s, four, at, j + k, limits);
        if (n - j - k < 4) { /* -128 is no maximum where there is another code */
          const vi live = vi_set1(qk_bytes_left[n - j - k - 1]);
          x = vi_or(vi_and(x, live), vi_and(vi_xor(live, vi_set1(-1)), vi_set1((int32_t)0x80808080u)));
        }
        max[p] = vb_max(max[p], x);
        vi_store(s->words + (j + k) / 4 * QK_CODES_QUERIES + at, x);
      }
    }
  }
  QK_UNROLL for (int p = 0; p < panels; p++) vi_store(s->max + p * (int)QK_LANES, max[p]);
}
static __attribute__((noinline)) void qk_codes_scores_1(qk_codes_attend *s) { qk_codes_scores(s, 1); }
#if QK_TILE_PANELS > 1
static __attribute__((noinline)) void qk_codes_scores_2(qk_codes_attend *s) { qk_codes_scores(s, 2); }
#else
#define qk_codes_scores_2 qk_codes_scores_1
#endif

/* Codes of scores of 16 queries from `at` on to those of probabilities, and their starts. */
static __attribute__((noinline)) void qk_codes_softmax(qk_codes_attend *s, size_t at) {
  const qk_attention_codes *op = s->op;
  const size_t n = op->head.n, whole = n / 4, steps = (n + 3) / 4;
  const vw table = vw_load(op->exp);
  vi max = vi_load(s->max + at), sum[2] = {vi_zero(), vi_zero()};
  max = vb_max(max, vi_or(vi_shl(max, 16), vi_shr(max, 16)));
  max = vb_max(max, vi_or(vi_shl(max, 8), vi_shr(max, 24)));
  int32_t *word = s->words + at, *weight = s->weights;
  for (size_t step = 0; step < steps; step++, word += QK_CODES_QUERIES, weight += 32) {
    vi e[2];
    vw_take(table, vb_sub(max, vi_load(word)), e);
    if (step == whole) {
      int32_t live[16];
      for (size_t l = 0; l < 16; l++) live[l] = qk_pairs_left[n % 4 - 1][l % 2];
      QK_UNROLL for (size_t i = 0; i < 2; i++) e[i] = vi_and(e[i], vi_load(live));
    }
    QK_UNROLL for (size_t i = 0; i < 2; i++) {
      vi_store(weight + i * 16, e[i]);
      sum[i] = vi_add(sum[i], vi_add_halves(e[i]));
    }
  }
  /* From 2^15 on every weight but 0 has the highest code, so that more changes nothing; a weight, at most 2^15, times it is
     below 2^31. */
  const vf by = vf_min(vf_div(vf_set1(op->probs.by), vi_to_vf(vi_add_pairs(sum[0], sum[1]))), vf_set1(0x1p15f));
  const vf by0 = vf_twice_low(by), by1 = vf_twice_high(by), zero = vf_set1(op->probs.zero);
  const vl limits = vl_of(op->probs.limits.lowest, op->probs.limits.highest);
  const vi low = vi_set1(0xffff);
  vi start = vi_zero();
  word = s->words + at, weight = s->weights;
  for (size_t step = 0; step < steps; step++, word += QK_CODES_QUERIES, weight += 32) {
    const vi e0 = vi_load(weight), e1 = vi_load(weight + 16);
    const vi p = vi_codes_pairs(
        vf_fma(vi_to_vf(vi_and(e0, low)), by0, zero), vf_fma(vi_to_vf(vi_shr(e0, 16)), by0, zero),
        vf_fma(vi_to_vf(vi_and(e1, low)), by1, zero), vf_fma(vi_to_vf(vi_shr(e1, 16)), by1, zero), limits);
    if (qk_dot_start(1)) start = vi_add_bytes(start, p); /* else the product needs no start */
    vi_store(word, p);
  }
  vi_store(s->p_start + at, vi_mul(start, vi_set1(-128)));
}

/* Sums of QK_ATTEND_ROWS queries from r on, channels c ... of `panels` panels. */
QK_INLINE void qk_codes_tile(const qk_codes_attend *s, size_t r, size_t c, int32_t *sums, const int panels) {
  const qk_head_codes *hd = &s->op->head;
  const size_t panel = QK_PANEL * qk_k8(hd->n);
  vi acc[QK_ATTEND_ROWS][QK_ATTEND_PANELS];
  qk_attend_dots(acc, (const int8_t *)(s->words + r), QK_KSTEP * QK_CODES_QUERIES, s->p_start + r, NULL,
                 hd->v + c / 16 * panel, panel, (hd->n + 3) / 4, panels);
  QK_UNROLL for (int p = 0; p < panels; p++) QK_UNROLL for (int i = 0; i < QK_ATTEND_ROWS; i++)
      vi_store(sums + (p * QK_ATTEND_ROWS + i) * 16, acc[i][p]);
}
/* Codes of `rows` queries from r on, 16 channels from c on, of their sums. */
static inline void qk_codes_finish(const qk_codes_attend *s, size_t r, size_t rows, size_t c, const int32_t *sums) {
  const qk_attention_codes *op = s->op;
  const size_t n = op->head.h - c;
  const qk_row row = qk_row_of(op->probs_scale, op->probs.zero);
  const vf by = vf_set1(op->context.by), zero = vf_set1(op->context.zero);
  const qk_columns columns = {vf_set1(op->v_scale), vf_neg(vi_to_vf(vi_load(op->head.v_sums + c))), vf_zero()};
  size_t at = (s->i + r) * op->ldc + c;
  for (size_t i = 0; i < rows && i < QK_ATTEND_ROWS; i++, at += op->ldc) {
    const vf y = qk_dequant(vi_to_vf(vi_load(sums + i * 16)), &columns, row);
    qk_store_codes(op->codes + at, op->low ? op->low + at : NULL, y, by, zero, op->context.limits, n);
  }
}
static __attribute__((noinline)) void qk_codes_values(const qk_codes_attend *s) {
  int32_t sums[QK_ATTEND_PANELS * QK_ATTEND_ROWS * 16] __attribute__((aligned(64)));
  for (size_t c = 0; c < s->hp; c += QK_ATTEND_PANELS * 16)
    for (size_t r = s->from; r < s->to; r += QK_ATTEND_ROWS) {
      const size_t panels = QK_ATTEND_PANELS > 1 && s->hp - c > 16 ? QK_ATTEND_PANELS : 1;
      if (panels > 1)
        qk_codes_tile(s, r, c, sums, QK_ATTEND_PANELS);
      else
        qk_codes_tile(s, r, c, sums, 1);
      for (size_t p = 0; p < panels; p++) qk_codes_finish(s, r, s->to - r, c + p * 16, sums + p * QK_ATTEND_ROWS * 16);
    }
}

static inline void qk_attention_codes_over_tiles(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_codes_attend s __attribute__((aligned(64)));
  const size_t k8 = qk_k8(op->head.n);
  s.op = op;
  s.hp = qk_round_up(op->head.h, QK_LANES);
  s.calm = !op->bias && 0x1p25f * op->k_scale * op->q_scale * op->scores.by < 0x1p30f; /* a_j is below 2^25 */
  s.words = op->scratch;
  s.weights = s.words + k8 / 4 * QK_CODES_QUERIES + 16; /* a last tile reads 64 bytes past the codes */
  for (s.i = r0 / QK_LANES * QK_LANES; s.i < r1; s.i += QK_CODES_QUERIES) {
    const int one = QK_ATTEND_PANELS == 1 || r1 - s.i <= QK_LANES;
    const size_t most = one ? QK_LANES : QK_CODES_QUERIES;
    s.from = r0 > s.i ? r0 - s.i : 0;
    s.to = r1 - s.i < most ? r1 - s.i : most;
    (one ? qk_codes_scores_1 : qk_codes_scores_2)(&s);
    for (size_t at = 0; at < most; at += QK_LANES) qk_codes_softmax(&s, at);
    qk_codes_values(&s);
  }
}
#endif
