/* charsmap.h - text normalized by a precompiled character map, as SentencePiece writes it into tokenizers of the kind unigram: a
 * trie from pieces of text to what they become. Read in place; every index of it is checked. Read-only: any thread. */
#ifndef QN_CHARSMAP_H
#define QN_CHARSMAP_H
#include <stddef.h>
#include <stdint.h>

#define QN_GRAPHEME_EXTENDS 1u /* belongs to the character before it */
#define QN_GRAPHEME_PREPEND 2u /* and to that after it */
#define QN_GRAPHEME_CONTROL 3u /* stands alone */
/* QN_GRAPHEME_* of a code point, or 0. graphemes.c */
uint32_t qn_grapheme_class(uint32_t cp);

/* u32 bytes of the trie, the trie's units, strings that end with 0. bytes 0: there is none. */
typedef struct qn_charsmap {
  const uint8_t *data;
  size_t bytes;
} qn_charsmap;
/* Whether it is one, as far as its sizes tell. */
int qn_charsmap_valid(qn_charsmap map);

/* How pieces of text are looked for in it. */
#define QN_CHARSMAP_CLUSTERS                                                                                           \
  0u /* grapheme clusters of less than 6 bytes, else characters, by their shortest prefix: the tokenizers package */
#define QN_CHARSMAP_LONGEST 1u /* the longest that begins here: SentencePiece */

/* Normalized characters, one by one; may be copied to look ahead. */
typedef struct qn_mapped {
  uint32_t cp;              /* the current one, or QN_READ_END */
  const uint8_t *from, *to; /* raw bytes that it came from */
  qn_charsmap map;
  uint32_t how;
  const uint8_t *p, *end;               /* raw text that is left */
  const uint8_t *cluster;               /* up to here characters are looked up one by one */
  const uint8_t *pending, *pending_end; /* of what a piece became, behind the current character */
} qn_mapped;
/* Stands on the first character. */
void qn_mapped_begin(qn_mapped *m, qn_charsmap map, uint32_t how, const uint8_t *text, const uint8_t *end);
void qn_mapped_next(qn_mapped *m);
#endif
