/* attend_packed.h - scores and values of attention_q8.h over tiles that copy their activations (tile_packed.h): sums go through
 * memory. Included by attention_q8.h. */
#ifndef QK_PRODUCTS_ATTEND_PACKED_H
#define QK_PRODUCTS_ATTEND_PACKED_H
/* Rows of codes times panels, t.ldo being that of s->sums, in tiles of about equal size. */
static inline void qk_attend_sums(qk_tile_q8 t, size_t rows, size_t panels) {
  const size_t tiles = (rows + QK_TILE_ROWS - 1) / QK_TILE_ROWS;
  t.ldo = QK_QUERIES;
  for (size_t i = 0; i < tiles; i++) {
    const size_t n = qk_tile_share(rows, tiles, i);
    qk_tile_run(&t, n, panels);
    t.a += n * t.lda;
    t.start += n;
    t.out += n * t.ldo;
  }
}

static inline void qk_attend_keys(qk_attend *s) {
  const qk_head_q8 *hd = &s->op->head;
  const qk_tile_q8 t = {.a = hd->k + s->j0 * s->hp,
                        .start = hd->k_start + s->j0,
                        .w = hd->q + s->i * s->hp,
                        .out = s->sums[0],
                        .lda = s->hp,
                        .panel_bytes = QK_PANEL * s->hp,
                        .steps = s->hp / QK_KSTEP};
  qk_attend_sums(t, s->live, s->vectors);
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES) {
    vf max = vf_set1(-INFINITY);
    for (size_t j = 0; j < s->live; j++) max = vf_max(max, qk_attend_score(s, at, j));
    vf_store(s->block_max + at, max);
  }
}

static inline void qk_attend_values(qk_attend *s) {
  const size_t h = s->op->head.h, ldo = s->op->ldo, n = s->to - s->from;
  int8_t rows[QK_QUERIES][QK_BLOCK] __attribute__((aligned(64)));
  for (size_t r = 0; r < n; r++)
    for (size_t j = 0; j < QK_KEY_STEPS; j++) {
      const int32_t codes = j < s->live ? s->p[j * QK_QUERIES + s->from + r] : 0;
      memcpy(rows[r] + QK_KSTEP * j, &codes, sizeof codes);
    }
  for (size_t c = 0; c < s->hp; c += QK_BLOCK) {
    const qk_tile_q8 t = {.a = rows[0],
                          .start = s->p_start + s->from,
                          .w = s->op->head.v + s->j0 * s->hp + c * QK_BLOCK,
                          .out = s->sums[0],
                          .lda = QK_BLOCK,
                          .panel_bytes = QK_PANEL * QK_BLOCK,
                          .steps = s->live < QK_KEY_STEPS ? s->live : QK_KEY_STEPS};
    qk_attend_sums(t, n, (s->hp - c < QK_BLOCK ? s->hp - c : QK_BLOCK) / QK_PANEL);
    for (size_t r = 0; r < n; r++)
      for (size_t x = 0; x < QK_BLOCK && c + x < h; x += 16) {
        float *out = s->op->out + (s->i + s->from + r) * ldo + c + x;
        const vf was = s->j0 ? qk_load_n(out, h - c - x) : vf_load(qk_nothing);
        qk_store_n(out, qk_attend_value(s, s->from + r, vi_load(s->sums[r] + x), was), h - c - x);
      }
  }
}
#endif
