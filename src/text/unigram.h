/* unigram.h - the TOKENIZER section of kind UNIGRAM as it lies in the file (docs/FORMAT.md), and what its writer and its encoder
 * share. Flags that both have are those of bpe.h. Not the public contract of the room: that is tokenizer.h. */
#ifndef QN_UNIGRAM_H
#define QN_UNIGRAM_H
#include "text/bpe.h"
#include "text/charsmap.h"

/* flags of the header beside QN_BPE_BLANK, _BLANK_FIRST, _BLANK_UNLESS, _DROP_BLANK, _DROP_BLANKS */
#define QN_UNIGRAM_WORDS 256u  /* a blank begins a word of its own */
#define QN_UNIGRAM_SPACES 512u /* words are what stands between white space, before that: a blank is put before each */
#define QN_UNIGRAM_STRIP_LEFT 1024u /* white space at the start and end of a stretch is left out */
#define QN_UNIGRAM_STRIP_RIGHT 2048u
#define QN_UNIGRAM_COLLAPSE 4096u /* blanks side by side are one */
#define QN_UNIGRAM_LONGEST 8192u  /* QN_CHARSMAP_LONGEST */
#define QN_UNIGRAM_FLAGS                                                                                               \
  (QN_BPE_BLANK | QN_BPE_BLANK_FIRST | QN_BPE_BLANK_UNLESS | QN_BPE_DROP_BLANK | QN_BPE_DROP_BLANKS |                  \
   QN_UNIGRAM_WORDS | QN_UNIGRAM_SPACES | QN_UNIGRAM_STRIP_LEFT | QN_UNIGRAM_STRIP_RIGHT | QN_UNIGRAM_COLLAPSE |       \
   QN_UNIGRAM_LONGEST)

typedef struct qn_unigram_header { /* 128 bytes */
  qn_tok_header common;
  double unknown;          /* score of a character that is no token */
  uint32_t charsmap_bytes; /* 0: text is taken as it is */
  uint32_t reserved[13];
} qn_unigram_header;

enum {
  QN_UNIGRAM_SCORES = QN_TABLE_OWN, /* f64[vocab] */
  QN_UNIGRAM_BYTES,                 /* u32[256]: id of each byte, which an unknown character becomes; all ones: none */
  QN_UNIGRAM_REACH, /* u8[2048]: bytes of the longest key that begins with two bytes; 255: that or more. Of keys of one byte: 1 */
  QN_UNIGRAM_CHARSMAP,
  QN_UNIGRAM_TABLES
};
#define QN_UNIGRAM_REACHES 2048u
static inline uint32_t qn_unigram_reach(const uint8_t *text) { return (text[0] * 67u + text[1]) % QN_UNIGRAM_REACHES; }
/* What sets a character that is no token apart: its score is the least of all less this. */
#define QN_UNIGRAM_PENALTY 10.0

/* Bytes of a word that are looked at together. */
#define QN_UNIGRAM_WINDOW 2048u
#endif
