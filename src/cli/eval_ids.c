/* eval_ids.c - identifiers, numbered in the order they come: open addressing over their bytes, which are kept in one
 * block. */
#include <stdlib.h>
#include <string.h>
#include "eval.h"

/* FNV-1a. */
static uint64_t hash(const char *text, size_t n) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)text[i]) * 1099511628211u;
  return h ^ (h >> 32);
}

/* The slot that holds the identifier, or the empty one where it belongs. There always is an empty one. */
static size_t slot_of(const qn_eval_ids *ids, const char *text, size_t n) {
  const size_t mask = ids->slot_count - 1;
  size_t i = (size_t)hash(text, n) & mask;
  for (;; i = (i + 1) & mask) {
    uint32_t id = ids->slots[i];
    if (id == EVAL_NO_ID) return i;
    if (ids->starts[id + 1] - ids->starts[id] == n && memcmp(ids->bytes + ids->starts[id], text, n) == 0) return i;
  }
}

/* Doubles the slots, so that at most half of them are taken; the room for starts goes with them. */
static int enlarge(qn_cli_state *c, qn_eval_ids *ids) {
  size_t count = ids->slot_count ? ids->slot_count * 2 : 1024;
  int code = qn_cli_grow(c, &ids->starts, count / 2 + 1, sizeof *ids->starts);
  if (!code) code = qn_cli_grow(c, &ids->slots, count, sizeof *ids->slots);
  if (code) return code;
  ids->slot_count = count;
  ids->starts[0] = 0;
  for (size_t i = 0; i < count; i++) ids->slots[i] = EVAL_NO_ID;
  for (uint32_t id = 0; id < ids->count; id++) {
    ids->slots[slot_of(ids, ids->bytes + ids->starts[id], ids->starts[id + 1] - ids->starts[id])] = id;
  }
  return CLI_DONE;
}

uint32_t qn_eval_ids_find(const qn_eval_ids *ids, const char *text, size_t n) {
  return ids->count ? ids->slots[slot_of(ids, text, n)] : EVAL_NO_ID;
}

int qn_eval_ids_add(qn_cli_state *c, qn_eval_ids *ids, const char *text, size_t n, uint32_t *out) {
  int code = CLI_DONE;
  if (ids->count >= ids->slot_count / 2) code = enlarge(c, ids);
  if (code) return code;
  size_t slot = slot_of(ids, text, n), used = ids->starts[ids->count];
  *out = ids->slots[slot];
  if (*out != EVAL_NO_ID) return CLI_DONE;
  if (ids->count == EVAL_NO_ID - 1) return qn_cli_fail(c, CLI_FAILED, "more than %u identifiers", EVAL_NO_ID - 1);
  if (n > ids->cap - used || !ids->bytes) {
    size_t cap = (used + n) * 2 > 4096 ? (used + n) * 2 : 4096;
    if ((code = qn_cli_grow(c, &ids->bytes, cap, 1)) != 0) return code;
    ids->cap = cap;
  }
  if (n) memcpy(ids->bytes + used, text, n);
  ids->slots[slot] = *out = ids->count++;
  ids->starts[ids->count] = used + n;
  return CLI_DONE;
}

void qn_eval_ids_free(qn_eval_ids *ids) {
  free(ids->bytes);
  free(ids->starts);
  free(ids->slots);
  memset(ids, 0, sizeof *ids);
}
