/* bpe.h - the TOKENIZER sections of kinds BYTE_BPE and CHAR_BPE as they lie in the file (docs/FORMAT.md), and what their
 * writer and their encoder share. Not the public contract of the room: that is tokenizer.h. */
#ifndef QN_BPE_H
#define QN_BPE_H
#include "text/characters.h"
#include "text/tables.h"

#define QN_BPE_MAX_VOCAB 0x1FFFFEu  /* ids of a merge have 21 bits */
#define QN_BPE_MAX_MERGES 0x3FFFFEu /* their rank has 22 bits of a slot */

/* flags of the header */
#define QN_BPE_NFC 1u           /* text is normalized to NFC */
#define QN_BPE_BLANK 2u         /* a blank is put before each stretch of text */
#define QN_BPE_BLANK_FIRST 4u   /* only before one that begins the text */
#define QN_BPE_BLANK_UNLESS 8u  /* only where there is none yet */
#define QN_BPE_FUSE_UNK 16u     /* unknown characters side by side are one token */
#define QN_BPE_DIGITS 32u       /* each digit is a word, before words are found */
#define QN_BPE_DROP_BLANK 64u   /* text of ids: a blank at its start is left out */
#define QN_BPE_DROP_BLANKS 128u /* text of ids: all blanks of the first token are */
#define QN_BPE_FLAGS 255u

/* How words are found (BYTE_BPE). */
#define QN_WORDS_NONE 0u /* CHAR_BPE: the stretch is one word */
#define QN_WORDS_GPT2 1u
#define QN_WORDS_LLAMA3 2u /* up to three numbers are a word */
#define QN_WORDS_QWEN2 3u  /* the same with one number */
#define QN_WORDS_LAST QN_WORDS_QWEN2

typedef struct qn_bpe_header { /* 128 bytes */
  qn_tok_header common;
  uint32_t words; /* QN_WORDS_* */
  uint32_t merges;
  uint32_t pair_slots; /* of the hash table of pairs */
  uint32_t pair_probe; /* the most slots that finding a pair takes */
  uint32_t join_bits;  /* CHAR_BPE: 1 << join_bits bits; else 0 */
  uint32_t reserved[11];
} qn_bpe_header;

enum {
  QN_BPE_UNITS =
      QN_TABLE_OWN, /* u32[384]: id of each byte; CHAR_BPE: then id of each ASCII character. All ones: none */
  QN_BPE_PAIRS,     /* u64[pair_slots]: left | right << 21 | rank << 42; all ones: empty */
  QN_BPE_RESULTS,   /* u32[merges]: id that the merge of that rank makes */
  QN_BPE_JOINS,     /* CHAR_BPE: bits: may the two characters become part of one token? */
  QN_BPE_TABLES
};
#define QN_BPE_UNIT_COUNT 384u
#define QN_BPE_EMPTY UINT64_MAX

/* CLASSES: of ASCII characters. */
#define QN_CHAR_END 0u
#define QN_CHAR_LETTER 1u
#define QN_CHAR_NUMBER 2u
#define QN_CHAR_BLANK 3u   /* white space but those */
#define QN_CHAR_NEWLINE 4u /* carriage return, line feed */
#define QN_CHAR_OTHER 5u
#define QN_CHAR_CLASS 7u
#define QN_CHAR_STARTS 64u /* flag: may start an added token that is matched in normalized text */

static inline uint64_t qn_bpe_pair(uint32_t left, uint32_t right) { return left | (uint64_t)right << 21; }
#define QN_BPE_PAIR_MASK 0x3FFFFFFFFFFu
static inline uint64_t qn_bpe_pair_hash(uint64_t pair) { return pair * 0x9E3779B97F4A7C15u; }
/* The first slot to look at. */
static inline uint32_t qn_bpe_pair_first(uint64_t pair, uint32_t pair_slots) {
  return (uint32_t)((qn_bpe_pair_hash(pair) >> 32) * pair_slots >> 32);
}
/* Bit of two characters side by side. */
static inline uint32_t qn_bpe_join(uint32_t first, uint32_t second, uint32_t join_bits) {
  return (uint32_t)(qn_bpe_pair_hash(qn_bpe_pair(first, second)) >> (64u - join_bits));
}
/* Bits of a slot of SLOTS besides the id. */
static inline uint32_t qn_bpe_slot_tag(uint64_t end) { return (uint32_t)end << 24; }

/* Id whose text is this, of those that merging this text gives, or QN_TOK_EMPTY. */
uint32_t qn_bpe_find(const qn_tokenizer *t, const uint8_t *text, size_t bytes);
/* The same where the ended hash of the text is known; of unigram models too. */
uint32_t qn_bpe_find_hashed(const qn_tokenizer *t, uint64_t end, const uint8_t *text, size_t bytes);

/* Text of a token (tables.h: qn_tokenizer_kind), by flags QN_BPE_DROP_BLANK and _BLANKS. */
size_t qn_bpe_token_text(const qn_tokenizer *t, int32_t id, const uint8_t *token, size_t bytes, uint32_t when,
                         uint8_t *text);

/* ---- merging ---- */

/* The longest stretch of bytes that is merged at once. A longer word is merged in overlapping windows. */
#define QN_BPE_WINDOW 2048u

typedef struct qn_bpe_pieces { /* symbols, then tokens, of a stretch of bytes */
  uint32_t n;
  uint32_t id[QN_BPE_WINDOW];
  uint32_t end[QN_BPE_WINDOW]; /* in the stretch, behind the last byte */
} qn_bpe_pieces;

/* Symbols of the bytes (at most QN_BPE_WINDOW, whole characters), merged by rank until no pair is left. */
void qn_bpe_merge(const qn_tokenizer *t, const uint8_t *text, uint32_t bytes, qn_bpe_pieces *out);

/* ---- words ---- */
typedef struct qn_bpe_encoder qn_bpe_encoder;
/* Class of a character, QN_CHAR_*; with QN_BPE_DIGITS a digit is an end. */
uint32_t qn_bpe_class(const qn_bpe_encoder *e, uint32_t cp);
/* The current character into the word, and on to the next. */
void qn_bpe_take(qn_bpe_encoder *e);
/* The same with all of that class that follow. */
void qn_bpe_take_run(qn_bpe_encoder *e, uint32_t class);
const qn_reader *qn_bpe_reader(const qn_bpe_encoder *e);
/* One word from the current character, which is none at which words end, by QN_WORDS_*. */
void qn_bpe_next_word(qn_bpe_encoder *e, uint32_t words);

#endif
