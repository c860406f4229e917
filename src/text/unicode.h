/* unicode.h - what tokenizers' normalization and splitting ask about a code point. The tables are made by
 * tools/gen_unicode.py, which also says where they differ from the current Unicode and why. Constants: any thread. */
#ifndef QN_UNICODE_H
#define QN_UNICODE_H
#include <stddef.h>
#include <stdint.h>

/* Properties of a code point: these flags; the canonical combining class in the top byte. */
#define QN_UC_SPACE 1u       /* White_Space */
#define QN_UC_CONTROL 2u     /* removed by clean_text: Cc, Cf, Co and U+FFFD, without tab, line feed, carriage return */
#define QN_UC_PUNCTUATION 4u /* a word of its own: ASCII symbols, and category P */
#define QN_UC_MARK 8u        /* nothing but nonspacing marks (Mn) after canonical decomposition */
#define QN_UC_WORD 16u       /* \w of a regular expression */
#define QN_UC_HAS_LOWER 32u  /* lower case differs */
#define QN_UC_DECOMPOSES 64u /* canonically; Hangul syllables are not flagged */
#define QN_UC_ORDERED 128u   /* combining class is not 0 (for a decomposing MARK: of all its parts) */
#define QN_UC_LETTER 256u    /* \p{L} */
#define QN_UC_NUMBER 512u    /* \p{N} */
#define QN_UC_DIGIT 1024u    /* what the Digits splitter takes: \p{N} of a later Unicode */
#define QN_UC_UNSTABLE 2048u /* NFC may change it, or it and the character before it */
#define QN_UC_CLASS_SHIFT 24u

/* Sizes of the generated tables; the compiler compares them with the definitions. */
#define QN_UNICODE_TOP 1088
#define QN_UNICODE_ROWS 2112
#define QN_UNICODE_BLOCKS 17376
#define QN_UNICODE_WORDS 91
#define QN_UNICODE_LOWER 186
#define QN_UNICODE_STEPS 2060
#define QN_UNICODE_COMPOSED 940

typedef struct qn_unicode_lower { /* first + i * stride, i < count, becomes itself + difference */
  uint32_t first;
  uint16_t count, stride;
  int32_t difference;
} qn_unicode_lower;
extern const uint8_t qn_unicode_top[QN_UNICODE_TOP];       /* [cp >> 10]: row */
extern const uint16_t qn_unicode_rows[QN_UNICODE_ROWS];    /* [row * 32 + (cp >> 5 & 31)]: block */
extern const uint8_t qn_unicode_blocks[QN_UNICODE_BLOCKS]; /* [block * 32 + (cp & 31)]: index of the properties */
extern const uint32_t qn_unicode_words[QN_UNICODE_WORDS];  /* properties */
extern const qn_unicode_lower qn_unicode_lower_table[QN_UNICODE_LOWER];
extern const uint64_t qn_unicode_steps[QN_UNICODE_STEPS];       /* code point << 42 | first part << 21 | second, or 0 */
extern const uint16_t qn_unicode_composed[QN_UNICODE_COMPOSED]; /* indices of steps that NFC undoes, by their parts */

static inline uint32_t qn_unicode_props(uint32_t cp) {
  if (cp > 0x10FFFFu) return 0;
  uint32_t block = qn_unicode_rows[qn_unicode_top[cp >> 10] * 32u + (cp >> 5 & 31u)];
  return qn_unicode_words[qn_unicode_blocks[block * 32u + (cp & 31u)]];
}
/* Canonical combining class. */
static inline uint32_t qn_unicode_class(uint32_t cp) { return qn_unicode_props(cp) >> QN_UC_CLASS_SHIFT; }

/* Of a code point with HAS_LOWER: the first code point of its lower case. U+0130 alone has a second one, U+0307. */
uint32_t qn_unicode_to_lower(uint32_t cp);
/* Full canonical decomposition; returns 1 ... 4 code points. */
uint32_t qn_unicode_decompose(uint32_t cp, uint32_t out[4]);
/* The same less nonspacing marks, of any code point that is no MARK; returns 1 ... 3 code points. */
uint32_t qn_unicode_strip(uint32_t cp, uint32_t out[4]);
/* What NFC composes the two to, or 0. */
uint32_t qn_unicode_compose(uint32_t first, uint32_t second);
/* The blocks that BERT calls Chinese: each character becomes a word. */
int qn_unicode_is_chinese(uint32_t cp);
#endif
