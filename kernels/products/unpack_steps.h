/* unpack_steps.h - codes of 4 bits times their integer steps as codes of 8 bits (kernels.h: qk_gemm_group). Over lanes. */
#ifndef QK_PRODUCTS_UNPACK_STEPS_H
#define QK_PRODUCTS_UNPACK_STEPS_H
#include "kernels/layout.h"

/* Blocks from `first` on of a panel of 4 bits as codes of 8 bits, times their steps: step NULL: 1, else the panel's, of groups of
   `each` blocks. (q - zero) * step + 128 is a byte and q * step below 256, so that bytes of a word do not touch. */
static inline void qk_unpack_wide(const uint8_t *w, size_t first, size_t blocks, const uint8_t *step, size_t each,
                                  int min, uint8_t *to) {
  static const uint8_t one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const vi nibble = vi_set1(0x0f0f0f0f), ones = vi_set1(0x01010101);
  vi by = vi_zero(), add = vi_zero();
  for (size_t b = first; b < first + blocks; b++) {
    if (b == first || b % each == 0) {
      const vi both = vi_load8((const int8_t *)(step ? step + b / each * 16 : one)), s = vi_and(both, vi_set1(15));
      const vi zero = vi_xor(vi_and(vi_shr(both, 4), vi_set1(15)), vi_set1(8));
      add = min ? vi_set1((int32_t)0x80808080u) : vi_mul(vi_sub(vi_set1(128), vi_mul(s, zero)), ones);
      by = vi_or(s, vi_shl(s, 16));
    }
    QK_UNROLL for (size_t s = 0; s < 4; s++, w += 64, to += 128) {
      const vi x = vi_load((const int32_t *)(const void *)w);
      vi_store((int32_t *)(void *)to, vi_add(vi_mul16(vi_and(x, nibble), by), add));
      vi_store((int32_t *)(void *)(to + 64), vi_add(vi_mul16(vi_and(vi_shr(x, 4), nibble), by), add));
    }
  }
}
#endif
