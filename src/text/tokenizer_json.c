/* tokenizer_json.c - reads a tokenizer.json: WordPiece with BERT's normalization and splitting, and what all kinds have
 * in common; bpe_json.c has the rest of BPE, unigram_json.c of Unigram. Other kinds are refused by name. Truncation and padding settings are not
 * read. One thread. */
#include "text/tokenizer_json.h"
#include <string.h>
#include "text/wordpiece.h"

quern_status qn_tj_malformed(tok_spec *s, const char *what) {
  return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: %s", what);
}

quern_status qn_tj_unsupported(tok_spec *s, const char *part, const char *kind, const char *known) {
  return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported; supported: %s", part,
                 kind, known);
}

/* Value of an object's key; null counts as absent. Keys are compared with their length: they may hold a NUL. */
static uint32_t get(const qn_json *j, uint32_t object, const char *key, size_t bytes) {
  uint32_t found = 0;
  if (j->nodes[object].kind != QN_JSON_OBJECT) return 0;
  for (uint32_t k = object + 1; k < j->nodes[object].next; k = j->nodes[k + 1].next)
    if (j->nodes[k].bytes == bytes && memcmp(j->nodes[k].string, key, bytes) == 0) found = k + 1;
  return found && j->nodes[found].kind != QN_JSON_NULL ? found : 0;
}

uint32_t qn_tj_member(const qn_json *j, uint32_t object, const char *key) { return get(j, object, key, strlen(key)); }

int qn_tj_is(const qn_json *j, uint32_t node, qn_json_kind kind) { return node != 0 && j->nodes[node].kind == kind; }

/* An integer node as an id; -1 when it is none. */
int64_t qn_tj_id(const qn_json *j, uint32_t node) {
  if (!qn_tj_is(j, node, QN_JSON_NUMBER)) return -1;
  double v = j->nodes[node].number;
  return v >= 0 && v < 4294967296.0 && v == (double)(int64_t)v ? (int64_t)v : -1;
}

/* A member that is true, false, or absent (otherwise). */
quern_status qn_tj_flag(tok_spec *s, const qn_json *j, uint32_t object, const char *key, int otherwise, int *out) {
  uint32_t node = qn_tj_member(j, object, key);
  *out = otherwise;
  if (!node) return QUERN_OK;
  if (j->nodes[node].kind != QN_JSON_TRUE && j->nodes[node].kind != QN_JSON_FALSE)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: \"%s\" is neither true nor false", key);
  *out = j->nodes[node].kind == QN_JSON_TRUE;
  return QUERN_OK;
}

/* A component's "type", unwrapped from a "Sequence" of one. *node becomes 0 when there is none. */
quern_status qn_tj_type(tok_spec *s, const qn_json *j, const char *part, const char *list, uint32_t *node,
                        const char **type) {
  *node = qn_tj_member(j, *node, part);
  *type = "none";
  if (*node == 0) return QUERN_OK;
  *type = qn_json_string(j, *node, "type", NULL);
  if (!*type) return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: \"%s\" has no \"type\"", part);
  uint32_t items = strcmp(*type, "Sequence") == 0 ? qn_tj_member(j, *node, list) : 0;
  if (qn_tj_is(j, items, QN_JSON_ARRAY) && j->nodes[items].count == 1) {
    *node = items + 1;
    *type = qn_json_string(j, *node, "type", "none");
  }
  return QUERN_OK;
}

int qn_tj_is_text(const qn_json *j, uint32_t node, const char *text) {
  return qn_tj_is(j, node, QN_JSON_STRING) && j->nodes[node].bytes == strlen(text) &&
         memcmp(j->nodes[node].string, text, j->nodes[node].bytes) == 0;
}

const char *qn_tj_type_of(const qn_json *j, uint32_t node) { return qn_json_string(j, node, "type", "none"); }
int qn_tj_is_type(const qn_json *j, uint32_t node, const char *type) {
  return strcmp(qn_tj_type_of(j, node), type) == 0;
}

quern_status qn_tj_get_steps(tok_spec *s, const qn_json *j, const char *part, const char *list, qn_tj_steps *out) {
  const uint32_t node = qn_tj_member(j, 0, part);
  *out = (qn_tj_steps){0};
  if (!node) return QUERN_OK;
  if (!qn_tj_is_type(j, node, "Sequence")) {
    out->node[out->n++] = node;
    return QUERN_OK;
  }
  const uint32_t items = qn_tj_member(j, node, list);
  if (!qn_tj_is(j, items, QN_JSON_ARRAY))
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: the sequence of \"%s\" is no array", part);
  for (uint32_t k = items + 1; k < j->nodes[items].next; k = j->nodes[k].next) {
    if (out->n == 4)
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer.json: a sequence of more than 4 in \"%s\"", part);
    out->node[out->n++] = k;
  }
  return QUERN_OK;
}

quern_status qn_tj_vocab(tok_spec *s, const qn_json *j, uint32_t model) {
  const uint32_t vocab = qn_tj_member(j, model, "vocab");
  if (!qn_tj_is(j, vocab, QN_JSON_OBJECT)) return qn_tj_malformed(s, "\"model.vocab\" is missing or no object");
  for (uint32_t k = vocab + 1; k < j->nodes[vocab].next; k = j->nodes[k + 1].next) {
    if (!qn_tj_is(j, k + 1, QN_JSON_NUMBER)) return qn_tj_malformed(s, "an id in \"model.vocab\" is no number");
    QN_TRY(qn_spec_token(s, j->nodes[k].string, j->nodes[k].bytes, qn_tj_id(j, k + 1), 1));
  }
  return QUERN_OK;
}

static quern_status read_wordpiece(tok_spec *s, const qn_json *j, uint32_t model) {
  uint32_t node;
  s->kind = QN_TOKENIZER_WORDPIECE;
  if ((node = qn_tj_member(j, model, "continuing_subword_prefix"))) {
    if (!qn_tj_is(j, node, QN_JSON_STRING) || j->nodes[node].bytes > QN_TOK_MAX_TOKEN_BYTES)
      return qn_tj_malformed(s, "\"continuing_subword_prefix\" is no short string");
    s->prefix = j->nodes[node].string;
    s->prefix_bytes = j->nodes[node].bytes;
  }
  if ((node = qn_tj_member(j, model, "max_input_chars_per_word"))) {
    int64_t chars = qn_tj_id(j, node);
    if (chars < 1) return qn_tj_malformed(s, "\"max_input_chars_per_word\" is no positive integer");
    if (chars > QN_WP_MAX_WORD_CHARS)
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                     "tokenizer.json: \"max_input_chars_per_word\" is %lld; at most %u is supported", (long long)chars,
                     QN_WP_MAX_WORD_CHARS);
    s->max_word_chars = (uint32_t)chars;
  }
  QN_TRY(qn_tj_vocab(s, j, model));
  node = qn_tj_member(j, model, "unk_token");
  const char *unk = qn_tj_is(j, node, QN_JSON_STRING) ? j->nodes[node].string : "[UNK]";
  s->unk = qn_spec_find(s, unk, node ? j->nodes[node].bytes : 5);
  if (s->unk == QN_TOK_EMPTY)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: the vocabulary lacks the unknown token \"%s\"",
                   unk);
  return QUERN_OK;
}

static quern_status read_model(tok_spec *s, const qn_json *j) {
  const uint32_t model = qn_tj_member(j, 0, "model");
  if (!qn_tj_is(j, model, QN_JSON_OBJECT)) return qn_tj_malformed(s, "\"model\" is missing or no object");
  const char *type = qn_json_string(j, model, "type", "none");
  if (strcmp(type, "WordPiece") == 0) return read_wordpiece(s, j, model);
  if (strcmp(type, "BPE") == 0) return qn_bpe_read_model(s, j, model);
  if (strcmp(type, "Unigram") == 0) return qn_unigram_read_model(s, j, model);
  return qn_tj_unsupported(s, "model type", type, "WordPiece, BPE, Unigram");
}

static quern_status read_added(tok_spec *s, const qn_json *j) {
  uint32_t list = qn_tj_member(j, 0, "added_tokens");
  if (!list) return QUERN_OK;
  if (!qn_tj_is(j, list, QN_JSON_ARRAY)) return qn_tj_malformed(s, "\"added_tokens\" is no array");
  for (uint32_t k = list + 1; k < j->nodes[list].next; k = j->nodes[k].next) {
    uint32_t text = qn_tj_member(j, k, "content"), flags = 0;
    int special, value;
    if (!qn_tj_is(j, text, QN_JSON_STRING)) return qn_tj_malformed(s, "an added token has no \"content\"");
    int64_t id = qn_tj_id(j, qn_tj_member(j, k, "id"));
    if (id < 0) return qn_tj_malformed(s, "an added token's \"id\" is no integer from 0");
    QN_TRY(qn_tj_flag(s, j, k, "special", 0, &special));
    static const struct {
      const char *key;
      uint32_t flag;
    } known[] = {{"single_word", QN_ADDED_SINGLE_WORD},
                 {"lstrip", QN_ADDED_LSTRIP},
                 {"rstrip", QN_ADDED_RSTRIP},
                 {"normalized", QN_ADDED_NORMALIZED}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
      int otherwise = known[i].flag == QN_ADDED_NORMALIZED && !special;
      QN_TRY(qn_tj_flag(s, j, k, known[i].key, otherwise, &value));
      if (value) flags |= known[i].flag;
    }
    if (s->kind != QN_TOKENIZER_WORDPIECE && id >= s->cap) {
      qn_log(s->env, 1, "tokenizer.json: added token \"%s\" has id %lld, which the embedding lacks: it is left out",
             j->nodes[text].string, (long long)id);
      continue;
    }
    QN_TRY(qn_spec_added(s, j->nodes[text].string, j->nodes[text].bytes, id, special, flags));
  }
  return QUERN_OK;
}

static quern_status read_text_rules(tok_spec *s, const qn_json *j) {
  const char *type;
  uint32_t node = 0;
  QN_TRY(qn_tj_type(s, j, "normalizer", "normalizers", &node, &type));
  if (node) {
    if (strcmp(type, "BertNormalizer") != 0) return qn_tj_unsupported(s, "normalizer", type, "BertNormalizer, none");
    int clean, chinese, lower, strip;
    QN_TRY(qn_tj_flag(s, j, node, "clean_text", 1, &clean));
    QN_TRY(qn_tj_flag(s, j, node, "handle_chinese_chars", 1, &chinese));
    QN_TRY(qn_tj_flag(s, j, node, "lowercase", 1, &lower));
    QN_TRY(qn_tj_flag(s, j, node, "strip_accents", lower, &strip));
    s->flags |= (clean ? QN_WP_CLEAN : 0) | (chinese ? QN_WP_CHINESE : 0) | (lower ? QN_WP_LOWER : 0) |
                (strip ? QN_WP_STRIP : 0);
  }
  node = 0;
  QN_TRY(qn_tj_type(s, j, "pre_tokenizer", "pretokenizers", &node, &type));
  if (strcmp(type, "BertPreTokenizer") != 0) return qn_tj_unsupported(s, "pre-tokenizer", type, "BertPreTokenizer");
  node = 0;
  QN_TRY(qn_tj_type(s, j, "decoder", "decoders", &node, &type));
  if (node) {
    if (strcmp(type, "WordPiece") != 0) return qn_tj_unsupported(s, "decoder", type, "WordPiece, none");
    int cleanup;
    QN_TRY(qn_tj_flag(s, j, node, "cleanup", 1, &cleanup));
    s->flags |= QN_WP_DECODER | (cleanup ? QN_WP_CLEANUP : 0);
    uint32_t prefix = qn_tj_member(j, node, "prefix");
    if (prefix && (!qn_tj_is(j, prefix, QN_JSON_STRING) || j->nodes[prefix].bytes != s->prefix_bytes ||
                   memcmp(j->nodes[prefix].string, s->prefix, s->prefix_bytes) != 0))
      return qn_tj_unsupported(s, "decoder prefix", "other than the model's", "the same prefix in both");
  }
  return QUERN_OK;
}

/* An item like ["[SEP]", 102]. */
static quern_status read_named_id(tok_spec *s, const qn_json *j, uint32_t object, const char *key, uint32_t *id) {
  uint32_t node = qn_tj_member(j, object, key);
  if (!qn_tj_is(j, node, QN_JSON_ARRAY) || j->nodes[node].count != 2)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: \"%s\" of the post-processor is no pair", key);
  int64_t v = qn_tj_id(j, j->nodes[node + 1].next);
  if (v < 0 || v >= s->vocab)
    return qn_fail(&s->env->error, QUERN_E_SOURCE,
                   "tokenizer.json: \"%s\" of the post-processor is no id of the vocabulary", key);
  *id = (uint32_t)v;
  return QUERN_OK;
}

static quern_status read_special_item(tok_spec *s, const qn_json *j, uint32_t specials, int pair, uint32_t name,
                                      uint32_t type) {
  uint32_t entry = get(j, specials, j->nodes[name].string, j->nodes[name].bytes);
  uint32_t ids = entry ? qn_tj_member(j, entry, "ids") : 0;
  if (!qn_tj_is(j, ids, QN_JSON_ARRAY))
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: the template's token \"%s\" is not defined",
                   j->nodes[name].string);
  for (uint32_t k = ids + 1; k < j->nodes[ids].next; k = j->nodes[k].next) {
    int64_t id = qn_tj_id(j, k);
    if (id < 0 || id >= s->vocab) return qn_tj_malformed(s, "the template has an id that is not in the vocabulary");
    QN_TRY(qn_spec_item(s, pair, (uint32_t)id, type));
  }
  return QUERN_OK;
}

static quern_status read_template(tok_spec *s, const qn_json *j, uint32_t processor, int pair) {
  uint32_t list = qn_tj_member(j, processor, pair ? "pair" : "single"), seen[2] = {0, 0};
  uint32_t specials = qn_tj_member(j, processor, "special_tokens");
  if (!qn_tj_is(j, list, QN_JSON_ARRAY)) return qn_tj_malformed(s, "a template is no array");
  for (uint32_t k = list + 1; k < j->nodes[list].next; k = j->nodes[k].next) {
    uint32_t special = qn_tj_member(j, k, "SpecialToken"), sequence = qn_tj_member(j, k, "Sequence");
    uint32_t item = special ? special : sequence, name = item ? qn_tj_member(j, item, "id") : 0;
    int64_t type = item ? qn_tj_id(j, qn_tj_member(j, item, "type_id")) : -1;
    if (!qn_tj_is(j, name, QN_JSON_STRING) || type < 0 || type > INT32_MAX)
      return qn_tj_malformed(s, "an item of a template is malformed");
    if (special) {
      QN_TRY(read_special_item(s, j, specials, pair, name, (uint32_t)type));
      continue;
    }
    uint32_t second = strcmp(j->nodes[name].string, "B") == 0;
    if ((!second && strcmp(j->nodes[name].string, "A") != 0) || seen[second] || (second && !pair))
      return qn_tj_malformed(s, "a template must name A, and a pair's B, once each");
    seen[second] = 1;
    QN_TRY(qn_spec_item(s, pair, QN_TEMPLATE_TEXT + second, (uint32_t)type));
  }
  if (!seen[0] || (pair && !seen[1])) return qn_tj_malformed(s, "a template must name A, and a pair's B, once each");
  return QUERN_OK;
}

static quern_status read_processor(tok_spec *s, const qn_json *j) {
  const char *type;
  uint32_t node = 0, cls, sep;
  QN_TRY(qn_tj_type(s, j, "post_processor", "processors", &node, &type));
  const uint32_t list = node ? qn_tj_member(j, node, "processors") : 0;
  if (s->kind == QN_TOKENIZER_BYTE_BPE && strcmp(type, "Sequence") == 0 && qn_tj_is(j, list, QN_JSON_ARRAY) &&
      j->nodes[list].count == 2) { /* one of ByteLevel, which changes no id, and another */
    const uint32_t one = list + 1, other = j->nodes[one].next;
    node = strcmp(qn_json_string(j, one, "type", ""), "ByteLevel") == 0 ? other : one;
    if (strcmp(qn_json_string(j, node == one ? other : one, "type", ""), "ByteLevel") == 0)
      type = qn_json_string(j, node, "type", "none");
  }
  if (!node || (s->kind == QN_TOKENIZER_BYTE_BPE && strcmp(type, "ByteLevel") == 0)) {
    QN_TRY(qn_spec_item(s, 0, QN_TEMPLATE_TEXT, 0));
    QN_TRY(qn_spec_item(s, 1, QN_TEMPLATE_TEXT, 0));
    return qn_spec_item(s, 1, QN_TEMPLATE_TEXT + 1, 1);
  }
  if (strcmp(type, "TemplateProcessing") == 0) {
    QN_TRY(read_template(s, j, node, 0));
    return read_template(s, j, node, 1);
  }
  int roberta = strcmp(type, "RobertaProcessing") == 0;
  if (!roberta && strcmp(type, "BertProcessing") != 0)
    return qn_tj_unsupported(s, "post-processor", type, "TemplateProcessing, BertProcessing, RobertaProcessing, none");
  QN_TRY(read_named_id(s, j, node, "cls", &cls));
  QN_TRY(read_named_id(s, j, node, "sep", &sep));
  return qn_spec_classic(s, cls, sep, roberta);
}

quern_status qn_spec_read_json(tok_spec *s, const qn_json *j) {
  if (j->nodes[0].kind != QN_JSON_OBJECT) return qn_tj_malformed(s, "not an object");
  QN_TRY(read_model(s, j));
  QN_TRY(read_added(s, j));
  QN_TRY(s->kind == QN_TOKENIZER_WORDPIECE ? read_text_rules(s, j)
         : s->kind == QN_TOKENIZER_UNIGRAM ? qn_unigram_read_rules(s, j)
                                           : qn_bpe_read_rules(s, j));
  return read_processor(s, j);
}
