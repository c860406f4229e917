/* wordpiece.c - WordPiece encoding: text to ids in one pass, word by word, on the stack.
 *
 * Raw text is cut at added tokens that are matched as written. Between them, each character is normalized, the
 * normalized characters are searched for added tokens of the other kind, and words are built, split off at blanks and
 * punctuation and looked up, longest piece first. A word longer than the model's limit is unknown whatever it holds,
 * so that its buffer is bounded. Bytes whose class in the section is simple skip all of this but the look-up.
 * Not here: templates, cutting to a length. Read-only tables: any thread. */
#include <string.h>
#include "base/checked.h"
#include "base/utf8.h"
#include "text/wordpiece.h"

#define WINDOW 1024u /* of normalized characters that may begin an added token */

/* Where characters came from, kept only when spans are asked for. Every character then goes the slow way, one by one.
   Marks that were dropped are not traced: where one stood among spacing marks that canonical order moves (musical symbols,
   Hangul tone marks), Hugging Face's tokenizers may give the place of a neighbour. */
typedef struct wp_trace {
  const uint8_t *text;
  quern_span raw;     /* of the raw character that is being normalized */
  quern_span current; /* of the normalized character that is being taken */
  quern_span token;   /* of the id that is emitted next */
  size_t blank;       /* where the blanks before the current character began */
  int in_blank;
  quern_span last; /* of the word's last character, also past max_word_chars */
  quern_span word[QN_WP_MAX_WORD_CHARS];
  quern_span window[WINDOW];
} wp_trace;

typedef struct wp_encoder {
  const qn_tokenizer *t;
  const qn_tok_header *h;
  const uint8_t *classes; /* [256] */
  qn_ids *out;
  wp_trace *trace; /* NULL: no spans */
  int32_t type;
  uint32_t bytes, chars; /* of the word so far; chars stops at max_word_chars + 1, bytes before that */
  uint32_t run_start;    /* where the word's last run of ordered marks begins */
  uint32_t before;       /* the normalized character that came last; ' ' at the start of a stretch */
  uint32_t window_at, window_end, skip;
  int stripped;     /* only blanks have come since an added token that takes the blanks behind it */
  uint32_t barrier; /* to be joined to the next character of the window */
  uint8_t word[QN_WP_MAX_WORD_CHARS * 4 + 8];
  uint32_t window[WINDOW];
} wp_encoder;

static void emit(wp_encoder *e, uint32_t id) {
  qn_ids_put(e->out, id < e->h->vocab ? id : e->h->unk, e->type, 0, e->trace ? &e->trace->token : NULL);
}

/* Id of the key of that ended hash, or QN_TOK_EMPTY. */
static uint32_t find(const wp_encoder *e, uint64_t end, int rest, const uint8_t *key, uint32_t bytes) {
  const uint32_t *slots = e->t->tables[QN_TABLE_SLOTS], *offsets = e->t->tables[QN_TABLE_OFFSETS];
  const uint8_t *pool = e->t->tables[QN_TABLE_POOL];
  uint32_t mask = (1u << e->h->slot_bits) - 1u, at = qn_tok_slot_first(end, e->h->slot_bits);
  uint32_t want = qn_wp_slot_key(end, rest), skip = rest ? e->h->prefix_bytes : 0;
  for (uint32_t probe = 0; probe < e->h->max_probe; probe++, at = (at + 1u) & mask) {
    uint32_t slot = slots[at];
    if (slot == QN_TOK_EMPTY) break;
    if ((slot & QN_WP_SLOT_KEY) != want) continue;
    uint32_t id = slot & QN_TOK_SLOT_ID;
    if (id >= e->h->vocab) continue;
    uint32_t from = offsets[id], to = offsets[id + 1];
    if (from > to || to > e->h->pool_bytes || to - from != (uint64_t)bytes + skip) continue;
    if (memcmp(pool + from + skip, key, bytes) == 0) return id;
  }
  return QN_TOK_EMPTY;
}

/* Longest piece of the word at `at`, its id and length, or QN_TOK_EMPTY. */
static uint32_t find_longest(const wp_encoder *e, uint32_t at, uint32_t *length) {
  uint64_t hash[QN_TOK_MAX_TOKEN_BYTES + 1], h = at ? QN_WP_HASH_REST : QN_TOK_HASH;
  uint32_t n = e->bytes - at < e->h->max_token_bytes ? e->bytes - at : e->h->max_token_bytes;
  if (n > 1) {
    const uint8_t *reach = e->t->tables[QN_WP_REACH];
    uint32_t most = reach[qn_wp_reach_index(e->word[at], e->word[at + 1], at != 0)];
    if (most < 255 && most < n) n = most > 1 ? most : 1;
  }
  for (uint32_t i = 0; i < n; i++) hash[i] = h = qn_tok_hash_byte(h, e->word[at + i]);
  for (; n > 0; n--) {
    if (at + n < e->bytes && (e->word[at + n] & 0xC0u) == 0x80u) continue; /* in the middle of a character */
    uint32_t id = find(e, qn_tok_hash_end(hash[n - 1]), at != 0, e->word + at, n);
    if (id != QN_TOK_EMPTY) {
      *length = n;
      return id;
    }
  }
  return QN_TOK_EMPTY;
}

/* The span of the word's bytes up to `end`, the first of which are those of character *at; moves *at past them. Marks
   may have changed places: as in Hugging Face's tokenizers, the n-th character keeps the place of the n-th. */
static void trace_piece(wp_encoder *e, uint32_t from, uint32_t end, uint32_t *at) {
  wp_trace *t = e->trace;
  t->token.begin = t->word[*at].begin;
  for (; from < end; from++) *at += (e->word[from] & 0xC0u) != 0x80u;
  t->token.end = t->word[*at - 1].end;
}

/* The span of the whole word. */
static void trace_word(wp_trace *t) { t->token = (quern_span){t->word[0].begin, t->last.end}; }

static void split_word(wp_encoder *e) {
  size_t start = e->out->count;
  uint32_t length = 0, chars = 0;
  for (uint32_t at = 0; at < e->bytes; at += length) {
    uint32_t id = find_longest(e, at, &length);
    if (id == QN_TOK_EMPTY) { /* one piece unknown: the whole word is */
      e->out->count = start;
      if (e->trace) trace_word(e->trace);
      emit(e, e->h->unk);
      return;
    }
    if (e->trace) trace_piece(e, at, at + length, &chars);
    emit(e, id);
  }
}

static void end_word(wp_encoder *e) {
  if (e->chars == 0) return;
  if (e->trace) trace_word(e->trace);
  if (e->chars > e->h->max_word_chars) {
    emit(e, e->h->unk);
  } else {
    uint64_t h = QN_TOK_HASH;
    for (uint32_t i = 0; i < e->bytes; i++) h = qn_tok_hash_byte(h, e->word[i]);
    uint32_t id = find(e, qn_tok_hash_end(h), 0, e->word, e->bytes);
    if (id != QN_TOK_EMPTY)
      emit(e, id);
    else
      split_word(e);
  }
  e->bytes = e->chars = e->run_start = 0;
}

/* Before a character is taken: blanks behind an added token that takes them are its own. */
static void trace_character(wp_encoder *e, int space) {
  wp_trace *t = e->trace;
  const size_t last = e->out->count - 1 - e->out->skip;
  if (space && !t->in_blank) t->blank = (size_t)t->current.begin;
  if (space && e->stripped && last < e->out->cap) e->out->spans[last].end = t->current.end;
  t->in_blank = space;
}

/* A normalized character into words. */
static void take(wp_encoder *e, uint32_t cp) {
  if (cp & QN_WP_BARRIER) {
    e->run_start = e->bytes;
    cp &= ~QN_WP_BARRIER;
    if (cp == 0) return;
  }
  uint32_t props = qn_unicode_props(cp);
  e->before = cp;
  if (e->trace) trace_character(e, (props & QN_UC_SPACE) != 0);
  if (props & QN_UC_SPACE) {
    end_word(e);
    return;
  }
  e->stripped = 0;
  if (props & QN_UC_PUNCTUATION) end_word(e);
  if (e->chars <= e->h->max_word_chars) {
    int ordered = (e->h->flags & QN_WP_STRIP) && (props & QN_UC_ORDERED);
    if (e->trace && e->chars < e->h->max_word_chars) e->trace->word[e->chars] = e->trace->current;
    e->chars++;
    if (e->chars <= e->h->max_word_chars) e->bytes = qn_wp_append(e->word, e->bytes, cp, ordered, &e->run_start);
  }
  if (e->trace) e->trace->last = e->trace->current;
  if (props & QN_UC_PUNCTUATION) end_word(e);
}

/* ---- added tokens in normalized text ---- */

static uint32_t is_word(uint32_t cp) { return qn_unicode_props(cp & ~QN_WP_BARRIER) & QN_UC_WORD; }

static const qn_added *window_match(const wp_encoder *e, uint32_t *length) {
  const qn_added *found = NULL;
  qn_added_match m;
  qn_added_match_begin(&m, e->t, QN_TABLE_NORMAL);
  for (uint32_t i = e->window_at; i < e->window_end && qn_added_match_next(&m, e->window[i] & ~QN_WP_BARRIER); i++) {
    const qn_added *a = qn_added_match_found(&m);
    if (!a) continue;
    found = a;
    *length = i + 1 - e->window_at;
  }
  return found;
}

/* Is the window up to `next` blank? */
static int is_blank(const wp_encoder *e, uint32_t next) {
  for (uint32_t i = e->window_at; i < next; i++)
    if (!(qn_unicode_props(e->window[i] & ~QN_WP_BARRIER) & QN_UC_SPACE)) return 0;
  return 1;
}

/* The window's next character into words. */
static void take_window(wp_encoder *e) {
  if (e->trace) e->trace->current = e->trace->window[e->window_at];
  take(e, e->window[e->window_at++]);
}

/* The span of an added token that is the window up to `next`, with the blanks before it that it takes. */
static void trace_added(wp_encoder *e, const qn_added *a, uint32_t next) {
  wp_trace *t = e->trace;
  t->token = (quern_span){t->window[e->window_at].begin, t->window[next - 1].end};
  if ((a->flags & QN_ADDED_LSTRIP) && t->in_blank && !e->stripped) t->token.begin = t->blank;
  t->in_blank = 0;
}

/* Passes on the characters of the window about which all is known; with `last`, all of them. */
static void drain(wp_encoder *e, int last) {
  while (e->window_at < e->window_end) {
    if (e->skip > 0) {
      e->skip--;
      take_window(e);
      continue;
    }
    qn_added_match head;
    qn_added_match_begin(&head, e->t, QN_TABLE_NORMAL);
    if (!qn_added_match_next(&head, e->window[e->window_at] & ~QN_WP_BARRIER)) {
      take_window(e);
      continue;
    }
    if (!last && e->window_end - e->window_at <= e->h->pattern_chars) return;
    uint32_t length = 0;
    const qn_added *a = window_match(e, &length);
    if (!a) {
      take_window(e);
      continue;
    }
    uint32_t next = e->window_at + length;
    if ((a->flags & QN_ADDED_SINGLE_WORD) &&
        (is_word(e->before) || (next < e->window_end && is_word(e->window[next])))) {
      e->skip = length;
      continue;
    }
    end_word(e);
    if (e->trace) trace_added(e, a, next);
    if (!e->stripped || !(a->flags & QN_ADDED_LSTRIP) || !is_blank(e, next)) {
      emit(e, a->id);
      e->stripped = (a->flags & QN_ADDED_RSTRIP) != 0;
    }
    e->before = e->window[next - 1] & ~QN_WP_BARRIER;
    e->window_at = next;
  }
  e->window_at = e->window_end = 0;
}

/* A normalized character, or a barrier alone, on its way to words. */
static void pass(wp_encoder *e, uint32_t cp) {
  if (e->h->normalized == 0) {
    if (e->trace) e->trace->current = e->trace->raw;
    take(e, cp);
    return;
  }
  if (cp == QN_WP_BARRIER) {
    e->barrier = QN_WP_BARRIER;
    return;
  }
  if (e->window_end == WINDOW) {
    const uint32_t left = e->window_end - e->window_at;
    memmove(e->window, e->window + e->window_at, left * sizeof e->window[0]);
    if (e->trace) memmove(e->trace->window, e->trace->window + e->window_at, left * sizeof e->trace->window[0]);
    e->window_end -= e->window_at;
    e->window_at = 0;
  }
  if (e->trace) e->trace->window[e->window_end] = e->trace->raw;
  e->window[e->window_end++] = cp | e->barrier;
  e->barrier = 0;
  drain(e, 0);
}

/* ---- stretches of raw text between added tokens ---- */

static int in_word(const wp_encoder *e, uint8_t c) { return (e->classes[c] & 1u) && (e->classes[c] & QN_WP_CLASS) < 4; }

/* A run of simple word characters at p; returns its end. */
static const uint8_t *take_run(wp_encoder *e, const uint8_t *p, const uint8_t *end) {
  uint32_t limit = e->h->max_word_chars, n = e->bytes, chars = e->chars;
  const uint8_t *start = p;
  while (p < end && in_word(e, *p)) {
    if (chars < limit) {
      e->word[n++] = (uint8_t)(*p + ((e->classes[*p] & 2u) << 4));
      chars++;
    } else {
      chars = limit + 1;
    }
    p++;
  }
  if (p > start) e->before = p[-1];
  e->stripped = 0;
  e->bytes = e->run_start = n;
  e->chars = chars;
  return p;
}

static void trace_raw(wp_trace *t, const uint8_t *p, const uint8_t *end) {
  t->raw = (quern_span){(uint64_t)(p - t->text), (uint64_t)(end - t->text)};
}

static void encode_stretch(wp_encoder *e, const uint8_t *p, const uint8_t *end) {
  e->before = ' ';
  e->stripped = 0;
  if (e->trace) e->trace->in_blank = 0;
  while (p < end) {
    uint32_t class = e->window_end || e->trace ? QN_WP_SLOW : e->classes[*p] & QN_WP_CLASS;
    switch (class) {
      case QN_WP_AS_IS:
      case QN_WP_UPPER:
        p = take_run(e, p, end);
        break;
      case QN_WP_BLANK:
        end_word(e);
        e->before = ' ';
        p++;
        break;
      case QN_WP_PUNCTUATION:
        end_word(e);
        e->word[0] = *p++;
        e->before = e->word[0];
        e->stripped = 0;
        e->bytes = e->chars = 1;
        end_word(e);
        break;
      case QN_WP_DROP:
        p++;
        break;
      default: {
        uint32_t used = 1, out[8];
        uint32_t cp = qn_utf8_decode(p, (size_t)(end - p), &used);
        if (e->trace) trace_raw(e->trace, p, p + used);
        uint32_t n = qn_wp_normalize(e->h->flags, cp, out);
        for (uint32_t i = 0; i < n; i++) pass(e, out[i]);
        p += used;
      }
    }
  }
  if (e->window_end) drain(e, 1);
  e->skip = e->barrier = 0;
  end_word(e);
}

static quern_status encode(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out, wp_trace *trace) {
  wp_encoder e; /* the buffers are not cleared */
  e.t = t;
  e.h = (const void *)t->data;
  e.classes = t->tables[QN_TABLE_CLASSES];
  e.out = out;
  e.trace = trace;
  e.type = type;
  e.bytes = e.chars = e.run_start = e.window_at = e.window_end = e.skip = e.barrier = 0;
  qn_added_walk walk;
  qn_added_walk_begin(&walk, t, text);
  while (qn_added_walk_next(&walk)) {
    if (walk.from < walk.to) encode_stretch(&e, walk.from, walk.to);
    if (!walk.token) break;
    if (trace) trace->token = (quern_span){(uint64_t)(walk.start - walk.text), (uint64_t)(walk.stop - walk.text)};
    if (walk.start < walk.stop) emit(&e, walk.token->id);
  }
  return QUERN_OK;
}

/* A function of its own, for its 32 KiB of stack. */
static quern_status __attribute__((noinline))
encode_traced(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  wp_trace trace;
  trace.text = (const uint8_t *)text->utf8;
  return encode(t, text, type, out, &trace);
}

static quern_status encode_text(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  return out->spans ? encode_traced(t, text, type, out) : encode(t, text, type, out, NULL);
}

/* ---- the kind ---- */

static int own_sizes(const qn_tok_header *h, uint64_t *bytes) {
  bytes[QN_WP_REACH] = 4096;
  return (h->flags & ~QN_WP_FLAGS) == 0 && h->unk < h->vocab && h->max_word_chars != 0 &&
         h->max_word_chars <= QN_WP_MAX_WORD_CHARS && h->prefix_bytes <= h->pool_bytes;
}

const qn_tokenizer_kind qn_wordpiece_kind = {.kind = QN_TOKENIZER_WORDPIECE,
                                             .name = "wordpiece",
                                             .header_bytes = sizeof(qn_tok_header),
                                             .tables = QN_WP_TABLES,
                                             .sizes = own_sizes,
                                             .encode = encode_text,
                                             .text = qn_wp_text};
