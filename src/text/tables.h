/* tables.h - what the TOKENIZER sections of all kinds have in common (docs/FORMAT.md): the first 64 bytes of the header,
 * tokens, added tokens, templates, the hash of texts; and the table of kinds. Not the public contract of the room: that
 * is tokenizer.h. Tables are read-only and their contents are checked where they are used: any thread. */
#ifndef QN_TABLES_H
#define QN_TABLES_H
#include "text/tokenizer.h"
#include "text/unicode.h"

/* Limits that bound the stack: a source that exceeds one is refused as unsupported. */
#define QN_TOK_MAX_TOKEN_BYTES 1024u
#define QN_TOK_MAX_PATTERN_CHARS 256u /* of an added token that is matched in normalized text */
#define QN_TOK_MAX_PROBE 4096u
#define QN_TOK_MAX_VOCAB 0xFFFFFEu /* a slot has 24 bits for the id, all ones: empty */
#define QN_TOK_MAX_TEMPLATE 64u

typedef struct qn_tok_header { /* 64 bytes */
  uint32_t kind;               /* QN_TOKENIZER_* */
  uint32_t flags;              /* of the kind */
  uint32_t vocab;
  uint32_t unk;                    /* below vocab; or QN_TOK_EMPTY where the kind may lack one */
  uint32_t max_word_chars;         /* WordPiece; else 0 */
  uint32_t max_token_bytes;        /* of the longest key in the hash table */
  uint32_t slot_bits;              /* the hash table has 1 << slot_bits slots */
  uint32_t max_probe;              /* the most slots that finding a key takes */
  uint32_t added, raw, normalized; /* added tokens; of them matched in the raw text, in the normalized text */
  uint32_t pattern_chars;          /* code points of the longest one matched in normalized text */
  uint32_t single, pair;           /* items of the templates */
  uint32_t pool_bytes;
  uint32_t prefix_bytes; /* WordPiece: of the continuation prefix, at the start of the pool; else 0 */
} qn_tok_header;

typedef struct qn_added { /* 20 bytes */
  uint32_t id, flags;
  uint32_t rank;                   /* place in the source's list: of equal patterns the first is found */
  uint32_t pattern, pattern_bytes; /* in the pool: as looked for and as written back, normalized if so flagged */
} qn_added;
#define QN_ADDED_SINGLE_WORD 1u
#define QN_ADDED_LSTRIP 2u
#define QN_ADDED_RSTRIP 4u
#define QN_ADDED_NORMALIZED 8u

typedef struct qn_template_item { /* 8 bytes: one step of a template */
  uint32_t what;                  /* an id, or QN_TEMPLATE_TEXT: the first text, + 1: the second */
  uint32_t type;
} qn_template_item;
#define QN_TEMPLATE_TEXT 0x80000000u

/* Tables, in file order, each at the next multiple of 64; a kind's own follow from QN_TABLE_OWN. */
enum {
  QN_TABLE_CLASSES = 0, /* u8[256]: of the byte that starts a character; QN_CLASS_STARTS_RAW, the rest is the kind's */
  QN_TABLE_OFFSETS = 1, /* u32[vocab + 1]: token i is pool[offset i, offset i + 1) */
  QN_TABLE_TOKENS = 2,  /* u8[vocab]: QN_TOKEN_* */
  QN_TABLE_SLOTS = 3,   /* u32[1 << slot_bits]: hash table of texts; id in the low 24 bits; all ones: empty */
  QN_TABLE_POOL = 4,    /* u8[pool_bytes] */
  QN_TABLE_ADDED = 5,   /* qn_added[added], by ascending id */
  QN_TABLE_RAW = 6,    /* u32[raw]: indices into ADDED, by pattern, bytewise; equal ones: special first, then by rank */
  QN_TABLE_NORMAL = 7, /* u32[normalized], the same */
  QN_TABLE_SINGLE = 8, /* qn_template_item[single] */
  QN_TABLE_PAIR = 9,   /* qn_template_item[pair] */
  QN_TABLE_OWN = 10
};

#define QN_TOKEN_SPECIAL 1u
#define QN_TOKEN_CONTINUES 2u /* starts with the continuation prefix */
#define QN_TOKEN_PRESENT 4u   /* the id has a token */
#define QN_TOKEN_PATTERN 8u   /* an added token that is normalized: written back as its pattern */
#define QN_TOKEN_BYTE 16u     /* stands for the one byte that is its text */

#define QN_CLASS_STARTS_RAW 128u /* may start an added token that is matched in raw text */

#define QN_TOK_EMPTY 0xFFFFFFFFu
#define QN_TOK_SLOT_ID 0xFFFFFFu

/* An id behind those that are there; fused: it is the one before once more, whose span it makes longer. span: NULL where none are kept. */
static inline void qn_ids_put(qn_ids *out, uint32_t id, int32_t type, int fused, const quern_span *span) {
  const size_t at = out->count - (size_t)(fused != 0) - out->skip; /* one to skip wraps to a large number */
  if (fused) {
    if (at < out->cap && span) out->spans[at].end = span->end;
    return;
  }
  out->count++;
  if (at >= out->cap) return;
  out->ids[at] = (int32_t)id;
  if (out->types) out->types[at] = type;
  if (span) out->spans[at] = *span;
}

/* The hash of a text: bytes one by one, then the end; and the first slot to look at. */
#define QN_TOK_HASH 0x243F6A8885A308D3u
static inline uint64_t qn_tok_hash_byte(uint64_t h, uint8_t c) { return (h ^ c) * 0x9E3779B97F4A7C15u; }
static inline uint64_t qn_tok_hash_end(uint64_t h) { return (h ^ h >> 32) * 0xD6E8FEB86659FD93u; }
static inline uint32_t qn_tok_slot_first(uint64_t end, uint32_t slot_bits) {
  return (uint32_t)(end >> (64u - slot_bits));
}

/* ---- kinds ---- */

/* What a token's text depends on besides the token. */
#define QN_TEXT_FIRST 1u /* it is the first token of the text */
#define QN_TEXT_EMPTY 2u /* no text has come yet */

struct qn_tokenizer_kind {
  uint32_t kind;
  const char *name;
  uint32_t header_bytes, tables;
  uint32_t byte_by_byte; /* malformed UTF-8 is written as one U+FFFD a byte, else one a maximal subpart */
  /* Sizes of the kind's own tables, from QN_TABLE_OWN on; 0: a number of the header is out of range. */
  int (*sizes)(const qn_tok_header *h, uint64_t *bytes);
  quern_status (*encode)(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out);
  /* Text of a token that has one, from its bytes in the pool, at most QN_TOK_MAX_TOKEN_BYTES; when: QN_TEXT_*. Returns
     the length; text has room for QN_TOK_MAX_TOKEN_BYTES + 1. */
  size_t (*text)(const qn_tokenizer *t, int32_t id, const uint8_t *token, size_t bytes, uint32_t when, uint8_t *text);
};
extern const qn_tokenizer_kind qn_wordpiece_kind, qn_byte_bpe_kind, qn_char_bpe_kind, qn_unigram_kind;
/* The kind of that number, or NULL. */
const qn_tokenizer_kind *qn_tokenizer_find_kind(uint32_t kind);
/* Where the tables lie. Returns 0 when the header's sizes are out of bounds, else the section's exact size. */
uint64_t qn_tok_layout(const qn_tokenizer_kind *k, const qn_tok_header *h, uint64_t offset[QN_TOKENIZER_TABLES],
                       uint64_t bytes[QN_TOKENIZER_TABLES]);
/* Bytes of a token in the pool; NULL when they are not within it or too many. */
const uint8_t *qn_tok_text(const qn_tokenizer *t, uint32_t id, size_t *bytes);

/* ---- added tokens in text ---- */

/* A range of a sorted index narrowed byte by byte. */
typedef struct qn_added_match {
  const qn_tokenizer *t;
  uint32_t table; /* QN_TABLE_RAW or QN_TABLE_NORMAL */
  uint32_t lo, hi, depth;
} qn_added_match;
void qn_added_match_begin(qn_added_match *m, const qn_tokenizer *t, uint32_t table);
/* Narrows by a code point; 0: nothing starts so any more. */
int qn_added_match_next(qn_added_match *m, uint32_t cp);
/* The added token that ends here, or NULL. */
const qn_added *qn_added_match_found(const qn_added_match *m);
/* The added token with that id, or NULL. */
const qn_added *qn_added_find(const qn_tokenizer *t, uint32_t id);

/* May the token be found in bytes begin ... end - 1 of the text? */
int qn_added_allowed(const qn_tokenizer *t, const qn_text *text, const qn_added *a, uint64_t begin, uint64_t end);

/* Raw text cut at the added tokens that are matched as written. */
typedef struct qn_added_walk {
  const qn_tokenizer *t;
  const qn_text *source;
  const uint8_t *text, *end;
  const uint8_t *at;        /* search on from here */
  const uint8_t *rest;      /* not handed out yet */
  const uint8_t *space_end; /* of the blanks that were walked last, so that none is walked twice */
  qn_added_match begun;     /* of the byte that was searched last: a line feed in most texts */
  uint32_t begun_with;      /* that byte, or 256 */
  /* what the last step gave */
  const uint8_t *from, *to;    /* a stretch of text without such tokens; may be empty */
  const qn_added *token;       /* the token behind it; NULL: none, the text ends */
  const uint8_t *start, *stop; /* its bytes, with the blanks that it takes; empty: another has taken them all */
} qn_added_walk;
void qn_added_walk_begin(qn_added_walk *w, const qn_tokenizer *t, const qn_text *text);
/* The next stretch and the token behind it; 0: there is no more. */
int qn_added_walk_next(qn_added_walk *w);
#endif
