/* detokenize.c - ids back to text, whole or id by id: both run the same steps. A character that is not complete is held
 * back until its next byte comes or cannot come. Read-only tables; the state is the caller's. */
#include <string.h>
#include "base/utf8.h"
#include "text/tables.h"

typedef struct sink {
  char *buf;
  size_t cap, total; /* total goes on past cap */
} sink;

static void put_bytes(sink *s, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++, s->total++)
    if (s->total < s->cap) s->buf[s->total] = (char)p[i];
}

static void put_replacement(sink *s) { put_bytes(s, (const uint8_t *)"\xEF\xBF\xBD", 3); }

/* Can the n bytes, n of 1 to 3, begin a character that is longer? */
static int is_begun(const uint8_t *p, uint32_t n) {
  const uint32_t want = p[0] < 0xC2 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 1;
  uint32_t used = 0;
  qn_utf8_decode(p, n, &used);
  return used == n && n < want;
}

/* What is held can not be completed. */
static void give_up(qn_detokenizer *d, sink *s) {
  const uint32_t marks = d->t->is->byte_by_byte ? d->held : d->held != 0;
  for (uint32_t i = 0; i < marks; i++) put_replacement(s);
  d->held = 0;
}

static void put_text(qn_detokenizer *d, sink *s, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (d->held == 0 && p[i] < 0x80) {
      put_bytes(s, p + i, 1);
      continue;
    }
    uint32_t used = 0;
    d->bytes[d->held++] = p[i];
    if (is_begun(d->bytes, d->held)) continue;
    const uint32_t cp = qn_utf8_decode(d->bytes, d->held, &used);
    if (used == d->held && (cp != QN_REPLACEMENT || used == 3)) { /* complete */
      put_bytes(s, d->bytes, used);
      d->held = 0;
    } else if (d->held == 1) {
      give_up(d, s);
    } else { /* the byte does not go on with what came before it: it begins anew */
      d->held--;
      give_up(d, s);
      i--;
    }
  }
}

static quern_status step(qn_detokenizer *d, int32_t id, sink *s) {
  const qn_tokenizer *t = d->t;
  if (id < 0 || (uint32_t)id >= t->vocab) return QUERN_OK;
  const uint32_t flags = ((const uint8_t *)t->tables[QN_TABLE_TOKENS])[id];
  if (!(flags & QN_TOKEN_PRESENT) || (!d->keep_special && (flags & QN_TOKEN_SPECIAL))) return QUERN_OK;
  uint8_t text[QN_TOK_MAX_TOKEN_BYTES + 1];
  size_t bytes = 0;
  const uint8_t *token = qn_tok_text(t, (uint32_t)id, &bytes);
  if (!token) return qn_fail(&t->env->error, QUERN_E_FORMAT, "tokenizer: token %d has no text in the section", id);
  const size_t n = t->is->text(t, id, token, bytes, d->when, text);
  put_text(d, s, text, n);
  d->when &= ~QN_TEXT_FIRST;
  if (bytes) d->when &= ~QN_TEXT_EMPTY;
  return QUERN_OK;
}

static quern_status finish(const qn_tokenizer *t, sink *s, int asks, size_t *len) {
  if (s->total < s->cap) s->buf[s->total] = 0;
  *len = s->total;
  if (!asks && s->total >= s->cap)
    return qn_fail(&t->env->error, QUERN_E_CAPACITY, "the text needs %zu bytes, with its NUL", s->total + 1);
  return QUERN_OK;
}

void qn_detokenizer_begin(qn_detokenizer *d, const qn_tokenizer *t, int keep_special) {
  *d = (qn_detokenizer){.t = t, .keep_special = keep_special, .when = QN_TEXT_FIRST | QN_TEXT_EMPTY};
}

quern_status qn_detokenizer_feed(qn_detokenizer *d, int32_t id, char *buf, size_t cap, size_t *len) {
  qn_detokenizer next = *d;
  sink s = {buf, cap, 0};
  QN_TRY(step(&next, id, &s));
  QN_TRY(finish(d->t, &s, 0, len));
  *d = next;
  return QUERN_OK;
}

quern_status qn_detokenizer_end(qn_detokenizer *d, char *buf, size_t cap, size_t *len) {
  qn_detokenizer next = *d;
  sink s = {buf, cap, 0};
  give_up(&next, &s);
  QN_TRY(finish(d->t, &s, 0, len));
  *d = next;
  return QUERN_OK;
}

quern_status qn_tokenizer_decode(const qn_tokenizer *t, const int32_t *ids, size_t n, int keep_special, char *buf,
                                 size_t cap, size_t *len) {
  qn_detokenizer d;
  sink s = {buf, cap, 0};
  qn_detokenizer_begin(&d, t, keep_special);
  for (size_t i = 0; i < n; i++) QN_TRY(step(&d, ids[i], &s));
  give_up(&d, &s);
  return finish(t, &s, cap == 0, len);
}
