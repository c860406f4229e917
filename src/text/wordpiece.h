/* wordpiece.h - the TOKENIZER section of kind WordPiece as it lies in the file (docs/FORMAT.md), and what its writer
 * and its readers share. Not the public contract of the room: that is tokenizer.h. */
#ifndef QN_WORDPIECE_H
#define QN_WORDPIECE_H
#include "text/tables.h"

#define QN_WP_MAX_WORD_CHARS 1000u /* max_input_chars_per_word: bounds the stack */

/* flags of the header */
#define QN_WP_CLEAN 1u    /* drop control characters, make every white space a blank */
#define QN_WP_CHINESE 2u  /* blanks around Chinese characters */
#define QN_WP_STRIP 4u    /* decompose, drop nonspacing marks */
#define QN_WP_LOWER 8u    /* lower case */
#define QN_WP_DECODER 16u /* join as the WordPiece decoder does; else tokens joined by blanks */
#define QN_WP_CLEANUP 32u /* the decoder's cleaning: "do n't ." to "don't." */
#define QN_WP_FLAGS 63u

#define QN_WP_REACH QN_TABLE_OWN /* u8[4096]: bytes of the longest key, see qn_wp_reach_index; 255: no bound */
#define QN_WP_TABLES 11u

/* CLASSES: what the byte that starts a character asks for. */
#define QN_WP_SLOW 0u  /* decode it and go through everything */
#define QN_WP_AS_IS 1u /* a character of a word */
#define QN_WP_UPPER 3u /* the same after + 32 */
#define QN_WP_BLANK 4u
#define QN_WP_PUNCTUATION 5u
#define QN_WP_DROP 6u
#define QN_WP_CLASS 7u

#define QN_WP_SLOT_KEY 0xFF000000u /* continuation and tag */

/* Keys of the hash table: a token as it stands, for the start of a word; and each token that starts with the prefix
   once more without it, for the rest of a word. */
#define QN_WP_HASH_REST 0x13198A2E03707344u
/* The bits of a slot besides the id, and the first slot to look at, of an ended hash. */
static inline uint32_t qn_wp_slot_key(uint64_t end, int rest) {
  return (uint32_t)(end & 127u) << 25 | (rest ? 1u << 24 : 0u);
}

/* Entry of REACH for keys of two bytes and more that begin so: longer pieces need not be looked for. The factor keeps
   neighbouring leading bytes apart: letters, or the 64 continuations of one and those of the next, do not collide. */
static inline uint32_t qn_wp_reach_index(uint8_t first, uint8_t second, int rest) {
  return ((first * 67u + second) & 2047u) | (rest ? 2048u : 0u);
}

/* Normalizes one code point: 0 ... 6 code points to out. A QN_WP_BARRIER among them is no character: it says that a
   dropped mark of combining class 0 stood there, past which marks are not reordered. */
#define QN_WP_BARRIER 0x80000000u
uint32_t qn_wp_normalize(uint32_t flags, uint32_t cp, uint32_t out[8]);
/* Appends a code point to a word of n bytes. With `ordered`, it is put among the marks since *run_start by combining
   class. Returns the new length; the buffer has room for 4 more bytes. */
uint32_t qn_wp_append(uint8_t *word, uint32_t n, uint32_t cp, int ordered, uint32_t *run_start);
/* qn_tokenizer_kind's `text`. */
size_t qn_wp_text(const qn_tokenizer *t, int32_t id, const uint8_t *token, size_t bytes, uint32_t when, uint8_t *text);
#endif
