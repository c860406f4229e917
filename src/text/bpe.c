/* bpe.c - BPE encoding, byte-level and over characters: text to ids in one pass, on the stack.
 *
 * Raw text is cut at added tokens matched as written. Between them characters are read normalized (characters.c), cut at
 * added tokens matched in normalized text, and gathered into words: those of a regular expression (bpe_words.c), or, of
 * CHAR_BPE, stretches between characters that no merge can join, which gives the ids of the whole text, since a merge
 * across such a place would have to make a token that holds both characters. Most words are looked up whole: the table
 * has just the texts that merging gives as one token. The others are merged (bpe_merge.c).
 *
 * A word that outgrows the buffer is merged in overlapping windows. What BPE makes of a text, it makes of any row of
 * the resulting tokens alone; and a row of tokens in which every two neighbours are what BPE makes of their joined text
 * is what it makes of the whole. So when two windows, the second beginning at a token's start in the first, have one token
 * in common, the tokens of the first up to it and those of the second from it are right. Where windows share no token
 * (merges that depend on text a thousand bytes further on, each with a rank of its own) the word is refused.
 * Read-only tables: any thread. */
#include "text/bpe.h"
#include <string.h>
#include "base/checked.h"
#include "base/utf8.h"

/* Where bytes came from, kept only when spans are asked for. */
typedef struct bpe_trace {
  const uint8_t *text;
  quern_span token; /* of the id that is emitted next */
  quern_span byte[QN_BPE_WINDOW];
} bpe_trace;

struct qn_bpe_encoder {
  const qn_tokenizer *t;
  const qn_bpe_header *h;
  const uint8_t *classes, *joins;
  const qn_text *text;
  qn_ids *out;
  bpe_trace *trace; /* NULL: no spans */
  qn_reader reader;
  quern_status status;
  int32_t type;
  int unknown;   /* the id before is the unknown token, of the same word */
  uint32_t last; /* CHAR_BPE: the word's last character */
  uint32_t bytes;
  uint8_t word[QN_BPE_WINDOW];
  uint32_t waiting; /* tokens of the window before, from the start of the word's buffer: they are in `before` */
  qn_bpe_pieces now, before;
};

static void emit(qn_bpe_encoder *e, uint32_t id) {
  const int unknown = id == e->h->common.unk;
  const int fused = e->unknown && unknown && (e->h->common.flags & QN_BPE_FUSE_UNK);
  qn_ids_put(e->out, id, e->type, fused, e->trace ? &e->trace->token : NULL);
  e->unknown = unknown;
}

/* ---- words ---- */

static void emit_piece(qn_bpe_encoder *e, const qn_bpe_pieces *s, uint32_t i) {
  if (e->trace) {
    const uint32_t from = i ? s->end[i - 1] : 0;
    e->trace->token = (quern_span){e->trace->byte[from].begin, e->trace->byte[s->end[i] - 1].end};
  }
  emit(e, s->id[i]);
}

static int same_piece(const qn_bpe_pieces *a, uint32_t i, const qn_bpe_pieces *b, uint32_t j) {
  const uint32_t from_a = i ? a->end[i - 1] : 0, from_b = j ? b->end[j - 1] : 0;
  return a->id[i] == b->id[j] && a->end[i] == b->end[j] && from_a == from_b;
}

/* Merges what the buffer holds; emits all of it when the word ends here, else what is before its middle, and keeps the
   rest for the next window to agree with. */
static void merge_word(qn_bpe_encoder *e, int ends) {
  uint32_t first = 0, seen = 0, stop;
  qn_bpe_merge(e->t, e->word, e->bytes, &e->now);
  if (e->waiting) { /* up to the first token that both windows have */
    while (seen < e->before.n && first < e->now.n && !same_piece(&e->before, seen, &e->now, first)) {
      if (e->before.end[seen] <= e->now.end[first])
        seen++;
      else
        first++;
    }
    if (seen == e->before.n || first == e->now.n) {
      e->status = qn_fail(&e->t->env->error, QUERN_E_UNSUPPORTED,
                          "tokenizer: a word of more than %u bytes cannot be cut: its merges depend on all of it",
                          QN_BPE_WINDOW);
      e->bytes = e->waiting = 0;
      return;
    }
    for (uint32_t i = 0; i < seen; i++) emit_piece(e, &e->before, i);
  }
  for (stop = first; stop < e->now.n && (ends || e->now.end[stop] <= QN_BPE_WINDOW / 2); stop++)
    emit_piece(e, &e->now, stop);
  if (ends) {
    e->bytes = e->waiting = 0;
    return;
  }
  /* Tokens are at most half a window long; where bytes without a token are left out, a window may be empty. */
  const uint32_t kept_from = stop ? e->now.end[stop - 1] : e->now.n ? 0 : e->bytes;
  e->before.n = 0;
  for (uint32_t i = stop; i < e->now.n; i++) {
    e->before.id[e->before.n] = e->now.id[i];
    e->before.end[e->before.n++] = e->now.end[i] - kept_from;
  }
  e->waiting = e->before.n != 0;
  e->bytes -= kept_from;
  memmove(e->word, e->word + kept_from, e->bytes);
  if (e->trace) memmove(e->trace->byte, e->trace->byte + kept_from, e->bytes * sizeof e->trace->byte[0]);
}

/* The word, or the part of it that no merge joins to the next, is complete. */
static void end_piece(qn_bpe_encoder *e) {
  if (e->bytes == 0) return;
  uint32_t id = e->waiting ? QN_TOK_EMPTY : qn_bpe_find(e->t, e->word, e->bytes);
  if (id != QN_TOK_EMPTY) {
    if (e->trace) e->trace->token = (quern_span){e->trace->byte[0].begin, e->trace->byte[e->bytes - 1].end};
    emit(e, id);
    e->bytes = 0;
  } else {
    merge_word(e, 1);
  }
}

static void end_word(qn_bpe_encoder *e) {
  end_piece(e);
  e->unknown = 0;
}

static void append(qn_bpe_encoder *e, uint32_t cp) {
  if (e->bytes + 4 > QN_BPE_WINDOW) {
    const uint32_t before = e->bytes;
    merge_word(e, 0);
    if (e->bytes == before) { /* no token ends in its first half: only a damaged section has such */
      e->status = qn_fail(&e->t->env->error, QUERN_E_FORMAT, "tokenizer: a token is longer than the section tells");
      e->bytes = e->waiting = 0;
    }
  }
  const uint32_t used = qn_utf8_encode(cp, e->word + e->bytes);
  if (e->trace) {
    const quern_span span = {(uint64_t)(e->reader.from - e->trace->text), (uint64_t)(e->reader.to - e->trace->text)};
    for (uint32_t i = 0; i < used; i++) e->trace->byte[e->bytes + i] = span;
  }
  e->bytes += used;
}

uint32_t qn_bpe_class(const qn_bpe_encoder *e, uint32_t cp) {
  if (cp < 0x80) return e->classes[cp] & QN_CHAR_CLASS;
  if (cp == QN_READ_END) return QN_CHAR_END;
  const uint32_t props = qn_unicode_props(cp);
  if ((props & QN_UC_DIGIT) && (e->h->common.flags & QN_BPE_DIGITS)) return QN_CHAR_END;
  if (props & QN_UC_LETTER) return QN_CHAR_LETTER;
  if (props & QN_UC_NUMBER) return QN_CHAR_NUMBER;
  return props & QN_UC_SPACE ? QN_CHAR_BLANK : QN_CHAR_OTHER;
}

const qn_reader *qn_bpe_reader(const qn_bpe_encoder *e) { return &e->reader; }

void qn_bpe_take(qn_bpe_encoder *e) {
  append(e, e->reader.cp);
  qn_reader_next(&e->reader);
}

/* Of a run of ASCII characters that are read as they are, those that fit and that no mark behind them can change. */
static void take_ascii(qn_bpe_encoder *e, uint32_t class) {
  const qn_reader *r = &e->reader;
  if (e->trace || r->cp >= 0x80 || r->left < (size_t)(r->end - r->from) || r->p != r->from + 1 || *r->from != r->cp)
    return;
  const size_t room = qn_min_size(QN_BPE_WINDOW - e->bytes, (size_t)(r->end - r->from));
  size_t n = 0;
  for (; n < room && r->from[n] < 0x80 && (e->classes[r->from[n]] & QN_CHAR_CLASS) == class; n++)
    e->word[e->bytes + n] = r->from[n];
  if (n && r->from + n < r->end && r->from[n] >= 0x80) n--;
  if (n == 0) return;
  e->bytes += (uint32_t)n;
  qn_reader_seek(&e->reader, r->from + n);
}

void qn_bpe_take_run(qn_bpe_encoder *e, uint32_t class) {
  take_ascii(e, class);
  while (qn_bpe_class(e, e->reader.cp) == class) qn_bpe_take(e);
}

/* ---- stretches ---- */

static int joined(const qn_bpe_encoder *e, uint32_t first, uint32_t second) {
  const uint32_t bit = qn_bpe_join(first, second, e->h->join_bits);
  return e->joins[bit >> 3] >> (bit & 7u) & 1;
}

/* From the reader's current character to its end. */
static void encode_characters(qn_bpe_encoder *e) {
  for (; e->reader.cp != QN_READ_END && !e->status; e->last = e->reader.cp, qn_reader_next(&e->reader)) {
    if (e->bytes && !joined(e, e->last, e->reader.cp)) end_piece(e);
    append(e, e->reader.cp);
  }
  end_word(e);
}

static void encode_words(qn_bpe_encoder *e) {
  while (e->reader.cp != QN_READ_END && !e->status) {
    const uint64_t before = e->reader.left;
    if (qn_bpe_class(e, e->reader.cp) == QN_CHAR_END)
      qn_bpe_take(e); /* a digit alone */
    else
      qn_bpe_next_word(e, e->h->words);
    if (e->reader.left == before && e->reader.cp != QN_READ_END)
      qn_bpe_take(e); /* a class that a damaged section has */
    end_word(e);
  }
}

static void encode_run(qn_bpe_encoder *e) {
  if (e->h->words == QN_WORDS_NONE)
    encode_characters(e);
  else
    encode_words(e);
}

/* The longest added token that begins at the reader's current character, and its characters. */
static const qn_added *normal_match(const qn_bpe_encoder *e, qn_reader r, uint64_t *length) {
  const qn_added *found = NULL;
  qn_added_match m;
  qn_added_match_begin(&m, e->t, QN_TABLE_NORMAL);
  const uint8_t *text = (const uint8_t *)e->text->utf8;
  const uint64_t begin = (uint64_t)(r.from - text);
  for (uint64_t n = 1; r.cp != QN_READ_END && qn_added_match_next(&m, r.cp); n++, qn_reader_next(&r)) {
    const qn_added *a = qn_added_match_found(&m);
    if (!a || !qn_added_allowed(e->t, e->text, a, begin, (uint64_t)(r.to - text))) continue;
    found = a;
    *length = n;
  }
  return found;
}

static int may_start(const qn_bpe_encoder *e, uint32_t cp) { return cp >= 0x80 || (e->classes[cp] & QN_CHAR_STARTS); }

/* A stretch between added tokens that are matched as written, cut at those that are matched in normalized text. */
static void encode_normalized(qn_bpe_encoder *e) {
  while (e->reader.cp != QN_READ_END && !e->status) {
    qn_reader ahead = e->reader;
    uint64_t before = 0, length = 0;
    const qn_added *a = NULL;
    while (ahead.cp != QN_READ_END && !(may_start(e, ahead.cp) && (a = normal_match(e, ahead, &length)))) {
      before++;
      qn_reader_next(&ahead);
    }
    if (before) {
      e->reader.left = before - 1;
      encode_run(e);
    }
    if (!a) return;
    e->reader = ahead;
    if (e->trace) e->trace->token.begin = (uint64_t)(ahead.from - e->trace->text);
    while (length-- > 0) {
      if (e->trace) e->trace->token.end = (uint64_t)(e->reader.to - e->trace->text);
      qn_reader_next(&e->reader);
    }
    if (a->id < e->t->vocab) emit(e, a->id);
    e->unknown = 0;
  }
}

static void encode_stretch(qn_bpe_encoder *e, const qn_added_walk *w) {
  const uint32_t flags = e->h->common.flags;
  const uint32_t read = (flags & QN_BPE_NFC ? QN_READ_NFC : 0) | (e->h->words ? 0 : QN_READ_BLANKS);
  int blank = (flags & QN_BPE_BLANK) != 0 && (!(flags & QN_BPE_BLANK_FIRST) || w->from == w->text);
  if (blank && (flags & QN_BPE_BLANK_UNLESS)) {
    qn_reader_begin(&e->reader, w->from, w->to, read, 0);
    blank = e->reader.cp != ' ';
  }
  qn_reader_begin(&e->reader, w->from, w->to, read, blank);
  if (e->h->common.normalized)
    encode_normalized(e);
  else
    encode_run(e);
}

static quern_status encode(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out, bpe_trace *trace) {
  qn_bpe_encoder e; /* the buffers are not cleared */
  e.t = t;
  e.h = (const void *)t->data;
  e.classes = t->tables[QN_TABLE_CLASSES];
  e.joins = t->tables[QN_BPE_JOINS];
  e.text = text;
  e.out = out;
  e.trace = trace;
  e.type = type;
  e.status = QUERN_OK;
  e.unknown = 0;
  e.bytes = e.waiting = e.last = 0;
  qn_added_walk walk;
  qn_added_walk_begin(&walk, t, text);
  while (qn_added_walk_next(&walk) && !e.status) {
    if (walk.from < walk.to) encode_stretch(&e, &walk);
    if (!walk.token) break;
    if (trace) trace->token = (quern_span){(uint64_t)(walk.start - walk.text), (uint64_t)(walk.stop - walk.text)};
    if (walk.start < walk.stop && walk.token->id < t->vocab) emit(&e, walk.token->id);
    e.unknown = 0;
  }
  return e.status;
}

/* A function of its own, for its 32 KiB of stack. */
static quern_status __attribute__((noinline))
encode_traced(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  bpe_trace trace;
  trace.text = (const uint8_t *)text->utf8;
  return encode(t, text, type, out, &trace);
}

static quern_status encode_text(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  return out->spans ? encode_traced(t, text, type, out) : encode(t, text, type, out, NULL);
}

/* ---- the kinds ---- */

size_t qn_bpe_token_text(const qn_tokenizer *t, int32_t id, const uint8_t *token, size_t bytes, uint32_t when,
                         uint8_t *text) {
  const uint32_t flags = ((const qn_tok_header *)(const void *)t->data)->flags;
  (void)id;
  size_t n = 0, at = 0;
  if ((when & QN_TEXT_EMPTY) && (flags & QN_BPE_DROP_BLANK) && bytes && token[0] == ' ') at = 1;
  for (; at < bytes; at++)
    if (token[at] != ' ' || !(when & QN_TEXT_FIRST) || !(flags & QN_BPE_DROP_BLANKS)) text[n++] = token[at];
  return n;
}

static int own_sizes(const qn_tok_header *common, uint64_t *bytes) {
  const qn_bpe_header *h = (const void *)common;
  const int byte_level = common->kind == QN_TOKENIZER_BYTE_BPE;
  if (common->vocab > QN_BPE_MAX_VOCAB || h->merges > QN_BPE_MAX_MERGES || h->pair_slots < 1 ||
      h->pair_probe > QN_TOK_MAX_PROBE || (byte_level ? h->join_bits != 0 : h->join_bits < 3 || h->join_bits > 26))
    return 0;
  for (size_t i = 0; i < sizeof h->reserved / sizeof h->reserved[0]; i++)
    if (h->reserved[i]) return 0;
  bytes[QN_BPE_UNITS] = QN_BPE_UNIT_COUNT * 4;
  bytes[QN_BPE_PAIRS] = (uint64_t)h->pair_slots * 8;
  bytes[QN_BPE_RESULTS] = (uint64_t)h->merges * 4;
  bytes[QN_BPE_JOINS] = byte_level ? 0 : (uint64_t)1 << (h->join_bits - 3);
  return (common->flags & ~QN_BPE_FLAGS) == 0 && (common->unk < common->vocab || common->unk == QN_TOK_EMPTY) &&
         common->max_word_chars == 0 && common->prefix_bytes == 0 && h->words <= QN_WORDS_LAST &&
         (h->words != QN_WORDS_NONE) == byte_level;
}

#define KIND(number, text_name, each_byte)                                                                             \
  {                                                                                                                    \
    .kind = (number), .name = (text_name), .header_bytes = sizeof(qn_bpe_header), .tables = QN_BPE_TABLES,             \
    .byte_by_byte = (each_byte), .sizes = own_sizes, .encode = encode_text, .text = qn_bpe_token_text                  \
  }
const qn_tokenizer_kind qn_byte_bpe_kind = KIND(QN_TOKENIZER_BYTE_BPE, "byte-bpe", 0);
const qn_tokenizer_kind qn_char_bpe_kind = KIND(QN_TOKENIZER_CHAR_BPE, "char-bpe", 1);
