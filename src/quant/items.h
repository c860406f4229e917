/* items.h - the tensors of a model as a list: each item is one tensor of the source (or several joined) and what it becomes in the file.
 * The list follows from the architecture alone. */
#ifndef QN_ITEMS_H
#define QN_ITEMS_H
#include "model/arch.h"

#define QN_ITEM_NAME_BYTES 96
#define QN_GATE_RUN 16u /* rows of gates, then as many of values, and so on */

/* RELATIVE: a bias by bucket in the source, by distance in the file (relative.h). */
typedef enum qn_item_kind { QN_ITEM_TABLE, QN_ITEM_VECTOR, QN_ITEM_LINEAR, QN_ITEM_RELATIVE } qn_item_kind;

/* A tensor of the source that an item takes rows from: its name behind layers.N. where an item has several, and its rows. */
typedef struct qn_item_part {
  const char *name;
  uint32_t rows;
} qn_item_part;

typedef struct qn_item {
  char name[64];
  qn_item_kind kind;
  uint32_t n, k; /* shape in the file; a vector: n */
  qn_item_part parts[3];
  uint32_t part_count; /* 1; or 3: q, k, v; or 2: gates and values */
  uint32_t run;        /* rows that each part gives in turn; 0: all of them, one part behind the other */
  int has_bias;
  int layer, input;                   /* a layer's item: which; of a linear operator its input's QN_SITE_*; else -1 */
  uint32_t row_copies, column_copies; /* of n, k: what repeats others of the source's (split.h) */
  int norm; /* whose gain or bias a vector is, whose output a linear operator takes, as migrate.h numbers norms; else -1 */
  int head;  /* the operator that gives tokens */
  int small; /* a table whose bytes do not matter: kept as floats */
} qn_item;

#define QN_EMBED_ITEMS 9u
#define QN_LAYER_ITEMS 12u

/* Whether there are items after those of the layers. */
int qn_has_outputs(const qn_arch *a);
uint32_t qn_item_count(const qn_arch *a);
/* Item i < qn_item_count; n is 0 where the model has none. */
void qn_item_at(const qn_arch *a, uint32_t i, qn_item *it);
/* Shape in the source of part p of an item; returns its rank. */
uint32_t qn_item_source_shape(const qn_item *it, uint32_t p, uint64_t dim[2]);
/* Name in the source of part p of an item: "layers.0.attn.qkv" + ".weight" -> "layers.0.attn.k.weight". */
void qn_item_part_name(const qn_item *it, uint32_t p, const char *suffix, char buf[QN_ITEM_NAME_BYTES]);
#endif
