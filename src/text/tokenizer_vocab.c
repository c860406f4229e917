/* tokenizer_vocab.c - reads a vocab.txt, one token a line, with the settings of tokenizer_config.json, as BERT's own
 * tokenizer does. One thread. */
#include <string.h>
#include "base/utf8.h"
#include "text/tokenizer_build.h"
#include "text/wordpiece.h"

typedef struct vocab_role {
  const char *key, *otherwise;
  int required;
} vocab_role;

/* The text of a token setting: a string, or an object with "content". */
static const char *setting(const qn_json *config, const char *key, const char *otherwise) {
  if (!config) return otherwise;
  uint32_t node = qn_json_get(config, 0, key);
  if (node && config->nodes[node].kind == QN_JSON_OBJECT) return qn_json_string(config, node, "content", otherwise);
  return qn_json_string(config, 0, key, otherwise);
}

static int is_true(const qn_json *config, const char *key, int otherwise) {
  return config ? qn_json_bool(config, 0, key, otherwise) : otherwise;
}

static int is_utf8(const char *text, size_t bytes) {
  const uint8_t *p = (const uint8_t *)text;
  uint32_t used = 0;
  for (size_t at = 0; at < bytes; at += used) {
    const uint32_t cp = qn_utf8_decode(p + at, bytes - at, &used);
    if (cp == QN_REPLACEMENT && !(used == 3 && p[at] == 0xEF)) return 0; /* not U+FFFD itself */
  }
  return 1;
}

/* Lines end at a line feed; blanks at their ends are not part of the token. */
static quern_status read_lines(tok_spec *s, const char *text, size_t bytes) {
  int64_t id = 0;
  for (size_t at = 0; at < bytes; id++) {
    const char *line = text + at, *feed = memchr(line, '\n', bytes - at);
    size_t n = feed ? (size_t)(feed - line) : bytes - at;
    at += n + 1;
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t')) n--;
    if (!is_utf8(line, n))
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "vocab.txt: line %lld is not UTF-8", (long long)id + 1);
    if (n > 0) QN_TRY(qn_spec_token(s, line, n, id, 1));
  }
  if (s->vocab == 0) return qn_fail(&s->env->error, QUERN_E_SOURCE, "vocab.txt: it has no tokens");
  return QUERN_OK;
}

static quern_status read_decoder_table(tok_spec *s, const qn_json *config) {
  uint32_t table = config ? qn_json_get(config, 0, "added_tokens_decoder") : 0;
  if (!table || config->nodes[table].kind != QN_JSON_OBJECT) return QUERN_OK;
  for (uint32_t k = table + 1; k < config->nodes[table].next; k = config->nodes[k + 1].next) {
    const char *text = qn_json_string(config, k + 1, "content", NULL);
    double id;
    size_t used = qn_parse_number(config->nodes[k].string, config->nodes[k].bytes, &id);
    if (!text || used == 0 || used != config->nodes[k].bytes || !(id >= 0 && id < s->cap) || id != (double)(int64_t)id)
      return qn_fail(&s->env->error, QUERN_E_SOURCE,
                     "tokenizer_config.json: added_tokens_decoder \"%s\" is no id with a content",
                     config->nodes[k].string);
    int special = qn_json_bool(config, k + 1, "special", 0);
    uint32_t flags = (qn_json_bool(config, k + 1, "single_word", 0) ? QN_ADDED_SINGLE_WORD : 0) |
                     (qn_json_bool(config, k + 1, "lstrip", 0) ? QN_ADDED_LSTRIP : 0) |
                     (qn_json_bool(config, k + 1, "rstrip", 0) ? QN_ADDED_RSTRIP : 0) |
                     (qn_json_bool(config, k + 1, "normalized", !special) ? QN_ADDED_NORMALIZED : 0);
    QN_TRY(qn_spec_added(s, text, strlen(text), (int64_t)id, special, flags));
  }
  return QUERN_OK;
}

quern_status qn_spec_read_vocab(tok_spec *s, const char *text, size_t bytes, const qn_json *config) {
  static const char *const bert[] = {"BertTokenizer",       "BertTokenizerFast",       "DistilBertTokenizer",
                                     "ElectraTokenizer",    "DistilBertTokenizerFast", "ElectraTokenizerFast",
                                     "MobileBertTokenizer", "MobileBertTokenizerFast", "MPNetTokenizer",
                                     "MPNetTokenizerFast"};
  qn_error *e = &s->env->error;
  const char *class = setting(config, "tokenizer_class", bert[0]);
  int known = 0, mpnet = strncmp(class, "MPNet", 5) == 0;
  for (size_t i = 0; i < sizeof bert / sizeof bert[0]; i++) known |= strcmp(class, bert[i]) == 0;
  if (!known)
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "tokenizer_config.json: tokenizer_class \"%s\" with a vocab.txt is not supported; supported: "
                   "BertTokenizer, DistilBertTokenizer, ElectraTokenizer, MobileBertTokenizer, MPNetTokenizer",
                   class);
  int lower = is_true(config, "do_lower_case", 1);
  s->flags = QN_WP_CLEAN | QN_WP_DECODER | QN_WP_CLEANUP | (lower ? QN_WP_LOWER : 0) |
             (is_true(config, "tokenize_chinese_chars", 1) ? QN_WP_CHINESE : 0) |
             (is_true(config, "strip_accents", lower) ? QN_WP_STRIP : 0);
  if (!is_true(config, "do_basic_tokenize", 1))
    return qn_fail(e, QUERN_E_UNSUPPORTED, "tokenizer_config.json: do_basic_tokenize false is not supported");
  QN_TRY(read_lines(s, text, bytes));
  QN_TRY(read_decoder_table(s, config));
  const vocab_role roles[] = {{"unk_token", "[UNK]", 1},
                              {"cls_token", mpnet ? "<s>" : "[CLS]", 1},
                              {"sep_token", mpnet ? "</s>" : "[SEP]", 1},
                              {"pad_token", mpnet ? "<pad>" : "[PAD]", 0},
                              {"mask_token", mpnet ? "<mask>" : "[MASK]", 0}};
  uint32_t id[5];
  for (size_t i = 0; i < 5; i++) {
    const char *name = setting(config, roles[i].key, roles[i].otherwise);
    id[i] = qn_spec_find(s, name, strlen(name));
    if (id[i] == QN_TOK_EMPTY && roles[i].required)
      return qn_fail(e, QUERN_E_SOURCE, "vocab.txt: it lacks the %s \"%s\"", roles[i].key, name);
    if (id[i] == QN_TOK_EMPTY || s->tokens[id[i]].is_added) continue;
    uint32_t flags = mpnet && i == 4 ? QN_ADDED_LSTRIP : 0;
    QN_TRY(qn_spec_added(s, name, strlen(name), id[i], 1, flags));
  }
  s->unk = id[0];
  return qn_spec_classic(s, id[1], id[2], mpnet);
}
