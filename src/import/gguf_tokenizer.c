/* gguf_tokenizer.c - a GGUF's tokenizer as the list of tokens that text/tokenizer_list.c builds from. One thread. */
#include "import/gguf_tokenizer.h"
#include <string.h>
#include "import/source.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

/* How words are found, by tokenizer.ggml.pre. */
typedef struct words_rule {
  const char *pre, *words;
  int digits, nfc, ignore_merges;
} words_rule;
static const words_rule rules[] = {
    {"gpt-2", "gpt2", 0, 0, 0},       {"phi-2", "gpt2", 0, 0, 0},     {"default", "gpt2", 0, 0, 0},
    {"smollm", "gpt2", 1, 0, 0},      {"starcoder", "gpt2", 1, 0, 0}, {"qwen2", "qwen2", 0, 1, 0},
    {"llama-bpe", "llama3", 0, 0, 1}, {"llama3", "llama3", 0, 0, 1},  {"llama-v3", "llama3", 0, 0, 1},
};

static quern_status choose_words(const qn_gguf *g, qn_token_list *l) {
  qn_gguf_text pre = {"default", 7};
  QN_TRY(qn_gguf_get_text(g, KEY("pre"), 0, &pre));
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    if (!qn_gguf_text_is(pre, rules[i].pre)) continue;
    l->words = rules[i].words;
    l->digits = rules[i].digits, l->nfc = rules[i].nfc, l->ignore_merges = rules[i].ignore_merges;
    return QUERN_OK;
  }
  return qn_fail(
      &g->env->error, QUERN_E_UNSUPPORTED,
      "%s: " KEY("pre") " \"%.*s\" is not supported; supported: gpt-2, phi-2, smollm, starcoder, qwen2, llama-bpe",
      g->name, (int)(pre.bytes < 64 ? pre.bytes : 64), pre.data);
}

/* An array of texts as listed tokens; *out is allocated. */
static quern_status list_texts(const qn_gguf *g, const char *key, qn_listed_token **out, size_t *count) {
  const qn_gguf_value *v;
  qn_gguf_text text;
  size_t at = 0;
  QN_TRY(qn_gguf_get_array(g, key, 1, QN_GGUF_TEXT, &v));
  QN_TRY(qn_alloc_array(g->env, (void **)out, (size_t)v->count, sizeof **out, "the tokenizer's texts"));
  *count = (size_t)v->count;
  for (size_t i = 0; i < *count && qn_gguf_next_text(v, &at, &text); i++)
    (*out)[i] = (qn_listed_token){.text = text.data, .bytes = text.bytes, .type = 1};
  return QUERN_OK;
}

/* Types and scores of the tokens, where the file has them. */
static quern_status read_details(const qn_gguf *g, qn_listed_token *tokens, size_t count) {
  const qn_gguf_value *types, *scores;
  QN_TRY(qn_gguf_get_array(g, KEY("token_type"), 0, QN_GGUF_I32, &types));
  QN_TRY(qn_gguf_get_array(g, KEY("scores"), 0, QN_GGUF_F32, &scores));
  if ((types && types->count != count) || (scores && scores->count != count))
    return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: " KEY("token_type") " or scores are not as many as the tokens",
                   g->name);
  for (size_t i = 0; i < count; i++) {
    if (types) {
      const int64_t type = qn_gguf_item_int(types, i);
      tokens[i].type = type >= 0 && type < 256 ? (uint32_t)type : 0;
    }
    if (!scores) continue;
    const double score = qn_gguf_item_float(scores, i);
    if (!(score >= -3e38 && score <= 3e38))
      return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: the score of token %zu is not finite", g->name, i);
    tokens[i].score = (float)score;
  }
  return QUERN_OK;
}

/* An id, or what it was before where the key is absent. */
static quern_status read_id(const qn_gguf *g, const char *key, int64_t *id) {
  uint64_t value = UINT64_MAX;
  QN_TRY(qn_gguf_get_uint(g, key, 0, UINT32_MAX, &value));
  if (value <= UINT32_MAX) *id = (int64_t)value;
  return QUERN_OK;
}

static quern_status read_charsmap(const qn_gguf *g, qn_token_list *l) {
  const qn_gguf_value *v;
  QN_TRY(qn_gguf_get_array(g, KEY("precompiled_charsmap"), 0, QN_GGUF_U8, &v));
  if (!v) return QUERN_OK;
  l->charsmap = v->data;
  l->charsmap_bytes = (size_t)v->count;
  return QUERN_OK;
}

static quern_status read_rules(const qn_gguf *g, qn_gguf_text model, qn_token_list *l) {
  l->unk = l->begin = l->end = -1;
  QN_TRY(read_id(g, KEY("unknown_token_id"), &l->unk));
  QN_TRY(read_id(g, KEY("bos_token_id"), &l->begin));
  QN_TRY(read_id(g, KEY("eos_token_id"), &l->end));
  if (qn_gguf_text_is(model, "gpt2")) {
    l->kind = QN_TOKENIZER_BYTE_BPE;
    l->unk = -1; /* every byte has a token */
    QN_TRY(choose_words(g, l));
  } else if (qn_gguf_text_is(model, "llama")) {
    l->kind = QN_TOKENIZER_CHAR_BPE;
    l->add_begin = 1; /* where the file does not tell */
    l->blank = 1;
    QN_TRY(qn_gguf_get_bool(g, KEY("add_space_prefix"), 0, &l->blank));
  } else if (qn_gguf_text_is(model, "t5")) {
    l->kind = QN_TOKENIZER_UNIGRAM;
    l->add_end = 1; /* where the file does not tell */
    l->blank = l->strip = 1;
    QN_TRY(qn_gguf_get_bool(g, KEY("add_space_prefix"), 0, &l->blank));
    QN_TRY(qn_gguf_get_bool(g, KEY("remove_extra_whitespaces"), 0, &l->strip));
    QN_TRY(read_charsmap(g, l));
  } else if (qn_gguf_text_is(model, "bert")) {
    l->kind = QN_TOKENIZER_WORDPIECE;
    QN_TRY(read_id(g, KEY("cls_token_id"), &l->begin));
    QN_TRY(read_id(g, KEY("seperator_token_id"), &l->end)); /* so spelled in the format */
  } else {
    return qn_fail(&g->env->error, QUERN_E_UNSUPPORTED,
                   "%s: " KEY("model") " \"%.*s\" is not supported; supported: gpt2, llama, t5, bert", g->name,
                   (int)(model.bytes < 64 ? model.bytes : 64), model.data);
  }
  QN_TRY(qn_gguf_get_bool(g, KEY("add_bos_token"), 0, &l->add_begin));
  return qn_gguf_get_bool(g, KEY("add_eos_token"), 0, &l->add_end);
}

quern_status qn_gguf_tokenizer(const qn_gguf *g, uint32_t rows, qn_buffer *section) {
  qn_listed_token *tokens = NULL, *merges = NULL;
  qn_token_list list = {0};
  qn_gguf_text model = {NULL, 0};
  size_t count = 0, merge_count = 0;
  quern_status status = qn_gguf_get_text(g, KEY("model"), 0, &model);
  if (status || !model.data) return status;
  QN_TRY_CLEANUP(read_rules(g, model, &list));
  QN_TRY_CLEANUP(list_texts(g, KEY("tokens"), &tokens, &count));
  QN_TRY_CLEANUP(read_details(g, tokens, count));
  if (list.kind == QN_TOKENIZER_BYTE_BPE) QN_TRY_CLEANUP(list_texts(g, KEY("merges"), &merges, &merge_count));
  list.tokens = tokens, list.count = count;
  list.merges = merges, list.merge_count = merge_count;
  status = qn_tokenizer_build_list(g->env, &list, rows, section);
cleanup:
  qn_free(g->env, tokens, count * sizeof *tokens);
  qn_free(g->env, merges, merge_count * sizeof *merges);
  return status;
}

/* ---- speech ---- */

/* Files often name one end alone, of turns or of texts. */
static int ends_turns(qn_gguf_text token) {
  static const char *const known[] = {"<|im_end|>",      "<|endoftext|>", "<|eot_id|>",
                                      "<|end_of_text|>", "<end_of_turn>", "<|end|>"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (qn_gguf_text_is(token, known[i])) return 1;
  return 0;
}

quern_status qn_gguf_speech(const qn_gguf *g, uint32_t rows, qn_speech *out) {
  static const char *const keys[] = {KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id")};
  const qn_gguf_value *tokens, *types;
  qn_gguf_text text = {NULL, 0};
  size_t at = 0;
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    int64_t id = -1;
    QN_TRY(read_id(g, keys[i], &id));
    qn_speech_add(out, id, rows);
  }
  QN_TRY(qn_gguf_get_array(g, KEY("tokens"), 0, QN_GGUF_TEXT, &tokens));
  QN_TRY(qn_gguf_get_array(g, KEY("token_type"), 0, QN_GGUF_I32, &types));
  for (uint64_t i = 0; tokens && types && i < types->count && qn_gguf_next_text(tokens, &at, &text); i++)
    if (qn_gguf_item_int(types, i) == (int64_t)QN_LISTED_CONTROL && ends_turns(text))
      qn_speech_add(out, (int64_t)i, rows);
  text.data = NULL;
  QN_TRY(qn_gguf_get_text(g, "tokenizer.chat_template", 0, &text));
  if (text.data) out->chat = qn_chat_detect(text.data, text.bytes);
  return QUERN_OK;
}
