/* wordpiece_write.c - a described WordPiece tokenizer to the bytes of a TOKENIZER section. One thread. */
#include <string.h>
#include "base/utf8.h"
#include "text/tables_write.h"
#include "text/wordpiece.h"

/* Can a word hold this piece? Words have no blanks, and punctuation only as a word of one character. */
static int fits_word(const char *text, uint32_t bytes, int rest) {
  const uint8_t *p = (const uint8_t *)text;
  uint32_t used = 0;
  for (uint32_t at = 0; at < bytes; at += used) {
    uint32_t props = qn_unicode_props(qn_utf8_decode(p + at, bytes - at, &used));
    if ((props & QN_UC_SPACE) || ((props & QN_UC_PUNCTUATION) && (rest || used != bytes))) return 0;
  }
  return bytes > 0;
}

/* Key of a token for the start (rest 0) or the rest of a word; 0: it has none. */
static int key_of(const tok_spec *s, const tok_entry *k, int rest, const char **key, uint32_t *bytes) {
  *key = k->text;
  *bytes = k->bytes;
  if (!k->in_model) return 0;
  if (rest) {
    if (k->bytes < s->prefix_bytes || memcmp(k->text, s->prefix, s->prefix_bytes) != 0) return 0;
    *key += s->prefix_bytes;
    *bytes -= s->prefix_bytes;
  }
  return fits_word(*key, *bytes, rest);
}

/* The pattern by which an added token is found in normalized text. */
static quern_status append_pattern(qn_tables_writer *w, const tok_entry *k, uint32_t *chars) {
  const uint8_t *p = (const uint8_t *)k->text;
  uint32_t used = 0;
  *chars = 0;
  for (uint32_t at = 0; at < k->bytes; at += used) {
    uint32_t out[8], n = qn_wp_normalize(w->s->flags, qn_utf8_decode(p + at, k->bytes - at, &used), out);
    for (uint32_t i = 0; i < n; i++) {
      if (out[i] == QN_WP_BARRIER) continue;
      if ((w->s->flags & QN_WP_STRIP) && (qn_unicode_props(out[i]) & QN_UC_ORDERED))
        return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED,
                       "tokenizer: added token \"%.*s\" is normalized and holds the combining mark U+%x; not supported",
                       (int)k->bytes, k->text, out[i]);
      uint8_t bytes[4];
      QN_TRY(qn_buffer_append(w->s->env, &w->patterns, bytes, qn_utf8_encode(out[i], bytes)));
      ++*chars;
    }
  }
  return QUERN_OK;
}

/* Texts into the pool: the prefix, then the tokens by id, then the patterns. */
static quern_status collect(qn_tables_writer *w) {
  tok_spec *s = w->s;
  uint64_t keys = 0;
  QN_TRY(qn_buffer_append(s->env, &w->pool, s->prefix, s->prefix_bytes));
  for (uint32_t i = 0; i < s->vocab; i++) {
    tok_entry *k = &s->tokens[i];
    const char *key;
    uint32_t bytes;
    QN_TRY(qn_tables_put(w, k, k->text, k->bytes));
    for (int rest = 0; rest < 2; rest++) {
      if (!key_of(s, k, rest, &key, &bytes)) continue;
      keys++;
      if (bytes > w->h.max_token_bytes) w->h.max_token_bytes = bytes;
    }
  }
  return qn_tables_put_added(w, keys);
}

static quern_status insert(qn_tables_writer *w, uint32_t id, int rest, const char *key, uint32_t bytes) {
  uint64_t hash = rest ? QN_WP_HASH_REST : QN_TOK_HASH;
  for (uint32_t i = 0; i < bytes; i++) hash = qn_tok_hash_byte(hash, (uint8_t)key[i]);
  const uint64_t end = qn_tok_hash_end(hash);
  if (bytes > 1) {
    uint8_t *reach = qn_tables_at(w, QN_WP_REACH);
    reach += qn_wp_reach_index((uint8_t)key[0], (uint8_t)key[1], rest);
    if (bytes > *reach) *reach = (uint8_t)(bytes < 255 ? bytes : 255);
  }
  return qn_tables_insert(w, id | qn_wp_slot_key(end, rest), end);
}

static int starts_with_prefix(const qn_tables_writer *w, uint32_t at, uint32_t bytes) {
  return bytes >= w->s->prefix_bytes && memcmp(w->pool.data + at, w->s->prefix, w->s->prefix_bytes) == 0;
}

static quern_status fill_keys(qn_tables_writer *w) {
  const tok_spec *s = w->s;
  uint8_t *flags = qn_tables_at(w, QN_TABLE_TOKENS);
  for (uint32_t i = 0; i < s->vocab; i++) {
    const tok_entry *k = &s->tokens[i];
    const char *key;
    uint32_t bytes;
    if (!(k->flags & QN_TOKEN_PRESENT)) continue;
    if (starts_with_prefix(w, k->at, k->bytes)) flags[i] |= QN_TOKEN_CONTINUES;
    for (int rest = 0; rest < 2; rest++)
      if (key_of(s, k, rest, &key, &bytes)) QN_TRY(insert(w, i, rest, key, bytes));
  }
  for (uint32_t i = 0; i < s->added_count; i++) {
    const qn_added *a = &s->added[i];
    if (!(a->flags & QN_ADDED_NORMALIZED)) continue;
    flags[a->id] &= (uint8_t)~QN_TOKEN_CONTINUES;
    if (starts_with_prefix(w, a->pattern, a->pattern_bytes)) flags[a->id] |= QN_TOKEN_CONTINUES;
  }
  return QUERN_OK;
}

static void fill_classes(qn_tables_writer *w) {
  uint8_t *classes = qn_tables_at(w, QN_TABLE_CLASSES);
  uint32_t flags = w->s->flags;
  for (uint32_t c = 0; c < 128; c++) {
    uint32_t props = qn_unicode_props(c), class = QN_WP_AS_IS;
    if ((flags & QN_WP_CLEAN) && (props & QN_UC_CONTROL))
      class = QN_WP_DROP;
    else if (props & QN_UC_SPACE)
      class = QN_WP_BLANK;
    else if (props & QN_UC_PUNCTUATION)
      class = QN_WP_PUNCTUATION;
    else if ((flags & QN_WP_LOWER) && (props & QN_UC_HAS_LOWER))
      class = QN_WP_UPPER;
    classes[c] |= (uint8_t) class;
  }
  for (uint32_t i = 0; i < w->s->added_count; i++) {
    const qn_added *a = &w->s->added[i];
    if (!(a->flags & QN_ADDED_NORMALIZED)) continue;
    const uint8_t first = w->pool.data[a->pattern];
    for (uint32_t c = 0; c < 128; c++) {
      uint32_t out[8], n = qn_wp_normalize(flags, c, out);
      if (n == 1 && out[0] == first) classes[c] &= (uint8_t)~QN_WP_CLASS;
    }
  }
}

quern_status qn_wp_write(tok_spec *s, qn_buffer *section) {
  qn_tables_writer w;
  quern_status status;
  QN_TRY_CLEANUP(qn_tables_begin(&w, s, &qn_wordpiece_kind));
  w.pattern = append_pattern;
  w.h.flags = s->flags;
  w.h.max_word_chars = s->max_word_chars;
  w.h.prefix_bytes = s->prefix_bytes;
  QN_TRY_CLEANUP(collect(&w));
  QN_TRY_CLEANUP(qn_tables_fill(&w, &w.h));
  QN_TRY_CLEANUP(fill_keys(&w));
  fill_classes(&w);
  QN_TRY_CLEANUP(qn_tables_finish(&w, section));
cleanup:
  qn_tables_free(&w);
  return status;
}
