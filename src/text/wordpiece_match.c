/* wordpiece_match.c - pieces that the WordPiece encoder and the section's writer share: normalizing one code point,
 * ordering marks, the layout of the tables, finding added tokens. No state of its own: any thread. */
#include <string.h>
#include "text/wordpiece.h"
#include "base/checked.h"
#include "base/utf8.h"

static uint32_t lower(uint32_t flags, uint32_t cp, uint32_t *out) {
  if (!(flags & QN_WP_LOWER) || !(qn_unicode_props(cp) & QN_UC_HAS_LOWER)) {
    out[0] = cp;
    return 1;
  }
  out[0] = qn_unicode_to_lower(cp);
  if (cp != 0x130u) return 1;
  out[1] = 0x307u;
  return 2;
}

uint32_t qn_wp_normalize(uint32_t flags, uint32_t cp, uint32_t out[8]) {
  uint32_t props = qn_unicode_props(cp), n = 0, kept[4] = {cp}, kept_n = 1;
  if (flags & QN_WP_CLEAN) {
    if (props & QN_UC_CONTROL) return 0;
    if (props & QN_UC_SPACE) {
      out[0] = ' ';
      return 1;
    }
  }
  int chinese = (flags & QN_WP_CHINESE) && qn_unicode_is_chinese(cp);
  if (chinese) out[n++] = ' ';
  if (flags & QN_WP_STRIP) {
    if (props & QN_UC_MARK) {
      if (!(props & QN_UC_ORDERED)) out[n++] = QN_WP_BARRIER;
      return n;
    }
    kept_n = qn_unicode_strip(cp, kept);
  }
  for (uint32_t i = 0; i < kept_n; i++) n += lower(flags, kept[i], out + n);
  if (chinese) out[n++] = ' ';
  return n;
}

uint32_t qn_wp_append(uint8_t *word, uint32_t n, uint32_t cp, int ordered, uint32_t *run_start) {
  uint8_t bytes[4];
  uint32_t size = qn_utf8_encode(cp, bytes), at = n;
  if (ordered) { /* stable: past all marks of a class not above its own */
    uint32_t class = qn_unicode_class(cp), used = 0;
    for (at = *run_start; at < n; at += used) {
      uint32_t other = qn_utf8_decode(word + at, n - at, &used);
      if (qn_unicode_class(other) > class) break;
    }
    memmove(word + at + size, word + at, n - at);
  } else {
    *run_start = n + size;
  }
  memcpy(word + at, bytes, size);
  return n + size;
}

uint64_t qn_wp_layout(const qn_wp_header *h, uint64_t offset[QN_WP_TABLES], uint64_t bytes[QN_WP_TABLES]) {
  if (h->vocab == 0 || h->vocab > QN_WP_MAX_VOCAB || h->slot_bits < 1 || h->slot_bits > 26 || h->added > h->vocab ||
      h->raw > h->added || h->normalized > h->added || h->single > QN_WP_MAX_TEMPLATE || h->pair > QN_WP_MAX_TEMPLATE)
    return 0;
  bytes[QN_WP_CLASSES] = 256;
  bytes[QN_WP_OFFSETS] = ((uint64_t)h->vocab + 1) * 4;
  bytes[QN_WP_TOKENS] = h->vocab;
  bytes[QN_WP_SLOTS] = (uint64_t)4 << h->slot_bits;
  bytes[QN_WP_POOL] = h->pool_bytes;
  bytes[QN_WP_ADDED] = (uint64_t)h->added * sizeof(qn_wp_added);
  bytes[QN_WP_RAW] = (uint64_t)h->raw * 4;
  bytes[QN_WP_NORMAL] = (uint64_t)h->normalized * 4;
  bytes[QN_WP_SINGLE] = (uint64_t)h->single * sizeof(qn_wp_item);
  bytes[QN_WP_PAIR] = (uint64_t)h->pair * sizeof(qn_wp_item);
  bytes[QN_WP_REACH] = 4096;
  uint64_t at = sizeof(qn_wp_header); /* no wrap: at most 2^24 * 35 + 2^28 + 2^32 */
  for (uint32_t i = 0; i < QN_WP_TABLES; i++) {
    offset[i] = at;
    at = (at + bytes[i] + 63u) & ~(uint64_t)63u;
  }
  return at;
}

/* Pattern of entry i of the index; an index or range outside its table gives an empty pattern. */
static const qn_wp_added *pattern(const qn_wp_match *m, uint32_t i, const uint8_t **p, uint32_t *bytes) {
  const qn_tokenizer *t = m->t;
  const uint32_t *order = t->tables[m->table];
  const qn_wp_added *added = t->tables[QN_WP_ADDED];
  *p = t->tables[QN_WP_POOL];
  *bytes = 0;
  if (order[i] >= t->sizes[QN_WP_ADDED] / sizeof *added) return NULL;
  const qn_wp_added *a = &added[order[i]];
  if (!qn_in_range(a->pattern, a->pattern_bytes, t->sizes[QN_WP_POOL])) return NULL;
  *p += a->pattern;
  *bytes = a->pattern_bytes;
  return a;
}

void qn_wp_match_begin(qn_wp_match *m, const qn_tokenizer *t, uint32_t table) {
  *m = (qn_wp_match){t, table, 0, (uint32_t)(t->sizes[table] / 4), 0};
}

/* First entry of [lo, hi) whose byte at depth is >= value (256: hi); one that has ended sorts before all bytes. */
static uint32_t bound(const qn_wp_match *m, uint32_t value) {
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

int qn_wp_match_next(qn_wp_match *m, uint32_t cp) {
  uint8_t bytes[4];
  uint32_t n = qn_utf8_encode(cp, bytes);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t lo = bound(m, bytes[i]), hi = bound(m, bytes[i] + 1u);
    m->lo = lo;
    m->hi = hi < lo ? lo : hi;
    m->depth++;
    if (m->lo >= m->hi) return 0;
  }
  return 1;
}

const qn_wp_added *qn_wp_match_found(const qn_wp_match *m) {
  const uint8_t *p;
  uint32_t bytes;
  if (m->lo >= m->hi) return NULL;
  const qn_wp_added *a = pattern(m, m->lo, &p, &bytes);
  return a && bytes == m->depth ? a : NULL;
}

const qn_wp_added *qn_wp_find_added(const qn_tokenizer *t, uint32_t id) {
  const qn_wp_added *added = t->tables[QN_WP_ADDED];
  size_t lo = 0, hi = (size_t)(t->sizes[QN_WP_ADDED] / sizeof *added);
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
