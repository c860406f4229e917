/* sites.c - the table of sites (sites.h). */
#include "model/sites.h"

enum { TABLES, WIDTH, INNER, FFN, LABELS, ONE };

/* Layers run from FIRST_OF_LAYER to LAST_OF_LAYER. */
#define FIRST_OF_LAYER QN_SITE_QKV_IN
#define LAST_OF_LAYER QN_SITE_FFN_SUM
#define LAYER_SITES (LAST_OF_LAYER - FIRST_OF_LAYER + 1u)

#define INPUT (QN_SITE_INPUT | QN_SITE_ALWAYS | QN_SITE_MAY_16 | QN_SITE_MAY_LOW)
#define PARTED (INPUT | QN_SITE_MAY_GROUP)
#define HEADS (QN_SITE_ALWAYS | QN_SITE_MAY_LOW)
#define BETWEEN (QN_SITE_MAY_16 | QN_SITE_MAY_FLOAT | QN_SITE_MAY_GROUP)
static const struct {
  const char *name;
  uint32_t channels, flags;
} kinds[QN_SITE_KINDS] = {
    [QN_SITE_EMBED_SUM] = {"embed.sum", TABLES, BETWEEN},
    [QN_SITE_PROJECT_IN] = {"embed.project.in", TABLES, INPUT},
    [QN_SITE_QKV_IN] = {"attn.qkv.in", WIDTH, PARTED},
    [QN_SITE_Q] = {"attn.q", INNER, HEADS},
    [QN_SITE_K] = {"attn.k", INNER, HEADS | QN_SITE_WEIGHTS},
    [QN_SITE_V] = {"attn.v", INNER, HEADS | QN_SITE_WEIGHTS},
    [QN_SITE_SCORES] = {"attn.scores", ONE, 0},
    [QN_SITE_PROBS] = {"attn.probs", ONE, HEADS},
    [QN_SITE_ATTN_OUT_IN] = {"attn.out.in", INNER, INPUT},
    [QN_SITE_ATTN_OUT] = {"attn.out.out", WIDTH, BETWEEN},
    [QN_SITE_ATTN_SUM] = {"attn.sum", WIDTH, BETWEEN},
    [QN_SITE_FFN_UP_IN] = {"ffn.up.in", WIDTH, PARTED},
    [QN_SITE_FFN_DOWN_IN] = {"ffn.down.in", FFN, PARTED},
    [QN_SITE_FFN_OUT] = {"ffn.down.out", WIDTH, BETWEEN},
    [QN_SITE_FFN_SUM] = {"ffn.sum", WIDTH, BETWEEN},
    [QN_SITE_POOLER_IN] = {"head.pooler.in", WIDTH, INPUT},
    [QN_SITE_HEAD_IN] = {"head.out.in", WIDTH, INPUT},
    [QN_SITE_LOGITS] = {"head.out.out", LABELS, BETWEEN},
    [QN_SITE_POOL_IN] = {"pool.in", WIDTH, QN_SITE_MAY_16},
    [QN_SITE_DENSE_IN] = {"pool.dense.in", WIDTH, QN_SITE_INPUT | QN_SITE_ALWAYS | QN_SITE_DYNAMIC},
};

static int in_layer(uint32_t kind) { return kind >= FIRST_OF_LAYER && kind <= LAST_OF_LAYER; }

static int has(const qn_arch *a, uint32_t kind) {
  switch (kind) {
    case QN_SITE_PROJECT_IN:
      return a->embed_width != 0;
    case QN_SITE_POOLER_IN:
      return a->head_pooler != 0;
    case QN_SITE_HEAD_IN:
    case QN_SITE_LOGITS:
      return a->head != QN_HEAD_NONE;
    case QN_SITE_POOL_IN:
      return a->head == QN_HEAD_NONE;
    case QN_SITE_DENSE_IN:
      return a->dense != 0;
    default:
      return 1;
  }
}

uint32_t qn_site_count(const qn_arch *a) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < QN_SITE_KINDS; k++) n += in_layer(k) ? a->layers : (uint32_t)has(a, k);
  return n;
}

static uint32_t channels_of(const qn_arch *a, uint32_t kind) {
  switch (kinds[kind].channels) {
    case TABLES:
      return qn_arch_table_width(a);
    case WIDTH:
      return a->width;
    case INNER:
      return a->heads * a->head_dim;
    case FFN:
      return a->ffn;
    case LABELS:
      return a->labels;
    default:
      return 1;
  }
}

void qn_site_at(const qn_arch *a, uint32_t i, qn_site *out) {
  uint32_t kind = 0, layer = QN_NO_LAYER;
  for (;; kind++) {
    if (kind == FIRST_OF_LAYER) {
      if (i < a->layers * LAYER_SITES) {
        layer = i / LAYER_SITES;
        kind += i % LAYER_SITES;
        break;
      }
      i -= a->layers * LAYER_SITES;
      kind = LAST_OF_LAYER;
    } else if (has(a, kind) && i-- == 0) {
      break;
    }
  }
  *out = (qn_site){.kind = kind, .layer = layer, .channels = channels_of(a, kind), .flags = kinds[kind].flags};
  if (layer == QN_NO_LAYER)
    qn_format(out->name, sizeof out->name, "%s", kinds[kind].name);
  else
    qn_format(out->name, sizeof out->name, "layers.%u.%s", layer, kinds[kind].name);
}

uint32_t qn_site_index(const qn_arch *a, uint32_t kind, uint32_t layer) {
  uint32_t i = 0;
  if (!has(a, kind)) return UINT32_MAX;
  for (uint32_t k = 0; k < kind && k < FIRST_OF_LAYER; k++) i += (uint32_t)has(a, k);
  if (in_layer(kind)) return i + layer * LAYER_SITES + (kind - FIRST_OF_LAYER);
  if (kind < FIRST_OF_LAYER) return i;
  i += a->layers * LAYER_SITES;
  for (uint32_t k = LAST_OF_LAYER + 1; k < kind; k++) i += (uint32_t)has(a, k);
  return i;
}

uint32_t qn_site_output_kind(const qn_arch *a) {
  return a->head_pooler ? QN_SITE_POOLER_IN : a->head != QN_HEAD_NONE ? QN_SITE_HEAD_IN : QN_SITE_POOL_IN;
}
