/* tables.c - the tables that tokenizers of all kinds have in common: where they lie, and added tokens found in text.
 * Nothing from the section is believed. Read-only: any thread. */
#include <string.h>
#include "base/checked.h"
#include "base/utf8.h"
#include "text/tables.h"

static const qn_tokenizer_kind *const kinds[] = {&qn_wordpiece_kind, &qn_byte_bpe_kind, &qn_char_bpe_kind,
                                                 &qn_unigram_kind};

const qn_tokenizer_kind *qn_tokenizer_find_kind(uint32_t kind) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (kinds[i]->kind == kind) return kinds[i];
  return NULL;
}

uint64_t qn_tok_layout(const qn_tokenizer_kind *k, const qn_tok_header *h, uint64_t offset[QN_TOKENIZER_TABLES],
                       uint64_t bytes[QN_TOKENIZER_TABLES]) {
  if (h->vocab == 0 || h->vocab > QN_TOK_MAX_VOCAB || h->slot_bits < 1 || h->slot_bits > 26 || h->added > h->vocab ||
      h->raw > h->added || h->normalized > h->added || h->single > QN_TOK_MAX_TEMPLATE || h->pair > QN_TOK_MAX_TEMPLATE)
    return 0;
  bytes[QN_TABLE_CLASSES] = 256;
  bytes[QN_TABLE_OFFSETS] = ((uint64_t)h->vocab + 1) * 4;
  bytes[QN_TABLE_TOKENS] = h->vocab;
  bytes[QN_TABLE_SLOTS] = (uint64_t)4 << h->slot_bits;
  bytes[QN_TABLE_POOL] = h->pool_bytes;
  bytes[QN_TABLE_ADDED] = (uint64_t)h->added * sizeof(qn_added);
  bytes[QN_TABLE_RAW] = (uint64_t)h->raw * 4;
  bytes[QN_TABLE_NORMAL] = (uint64_t)h->normalized * 4;
  bytes[QN_TABLE_SINGLE] = (uint64_t)h->single * sizeof(qn_template_item);
  bytes[QN_TABLE_PAIR] = (uint64_t)h->pair * sizeof(qn_template_item);
  if (!k->sizes(h, bytes)) return 0;
  uint64_t at = k->header_bytes; /* no wrap: every table is below 2^33 */
  for (uint32_t i = 0; i < k->tables; i++) {
    offset[i] = at;
    at = (at + bytes[i] + 63u) & ~(uint64_t)63u;
  }
  return at;
}

const uint8_t *qn_tok_text(const qn_tokenizer *t, uint32_t id, size_t *bytes) {
  const uint32_t *offsets = t->tables[QN_TABLE_OFFSETS];
  const uint8_t *flags = t->tables[QN_TABLE_TOKENS];
  uint32_t from = offsets[id], to = offsets[id + 1];
  if (flags[id] & QN_TOKEN_PATTERN) {
    const qn_added *a = qn_added_find(t, id);
    from = a ? a->pattern : 1;
    to = a && a->pattern_bytes <= UINT32_MAX - from ? from + a->pattern_bytes : 0;
  }
  if (from > to || to > t->sizes[QN_TABLE_POOL] || to - from > QN_TOK_MAX_TOKEN_BYTES) return NULL;
  *bytes = to - from;
  return (const uint8_t *)t->tables[QN_TABLE_POOL] + from;
}

/* ---- added tokens ---- */

/* Pattern of entry i of the index; an index or range outside its table gives an empty pattern. */
static const qn_added *pattern(const qn_added_match *m, uint32_t i, const uint8_t **p, uint32_t *bytes) {
  const qn_tokenizer *t = m->t;
  const uint32_t *order = t->tables[m->table];
  const qn_added *added = t->tables[QN_TABLE_ADDED];
  *p = t->tables[QN_TABLE_POOL];
  *bytes = 0;
  if (order[i] >= t->sizes[QN_TABLE_ADDED] / sizeof *added) return NULL;
  const qn_added *a = &added[order[i]];
  if (!qn_in_range(a->pattern, a->pattern_bytes, t->sizes[QN_TABLE_POOL])) return NULL;
  *p += a->pattern;
  *bytes = a->pattern_bytes;
  return a;
}

void qn_added_match_begin(qn_added_match *m, const qn_tokenizer *t, uint32_t table) {
  *m = (qn_added_match){t, table, 0, (uint32_t)(t->sizes[table] / 4), 0};
}

/* First entry of [lo, hi) whose byte at depth is >= value (256: hi); one that has ended sorts before all bytes. */
static uint32_t bound(const qn_added_match *m, uint32_t value) {
  uint32_t lo = m->lo, hi = m->hi;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2, bytes;
    const uint8_t *p;
    pattern(m, mid, &p, &bytes);
    if (bytes <= m->depth || p[m->depth] < value)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static int next_byte(qn_added_match *m, uint8_t byte) {
  const uint32_t lo = bound(m, byte), hi = bound(m, byte + 1u);
  m->lo = lo;
  m->hi = hi < lo ? lo : hi;
  m->depth++;
  return m->lo < m->hi;
}

int qn_added_match_next(qn_added_match *m, uint32_t cp) {
  uint8_t bytes[4];
  const uint32_t n = qn_utf8_encode(cp, bytes);
  for (uint32_t i = 0; i < n; i++)
    if (!next_byte(m, bytes[i])) return 0;
  return 1;
}

const qn_added *qn_added_match_found(const qn_added_match *m) {
  const uint8_t *p;
  uint32_t bytes;
  if (m->lo >= m->hi) return NULL;
  const qn_added *a = pattern(m, m->lo, &p, &bytes);
  return a && bytes == m->depth ? a : NULL;
}

const qn_added *qn_added_find(const qn_tokenizer *t, uint32_t id) {
  const qn_added *added = t->tables[QN_TABLE_ADDED];
  size_t lo = 0, hi = (size_t)(t->sizes[QN_TABLE_ADDED] / sizeof *added);
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (added[mid].id == id) return &added[mid];
    if (added[mid].id < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return NULL;
}

/* ---- raw text cut at added tokens ---- */

int qn_added_allowed(const qn_tokenizer *t, const qn_text *text, const qn_added *a, uint64_t begin, uint64_t end) {
  size_t lo = 0, hi = text->plain_count;
  if (hi == 0 || !qn_tokenizer_is_special(t, (int32_t)a->id)) return 1;
  while (lo < hi) { /* the first range that ends behind begin */
    const size_t mid = lo + (hi - lo) / 2;
    if (text->plain[mid].end <= begin)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo == text->plain_count || text->plain[lo].begin >= end;
}

/* Longest added token that starts at p, and its length in bytes. */
static const qn_added *raw_match(qn_added_walk *w, const uint8_t *p, size_t *length) {
  const qn_added *found = NULL;
  const uint64_t begin = (uint64_t)(p - w->text);
  const uint8_t *at = p;
  qn_added_match m;
  if (*p < 0x80 && *p != w->begun_with) {
    qn_added_match_begin(&w->begun, w->t, QN_TABLE_RAW);
    w->begun_with = *p;
    next_byte(&w->begun, *p);
  }
  if (*p < 0x80) {
    m = w->begun;
    at++;
    if (m.lo >= m.hi) return NULL;
    found = qn_added_match_found(&m);
    *length = 1;
    if (found && !qn_added_allowed(w->t, w->source, found, begin, begin + 1)) found = NULL;
  } else {
    qn_added_match_begin(&m, w->t, QN_TABLE_RAW);
  }
  while (at < w->end) {
    uint32_t used = 1;
    if (!qn_added_match_next(&m, qn_utf8_decode(at, (size_t)(w->end - at), &used))) break;
    at += used;
    const qn_added *a = qn_added_match_found(&m);
    if (!a || !qn_added_allowed(w->t, w->source, a, begin, (uint64_t)(at - w->text))) continue;
    found = a;
    *length = (size_t)(at - p);
  }
  return found;
}

/* The character that ends at p (> start). */
static uint32_t decode_before(const uint8_t *start, const uint8_t *p, uint32_t *used) {
  for (uint32_t back = 1; back <= 4 && (size_t)(p - start) >= back; back++) {
    if ((p[-(ptrdiff_t)back] & 0xC0u) == 0x80u) continue;
    uint32_t cp = qn_utf8_decode(p - back, back, used);
    if (*used == back) return cp;
    break;
  }
  *used = 1;
  return QN_REPLACEMENT;
}

static int has(uint32_t cp, uint32_t property) { return (qn_unicode_props(cp) & property) != 0; }

static const uint8_t *skip_space_back(const uint8_t *start, const uint8_t *p) {
  uint32_t used = 0;
  while (p > start && has(decode_before(start, p, &used), QN_UC_SPACE)) p -= used;
  return p;
}

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end) {
  uint32_t used = 1;
  while (p < end && has(qn_utf8_decode(p, (size_t)(end - p), &used), QN_UC_SPACE)) p += used;
  return p;
}

/* Is the match from p a part of a word? */
static int inside_word(const qn_added_walk *w, const uint8_t *p, const uint8_t *stop) {
  uint32_t used = 1;
  return (p > w->text && has(decode_before(w->text, p, &used), QN_UC_WORD)) ||
         (stop < w->end && has(qn_utf8_decode(stop, (size_t)(w->end - stop), &used), QN_UC_WORD));
}

void qn_added_walk_begin(qn_added_walk *w, const qn_tokenizer *t, const qn_text *source) {
  const uint8_t *text = (const uint8_t *)source->utf8, *end = source->bytes ? text + source->bytes : text;
  *w = (qn_added_walk){.t = t,
                       .source = source,
                       .text = text,
                       .end = end,
                       .at = text,
                       .rest = text,
                       .space_end = text,
                       .begun_with = 256};
}

int qn_added_walk_next(qn_added_walk *w) {
  const uint8_t *classes = w->t->tables[QN_TABLE_CLASSES], *p = w->at;
  const int any = w->t->sizes[QN_TABLE_RAW] != 0;
  while (any && p < w->end) {
    if (!(classes[*p] & QN_CLASS_STARTS_RAW)) {
      p++;
      continue;
    }
    size_t length = 0;
    const qn_added *a = raw_match(w, p, &length);
    if (!a) { /* on by a character: bytes inside one start nothing */
      uint32_t step = 1;
      qn_utf8_decode(p, (size_t)(w->end - p), &step);
      p += step;
      continue;
    }
    const uint8_t *start = p, *stop = p + length;
    p = stop;
    if ((a->flags & QN_ADDED_SINGLE_WORD) && inside_word(w, start, stop)) continue; /* text, not searched again */
    if (a->flags & QN_ADDED_LSTRIP) start = start > w->rest ? skip_space_back(w->rest, start) : w->rest;
    if (a->flags & QN_ADDED_RSTRIP) {
      if (stop >= w->space_end) w->space_end = skip_space(stop, w->end);
      stop = w->space_end;
    }
    w->from = w->rest;
    w->to = start > w->rest ? start : w->rest;
    w->token = a;
    w->start = start, w->stop = stop;
    w->at = p, w->rest = stop;
    return 1;
  }
  w->from = w->rest, w->to = w->end;
  w->at = w->rest = w->end;
  w->token = NULL;
  return w->from < w->to;
}
