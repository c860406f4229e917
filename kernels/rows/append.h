/* append.h - keys and values of new tokens into the blocks of a cache (kernels.h: qk_append). Over lanes. */
#ifndef QK_ROWS_APPEND_H
#define QK_ROWS_APPEND_H
#include "kernels/rows/pack.h"

static void qk_rows_cache_clear(uint8_t *block, uint32_t h, uint32_t bits) {
  memset(block, 0, qk_cache_bytes(h, bits));
  if (bits == 8) memset(qk_cache_head(block, h).v, 0x80, QK_BLOCK * qk_round_up(h, 16));
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
  const qk_head_q8 hd = qk_cache_head(block, h);
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

static size_t qk_rows_cache_append(const qk_append *op, size_t r0, size_t r1) {
  size_t bad = 0, n;
  for (size_t r = r0; r < r1; r += n) {
    const size_t at = op->position + r, first = at % QK_BLOCK;
    n = QK_BLOCK - first < r1 - r ? QK_BLOCK - first : r1 - r;
    const qk_span places = {first, first + n};
    uint8_t *block = op->block[at / QK_BLOCK];
    bad += op->bits == 32 ? qk_append_floats(op, block, r, places) : qk_append_block(op, block, r, places);
  }
  return bad;
}
#endif
