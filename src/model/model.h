/* model.h - an open model: the architecture and pointers into the mapped file. Read-only and shared once open. */
#ifndef QN_MODEL_H
#define QN_MODEL_H
#include <stdatomic.h>
#include "format/qrn.h"
#include "kernels/layout.h"
#include "model/sites.h"
#include "text/tokenizer.h"

/* How the input of a linear operator is quantized (kernels/kernels.h: qk_codes). */
typedef struct qn_input {
  uint32_t group; /* of channels, each with a scale; 0: one for all */
  uint32_t symmetric;
  uint32_t bits;             /* measured: 8, 6 or 4 */
  float clip;                /* measured: a factor of the range; 0: 1 */
  const float *scale, *zero; /* static: [groups]; scale NULL: measured for each token. zero NULL: 0 */
} qn_input;

/* y = x W^T + b, W: [n, k]. */
typedef struct qn_linear {
  uint32_t n, k;
  uint32_t dtype; /* QRN_I8, QRN_U6, QRN_U4, QRN_U2 or QRN_F32, all in panels */
  uint32_t group; /* of inputs; 0: i8 with one scale an output channel */
  qn_input in;    /* not of f32 */
  const void *weight;
  const float *scale;   /* panels of [n, groups]; [n] with steps or a group of 0 */
  const float *min;     /* panels of [n, groups]; NULL: codes are symmetric around the middle */
  const uint8_t *steps; /* u8 panels of [n, groups] of u4 and u2; NULL: scales of groups are floats */
  const int32_t *sums;  /* [n] sums of each output channel's codes, times their steps (i8 with a group of 0, steps) */
  const float *value_sums; /* [n] sums of its weights (else) */
  /* panels of [n, groups of the input]: sums of its weights; NULL: input symmetric, or one group */
  const float *group_sums;
  const float
      *part_sums;      /* [n] of a static input with groups: what zero points add (kernels.h: qk_gemm_q8); else NULL */
  const float *smooth; /* [k] (not f32): the input times it is quantized, W is stored divided; NULL: 1 */
  qk_transform transform; /* of the input, smooth included; W is stored for what it gives. block 0: none */
  const float *bias;      /* [n]; NULL: none */
} qn_linear;

typedef struct qn_norm {
  const float *gain, *bias; /* bias NULL: an RMS norm; gain NULL: the model has no such norm */
} qn_norm;                  /* [width] */

/* An embedding table: rows of `width`, f32, or i8 codes with a scale a row, or u4 or u2 codes with a scale and a minimum
   for each group of channels (kernels/kernels.h: qk_table_ref). Or, of a model whose head is tied, the rows of its weights. */
typedef struct qn_table {
  uint32_t rows, bits, group;
  const qn_linear *panels; /* whose output channels the rows are, data and scale its too; NULL: rows as above */
  const void *data;
  const float *scale;
  const int8_t *step;
} qn_table;

typedef struct qn_layer {
  qn_linear qkv; /* [(heads + 2 * kv_heads) * head_dim, width], rows: q, k, v */
  qn_linear attn_out;
  qn_norm attn_norm;            /* behind attention's residual sum (QN_PLACE_POST), else before attention */
  qn_linear ffn_up, ffn_down;   /* ffn_up: [2 * ffn, width] where gated: 16 rows of gates, 16 of values, and so on */
  qn_norm ffn_norm;             /* likewise of the feed-forward block; none of QN_PLACE_PARALLEL */
  qn_norm attn_post, ffn_post;  /* of QN_PLACE_SANDWICH: of what the blocks put out, before it is added */
  const float *q_norm, *k_norm; /* [head_dim] gains of the RMS norms of each head; NULL: none */
  /* [width] the hidden states times it are what is added behind attention, behind the feed-forward block; NULL: 1 */
  const float *attn_shortcut, *ffn_shortcut;
  const int32_t *attn_order; /* [width] channel c behind attention's norm is channel attn_order[c] before it; NULL: c */
} qn_layer;

/* A site of a static recipe: by panels of 16 channels, [ceil(channels / 16)] each, or by channel (kernels/kernels.h: qk_sites). */
typedef struct qn_place {
  uint32_t bits;                  /* 8, 16, or 32: the activation stays float, or has a scale for each row; by NULL */
  uint32_t by_column;             /* 1: by channel */
  const float *by, *scale, *zero; /* by: 1 / scale */
  /* Of codes of 8 bits and less; else NULL. Codes of weights (model/sites.h) of less are stored less their zero point,
     so that it is 0: they fit a byte. */
  const qk_limits *limits;
  qk_parts parts;  /* of the input of a product with groups; else count 0 */
  float unit, one; /* scale and zero point that such a product takes for all of a row: parts.h, and 1 */
} qn_place;

/* Tokens that end texts, at most (META tokenizer.end). */
#define QN_ENDS_MOST 16u

struct quern_context;

typedef struct quern_model {
  struct quern_context *context;
  qn_env *env; /* the context's */
  atomic_uint references;
  qn_map map;
  qrn_reader file;
  qn_arch arch;
  qn_tokenizer tokenizer;     /* kind 0: none */
  int32_t ends[QN_ENDS_MOST]; /* of a decoder: [end_count] tokens behind which a text is over */
  uint32_t end_count;
  qn_table tokens, positions, types;
  qn_norm embed_norm;
  qn_linear project;          /* from the tables' width to the layers'; weight NULL: none */
  const float *relative_bias; /* [heads, 2 * positions - 1] by key - query, in units of log2; NULL: none */
  const float *frequency,
      *local_frequency; /* [rotary / 2] radians a position, finite; of local layers. NULL: no rotary */
  qn_layer *layers;     /* [arch.layers] */
  qn_norm final_norm;
  qn_linear pooler, head, dense,
      dense2; /* head: [vocab, width] of tokens; dense, dense2: one behind the other after pooling */
  uint64_t params;
  int grouped;          /* some linear operator has groups of inputs: activations need their sums, */
  int inputs_grouped;   /* some that has activations with scales by group */
  uint32_t transformed; /* the most channels of an input with a transform */
  qn_place *places;     /* of a static recipe: [qn_site_count], as qn_site_at numbers them; else NULL */
  float *place_values;  /* what they point to: by, scale, zero, limits, each of all places one behind the other */
  size_t place_entries; /* of all places together, of each */
  size_t places_bytes;  /* of the allocation that they and what they point to are in */
  int wide;             /* some have 16 bits */
  int parted;           /* some have parts with starts */
  const int32_t
      *order;   /* [width]: channel c of the last hidden states is channel order[c] of what is handed out; NULL: c */
  size_t bytes; /* of the allocation that holds this struct and the layers */
} quern_model;

/* Takes the map over (closes it on failure too). limit: 0 or the most bytes this may allocate. */
quern_status qn_model_create(quern_model **out, struct quern_context *c, qn_env *env, qn_map map, uint64_t limit);
/* Frequencies of a layer of a model with rotary positions. */
const float *qn_model_frequency(const quern_model *m, uint32_t layer);
/* The place of a kind (model/sites.h) that the model has. */
const qn_place *qn_model_place(const quern_model *m, uint32_t kind, uint32_t layer);
void qn_model_retain(quern_model *m);
/* Drops one reference; with the last one the model goes. NULL is fine. */
void qn_model_release(quern_model *m);
#endif
