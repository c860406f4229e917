/* embed.h - the embedding sum of rows and the norm of it (kernels.h: qk_embed). Over lanes. */
#ifndef QK_ROWS_EMBED_H
#define QK_ROWS_EMBED_H
#include "kernels/rows/norm.h"

/* Codes of 4 or 2 bits of a row, channels i ... i + 15; i is a multiple of 16. */
static inline vi qk_table_codes(const int8_t *row, uint32_t bits, size_t i) {
  if (bits == 4) {
    const vi x = vi_load8(row + i / 32 * 16);
    return vi_and(i % 32 ? vi_shr(x, 4) : x, vi_set1(15));
  }
  vi x = vi_load8(row + i / 64 * 16);
  if (i & 16) x = vi_shr(x, 2);
  if (i & 32) x = vi_shr(x, 4);
  return vi_and(x, vi_set1(3));
}

/* Four codes of 6 bits of a channel whose panel begins at w, from input k on, a multiple of 4. */
static inline void qk_panel_six(const uint8_t *w, size_t k, uint8_t codes[4]) {
  const uint8_t *block = w + k / 32 * 384, *low = block + k % 32 / 8 * 64, *high = block + 256 + k % 32 / 16 * 64;
  for (size_t j = 0; j < 4; j++)
    codes[j] = (uint8_t)((low[j] >> k % 8 / 4 * 4 & 15) | (high[j] >> k % 16 / 4 * 2 & 3) << 4);
}

/* 16 values of a row of panels from channel i on, a multiple of 16. What is behind channel d - 1 is any. */
static inline vf qk_panel_values(const qk_table_ref *t, size_t row, uint32_t d, size_t i) {
  const size_t panel = row / QK_PANEL, channel = row % QK_PANEL;
  if (t->bits == 32) {
    const float *w = (const float *)t->data + panel * QK_PANEL * d + channel;
    float x[16] = {0};
    for (size_t j = 0; j < 16 && i + j < d; j++) x[j] = w[(i + j) * QK_PANEL];
    return vf_load(x);
  }
  const uint8_t *w = (const uint8_t *)t->data + panel * QK_PANEL * qk_k8(d) * t->bits / 8 + channel * QK_KSTEP;
  const size_t at = t->group ? (panel * qk_groups(d, t->group) + i / t->group) * QK_PANEL + channel : row;
  const int step = t->steps ? t->steps[at] & 15 : 1, zero = t->steps ? t->steps[at] >> 4 ^ 8 : t->min ? 0 : 8;
  uint8_t x[16];
  int8_t c[16];
  for (size_t j = 0; j < 16; j += 4) {
    const size_t k = (i + j) * t->bits / 8 / 4; /* steps of 8 bits, or pairs of them */
    if (t->bits == 6)
      qk_panel_six(w, i + j, x + j);
    else
      memcpy(x + j, w + k * 64, 4);
  }
  for (size_t j = 0; j < 16; j++)
    c[j] = (int8_t)(t->bits == 6   ? x[j] - 32
                    : t->bits == 8 ? x[j] - 128
                                   : ((x[j] >> j % 8 / 4 * 4 & 15) - zero) * step); /* a byte, as kernels.h says */
  const vf code = vi_to_vf(vi_load8(c));
  if (t->steps) return vf_mul(code, vf_set1(t->scale[row]));
  if (t->min) return vf_fma(code, vf_set1(t->scale[at]), vf_set1(t->min[at]));
  return vf_mul(code, vf_set1(t->scale[at]));
}
/* n <= 16 values of a table's row from channel i on; of small codes and of panels all 16, the rest being any. */
static inline vf qk_table_values(const qk_table_ref *t, size_t row, uint32_t d, size_t i, size_t n) {
  const size_t at = row * d + i;
  if (t->panels) return qk_panel_values(t, row, d, i);
  if (t->bits == 32) return qk_load_n((const float *)t->data + at, n);
  const int8_t *codes = (const int8_t *)t->data;
  if (t->bits == 8) {
    const vi c = n >= 16 ? vi_load8(codes + at) : vi_load8_part(codes + at, n);
    return vf_mul(vi_to_vf(c), vf_set1(t->scale[row]));
  }
  const vi c = qk_table_codes(codes + row * qk_table_row(d, t->bits), t->bits, i);
  const int8_t *step = t->step + (row * qk_groups(d, t->group) + i / t->group) * 2;
  return vf_fma(vi_to_vf(c), vf_set1((float)step[0] * t->scale[2 * row]),
                vf_set1((float)step[1] * t->scale[2 * row + 1]));
}

/* Asks for a row of a table: ids are random, so that no row comes unasked. Always inline: gcc drops calls that only ask. */
QK_INLINE void qk_table_ask(const qk_table_ref *t, size_t row, uint32_t d) {
  if (t->panels) return; /* a line for each step: too many to ask for */
  const size_t bytes = t->bits < 8 ? qk_table_row(d, t->bits) : (size_t)d * (t->bits / 8);
  const char *from = (const char *)t->data + row * bytes;
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i);
  if (t->bits == 8) __builtin_prefetch(t->scale + row);
}

static size_t qk_rows_embed(const qk_embed *op, size_t r0, size_t r1) {
  enum { AHEAD = 8 }; /* rows */
  uint32_t d = op->norm.d;
  for (size_t r = r0; r < r1; r++) {
    float *out = op->norm.out + r * op->norm.ldo;
    if (r + AHEAD < r1) qk_table_ask(&op->tokens, (size_t)op->ids[r + AHEAD], d);
    for (size_t i = 0; i < d; i += 16) {
      size_t n = d - i < 16 ? d - i : 16;
      vf x = qk_table_values(&op->tokens, (size_t)op->ids[r], d, i, n);
      if (op->scale != 0.0f) x = vf_mul(x, vf_set1(op->scale));
      if (op->position.data) x = vf_add(x, qk_table_values(&op->position, (size_t)op->positions[r], d, i, n));
      if (op->types.data) {
        size_t type = op->type_ids ? (size_t)op->type_ids[r] : 0;
        x = vf_add(x, qk_table_values(&op->types, type, d, i, n));
      }
      qk_store_n(out + i, qk_round_to(x, &op->sum, i), n);
    }
  }
  if (!op->norm.gain) return 0;
  qk_norm norm = op->norm;
  norm.x = norm.out, norm.ldx = norm.ldo;
  return qk_rows_norm(&norm, r0, r1);
}
#endif
