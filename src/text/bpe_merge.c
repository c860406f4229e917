/* bpe_merge.c - symbols of a short stretch of text, merged by rank: the pair of the lowest rank first, of equal ones the
 * leftmost, until no pair is left. Few symbols are searched through for each merge; many have a tournament over their
 * pairs. Indices from the section are checked here. Memory on the stack; any thread. */
#include <string.h>
#include "base/utf8.h"
#include "text/bpe.h"

#define FEW 24u

/* Rank of the pair, or QN_TOK_EMPTY. */
static uint32_t find_pair(const qn_tokenizer *t, const qn_bpe_header *h, uint32_t left, uint32_t right) {
  const uint64_t *slots = t->tables[QN_BPE_PAIRS], pair = qn_bpe_pair(left, right);
  uint32_t at = qn_bpe_pair_first(pair, h->pair_slots);
  for (uint32_t probe = 0; probe < h->pair_probe; probe++) {
    const uint64_t slot = slots[at];
    if ((slot & QN_BPE_PAIR_MASK) == pair && slot >> 42 < h->merges) return (uint32_t)(slot >> 42);
    if (slot == QN_BPE_EMPTY) break;
    if (++at == h->pair_slots) at = 0;
  }
  return QN_TOK_EMPTY;
}

/* The id that a merge makes, below vocab whatever the section holds. */
static uint32_t result(const qn_tokenizer *t, uint32_t rank) {
  const uint32_t id = ((const uint32_t *)t->tables[QN_BPE_RESULTS])[rank];
  return id < t->vocab ? id : 0;
}

uint32_t qn_bpe_find_hashed(const qn_tokenizer *t, uint64_t end, const uint8_t *text, size_t bytes) {
  const qn_tok_header *h = (const void *)t->data;
  const uint32_t *slots = t->tables[QN_TABLE_SLOTS], *offsets = t->tables[QN_TABLE_OFFSETS];
  const uint8_t *pool = t->tables[QN_TABLE_POOL];
  const uint32_t mask = (1u << h->slot_bits) - 1u, tag = qn_bpe_slot_tag(end);
  uint32_t at = qn_tok_slot_first(end, h->slot_bits);
  for (uint32_t probe = 0; probe < h->max_probe; probe++, at = (at + 1u) & mask) {
    const uint32_t slot = slots[at], id = slot & QN_TOK_SLOT_ID;
    if (slot == QN_TOK_EMPTY) break;
    if ((slot & 0xFF000000u) != tag || id >= h->vocab) continue;
    const uint32_t from = offsets[id], to = offsets[id + 1];
    if (from <= to && to <= h->pool_bytes && to - from == bytes && memcmp(pool + from, text, bytes) == 0) return id;
  }
  return QN_TOK_EMPTY;
}

uint32_t qn_bpe_find(const qn_tokenizer *t, const uint8_t *text, size_t bytes) {
  const qn_tok_header *h = (const void *)t->data;
  if (bytes > h->max_token_bytes) return QN_TOK_EMPTY;
  uint64_t end = QN_TOK_HASH;
  for (size_t i = 0; i < bytes; i++) end = qn_tok_hash_byte(end, text[i]);
  return qn_bpe_find_hashed(t, qn_tok_hash_end(end), text, bytes);
}

static void put(qn_bpe_pieces *out, uint32_t id, uint32_t end) {
  out->id[out->n] = id;
  out->end[out->n++] = end;
}

/* A character that is no token: its bytes where all have one, else the unknown token. */
static void put_unknown(const qn_tokenizer *t, const uint8_t *p, uint32_t used, uint32_t end, qn_bpe_pieces *out) {
  const qn_tok_header *h = (const void *)t->data;
  const uint32_t *units = t->tables[QN_BPE_UNITS];
  uint32_t known = 0;
  while (known < used && units[p[known]] < h->vocab) known++;
  if (known == used) {
    for (uint32_t i = 0; i < used; i++) put(out, units[p[i]], end - used + i + 1);
  } else if (h->unk < h->vocab) {
    put(out, h->unk, end);
  }
}

static void put_characters(const qn_tokenizer *t, const uint8_t *text, uint32_t bytes, qn_bpe_pieces *out) {
  const qn_tok_header *h = (const void *)t->data;
  const uint32_t *units = t->tables[QN_BPE_UNITS];
  uint32_t used = 1;
  for (uint32_t at = 0; at < bytes; at += used) {
    uint32_t id = QN_TOK_EMPTY;
    used = 1;
    if (text[at] < 0x80) {
      id = units[256 + text[at]];
    } else {
      qn_utf8_decode(text + at, bytes - at, &used);
      id = qn_bpe_find(t, text + at, used);
    }
    if (id < h->vocab)
      put(out, id, at + used);
    else
      put_unknown(t, text + at, used, at + used, out);
  }
}

/* A byte without a token is left out where there is no unknown token, as Hugging Face's tokenizers do. */
static void put_bytes(const qn_tokenizer *t, const uint8_t *text, uint32_t bytes, qn_bpe_pieces *out) {
  const qn_tok_header *h = (const void *)t->data;
  const uint32_t *units = t->tables[QN_BPE_UNITS];
  for (uint32_t at = 0; at < bytes; at++) {
    const uint32_t id = units[text[at]] < h->vocab ? units[text[at]] : h->unk;
    if (id < h->vocab) put(out, id, at + 1);
  }
}

/* Every merge searches all ranks, and the arrays close up behind it. */
static void merge_few(const qn_tokenizer *t, const qn_bpe_header *h, qn_bpe_pieces *s) {
  uint32_t rank[FEW], n = s->n;
  for (uint32_t i = 0; i + 1 < n; i++) rank[i] = find_pair(t, h, s->id[i], s->id[i + 1]);
  while (n > 1) {
    uint32_t best = 0;
    for (uint32_t i = 1; i + 1 < n; i++)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == QN_TOK_EMPTY) break;
    s->id[best] = result(t, rank[best]);
    s->end[best] = s->end[best + 1];
    n--;
    for (uint32_t i = best + 1; i < n; i++) {
      s->id[i] = s->id[i + 1];
      s->end[i] = s->end[i + 1];
      rank[i] = i + 1 < n ? rank[i + 1] : QN_TOK_EMPTY;
    }
    if (best + 1 < n) rank[best] = find_pair(t, h, s->id[best], s->id[best + 1]);
    if (best > 0) rank[best - 1] = find_pair(t, h, s->id[best - 1], s->id[best]);
  }
  s->n = n;
}

typedef struct tournament {
  uint32_t leaves;                 /* a power of two */
  uint32_t low[2 * QN_BPE_WINDOW]; /* node i has children 2i and 2i + 1; the leaves are ranks */
  uint16_t next[QN_BPE_WINDOW], before[QN_BPE_WINDOW];
} tournament;

static uint32_t lower(const tournament *r, uint32_t node) {
  return r->low[2 * node] <= r->low[2 * node + 1] ? r->low[2 * node] : r->low[2 * node + 1];
}

static void set_rank(tournament *r, uint32_t i, uint32_t rank) {
  uint32_t node = r->leaves + i;
  r->low[node] = rank;
  while ((node /= 2) != 0) r->low[node] = lower(r, node);
}

/* A function of its own, for its stack. */
static void __attribute__((noinline)) merge_many(const qn_tokenizer *t, const qn_bpe_header *h, qn_bpe_pieces *s) {
  const uint32_t n = s->n;
  tournament r;
  for (r.leaves = FEW; r.leaves & (r.leaves - 1);) r.leaves += r.leaves & -r.leaves;
  while (r.leaves < n) r.leaves *= 2;
  for (uint32_t i = 0; i < r.leaves; i++) {
    r.low[r.leaves + i] = i + 1 < n ? find_pair(t, h, s->id[i], s->id[i + 1]) : QN_TOK_EMPTY;
    if (i < n) r.next[i] = (uint16_t)(i + 1), r.before[i] = (uint16_t)(i - 1);
  }
  for (uint32_t node = r.leaves; --node > 0;) r.low[node] = lower(&r, node);
  while (r.low[1] != QN_TOK_EMPTY) {
    uint32_t node = 1;
    while (node < r.leaves) node = 2 * node + (r.low[2 * node] > r.low[2 * node + 1]);
    const uint32_t i = node - r.leaves, gone = r.next[i];
    s->id[i] = result(t, r.low[node]);
    s->end[i] = s->end[gone];
    s->id[gone] = QN_TOK_EMPTY;
    set_rank(&r, gone, QN_TOK_EMPTY);
    const uint32_t behind = r.next[i] = r.next[gone];
    if (behind < n) r.before[behind] = (uint16_t)i;
    set_rank(&r, i, behind < n ? find_pair(t, h, s->id[i], s->id[behind]) : QN_TOK_EMPTY);
    if (i > 0) set_rank(&r, r.before[i], find_pair(t, h, s->id[r.before[i]], s->id[i]));
  }
  s->n = 0;
  for (uint32_t i = 0; i < n; i = r.next[i]) {
    s->id[s->n] = s->id[i];
    s->end[s->n++] = s->end[i];
  }
}

/* Ask for the slots of all first pairs at once: most of a large table is not in a cache. */
static void fetch_pairs(const qn_tokenizer *t, const qn_bpe_header *h, const qn_bpe_pieces *s) {
  const uint64_t *slots = t->tables[QN_BPE_PAIRS];
  for (uint32_t i = 0; i + 1 < s->n; i++)
    __builtin_prefetch(slots + qn_bpe_pair_first(qn_bpe_pair(s->id[i], s->id[i + 1]), h->pair_slots));
}

void qn_bpe_merge(const qn_tokenizer *t, const uint8_t *text, uint32_t bytes, qn_bpe_pieces *out) {
  const qn_bpe_header *h = (const void *)t->data;
  out->n = 0;
  if (t->kind == QN_TOKENIZER_BYTE_BPE)
    put_bytes(t, text, bytes, out);
  else
    put_characters(t, text, bytes, out);
  fetch_pairs(t, h, out);
  if (out->n <= FEW)
    merge_few(t, h, out);
  else
    merge_many(t, h, out);
}
