/* parts.c - see parts.h. */
#include "model/parts.h"

#include <string.h>

#define SHIFT_MOST 16u

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
/* log2(scale / least) of normal numbers, where it is a whole number up to SHIFT_MOST; else more than that. */
static uint32_t power_of(float scale, float least) {
  const uint32_t more = bits_of(scale) - bits_of(least); /* the exponent's if the fraction's are none */
  return more & 0x7fffff ? SHIFT_MOST + 1 : more >> 23;
}

static uint32_t run_first(const qn_runs *r, uint32_t g) { return g ? qn_run_end(r, g - 1) : 0; }

float qn_parts_unit(const float *scale, const qn_runs *runs) {
  float least = scale[0];
  uint64_t sum = 0;
  for (uint32_t g = 1; g < runs->count; g++) least = scale[g] < least ? scale[g] : least;
  for (uint32_t g = 0; g < runs->count; g++) {
    const uint32_t power = power_of(scale[g], least);
    if (power > SHIFT_MOST) return 0;
    sum += (uint64_t)(qn_run_end(runs, g) - run_first(runs, g)) << power;
  }
  return sum <= QN_SHIFTED_MOST ? least : 0;
}

static qk_part part_of(const float *scale, const qn_runs *runs, uint32_t g) {
  return (qk_part){.first = run_first(runs, g), .end = qn_run_end(runs, g), .scale = scale[g]};
}

/* By descending scale. Returns how many. */
static uint32_t join_by_shifts(const float *scale, const qn_runs *runs, float unit, qk_part *part) {
  uint32_t count = 0, before = 0;
  for (uint32_t power = SHIFT_MOST + 1; power-- > 0;) {
    const uint32_t first = count;
    for (uint32_t g = 0; g < runs->count; g++) {
      const qk_part p = part_of(scale, runs, g);
      if (power_of(p.scale, unit) != power) continue;
      if (count > first && part[count - 1].end == p.first)
        part[count - 1].end = p.end;
      else
        part[count++] = p;
    }
    if (count == first) continue;
    part[first].shift = first ? before - power : 0;
    before = power;
  }
  return count;
}

qk_parts qn_parts_make(const float *scale, const qn_runs *runs, qk_part *part, float *unit) {
  const float least = qn_parts_unit(scale, runs);
  qk_parts p = {.part = part, .count = runs->count, .shifts = least > 0};
  *unit = p.shifts ? least : 1.0f;
  if (p.shifts)
    p.count = join_by_shifts(scale, runs, least, part);
  else
    for (uint32_t g = 0; g < p.count; g++) part[g] = part_of(scale, runs, g);
  p.any = p.count > QK_PARTS;
  for (uint32_t i = 0; i < p.count; i++) p.any |= part[i].first % QK_PANEL != 0;
  return p;
}
