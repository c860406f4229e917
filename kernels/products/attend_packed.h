/* attend_packed.h - scores and values of attend.h over tiles that copy their activations (tile_packed.h): sums go through
 * memory. Included by attend.h; a set gives, before that, the body of qk_packed_steps. */
#ifndef QK_PRODUCTS_ATTEND_PACKED_H
#define QK_PRODUCTS_ATTEND_PACKED_H
#define QK_ATTEND_CHANNELS 1024u /* of the largest head */
#define QK_KEY_ROWS 8u           /* of a tile of keys: sixteen lie together */

/* Rows that lie side by side, times panels, to s->sums from row `to` on. */
static inline void qk_attend_sums(qk_attend *s, size_t to, const int8_t *a, size_t next, const int32_t *start,
                                  const uint8_t *w, size_t steps, size_t panel_bytes, size_t rows, size_t panels) {
  int8_t packed[QK_TILE_ROWS * QK_ATTEND_CHANNELS] __attribute__((aligned(64)));
  qk_strip t = {
      .a = packed, .w = w, .start = start, .out = s->sums[to], .ldo = QK_QUERIES, .n = (steps + 3) / 4, .rows = rows};
  qk_packed_steps(packed, a, next, rows, t.n);
  for (size_t p = 0; p < panels; p++) {
    qk_packed_panel(&t);
    t.w += panel_bytes;
    t.out += QK_PANEL;
  }
}

static inline void qk_attend_keys(qk_attend *s) {
  const size_t hp = s->hp;
  for (size_t j = 0; j < s->live; j += QK_KEY_ROWS)
    qk_attend_sums(s, j, s->k + j / 16 * 16 * hp + j % 16 * QK_KSTEP, QK_KSTEP * QK_PANEL, s->k_start + j, s->q,
                   hp / QK_KSTEP, QK_PANEL * hp, s->live - j < QK_KEY_ROWS ? s->live - j : QK_KEY_ROWS, s->vectors);
  for (size_t at = 0; at < s->vectors * QK_LANES; at += QK_LANES) {
    vf max = vf_set1(-INFINITY);
    for (size_t j = 0; j < s->live; j++) max = vf_max(max, qk_attend_score(s, at, j));
    vf_store(s->block_max + at, max);
  }
}

static inline void qk_attend_values(qk_attend *s) {
  const size_t h = s->h, ldo = s->ldo, steps = s->live < QK_KEY_STEPS ? s->live : QK_KEY_STEPS;
  memset(s->p + steps * QK_QUERIES, 0, (QK_KEY_STEPS - steps) * QK_QUERIES * sizeof *s->p);
  for (size_t c = 0; c < s->hp; c += QK_BLOCK) {
    const size_t panels = (s->hp - c < QK_BLOCK ? s->hp - c : QK_BLOCK) / QK_PANEL;
    for (size_t r = s->from; r < s->to; r += QK_TILE_ROWS)
      qk_attend_sums(s, r, (const int8_t *)(s->p + r), QK_KSTEP * QK_QUERIES, s->p_start + r, s->v + c * QK_BLOCK,
                     steps, QK_PANEL * QK_BLOCK, s->to - r < QK_TILE_ROWS ? s->to - r : QK_TILE_ROWS, panels);
    for (size_t r = s->from; r < s->to; r++)
      for (size_t x = 0; x < QK_BLOCK && c + x < h; x += 16) {
        float *out = s->out + r * ldo + c + x;
        const vf was = s->begun ? qk_load_n(out, h - c - x) : vf_load(qk_nothing);
        qk_store_n(out, qk_attend_value(s, r, vi_load(s->sums[r] + x), was), h - c - x);
      }
  }
}
#endif
