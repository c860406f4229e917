/* unigram_json.c - reads the unigram model of a tokenizer.json, as T5 and XLM-RoBERTa have one: tokens with scores, a precompiled
 * character map, blanks of SentencePiece. What is not recognized is refused by name. One thread. */
#include <string.h>

#include "base/checked.h"
#include "text/tokenizer_json.h"
#include "text/unigram.h"

/* ---- the model --------------------------------------------------------------------------------------------------- */

quern_status qn_unigram_read_model(tok_spec *s, const qn_json *j, uint32_t model) {
  s->kind = QN_TOKENIZER_UNIGRAM;
  s->prefix_bytes = 0, s->max_word_chars = 0;
  QN_TRY(qn_tj_flag(s, j, model, "byte_fallback", 0, &s->byte_fallback));
  const uint32_t vocab = qn_tj_member(j, model, "vocab");
  if (!qn_tj_is(j, vocab, QN_JSON_ARRAY)) return qn_tj_malformed(s, "\"model.vocab\" is missing or no array");
  QN_TRY(qn_spec_scores(s));
  int64_t id = 0;
  for (uint32_t k = vocab + 1; k < j->nodes[vocab].next; k = j->nodes[k].next, id++) {
    const uint32_t text = k + 1, score = k + 2;
    if (!qn_tj_is(j, k, QN_JSON_ARRAY) || j->nodes[k].count != 2 || !qn_tj_is(j, text, QN_JSON_STRING) ||
        !qn_tj_is(j, score, QN_JSON_NUMBER))
      return qn_tj_malformed(s, "a token of \"model.vocab\" is no pair of a text and a score");
    QN_TRY(qn_spec_token(s, j->nodes[text].string, j->nodes[text].bytes, id, 1));
    s->scores[id] = j->nodes[score].number;
  }
  const int64_t unk = qn_tj_id(j, qn_tj_member(j, model, "unk_id"));
  if (unk < 0 || unk >= (int64_t)s->vocab)
    return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                   "tokenizer.json: a unigram model needs \"unk_id\", the id of an unknown token");
  s->unk = (uint32_t)unk;
  return QUERN_OK;
}

/* ---- normalizer -------------------------------------------------------------------------------------------------- */

static uint32_t base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return (uint32_t)(c - 'A');
  if (c >= 'a' && c <= 'z') return (uint32_t)(c - 'a') + 26;
  if (c >= '0' && c <= '9') return (uint32_t)(c - '0') + 52;
  return c == '+' ? 62 : c == '/' ? 63 : 64;
}

static quern_status read_charsmap(tok_spec *s, const qn_json *j, uint32_t node) {
  const uint32_t text = qn_tj_member(j, node, "precompiled_charsmap");
  if (s->charsmap.bytes) return qn_tj_unsupported(s, "normalizer with", "two character maps", "one");
  if (!text || !qn_tj_is(j, text, QN_JSON_STRING) || !j->nodes[text].bytes) return QUERN_OK; /* none */
  const char *p = j->nodes[text].string;
  size_t n = j->nodes[text].bytes;
  while (n && p[n - 1] == '=') n--;
  uint32_t held = 0, bits = 0;
  QN_TRY(qn_buffer_reserve(s->env, &s->charsmap, n));
  for (size_t i = 0; i < n; i++) {
    const uint32_t value = base64_value(p[i]);
    if (value > 63) return qn_tj_malformed(s, "\"precompiled_charsmap\" is not base64");
    held = (held << 6 | value) & 0xFFFFFFu;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    const uint8_t byte = (uint8_t)(held >> bits);
    QN_TRY(qn_buffer_append(s->env, &s->charsmap, &byte, 1));
  }
  return qn_spec_check_charsmap(s);
}

/* Replace of two blanks and more, by one. */
static int is_collapse(const qn_json *j, uint32_t node) {
  const uint32_t pattern = qn_tj_is_type(j, node, "Replace") ? qn_tj_member(j, node, "pattern") : 0;
  const uint32_t content = qn_tj_member(j, node, "content");
  return pattern && qn_tj_is_text(j, qn_tj_member(j, pattern, "Regex"), " {2,}") &&
         (qn_tj_is_text(j, content, " ") || qn_tj_is_text(j, content, QN_ESCAPE));
}

static quern_status read_normalizer(tok_spec *s, const qn_json *j) {
  qn_tj_steps all;
  QN_TRY(qn_tj_get_steps(s, j, "normalizer", "normalizers", &all));
  for (uint32_t i = 0; i < all.n; i++) {
    const uint32_t node = all.node[i];
    if (qn_tj_is_type(j, node, "Precompiled") && i == 0) {
      QN_TRY(read_charsmap(s, j, node));
    } else if (qn_tj_is_type(j, node, "Strip") && !(s->flags & QN_UNIGRAM_COLLAPSE)) {
      int left, right;
      QN_TRY(qn_tj_flag(s, j, node, "strip_left", 1, &left));
      QN_TRY(qn_tj_flag(s, j, node, "strip_right", 1, &right));
      s->flags |= (left ? QN_UNIGRAM_STRIP_LEFT : 0) | (right ? QN_UNIGRAM_STRIP_RIGHT : 0);
    } else if (is_collapse(j, node)) {
      s->flags |= QN_UNIGRAM_COLLAPSE;
    } else {
      return qn_tj_unsupported(s, "normalizer", qn_tj_type_of(j, node),
                               "Precompiled, then Strip, then Replace of \" {2,}\" by a blank, none");
    }
  }
  return QUERN_OK;
}

/* ---- pre-tokenizer ----------------------------------------------------------------------------------------------- */

static quern_status read_metaspace(tok_spec *s, const qn_json *j, uint32_t node) {
  int split, prefix;
  QN_TRY(qn_tj_flag(s, j, node, "split", 1, &split));
  QN_TRY(qn_tj_flag(s, j, node, "add_prefix_space", 1, &prefix)); /* of older files */
  const char *scheme = qn_json_string(j, node, "prepend_scheme", prefix ? "always" : "never");
  if (!qn_tj_is_text(j, qn_tj_member(j, node, "replacement"), QN_ESCAPE))
    return qn_tj_unsupported(s, "pre-tokenizer", "Metaspace with another replacement", "U+2581");
  if (split) s->flags |= QN_UNIGRAM_WORDS;
  if (strcmp(scheme, "never") != 0) s->flags |= QN_BPE_BLANK | QN_BPE_BLANK_UNLESS;
  if (strcmp(scheme, "first") != 0) return QUERN_OK;
  s->flags |= QN_BPE_BLANK_FIRST;
  return s->flags & QN_UNIGRAM_SPACES
             ? qn_tj_unsupported(s, "pre-tokenizer", "Metaspace of the first word behind WhitespaceSplit", "of all")
             : QUERN_OK;
}

static quern_status read_splitter(tok_spec *s, const qn_json *j) {
  qn_tj_steps all;
  int blanks = 0;
  QN_TRY(qn_tj_get_steps(s, j, "pre_tokenizer", "pretokenizers", &all));
  for (uint32_t i = 0; i < all.n; i++) {
    const uint32_t node = all.node[i];
    if (qn_tj_is_type(j, node, "WhitespaceSplit") && i == 0) {
      s->flags |= QN_UNIGRAM_SPACES;
    } else if (qn_tj_is_type(j, node, "Metaspace") && i + 1 == all.n) {
      QN_TRY(read_metaspace(s, j, node));
      blanks = 1;
    } else {
      return qn_tj_unsupported(s, "pre-tokenizer", qn_tj_type_of(j, node), "Metaspace, behind WhitespaceSplit or not");
    }
  }
  return blanks ? QUERN_OK : qn_tj_unsupported(s, "pre-tokenizer", "none", "Metaspace");
}

quern_status qn_unigram_read_rules(tok_spec *s, const qn_json *j) {
  QN_TRY(read_normalizer(s, j));
  QN_TRY(read_splitter(s, j));
  return qn_bpe_read_decoder(s, j);
}
