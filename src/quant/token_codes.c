/* token_codes.c - see token_codes.h. */
#include "quant/token_codes.h"

#include "base/checked.h"
#include "model/sites.h"
#include "quant/calibrate.h"

#define SEARCH_ROWS 64u
#define CLIP_PARTS 32 /* of a range */
#define CLIP_LEAST 20 /* of them */

/* n values of a row that share a scale, to `to` where that is given; returns the squared error. */
static double round_some(const qn_token_codes *c, float clip, const float *x, size_t n, float *to) {
  const float low_code = qn_site_lowest(c->bits), high_code = qn_site_highest(c->bits);
  float low = 0, high = 0;
  double error = 0;
  for (size_t i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  low *= clip, high *= clip;
  if (!(high - low >= 0x1p-100f)) return 0;
  const float size = !c->symmetric ? high - low : high > -low ? high : -low;
  const float steps = c->symmetric ? high_code : high_code - low_code;
  const float by = steps / size, scale = size / steps, zero = c->symmetric ? 0 : qn_pack_rint(low_code - low * by);
  for (size_t i = 0; i < n; i++) {
    const float code = qn_pack_held(qn_pack_rint(qn_pack_held(x[i] * by + zero, -4096, 4096)), low_code, high_code);
    const float got = (code - zero) * scale, d = got - x[i];
    error += (double)d * (double)d;
    if (to) to[i] = got;
  }
  return error;
}

static double round_row(const qn_token_codes *c, float clip, const float *x, size_t k, float *to) {
  const size_t each = c->group ? c->group : k;
  double error = 0;
  for (size_t i = 0; i < k; i += each)
    error += round_some(c, clip, x + i, qn_min_size(each, k - i), to ? to + i : NULL);
  return error;
}

void qn_token_round(const qn_token_codes *c, float *x, size_t count, size_t k) {
  const float clip = qn_token_clip(c, x, count, k);
  for (size_t r = 0; r < count; r++) round_row(c, clip, x + r * k, k, x + r * k);
}

float qn_token_clip(const qn_token_codes *c, const float *x, size_t count, size_t k) {
  const size_t rows = qn_min_size(count, SEARCH_ROWS);
  double lost[CLIP_PARTS + 1] = {0};
  int best = CLIP_PARTS;
  if (c->clip > 0) return c->clip;
  for (size_t r = 0; r < rows; r++) {
    const float *row = x + r * count / rows * k;
    double power = 0;
    for (size_t i = 0; i < k; i++) power += (double)row[i] * (double)row[i];
    for (int part = CLIP_LEAST; part <= CLIP_PARTS && power > 0; part++)
      lost[part] += round_row(c, (float)part / CLIP_PARTS, row, k, NULL) / power;
  }
  for (int part = CLIP_PARTS - 1; part >= CLIP_LEAST; part--) best = lost[part] < lost[best] ? part : best;
  return (float)best / CLIP_PARTS;
}
