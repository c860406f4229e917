/* wordpiece_build.h - a WordPiece tokenizer as its source files tell it, on the way to a TOKENIZER section. One thread;
 * texts point into the sources, which outlive it. */
#ifndef QN_WORDPIECE_BUILD_H
#define QN_WORDPIECE_BUILD_H
#include "base/json.h"
#include "text/wordpiece.h"

typedef struct wp_token {
  const char *text;
  uint32_t bytes;
  uint8_t flags;    /* QN_WP_TOKEN_SPECIAL, _PRESENT */
  uint8_t in_model; /* may be a piece of a word; else an added token only */
  uint8_t is_added;
  uint32_t at; /* in the pool; the writer's */
} wp_token;

typedef struct wp_spec {
  qn_env *env;
  uint32_t flags; /* QN_WP_CLEAN ... QN_WP_CLEANUP */
  uint32_t unk, max_word_chars;
  const char *prefix;
  uint32_t prefix_bytes;
  wp_token *tokens;    /* [cap] by id */
  uint32_t cap, vocab; /* the most ids there may be; the highest id + 1 */
  uint32_t *index;     /* [index_size] hash table of texts: ids, QN_WP_EMPTY */
  uint32_t index_size; /* a power of two */
  qn_wp_added *added;  /* [added_cap] id and flags; the rest is the writer's */
  uint32_t added_count, added_cap;
  qn_wp_item single[QN_WP_MAX_TEMPLATE], pair[QN_WP_MAX_TEMPLATE];
  uint32_t single_count, pair_count;
} wp_spec;

/* model_vocab: rows of the embedding; added_cap: the most added tokens. */
quern_status qn_wp_spec_init(wp_spec *s, qn_env *env, uint32_t model_vocab, size_t added_cap);
void qn_wp_spec_free(wp_spec *s);
/* Id of a text, or QN_WP_EMPTY. */
uint32_t qn_wp_spec_find(const wp_spec *s, const char *text, size_t bytes);
/* Fails on an id out of range or taken, a text that is there already or longer than QN_WP_MAX_TOKEN_BYTES. */
quern_status qn_wp_spec_token(wp_spec *s, const char *text, size_t bytes, int64_t id, int in_model);
/* A token that is looked for in the text before words are; one that the model lacks gets the id. flags:
   QN_WP_SINGLE_WORD, ... */
quern_status qn_wp_spec_added(wp_spec *s, const char *text, size_t bytes, int64_t id, int special, uint32_t flags);
/* One item of both templates' kind; fails when the template is full. */
quern_status qn_wp_spec_item(wp_spec *s, int pair, uint32_t what, uint32_t type);
/* cls A sep, and: cls A sep B sep, the second text and its sep of type 1 | cls A sep sep B sep, all of type 0. */
quern_status qn_wp_spec_classic(wp_spec *s, uint32_t cls, uint32_t sep, int double_sep);

quern_status qn_wp_read_json(wp_spec *s, const qn_json *j);
quern_status qn_wp_read_vocab(wp_spec *s, const char *text, size_t bytes, const qn_json *config);
quern_status qn_wp_write(wp_spec *s, qn_buffer *section);
#endif
