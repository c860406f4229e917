/* tokenizer_build.h - a tokenizer as its source files tell it, on the way to a TOKENIZER section. One thread;
 * texts point into the sources, which outlive it. */
#ifndef QN_TOKENIZER_BUILD_H
#define QN_TOKENIZER_BUILD_H
#include "base/json.h"
#include "text/tables.h"

typedef struct tok_entry {
  const char *text;
  uint32_t bytes;
  uint8_t flags;    /* QN_TOKEN_SPECIAL, _PRESENT */
  uint8_t in_model; /* may be a piece of a word; else an added token only */
  uint8_t is_added;
  uint32_t at, stored; /* in the pool: where, and bytes; the writer's */
} tok_entry;

typedef struct tok_merge {
  uint32_t left, right, result;
} tok_merge;

typedef struct tok_spec {
  qn_env *env;
  uint32_t kind;  /* QN_TOKENIZER_* */
  uint32_t flags; /* of the kind: QN_WP_* or QN_BPE_* */
  uint32_t unk, max_word_chars;
  const char *prefix;
  uint32_t prefix_bytes;
  tok_entry *tokens;   /* [cap] by id */
  uint32_t cap, vocab; /* the most ids there may be; the highest id + 1 */
  uint32_t *index;     /* [index_size] hash table of texts: ids, QN_TOK_EMPTY */
  uint32_t index_size; /* a power of two */
  qn_added *added;     /* [added_cap] id and flags; the rest is the writer's */
  uint32_t added_count, added_cap;
  qn_template_item single[QN_TOK_MAX_TEMPLATE], pair[QN_TOK_MAX_TEMPLATE];
  uint32_t single_count, pair_count;
  /* of BPE */
  tok_merge *merges; /* [merge_cap] by rank */
  size_t merge_count, merge_cap;
  uint32_t words;     /* QN_WORDS_* */
  int ignore_merges;  /* a word that is a token is that token, whatever merging gives */
  int byte_fallback;  /* CHAR_BPE: characters that are no token become their bytes' tokens */
  double *scores;     /* [cap] of Unigram */
  qn_buffer charsmap; /* of Unigram: its precompiled character map */
  int late_blanks;    /* blanks are put and escaped after added tokens are found */
} tok_spec;

/* model_vocab: rows of the embedding; added_cap: the most added tokens. */
quern_status qn_spec_init(tok_spec *s, qn_env *env, uint32_t model_vocab, size_t added_cap);
void qn_spec_free(tok_spec *s);
/* Id of a text, or QN_TOK_EMPTY. */
uint32_t qn_spec_find(const tok_spec *s, const char *text, size_t bytes);
/* Fails on an id out of range or taken, a text that is there already or longer than QN_TOK_MAX_TOKEN_BYTES. */
quern_status qn_spec_token(tok_spec *s, const char *text, size_t bytes, int64_t id, int in_model);
/* A token that is looked for in the text before words are; one that the model lacks gets the id. flags:
   QN_ADDED_SINGLE_WORD, ... */
quern_status qn_spec_added(tok_spec *s, const char *text, size_t bytes, int64_t id, int special, uint32_t flags);
/* One item of both templates' kind; fails when the template is full. */
quern_status qn_spec_item(tok_spec *s, int pair, uint32_t what, uint32_t type);
/* cls A sep, and: cls A sep B sep, the second text and its sep of type 1 | cls A sep sep B sep, all of type 0. */
quern_status qn_spec_classic(tok_spec *s, uint32_t cls, uint32_t sep, int double_sep);

/* Makes room for merges; then adds the next by rank: fails where the two texts or their joined text are no tokens. */
quern_status qn_spec_merges(tok_spec *s, size_t count);
quern_status qn_spec_merge(tok_spec *s, const char *left, size_t left_bytes, const char *right, size_t right_bytes);

/* Room for the scores of Unigram; whether what is in s->charsmap is a character map. */
quern_status qn_spec_scores(tok_spec *s);
quern_status qn_spec_check_charsmap(tok_spec *s);

quern_status qn_spec_read_json(tok_spec *s, const qn_json *j);
quern_status qn_spec_read_vocab(tok_spec *s, const char *text, size_t bytes, const qn_json *config);
quern_status qn_wp_write(tok_spec *s, qn_buffer *section);
quern_status qn_unigram_write(tok_spec *s, qn_buffer *section);
/* By the kind of s. */
quern_status qn_spec_write(tok_spec *s, qn_buffer *section);
quern_status qn_bpe_write(tok_spec *s, qn_buffer *section);
#endif
