/* bpe_json.c - reads the BPE of a tokenizer.json: byte-level with the words of GPT-2, LLaMA-3 or Qwen2, and SentencePiece's
 * over characters. What is not recognized is refused by name. One thread. */
#include <string.h>
#include "text/bpe.h"
#include "text/tokenizer_json.h"

/* ---- the model ---- */

/* A merge is "left right", or a pair of strings. */
static quern_status read_merge(tok_spec *s, const qn_json *j, uint32_t node) {
  if (qn_tj_is(j, node, QN_JSON_STRING)) {
    const char *text = j->nodes[node].string, *blank = memchr(text, ' ', j->nodes[node].bytes);
    const size_t left = blank ? (size_t)(blank - text) : 0;
    if (!blank || memchr(blank + 1, ' ', j->nodes[node].bytes - left - 1))
      return qn_tj_malformed(s, "a merge is not two texts with a blank between");
    return qn_spec_merge(s, text, left, blank + 1, j->nodes[node].bytes - left - 1);
  }
  const uint32_t left = node + 1, right = node + 2;
  if (!qn_tj_is(j, node, QN_JSON_ARRAY) || j->nodes[node].count != 2 || !qn_tj_is(j, left, QN_JSON_STRING) ||
      !qn_tj_is(j, right, QN_JSON_STRING))
    return qn_tj_malformed(s, "a merge is no pair of strings");
  return qn_spec_merge(s, j->nodes[left].string, j->nodes[left].bytes, j->nodes[right].string, j->nodes[right].bytes);
}

/* A member that is absent, null or "". */
static int is_void(const qn_json *j, uint32_t object, const char *key) {
  const uint32_t node = qn_tj_member(j, object, key);
  return !node || qn_tj_is_text(j, node, "");
}

quern_status qn_bpe_read_model(tok_spec *s, const qn_json *j, uint32_t model) {
  int fuse;
  s->kind = QN_TOKENIZER_CHAR_BPE; /* until a splitter says otherwise */
  s->prefix_bytes = 0, s->max_word_chars = 0;
  if (!is_void(j, model, "continuing_subword_prefix") || !is_void(j, model, "end_of_word_suffix"))
    return qn_tj_unsupported(s, "model with", "continuing_subword_prefix or end_of_word_suffix", "neither");
  if (qn_json_number(j, model, "dropout", 0) != 0) return qn_tj_unsupported(s, "model with", "dropout", "none");
  QN_TRY(qn_tj_flag(s, j, model, "fuse_unk", 0, &fuse));
  QN_TRY(qn_tj_flag(s, j, model, "byte_fallback", 0, &s->byte_fallback));
  QN_TRY(qn_tj_flag(s, j, model, "ignore_merges", 0, &s->ignore_merges));
  if (fuse) s->flags |= QN_BPE_FUSE_UNK;
  QN_TRY(qn_tj_vocab(s, j, model));
  const uint32_t unk = qn_tj_member(j, model, "unk_token");
  s->unk = QN_TOK_EMPTY;
  if (unk) {
    if (!qn_tj_is(j, unk, QN_JSON_STRING)) return qn_tj_malformed(s, "\"unk_token\" is no string");
    s->unk = qn_spec_find(s, j->nodes[unk].string, j->nodes[unk].bytes);
    if (s->unk == QN_TOK_EMPTY)
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer.json: the vocabulary lacks the unknown token \"%s\"",
                     j->nodes[unk].string);
  }
  const uint32_t merges = qn_tj_member(j, model, "merges");
  if (!qn_tj_is(j, merges, QN_JSON_ARRAY)) return qn_tj_malformed(s, "\"model.merges\" is missing or no array");
  QN_TRY(qn_spec_merges(s, j->nodes[merges].count));
  for (uint32_t k = merges + 1; k < j->nodes[merges].next; k = j->nodes[k].next) QN_TRY(read_merge(s, j, k));
  return QUERN_OK;
}

/* ---- normalizer, pre-tokenizer, decoder: each a component or a sequence of them ---- */

/* {"type": "Replace", "pattern": {"String": from}, "content": to} */
static int is_replace(const qn_json *j, uint32_t node, const char *from, const char *to) {
  const uint32_t pattern = qn_tj_is_type(j, node, "Replace") ? qn_tj_member(j, node, "pattern") : 0;
  return pattern && qn_tj_is_text(j, qn_tj_member(j, pattern, "String"), from) &&
         qn_tj_is_text(j, qn_tj_member(j, node, "content"), to);
}

static quern_status read_normalizer(tok_spec *s, const qn_json *j, int *escapes) {
  qn_tj_steps all;
  *escapes = 0;
  QN_TRY(qn_tj_get_steps(s, j, "normalizer", "normalizers", &all));
  for (uint32_t i = 0; i < all.n; i++) {
    const uint32_t node = all.node[i];
    if (qn_tj_is_type(j, node, "NFC"))
      s->flags |= QN_BPE_NFC;
    else if (qn_tj_is_type(j, node, "Prepend") && qn_tj_is_text(j, qn_tj_member(j, node, "prepend"), QN_ESCAPE) &&
             i == 0)
      s->flags |= QN_BPE_BLANK;
    else if (is_replace(j, node, " ", QN_ESCAPE))
      *escapes = 1;
    else
      return qn_tj_unsupported(s, "normalizer", qn_tj_type_of(j, node),
                               "NFC, Prepend of U+2581, Replace of blanks by U+2581, none");
  }
  return QUERN_OK;
}

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LINES "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* A Split by one of the regular expressions that are known. */
static quern_status read_split(tok_spec *s, const qn_json *j, uint32_t node) {
  static const struct {
    const char *regex;
    uint32_t words;
  } known[] = {
      {CONTRACTIONS "\\p{N}{1,3}" LINES, QN_WORDS_LLAMA3},
      {CONTRACTIONS "\\p{N}" LINES, QN_WORDS_QWEN2},
      {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", QN_WORDS_GPT2},
  };
  const uint32_t pattern = qn_tj_member(j, node, "pattern"), regex = pattern ? qn_tj_member(j, pattern, "Regex") : 0;
  int invert;
  QN_TRY(qn_tj_flag(s, j, node, "invert", 0, &invert));
  if (!qn_tj_is_text(j, qn_tj_member(j, node, "behavior"), "Isolated") || invert)
    return qn_tj_unsupported(s, "Split with", "another behavior", "Isolated, not inverted");
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (qn_tj_is_text(j, regex, known[i].regex)) s->words = known[i].words;
  if (!s->words)
    return qn_tj_unsupported(s, "pre-tokenizer Split by", regex ? qn_json_string(j, pattern, "Regex", "") : "a string",
                             "the regular expressions of GPT-2, LLaMA-3, Qwen2");
  return QUERN_OK;
}

static quern_status read_byte_level(tok_spec *s, const qn_json *j, uint32_t node) {
  int blank, regex;
  QN_TRY(qn_tj_flag(s, j, node, "add_prefix_space", 1, &blank));
  QN_TRY(qn_tj_flag(s, j, node, "use_regex", 1, &regex));
  s->kind = QN_TOKENIZER_BYTE_BPE;
  if (regex && s->words)
    return qn_tj_unsupported(s, "pre-tokenizer", "ByteLevel with use_regex behind Split", "without");
  if (regex) s->words = QN_WORDS_GPT2;
  if (!s->words)
    return qn_tj_unsupported(s, "pre-tokenizer", "ByteLevel without words", "with use_regex, or behind Split");
  if (blank && (s->flags & QN_BPE_DIGITS))
    return qn_tj_unsupported(s, "pre-tokenizer", "ByteLevel with add_prefix_space behind Digits", "without");
  if (blank) s->flags |= QN_BPE_BLANK | QN_BPE_BLANK_UNLESS;
  if (blank) s->late_blanks = 1;
  return QUERN_OK;
}

static quern_status read_metaspace(tok_spec *s, const qn_json *j, uint32_t node) {
  int split;
  QN_TRY(qn_tj_flag(s, j, node, "split", 1, &split));
  const char *scheme = qn_json_string(j, node, "prepend_scheme", "always");
  if (split || !qn_tj_is_text(j, qn_tj_member(j, node, "replacement"), QN_ESCAPE))
    return qn_tj_unsupported(s, "pre-tokenizer", "Metaspace that splits", "\"split\": false, U+2581");
  if (strcmp(scheme, "never") != 0) s->flags |= QN_BPE_BLANK | QN_BPE_BLANK_UNLESS;
  if (strcmp(scheme, "first") == 0) s->flags |= QN_BPE_BLANK_FIRST;
  s->late_blanks = 1;
  return QUERN_OK;
}

/* A Split by a blank finds none where the normalizer has replaced all. */
static int is_split_by_blank(const qn_json *j, uint32_t node) {
  const uint32_t pattern = qn_tj_is_type(j, node, "Split") ? qn_tj_member(j, node, "pattern") : 0;
  return pattern && qn_tj_is_text(j, qn_tj_member(j, pattern, "String"), " ");
}

static quern_status read_splitter(tok_spec *s, const qn_json *j, int escapes) {
  qn_tj_steps all;
  QN_TRY(qn_tj_get_steps(s, j, "pre_tokenizer", "pretokenizers", &all));
  for (uint32_t i = 0; i < all.n; i++) {
    const uint32_t node = all.node[i];
    int each;
    if (escapes && is_split_by_blank(j, node)) continue;
    if (qn_tj_is_type(j, node, "Split")) {
      QN_TRY(read_split(s, j, node));
    } else if (qn_tj_is_type(j, node, "Digits") && i == 0) {
      QN_TRY(qn_tj_flag(s, j, node, "individual_digits", 0, &each));
      if (!each) return qn_tj_unsupported(s, "pre-tokenizer", "Digits", "with individual_digits");
      s->flags |= QN_BPE_DIGITS;
    } else if (qn_tj_is_type(j, node, "ByteLevel") && i + 1 == all.n) {
      QN_TRY(read_byte_level(s, j, node));
    } else if (qn_tj_is_type(j, node, "Metaspace") && all.n == 1) {
      QN_TRY(read_metaspace(s, j, node));
      escapes = 1;
    } else {
      return qn_tj_unsupported(s, "pre-tokenizer", qn_tj_type_of(j, node),
                               "Digits, Split, then ByteLevel; Metaspace; none");
    }
  }
  if ((s->flags & QN_BPE_DIGITS) && s->words != QN_WORDS_GPT2)
    return qn_tj_unsupported(s, "pre-tokenizer", "Digits", "before ByteLevel with use_regex");
  if (s->kind == QN_TOKENIZER_CHAR_BPE && (s->words || !escapes))
    return qn_tj_unsupported(s, "BPE without", "ByteLevel or U+2581 for blanks", "one of them");
  if (s->kind == QN_TOKENIZER_BYTE_BPE && escapes)
    return qn_tj_unsupported(s, "BPE with", "ByteLevel and U+2581 for blanks", "one of them");
  if (s->kind == QN_TOKENIZER_CHAR_BPE && (s->ignore_merges || (s->flags & QN_BPE_NFC)))
    return qn_tj_unsupported(s, "SentencePiece's BPE with", "ignore_merges or NFC", "neither");
  return QUERN_OK;
}

static int is_strip_of_first(const qn_json *j, uint32_t node) {
  return qn_tj_is_type(j, node, "Strip") && qn_tj_is_text(j, qn_tj_member(j, node, "content"), " ") &&
         qn_json_int(j, node, "start", 0) == 1 && qn_json_int(j, node, "stop", 0) == 0;
}

quern_status qn_bpe_read_decoder(tok_spec *s, const qn_json *j) {
  qn_tj_steps all;
  QN_TRY(qn_tj_get_steps(s, j, "decoder", "decoders", &all));
  int blanks = 0;
  for (uint32_t i = 0; i < all.n; i++) {
    const uint32_t node = all.node[i];
    if (s->kind == QN_TOKENIZER_BYTE_BPE && qn_tj_is_type(j, node, "ByteLevel")) {
      blanks = 1;
    } else if (s->kind != QN_TOKENIZER_BYTE_BPE && is_replace(j, node, QN_ESCAPE, " ")) {
      blanks = 1;
    } else if (s->kind != QN_TOKENIZER_BYTE_BPE && qn_tj_is_type(j, node, "Metaspace")) {
      blanks = 1;
      if (strcmp(qn_json_string(j, node, "prepend_scheme", "always"), "never") != 0) s->flags |= QN_BPE_DROP_BLANKS;
    } else if (s->kind != QN_TOKENIZER_BYTE_BPE && is_strip_of_first(j, node)) {
      s->flags |= QN_BPE_DROP_BLANK;
    } else if (!qn_tj_is_type(j, node, "ByteFallback") && !qn_tj_is_type(j, node, "Fuse")) {
      return qn_tj_unsupported(s, "decoder", qn_tj_type_of(j, node),
                               "ByteLevel; Replace of U+2581, ByteFallback, Fuse, Strip of one blank; Metaspace");
    }
  }
  return blanks ? QUERN_OK
                : qn_tj_unsupported(s, "decoder", "none of blanks", "ByteLevel, Replace of U+2581, Metaspace");
}

quern_status qn_bpe_read_rules(tok_spec *s, const qn_json *j) {
  int escapes;
  QN_TRY(read_normalizer(s, j, &escapes));
  QN_TRY(read_splitter(s, j, escapes));
  return qn_bpe_read_decoder(s, j);
}
