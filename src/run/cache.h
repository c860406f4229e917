/* cache.h - keys and values of many sequences, in pages of 64 tokens from a fixed pool. A page holds one block
 * (kernels/kernels.h: qk_attend_cache) for each layer and head of keys and values, contiguous, of the same bytes on every
 * instruction set. Pages are counted: sequences that begin alike may share them, and who appends to a page that others hold
 * gets a copy first. Where all layers have a window, pages that no token to come sees are given back. Nothing here allocates. One
 * thread at a time. */
#ifndef QN_CACHE_H
#define QN_CACHE_H
#include "base/env.h"
#include "kernels/kernels.h"

#define QN_PAGE_TOKENS QK_BLOCK

/* What a sequence holds: entries first ... pages - 1 of its table, those of its tokens and, during a call, of those to come. */
typedef struct qn_pages {
  uint32_t length; /* tokens */
  uint32_t first;  /* pages before it were released: nobody looks at their tokens any more */
  uint32_t pages;
  uint32_t copies; /* 1: its last page will be copied (qn_cache_reserve) */
} qn_pages;

typedef struct qn_cache {
  uint32_t layers, heads, h, bits; /* of a block: qk_cache_bytes(h, bits) */
  uint32_t pages, sequences;
  uint32_t pages_most; /* of a sequence */
  uint32_t keep;       /* last tokens of a sequence that are held in any case; 0: all are */
  size_t block_bytes, page_bytes;
  uint8_t *pool;        /* [pages, page_bytes], 64-byte aligned */
  int32_t *ids;         /* [pages, QN_PAGE_TOKENS] the tokens themselves */
  uint32_t *references; /* [pages] sequences that hold it */
  uint32_t *unused;     /* [pages] the first unused_count are pages that nobody holds */
  uint32_t *table;      /* [sequences, pages_most] */
  qn_pages *sequence;   /* [sequences] */
  uint32_t unused_count;
} qn_cache;

static inline uint32_t qn_cache_pages(uint32_t tokens) { return (tokens + QN_PAGE_TOKENS - 1) / QN_PAGE_TOKENS; }

/* Takes the memory of a cache whose first fields, up to `keep`, are set; base NULL: only counts. Then, in real memory, begins it: all
   sequences are empty. */
void qn_cache_take(qn_cache *c, qn_arena *a);
void qn_cache_begin(qn_cache *c);

/* Pages for more[i] tokens behind those of sequence[i], different ones each; new ones hold no tokens, and a last page that is
   shared is copied. Returns 0, or how many pages too few there are: nothing has changed then. No sequence may get more than
   pages_most. */
uint32_t qn_cache_reserve(qn_cache *c, const qk_table *kernels, const uint32_t *sequence, const uint32_t *more,
                          uint32_t n);
/* Tokens that a sequence may be cut to without parts of what its next token sees being gone, beside 0: so many and more. At least
   QN_CACHE_SLACK less than it had at the last release. */
#define QN_CACHE_SLACK 64u
static inline uint32_t qn_cache_least(const qn_cache *c, uint32_t sequence) {
  const uint32_t first = c->sequence[sequence].first;
  return first ? first * QN_PAGE_TOKENS + c->keep - QN_CACHE_SLACK : 0;
}
/* Gives back the pages wholly before the last `keep` tokens. */
void qn_cache_release(qn_cache *c, uint32_t sequence);
/* The first `tokens` remain, at most as many as there are, and 0 or qn_cache_least; pages of no others are held. */
void qn_cache_truncate(qn_cache *c, uint32_t sequence, uint32_t tokens);
/* After a pass that failed: what it left behind the tokens of a page of the sequence's own is no longer there. */
void qn_cache_wipe(qn_cache *c, uint32_t sequence);
/* Sequence `to`, whose tokens are dropped, begins with the first `tokens` of `from`, of which 0 or qn_cache_least and more can
   be had, and shares their pages. */
void qn_cache_share(qn_cache *c, uint32_t from, uint32_t to, uint32_t tokens);

/* Token i of a sequence, of a page that is held. */
static inline int32_t *qn_cache_token(const qn_cache *c, uint32_t sequence, uint32_t i) {
  const uint32_t page = c->table[(size_t)sequence * c->pages_most + i / QN_PAGE_TOKENS];
  return &c->ids[(size_t)page * QN_PAGE_TOKENS + i % QN_PAGE_TOKENS];
}
/* The block of a layer and head in page i of a sequence. */
static inline uint8_t *qn_cache_block(const qn_cache *c, uint32_t sequence, uint32_t i, uint32_t layer, uint32_t head) {
  const uint32_t page = c->table[(size_t)sequence * c->pages_most + i];
  return c->pool + page * c->page_bytes + ((size_t)layer * c->heads + head) * c->block_bytes;
}
#endif
