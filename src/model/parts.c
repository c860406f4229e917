/* parts.c - see parts.h. */
#include "model/parts.h"

#include <string.h>

#define SHIFT_MOST 16

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* How far apart the scales are, as powers of two: shift[g] = log2(scale[g] / least); 0: they are not. */
static int shifts_of(const float *scale, const uint32_t *ends, uint32_t groups, uint32_t *shift) {
  float least = scale[0];
  uint64_t sum = 0;
  for (uint32_t g = 1; g < groups; g++) least = scale[g] < least ? scale[g] : least;
  for (uint32_t g = 0; g < groups; g++) {
    const uint32_t more = bits_of(scale[g]) -
                          bits_of(least); /* of normal numbers: the exponent's if the fraction's are none */
    if (more & 0x7fffff || more >> 23 > SHIFT_MOST) return 0;
    shift[g] = more >> 23;
    sum += (uint64_t)(ends[g] - (g ? ends[g - 1] : 0)) << shift[g];
  }
  return sum <= QN_SHIFTED_MOST;
}

/* By descending shift, which stand in for scales; order is kept otherwise. */
static void sort_parts(qk_part *part, uint32_t count) {
  for (uint32_t i = 1; i < count; i++) {
    const qk_part p = part[i];
    uint32_t j = i;
    for (; j > 0 && part[j - 1].shift < p.shift; j--) part[j] = part[j - 1];
    part[j] = p;
  }
}

qk_parts qn_parts_make(const float *scale, const uint32_t *ends, uint32_t groups, qk_part *part, float *unit) {
  uint32_t shift[QK_PARTS] = {0}, count = 0;
  const int shifts = shifts_of(scale, ends, groups, shift);
  *unit = 1.0f;
  for (uint32_t g = 0; g < groups; g++) {
    part[g] = (qk_part){.first = g ? ends[g - 1] : 0, .end = ends[g], .shift = shift[g], .scale = scale[g]};
    if (shifts && (g == 0 || scale[g] < *unit)) *unit = scale[g];
  }
  if (!shifts) {
    for (uint32_t g = 0; g < groups; g++) part[g].shift = 0;
    return (qk_parts){.part = part, .count = groups};
  }
  sort_parts(part, groups);
  for (uint32_t g = 0; g < groups; g++) {
    qk_part *before = count ? &part[count - 1] : NULL;
    if (before && before->shift == part[g].shift && before->end == part[g].first)
      before->end = part[g].end;
    else
      part[count++] = part[g];
  }
  for (uint32_t i = count; i-- > 0;) part[i].shift = i ? part[i - 1].shift - part[i].shift : 0;
  return (qk_parts){.part = part, .count = count, .shifts = 1};
}
