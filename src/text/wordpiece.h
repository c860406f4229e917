/* wordpiece.h - the TOKENIZER section of kind WordPiece as it lies in the file (docs/FORMAT.md), and what its writer
 * and its readers share. Not the public contract of the room: that is tokenizer.h. */
#ifndef QN_WORDPIECE_H
#define QN_WORDPIECE_H
#include "text/tokenizer.h"
#include "text/unicode.h"

/* Limits that bound the stack: a source that exceeds one is refused as unsupported. */
#define QN_WP_MAX_WORD_CHARS 1000u /* max_input_chars_per_word */
#define QN_WP_MAX_TOKEN_BYTES 1024u
#define QN_WP_MAX_PATTERN_CHARS 256u /* of an added token that is matched in normalized text */
#define QN_WP_MAX_PROBE 4096u
#define QN_WP_MAX_VOCAB 0xFFFFFEu /* a slot has 24 bits for the id, all ones: empty */
#define QN_WP_MAX_TEMPLATE 64u

/* flags of the header */
#define QN_WP_CLEAN 1u    /* drop control characters, make every white space a blank */
#define QN_WP_CHINESE 2u  /* blanks around Chinese characters */
#define QN_WP_STRIP 4u    /* decompose, drop nonspacing marks */
#define QN_WP_LOWER 8u    /* lower case */
#define QN_WP_DECODER 16u /* join as the WordPiece decoder does; else tokens joined by blanks */
#define QN_WP_CLEANUP 32u /* the decoder's cleaning: "do n't ." to "don't." */
#define QN_WP_FLAGS 63u

typedef struct qn_wp_header { /* 64 bytes */
  uint32_t kind;              /* QN_TOKENIZER_WORDPIECE */
  uint32_t flags;
  uint32_t vocab;
  uint32_t unk;
  uint32_t max_word_chars;
  uint32_t max_token_bytes;        /* of the longest key in the hash table */
  uint32_t slot_bits;              /* the hash table has 1 << slot_bits slots */
  uint32_t max_probe;              /* the most slots that finding a key takes */
  uint32_t added, raw, normalized; /* added tokens; of them matched in the raw text, in the normalized text */
  uint32_t pattern_chars;          /* code points of the longest one matched in normalized text */
  uint32_t single, pair;           /* items of the templates */
  uint32_t pool_bytes;
  uint32_t prefix_bytes; /* of the continuation prefix, at the start of the pool */
} qn_wp_header;

typedef struct qn_wp_added { /* 20 bytes */
  uint32_t id, flags;
  uint32_t rank;                   /* place in the source's list: of equal patterns the first is found */
  uint32_t pattern, pattern_bytes; /* in the pool: as looked for and as written back, normalized if so flagged */
} qn_wp_added;
#define QN_WP_SINGLE_WORD 1u
#define QN_WP_LSTRIP 2u
#define QN_WP_RSTRIP 4u
#define QN_WP_NORMALIZED 8u

typedef struct qn_wp_item { /* 8 bytes: one step of a template */
  uint32_t what;            /* an id, or QN_WP_SEQUENCE: the first text, + 1: the second */
  uint32_t type;
} qn_wp_item;
#define QN_WP_SEQUENCE 0x80000000u

/* Tables, in file order, each at the next multiple of 64. */
enum {
  QN_WP_CLASSES = 0, /* u8[256] */
  QN_WP_OFFSETS = 1, /* u32[vocab + 1]: token i is pool[offset i, offset i + 1) */
  QN_WP_TOKENS = 2,  /* u8[vocab]: QN_WP_TOKEN_* */
  QN_WP_SLOTS = 3,   /* u32[1 << slot_bits]: id | continuation << 24 | tag << 25; all ones: empty */
  QN_WP_POOL = 4,    /* u8[pool_bytes] */
  QN_WP_ADDED = 5,   /* qn_wp_added[added], by ascending id */
  QN_WP_RAW = 6,     /* u32[raw]: indices into ADDED, by pattern, bytewise; equal ones: special first, then by rank */
  QN_WP_NORMAL = 7,  /* u32[normalized], the same */
  QN_WP_SINGLE = 8,  /* qn_wp_item[single] */
  QN_WP_PAIR = 9,    /* qn_wp_item[pair] */
  QN_WP_REACH = 10,  /* u8[4096]: bytes of the longest key, see qn_wp_reach_index; 255: no bound */
  QN_WP_TABLES = 11
};

#define QN_WP_TOKEN_SPECIAL 1u
#define QN_WP_TOKEN_CONTINUES 2u /* starts with the continuation prefix */
#define QN_WP_TOKEN_PRESENT 4u   /* the id has a token */
#define QN_WP_TOKEN_PATTERN 8u   /* an added token that is normalized: written back as its pattern */

/* CLASSES: what the byte that starts a character asks for. */
#define QN_WP_SLOW 0u  /* decode it and go through everything */
#define QN_WP_AS_IS 1u /* a character of a word */
#define QN_WP_UPPER 3u /* the same after + 32 */
#define QN_WP_BLANK 4u
#define QN_WP_PUNCTUATION 5u
#define QN_WP_DROP 6u
#define QN_WP_CLASS 7u
#define QN_WP_STARTS_RAW 128u /* flag: may start an added token that is matched in raw text */

#define QN_WP_EMPTY 0xFFFFFFFFu
#define QN_WP_SLOT_ID 0xFFFFFFu
#define QN_WP_SLOT_KEY 0xFF000000u /* continuation and tag */

/* Keys of the hash table: a token as it stands, for the start of a word; and each token that starts with the prefix
   once more without it, for the rest of a word. */
#define QN_WP_HASH_START 0x243F6A8885A308D3u
#define QN_WP_HASH_REST 0x13198A2E03707344u
static inline uint64_t qn_wp_hash_byte(uint64_t h, uint8_t c) { return (h ^ c) * 0x9E3779B97F4A7C15u; }
static inline uint64_t qn_wp_hash_end(uint64_t h) { return (h ^ h >> 32) * 0xD6E8FEB86659FD93u; }
/* The bits of a slot besides the id, and the first slot to look at, of an ended hash. */
static inline uint32_t qn_wp_slot_key(uint64_t end, int rest) {
  return (uint32_t)(end & 127u) << 25 | (rest ? 1u << 24 : 0u);
}
static inline uint32_t qn_wp_slot_first(uint64_t end, uint32_t slot_bits) {
  return (uint32_t)(end >> (64u - slot_bits));
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

/* Where the tables lie. Returns 0 when the header's sizes are out of bounds, else the section's exact size. */
uint64_t qn_wp_layout(const qn_wp_header *h, uint64_t offset[QN_WP_TABLES], uint64_t bytes[QN_WP_TABLES]);

/* Added tokens found in text: a range of a sorted index narrowed byte by byte. */
typedef struct qn_wp_match {
  const qn_tokenizer *t;
  uint32_t table; /* QN_WP_RAW or QN_WP_NORMAL */
  uint32_t lo, hi, depth;
} qn_wp_match;
void qn_wp_match_begin(qn_wp_match *m, const qn_tokenizer *t, uint32_t table);
/* Narrows by a code point; 0: nothing starts so any more. */
int qn_wp_match_next(qn_wp_match *m, uint32_t cp);
/* The added token with that id, or NULL. */
const qn_wp_added *qn_wp_find_added(const qn_tokenizer *t, uint32_t id);
/* The added token that ends here, or NULL. */
const qn_wp_added *qn_wp_match_found(const qn_wp_match *m);
#endif
