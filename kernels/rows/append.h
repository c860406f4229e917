/* append.h - keys and values of new tokens into the blocks of a cache (kernels.h: qk_append). Over lanes. */
#ifndef QK_ROWS_APPEND_H
#define QK_ROWS_APPEND_H
#include "kernels/rows/pack.h"

static void qk_rows_cache_clear(uint8_t *block, uint32_t h, uint32_t bits) {
  const size_t hp = qk_round_up(h, 16);
  memset(block, 0, qk_cache_bytes(h, bits));
  if (bits == 8) memset(qk_cache_head(block, h, bits).v, 0x80, QK_BLOCK * hp);
  if (bits != 4) return;
  const qk_cache_small small = qk_cache_small_of(block, h);
  memset(small.step, 1, hp / 16 * QK_BLOCK);
  memset(small.least, 128, hp / 16 * QK_BLOCK);
}

/* Of 16 keys those of `live`, the first at x, to their panel; others in it stay. */
static void qk_append_keys(const float *x, size_t ldx, qk_span live, size_t h, const float *by, int8_t *panel) {
  if (live.end - live.first == 16) {
    qk_pack_panel(x, ldx, live, h, by, (uint8_t *)panel, 0);
    return;
  }
  const size_t first = live.first * QK_KSTEP, bytes = (live.end - live.first) * QK_KSTEP;
  for (size_t i = 0; i < h; i += 16) {
    uint8_t some[256];
    qk_pack_panel(x + i, ldx, live, h - i < 16 ? h - i : 16, by, some, 0);
    for (size_t s = 0; s < 4; s++) memcpy(panel + i * 16 + s * 64 + first, some + s * 64 + first, bytes);
  }
}

/* Rows r ... to the places of a span of one block. Returns how many rows of k and v have NaN or infinity. */
static size_t qk_append_block(const qk_append *op, uint8_t *block, size_t r, qk_span places) {
  const size_t h = op->h, hp = qk_round_up(h, 16), ldx = op->ldx;
  const qk_head_q8 hd = qk_cache_head(block, h, 8);
  float by[16], scale[16], v_by[QK_PACK_PARTS][16] = {{0}};
  size_t bad = 0;
  for (size_t at = places.first / 16 * 16; at < places.end; at += 16) {
    const qk_span live = {places.first > at ? places.first - at : 0, places.end - at < 16 ? places.end - at : 16};
    const size_t n = live.end - live.first, place = at + live.first, x = (r + place - places.first) * ldx;
    bad += qk_scales_16(op->k + x, ldx, live, h, 1.0f, scale, by);
    memcpy(hd.k_scale + place, scale + live.first, n * sizeof *scale);
    qk_append_keys(op->k + x, ldx, live, h, by, hd.k + at * hp);
    vi_store(hd.k_start + at, qk_panel_starts(hd.k + at * hp, hp / QK_KSTEP));
    bad += qk_scales_16(op->v + x, ldx, live, h, 1.0f, scale, v_by[at / 16]);
    memcpy(hd.v_scale + place, scale + live.first, n * sizeof *scale);
  }
  qk_pack_values(op->v + r * ldx, ldx, places, h, v_by, hd.v, 1);
  return bad;
}

/* The same of floats. */
static size_t qk_append_floats(const qk_append *op, uint8_t *block, size_t r, qk_span places) {
  const size_t h = op->h;
  float *k = (float *)(void *)block, *v = k + QK_BLOCK * h, hi, low;
  size_t bad = 0;
  for (size_t at = places.first; at < places.end; at++, r++) {
    const float *kr = op->k + r * op->ldx, *vr = op->v + r * op->ldx;
    const qk_bounds kb = qk_row_bounds(kr, h, NULL), vb = qk_row_bounds(vr, h, NULL);
    bad += !qk_bounds_of(&kb, &hi, &low);
    bad += !qk_bounds_of(&vb, &hi, &low);
    memcpy(k + at * h, kr, h * sizeof *k);
    memcpy(v + at * h, vr, h * sizeof *v);
  }
  return bad;
}

/* A key's codes of 8 bits c, of 16 channels: its codes of 4 bits; *step and *least. */
static inline vi qk_key_codes_4(vi c, int32_t *step, int32_t *least) {
  const vi zero = vi_zero(), most = vi_set1(15);
  const int32_t hi = vi_hmax(c), lo = -vi_hmax(vi_sub(zero, c)), r = hi - lo;
  int32_t s = (r + 14) / 15;
  s = s < 1 ? 1 : s > 16 ? 16 : s;
  int32_t m = lo - (15 * s - r) / 2;
  m = m < -127 ? -127 : m;
  m = m > 127 - 15 * s ? 127 - 15 * s : m;
  *step = s, *least = m;
  /* Below 2^9, which the factor divides exactly. */
  const vi above = vi_max(vi_sub(c, vi_set1(m - s / 2)), zero), q = vi_shr(vi_mul(above, vi_set1(65536 / s + 1)), 16);
  return vi_sub(most, vi_max(vi_sub(most, q), zero));
}
/* Key x to place `at` of the block; by: what makes its codes of 8 bits, 0: they are 0. */
static void qk_append_key_4(const float *x, size_t h, float by, const qk_head_q8 *hd, const qk_cache_small *small,
                            size_t at) {
  const size_t hp = qk_round_up(h, 16);
  uint8_t *to = (uint8_t *)hd->k + at / 16 * 8 * hp + at % 16 * QK_KSTEP;
  int32_t sum = 0, step, least;
  for (size_t i = 0; i < h; i += 16, to += 128) {
    const vi q = qk_key_codes_4(by > 0.0f ? qk_codes_by(x + i, h - i, by) : vi_zero(), &step, &least);
    int8_t codes[16];
    vi_store8(codes, q);
    for (size_t j = 0; j < 8; j++)
      to[j / 4 * 64 + j % 4] = (uint8_t)(codes[j / 4 * 8 + j % 4] | codes[j / 4 * 8 + 4 + j % 4] << 4);
    small->step[i / 16 * QK_BLOCK + at] = (uint8_t)step;
    small->least[i / 16 * QK_BLOCK + at] = (uint8_t)(least + 128);
    sum += step * vi_sum(q) + 16 * least;
  }
  hd->k_start[at] = -128 * sum;
}
/* A value, alike. Returns whether it has NaN or infinity, or is too wide. */
static size_t qk_append_value_4(const float *x, size_t h, const qk_head_q8 *hd, const qk_cache_small *small,
                                size_t at) {
  const qk_bounds b = qk_row_bounds(x, h, NULL);
  float hi, low, scale = 0.0f, by = 0.0f;
  const int finite = qk_bounds_of(&b, &hi, &low);
  const float range = hi + low, top = qk_float_of_bits(QK_BITS_INFINITY);
  const int good = finite && range < top, coded = good && range >= 0x1p-100f;
  vf zero = vf_zero();
  if (coded) {
    scale = range / 15.0f, by = 15.0f / range;
    zero = vf_rint(vf_set1(low * by));
  }
  hd->v_scale[at] = scale;
  small->zero[at] = (uint8_t)vf_first(zero);
  const int shift = at % 2 ? 4 : 0;
  const uint8_t keep = at % 2 ? 15 : 240;
  for (size_t i = 0; i < h; i += 16) {
    uint8_t *to = hd->v + i * QK_BLOCK / 2 + at % 16 / 2 * 64 + at / 16;
    int8_t codes[16] = {0};
    const vf y = vf_fma(qk_load_n(x + i, h - i), vf_set1(by), zero);
    if (coded) vi_store8(codes, vf_to_vi(vf_min(vf_max(y, vf_zero()), vf_set1(15.0f))));
    for (size_t c = 0; c < 16; c++) to[4 * c] = (uint8_t)((to[4 * c] & keep) | codes[c] << shift);
  }
  return !good;
}
static size_t qk_append_small(const qk_append *op, uint8_t *block, size_t r, qk_span places) {
  const size_t h = op->h, ldx = op->ldx;
  const qk_head_q8 hd = qk_cache_head(block, h, 4);
  const qk_cache_small small = qk_cache_small_of(block, h);
  size_t bad = 0;
  for (size_t at = places.first; at < places.end;) {
    float by[16], scale[16];
    const qk_span live = qk_rows_to(places.end - at);
    bad += qk_scales_16(op->k + r * ldx, ldx, live, h, 1.0f, scale, by);
    for (size_t i = 0; i < live.end; i++, at++, r++) {
      hd.k_scale[at] = scale[i];
      qk_append_key_4(op->k + r * ldx, h, by[i], &hd, &small, at);
      bad += qk_append_value_4(op->v + r * ldx, h, &hd, &small, at);
    }
  }
  return bad;
}

static size_t qk_rows_cache_append(const qk_append *op, size_t r0, size_t r1) {
  size_t bad = 0, n;
  for (size_t r = r0; r < r1; r += n) {
    const size_t at = op->position + r, first = at % QK_BLOCK;
    n = QK_BLOCK - first < r1 - r ? QK_BLOCK - first : r1 - r;
    const qk_span places = {first, first + n};
    uint8_t *block = op->block[at / QK_BLOCK];
    bad += op->bits == 32  ? qk_append_floats(op, block, r, places)
           : op->bits == 4 ? qk_append_small(op, block, r, places)
                           : qk_append_block(op, block, r, places);
  }
  return bad;
}
#endif
