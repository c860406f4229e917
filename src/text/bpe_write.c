/* bpe_write.c - a described BPE tokenizer to the bytes of a TOKENIZER section. Which texts are looked up whole is found by
 * merging each token's own text with the tables just written. One thread. */
#include <string.h>
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/tables_write.h"

quern_status qn_spec_merges(tok_spec *s, size_t count) {
  if (count > QN_BPE_MAX_MERGES || s->cap > QN_BPE_MAX_VOCAB)
    return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                   "tokenizer: %zu merges in a vocabulary of up to %u; %u and %u are supported", count, s->cap,
                   QN_BPE_MAX_MERGES, QN_BPE_MAX_VOCAB);
  s->merge_cap = count;
  return qn_alloc_array(s->env, (void **)&s->merges, count, sizeof *s->merges, "the merges");
}

quern_status qn_spec_merge(tok_spec *s, const char *left, size_t left_bytes, const char *right, size_t right_bytes) {
  char both[2 * QN_TOK_MAX_TOKEN_BYTES];
  const uint32_t a = qn_spec_find(s, left, left_bytes), b = qn_spec_find(s, right, right_bytes);
  uint32_t joined = QN_TOK_EMPTY;
  if (a != QN_TOK_EMPTY && b != QN_TOK_EMPTY) { /* so neither is longer than a token may be */
    memcpy(both, left, left_bytes);
    memcpy(both + left_bytes, right, right_bytes);
    joined = qn_spec_find(s, both, left_bytes + right_bytes);
  }
  if (joined == QN_TOK_EMPTY || s->merge_count == s->merge_cap)
    return qn_fail(&s->env->error, QUERN_E_SOURCE,
                   "tokenizer: merge %zu, of \"%.*s\" and \"%.*s\", names a token that the vocabulary lacks",
                   s->merge_count, (int)left_bytes, left, (int)right_bytes, right);
  s->merges[s->merge_count++] = (tok_merge){a, b, joined};
  return QUERN_OK;
}

/* ---- texts ---- */

/* The character that byte-level vocabularies write for a byte: itself where it is a visible one of Latin-1. */
static uint32_t character_of(uint32_t byte) {
  if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174) return byte;
  return 256 + (byte <= 32 ? byte : byte <= 160 ? byte - 127 + 33 : 67);
}

/* The other way, or 256. */
static uint32_t byte_of(uint32_t cp) {
  if (cp < 256) return character_of(cp) == cp ? cp : 256;
  if (cp <= 288) return cp - 256;
  if (cp <= 322) return cp - 289 + 127;
  return cp == 323 ? 173 : 256;
}

/* A text of that alphabet as bytes; 0: it is none. */
static int as_bytes(const tok_entry *k, uint8_t *out, uint32_t *n) {
  uint32_t used = 0;
  *n = 0;
  for (uint32_t at = 0; at < k->bytes; at += used) {
    const uint32_t byte = byte_of(qn_utf8_decode((const uint8_t *)k->text + at, k->bytes - at, &used));
    if (byte > 255) return 0;
    out[(*n)++] = (uint8_t)byte;
  }
  return 1;
}

static uint32_t hex(char c) {
  if (c >= '0' && c <= '9') return (uint32_t)(c - '0');
  if (c >= 'A' && c <= 'F') return (uint32_t)(c - 'A') + 10;
  return c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 16;
}

uint32_t qn_bpe_named_byte(const tok_entry *k) {
  if (k->bytes != 6 || memcmp(k->text, "<0x", 3) != 0 || k->text[5] != '>') return 256;
  const uint32_t high = hex(k->text[3]), low = hex(k->text[4]);
  return high < 16 && low < 16 ? high << 4 | low : 256;
}

void qn_bpe_as_blanks(const tok_entry *k, uint8_t *out, uint32_t *n) {
  *n = 0;
  for (uint32_t at = 0; at < k->bytes;) {
    const int escape = k->bytes - at >= 3 && memcmp(k->text + at, "\xE2\x96\x81", 3) == 0;
    out[(*n)++] = escape ? ' ' : (uint8_t)k->text[at];
    at += escape ? 3 : 1;
  }
}

/* Each token as it is stored; those that words may be have in_model 2. *keys: how many. */
static quern_status collect(qn_tables_writer *w, uint64_t *keys) {
  tok_spec *s = w->s;
  uint8_t text[QN_TOK_MAX_TOKEN_BYTES];
  for (uint32_t i = 0; i < s->vocab; i++) {
    tok_entry *k = &s->tokens[i];
    uint32_t n = k->bytes, byte = qn_bpe_named_byte(k);
    int key = k->in_model && n > 0;
    if (s->kind == QN_TOKENIZER_BYTE_BPE) {
      if (!as_bytes(k, text, &n)) {
        key = 0;
        memcpy(text, k->text, n = k->bytes);
      }
    } else if (byte < 256 && s->byte_fallback) {
      text[0] = (uint8_t)byte, n = 1, key = 0;
      k->flags |= QN_TOKEN_BYTE;
    } else {
      if (n && memchr(k->text, ' ', n)) key = 0; /* no blank is left in what is merged */
      qn_bpe_as_blanks(k, text, &n);
    }
    QN_TRY(qn_tables_put(w, k, text, n));
    if (!key) continue;
    k->in_model = 2;
    ++*keys;
    if (n > w->h.max_token_bytes) w->h.max_token_bytes = n;
  }
  return QUERN_OK;
}

/* An added token that is matched in normalized text: its own text normalized, with the blank that begins every text. */
static quern_status append_pattern(qn_tables_writer *w, const tok_entry *k, uint32_t *chars) {
  const tok_spec *s = w->s;
  const uint8_t *text = (const uint8_t *)k->text;
  qn_reader r;
  *chars = 0;
  const uint32_t flags = (s->flags & QN_BPE_NFC ? QN_READ_NFC : 0) | (s->words ? 0 : QN_READ_BLANKS);
  qn_reader_begin(&r, text, text + k->bytes, flags, (s->flags & QN_BPE_BLANK) != 0);
  for (; r.cp != QN_READ_END; qn_reader_next(&r)) {
    uint8_t bytes[4];
    QN_TRY(qn_buffer_append(s->env, &w->patterns, bytes, qn_utf8_encode(r.cp, bytes)));
    ++*chars;
  }
  return QUERN_OK;
}

/* What no text of a BPE model needs, and would need code. */
static quern_status check_added(const tok_spec *s) {
  for (uint32_t i = 0; i < s->added_count; i++) {
    const qn_added *a = &s->added[i];
    if (!(a->flags & QN_ADDED_NORMALIZED)) continue;
    if (s->late_blanks || (a->flags & ~QN_ADDED_NORMALIZED))
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                     "tokenizer: added token \"%.*s\" is normalized, and %s; not supported with BPE",
                     (int)s->tokens[a->id].bytes, s->tokens[a->id].text,
                     s->late_blanks ? "a pre-tokenizer puts blanks" : "takes blanks or must be a word");
  }
  return QUERN_OK;
}

/* ---- tables ---- */

static void fill_classes(qn_tables_writer *w) {
  uint8_t *classes = qn_tables_at(w, QN_TABLE_CLASSES);
  for (uint32_t c = 0; c < 128; c++) {
    const uint32_t props = qn_unicode_props(c);
    uint32_t class = QN_CHAR_OTHER;
    if ((props & QN_UC_DIGIT) && (w->s->flags & QN_BPE_DIGITS))
      class = QN_CHAR_END;
    else if (props & QN_UC_LETTER)
      class = QN_CHAR_LETTER;
    else if (props & QN_UC_NUMBER)
      class = QN_CHAR_NUMBER;
    else if (props & QN_UC_SPACE)
      class = c == '\r' || c == '\n' ? QN_CHAR_NEWLINE : QN_CHAR_BLANK;
    classes[c] |= (uint8_t) class;
  }
  for (uint32_t i = 0; i < w->s->added_count; i++) {
    const uint8_t first = w->pool.data[w->s->added[i].pattern];
    if ((w->s->added[i].flags & QN_ADDED_NORMALIZED) && first < 128) classes[first] |= QN_CHAR_STARTS;
  }
}

static void fill_units(qn_tables_writer *w) {
  uint32_t *units = qn_tables_at(w, QN_BPE_UNITS);
  memset(units, 0xFF, QN_BPE_UNIT_COUNT * 4);
  for (uint32_t i = 0; i < w->s->vocab; i++) {
    const tok_entry *k = &w->s->tokens[i];
    if (k->stored != 1 || !(k->flags & QN_TOKEN_PRESENT)) continue;
    const uint8_t byte = w->pool.data[k->at];
    if (k->flags & QN_TOKEN_BYTE)
      units[byte] = i;
    else if (k->in_model == 2 && w->s->kind == QN_TOKENIZER_BYTE_BPE)
      units[byte] = i;
    else if (k->in_model == 2)
      units[256 + byte] = i;
  }
}

static uint32_t first_character(const qn_tables_writer *w, const tok_entry *k) {
  uint32_t used = 0;
  return k->stored ? qn_utf8_decode(w->pool.data + k->at, k->stored, &used) : 0;
}

static uint32_t last_character(const qn_tables_writer *w, const tok_entry *k) {
  uint32_t used = 0, cp = 0;
  for (uint32_t at = 0; at < k->stored; at += used)
    cp = qn_utf8_decode(w->pool.data + k->at + at, k->stored - at, &used);
  return cp;
}

static quern_status fill_merges(qn_tables_writer *w, qn_bpe_header *h) {
  const tok_spec *s = w->s;
  uint64_t *slots = qn_tables_at(w, QN_BPE_PAIRS);
  uint32_t *results = qn_tables_at(w, QN_BPE_RESULTS);
  uint8_t *joins = qn_tables_at(w, QN_BPE_JOINS);
  memset(slots, 0xFF, (size_t)w->size[QN_BPE_PAIRS]);
  for (uint32_t i = 0; i < h->merges; i++) {
    const tok_merge *m = &s->merges[i];
    const tok_entry *left = &s->tokens[m->left], *right = &s->tokens[m->right];
    if ((left->flags | right->flags) & QN_TOKEN_BYTE)
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: merge %u is of a byte of the fallback", i);
    const uint64_t pair = qn_bpe_pair(m->left, m->right);
    uint32_t at = qn_bpe_pair_first(pair, h->pair_slots), probe = 1;
    for (; slots[at] != QN_BPE_EMPTY && (slots[at] & QN_BPE_PAIR_MASK) != pair; probe++)
      if (++at == h->pair_slots) at = 0;
    slots[at] = pair | (uint64_t)i << 42; /* of the same pair the last counts */
    results[i] = m->result;
    if (probe > h->pair_probe) h->pair_probe = probe;
    if (probe > QN_TOK_MAX_PROBE)
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: the merges defeat the hash table");
    if (!h->join_bits) continue;
    const uint32_t bit = qn_bpe_join(last_character(w, left), first_character(w, right), h->join_bits);
    joins[bit >> 3] |= (uint8_t)(1u << (bit & 7u));
  }
  return QUERN_OK;
}

static int is_character(const qn_tables_writer *w, const tok_entry *k) {
  uint32_t used = 0;
  qn_utf8_decode(w->pool.data + k->at, k->stored, &used);
  return used == k->stored;
}

static quern_status insert(qn_tables_writer *w, uint32_t id) {
  uint64_t end = QN_TOK_HASH;
  const tok_entry *k = &w->s->tokens[id];
  for (uint32_t i = 0; i < k->stored; i++) end = qn_tok_hash_byte(end, w->pool.data[k->at + i]);
  end = qn_tok_hash_end(end);
  QN_TRY(qn_tables_insert(w, id | qn_bpe_slot_tag(end), end));
  /* Merging looks characters up while the table grows. */
  memcpy(w->out, &w->h, sizeof w->h);
  return QUERN_OK;
}

/* A function of its own, for its stack. Is merging the token's text what gives the token? */
static int __attribute__((noinline)) is_merged(const qn_tables_writer *w, const qn_tokenizer *t, uint32_t id) {
  qn_bpe_pieces pieces;
  const tok_entry *k = &w->s->tokens[id];
  qn_bpe_merge(t, w->pool.data + k->at, k->stored, &pieces);
  return pieces.n == 1 && pieces.id[0] == id;
}

/* Characters first: merging begins with them. */
static quern_status fill_slots(qn_tables_writer *w) {
  const tok_spec *s = w->s;
  qn_tokenizer t = {
      .env = s->env, .data = w->out, .bytes = w->bytes, .kind = s->kind, .vocab = s->vocab, .is = w->kind};
  for (uint32_t i = 0; i < w->kind->tables; i++) {
    t.tables[i] = w->out + w->offset[i];
    t.sizes[i] = w->size[i];
  }
  const int characters = s->kind == QN_TOKENIZER_CHAR_BPE;
  for (int pass = !characters; pass < 2; pass++)
    for (uint32_t i = 0; i < s->vocab; i++) {
      const tok_entry *k = &s->tokens[i];
      if (k->in_model != 2 || (characters && is_character(w, k) != !pass)) continue;
      if (pass == 0 || s->ignore_merges || is_merged(w, &t, i)) QN_TRY(insert(w, i));
    }
  return QUERN_OK;
}

quern_status qn_bpe_write(tok_spec *s, qn_buffer *section) {
  qn_tables_writer w;
  uint64_t keys = 0;
  quern_status status;
  QN_TRY_CLEANUP(qn_tables_begin(&w, s, s->kind == QN_TOKENIZER_BYTE_BPE ? &qn_byte_bpe_kind : &qn_char_bpe_kind));
  w.pattern = append_pattern;
  w.h.flags = s->flags;
  QN_TRY_CLEANUP(check_added(s));
  QN_TRY_CLEANUP(collect(&w, &keys));
  QN_TRY_CLEANUP(qn_tables_put_added(&w, keys));
  qn_bpe_header h = {.common = w.h, .words = s->words, .merges = (uint32_t)s->merge_count};
  h.pair_slots = h.merges + h.merges / 2 + 16; /* at most two thirds full */
  if (s->kind == QN_TOKENIZER_CHAR_BPE)        /* merges join fewer than a tenth of as many places of characters */
    for (h.join_bits = 14; h.join_bits < 20 && ((uint64_t)1 << h.join_bits) < 4 * (uint64_t)h.merges;) h.join_bits++;
  QN_TRY_CLEANUP(qn_tables_fill(&w, &h.common));
  fill_classes(&w);
  fill_units(&w);
  QN_TRY_CLEANUP(fill_merges(&w, &h));
  memcpy(w.out, &h, sizeof h);
  QN_TRY_CLEANUP(fill_slots(&w));
  QN_TRY_CLEANUP(qn_tables_finish(&w, section));
cleanup:
  qn_tables_free(&w);
  return status;
}
