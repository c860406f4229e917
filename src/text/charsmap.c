/* charsmap.c - normalization by a precompiled character map (charsmap.h). The trie is a double array of 32-bit units: from unit 0 on,
 * a node's place XOR the next byte, and XOR the offset of what is found there if its label is that byte, is the next node. */
#include "text/charsmap.h"

#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"
#include "text/characters.h"

#define CLUSTER_BYTES 6u /* longer clusters are looked up by their characters */

static uint32_t trie_bytes(qn_charsmap map) { return qn_load_u32(map.data); }

int qn_charsmap_valid(qn_charsmap map) {
  if (map.bytes < 4) return 0;
  const uint32_t trie = trie_bytes(map);
  return trie >= 4 && trie % 4 == 0 && trie < map.bytes - 4 && map.data[map.bytes - 1] == 0;
}

/* Where the string begins that the shortest or longest prefix of a piece becomes; NULL: no prefix is there. *used: its bytes. */
static const uint8_t *look_up(qn_charsmap map, const uint8_t *piece, size_t bytes, int longest, size_t *used) {
  const uint32_t units = trie_bytes(map) / 4;
  const uint8_t *found = NULL, *strings = map.data + 4 + (size_t)units * 4;
  const size_t string_bytes = map.bytes - 4 - (size_t)units * 4;
  uint32_t unit = qn_load_u32(map.data + 4);
  uint32_t at = (unit >> 10) << ((unit & 512u) >> 6);
  for (size_t i = 0; i < bytes && piece[i]; i++) {
    at ^= piece[i];
    if (at >= units) break;
    unit = qn_load_u32(map.data + 4 + (size_t)at * 4);
    if ((unit & 0x800000FFu) != piece[i]) break;
    at ^= (unit >> 10) << ((unit & 512u) >> 6);
    if (!(unit >> 8 & 1u)) continue;
    if (at >= units) break;
    const uint32_t value = qn_load_u32(map.data + 4 + (size_t)at * 4) & 0x7FFFFFFFu;
    if (value >= string_bytes) break;
    found = strings + value;
    *used = i + 1;
    if (!longest) break;
  }
  return found;
}

/* The current character is the first of what a piece became, if that is not nothing. */
static int give(qn_mapped *m) {
  if (m->pending == m->pending_end) return 0;
  uint32_t used = 1;
  m->cp = qn_utf8_decode(m->pending, (size_t)(m->pending_end - m->pending), &used);
  m->pending += used;
  return 1;
}

static void become(qn_mapped *m, const uint8_t *string, const uint8_t *behind) {
  m->from = m->p;
  m->to = m->p = behind;
  m->pending = string;
  m->pending_end = string + strlen((const char *)string); /* the map ends with 0 */
}

/* Characters as they are looked up: malformed bytes as the one that stands for them. */
typedef struct piece {
  uint8_t text[CLUSTER_BYTES + 4];
  size_t bytes; /* may be more than the text has room for: the rest is left out */
} piece;

static void add(piece *c, uint32_t cp) {
  uint8_t utf8[4];
  const uint32_t n = qn_utf8_encode(cp, utf8);
  if (c->bytes < CLUSTER_BYTES) memcpy(c->text + c->bytes, utf8, n);
  c->bytes += n;
}

/* The cluster that begins at p, and where it ends. */
static const uint8_t *read_cluster(piece *c, const uint8_t *p, const uint8_t *end) {
  uint32_t used = 1;
  uint32_t cp = qn_utf8_decode(p, (size_t)(end - p), &used);
  c->bytes = 0;
  add(c, cp);
  p += used;
  if (cp < 0x80 && (p == end || (*p < 0x80 && !(cp == '\r' && *p == '\n')))) return p;
  for (uint32_t class = qn_grapheme_class(cp); p < end;) {
    const uint32_t next = qn_utf8_decode(p, (size_t)(end - p), &used), next_class = qn_grapheme_class(next);
    const int joined = cp == '\r' && next == '\n';
    if (!joined && (class == QN_GRAPHEME_CONTROL || next_class == QN_GRAPHEME_CONTROL)) break;
    if (!joined && next_class != QN_GRAPHEME_EXTENDS && class != QN_GRAPHEME_PREPEND) break;
    add(c, next);
    cp = next, class = next_class;
    p += used;
  }
  return p;
}

/* Whether what is at p, the character cp of `used` bytes first, becomes something else. */
static int map_piece(qn_mapped *m, uint32_t cp, uint32_t used) {
  const uint8_t *string;
  size_t matched = 0;
  piece c;
  if (m->how == QN_CHARSMAP_LONGEST) {
    string = look_up(m->map, m->p, (size_t)(m->end - m->p), 1, &matched);
    if (string) become(m, string, m->p + matched);
    return string != NULL;
  }
  if (m->p >= m->cluster) {
    m->cluster = read_cluster(&c, m->p, m->end);
    string = c.bytes < CLUSTER_BYTES ? look_up(m->map, c.text, c.bytes, 0, &matched) : NULL;
    if (string) {
      become(m, string, m->cluster);
      return 1;
    }
  }
  c.bytes = 0;
  add(&c, cp);
  string = look_up(m->map, c.text, c.bytes, 0, &matched);
  if (string) become(m, string, m->p + used);
  return string != NULL;
}

void qn_mapped_next(qn_mapped *m) {
  while (!give(m)) {
    uint32_t used = 1;
    if (m->p >= m->end) {
      m->cp = QN_READ_END;
      m->from = m->to = m->end;
      return;
    }
    const uint32_t cp = qn_utf8_decode(m->p, (size_t)(m->end - m->p), &used);
    if (m->map.bytes && map_piece(m, cp, used)) continue;
    m->cp = cp;
    m->from = m->p;
    m->to = m->p += used;
    return;
  }
}

void qn_mapped_begin(qn_mapped *m, qn_charsmap map, uint32_t how, const uint8_t *text, const uint8_t *end) {
  *m = (qn_mapped){.map = map, .how = how, .from = text, .to = text, .p = text, .end = end, .cluster = text};
  qn_mapped_next(m);
}
