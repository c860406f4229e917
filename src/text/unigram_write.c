/* unigram_write.c - a described unigram tokenizer to the bytes of a TOKENIZER section. One thread. */
#include <string.h>

#include "text/tables_write.h"
#include "text/unigram.h"

/* Each token as it is stored; those that words may be made of have in_model 2. */
static quern_status collect(qn_tables_writer *w, uint64_t *keys) {
  tok_spec *s = w->s;
  uint8_t text[QN_TOK_MAX_TOKEN_BYTES];
  for (uint32_t i = 0; i < s->vocab; i++) {
    tok_entry *k = &s->tokens[i];
    uint32_t n = k->bytes;
    const uint32_t byte = s->byte_fallback ? qn_bpe_named_byte(k) : 256;
    const int key = k->in_model && n > 0 && byte > 255 && !memchr(k->text, ' ', n);
    if (byte < 256) {
      text[0] = (uint8_t)byte, n = 1;
      k->flags |= QN_TOKEN_BYTE;
    } else {
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

static void fill_scores(qn_tables_writer *w, qn_unigram_header *h) {
  const tok_spec *s = w->s;
  double *scores = qn_tables_at(w, QN_UNIGRAM_SCORES), least = 0;
  for (uint32_t i = 0; i < s->vocab; i++) {
    scores[i] = s->scores[i];
    if (s->tokens[i].in_model && s->scores[i] < least) least = s->scores[i];
  }
  h->unknown = least - QN_UNIGRAM_PENALTY;
}

static quern_status fill_keys(qn_tables_writer *w) {
  uint32_t *units = qn_tables_at(w, QN_UNIGRAM_BYTES);
  uint8_t *reach = qn_tables_at(w, QN_UNIGRAM_REACH);
  memset(units, 0xFF, 256 * 4);
  for (uint32_t i = 0; i < w->s->vocab; i++) {
    const tok_entry *k = &w->s->tokens[i];
    const uint8_t *text = w->pool.data + k->at;
    if (k->flags & QN_TOKEN_BYTE) units[*text] = i;
    if (k->in_model != 2) continue;
    uint64_t end = QN_TOK_HASH;
    for (uint32_t b = 0; b < k->stored; b++) end = qn_tok_hash_byte(end, text[b]);
    end = qn_tok_hash_end(end);
    QN_TRY(qn_tables_insert(w, i | qn_bpe_slot_tag(end), end));
    if (k->stored < 2) continue;
    uint8_t *longest = &reach[qn_unigram_reach(text)];
    if (k->stored > *longest) *longest = k->stored < 255 ? (uint8_t)k->stored : 255;
  }
  return QUERN_OK;
}

quern_status qn_unigram_write(tok_spec *s, qn_buffer *section) {
  qn_tables_writer w;
  uint64_t keys = 0;
  quern_status status;
  QN_TRY_CLEANUP(qn_tables_begin(&w, s, &qn_unigram_kind));
  w.h.flags = s->flags;
  for (uint32_t i = 0; i < s->added_count; i++)
    if (s->added[i].flags & QN_ADDED_NORMALIZED) {
      status = qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                       "tokenizer: added token \"%.*s\" is normalized; not supported with Unigram",
                       (int)s->tokens[s->added[i].id].bytes, s->tokens[s->added[i].id].text);
      goto cleanup;
    }
  QN_TRY_CLEANUP(collect(&w, &keys));
  QN_TRY_CLEANUP(qn_tables_put_added(&w, keys));
  qn_unigram_header h = {.common = w.h, .charsmap_bytes = (uint32_t)s->charsmap.bytes};
  QN_TRY_CLEANUP(qn_tables_fill(&w, &h.common));
  fill_scores(&w, &h);
  if (s->charsmap.bytes) memcpy(qn_tables_at(&w, QN_UNIGRAM_CHARSMAP), s->charsmap.data, s->charsmap.bytes);
  memcpy(w.out, &h, sizeof h);
  QN_TRY_CLEANUP(fill_keys(&w));
  QN_TRY_CLEANUP(qn_tables_finish(&w, section));
cleanup:
  qn_tables_free(&w);
  return status;
}
