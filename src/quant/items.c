/* items.c - the list of a model's tensors (items.h), as tables whose sizes follow from the architecture. Stateless; any thread. */
#include "quant/items.h"

#include <string.h>

#include "model/sites.h"

/* Sizes. Those of what the model has not are 0. */
enum {
  ONE,
  TABLES,     /* width of the embedding tables */
  TOKENS,     /* rows of their first; a tied head has them */
  POSITIONS,  /* of the second */
  TYPES,      /* of the third */
  EMBED_NORM, /* their width */
  PROJECTED,  /* outputs of the operator behind the tables */
  BIASED,     /* heads with a relative bias */
  DISTANCES,
  TURNS,       /* rotary frequencies */
  LOCAL_TURNS, /* of local layers */
  QKV,
  HEAD_NORM,
  INNER,
  WIDTH,
  BIAS,      /* width, where norms have a bias */
  POST_NORM, /* width, where what a block puts out has a norm */
  UP,        /* outputs of ffn.up */
  FFN,
  SECOND_NORM, /* width, where the feed-forward block has a norm of its own */
  SECOND_BIAS,
  FINAL_NORM,
  FINAL_BIAS,
  POOLER,
  LABELS,
  DENSE,
  DENSE2
};

typedef struct entry {
  const char *name;
  qn_item_kind kind;
  int n, k;
  int input; /* QN_SITE_* of a layer's operator; else -1 */
  int norm;  /* as migrate.h numbers norms; of a layer from its first on; else -1 */
} entry;

static const entry embeddings[QN_EMBED_ITEMS] = {
    {"embed.tokens", QN_ITEM_TABLE, TOKENS, TABLES, -1, -1},
    {"embed.positions", QN_ITEM_TABLE, POSITIONS, TABLES, -1, -1},
    {"embed.types", QN_ITEM_TABLE, TYPES, TABLES, -1, -1},
    {"embed.norm.gain", QN_ITEM_VECTOR, EMBED_NORM, ONE, -1, 0},
    {"embed.norm.bias", QN_ITEM_VECTOR, EMBED_NORM, ONE, -1, 0},
    {"embed.project", QN_ITEM_LINEAR, PROJECTED, TABLES, -1, -1},
    {"attn.relative_bias", QN_ITEM_RELATIVE, BIASED, DISTANCES, -1, -1},
    {"rotary.frequency", QN_ITEM_VECTOR, TURNS, ONE, -1, -1},
    {"rotary.local.frequency", QN_ITEM_VECTOR, LOCAL_TURNS, ONE, -1, -1},
};
static const entry layers[QN_LAYER_ITEMS] = {
    {"attn.qkv", QN_ITEM_LINEAR, QKV, WIDTH, QN_SITE_QKV_IN, 0},
    {"attn.q.norm.gain", QN_ITEM_VECTOR, HEAD_NORM, ONE, -1, -1},
    {"attn.k.norm.gain", QN_ITEM_VECTOR, HEAD_NORM, ONE, -1, -1},
    {"attn.out", QN_ITEM_LINEAR, WIDTH, INNER, QN_SITE_ATTN_OUT_IN, -1},
    {"attn.post.gain", QN_ITEM_VECTOR, POST_NORM, ONE, -1, -1},
    {"attn.norm.gain", QN_ITEM_VECTOR, WIDTH, ONE, -1, 1},
    {"attn.norm.bias", QN_ITEM_VECTOR, BIAS, ONE, -1, 1},
    {"ffn.up", QN_ITEM_LINEAR, UP, WIDTH, QN_SITE_FFN_UP_IN, 1},
    {"ffn.down", QN_ITEM_LINEAR, WIDTH, FFN, QN_SITE_FFN_DOWN_IN, -1},
    {"ffn.post.gain", QN_ITEM_VECTOR, POST_NORM, ONE, -1, -1},
    {"ffn.norm.gain", QN_ITEM_VECTOR, SECOND_NORM, ONE, -1, 2},
    {"ffn.norm.bias", QN_ITEM_VECTOR, SECOND_BIAS, ONE, -1, 2},
};
static const entry outputs[] = {
    {"final.norm.gain", QN_ITEM_VECTOR, FINAL_NORM, ONE, -1, -1},
    {"final.norm.bias", QN_ITEM_VECTOR, FINAL_BIAS, ONE, -1, -1},
    {"head.pooler", QN_ITEM_LINEAR, POOLER, WIDTH, -1, -1},
    {"head.out", QN_ITEM_LINEAR, LABELS, WIDTH, -1, -1},
    {"pool.dense", QN_ITEM_LINEAR, DENSE, WIDTH, -1, -1},
    {"pool.dense2", QN_ITEM_LINEAR, DENSE2, DENSE, -1, -1},
};
enum { OUTPUT_ITEMS = sizeof outputs / sizeof outputs[0] };

static uint32_t size_of(const qn_arch *a, int size) {
  const uint32_t tables = qn_arch_table_width(a), biased = a->norm == QN_NORM_LAYER ? a->width : 0;
  switch (size) {
    case TABLES:
      return tables;
    case TOKENS:
      return a->tied ? 0 : a->vocab;
    case POSITIONS:
      return a->rotary ? 0 : a->positions + a->position_offset;
    case TYPES:
      return a->types;
    case EMBED_NORM:
      return a->no_embed_norm ? 0 : tables;
    case PROJECTED:
      return a->embed_width ? a->width : 0;
    case BIASED:
      return a->relative_bias ? a->heads : 0;
    case DISTANCES:
      return 2 * a->positions - 1;
    case TURNS:
      return a->rotary / 2;
    case LOCAL_TURNS:
      return a->local_rotary ? a->rotary / 2 : 0;
    case QKV:
      return qn_arch_qkv(a);
    case HEAD_NORM:
      return a->head_norm ? a->head_dim : 0;
    case INNER:
      return qn_arch_inner(a);
    case WIDTH:
      return a->width;
    case BIAS:
      return biased;
    case POST_NORM:
      return a->place == QN_PLACE_SANDWICH ? a->width : 0;
    case UP:
      return qn_arch_up(a);
    case FFN:
      return a->ffn;
    case SECOND_NORM:
      return a->place == QN_PLACE_PARALLEL ? 0 : a->width;
    case SECOND_BIAS:
      return a->place == QN_PLACE_PARALLEL ? 0 : biased;
    case FINAL_NORM:
      return a->final_norm ? a->width : 0;
    case FINAL_BIAS:
      return a->final_norm ? biased : 0;
    case POOLER:
      return a->head_pooler ? a->width : 0;
    case LABELS:
      return a->labels;
    case DENSE:
      return a->dense;
    case DENSE2:
      return a->dense2;
    default:
      return 1;
  }
}

int qn_has_outputs(const qn_arch *a) { return a->head != QN_HEAD_NONE || a->dense != 0 || a->final_norm != 0; }

uint32_t qn_item_count(const qn_arch *a) {
  return QN_EMBED_ITEMS + QN_LAYER_ITEMS * a->layers + (qn_has_outputs(a) ? OUTPUT_ITEMS : 0);
}

static qn_item item_of(const qn_arch *a, const entry *e) {
  return (qn_item){.kind = e->kind,
                   .n = size_of(a, e->n),
                   .k = size_of(a, e->k),
                   .parts = {{"", size_of(a, e->n)}},
                   .part_count = 1,
                   .layer = -1,
                   .input = e->input,
                   .norm = e->norm,
                   .head = e->n == LABELS && a->head == QN_HEAD_TOKENS,
                   .small = e->n == TYPES};
}

static void layer_item(const qn_arch *a, uint32_t layer, uint32_t i, qn_item *it) {
  const uint32_t inner = qn_arch_inner(a), shared = a->kv_heads * a->head_dim;
  *it = item_of(a, &layers[i]);
  qn_format(it->name, sizeof it->name, "layers.%u.%s", layer, layers[i].name);
  it->layer = (int)layer;
  if (it->norm >= 0) it->norm = a->place == QN_PLACE_POST ? (int)(2 * layer) + it->norm : -1;
  if (layers[i].n == QKV) {
    const qn_item_part parts[3] = {{"attn.q", inner}, {"attn.k", shared}, {"attn.v", shared}};
    it->part_count = 3;
    memcpy(it->parts, parts, sizeof parts);
  } else if (layers[i].n == UP && a->gated) {
    const qn_item_part parts[2] = {{"ffn.gate", a->ffn}, {"ffn.up", a->ffn}};
    it->part_count = 2;
    it->run = QN_GATE_RUN;
    memcpy(it->parts, parts, sizeof parts);
  } else if (layers[i].n == UP) {
    it->row_copies = a->ffn_copies;
    it->parts[0].rows -= a->ffn_copies;
  } else if (layers[i].k == FFN) {
    it->column_copies = a->ffn_copies;
  }
}

void qn_item_at(const qn_arch *a, uint32_t i, qn_item *it) {
  const uint32_t behind = QN_EMBED_ITEMS + QN_LAYER_ITEMS * a->layers;
  if (i >= QN_EMBED_ITEMS && i < behind) {
    layer_item(a, (i - QN_EMBED_ITEMS) / QN_LAYER_ITEMS, (i - QN_EMBED_ITEMS) % QN_LAYER_ITEMS, it);
    return;
  }
  const entry *e = i < QN_EMBED_ITEMS ? &embeddings[i] : &outputs[i - behind];
  *it = item_of(a, e);
  qn_format(it->name, sizeof it->name, "%s", e->name);
}

uint32_t qn_item_source_shape(const qn_item *it, uint32_t p, uint64_t dim[2]) {
  dim[0] = it->kind == QN_ITEM_RELATIVE ? QN_RELATIVE_BUCKETS : it->parts[p].rows;
  dim[1] = it->kind == QN_ITEM_RELATIVE ? it->n : it->k - it->column_copies;
  return it->kind == QN_ITEM_VECTOR ? 1 : 2;
}

void qn_item_part_name(const qn_item *it, uint32_t p, const char *suffix, char buf[QN_ITEM_NAME_BYTES]) {
  if (it->part_count > 1)
    qn_format(buf, QN_ITEM_NAME_BYTES, "layers.%d.%s%s", it->layer, it->parts[p].name, suffix);
  else
    qn_format(buf, QN_ITEM_NAME_BYTES, "%s%s", it->name, suffix);
}
