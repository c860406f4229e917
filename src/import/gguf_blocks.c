/* gguf_blocks.c - ggml's block formats. A block is some values of one row with their scales; the fields of each are named
 * above its function, in the order in which they lie. Products and sums are single float32 operations in the order that
 * ggml's reference writes, none fused. Pure functions. */
#include "import/gguf_blocks.h"
#include "base/bytes.h"
#include "base/half.h"

static float half_at(const uint8_t *p) { return qn_from_half(qn_load_u16(p)); }

static void expand_f32(const uint8_t *src, size_t blocks, float *dst) {
  if (blocks) memcpy(dst, src, blocks * sizeof *dst);
}
static void expand_f16(const uint8_t *src, size_t blocks, float *dst) {
  for (size_t i = 0; i < blocks; i++) dst[i] = half_at(src + 2 * i);
}
static void expand_bf16(const uint8_t *src, size_t blocks, float *dst) {
  for (size_t i = 0; i < blocks; i++) dst[i] = qn_from_bf16(qn_load_u16(src + 2 * i));
}

/* ---- 32 values ---- */

/* d half, where has_min m half, of 5 bits high u32 (bit i: the fifth of value i), low [16] (value i in the low half of
   byte i, value 16 + i in its high half). Value: d * q + m, else d * (q - 8), of 5 bits d * (q - 16). */
static inline void expand_32(const uint8_t *p, size_t blocks, float *y, int bits, int has_min) {
  const size_t high_at = has_min ? 4 : 2, low_at = high_at + (bits == 5 ? 4 : 0);
  const int zero = has_min ? 0 : bits == 5 ? 16 : 8;
  for (; blocks; blocks--, p += low_at + 16, y += 32) {
    const float d = half_at(p), m = has_min ? half_at(p + 2) : 0;
    const uint32_t high = bits == 5 ? qn_load_u32(p + high_at) : 0;
    for (uint32_t i = 0; i < 16; i++) {
      const uint32_t a = (p[low_at + i] & 15u) | (high >> i & 1) << 4;
      const uint32_t b = (uint32_t)p[low_at + i] >> 4 | (high >> (16 + i) & 1) << 4;
      y[i] = d * (float)((int)a - zero);
      y[16 + i] = d * (float)((int)b - zero);
      if (has_min) y[i] += m, y[16 + i] += m;
    }
  }
}
static void expand_q4_0(const uint8_t *p, size_t blocks, float *y) { expand_32(p, blocks, y, 4, 0); }
static void expand_q4_1(const uint8_t *p, size_t blocks, float *y) { expand_32(p, blocks, y, 4, 1); }
static void expand_q5_0(const uint8_t *p, size_t blocks, float *y) { expand_32(p, blocks, y, 5, 0); }
static void expand_q5_1(const uint8_t *p, size_t blocks, float *y) { expand_32(p, blocks, y, 5, 1); }

/* d half, q [32] int8. */
static void expand_q8_0(const uint8_t *p, size_t blocks, float *y) {
  for (; blocks; blocks--, p += 34, y += 32) {
    const float d = half_at(p);
    for (uint32_t i = 0; i < 32; i++) y[i] = (float)(int8_t)p[2 + i] * d;
  }
}

/* d half, codes [16] as the low bits of Q4_0, each an index into levels that are denser around 0. */
static void expand_iq4_nl(const uint8_t *p, size_t blocks, float *y) {
  static const int8_t level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  for (; blocks; blocks--, p += 18, y += 32) {
    const float d = half_at(p);
    for (uint32_t i = 0; i < 16; i++) {
      y[i] = d * (float)level[p[2 + i] & 15];
      y[16 + i] = d * (float)level[p[2 + i] >> 4];
    }
  }
}

/* ---- 256 values, in sub-blocks with scales of few bits ---- */

/* scales [16] (low half: of the sub-block's scale, high half: of its minimum), q [64], d half, dmin half. Sub-blocks of 16.
   Bits 2j and above of q[32 n + l] are value 128 n + 32 j + l. */
static void expand_q2_k(const uint8_t *p, size_t blocks, float *y) {
  for (; blocks; blocks--, p += 84) {
    const float d = half_at(p + 80), dmin = half_at(p + 82);
    for (uint32_t s = 0; s < 16; s++, y += 16) {
      const uint8_t *q = p + 16 + s / 8 * 32 + s % 2 * 16;
      const uint32_t shift = s / 2 % 4 * 2;
      const float scale = d * (float)(p[s] & 15), min = dmin * (float)(p[s] >> 4);
      for (uint32_t i = 0; i < 16; i++) y[i] = scale * (float)(q[i] >> shift & 3) - min;
    }
  }
}

/* high [32], q [64] as Q2_K, scales [12] (16 of 6 bits: 4 low bits in the halves of the first 8 bytes, 2 high bits in the
   last 4), d half. Bit s / 2 of high[l] not set: 4 less. */
static void expand_q3_k(const uint8_t *p, size_t blocks, float *y) {
  for (; blocks; blocks--, p += 110) {
    const uint8_t *scales = p + 96;
    const float d = half_at(p + 108);
    for (uint32_t s = 0; s < 16; s++, y += 16) {
      const uint8_t *high = p + s % 2 * 16, *q = p + 32 + s / 8 * 32 + s % 2 * 16;
      const uint32_t shift = s / 2 % 4 * 2, low4 = (uint32_t)scales[s % 8] >> s / 8 * 4 & 15;
      const uint32_t high2 = (uint32_t)scales[8 + s % 4] >> s / 4 * 2 & 3;
      const float scale = d * (float)((int)(low4 | high2 << 4) - 32);
      for (uint32_t i = 0; i < 16; i++) y[i] = scale * (float)((q[i] >> shift & 3) - (high[i] >> s / 2 & 1 ? 0 : 4));
    }
  }
}

/* d half, dmin half, scales [12] (8 scales and 8 minima of 6 bits), of 5 bits high [32] (bit s of byte l: the fifth of value
   l of sub-block s), low [128]. Sub-blocks of 32; those of odd number are the high halves of the bytes of the one before. */
static inline void expand_scale_min(const uint8_t *p, size_t blocks, float *y, int bits) {
  const size_t low_at = bits == 5 ? 48 : 16;
  for (; blocks; blocks--, p += low_at + 128) {
    const uint8_t *t = p + 4, *high = p + 16;
    const float d = half_at(p), dmin = half_at(p + 2);
    for (uint32_t s = 0; s < 8; s++, y += 32) {
      const uint8_t *low = p + low_at + s / 2 * 32;
      const uint32_t six_scale = s < 4 ? t[s] & 63u : (t[s + 4] & 15u) | (uint32_t)t[s - 4] >> 6 << 4;
      const uint32_t six_min = s < 4 ? t[s + 4] & 63u : (uint32_t)t[s + 4] >> 4 | (uint32_t)t[s] >> 6 << 4;
      const float scale = d * (float)six_scale, min = dmin * (float)six_min;
      for (uint32_t i = 0; i < 32; i++) {
        const uint32_t fifth = bits == 5 ? (high[i] >> s & 1u) << 4 : 0;
        y[i] = scale * (float)((low[i] >> s % 2 * 4 & 15u) | fifth) - min;
      }
    }
  }
}
static void expand_q4_k(const uint8_t *p, size_t blocks, float *y) { expand_scale_min(p, blocks, y, 4); }
static void expand_q5_k(const uint8_t *p, size_t blocks, float *y) { expand_scale_min(p, blocks, y, 5); }

/* low [128], high [64], scales [16] int8, d half. Sub-blocks of 16. Values 128 n + l: l < 64 have their low 4 bits in the low
   half of low[64 n + l], the others in the high half of low[64 n + l - 64]; their high 2 bits are as q of Q2_K. */
static void expand_q6_k(const uint8_t *p, size_t blocks, float *y) {
  for (; blocks; blocks--, p += 210) {
    const float d = half_at(p + 208);
    for (uint32_t s = 0; s < 16; s++, y += 16) {
      const uint8_t *low = p + s / 8 * 64 + s % 4 * 16, *high = p + 128 + s / 8 * 32 + s % 2 * 16;
      const uint32_t low_shift = s / 4 % 2 * 4, high_shift = s / 2 % 4 * 2;
      const float scale = d * (float)(int8_t)p[192 + s];
      for (uint32_t i = 0; i < 16; i++) {
        const uint32_t q = (low[i] >> low_shift & 15u) | (high[i] >> high_shift & 3u) << 4;
        y[i] = scale * (float)((int)q - 32);
      }
    }
  }
}

/* By ggml's numbers. What has no function is there for its size, so that a file's other tensors can be read. */
static const qn_gguf_type types[] = {
    [0] = {"F32", 1, 4, expand_f32},
    [1] = {"F16", 1, 2, expand_f16},
    [2] = {"Q4_0", 32, 18, expand_q4_0},
    [3] = {"Q4_1", 32, 20, expand_q4_1},
    [4] = {"Q4_2", 16, 10, NULL},
    [5] = {"Q4_3", 16, 12, NULL},
    [6] = {"Q5_0", 32, 22, expand_q5_0},
    [7] = {"Q5_1", 32, 24, expand_q5_1},
    [8] = {"Q8_0", 32, 34, expand_q8_0},
    [9] = {"Q8_1", 32, 36, NULL},
    [10] = {"Q2_K", 256, 84, expand_q2_k},
    [11] = {"Q3_K", 256, 110, expand_q3_k},
    [12] = {"Q4_K", 256, 144, expand_q4_k},
    [13] = {"Q5_K", 256, 176, expand_q5_k},
    [14] = {"Q6_K", 256, 210, expand_q6_k},
    [15] = {"Q8_K", 256, 292, NULL},
    [16] = {"IQ2_XXS", 256, 66, NULL},
    [17] = {"IQ2_XS", 256, 74, NULL},
    [18] = {"IQ3_XXS", 256, 98, NULL},
    [19] = {"IQ1_S", 256, 50, NULL},
    [20] = {"IQ4_NL", 32, 18, expand_iq4_nl},
    [21] = {"IQ3_S", 256, 110, NULL},
    [22] = {"IQ2_S", 256, 82, NULL},
    [23] = {"IQ4_XS", 256, 136, NULL},
    [24] = {"I8", 1, 1, NULL},
    [25] = {"I16", 1, 2, NULL},
    [26] = {"I32", 1, 4, NULL},
    [27] = {"I64", 1, 8, NULL},
    [28] = {"F64", 1, 8, NULL},
    [29] = {"IQ1_M", 256, 56, NULL},
    [30] = {"BF16", 1, 2, expand_bf16},
    [31] = {"Q4_0_4_4", 32, 18, NULL},
    [32] = {"Q4_0_4_8", 32, 18, NULL},
    [33] = {"Q4_0_8_8", 32, 18, NULL},
    [34] = {"TQ1_0", 256, 54, NULL},
    [35] = {"TQ2_0", 256, 66, NULL},
    [36] = {"IQ4_NL_4_4", 32, 18, NULL},
    [37] = {"IQ4_NL_4_8", 32, 18, NULL},
    [38] = {"IQ4_NL_8_8", 32, 18, NULL},
    [39] = {"MXFP4", 32, 17, NULL},
    [40] = {"NVFP4", 64, 36, NULL},
    [41] = {"Q1_0", 128, 18, NULL},
};

const qn_gguf_type *qn_gguf_type_of(uint32_t id) { return id < sizeof types / sizeof types[0] ? &types[id] : NULL; }
