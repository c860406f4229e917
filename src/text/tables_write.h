/* tables_write.h - the tables that all kinds of tokenizer have in common, written: what wordpiece_write.c and bpe_write.c
 * begin and end with. The same description gives the same bytes. One thread. */
#ifndef QN_TABLES_WRITE_H
#define QN_TABLES_WRITE_H
#include "text/tokenizer_build.h"

typedef struct qn_tables_writer qn_tables_writer;
struct qn_tables_writer {
  tok_spec *s;
  const qn_tokenizer_kind *kind;
  qn_tok_header h; /* vocab, added, templates: set by begin; the rest as it becomes known */
  qn_buffer pool,
      patterns;    /* patterns: of added tokens, where they differ from the token's text; they follow the pool */
  uint32_t *order; /* [added] */
  uint8_t *out;    /* the section, zeros before it is filled */
  size_t bytes;
  uint64_t offset[QN_TOKENIZER_TABLES], size[QN_TOKENIZER_TABLES];
  /* Appends the pattern by which an added token is looked for to w->patterns; *chars: its code points. */
  quern_status (*pattern)(qn_tables_writer *w, const tok_entry *k, uint32_t *chars);
};

quern_status qn_tables_begin(qn_tables_writer *w, tok_spec *s, const qn_tokenizer_kind *kind);
/* The next token's text into the pool; in the order of ids. */
quern_status qn_tables_put(qn_tables_writer *w, tok_entry *k, const void *text, size_t bytes);
/* Patterns of the added tokens, behind all tokens; the size of a hash table of so many keys. */
quern_status qn_tables_put_added(qn_tables_writer *w, uint64_t keys);
/* Lays the tables out by the header, w->h or one that begins with it, and fills: header, offsets, flags of tokens, pool,
   added tokens, templates, the bytes that start an added token, and an empty hash table. */
quern_status qn_tables_fill(qn_tables_writer *w, const qn_tok_header *header);
/* A key into the hash table: its id with the other bits of the slot. end: its ended hash. */
quern_status qn_tables_insert(qn_tables_writer *w, uint32_t slot, uint64_t end);
/* The header again, with what inserting found, and the section handed over. */
quern_status qn_tables_finish(qn_tables_writer *w, qn_buffer *section);
void qn_tables_free(qn_tables_writer *w);
/* Of vocabularies of SentencePiece: the byte that "<0xAB>" stands for, or 256; a text with blanks for U+2581. */
uint32_t qn_bpe_named_byte(const tok_entry *k);
void qn_bpe_as_blanks(const tok_entry *k, uint8_t *out, uint32_t *n);
static inline void *qn_tables_at(const qn_tables_writer *w, uint32_t table) { return w->out + w->offset[table]; }
#endif
