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
/* Blocks of 6 bits: four low and two high ones, joined to codes whose offset becomes 128. */
static inline void qk_unpack_six(const uint8_t *w, size_t blocks, uint8_t *to) {
  const vi nibble = vi_set1(0x0f0f0f0f), pair = vi_set1(0x30303030), add = vi_set1(0x60606060);
  for (; blocks > 0; blocks--, w += QK_SIX_BYTES) {
    for (size_t half = 0; half < 2; half++, to += 256) { /* 16 inputs */
      const int32_t *low = (const int32_t *)(const void *)(w + half * 128);
      const vi high = vi_load((const int32_t *)(const void *)(w + QK_SMALL_BYTES + half * 64));
      const vi first = vi_load(low), second = vi_load(low + 16);
      int32_t *out = (int32_t *)(void *)to;
      vi_store(out, vi_add(vi_or(vi_and(first, nibble), vi_and(vi_shl(high, 4), pair)), add));
      vi_store(out + 16, vi_add(vi_or(vi_and(vi_shr(first, 4), nibble), vi_and(vi_shl(high, 2), pair)), add));
      vi_store(out + 32, vi_add(vi_or(vi_and(second, nibble), vi_and(high, pair)), add));
      vi_store(out + 48, vi_add(vi_or(vi_and(vi_shr(second, 4), nibble), vi_and(vi_shr(high, 2), pair)), add));
    }
  }
}
#endif
