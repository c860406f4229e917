/* permute.c - see permute.h. Stateless; any thread. */
#include "quant/permute.h"

#include <string.h>

/* Whether i is the least of its cycle, which is walked from there. */
static int leads(const uint32_t *order, uint32_t i) {
  uint32_t j = order[i];
  while (j > i) j = order[j];
  return j == i;
}

void qn_permute_rows(float *x, uint32_t n, uint32_t k, const uint32_t *order, float *work) {
  const size_t bytes = k * sizeof *x;
  for (uint32_t i = 0; i < n; i++) {
    if (order[i] == i || !leads(order, i)) continue;
    uint32_t to = i;
    memcpy(work, x + (size_t)i * k, bytes);
    for (uint32_t from = order[to]; from != i; to = from, from = order[to])
      memcpy(x + (size_t)to * k, x + (size_t)from * k, bytes);
    memcpy(x + (size_t)to * k, work, bytes);
  }
}

void qn_permute_columns(float *x, uint32_t n, uint32_t k, const uint32_t *order, float *work) {
  for (size_t r = 0; r < n; r++) {
    float *row = x + r * k;
    memcpy(work, row, k * sizeof *row);
    for (uint32_t i = 0; i < k; i++) row[i] = work[order[i]];
  }
}

/* Which of an item's sides are hidden channels, and which neurons of a feed-forward block. layer: whose order hidden channels have
   (qn_plan_order). */
typedef struct sides {
  int rows, columns, ffn_rows, ffn_columns, layer;
} sides;

static sides sides_of(const qn_arch *a, const qn_item *it) {
  if (it->layer >= 0 && it->kind == QN_ITEM_LINEAR)
    return (sides){.rows = it->input == QN_SITE_ATTN_OUT_IN || it->input == QN_SITE_FFN_DOWN_IN,
                   .columns = it->input == QN_SITE_QKV_IN || it->input == QN_SITE_FFN_UP_IN,
                   .ffn_rows = it->input == QN_SITE_FFN_UP_IN,
                   .ffn_columns = it->input == QN_SITE_FFN_DOWN_IN,
                   .layer = it->layer - (it->input == QN_SITE_QKV_IN || it->input == QN_SITE_ATTN_OUT_IN)};
  if (it->kind == QN_ITEM_VECTOR) return (sides){.rows = it->layer >= 0 || !a->embed_width, .layer = it->layer};
  if (it->kind == QN_ITEM_TABLE) return (sides){.columns = !a->embed_width, .layer = -1};
  if (!strcmp(it->name, "embed.project")) return (sides){.rows = 1, .layer = -1};
  const int last = (int)a->layers - 1;
  if (!strcmp(it->name, "head.pooler")) return (sides){.columns = 1, .layer = last};
  if (!strcmp(it->name, "head.out")) return (sides){.columns = !a->head_pooler, .layer = last};
  return (sides){0}; /* what is pooled, and heads of attention, have the model's own order */
}

static void permute(float *x, uint32_t n, uint32_t k, const uint32_t *order, int rows, int columns, float *bias,
                    float *work) {
  if (order && rows) {
    qn_permute_rows(x, n, k, order, work);
    if (bias) qn_permute_rows(bias, n, 1, order, work);
  }
  if (order && columns) qn_permute_columns(x, n, k, order, work);
}

void qn_permute_item(const qn_plan *p, const qn_arch *a, const qn_item *it, float *x, float *bias, float *work) {
  const sides s = sides_of(a, it);
  const uint32_t *ffn = p->ffn_order && it->layer >= 0 ? p->ffn_order + (size_t)it->layer * a->ffn : NULL;
  if (it->kind != QN_ITEM_LINEAR) bias = NULL;
  permute(x, it->n, it->k, qn_plan_order(p, s.layer), s.rows, s.columns, bias, work);
  permute(x, it->n, it->k, ffn, s.ffn_rows, s.ffn_columns, bias, work);
}
