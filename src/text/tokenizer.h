/* tokenizer.h - text to token ids and back, over tables read in place from the TOKENIZER section of a .qrn file.
 * Nothing is built at load: the section holds the hash tables. Every index from the section is checked when it is used,
 * so a damaged section gives wrong ids or a status, never a fault. Read-only after open: any number of threads. */
#ifndef QN_TOKENIZER_H
#define QN_TOKENIZER_H
#include "base/env.h"
#include "base/json.h"

#define QN_TOKENIZER_WORDPIECE 1u

typedef struct qn_tokenizer {
  qn_env *env;
  const uint8_t *data; /* the section */
  size_t bytes;
  uint32_t kind, vocab; /* ids are 0 ... vocab - 1 */
  /* the rest is the implementation's: pointers into the section, checked at open */
  const void *tables[12];
  uint64_t sizes[12];
} qn_tokenizer;

/* Checks sizes and offsets of the tables (not their contents). data: 64-byte aligned. */
quern_status qn_tokenizer_open(qn_tokenizer *t, qn_env *env, const void *data, size_t bytes);

/* Where ids go as they come. */
typedef struct qn_ids {
  int32_t *ids;
  int32_t *types;
  size_t cap, count; /* count goes on past cap */
  size_t skip;       /* so many are passed over before the cap that are kept; count counts them */
  quern_span *spans; /* the bytes of the text that each came from; asking for them makes encoding slower */
} qn_ids;            /* types and spans may be NULL */

/* Ids of one text without special tokens; appended to out with type `type`. Input of any length and content; memory on
 * the stack only. */
quern_status qn_tokenizer_encode(const qn_tokenizer *t, const char *utf8, size_t len, int32_t type, qn_ids *out);
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
/* Text of ids, joined as the model's decoder does. *len: bytes needed without NUL, set also with QUERN_E_CAPACITY; with
   cap 0, buf may be NULL, and only *len is asked for. Ids without a token are left out. */
quern_status qn_tokenizer_decode(const qn_tokenizer *t, const int32_t *ids, size_t n, int keep_special, char *buf,
                                 size_t cap, size_t *len);

/* ---- building the section (quantize) ---- */
/* tokenizer_json: parsed tokenizer.json, or NULL; then vocab_txt (one token a line) is used with tokenizer_config
   (do_lower_case, strip_accents, tokenize_chinese_chars, cls_token, sep_token, ...; NULL: BERT's defaults). Unsupported
   kinds (not WordPiece with BERT normalization and pre-tokenization) are QUERN_E_UNSUPPORTED and named. model_vocab:
   rows of the embedding table: an id at or above it is QUERN_E_SOURCE. */
quern_status qn_tokenizer_build(qn_env *env, const qn_json *tokenizer_json, const char *vocab_txt, size_t vocab_bytes,
                                const qn_json *tokenizer_config, uint32_t model_vocab, qn_buffer *section);
#endif
