/* tokenizer_build.c - from a source's tokenizer files to a TOKENIZER section: the entry, and the description that the
 * readers of both kinds of file fill in. Every number in it was checked on the way in. One thread. */
#include <string.h>
#include "base/checked.h"
#include "text/charsmap.h"
#include "text/tokenizer_build.h"

quern_status qn_spec_init(tok_spec *s, qn_env *env, uint32_t model_vocab, size_t added_cap) {
  *s = (tok_spec){.env = env,
                  .kind = QN_TOKENIZER_WORDPIECE,
                  .cap = model_vocab,
                  .max_word_chars = 100,
                  .prefix = "##",
                  .prefix_bytes = 2};
  if (model_vocab == 0 || model_vocab > QN_TOK_MAX_VOCAB)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "tokenizer: a vocabulary of %u; 1 to %u is supported", model_vocab,
                   QN_TOK_MAX_VOCAB);
  if (added_cap > model_vocab)
    return qn_fail(&env->error, QUERN_E_SOURCE, "tokenizer: more added tokens than the %u rows of the embedding",
                   model_vocab);
  s->added_cap = (uint32_t)added_cap;
  for (s->index_size = 16; s->index_size < 2 * model_vocab;) s->index_size *= 2;
  quern_status status = qn_alloc_array(env, (void **)&s->tokens, model_vocab, sizeof *s->tokens, "the vocabulary");
  if (!status) status = qn_alloc_array(env, (void **)&s->index, s->index_size, 4, "the vocabulary's index");
  if (!status) status = qn_alloc_array(env, (void **)&s->added, added_cap, sizeof *s->added, "the added tokens");
  if (status)
    qn_spec_free(s);
  else
    memset(s->index, 0xFF, s->index_size * (size_t)4);
  return status;
}

void qn_spec_free(tok_spec *s) {
  qn_free(s->env, s->tokens, s->cap * sizeof *s->tokens);
  qn_free(s->env, s->index, s->index_size * (size_t)4);
  qn_free(s->env, s->added, s->added_cap * sizeof *s->added);
  qn_free(s->env, s->merges, s->merge_cap * sizeof *s->merges);
  qn_free(s->env, s->scores, s->scores ? s->cap * sizeof *s->scores : 0);
  qn_buffer_free(s->env, &s->charsmap);
  s->scores = NULL;
  s->tokens = NULL, s->index = NULL, s->added = NULL, s->merges = NULL;
}

/* Where in the index the text is or would be; *probes: slots looked at. */
static uint32_t place(const tok_spec *s, const char *text, size_t bytes, uint32_t *probes) {
  uint64_t h = QN_TOK_HASH;
  for (size_t i = 0; i < bytes; i++) h = qn_tok_hash_byte(h, (uint8_t)text[i]);
  uint32_t at = (uint32_t)(qn_tok_hash_end(h) >> 32) & (s->index_size - 1);
  for (*probes = 1; s->index[at] != QN_TOK_EMPTY; at = (at + 1) & (s->index_size - 1), ++*probes) {
    const tok_entry *k = &s->tokens[s->index[at]];
    if (k->bytes == bytes && memcmp(k->text, text, bytes) == 0) break;
  }
  return at;
}

uint32_t qn_spec_find(const tok_spec *s, const char *text, size_t bytes) {
  uint32_t probes;
  return s->index[place(s, text, bytes, &probes)];
}

quern_status qn_spec_token(tok_spec *s, const char *text, size_t bytes, int64_t id, int in_model) {
  qn_error *e = &s->env->error;
  if (bytes > QN_TOK_MAX_TOKEN_BYTES)
    return qn_fail(e, QUERN_E_UNSUPPORTED, "tokenizer: a token of %zu bytes; at most %u are supported", bytes,
                   QN_TOK_MAX_TOKEN_BYTES);
  int width = (int)bytes;
  if (id < 0 || id >= s->cap)
    return qn_fail(e, QUERN_E_SOURCE, "tokenizer: token \"%.*s\" has id %lld; the embedding has rows 0 to %u", width,
                   text, (long long)id, s->cap - 1);
  tok_entry *k = &s->tokens[id];
  if (k->flags & QN_TOKEN_PRESENT)
    return qn_fail(e, QUERN_E_SOURCE, "tokenizer: tokens \"%.*s\" and \"%.*s\" have the same id %lld", (int)k->bytes,
                   k->text, width, text, (long long)id);
  uint32_t probes, at = place(s, text, bytes, &probes);
  if (s->index[at] != QN_TOK_EMPTY)
    return qn_fail(e, QUERN_E_SOURCE, "tokenizer: token \"%.*s\" is there twice, with ids %u and %lld", width, text,
                   s->index[at], (long long)id);
  if (probes > QN_TOK_MAX_PROBE) /* texts made to collide: each would take longer than the one before */
    return qn_fail(e, QUERN_E_UNSUPPORTED, "tokenizer: the vocabulary's texts defeat the hash table");
  s->index[at] = (uint32_t)id;
  *k = (tok_entry){.text = text, .bytes = (uint32_t)bytes, .flags = QN_TOKEN_PRESENT, .in_model = (uint8_t)in_model};
  if (id >= s->vocab) s->vocab = (uint32_t)id + 1;
  return QUERN_OK;
}

quern_status qn_spec_added(tok_spec *s, const char *text, size_t bytes, int64_t id, int special, uint32_t flags) {
  if (bytes == 0) return QUERN_OK;
  uint32_t known = qn_spec_find(s, text, bytes);
  if (known == QN_TOK_EMPTY) {
    QN_TRY(qn_spec_token(s, text, bytes, id, 0));
    known = (uint32_t)id;
  } else if (known != id) {
    return qn_fail(&s->env->error, QUERN_E_SOURCE,
                   "tokenizer: added token \"%.*s\" has id %lld; the vocabulary gives it %u", (int)bytes, text,
                   (long long)id, known);
  }
  if (s->tokens[known].is_added)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: added token \"%.*s\" is there twice", (int)bytes, text);
  if (s->added_count == s->added_cap)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: too many added tokens");
  s->tokens[known].is_added = 1;
  if (special) s->tokens[known].flags |= QN_TOKEN_SPECIAL;
  s->added[s->added_count++] = (qn_added){.id = known, .flags = flags};
  return QUERN_OK;
}

quern_status qn_spec_item(tok_spec *s, int pair, uint32_t what, uint32_t type) {
  uint32_t *n = pair ? &s->pair_count : &s->single_count;
  if (*n == QN_TOK_MAX_TEMPLATE)
    return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: a template of more than %u items",
                   QN_TOK_MAX_TEMPLATE);
  (pair ? s->pair : s->single)[(*n)++] = (qn_template_item){what, type};
  return QUERN_OK;
}

quern_status qn_spec_scores(tok_spec *s) {
  return qn_alloc_array(s->env, (void **)&s->scores, s->cap, sizeof *s->scores, "the scores of tokens");
}

quern_status qn_spec_check_charsmap(tok_spec *s) {
  if (s->charsmap.bytes <= UINT32_MAX / 2 && qn_charsmap_valid((qn_charsmap){s->charsmap.data, s->charsmap.bytes}))
    return QUERN_OK;
  return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: the precompiled character map is none");
}

quern_status qn_spec_write(tok_spec *s, qn_buffer *section) {
  return s->kind == QN_TOKENIZER_WORDPIECE ? qn_wp_write(s, section)
         : s->kind == QN_TOKENIZER_UNIGRAM ? qn_unigram_write(s, section)
                                           : qn_bpe_write(s, section);
}

quern_status qn_spec_classic(tok_spec *s, uint32_t cls, uint32_t sep, int double_sep) {
  uint32_t second = double_sep ? 0 : 1;
  for (int pair = 0; pair < 2; pair++) {
    QN_TRY(qn_spec_item(s, pair, cls, 0));
    QN_TRY(qn_spec_item(s, pair, QN_TEMPLATE_TEXT, 0));
    QN_TRY(qn_spec_item(s, pair, sep, 0));
  }
  if (double_sep) QN_TRY(qn_spec_item(s, 1, sep, 0));
  QN_TRY(qn_spec_item(s, 1, QN_TEMPLATE_TEXT + 1, second));
  return qn_spec_item(s, 1, sep, second);
}

/* The most added tokens that a document can name: children of its list, members of the decoder table, and the five that
   a vocab.txt has by name. */
static size_t count_added(const qn_json *tokenizer, const qn_json *config) {
  size_t n = 0;
  uint32_t list = tokenizer ? qn_json_get(tokenizer, 0, "added_tokens") : 0;
  if (list) n += tokenizer->nodes[list].count;
  list = config && !tokenizer ? qn_json_get(config, 0, "added_tokens_decoder") : 0;
  if (list) n += config->nodes[list].count;
  return tokenizer ? n : n + 5;
}

quern_status qn_tokenizer_build(qn_env *env, const qn_json *tokenizer_json, const char *vocab_txt, size_t vocab_bytes,
                                const qn_json *tokenizer_config, uint32_t model_vocab, qn_buffer *section) {
  tok_spec spec;
  size_t added = count_added(tokenizer_json, tokenizer_config);
  if (!tokenizer_json && added > model_vocab) added = model_vocab;
  quern_status status = qn_spec_init(&spec, env, model_vocab, added);
  if (status) return status;
  if (tokenizer_json)
    status = qn_spec_read_json(&spec, tokenizer_json);
  else
    status = qn_spec_read_vocab(&spec, vocab_txt, vocab_bytes, tokenizer_config);
  if (!status) status = qn_spec_write(&spec, section);
  qn_spec_free(&spec);
  return status;
}
