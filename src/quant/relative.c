/* relative.c - relative attention biases by distance (relative.h). Stateless; any thread. */
#include "quant/relative.h"

#include <stddef.h>

#include "model/arch.h"

#define LOG2_E 1.44269504088896340736

/* Half of the buckets are for one direction; of these the first half hold one distance each, and bucket 8 + j begins at
   the first whole distance d with log(d / 8) / log(128 / 8) * 8 >= j, that is d >= 8 * 2^(j / 2). */
#define HALF (QN_RELATIVE_BUCKETS / 2)
#define EXACT (HALF / 2)
static const uint8_t begins[EXACT] = {8, 12, 16, 23, 32, 46, 64, 91};

uint32_t qn_relative_bucket(int64_t distance) {
  const uint64_t d = distance < 0 ? (uint64_t)-distance : (uint64_t)distance;
  uint32_t bucket = (uint32_t)(d < EXACT ? d : EXACT);
  for (uint32_t j = 1; j < EXACT; j++) bucket += d >= begins[j];
  return bucket + (distance > 0 ? HALF : 0);
}

void qn_relative_expand(const float *table, uint32_t heads, uint32_t positions, float *out) {
  const int64_t far = (int64_t)positions - 1;
  for (size_t head = 0; head < heads; head++)
    for (int64_t d = -far; d <= far; d++)
      *out++ = (float)((double)table[(size_t)qn_relative_bucket(d) * heads + head] * LOG2_E);
}
