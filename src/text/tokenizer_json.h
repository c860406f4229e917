/* tokenizer_json.h - what the readers of a tokenizer.json's kinds share. One thread. */
#ifndef QN_TOKENIZER_JSON_H
#define QN_TOKENIZER_JSON_H
#include "text/tokenizer_build.h"

quern_status qn_tj_malformed(tok_spec *s, const char *what);
quern_status qn_tj_unsupported(tok_spec *s, const char *part, const char *kind, const char *known);
/* Value of an object's key; null counts as absent: 0. */
uint32_t qn_tj_member(const qn_json *j, uint32_t object, const char *key);
int qn_tj_is(const qn_json *j, uint32_t node, qn_json_kind kind);
/* An integer node as an id; -1 when it is none. */
int64_t qn_tj_id(const qn_json *j, uint32_t node);
/* A member that is true, false, or absent (otherwise). */
quern_status qn_tj_flag(tok_spec *s, const qn_json *j, uint32_t object, const char *key, int otherwise, int *out);
/* A component's "type", unwrapped from a "Sequence" of one. *node: the object it is a member of, then the component's
   node; 0 when there is none. */
quern_status qn_tj_type(tok_spec *s, const qn_json *j, const char *part, const char *list, uint32_t *node,
                        const char **type);
/* The model's vocabulary, into s. */
quern_status qn_tj_vocab(tok_spec *s, const qn_json *j, uint32_t model);

#define QN_ESCAPE "\xE2\x96\x81" /* U+2581, SentencePiece's blank */
/* Is the node that string? */
int qn_tj_is_text(const qn_json *j, uint32_t node, const char *text);
/* A component's "type". */
const char *qn_tj_type_of(const qn_json *j, uint32_t node);
int qn_tj_is_type(const qn_json *j, uint32_t node, const char *type);
/* The nodes of a component's steps: of a sequence, or of one alone. */
typedef struct qn_tj_steps {
  uint32_t node[4], n;
} qn_tj_steps;
quern_status qn_tj_get_steps(tok_spec *s, const qn_json *j, const char *part, const char *list, qn_tj_steps *out);

/* The model of type BPE, before added tokens are read; and the rules by which text is normalized, split and joined. */
quern_status qn_bpe_read_model(tok_spec *s, const qn_json *j, uint32_t model);
quern_status qn_bpe_read_rules(tok_spec *s, const qn_json *j);
/* Of both, the last of these rules. */
quern_status qn_bpe_read_decoder(tok_spec *s, const qn_json *j);
/* The same of type Unigram. */
quern_status qn_unigram_read_model(tok_spec *s, const qn_json *j, uint32_t model);
quern_status qn_unigram_read_rules(tok_spec *s, const qn_json *j);
#endif
