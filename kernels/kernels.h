/* kernels.h - every operation: shapes, units, exact meaning; and the table of pointers to its implementations.
 *
 * Arrays in, arrays out: nothing here knows models, files or threads. kernels/ref is the specification: every other
 * implementation gives the same bytes (tests/kernels). Kernels are called with the FP environment of docs/NUMERICS.md
 * (nearest even, denormals kept), never allocate, never fail: what can go wrong with the data comes back as a count.
 *
 * Words: `fma(a, b, c)` is one rounding. sum16(x): element i goes to lane i mod 16, each lane adds its elements in
 * ascending order starting from 0; then lanes l += l+8, l += l+4, l += l+2, l += l+1 (the fixed tree). rint: to nearest
 * even. absmax is taken on bit patterns (x & 0x7fffffff as an unsigned integer), so NaN counts as the largest.
 * Alignment: weights, and what is marked [64], start on 64 bytes; everything else has its type's alignment.
 * Rows: `ld*` is the distance between rows in elements. Reads never go past a row's end rounded up to what is stated.
 */
#ifndef QK_KERNELS_H
#define QK_KERNELS_H
#include "kernels/layout.h"

/* Static sites of columns, by panels of 16, [ceil(d / 16)] each, where columns that share a scale are whole panels; else by column,
   [d rounded up to 16], any numbers past d. by: 1 / scale. by NULL: nothing is rounded. */
typedef struct qk_sites {
  const float *by, *scale, *zero;
  uint32_t bits;      /* 8 or 16 */
  uint32_t by_column; /* 1: entries are columns, 0: panels */
} qk_sites;

/* Rows as codes, x ~ (code - zero) * scale, zero an integer in -127 ... 127. For each row - or where `grouped` for each
   group of `group` channels of it - with `smooth` [d] after x_j = x_j * smooth_j (one multiplication):
     lo = min(0, min x), hi = max(0, max x), range = hi - lo. absmax NaN or infinity, or range infinity: scale, zero,
     codes 0; the row is counted.  Else
     measured, symmetric 0: range < 2^-100: scale, zero, codes 0; else scale = range / 254, by = 254 / range,
                            zero = rint(fma(-lo, by, -127))
     measured, symmetric 1: range < 2^-100: alike; else a = max(-lo, hi), scale = a / 127, by = 127 / a, zero = 0
     given:                 scale = given_scale[g], by = 1 / scale, zero = given_zero[g], NULL: 0
     given, in parts:       scale and zero as given, codes by those of `site`
     code = rint(min(max(fma(x, by, zero), -127), 127)), or where given with limits between those
   measured, bits of 4 or 6: lowest and highest, -8 and 7 or -32 and 31, in the place of -127 and 127, and 15 or 63 in that of 254.
   measured, clip: lo and hi are multiplied by it first, and range is that of the products
   codes: [rows, ld], ld = qk_k8(d); bytes d ... ld - 1 are written 0: they meet weights of 0. start: [rows] = -128 * sum
   of the row's codes (zero is no part of it): the start value of every accumulator that takes this row against offset-128
   weights. */
typedef struct qk_codes {
  int8_t *codes;
  size_t ld;
  float *scale; /* [rows], or where grouped [rows, groups], groups = ceil(d / group) */
  int32_t *start;
  float *zero;          /* as scale */
  int32_t *group_start; /* NULL, or [rows, groups]: -8 * sum of the codes of each group of inputs */
  uint32_t group;       /* a multiple of 32 */
  uint32_t grouped;     /* 1: group_start is not NULL, and each group has a scale and a zero of its own */
  uint32_t symmetric;
  uint32_t bits;                         /* of measured codes: 8, which 0 stands for too, 6 or 4 */
  float clip;                            /* of measured codes: 2^-6 ... 1; 0: 1 */
  const float *given_scale, *given_zero; /* NULL: measured. [1], or where grouped [groups]; scales 2^-100 ... 2^100 */
  const qk_limits *limits;               /* where given: of all codes of 8 bits; NULL: -127, 127 */
  int8_t *low;                           /* NULL, or [rows, ld]: codes have 16 bits (below); given, one scale for all */
  int32_t *low_start;                    /* [rows]: of low what start is of codes */
  qk_parts parts; /* count 0: none. Else given_scale and given_zero, [1], are what products take; codes are of 8 bits */
  /* By panels or by column, the values that codes are made with. In parts: code = rint(min(max(fma(x, by, zero), -127), 127)).
     Not in parts: the given scale and zero once more, by panels, for norm_q8; by NULL: they are not there. */
  qk_sites site;
  /* With parts that are not `any`: [rows, QK_PARTS] -128 * sum of the codes of each; those past the last are 0. */
  int32_t *part_start;
} qk_codes;
/* How many scales a row of d channels has. */
static inline size_t qk_scales(const qk_codes *q, size_t d) { return q->grouped ? qk_groups(d, q->group) : 1; }

/* Codes of 16 bits lie as two planes of bytes: code = 128 * high + low, |code| <= 16383, high = code / 128 towards 0, so that
   both have its sign and lie in -127 ... 127. The high plane is where codes of 8 bits are. They are made as those are, the
   limits being -16383 and 16383. */

/* Rows of codes of static sites, or of floats where codes is NULL: value = (code - zero) * scale. Codes are readable up to
   the end of their last panel. */
typedef struct qk_rows {
  const int8_t *codes, *low; /* [rows, ld]; low: of 16 bits */
  const float *floats;       /* [rows, ld] */
  size_t ld;
  qk_sites site;
} qk_rows;

/* Epilogue of a product, per element, in this order; acc is the exact integer (or float) sum of weight * code:
     y = fma(fma(-a_zero[m], (float)w_sums[n], (float)acc) * w_scale[n], a_scale[m], bias[n])   (8 bit; bias NULL: + 0)
     that of groups stands with qk_gemm_group
     y = acc + bias[n]                                                                          (f32)
     y = act(y)
     y = y + residual[m][n]                             (residual not NULL)
   8 bit, with codes not NULL, in the place of out: the codes of y at a static site, whose scale and zero point a panel p
   of 16 columns takes from by[p] = 1 / scale and zero[p]; a group of columns is some panels with the same two, or with by_column
   some columns, which are what by and zero then have entries for:
     code = rint(min(max(fma(y, by[p], zero[p]), lowest), highest))   (NaN gives the lowest)
   lowest and highest are those of limits[p], -127 and 127 without limits;
   with low not NULL codes of 16 bits. Inputs of 16 bits (a.low not NULL): (float)acc above is fma((float)H, 128, (float)L), H
   and L the exact sums of the two planes. Inputs in parts (a.parts.count not 0), S_p being the exact sum of a part's weight *
   code: (float)acc is, over the parts in their order from acc = 0,
     shifts: acc = (acc << shift_p) + S_p, wrapping, then to float; else acc = fma((float)S_p, scale_p, acc)
   and (float)w_sums[n] is part_sums[n].
   Activations: act_* below. */
enum {
  QK_ACT_NONE = 0,
  QK_ACT_GELU = 1,
  QK_ACT_GELU_TANH = 2,
  QK_ACT_RELU = 3,
  QK_ACT_TANH = 4,
  QK_ACT_GELU_SHORT = 5, /* GELU as exact as codes of 8 bits can show */
  QK_ACT_SILU = 6,
  QK_ACT_KINDS = 7
};

typedef struct qk_gemm_q8 {
  qk_codes a;             /* [m, k] */
  const uint8_t *w;       /* [64] panels of W [n, k] */
  const uint8_t *w_next;  /* NULL, or weights of the product that follows, to ask memory for: a hint */
  const float *w_scale;   /* [n] */
  const int32_t *w_sums;  /* [n] sum over k of W's codes */
  const float *part_sums; /* [n] of inputs in parts */
  const float *bias;      /* [n] or NULL */
  const float *residual;  /* [m, ldr] or NULL; may be out itself */
  float *out;             /* [m, ldo]; only columns 0 ... n - 1 are written */
  size_t ldr, ldo;
  uint32_t n, k, act;
  int8_t *codes;           /* NULL, or [m, ldc]: columns 0 ... n - 1 are written, and nothing of out; then start_q8 */
  int8_t *low;             /* NULL, or [m, ldc]: codes have 16 bits */
  const float *by, *zero;  /* [n/16] of codes, or as by_column of qk_sites */
  const qk_limits *limits; /* [n/16] of codes of 8 bits; NULL: -127, 127 */
  size_t ldc;
  uint32_t by_column;
} qk_gemm_q8;

/* Products whose sums are taken by groups of inputs: of weights of 4 and 2 bits, of weights of 8 bits with scales for groups,
   and of activations with scales for groups. c: the code of a weight, less what its bits are centred on: 8 bits as qk_gemm_q8,
   6 bits q - 32, 4 bits q - 8, 2 bits q - 2; with minimum q itself, 8 bits unchanged; of 6 bits there is no minimum. Sums of c * a over a group are exact; groups g are
   taken ascending from acc = 0:
     activations not grouped, steps NULL: weight = c * scale[g][n] (+ min[g][n]), a.group = group
       acc = fma((float)sum of c * a, scale[g][n], acc);  with minimum acc = fma((float)sum of a, min[g][n], acc)
       y = fma(fma(-a_zero[m], w_sums[n], acc), a_scale[m], bias[n])
     activations not grouped, steps: weight = c * s * scale[n], s the low four bits of the step of the group and channel; its high
     four bits, 0 ... 15, tell where codes have their zero: those XOR 8, less 8, are taken off c. c * s, so made, of all codes
     that there are lies in -128 ... 127
       acc = (float)sum of c * s * a over all inputs
       y = fma(fma(-a_zero[m], (float)code_sums[n], acc) * scale[n], a_scale[m], bias[n])
     activations grouped: weight as before, or c * scale[n]; s = scale[n] or scale[g][n]; g is a group of activations, and of
     weights too where both have groups and steps is NULL
       acc = fma((float)sum of c (* step) * a * s, a_scale[m][g], acc)      each of the products rounded
       with minimum acc = fma(a_scale[m][g] * (float)sum of a, min[g][n], acc)
       unless a.symmetric acc = fma(-a_zero[m][g] * a_scale[m][g], value_sums[g][n], acc)
       y = acc + bias[n]
   group: of the weights' scales: a multiple of 32 up to 512; qk_k8(k): one for each output channel; 0: alike, scale is [n].
   a.group: as group; where steps is not NULL or group is 0 or qk_k8(k), and activations are grouped, a multiple of 32 up to
   512 of its own. */
typedef struct qk_gemm_group {
  qk_codes a;               /* [m, k], with group_start unless it is not grouped and steps is not NULL */
  const uint8_t *w;         /* [64] panels of `bits` of W [n, k] */
  const float *scale;       /* [64] f32 panels of [n, ceil(k / group)]; with steps or a group of 0: [n] */
  const float *min;         /* [64] panels alike, or NULL; not with steps */
  const uint8_t *steps;     /* u8 panels of [n, ceil(k / group)], or NULL; of 4 and 2 bits only */
  const float *w_sums;      /* [n] sum over k of W's values: activations not grouped, steps NULL */
  const int32_t *code_sums; /* [n] sum over k of c * s: activations not grouped, steps */
  /* [64] f32 panels of [n, ceil(k / a.group)]: sums of W's values; activations grouped and not symmetric */
  const float *value_sums;
  const float *bias;     /* [n] or NULL */
  const float *residual; /* [m, ldr] or NULL; may be out itself */
  float *out;            /* [m, ldo]; only columns 0 ... n - 1 are written */
  size_t ldr, ldo;
  uint32_t n, k, bits, group, act;
} qk_gemm_group;

typedef struct qk_gemm_f32 {
  const float *a; /* [m, lda] */
  const float *w; /* [64] f32 panels of W [n, k] */
  const float *bias;
  const float *residual;
  float *out;
  size_t lda, ldr, ldo;
  uint32_t n, k, act;
} qk_gemm_f32;

/* LayerNorm of rows: mean = sum16(x) / d; c = x - mean; var = sum16(c * c) / d; rstd = 1 / sqrt(var + eps);
   y = fma(c * rstd, gain, bias). rms 1: mean is 0, c is x, y = (x * rstd) * gain. Then y = y + residual, where there is one (with rms 1
   alone). out may be x. q: the codes of y, or of y * smooth. q.codes NULL: y is not quantized. */
typedef struct qk_norm {
  const float *x;
  float *out;               /* [rows, ldo] f32 */
  const float *gain, *bias; /* [d]; bias is not read with rms 1 */
  const float *smooth;      /* [d] or NULL */
  qk_codes q;
  size_t ldx, ldo;
  uint32_t d;
  float eps;
  uint32_t rms;
  const float *residual; /* [rows, ldr] or NULL; may be out itself */
  size_t ldr;
} qk_norm;

/* Embedding sum, then the norm: x = (token + position) + type, the token's values first times scale where that is not 0. Tables have rows of width d:
     32 bits: floats
      8 bits: code * scale[row]
      4, 2:   codes 0 ... 15, 0 ... 3 with a scale and a minimum for each group of channels:
              fma((float)code, (float)step[row][g][0] * scale[row][0], (float)step[row][g][1] * scale[row][1])
   A row of codes of 4 and 2 bits takes qk_table_row(d, bits) bytes: 16 bytes are 32 codes (byte i: that of channel i low,
   of channel 16 + i high), or 64 (byte i, from the lowest bits up: of channels i, 16 + i, 32 + i, 48 + i).
   A table may be the weights of a product (panels 1): rows are output channels, as layout.h and qk_gemm_group have them:
     32 bits: f32 panels
     8, 6, 4 bits, no group: c * scale[row];  groups: c * scale[g][row], with min fma(c, scale[g][row], min[g][row])
     4 bits, steps: (float)(c * s) * scale[row]
   c being the code, of 4 bits without min less 8, of 6 bits less 32; with steps c and s are those of qk_gemm_group. */
typedef struct qk_table_ref {
  const void *data; /* NULL: absent */
  /* [rows], or [rows, 2] of 4 and 2 bits; panels with groups: f32 panels of [rows, ceil(d / group)], with steps [rows] */
  const float *scale;
  const int8_t *step;   /* [rows, ceil(d / group), 2] of 4 and 2 bits, not of panels */
  uint32_t bits, group; /* group: 16 or 32; of panels 0, or as of qk_gemm_group */
  uint32_t panels;
  const float *min;     /* of panels with groups: as scale, or NULL; not with steps */
  const uint8_t *steps; /* of panels of 4 bits with groups: u8 panels of [rows, ceil(d / group)], or NULL */
} qk_table_ref;
typedef struct qk_embed {
  const int32_t *ids;       /* [rows], checked by the caller */
  const int32_t *positions; /* [rows] */
  const int32_t *type_ids;  /* [rows], or NULL for all 0 */
  qk_table_ref tokens, position, types;
  qk_sites sum; /* the sum is rounded to it before the norm, as qk_norm_q8 does */
  qk_norm norm; /* x is not used. gain NULL: no norm, norm.out is the sum, and no row is counted */
  float scale;
} qk_embed;

/* LayerNorm between codes: x = value of x, plus that of residual where it has rows, first times gain where that is not NULL; where
   sum.by is not NULL rounded, x = (code - zero) * scale with code = rint(min(max(fma(x, by, zero), -limit), limit)); then qk_norm of
   it. With order, channel order[i] of that x is channel i of what is normed: norm's gain, bias and codes are by i, all before by
   order[i]. norm.x is not used; norm.out holds the sum on its way, and then the result or, with codes of a norm.q whose site is set,
   anything; residual's codes may be those of norm.q. norm.rms is 0. */
typedef struct qk_norm_q8 {
  qk_rows x, residual;
  const float *gain; /* [d] of residual; NULL: 1 */
  qk_sites sum;
  const int32_t *order; /* NULL: as they are; else [d], a permutation */
  float *row;           /* [d] scratch, with order */
  qk_norm norm;
} qk_norm_q8;

/* Keys first ... end - 1. */
typedef struct qk_span {
  size_t first, end;
} qk_span;
/* Those that a query at i sees of `keys` keys; before: as above. */
static inline qk_span qk_span_of(size_t i, uint32_t before, size_t keys, int causal) {
  const size_t reach = (uint32_t)(before - 1); /* 0: any distance */
  const size_t end = causal || keys - i - 1 < reach ? keys : i + reach + 1;
  return (qk_span){i > reach ? i - reach : 0, causal ? i + 1 : end};
}
/* Those of a span that are in the block from key j0 on, counted from there; first >= end: none. */
static inline qk_span qk_span_in(qk_span s, size_t j0) {
  const size_t end = s.end > j0 ? s.end - j0 : 0;
  return (qk_span){s.first > j0 ? s.first - j0 : 0, end < QK_BLOCK ? end : QK_BLOCK};
}

/* Attention of one head of one sequence of n tokens; docs/NUMERICS.md. Scores are kept in units of log2: the query's
   scale is folded with log2(e) / sqrt(head_dim), bias tables are stored multiplied by log2(e). Head dimension h, at
   most 1,024; hp = h rounded up to 16. Keys and values come in blocks of 64; padding codes are 0 (offset: byte 0x80), padding scales 0.

   pack_q8: rows r0 ... r1 - 1 (r0 a multiple of 64) of q, k, v [n, ldx] f32 (each pointing at the head's first channel)
   are quantized per row, symmetric: a = absmax; NaN or infinity: scale 0, codes 0; a < 2^-100: scale 0, codes 0; else
   scale = a / 127, code = rint(x * (127 / a)).
     q: [n/16][hp/4][16][4] offset codes; q_scale = scale * fold
     k: the same of codes as they are; k_start = -128 * sum of the row's codes
     v: [n/64][hp/16][16][16][4] offset codes (channel panels; step j holds keys j, 16 + j, 32 + j, 48 + j)
   The last block is padded: n is rounded up to 64, also for scales and k_start. Returns the number of rows of q, k or v
   with NaN or infinity. */
typedef struct qk_head_q8 {
  uint8_t *q; /* [64], as k and v */
  float *q_scale;
  int8_t *k;
  float *k_scale;
  int32_t *k_start;
  uint8_t *v;
  float *v_scale;
  uint32_t n, h;
} qk_head_q8;

typedef struct qk_pack_q8 {
  qk_head_q8 head;
  const float *q, *k, *v;
  size_t ldx;
  float fold; /* log2(e) / sqrt(h), computed once by the caller */
} qk_pack_q8;

/* Queries r0 ... r1 - 1 against all keys. Per query i and block of 64 keys (fma is not used unless written):
     x_j = (float)(q . k_j) * k_scale_j, f = q_scale           [bias not NULL: x_j = fma(x_j, q_scale, bias[j - i]), f = 1]
     m = (max x_j over keys j < n) * f;  e_j = exp2s(fma(x_j, f, -m)), 0 for j >= n;  z = sum16(e)
     u_j = e_j * v_scale_j;  t = max(0, u_j);  p_j = rint(u_j * (127 / t)) by one fma, all 0 when t < 2^-100
     o_c = sum p_j * v_jc, exact in int32
   Blocks merge serially, ascending. The first: M = m, Z = z, O_c = (t / 127) * (float)o_c. Each further one:
     M' = max(M, m);  A = exp2(M - M');  B = exp2(m - M')
     Z = fma(A, Z, B * z);  O_c = fma(A, O_c, (B * (t / 127)) * (float)o_c);  M = M'
   out_c = O_c * (1 / Z). exp2s is qk_exp2_short, exp2 qk_exp2 of kernels/rows/math.h.
   before: a window. Query i sees keys j with |i - j| < before alone, 0: all. Maximum and sums are then over the keys it sees, e_j is
   0 for others; blocks of which it sees none are left out, and merging starts from M = -infinity, Z = 0, O_c = -0. */
typedef struct qk_attention_q8 {
  qk_head_q8 head;
  const float *bias; /* bias[d] for d = key - query in -(n-1) ... n-1, log2 units; or NULL */
  float *out;        /* [n, ldo], at the head's first channel */
  size_t ldo;
  uint32_t before;
} qk_attention_q8;

/* Float attention: s_j = (q . k_j as fma chain, c ascending, from 0) * fold [+ bias]; per block m, e, z as above; o_c =
   fma chain over j ascending of e_j * v_jc from 0; merged alike with B * o_c. Reads q, k, v [n, ldx] in place; k, v
   need no packing. before: a window, as above. */
typedef struct qk_attention_f32 {
  const float *q, *k, *v;
  size_t ldx;
  float fold;
  const float *bias;
  float *out;
  size_t ldo;
  uint32_t n, h;
  uint32_t before;
} qk_attention_f32;

/* Attention of one head of one sequence of n tokens between codes of static sites; docs/NUMERICS.md. 1 <= n <= 65,536. Head dimension
   h, at most 1,024; hp = h rounded up to 16.

   pack_codes: q, k, v [n, ldx] codes (each pointing at the head's first channel) to
     q: [n/16][hp/4][16][4] offset codes
     k: the same of codes as they are; k_start = -(128 + q_zero) * sum of the row's codes, k_less = -q_zero * that sum
     v: panels of W [h, n] (layout.h), W[c][j] = v[j][c]; v_sums [hp] = sum of the codes of W's rows
   n is rounded up to 16, and n and h are in panels; padding codes are 0 (offset: byte 0x80). */
typedef struct qk_head_codes {
  uint8_t *q; /* [64], as k and v */
  int8_t *k;
  int32_t *k_start, *k_less;
  uint8_t *v; /* qk_weight_bytes(h, n, 8) */
  int32_t *v_sums;
  uint32_t n, h;
} qk_head_codes;

typedef struct qk_pack_codes {
  qk_head_codes head;
  const int8_t *q, *k, *v;
  size_t ldx;
  int32_t q_zero; /* -127 ... 127 */
} qk_pack_codes;

/* How codes of a static site with one scale are made: rint(min(max(fma(x, by, zero), lowest), highest)), NaN gives the lowest. */
typedef struct qk_coder {
  float by, zero; /* 1 / scale */
  qk_limits limits;
} qk_coder;

/* Queries r0 ... r1 - 1 against all keys. Per query i:
     a_j = sum over channels of (q - q_zero) * k_j, exact;  y_j = ((float)a_j * k_scale) * q_scale
     [bias not NULL: y_j = y_j + bias[j - i]];  x_j = code of y_j by `scores`
     d_j = max over keys of x - x_j, 0 ... 255;  e_j = (exp[d_j >> 4] * exp[16 + (d_j & 15)] + 2^14) >> 15  in integers
     p_j = code of (float)e_j by {probs.by / (float)(sum of e), probs.zero, probs.limits}
     o_c = code of (fma(-probs.zero, (float)v_sums[c], (float)(sum of p_j * v_jc)) * v_scale) * probs_scale by `context`
   which is what qk_gemm_q8 (queries as rows, keys as weights), softmax by table, and qk_gemm_q8 (values as weights) give. With low not
   NULL o_c has 16 bits, its limits being -16383 and 16383. exp: qk_exp_build. */
typedef struct qk_attention_codes {
  qk_head_codes head;
  const float *bias;  /* bias[d] for d = key - query in -(n-1) ... n-1, log2 units; or NULL */
  const int16_t *exp; /* [32] */
  float q_scale;      /* times log2(e) / sqrt(h) */
  float k_scale, v_scale, probs_scale;
  qk_coder scores, probs, context;
  int8_t *codes, *low; /* [n, ldc], at the head's first channel; low NULL: 8 bits */
  size_t ldc;
  void *scratch; /* [64] qk_attention_scratch(n) bytes, of any content, for this call alone */
} qk_attention_codes;
/* For 32 queries: a code of each key and, of 16 of them, a weight; and what a last tile reads past the end. */
static inline size_t qk_attention_scratch(size_t n) { return 64 * qk_k8(n) + 64; }

/* Rotation of q and k: pairs (a, b) = channels (i, i + rotary / 2) of a head, i < rotary / 2, become
     (fma(a, cosine[i], -(b * sine[i])), fma(b, cosine[i], a * sine[i]))
   where gain is not NULL after the head's RMS norm: x = (x * rstd) * gain, rstd = 1 / sqrt(sum16(x * x) / h + eps), over its h
   channels. rotary 0: the norm alone. hadamard 1: then each head is multiplied by the Walsh-Hadamard matrix: for n = 1, 2, 4 ... h / 2 channels i and i + n,
   i & n being 0, become x_i + x_(i + n) and x_i - x_(i + n); then x times 1 / sqrt((float)h), h a power of two from 16 on. In place. */
typedef struct qk_rotate {
  float *x; /* [rows, ldx], `heads` heads of a row h apart */
  size_t ldx;
  uint32_t heads, h, rotary; /* rotary: even, at most h */
  const float *gain;         /* [h] or NULL */
  float eps;
  const float *cosine, *sine; /* [rows, rotary / 2], of `turns` */
  uint32_t hadamard;
} qk_rotate;

/* The hidden rows of a gated feed-forward: out[16 p + l] = act(x[32 p + l]) * x[32 p + 16 + l], l < 16. q: the codes of out, or of out
   * smooth, as qk_norm has them; q.codes NULL: not quantized. out may be x where ldo is ldx. */
typedef struct qk_gate {
  const float *x; /* [rows, ldx], 2 d of a row */
  float *out;     /* [rows, ldo], d of a row */
  size_t ldx, ldo;
  uint32_t d, act; /* d: a multiple of 16 */
  const float *smooth;
  qk_codes q;
} qk_gate;

/* ---- attention over a cache of keys and values; docs/NUMERICS.md ---- */
/* A block: 64 tokens of one head of keys and values, [64], qk_cache_bytes(h, bits), hp = h rounded up to 16:
     8 bits: k codes and v codes as in qk_head_q8, 64 * hp bytes each, float k_scale[64], int32 k_start[64], float v_scale[64]
     32:     float k[64][h], v[64][h]
     4 bits: k [4][hp/8][16][4] and v [hp/16][8][16][4], two steps of 8 bits in a byte, the first of them in the low half; then
             k_scale, k_start, v_scale as above; uint8 k_step[hp/16][64], k_least[hp/16][64], v_zero[64]
   A code of 4 bits stands for one of 8 bits: of a key k_step * q + k_least - 128, of a value q - v_zero; attention is that of these.
   Keys: the codes c of pack_q8, in groups of 16 channels (those from h on are 0): r = greatest - least,
     step = min(max(ceil(r / 15), 1), 16), m = min(max(least - (15 * step - r) / 2, -127), 127 - 15 * step), / towards 0,
     q = min(max(floor((c - m + step / 2) / step), 0), 15); k_least = m + 128; k_start = -128 * sum of what the row's codes stand for
   Values: lo = min(0, min x), hi = max(0, max x), range = hi - lo; NaN, infinity, range infinity (the row is counted) or below 2^-100:
     scale, zero, q 0; else scale = range / 15, by = 15 / range, zero = rint(-lo * by), q = rint(min(max(fma(x, by, zero), 0), 15))
   Head dimension at most 1,024. */

/* The codes and scales of a block of 8 or 4 bits. */
static inline qk_head_q8 qk_cache_head(const uint8_t *block, size_t h, size_t bits) {
  const size_t codes = QK_BLOCK * qk_round_up(h, QK_LANES) * bits / 8;
  uint8_t *k = (uint8_t *)(uintptr_t)block, *v = k + codes;
  float *scale = (float *)(void *)(v + codes);
  return (qk_head_q8){.k = (int8_t *)k,
                      .k_scale = scale,
                      .k_start = (int32_t *)(void *)(scale + QK_BLOCK),
                      .v = v,
                      .v_scale = scale + 2 * QK_BLOCK,
                      .n = QK_BLOCK,
                      .h = (uint32_t)h};
}

/* What a block of 4 bits has besides: steps and least codes of keys, zeros of values. */
typedef struct qk_cache_small {
  uint8_t *step, *least, *zero;
} qk_cache_small;
static inline qk_cache_small qk_cache_small_of(const uint8_t *block, size_t h) {
  const size_t hp = qk_round_up(h, QK_LANES), groups = hp / QK_LANES * QK_BLOCK;
  uint8_t *step = (uint8_t *)(uintptr_t)block + QK_BLOCK * (hp + 12);
  return (qk_cache_small){step, step + groups, step + 2 * groups};
}

/* Rows r0 ... r1 - 1 to their places: row r is token position + r, place (position + r) % 64 of block[(position + r) / 64]. Codes and
   scales as pack_q8 makes them. Other places of a block stay as they are, but they may be written: two threads do not append to one
   block. */
typedef struct qk_append {
  uint8_t *const *block;
  const float *k, *v; /* [rows, ldx], at the head's first channel */
  size_t ldx;
  uint32_t h, bits, position;
} qk_append;

/* Queries of rows r0 ... r1 - 1, `heads` of them that share the blocks; row r is at position i = position + r and sees keys j <= i with
   i - j < before. Arithmetic: with bits of 8 and 4 queries are quantized and multiplied as qk_attention_q8 has it, with 32 it is that of
   qk_attention_f32, over the keys that a query sees; blocks of which it sees none are left out, and merging starts from M = -infinity,
   Z = 0, O_c = -0. Where cap is not 0, scores (with the scale, in units of log2) become cap * tanh(x / cap): of codes
     x_j = cap * tanh((x_j * q_scale) / cap), f = 1
   What lies in a block behind position + r1 - 1 is not used, but scales must be finite. */
typedef struct qk_attend_cache {
  const uint8_t *const *block; /* of token 0 on; those that no row sees may be NULL */
  uint32_t keys;               /* tokens there are: position + rows at least */
  const float *q;              /* [rows, ldq], heads h apart */
  size_t ldq;
  uint32_t heads, h, bits;
  uint32_t position;
  uint32_t before; /* 0: all */
  float fold;      /* log2(e) times the scale of scores */
  float cap;       /* times log2(e) */
  float *out;      /* [rows, ldo], heads h apart */
  size_t ldo;
  void *scratch; /* [64] qk_attend_scratch(h) bytes, of any content, for this call alone */
} qk_attend_cache;
/* For 64 queries: their codes and their results on their way; then a block of 4 bits as one of 8. */
static inline size_t qk_attend_scratch(size_t h) { return (64 * 5 + 2 * QK_BLOCK) * qk_round_up(h, QK_LANES); }
/* What a block gives `queries` queries, at most 16, for attend_part and attend_merge, in words of 4 bytes: m of 16 queries, z, t, and
   1 where a query sees a key of the block, 0 elsewhere; then o_c, [queries, hp], integers or with 32 bits floats. */
enum { QK_PART_MAX = 0, QK_PART_SUM = 16, QK_PART_TOP = 32, QK_PART_SEEN = 48, QK_PART_VALUES = 64 };
static inline size_t qk_attend_part_words(size_t queries, size_t h) {
  return QK_PART_VALUES + queries * qk_round_up(h, QK_LANES);
}

/* ---- inputs of linear operators in another basis; docs/NUMERICS.md ---- */
/* Rows x [d] of floats, as the codes of y = x transformed (layout.h: qk_transform):
     x_j = x_j * smooth_j;  a = max |x_j|
     NaN or infinity: scale, zero, codes 0; the row is counted.  a < 2^-100: alike, not counted.  Else
     unit = a / 8191, c_j = rint(x_j * (8191 / a))
     first:  t_j = sum of c_i * first[j][i] over the inputs i of j's block, wrapping; m = max of (t_j < 0 ? -1 - t_j : t_j), s = the least with m < 2^(13 + s);
             c_j = (t_j + 2^(s - 1)) >> s, or with s = 0 t_j; unit = unit * 2^(s - 13)
     order:  c_j = c_order[j]
     second: t_j = sum of c_i * second[j][i], wrapping; unit = unit * 2^-13
     signs:  t = the Walsh-Hadamard transform of c_j * signs_j in its block: t_j = sum of (c_i * signs_i) * (-1)^(ones in the bits of i & j), i and j counted
             in the block; unit = unit / sqrt((float)block)
     neither: t = c
     codes, scale and zero of y_j = (float)t_j as qk_codes has them, measured; then each scale = scale * unit
   q: neither given, low nor in parts; grouped only where symmetric. */

typedef struct qk_table {
  const char *isa;
  /* Rows m0 ... m1 - 1 times panels p0 ... p1 - 1 (of 16 columns): any cut gives the same elements. */
  void (*gemm_q8)(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
  void (*gemm_group)(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
  void (*gemm_f32)(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1);
  /* Rows r0 ... r1 - 1. Return the number of rows with NaN or infinity (before or after). smooth: [d] or NULL. */
  size_t (*quantize)(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q, size_t r0,
                     size_t r1);
  /* The same of x transformed. scratch: [64] qk_transform_scratch(d) bytes of any content, for this call alone. d: a multiple of the block. */
  size_t (*transform)(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q, void *scratch,
                      size_t r0, size_t r1);
  size_t (*norm)(const qk_norm *op, size_t r0, size_t r1);
  size_t (*embed)(const qk_embed *op, size_t r0, size_t r1);
  size_t (*pack_q8)(const qk_pack_q8 *op, size_t r0, size_t r1);
  void (*attention_q8)(const qk_attention_q8 *op, size_t r0, size_t r1);
  void (*attention_f32)(const qk_attention_f32 *op, size_t r0, size_t r1);
  void (*attention_codes)(const qk_attention_codes *op, size_t r0, size_t r1);
  /* y = act(x), n elements; y may be x. */
  void (*activate)(const float *x, float *y, size_t n, uint32_t act);
  /* out[c] = (sum over rows ascending of x[r][c], from 0) * (1 / rows), c < d. rows >= 1. */
  void (*mean_rows)(const float *x, size_t ldx, size_t rows, uint32_t d, float *out);
  /* x /= max(sqrt(sum16(x * x)), 1e-12), in place. */
  void (*normalize)(float *x, uint32_t d);
  /* sum16(fma chain per lane: lane = fma(a_i, b_i, lane)). */
  float (*dot)(const float *a, const float *b, size_t n);
  /* y = exp(x - max) / sum16 of them; exp(v) = exp2(v * log2(e) rounded). y may be x. */
  void (*softmax)(const float *x, float *y, size_t n);
  /* Between codes of static sites. y[i] = table[x[i] as an unsigned byte], n codes; y may be x. table: [256], any. */
  void (*lookup_q8)(const int8_t *table, const int8_t *x, int8_t *y, size_t n);
  /* Makes rows r0 ... r1 - 1 of codes, their first d bytes, what the next product takes: bytes d ... ld - 1 become 0,
     start and group_start are written. A row's start needs the whole row: not before all its columns are there. */
  void (*start_q8)(const qk_codes *q, uint32_t d, size_t r0, size_t r1);
  /* Returns what norm does. */
  size_t (*norm_q8)(const qk_norm_q8 *op, size_t r0, size_t r1);
  void (*pack_codes)(const qk_pack_codes *op);
  /* y = cap * tanh(x / cap), n elements; y may be x. */
  void (*cap)(const float *x, float *y, size_t n, float cap);
  /* Of decoders. cosine, sine: [rows, n], those of the angle (float)positions[r] * frequency[i], rounded once; within 1e-6 of what they
     stand for. |angle| <= 2^20. */
  void (*turns)(const float *frequency, size_t n, const int32_t *positions, float *cosine, float *sine, size_t r0,
                size_t r1);
  void (*rotate)(const qk_rotate *op, size_t r0, size_t r1);
  /* Returns the number of rows of the result with NaN or infinity. */
  size_t (*gate)(const qk_gate *op, size_t r0, size_t r1);
  /* A block without tokens: all its codes, scales and floats are 0, steps 1. */
  void (*cache_clear)(uint8_t *block, uint32_t h, uint32_t bits);
  /* Returns the number of rows of k or v with NaN or infinity; of 32 bits too. */
  size_t (*cache_append)(const qk_append *op, size_t r0, size_t r1);
  /* Returns the number of queries, a head of a row each, with NaN or infinity; of 32 bits 0. */
  size_t (*attend_cache)(const qk_attend_cache *op, size_t r0, size_t r1);
  /* The same, cut by blocks: what each of blocks b0 ... b1 - 1 gives the queries of rows r0 ... r1 - 1, (r1 - r0) * heads of at most 16.
     parts: [64] [blocks from b0, qk_attend_part_words(queries, h)]. Returns what attend_cache does. */
  size_t (*attend_part)(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, float *parts);
  /* The results of these rows, out of the parts of blocks b0 ... b1 - 1: of all that any of the rows sees. */
  void (*attend_merge)(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, const float *parts);
} qk_table;

/* ---- tables of codes, made once; the same bytes everywhere ---- */
/* A static site: x ~ (code - zero) * scale. */
typedef struct qk_site {
  float scale, zero;
} qk_site;
/* The table of lookup_q8 for an activation, byte b being the code (int8_t)b: x = ((float)code - in.zero) * in.scale,
   y = act(x), entry = rint(min(max(fma(y, 1 / out.scale, out.zero), -127), 127)). */
void qk_lookup_build(int8_t table[256], uint32_t act, qk_site in, qk_site out);
/* The table of attention_codes, i < 16: entry i = rint(exp2(-(float)(16 i) * step) * 32767), entry 16 + i =
   rint(exp2(-(float)i * step) * 32767). step: the scores' scale in units of log2, finite, >= 0. */
void qk_exp_build(int16_t table[32], float step);

/* ---- kernel sets ---- */
/* A set of one ISA: `overlay` replaces the pointers it implements; sets build on each other in table.c's order. */
typedef struct qk_isa {
  const char *name;
  uint64_t needs; /* qk_cpu_features bits */
  void (*overlay)(qk_table *t);
} qk_isa;

#define QK_CPU_AVX2 1u   /* with FMA and F16C */
#define QK_CPU_AVX512 2u /* F, BW, DQ, VL */
#define QK_CPU_AVX512VNNI 4u
#define QK_CPU_AVXVNNI 8u /* the VEX encoding: 256 bits */
#define QK_CPU_NEON 16u
#define QK_CPU_DOTPROD 32u
#define QK_CPU_I8MM 64u
#define QK_CPU_AMX 128u /* tiles and their 8-bit products, granted to this process by the operating system */
/* Features of this CPU that the operating system has enabled. */
uint64_t qk_cpu_features(void);
/* Set i that this build knows and `features` allow, ascending; NULL past the end. */
const qk_isa *qk_isa_at(uint32_t i, uint64_t features);
/* Builds the table of the named set (NULL: the best) out of what `features` allow; 0 when there is no such set. */
int qk_table_build(qk_table *t, const char *isa, uint64_t features);
#endif
