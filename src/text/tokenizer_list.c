/* tokenizer_list.c - from a list of tokens, as a GGUF has one, to a TOKENIZER section: WordPiece of BERT, byte-level BPE
 * with its merges, SentencePiece's BPE, whose merges follow from the scores of the tokens that they make. One thread. */
#include <stdlib.h>
#include <string.h>
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/tokenizer_build.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

#define SPLIT_BYTES 256u /* longer tokens are not made by merges: bounds the work on hostile lists */

typedef struct scored_merge {
  float score; /* of what it makes */
  uint32_t left, right, result;
  uint32_t left_chars, right_chars;
} scored_merge;

/* The order of Hugging Face's conversion: by score, then the longer left part; equal tokens by id. */
static int by_score(const void *x, const void *y) {
  const scored_merge *a = x, *b = y;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  if (a->left_chars != b->left_chars) return a->left_chars > b->left_chars ? -1 : 1;
  if (a->right_chars != b->right_chars) return a->right_chars > b->right_chars ? -1 : 1;
  return (a->result > b->result) - (a->result < b->result);
}

/* All ways to cut tokens in two tokens. out NULL: only counted. */
static size_t cut_tokens(const tok_spec *s, const qn_token_list *l, scored_merge *out) {
  size_t n = 0;
  for (uint32_t i = 0; i < s->vocab; i++) {
    const tok_entry *k = &s->tokens[i];
    if (k->bytes > SPLIT_BYTES || l->tokens[i].type == QN_LISTED_BYTE) continue;
    uint32_t used = 0, chars = 0, total = 0;
    for (uint32_t at = 0; at < k->bytes; at++) total += ((uint8_t)k->text[at] & 0xC0u) != 0x80u;
    for (uint32_t at = 0; at < k->bytes; at += used, chars++) {
      qn_utf8_decode((const uint8_t *)k->text + at, k->bytes - at, &used);
      const uint32_t left = at ? qn_spec_find(s, k->text, at) : QN_TOK_EMPTY;
      const uint32_t right = left != QN_TOK_EMPTY ? qn_spec_find(s, k->text + at, k->bytes - at) : QN_TOK_EMPTY;
      if (right == QN_TOK_EMPTY) continue;
      if (out) out[n] = (scored_merge){l->tokens[i].score, left, right, i, chars, total - chars};
      n++;
    }
  }
  return n;
}

static quern_status merges_by_score(tok_spec *s, const qn_token_list *l) {
  const size_t n = cut_tokens(s, l, NULL);
  scored_merge *all = NULL;
  QN_TRY(qn_spec_merges(s, n));
  QN_TRY(qn_alloc_array(s->env, (void **)&all, n, sizeof *all, "the merges by score"));
  cut_tokens(s, l, all);
  if (n) qsort(all, n, sizeof *all, by_score);
  for (size_t i = 0; i < n; i++) s->merges[i] = (tok_merge){all[i].left, all[i].right, all[i].result};
  s->merge_count = n;
  qn_free(s->env, all, n * sizeof *all);
  return QUERN_OK;
}

static quern_status merges_by_rank(tok_spec *s, const qn_token_list *l) {
  QN_TRY(qn_spec_merges(s, l->merge_count));
  for (size_t i = 0; i < l->merge_count; i++) {
    const qn_listed_token *m = &l->merges[i];
    const char *blank = m->bytes > 1 ? memchr(m->text + 1, ' ', m->bytes - 1) : NULL;
    if (!blank)
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: merge %zu is not two texts with a blank between", i);
    const size_t left = (size_t)(blank - m->text);
    QN_TRY(qn_spec_merge(s, m->text, left, blank + 1, m->bytes - left - 1));
  }
  return QUERN_OK;
}

static quern_status check_utf8(const tok_spec *s, const char *text, size_t bytes, size_t id) {
  uint32_t used = 0;
  for (size_t at = 0; at < bytes; at += used)
    if (qn_utf8_decode((const uint8_t *)text + at, bytes - at, &used) == QN_REPLACEMENT &&
        !(used == 3 && (uint8_t)text[at] == 0xEF))
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: token %zu is not UTF-8", id);
  return QUERN_OK;
}

/* BERT's tokens as they are in a GGUF: U+2581 begins a word, none goes on with one, brackets are whole. */
static quern_status respell(qn_env *env, const qn_listed_token *k, qn_buffer *out, size_t *bytes) {
  const size_t before = out->bytes;
  const int bracket = k->bytes > 1 && k->text[0] == '[' && k->text[k->bytes - 1] == ']';
  const int begins = k->bytes >= 3 && memcmp(k->text, "\xE2\x96\x81", 3) == 0;
  if (!bracket && !begins) QN_TRY(qn_buffer_append(env, out, "##", 2));
  if (k->bytes)
    QN_TRY(qn_buffer_append(env, out, k->text + (begins && !bracket ? 3 : 0), k->bytes - (begins && !bracket ? 3 : 0)));
  *bytes = out->bytes - before;
  return QUERN_OK;
}

/* The tokens into s; spelled: where WordPiece's texts lie, which must not move. */
static quern_status put_tokens(tok_spec *s, const qn_token_list *l, qn_buffer *spelled) {
  size_t total = 0;
  for (size_t i = 0; i < l->count; i++) total += l->tokens[i].bytes + 2; /* they lie in memory: no wrap */
  if (s->kind == QN_TOKENIZER_WORDPIECE) QN_TRY(qn_buffer_reserve(s->env, spelled, total));
  for (size_t i = 0; i < l->count; i++) {
    const char *text = l->tokens[i].text;
    size_t bytes = l->tokens[i].bytes;
    QN_TRY(check_utf8(s, text, bytes, i));
    if (s->kind == QN_TOKENIZER_WORDPIECE) {
      text = (const char *)spelled->data + spelled->bytes;
      QN_TRY(respell(s->env, &l->tokens[i], spelled, &bytes));
    }
    const int whole = s->kind == QN_TOKENIZER_UNIGRAM && l->tokens[i].type != QN_LISTED_NORMAL;
    QN_TRY(qn_spec_token(s, text, bytes, (int64_t)i, !whole));
    if (s->scores) s->scores[i] = (double)l->tokens[i].score;
    s->byte_fallback |= l->tokens[i].type == QN_LISTED_BYTE;
  }
  for (size_t i = 0; i < l->count; i++) {
    const uint32_t type = l->tokens[i].type;
    const int special = type == QN_LISTED_CONTROL || type == QN_LISTED_UNKNOWN;
    if (!special && type != QN_LISTED_USER) continue;
    QN_TRY(qn_spec_added(s, s->tokens[i].text, s->tokens[i].bytes, (int64_t)i, special, 0));
  }
  return QUERN_OK;
}

static quern_status put_templates(tok_spec *s, const qn_token_list *l) {
  const int64_t ids[] = {l->unk, l->begin, l->end};
  for (size_t i = 0; i < 3; i++)
    if (ids[i] >= (int64_t)s->vocab || ids[i] < -1)
      return qn_fail(&s->env->error, QUERN_E_SOURCE,
                     "tokenizer: id %lld of a special token is not in the vocabulary of %u", (long long)ids[i],
                     s->vocab);
  if (s->kind == QN_TOKENIZER_WORDPIECE) {
    if (l->unk < 0 || l->begin < 0 || l->end < 0)
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: WordPiece needs the ids of [UNK], [CLS] and [SEP]");
    s->unk = (uint32_t)l->unk;
    return qn_spec_classic(s, (uint32_t)l->begin, (uint32_t)l->end, 0);
  }
  if ((l->add_begin && l->begin < 0) || (l->add_end && l->end < 0))
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: a token is put around texts, and its id is not told");
  if (l->unk < 0 && s->kind == QN_TOKENIZER_UNIGRAM)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "tokenizer: a unigram model needs the id of its unknown token");
  s->unk = l->unk < 0 ? QN_TOK_EMPTY : (uint32_t)l->unk;
  for (uint32_t pair = 0; pair < 2; pair++)
    for (uint32_t second = 0; second <= pair; second++) {
      if (l->add_begin) QN_TRY(qn_spec_item(s, (int)pair, (uint32_t)l->begin, second));
      QN_TRY(qn_spec_item(s, (int)pair, QN_TEMPLATE_TEXT + second, second));
      if (l->add_end) QN_TRY(qn_spec_item(s, (int)pair, (uint32_t)l->end, second));
    }
  return QUERN_OK;
}

static quern_status set_rules(tok_spec *s, const qn_token_list *l) {
  static const struct {
    const char *name;
    uint32_t words;
  } known[] = {{"gpt2", QN_WORDS_GPT2}, {"llama3", QN_WORDS_LLAMA3}, {"qwen2", QN_WORDS_QWEN2}};
  s->kind = l->kind;
  switch (l->kind) {
    case QN_TOKENIZER_WORDPIECE: /* a list does not tell; BERT's uncased models are the ones that have one */
      s->flags = QN_WP_CLEAN | QN_WP_CHINESE | QN_WP_STRIP | QN_WP_LOWER | QN_WP_DECODER | QN_WP_CLEANUP;
      return QUERN_OK;
    case QN_TOKENIZER_BYTE_BPE:
      s->prefix_bytes = s->max_word_chars = 0;
      s->flags = (l->digits ? QN_BPE_DIGITS : 0) | (l->nfc ? QN_BPE_NFC : 0);
      s->ignore_merges = l->ignore_merges;
      for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (l->words && strcmp(l->words, known[i].name) == 0) s->words = known[i].words;
      if (s->words && (!l->digits || s->words == QN_WORDS_GPT2)) return QUERN_OK;
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: words by \"%s\" are not supported",
                     l->words ? l->words : "");
    case QN_TOKENIZER_CHAR_BPE:
      s->prefix_bytes = s->max_word_chars = 0;
      s->flags = QN_BPE_FUSE_UNK | (l->blank ? QN_BPE_BLANK | QN_BPE_DROP_BLANK : 0);
      s->byte_fallback = 1;
      return QUERN_OK;
    case QN_TOKENIZER_UNIGRAM:
      s->prefix_bytes = s->max_word_chars = 0;
      s->flags = QN_UNIGRAM_WORDS | QN_UNIGRAM_LONGEST |
                 (l->blank ? QN_BPE_BLANK | QN_BPE_BLANK_UNLESS | QN_BPE_DROP_BLANKS : 0) |
                 (l->strip ? QN_UNIGRAM_STRIP_LEFT | QN_UNIGRAM_STRIP_RIGHT | QN_UNIGRAM_COLLAPSE : 0);
      QN_TRY(qn_spec_scores(s));
      if (!l->charsmap_bytes) return QUERN_OK;
      QN_TRY(qn_buffer_append(s->env, &s->charsmap, l->charsmap, l->charsmap_bytes));
      return qn_spec_check_charsmap(s);
    default:
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: kind %u is unknown", l->kind);
  }
}

quern_status qn_tokenizer_build_list(qn_env *env, const qn_token_list *list, uint32_t model_vocab, qn_buffer *section) {
  tok_spec s;
  qn_buffer spelled = {0};
  size_t added = 0;
  if (list->count == 0 || list->count > model_vocab)
    return qn_fail(&env->error, QUERN_E_SOURCE, "tokenizer: %zu tokens for the %u rows of the embedding", list->count,
                   model_vocab);
  for (size_t i = 0; i < list->count; i++)
    added += list->tokens[i].type >= QN_LISTED_UNKNOWN && list->tokens[i].type <= QN_LISTED_USER;
  quern_status status = qn_spec_init(&s, env, model_vocab, added);
  if (status) return status;
  QN_TRY_CLEANUP(set_rules(&s, list));
  QN_TRY_CLEANUP(put_tokens(&s, list, &spelled));
  QN_TRY_CLEANUP(put_templates(&s, list));
  if (s.kind == QN_TOKENIZER_BYTE_BPE || s.kind == QN_TOKENIZER_CHAR_BPE)
    QN_TRY_CLEANUP(list->merges ? merges_by_rank(&s, list) : merges_by_score(&s, list));
  status = qn_spec_write(&s, section);
cleanup:
  qn_spec_free(&s);
  qn_buffer_free(env, &spelled);
  return status;
}
