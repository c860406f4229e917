/* api_tokens.c - quern_tokenize*, quern_detokenize. */
#include <string.h>

#include "api/api_tokens.h"

static quern_status check(const quern_model *m, uint32_t flags) {
  if (!m->tokenizer.kind) return qn_fail(&m->env->error, QUERN_E_TASK, "the model file has no tokenizer");
  if (flags & ~QUERN_NO_SPECIAL)
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "unknown tokenizer flags 0x%x", flags);
  return QUERN_OK;
}

/* What every call ends with: the count, and whether it fitted. */
static quern_status finish(const quern_model *m, size_t count, size_t cap, size_t *n) {
  if (n) *n = count;
  return count <= cap ? QUERN_OK
                      : qn_fail(&m->env->error, QUERN_E_CAPACITY, "%zu tokens do not fit a buffer of %zu", count, cap);
}

/* Puts the template around the na + nb ids at the start of ids, where there is room. */
static quern_status apply_template(const quern_model *m, size_t na, size_t nb, int pair, qn_ids *out) {
  void *copy = NULL;
  const size_t bytes = (na + nb) * sizeof(int32_t);
  QN_TRY(qn_alloc(m->env, &copy, bytes, "token ids"));
  if (bytes) memcpy(copy, out->ids, bytes);
  const int32_t *a = copy;
  out->count = 0;
  quern_status status = qn_tokenizer_template(&m->tokenizer, a, na, a && pair ? a + na : NULL, nb, pair, out);
  qn_free(m->env, copy, bytes);
  return status;
}

/* Puts the n spans of a single text where the template has put its ids among `total`; the others are empty. */
static void move_spans(const qn_tokenizer *t, quern_span *spans, size_t n, size_t total) {
  const size_t before = qn_tokenizer_before(t, 0, 0, 0);
  memmove(spans + before, spans, n * sizeof *spans);
  memset(spans, 0, before * sizeof *spans);
  memset(spans + before + n, 0, (total - before - n) * sizeof *spans);
}

static quern_status tokenize(const quern_model *m, const char *a, size_t a_len, const char *b, size_t b_len,
                             uint32_t flags, qn_ids out, size_t *n) {
  if (!m) return QUERN_E_ARGUMENT;
  if ((!a && a_len) || (!b && b_len) || (!out.ids && out.cap))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "tokenize: a text or the buffer of ids is NULL");
  QN_TRY(check(m, flags));
  const int pair = b != NULL, special = !(flags & QUERN_NO_SPECIAL);
  QN_TRY(qn_tokenizer_encode(&m->tokenizer, a, a_len, 0, &out));
  const size_t na = out.count;
  if (pair) QN_TRY(qn_tokenizer_encode(&m->tokenizer, b, b_len, 1, &out));
  const size_t nb = out.count - na, total = out.count + (special ? qn_tokenizer_specials(&m->tokenizer, pair) : 0);
  if (special && total <= out.cap) {
    QN_TRY(apply_template(m, na, nb, pair, &out));
    if (out.spans) move_spans(&m->tokenizer, out.spans, na, total);
  }
  return finish(m, total, out.cap, n);
}

quern_status qn_api_tokenize_text(const quern_model *m, const qn_text *text, uint32_t flags, int32_t *ids, size_t cap,
                                  size_t *n) {
  qn_ids out = {.ids = ids, .cap = cap};
  QN_TRY(qn_tokenizer_encode_text(&m->tokenizer, text, 0, &out));
  const size_t count = out.count;
  const uint32_t specials = flags & QUERN_NO_SPECIAL ? 0 : qn_tokenizer_specials(&m->tokenizer, 0);
  if (specials && count + specials <= cap) QN_TRY(apply_template(m, count, 0, 0, &out));
  return finish(m, count + specials, cap, n);
}

quern_status quern_tokenize(const quern_model *m, const char *utf8, size_t len, uint32_t flags, int32_t *ids,
                            size_t cap, size_t *n) {
  const quern_span whole = {0, len};
  const qn_text text = {utf8, len, &whole, 1};
  if (!(flags & QUERN_PLAIN)) return tokenize(m, utf8, len, NULL, 0, flags, (qn_ids){.ids = ids, .cap = cap}, n);
  if (!m) return QUERN_E_ARGUMENT;
  if ((!utf8 && len) || (!ids && cap))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "tokenize: the text or the buffer of ids is NULL");
  QN_TRY(check(m, flags & ~QUERN_PLAIN));
  return qn_api_tokenize_text(m, &text, flags & QUERN_NO_SPECIAL, ids, cap, n);
}

quern_status quern_tokenize_spans(const quern_model *m, const char *utf8, size_t len, uint32_t flags, int32_t *ids,
                                  quern_span *spans, size_t cap, size_t *n) {
  if (m && !spans && cap) return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "tokenize: the buffer of spans is NULL");
  return tokenize(m, utf8, len, NULL, 0, flags, (qn_ids){.ids = ids, .spans = spans, .cap = cap}, n);
}

quern_status quern_tokenize_pair(const quern_model *m, const char *a, size_t a_len, const char *b, size_t b_len,
                                 uint32_t flags, int32_t *ids, int32_t *types, size_t cap, size_t *n) {
  return tokenize(m, a, a_len, b, b_len, flags, (qn_ids){.ids = ids, .types = types, .cap = cap}, n);
}

quern_status quern_detokenize(const quern_model *m, const int32_t *ids, size_t n, uint32_t flags, char *buf, size_t cap,
                              size_t *len) {
  if (!m) return QUERN_E_ARGUMENT;
  if ((!ids && n) || (!buf && cap))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "detokenize: the ids or the buffer are NULL");
  QN_TRY(check(m, flags));
  size_t bytes = 0;
  const quern_status status = qn_tokenizer_decode(&m->tokenizer, ids, n, (flags & QUERN_NO_SPECIAL) != 0, buf, cap,
                                                  &bytes);
  if (len && (status == QUERN_OK || status == QUERN_E_CAPACITY)) *len = bytes;
  return status;
}
