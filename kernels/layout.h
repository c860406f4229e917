/* layout.h - the one packed weight layout, read in place by every ISA.
 *
 * A weight W [n, k] (output channels, input channels) is stored as panels of 16 output channels:
 *   8 bit: [n/16][k/4][16][4] bytes, each the code XOR 0x80 (offset 128); n padded to 16, k to 64, padding is code 0
 *          (0x80)
 *   4 bit: [n/16][k/8][16][4] bytes, two steps of 8 bit in one: the low four bits are the code of input 8 s + i, the
 *          high four that of 8 s + 4 + i. Codes 0 ... 15; n padded to 16, k to 64 with code 8
 *   6 bit: [n/16][k/32][384] bytes, blocks of 32 inputs: 256 bytes of 4 bit, the low four bits of codes 0 ... 63, then 128 bytes of 2 bit,
 *          the high two; n padded to 16, k to 64 with code 32
 *   2 bit: [n/16][k/16][16][4] bytes, four steps of 8 bit in one: bits 2 j and 2 j + 1 are the code of input 16 s + 4 j + i.
 *          Codes 0 ... 3; padded alike with code 2
 *   f32:   [n/16][k][16] floats; n padded to 16 with 0, k not padded
 *   i16:   [n/16][k/2][16][2] codes in two's complement; n padded to 16, k to 2 with 0: of rotations (qk_transform)
 * 64 consecutive bytes of 8 bit are 16 channels x 4 input channels: one vpdpbusd operand, two AVX2 halves, four NEON dot
 * products, and a row of an AMX B tile; of 4 bit two such operands after a mask and a shift, which lie as the two halves
 * of a matrix instruction's 8 inputs. A tile of 64 columns reads four panels at once. Scales of groups of inputs are f32
 * panels of a matrix [n, groups]: those of one group are one vector; steps of scales are bytes in the same order. */
#ifndef QK_LAYOUT_H
#define QK_LAYOUT_H
#include <stddef.h>
#include <stdint.h>

#define QK_LANES 16u  /* floats in the vector that row operations are written over */
#define QK_PANEL 16u  /* output channels of a panel */
#define QK_KSTEP 4u   /* input channels that lie together */
#define QK_KALIGN 64u /* input channels are padded to this many (8 bit) */
#define QK_GROUP 32u  /* groups of inputs with a scale are multiples of this many */
#define QK_BLOCK 64u  /* keys of an attention block */

static inline size_t qk_round_up(size_t x, size_t to) { return (x + to - 1) / to * to; }
static inline size_t qk_k8(size_t k) { return qk_round_up(k, QK_KALIGN); } /* bytes of an activation row of k codes */
static inline size_t qk_panels(size_t n) { return (n + QK_PANEL - 1) / QK_PANEL; }
/* Of 8, 6, 4 or 2 bits. */
static inline size_t qk_weight_bytes(size_t n, size_t k, size_t bits) {
  return qk_panels(n) * QK_PANEL * qk_k8(k) * bits / 8;
}
static inline size_t qk_groups(size_t k, size_t group) { return (k + group - 1) / group; } /* group > 0 */
static inline size_t qk_weight_bytes_f32(size_t n, size_t k) { return qk_panels(n) * QK_PANEL * k * sizeof(float); }
/* Bytes of a row of a table of 4 or 2 bits. */
static inline size_t qk_table_row(size_t d, size_t bits) { return qk_k8(d) * bits / 8; }
/* Bytes of a block of keys and values of one head (kernels.h: qk_attend_cache); bits: 8, 4 or 32. */
static inline size_t qk_cache_bytes(size_t h, size_t bits) {
  const size_t hp = qk_round_up(h, QK_LANES);
  return QK_BLOCK * (bits == 32 ? 2 * h * sizeof(float) : bits == 4 ? hp + hp / 8 + 13 : 2 * hp + 12);
}

/* What is done to the input of a linear operator before it is quantized (kernels.h: transform). Matrices are of codes of 16 bits that stand
   for code * 2^-13, the same for all blocks of `block` channels; out of first [block, block] the channels are put in order, then
   come second or signs. */
typedef struct qk_transform {
  const float *smooth;   /* [k] or NULL */
  const int16_t *first;  /* [64] i16 panels of [block, block], outputs by inputs; NULL: none */
  const int32_t *order;  /* [k] a permutation: channel j is channel order[j] before; NULL: as they are */
  const int16_t *second; /* as first */
  const int8_t *signs;   /* [k] 1 or -1, with a block that is a power of two; not with second */
  uint32_t block;        /* a multiple of 16 up to 256; 0: there is no transform */
} qk_transform;
#define QK_TRANSFORM_BLOCK 256u   /* at most */
#define QK_TRANSFORM_MOST 8191.0f /* of the codes that a row becomes */
static inline size_t qk_rotation_bytes(size_t block) { return qk_panels(block) * QK_PANEL * block * sizeof(int16_t); }
/* Of 16 rows: sums, [k][16], and beside them codes of 16 bits in pairs, [k/2][16][2], or the results, [k][16]. */
static inline size_t qk_transform_scratch(size_t k) { return k * 16 * 2 * sizeof(int32_t); }

/* Of the codes of a static site: integers, -127 <= lowest <= 0 <= highest <= 127. */
typedef struct qk_limits {
  float lowest, highest;
} qk_limits;

/* A run of a row's codes with a scale of its own. */
typedef struct qk_part {
  uint32_t first, end; /* channels first ... end - 1 */
  uint32_t shift;      /* of the sum of the parts before; of the first 0 */
  float scale;
} qk_part;
#define QK_PARTS 16u /* at most, of the parts that products are fast with */
/* Parts of rows of codes of a static site, in the order in which products take them; each channel is in one. */
typedef struct qk_parts {
  const qk_part *part; /* [count]; NULL: none */
  uint32_t count;
  uint32_t shifts; /* 1: sums are joined in integers, by `shift`; 0: in floats, by `scale` */
  uint32_t
      any; /* 0: at most QK_PARTS, which begin at multiples of 16 channels; 1: as many as there are channels, of any */
} qk_parts;
/* Whether rows have a start for each part. */
static inline int qk_parts_have_starts(const qk_parts *p) { return p->count && !p->any; }
#endif
