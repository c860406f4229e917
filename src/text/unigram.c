/* unigram.c - encoding by a unigram model: of all ways to write a word as tokens the one whose scores have the largest sum, in
 * double, each sum in the order of the text; of equal ones the one that is found first. Characters that are no token have a score of
 * their own, and side by side are one unknown token, or bytes.
 *
 * A word that outgrows the buffer is given out as far as all ways that may still be best agree. Where they do not, as in a long run of
 * one character, the text is read on, from a copy of where it stands, until they do or the word ends; ways that have not agreed within
 * LOOKAHEAD bytes are refused, which bounds the work. Read-only tables: any thread. */
#include "text/unigram.h"

#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

#define WINDOW QN_UNIGRAM_WINDOW
#define LOOKAHEAD (1u << 17)
#define UNSET 0xFFFFu

typedef struct trace {
  const uint8_t *text;
  quern_span token; /* of the id that is emitted next */
  quern_span byte[WINDOW];
} trace;

/* A part of a word, and the best way to each of its places. */
typedef struct ways {
  uint32_t bytes, at; /* tokens that begin before `at` are known */
  uint8_t word[WINDOW];
  double best[WINDOW + 1];
  uint16_t from[WINDOW +
                1]; /* where its last token begins; of a scout the place of the other's that it comes by; UNSET: none */
} ways;

/* The text of a stretch, character by character; may be copied to look ahead. */
typedef struct reader {
  uint32_t cp; /* the current character, a blank for U+2581, or QN_READ_END */
  int starts;  /* it begins a word */
  quern_span span;
  uint32_t flags;
  const uint8_t *text;
  qn_mapped m;
  uint64_t left;           /* of m, as far as it is read */
  int puts, begins, apart; /* blanks are put; before what comes now; white space came before */
} reader;

typedef struct encoder {
  const qn_tokenizer *t;
  const qn_unigram_header *h;
  const double *scores;
  const uint8_t *reach;
  qn_ids *out;
  trace *trace; /* NULL: no spans */
  quern_status status;
  int32_t type;
  int unknown; /* the id before is the unknown token, of the same word */
  ways w;
  uint32_t id[WINDOW + 1]; /* of the last token of the best way to each place */
  uint16_t next[WINDOW + 1];
} encoder;

static void emit(encoder *e, uint32_t id) {
  const int unknown = id == e->h->common.unk;
  qn_ids_put(e->out, id, e->type, e->unknown && unknown, e->trace ? &e->trace->token : NULL);
  e->unknown = unknown;
}

/* ---- a word ------------------------------------------------------------------------------------------------------ */

/* A character that is no token. */
static void emit_unknown(encoder *e, const uint8_t *p, size_t n) {
  const uint32_t *units = e->t->tables[QN_UNIGRAM_BYTES];
  size_t known = 0;
  while (known < n && units[p[known]] < e->h->common.vocab) known++;
  if (known < n) {
    emit(e, e->h->common.unk);
    return;
  }
  for (size_t i = 0; i < n; i++) emit(e, units[p[i]]);
}

static void emit_piece(encoder *e, uint32_t from, uint32_t to) {
  if (e->trace) e->trace->token = (quern_span){e->trace->byte[from].begin, e->trace->byte[to - 1].end};
  if (e->id[to] == e->h->common.unk)
    emit_unknown(e, e->w.word + from, to - from);
  else
    emit(e, e->id[to]);
}

/* ids: [WINDOW + 1], or of a scout NULL. */
static void reach_place(ways *w, uint32_t *ids, uint32_t from, uint32_t to, double score, uint32_t id) {
  const double sum = score + w->best[from];
  if (w->from[to] != UNSET && !(sum > w->best[to])) return;
  w->best[to] = sum;
  w->from[to] = ids ? (uint16_t)from : w->from[from];
  if (ids) ids[to] = id;
}

/* Bytes that a key may have that begins here. */
static uint32_t longest_key(const encoder *e, const ways *w) {
  const uint32_t left = w->bytes - w->at, most = e->h->common.max_token_bytes;
  if (left < 2) return left;
  const uint32_t reach = e->reach[qn_unigram_reach(w->word + w->at)];
  const uint32_t bound = reach == 255 ? most : (uint32_t)qn_min_size(qn_max_size(reach, 1), most);
  return (uint32_t)qn_min_size(bound, left);
}

/* All tokens that begin at w->at, shortest first. */
static void begin_tokens(const encoder *e, ways *w, uint32_t *ids) {
  const uint8_t *text = w->word + w->at;
  uint32_t used = 1;
  int whole = 0;
  qn_utf8_decode(text, w->bytes - w->at, &used);
  const uint32_t most = longest_key(e, w);
  uint64_t hash = QN_TOK_HASH;
  for (uint32_t n = 1; n <= most; n++) {
    hash = qn_tok_hash_byte(hash, text[n - 1]);
    if (n < used || (w->at + n < w->bytes && (text[n] & 0xC0u) == 0x80u)) continue;
    const uint32_t id = qn_bpe_find_hashed(e->t, qn_tok_hash_end(hash), text, n);
    if (id == QN_TOK_EMPTY) continue;
    reach_place(w, ids, w->at, w->at + n, e->scores[id], id);
    whole |= n == used;
  }
  if (!whole) reach_place(w, ids, w->at, w->at + used, e->h->unknown, e->h->common.unk);
  w->at += used;
}

/* Those whose text is there for certain, whatever follows. */
static void begin_certain_tokens(const encoder *e, ways *w, uint32_t *ids) {
  while (w->at + e->h->common.max_token_bytes + 4 <= w->bytes) begin_tokens(e, w, ids);
}

/* Drops what is before a place. of_text: `from` counts from there too. */
static void shift(ways *w, uint32_t done, int of_text) {
  const uint32_t left = w->bytes - done;
  memmove(w->word, w->word + done, left);
  memmove(w->best, w->best + done, (left + 1) * sizeof w->best[0]);
  memmove(w->from, w->from + done, (left + 1) * sizeof w->from[0]);
  for (uint32_t i = 0; of_text && i <= left; i++)
    if (w->from[i] != UNSET) w->from[i] = i ? (uint16_t)(w->from[i] - done) : 0;
  for (uint32_t i = left + 1; i <= w->bytes; i++) w->from[i] = UNSET;
  w->bytes = left;
  w->at -= done;
}

static void begin_word(ways *w) {
  for (uint32_t i = 1; i <= w->bytes; i++) w->from[i] = UNSET;
  w->bytes = w->at = 0;
  w->best[0] = 0;
  w->from[0] = 0;
}

/* Gives out the best way to a place, which is taken from the start of the word. */
static void give_out(encoder *e, uint32_t to) {
  for (uint32_t i = to; i > 0; i = e->w.from[i]) e->next[e->w.from[i]] = (uint16_t)i;
  for (uint32_t i = 0; i < to; i = e->next[i]) emit_piece(e, i, e->next[i]);
}

/* The last place that all ways pass which may still be best: those to places from `at` on. */
static uint32_t common_place(const ways *w) {
  uint32_t place = w->at;
  while (w->from[place] == UNSET) place++; /* the text so far can be written */
  for (uint32_t i = place + 1; i <= w->bytes; i++) {
    uint32_t a = i;
    if (w->from[i] == UNSET) continue;
    while (a != place) {
      if (a > place)
        a = w->from[a];
      else
        place = w->from[place];
    }
  }
  return place;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static int is_space(uint32_t cp) { return (qn_unicode_props(cp) & QN_UC_SPACE) != 0; }
#define ESCAPE 0x2581u /* SentencePiece's blank */

static void step(reader *r) {
  qn_mapped_next(&r->m);
  r->left--;
}

/* A blank, or with QN_UNIGRAM_COLLAPSE a run of them. */
static void take_blanks(reader *r) {
  const int runs = r->m.cp == ' ' && (r->flags & QN_UNIGRAM_COLLAPSE);
  do {
    r->span.end = (uint64_t)(r->m.to - r->text);
    step(r);
  } while (runs && r->left && r->m.cp == ' ');
}

static void read_next(reader *r) {
  while (r->left && r->m.cp != QN_READ_END && (r->flags & QN_UNIGRAM_SPACES) && is_space(r->m.cp)) {
    step(r);
    r->begins = r->apart = 1;
  }
  if (!r->left || r->m.cp == QN_READ_END) {
    r->cp = QN_READ_END;
    return;
  }
  const int blank = r->m.cp == ' ' || r->m.cp == ESCAPE;
  const int puts = r->begins && r->puts && !(blank && (r->flags & QN_BPE_BLANK_UNLESS));
  r->span = (quern_span){(uint64_t)(r->m.from - r->text), (uint64_t)((puts ? r->m.from : r->m.to) - r->text)};
  r->starts = r->apart || ((blank || puts) && (r->flags & QN_UNIGRAM_WORDS));
  r->cp = blank || puts ? ' ' : r->m.cp;
  r->begins = r->apart = 0;
  if (puts) return;
  if (blank)
    take_blanks(r);
  else
    step(r);
}

/* Characters up to the last one that is no white space. */
static uint64_t count_stripped(qn_mapped m) {
  uint64_t n = 0, last = 0;
  for (; m.cp != QN_READ_END; qn_mapped_next(&m)) {
    n++;
    if (!is_space(m.cp)) last = n;
  }
  return last;
}

/* Stands on the first character of a stretch. */
static void begin_reading(reader *r, const encoder *e, const qn_added_walk *w) {
  const uint32_t flags = e->h->common.flags;
  qn_charsmap map = {e->t->tables[QN_UNIGRAM_CHARSMAP], e->h->charsmap_bytes};
  if (!qn_charsmap_valid(map)) map.bytes = 0; /* none, or a damaged section's */
  *r = (reader){.flags = flags, .text = w->text, .left = UINT64_MAX, .begins = 1};
  r->puts = (flags & QN_BPE_BLANK) && (!(flags & QN_BPE_BLANK_FIRST) || w->from == w->text);
  qn_mapped_begin(&r->m, map, flags & QN_UNIGRAM_LONGEST ? QN_CHARSMAP_LONGEST : QN_CHARSMAP_CLUSTERS, w->from, w->to);
  if (flags & QN_UNIGRAM_STRIP_RIGHT) r->left = count_stripped(r->m);
  while ((flags & QN_UNIGRAM_STRIP_LEFT) && r->left && r->m.cp != QN_READ_END && is_space(r->m.cp)) step(r);
  read_next(r);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* Whether all ways of a scout come by one place, and which. */
static int agree(const ways *w, uint32_t *place) {
  *place = UNSET;
  for (uint32_t i = w->at; i <= w->bytes; i++) {
    if (w->from[i] == UNSET) continue;
    if (*place != UNSET && *place != w->from[i]) return 0;
    *place = w->from[i];
  }
  return *place != UNSET;
}

/* The place of the best way that is known only further on, from `r` on; 0: not within LOOKAHEAD. A function of its own, for its
   stack. */
static uint32_t __attribute__((noinline)) look_ahead(const encoder *e, reader r) {
  ways w;
  uint32_t place = 0, read = 0;
  w.bytes = e->w.bytes - e->w.at;
  w.at = 0;
  memcpy(w.word, e->w.word + e->w.at, w.bytes);
  for (uint32_t i = 0; i <= WINDOW; i++) {
    const int known = i <= w.bytes && e->w.from[e->w.at + i] != UNSET;
    w.from[i] = known ? (uint16_t)(e->w.at + i) : UNSET;
    if (known) w.best[i] = e->w.best[e->w.at + i];
  }
  for (int first = 1; r.cp != QN_READ_END && (first || !r.starts); read_next(&r), first = 0) {
    if (w.bytes + 4 > WINDOW) {
      begin_certain_tokens(e, &w, NULL);
      if (agree(&w, &place)) return place;
      if (read > LOOKAHEAD) return 0;
      shift(&w, w.at, 0);
    }
    const uint32_t used = qn_utf8_encode(r.cp, w.word + w.bytes);
    w.bytes += used;
    read += used;
  }
  while (w.at < w.bytes) begin_tokens(e, &w, NULL);
  return w.from[w.bytes];
}

/* Room for the character that r stands on. */
static void make_room(encoder *e, const reader *r) {
  begin_certain_tokens(e, &e->w, e->id);
  uint32_t done = common_place(&e->w);
  if (!done) done = look_ahead(e, *r);
  if (!done) {
    e->status = qn_fail(&e->t->env->error, QUERN_E_UNSUPPORTED,
                        "tokenizer: a word of more than %u bytes cannot be cut: its tokens depend on all of it",
                        LOOKAHEAD);
    begin_word(&e->w);
    return;
  }
  give_out(e, done);
  memmove(e->id, e->id + done, (e->w.bytes - done + 1) * sizeof e->id[0]);
  if (e->trace) memmove(e->trace->byte, e->trace->byte + done, (e->w.bytes - done) * sizeof e->trace->byte[0]);
  /* Ways to places behind that do not come by it are none any more: tokens from before it are forgotten with it. */
  for (uint32_t i = done + 1; i <= e->w.bytes; i++)
    if (e->w.from[i] < done) e->w.from[i] = UNSET;
  if (e->w.at < done) e->w.at = done;
  shift(&e->w, done, 1);
}

static void append(encoder *e, const reader *r) {
  if (e->w.bytes + 4 > WINDOW) make_room(e, r);
  const uint32_t used = qn_utf8_encode(r->cp, e->w.word + e->w.bytes);
  for (uint32_t i = 0; e->trace && i < used; i++) e->trace->byte[e->w.bytes + i] = r->span;
  e->w.bytes += used;
}

static void end_word(encoder *e) {
  if (!e->w.bytes) return;
  while (e->w.at < e->w.bytes) begin_tokens(e, &e->w, e->id);
  give_out(e, e->w.bytes);
  begin_word(&e->w);
  e->unknown = 0;
}

static void encode_stretch(encoder *e, const qn_added_walk *w) {
  reader r;
  for (begin_reading(&r, e, w); r.cp != QN_READ_END && !e->status; read_next(&r)) {
    if (r.starts) end_word(e);
    append(e, &r);
  }
  end_word(e);
}

/* ---- a text ------------------------------------------------------------------------------------------------------ */

static quern_status encode(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out, trace *spans) {
  encoder e; /* the buffers are not cleared */
  e.t = t;
  e.h = (const void *)t->data;
  e.scores = t->tables[QN_UNIGRAM_SCORES];
  e.reach = t->tables[QN_UNIGRAM_REACH];
  e.out = out;
  e.trace = spans;
  e.type = type;
  e.status = QUERN_OK;
  e.unknown = 0;
  e.w.bytes = WINDOW;
  begin_word(&e.w);
  qn_added_walk walk;
  qn_added_walk_begin(&walk, t, text);
  while (qn_added_walk_next(&walk) && !e.status) {
    if (walk.from < walk.to) encode_stretch(&e, &walk);
    if (!walk.token) break;
    if (spans) spans->token = (quern_span){(uint64_t)(walk.start - walk.text), (uint64_t)(walk.stop - walk.text)};
    e.unknown = 0;
    if (walk.start < walk.stop && walk.token->id < t->vocab) emit(&e, walk.token->id);
    e.unknown = 0;
  }
  return e.status;
}

/* A function of its own, for its 32 KiB of stack. */
static quern_status __attribute__((noinline))
encode_traced(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  trace spans;
  spans.text = (const uint8_t *)text->utf8;
  return encode(t, text, type, out, &spans);
}

static quern_status encode_text(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  return out->spans ? encode_traced(t, text, type, out) : encode(t, text, type, out, NULL);
}

static int own_sizes(const qn_tok_header *common, uint64_t *bytes) {
  const qn_unigram_header *h = (const void *)common;
  for (size_t i = 0; i < sizeof h->reserved / sizeof h->reserved[0]; i++)
    if (h->reserved[i]) return 0;
  bytes[QN_UNIGRAM_SCORES] = (uint64_t)common->vocab * 8;
  bytes[QN_UNIGRAM_BYTES] = 256 * 4;
  bytes[QN_UNIGRAM_REACH] = QN_UNIGRAM_REACHES;
  bytes[QN_UNIGRAM_CHARSMAP] = h->charsmap_bytes;
  return (common->flags & ~QN_UNIGRAM_FLAGS) == 0 && common->unk < common->vocab && common->max_word_chars == 0 &&
         common->prefix_bytes == 0 && common->normalized == 0 && common->max_probe <= QN_TOK_MAX_PROBE &&
         common->max_token_bytes <= QN_TOK_MAX_TOKEN_BYTES;
}

const qn_tokenizer_kind qn_unigram_kind = {.kind = QN_TOKENIZER_UNIGRAM,
                                           .name = "unigram",
                                           .header_bytes = sizeof(qn_unigram_header),
                                           .tables = QN_UNIGRAM_TABLES,
                                           .byte_by_byte = 1,
                                           .sizes = own_sizes,
                                           .encode = encode_text,
                                           .text = qn_bpe_token_text};
