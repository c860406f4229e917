/* unicode.h - what BERT's normalization and splitting ask about a code point. The tables are made by
 * tools/gen_unicode.py, which also says where they differ from the current Unicode and why. Constants: any thread. */
#ifndef QN_UNICODE_H
#define QN_UNICODE_H
#include <stddef.h>
#include <stdint.h>

/* Properties, one byte per code point. */
#define QN_UC_SPACE 1u       /* White_Space */
#define QN_UC_CONTROL 2u     /* removed by clean_text: Cc, Cf, Co and U+FFFD, without tab, line feed, carriage return */
#define QN_UC_PUNCTUATION 4u /* a word of its own: ASCII symbols, and category P */
#define QN_UC_MARK 8u        /* nothing but nonspacing marks (Mn) after canonical decomposition */
#define QN_UC_WORD 16u       /* \w of a regular expression */
#define QN_UC_HAS_LOWER 32u  /* lower case differs */
#define QN_UC_HAS_STRIPPED 64u /* decomposition less marks differs and is not empty; Hangul syllables are not flagged */
#define QN_UC_ORDERED 128u     /* combining class is not 0 (for a decomposing MARK: of all its parts) */

/* Sizes of the generated tables; the compiler compares them with the definitions. */
#define QN_UNICODE_TOP 1088
#define QN_UNICODE_ROWS 2112
#define QN_UNICODE_BLOCKS 15136
#define QN_UNICODE_LOWER 186
#define QN_UNICODE_STRIPPED 2042
#define QN_UNICODE_POOL 91
#define QN_UNICODE_CLASSES 25

typedef struct qn_unicode_lower { /* first + i * stride, i < count, becomes itself + difference */
  uint32_t first;
  uint16_t count, stride;
  int32_t difference;
} qn_unicode_lower;
typedef struct qn_unicode_class {
  uint32_t first, last, value;
} qn_unicode_class;

extern const uint8_t qn_unicode_top[QN_UNICODE_TOP];       /* [cp >> 10]: row */
extern const uint16_t qn_unicode_rows[QN_UNICODE_ROWS];    /* [row * 32 + (cp >> 5 & 31)]: block */
extern const uint8_t qn_unicode_blocks[QN_UNICODE_BLOCKS]; /* [block * 32 + (cp & 31)]: properties */
extern const qn_unicode_lower qn_unicode_lower_table[QN_UNICODE_LOWER];
extern const uint32_t qn_unicode_stripped_keys[QN_UNICODE_STRIPPED];
extern const uint32_t qn_unicode_stripped_values[QN_UNICODE_STRIPPED]; /* a code point, or 1 << 31 | count << 16 | at */
extern const uint32_t qn_unicode_stripped_pool[QN_UNICODE_POOL];
extern const qn_unicode_class qn_unicode_class_table[QN_UNICODE_CLASSES];

static inline uint32_t qn_unicode_props(uint32_t cp) {
  if (cp > 0x10FFFFu) return 0;
  uint32_t block = qn_unicode_rows[qn_unicode_top[cp >> 10] * 32u + (cp >> 5 & 31u)];
  return qn_unicode_blocks[block * 32u + (cp & 31u)];
}

/* Of a code point with HAS_LOWER: the first code point of its lower case. U+0130 alone has a second one, U+0307. */
uint32_t qn_unicode_to_lower(uint32_t cp);
/* Canonical decomposition less nonspacing marks, of any code point that is no MARK; returns 1 ... 3 code points. */
uint32_t qn_unicode_strip(uint32_t cp, uint32_t out[3]);
/* Canonical combining class of an ORDERED code point that is no MARK; 0 for others. */
uint32_t qn_unicode_combining_class(uint32_t cp);
/* The blocks that BERT calls Chinese: each character becomes a word. */
int qn_unicode_is_chinese(uint32_t cp);
#endif
