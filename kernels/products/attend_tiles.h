/* attend_tiles.h - scores and values of attend.h over the dot product of tile_q8.h: tiles whose sums stay in registers
 * until they are scores or results. Included by attend.h. */
#ifndef QK_PRODUCTS_ATTEND_TILES_H
#define QK_PRODUCTS_ATTEND_TILES_H
/* Rows of codes that lie side by side, steps `next` apart, times panels `panel_bytes` apart. Sums begin at `start` where the dot
   product takes offset codes as they are, elsewhere at `less`, NULL: 0. */
QK_INLINE void qk_attend_dots(vi acc[QK_ATTEND_ROWS][QK_ATTEND_PANELS], const int8_t *a, const size_t next,
                              const int32_t *start, const int32_t *less, const uint8_t *w, size_t panel_bytes,
                              size_t steps, const int panels) {
  QK_UNROLL for (int i = 0; i < QK_ATTEND_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++)
      acc[i][p] = vi_set1(qk_dot_start(1) ? start[i]
                          : less          ? less[i]
                                          : 0);
  for (; steps > 0; steps--) {
    qk_dot_w b[QK_ATTEND_PANELS];
    QK_UNROLL for (int p = 0; p < panels; p++) b[p] = qk_dot_load(w + (size_t)p * panel_bytes);
    QK_UNROLL for (int i = 0; i < QK_ATTEND_ROWS; i++) {
      const qk_dot_a x = qk_dot_spread(a + i * 4);
      QK_UNROLL for (int p = 0; p < panels; p++) acc[i][p] = qk_dot(acc[i][p], b[p], x);
    }
    a += next;
    w += 64;
  }
}

/* Scores of `panels` vectors of queries from `at` on, and block_max. Calls, whose loops have registers for all they need. */
QK_INLINE void qk_attend_scores(qk_attend *s, size_t at, const int panels) {
  const size_t hp = s->hp;
  const int plain = qk_attend_is_plain(s);
  vf max[QK_ATTEND_PANELS];
  QK_UNROLL for (int p = 0; p < panels; p++) max[p] = vf_set1(-INFINITY);
  for (size_t j = 0; j < s->live; j += QK_ATTEND_ROWS) {
    vi acc[QK_ATTEND_ROWS][QK_ATTEND_PANELS];
    qk_attend_dots(acc, s->k + j / 16 * 16 * hp + j % 16 * QK_KSTEP, QK_KSTEP * QK_PANEL, s->k_start + j, NULL,
                   s->q + at * hp, QK_PANEL * hp, hp / QK_KSTEP, panels);
    float *to = s->score[j] + at;
    if (j + QK_ATTEND_ROWS <= s->live && plain) {
      const float *scale = s->k_scale + j;
      QK_UNROLL for (int i = 0; i < QK_ATTEND_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++) {
        const vf x = vf_mul(vi_to_vf(acc[i][p]), vf_set1(scale[i]));
        vf_store(to + i * (int)QK_QUERIES + p * 16, x);
        max[p] = vf_max(max[p], x);
      }
      continue;
    }
    QK_UNROLL for (int i = 0; i < QK_ATTEND_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++)
        vf_store(to + i * (int)QK_QUERIES + p * 16, vf_from_bits(acc[i][p]));
    for (size_t i = j; i < j + QK_ATTEND_ROWS && i < s->live; i++)
      QK_UNROLL for (int p = 0; p < panels; p++) max[p] = vf_max(max[p], qk_attend_score(s, at + (size_t)p * 16, i));
  }
  QK_UNROLL for (int p = 0; p < panels; p++) vf_store(s->block_max + at + p * 16, max[p]);
}
static __attribute__((noinline)) void qk_attend_scores_1(qk_attend *s, size_t at) { qk_attend_scores(s, at, 1); }
#if QK_TILE_PANELS > 1
static __attribute__((noinline)) void qk_attend_scores_2(qk_attend *s, size_t at) { qk_attend_scores(s, at, 2); }
#else
#define qk_attend_scores_2 qk_attend_scores_1
#endif
static inline void qk_attend_keys(qk_attend *s) {
  for (size_t v = 0; v < s->vectors; v += QK_ATTEND_PANELS)
    (s->vectors - v > 1 ? qk_attend_scores_2 : qk_attend_scores_1)(s, v * QK_LANES);
}

/* A tile of results, from what they were, `ldw` apart. */
QK_INLINE void qk_attend_values_of(const qk_attend *s, size_t r, const uint8_t *w, const float *was, size_t ldw,
                                   float *out, size_t ldo, const int panels) {
  vi acc[QK_ATTEND_ROWS][QK_ATTEND_PANELS];
  qk_attend_dots(acc, (const int8_t *)(s->p + r), QK_KSTEP * QK_QUERIES, s->p_start + r, NULL, w, QK_PANEL * QK_BLOCK,
                 s->live < QK_KEY_STEPS ? s->live : QK_KEY_STEPS, panels);
  QK_UNROLL for (size_t i = 0; i < QK_ATTEND_ROWS; i++) QK_UNROLL for (int p = 0; p < panels; p++)
      vf_store(out + i * ldo + p * 16, qk_attend_value(s, r + i, acc[i][p], vf_load(was + i * ldw + p * 16)));
}
static __attribute__((noinline)) void qk_attend_tile(const qk_attend *s, size_t r, const uint8_t *w, const float *was,
                                                     size_t ldw, float *out, size_t ldo, size_t panels) {
  if (QK_ATTEND_PANELS > 1 && panels > 1)
    qk_attend_values_of(s, r, w, was, ldw, out, ldo, QK_ATTEND_PANELS);
  else
    qk_attend_values_of(s, r, w, was, ldw, out, ldo, 1);
}

static inline void qk_attend_values(qk_attend *s) {
  enum { WIDTH = QK_ATTEND_PANELS * 16 };
  const size_t h = s->h, ldo = s->ldo;
  for (size_t c = 0; c < s->hp; c += WIDTH) {
    const size_t panels = s->hp - c < WIDTH ? 1 : QK_ATTEND_PANELS, n = h - c < WIDTH ? h - c : WIDTH;
    const uint8_t *w = s->v + c * QK_BLOCK;
    for (size_t r = s->from; r < s->to; r += QK_ATTEND_ROWS) {
      const size_t rows = s->to - r < QK_ATTEND_ROWS ? s->to - r : QK_ATTEND_ROWS;
      float *out = s->out + r * ldo + c;
      if (rows == QK_ATTEND_ROWS && n == panels * 16) {
        qk_attend_tile(s, r, w, s->begun ? out : qk_nothing, s->begun ? ldo : 0, out, ldo, panels);
        continue;
      }
      float some[QK_ATTEND_ROWS * WIDTH] = {0}; /* a tile that is not whole goes through a copy */
      for (size_t i = 0; s->begun && i < rows; i++) memcpy(some + i * WIDTH, out + i * ldo, n * sizeof *out);
      qk_attend_tile(s, r, w, s->begun ? some : qk_nothing, s->begun ? WIDTH : 0, some, WIDTH, panels);
      for (size_t i = 0; i < rows; i++) memcpy(out + i * ldo, some + i * WIDTH, n * sizeof *out);
    }
  }
}
#endif
