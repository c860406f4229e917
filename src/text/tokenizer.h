/* tokenizer.h - text to token ids and back, over tables read in place from the TOKENIZER section of a .qrn file.
 * Nothing is built at load: the section holds the hash tables. Every index from the section is checked when it is used,
 * so a damaged section gives wrong ids or a status, never a fault. Read-only after open: any number of threads. */
#ifndef QN_TOKENIZER_H
#define QN_TOKENIZER_H
#include "base/env.h"
#include "base/json.h"

#define QN_TOKENIZER_WORDPIECE 1u
#define QN_TOKENIZER_BYTE_BPE 2u /* byte-level BPE: words by a regular expression, merges of bytes */
#define QN_TOKENIZER_CHAR_BPE 3u /* SentencePiece's BPE: merges of characters, blanks among them */
#define QN_TOKENIZER_UNIGRAM 4u  /* SentencePiece's unigram: the tokens whose scores have the largest sum */
#define QN_TOKENIZER_TABLES 16

typedef struct qn_tokenizer_kind qn_tokenizer_kind;

typedef struct qn_tokenizer {
  qn_env *env;
  const uint8_t *data; /* the section */
  size_t bytes;
  uint32_t kind, vocab; /* ids are 0 ... vocab - 1 */
  /* the rest is the implementation's: pointers into the section, checked at open */
  const qn_tokenizer_kind *is;
  const void *tables[QN_TOKENIZER_TABLES];
  uint64_t sizes[QN_TOKENIZER_TABLES];
} qn_tokenizer;

/* Checks sizes and offsets of the tables (not their contents). data: 64-byte aligned. */
quern_status qn_tokenizer_open(qn_tokenizer *t, qn_env *env, const void *data, size_t bytes);
/* Name of its kind: "wordpiece", "byte-bpe", "char-bpe", "unigram". */
const char *qn_tokenizer_name(const qn_tokenizer *t);

/* Where ids go as they come. */
typedef struct qn_ids {
  int32_t *ids;
  int32_t *types;
  size_t cap, count; /* count goes on past cap */
  size_t skip;       /* so many are passed over before the cap that are kept; count counts them */
  quern_span *spans; /* the bytes of the text that each came from; asking for them makes encoding slower */
} qn_ids;            /* types and spans may be NULL */

/* Ids of one text without special tokens; appended to out with type `type`. Input of any length and content; memory on
 * the stack only (60 KiB of BPE and unigrams, 92 with spans). Both refuse, as QUERN_E_UNSUPPORTED, a word of more than 2,048 bytes that its
 * merges, or scores, tie together over more than 1,024: no vocabulary of a model is known that does (bpe.c, unigram.c). */
quern_status qn_tokenizer_encode(const qn_tokenizer *t, const char *utf8, size_t len, int32_t type, qn_ids *out);
/* The same, with ranges in which no special token is recognized, as what a user of a chat says: a match that touches
 * one is none. Of WordPiece those that are matched in normalized text are recognized everywhere. */
typedef struct qn_text {
  const char *utf8;
  size_t bytes;
  const quern_span *plain; /* [plain_count] ascending */
  size_t plain_count;
} qn_text;
quern_status qn_tokenizer_encode_text(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out);
/* Length of the template's special tokens: single (pair 0) or pair (1). */
uint32_t qn_tokenizer_specials(const qn_tokenizer *t, int pair);
/* One more than the highest token type that the template gives. */
uint32_t qn_tokenizer_types(const qn_tokenizer *t, int pair);
/* How many ids the template puts before those of the first text, or of the second; the other one has `other`. */
size_t qn_tokenizer_before(const qn_tokenizer *t, int pair, int second, size_t other);
/* Template applied to one or two already encoded texts (b NULL: single); out->spans and out->skip are not looked at. */
quern_status qn_tokenizer_template(const qn_tokenizer *t, const int32_t *a, size_t na, const int32_t *b, size_t nb,
                                   int pair, qn_ids *out);
/* is `id` one of the special tokens (left out by detokenize)? */
int qn_tokenizer_is_special(const qn_tokenizer *t, int32_t id);
/* Text of ids, joined as the model's decoder does, in valid UTF-8: bytes that are none become U+FFFD. *len: bytes needed
   without NUL, set also with QUERN_E_CAPACITY; with cap 0, buf may be NULL, and only *len is asked for. Ids without a token
   are left out. */
quern_status qn_tokenizer_decode(const qn_tokenizer *t, const int32_t *ids, size_t n, int keep_special, char *buf,
                                 size_t cap, size_t *len);

/* The same id by id: what the calls give, joined, is exactly what qn_tokenizer_decode gives, and each gives whole
   characters. A plain struct that may be copied; one thread at a time. */
typedef struct qn_detokenizer {
  const qn_tokenizer *t;
  int keep_special;
  uint32_t when; /* QN_TEXT_*: what has come */
  uint32_t held; /* bytes of a character that is not complete */
  uint8_t bytes[4];
} qn_detokenizer;
void qn_detokenizer_begin(qn_detokenizer *d, const qn_tokenizer *t, int keep_special);
/* Text that is complete with this id, NUL behind it; *len: bytes without NUL. With QUERN_E_CAPACITY *len is what it needs and
   nothing has changed. A buffer of QN_DETOKENIZER_BYTES always suffices. */
#define QN_DETOKENIZER_BYTES 3200u /* 3 for each byte of a token and of what is held, a blank, a NUL */
quern_status qn_detokenizer_feed(qn_detokenizer *d, int32_t id, char *buf, size_t cap, size_t *len);
/* The same of what is left when no id follows. */
quern_status qn_detokenizer_end(qn_detokenizer *d, char *buf, size_t cap, size_t *len);

/* ---- building the section (quantize) ---- */
/* tokenizer_json: parsed tokenizer.json, or NULL; then vocab_txt (one token a line) is used with tokenizer_config
   (do_lower_case, strip_accents, tokenize_chinese_chars, cls_token, sep_token, ...; NULL: BERT's defaults). Unsupported
   kinds (not WordPiece with BERT normalization and pre-tokenization) are QUERN_E_UNSUPPORTED and named. model_vocab:
   rows of the embedding table: an id at or above it is QUERN_E_SOURCE. */
quern_status qn_tokenizer_build(qn_env *env, const qn_json *tokenizer_json, const char *vocab_txt, size_t vocab_bytes,
                                const qn_json *tokenizer_config, uint32_t model_vocab, qn_buffer *section);

/* A tokenizer as a list of tokens by id: what a GGUF's metadata says. All texts stay the caller's and are looked at during the
   build only. */
typedef struct qn_listed_token {
  const char *
      text; /* as vocabularies spell it: byte-level alphabet; U+2581 for blanks and, of WordPiece, for a word's start */
  size_t bytes;
  float score; /* CHAR_BPE, UNIGRAM */
  uint32_t type;
} qn_listed_token;
#define QN_LISTED_NORMAL 1u
#define QN_LISTED_UNKNOWN 2u
#define QN_LISTED_CONTROL 3u /* special */
#define QN_LISTED_USER 4u    /* found in text as it is written */
#define QN_LISTED_BYTE 6u

typedef struct qn_token_list {
  uint32_t kind; /* QN_TOKENIZER_* */
  const qn_listed_token *tokens;
  size_t count;
  const qn_listed_token *merges; /* texts "left right" by rank; NULL: CHAR_BPE's by the scores of what they make */
  size_t merge_count;
  const char *words;              /* BYTE_BPE: how words are found: "gpt2", "llama3", "qwen2" */
  int digits, nfc, ignore_merges; /* BYTE_BPE: each digit alone; text in NFC; a word that is a token is that token */
  int blank;                      /* CHAR_BPE, UNIGRAM: a blank before the text */
  int strip;                      /* UNIGRAM: blanks at its ends are left out, and of several side by side one stays */
  const void *charsmap;           /* UNIGRAM: [charsmap_bytes] a precompiled character map; bytes 0: none */
  size_t charsmap_bytes;
  int64_t unk, begin, end; /* ids; -1: none; of WordPiece [CLS] and [SEP] */
  int add_begin, add_end;  /* around each text; WordPiece has both */
} qn_token_list;
/* A list that contradicts itself is QUERN_E_SOURCE; one that is not supported QUERN_E_UNSUPPORTED. model_vocab as above. */
quern_status qn_tokenizer_build_list(qn_env *env, const qn_token_list *list, uint32_t model_vocab, qn_buffer *section);
#endif
