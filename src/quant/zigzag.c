/* zigzag.c - see zigzag.h. */
#include "quant/zigzag.h"

/* Whether channel a comes before b. */
static int before(const float *magnitude, uint32_t a, uint32_t b) {
  return magnitude[a] > magnitude[b] || (magnitude[a] == magnitude[b] && a < b);
}

/* Shell's sort: no allocation and, the order being total, one result. */
static void sort(const float *magnitude, uint32_t k, uint32_t *out) {
  for (uint32_t i = 0; i < k; i++) out[i] = i;
  for (uint32_t gap = k / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
    for (uint32_t i = gap; i < k; i++) {
      const uint32_t x = out[i];
      uint32_t j = i;
      for (; j >= gap && before(magnitude, x, out[j - gap]); j -= gap) out[j] = out[j - gap];
      out[j] = x;
    }
}

void qn_zigzag(const float *magnitude, uint32_t k, uint32_t block, int32_t *order, uint32_t *work) {
  const uint32_t blocks = k / block;
  sort(magnitude, k, work);
  for (uint32_t i = 0; i < k; i++) {
    const uint32_t turn = i / blocks, at = turn % 2 ? blocks - 1 - i % blocks : i % blocks;
    order[at * block + turn] = (int32_t)work[i];
  }
}
