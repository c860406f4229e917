/* items.c - the list of a model's tensors (items.h). Stateless; any thread. */
#include "quant/items.h"

#include <string.h>

#include "model/sites.h"

#define OUTPUT_ITEMS 3u

int qn_has_outputs(const qn_arch *a) { return a->head != QN_HEAD_NONE || a->dense != 0; }

uint32_t qn_item_count(const qn_arch *a) {
  return QN_EMBED_ITEMS + QN_LAYER_ITEMS * a->layers + (qn_has_outputs(a) ? OUTPUT_ITEMS : 0);
}

static void set_item(qn_item *it, const char *prefix, const char *name, qn_item_kind kind, uint32_t n, uint32_t k) {
  *it = (qn_item){.kind = kind, .n = n, .k = k, .parts = 1, .layer = -1, .input = -1, .norm = -1};
  qn_format(it->name, sizeof it->name, "%s%s", prefix, name);
}

static void layer_item(const qn_arch *a, uint32_t layer, uint32_t i, qn_item *it) {
  char prefix[32];
  uint32_t width = a->width, inner = a->heads * a->head_dim;
  qn_format(prefix, sizeof prefix, "layers.%u.", layer);
  switch (i) {
    case 0:
      set_item(it, prefix, "attn.qkv", QN_ITEM_LINEAR, 3 * inner, width);
      it->input = QN_SITE_QKV_IN;
      it->norm = (int)(2 * layer);
      it->parts = 3;
      break;
    case 1:
      set_item(it, prefix, "attn.out", QN_ITEM_LINEAR, width, inner);
      it->input = QN_SITE_ATTN_OUT_IN;
      break;
    case 2:
      set_item(it, prefix, "attn.norm.gain", QN_ITEM_VECTOR, width, 1);
      it->norm = (int)(2 * layer + 1);
      break;
    case 3:
      set_item(it, prefix, "attn.norm.bias", QN_ITEM_VECTOR, width, 1);
      it->norm = (int)(2 * layer + 1);
      break;
    case 4:
      set_item(it, prefix, "ffn.up", QN_ITEM_LINEAR, a->ffn, width);
      it->input = QN_SITE_FFN_UP_IN;
      it->norm = (int)(2 * layer + 1);
      it->row_copies = a->ffn_copies;
      break;
    case 5:
      set_item(it, prefix, "ffn.down", QN_ITEM_LINEAR, width, a->ffn);
      it->input = QN_SITE_FFN_DOWN_IN;
      it->column_copies = a->ffn_copies;
      break;
    case 6:
      set_item(it, prefix, "ffn.norm.gain", QN_ITEM_VECTOR, width, 1);
      it->norm = (int)(2 * layer + 2);
      break;
    default:
      set_item(it, prefix, "ffn.norm.bias", QN_ITEM_VECTOR, width, 1);
      it->norm = (int)(2 * layer + 2);
      break;
  }
}

void qn_item_at(const qn_arch *a, uint32_t i, qn_item *it) {
  if (i >= QN_EMBED_ITEMS && i - QN_EMBED_ITEMS < QN_LAYER_ITEMS * a->layers) {
    layer_item(a, (i - QN_EMBED_ITEMS) / QN_LAYER_ITEMS, (i - QN_EMBED_ITEMS) % QN_LAYER_ITEMS, it);
    it->layer = (int)((i - QN_EMBED_ITEMS) / QN_LAYER_ITEMS);
    return;
  }
  if (i >= QN_EMBED_ITEMS) i -= QN_LAYER_ITEMS * a->layers;
  const uint32_t tables = qn_arch_table_width(a);
  switch (i) {
    case 0:
      set_item(it, "", "embed.tokens", QN_ITEM_TABLE, a->vocab, tables);
      break;
    case 1:
      set_item(it, "", "embed.positions", QN_ITEM_TABLE, a->positions + a->position_offset, tables);
      break;
    case 2:
      set_item(it, "", "embed.types", QN_ITEM_TABLE, a->types, tables);
      it->small = 1;
      break;
    case 3:
      set_item(it, "", "embed.norm.gain", QN_ITEM_VECTOR, tables, 1);
      it->norm = 0;
      break;
    case 4:
      set_item(it, "", "embed.norm.bias", QN_ITEM_VECTOR, tables, 1);
      it->norm = 0;
      break;
    case 5:
      set_item(it, "", "embed.project", QN_ITEM_LINEAR, a->embed_width ? a->width : 0, tables);
      break;
    case 6:
      set_item(it, "", "attn.relative_bias", QN_ITEM_RELATIVE, a->relative_bias ? a->heads : 0, 2 * a->positions - 1);
      break;
    case 7:
      set_item(it, "", "head.pooler", QN_ITEM_LINEAR, a->head_pooler ? a->width : 0, a->width);
      break;
    case 8:
      set_item(it, "", "head.out", QN_ITEM_LINEAR, a->labels, a->width);
      break;
    default:
      set_item(it, "", "pool.dense", QN_ITEM_LINEAR, a->dense, a->width);
      break;
  }
}

uint32_t qn_item_source_shape(const qn_item *it, uint64_t dim[2]) {
  dim[0] = it->kind == QN_ITEM_RELATIVE ? QN_RELATIVE_BUCKETS : it->n / it->parts - it->row_copies;
  dim[1] = it->kind == QN_ITEM_RELATIVE ? it->n : it->k - it->column_copies;
  return it->kind == QN_ITEM_VECTOR ? 1 : 2;
}

void qn_item_part_name(const qn_item *it, uint32_t p, const char *suffix, char buf[QN_ITEM_NAME_BYTES]) {
  int n = (int)strlen(it->name);
  if (it->parts == 3)
    qn_format(buf, QN_ITEM_NAME_BYTES, "%.*s%c%s", n - 3, it->name, "qkv"[p], suffix);
  else
    qn_format(buf, QN_ITEM_NAME_BYTES, "%s%s", it->name, suffix);
}
