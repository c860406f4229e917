/* cache.c - pages of keys and values (cache.h). Invariant: references[p] is how many of the tables name page p, and the pages
 * of 0 are those in `unused`. */
#include "run/cache.h"

#include <string.h>

void qn_cache_take(qn_cache *c, qn_arena *a) {
  c->block_bytes = qk_cache_bytes(c->h, c->bits);
  c->page_bytes = (size_t)c->layers * c->heads * c->block_bytes;
  c->sequence = qn_arena_take(a, c->sequences, sizeof *c->sequence);
  c->table = qn_arena_take(a, (size_t)c->sequences * c->pages_most, sizeof *c->table);
  c->ids = qn_arena_take(a, (size_t)c->pages * QN_PAGE_TOKENS, sizeof *c->ids);
  c->references = qn_arena_take(a, c->pages, sizeof *c->references);
  c->unused = qn_arena_take(a, c->pages, sizeof *c->unused);
  c->pool = qn_arena_take(a, c->pages, c->page_bytes);
}

void qn_cache_begin(qn_cache *c) {
  memset(c->sequence, 0, c->sequences * sizeof *c->sequence);
  memset(c->references, 0, c->pages * sizeof *c->references);
  for (uint32_t i = 0; i < c->pages; i++) c->unused[i] = c->pages - 1 - i;
  c->unused_count = c->pages;
}

static uint32_t *table_of(const qn_cache *c, uint32_t sequence) { return c->table + (size_t)sequence * c->pages_most; }
static uint8_t *page_at(const qn_cache *c, uint32_t page) { return c->pool + page * c->page_bytes; }

static uint32_t take_page(qn_cache *c) {
  const uint32_t page = c->unused[--c->unused_count];
  c->references[page] = 1;
  return page;
}
static void drop_page(qn_cache *c, uint32_t page) {
  if (--c->references[page] == 0) c->unused[c->unused_count++] = page;
}

/* The entry of the page that a sequence's next token goes to, where there are tokens in it already; NULL: it begins one. */
static uint32_t *partial_page(const qn_cache *c, uint32_t sequence) {
  const uint32_t length = c->sequence[sequence].length;
  return length % QN_PAGE_TOKENS ? &table_of(c, sequence)[length / QN_PAGE_TOKENS] : NULL;
}

/* References of pages that will be copied are dropped at once, so that of sequences that share a page the last one keeps it. */
static uint32_t plan_copies(qn_cache *c, const uint32_t *sequence, uint32_t n) {
  uint32_t copies = 0;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t *page = partial_page(c, sequence[i]);
    if (!page || c->references[*page] == 1) continue;
    c->references[*page]--;
    c->sequence[sequence[i]].copies = 1;
    copies++;
  }
  return copies;
}

static void undo_copies(qn_cache *c, const uint32_t *sequence, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    qn_pages *s = &c->sequence[sequence[i]];
    if (s->copies) c->references[*partial_page(c, sequence[i])]++;
    s->copies = 0;
  }
}

static uint32_t clear_page(const qn_cache *c, const qk_table *kernels, uint32_t page) {
  for (size_t i = 0; i < (size_t)c->layers * c->heads; i++)
    kernels->cache_clear(page_at(c, page) + i * c->block_bytes, c->h, c->bits);
  return page;
}

uint32_t qn_cache_reserve(qn_cache *c, const qk_table *kernels, const uint32_t *sequence, const uint32_t *more,
                          uint32_t n) {
  uint64_t need = plan_copies(c, sequence, n);
  for (uint32_t i = 0; i < n; i++) {
    const qn_pages *s = &c->sequence[sequence[i]];
    const uint32_t pages = qn_cache_pages(s->length + more[i]);
    need += pages > s->pages ? pages - s->pages : 0;
  }
  if (need > c->unused_count) {
    undo_copies(c, sequence, n);
    return (uint32_t)(need - c->unused_count);
  }
  for (uint32_t i = 0; i < n; i++) {
    qn_pages *s = &c->sequence[sequence[i]];
    const uint32_t pages = qn_cache_pages(s->length + more[i]);
    uint32_t *last = partial_page(c, sequence[i]), *table = table_of(c, sequence[i]);
    if (s->copies) {
      const uint32_t shared = *last;
      *last = take_page(c);
      memcpy(page_at(c, *last), page_at(c, shared), c->page_bytes);
      memcpy(c->ids + (size_t)*last * QN_PAGE_TOKENS, c->ids + (size_t)shared * QN_PAGE_TOKENS,
             QN_PAGE_TOKENS * sizeof *c->ids);
      s->copies = 0;
    }
    for (; s->pages < pages; s->pages++) table[s->pages] = clear_page(c, kernels, take_page(c));
  }
  return 0;
}

void qn_cache_release(qn_cache *c, uint32_t sequence) {
  qn_pages *s = &c->sequence[sequence];
  while (c->keep && (uint64_t)(s->first + 1) * QN_PAGE_TOKENS + c->keep <= s->length)
    drop_page(c, table_of(c, sequence)[s->first++]);
}

void qn_cache_truncate(qn_cache *c, uint32_t sequence, uint32_t tokens) {
  qn_pages *s = &c->sequence[sequence];
  if (tokens < s->length) s->length = tokens;
  while (s->pages > s->first && s->pages > qn_cache_pages(s->length)) drop_page(c, table_of(c, sequence)[--s->pages]);
  if (!s->length) s->first = s->pages = 0;
}

/* Floats alone: codes and their scales are finite whatever they were made of. */
void qn_cache_wipe(qn_cache *c, uint32_t sequence) {
  const uint32_t *page = partial_page(c, sequence), used = c->sequence[sequence].length % QN_PAGE_TOKENS;
  if (!page || c->references[*page] != 1 || c->bits != 32) return;
  const size_t half = QN_PAGE_TOKENS * c->h, from = used * (size_t)c->h;
  for (size_t i = 0; i < (size_t)c->layers * c->heads; i++) {
    float *block = (float *)(void *)(page_at(c, *page) + i * c->block_bytes);
    memset(block + from, 0, (half - from) * sizeof(float));
    memset(block + half + from, 0, (half - from) * sizeof(float));
  }
}

void qn_cache_share(qn_cache *c, uint32_t from, uint32_t to, uint32_t tokens) {
  qn_pages *s = &c->sequence[to];
  const uint32_t *source = table_of(c, from);
  uint32_t *table = table_of(c, to);
  if (from == to) {
    qn_cache_truncate(c, to, tokens);
    return;
  }
  qn_cache_truncate(c, to, 0);
  if (!tokens) return;
  s->length = tokens;
  s->first = c->sequence[from].first;
  s->pages = qn_cache_pages(tokens);
  for (uint32_t i = s->first; i < s->pages; i++) {
    table[i] = source[i];
    c->references[table[i]]++;
  }
}
