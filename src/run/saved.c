/* saved.c - writing and reading saved sequences (saved.h). The file is one header, three arrays, each from a multiple of 64 on, and a
 * checksum of all before it. */
#include "run/saved.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"

#define SAVED_MAGIC "\x89QSQ\r\n\x1a\n"
#define SAVED_VERSION 1u

typedef struct saved_header { /* 64 bytes */
  uint8_t magic[8];
  uint32_t version;
  uint32_t tokens;
  uint64_t model; /* the checksum in the header of the model's file, which covers those of its sections */
  uint64_t page_bytes;
  uint32_t bits; /* of keys and values */
  uint32_t last; /* 1: hidden states of the last token are there */
  uint32_t width, vocab;
  uint64_t file_bytes;
  uint32_t first;    /* page that is there; those before were released */
  uint32_t reserved; /* 0 */
} saved_header;
_Static_assert(sizeof(saved_header) == 64, "saved_header is a file format");

/* Where the parts begin, and the end, where the checksum is. */
typedef struct layout {
  uint64_t ids, last, pages, end;
} layout;

/* Of a header whose first page is not behind its tokens. */
static uint32_t saved_pages(const saved_header *h) { return qn_cache_pages(h->tokens) - h->first; }

/* No sum can wrap: tokens and width have 32 bits, and pages are some of the session's. */
static layout lay_out(const saved_header *h) {
  layout l = {.ids = sizeof *h};
  l.last = qn_round_up(l.ids + (uint64_t)(h->tokens - h->first * QN_PAGE_TOKENS) * sizeof(int32_t), 64);
  l.pages = qn_round_up(l.last + (h->last ? (uint64_t)h->width * sizeof(float) : 0), 64);
  l.end = l.pages + saved_pages(h) * h->page_bytes;
  return l;
}

static uint64_t model_checksum(const quern_model *m) {
  return qn_load_u64(m->file.data + offsetof(qrn_header, checksum));
}

static saved_header header_of(const quern_session *s, uint32_t sequence) {
  saved_header h = {.version = SAVED_VERSION,
                    .tokens = s->cache.sequence[sequence].length,
                    .first = s->cache.sequence[sequence].first,
                    .model = model_checksum(s->model),
                    .page_bytes = s->cache.page_bytes,
                    .bits = s->cache.bits,
                    .last = s->sequences[sequence].last,
                    .width = s->model->arch.width,
                    .vocab = s->model->arch.vocab};
  memcpy(h.magic, SAVED_MAGIC, sizeof h.magic);
  h.file_bytes = lay_out(&h).end + sizeof(uint64_t);
  return h;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

typedef struct writer {
  qn_output *out;
  qn_xxh64_state hash;
  uint64_t at;
} writer;

static quern_status put(writer *w, const void *p, size_t bytes) {
  qn_xxh64_update(&w->hash, p, bytes);
  w->at += bytes;
  return qn_output_write(w->out, p, bytes);
}

static quern_status pad_to(writer *w, uint64_t at) {
  static const uint8_t zeros[64];
  return put(w, zeros, (size_t)(at - w->at));
}

static quern_status put_parts(writer *w, const quern_session *s, uint32_t sequence, const saved_header *h) {
  const qn_cache *c = &s->cache;
  const layout l = lay_out(h);
  QN_TRY(put(w, h, sizeof *h));
  for (uint32_t i = h->first * QN_PAGE_TOKENS; i < h->tokens; i += QN_PAGE_TOKENS)
    QN_TRY(put(w, qn_cache_token(c, sequence, i), qn_min_size(h->tokens - i, QN_PAGE_TOKENS) * sizeof(int32_t)));
  QN_TRY(pad_to(w, l.last));
  if (h->last) QN_TRY(put(w, s->last + (size_t)sequence * h->width, h->width * sizeof(float)));
  QN_TRY(pad_to(w, l.pages));
  for (uint32_t i = h->first; i < qn_cache_pages(h->tokens); i++)
    QN_TRY(put(w, qn_cache_block(c, sequence, i, 0, 0), c->page_bytes));
  const uint64_t checksum = qn_xxh64_end(&w->hash);
  return qn_output_write(w->out, &checksum, sizeof checksum);
}

/* The output's message is the context's: the session's callers look at theirs. */
static quern_status tell(quern_session *s, quern_status status) {
  return qn_error_pass(&s->error, &s->model->env->error, status);
}

quern_status qn_saved_write(quern_session *s, uint32_t sequence, const char *path) {
  const saved_header h = header_of(s, sequence);
  writer w = {.out = NULL};
  if (!h.tokens) return qn_fail(&s->error, QUERN_E_ARGUMENT, "sequence %u has no tokens to save", sequence);
  QN_TRY(tell(s, qn_output_open(&w.out, s->model->env, path, 0)));
  qn_xxh64_begin(&w.hash, 0);
  const quern_status status = put_parts(&w, s, sequence, &h);
  if (status == QUERN_OK) return tell(s, qn_output_commit(w.out));
  qn_output_abort(w.out);
  return tell(s, status);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static quern_status check_header(quern_session *s, const qn_map *map, const char *path, saved_header *h) {
  if (map->bytes < sizeof *h + sizeof(uint64_t) || memcmp(map->data, SAVED_MAGIC, 8) != 0)
    return qn_fail(&s->error, QUERN_E_FORMAT, "%s is no saved sequence", path);
  memcpy(h, map->data, sizeof *h);
  if (h->version != SAVED_VERSION)
    return qn_fail(&s->error, QUERN_E_VERSION, "%s is a saved sequence of version %u; this library reads %u", path,
                   h->version, SAVED_VERSION);
  if (h->file_bytes != map->bytes)
    return qn_fail(&s->error, QUERN_E_FORMAT, "%s has %zu bytes, of %llu that were saved", path, map->bytes,
                   (unsigned long long)h->file_bytes);
  if (qn_xxh64(map->data, map->bytes - sizeof(uint64_t), 0) != qn_load_u64(map->data + map->bytes - sizeof(uint64_t)))
    return qn_fail(&s->error, QUERN_E_CHECKSUM, "%s is damaged: its checksum does not fit", path);
  return QUERN_OK;
}

/* Whether what is in the file is this model's and this session's. */
static quern_status check_fit(quern_session *s, const qn_map *map, const char *path, const saved_header *h) {
  const qn_cache *c = &s->cache;
  if (h->model != model_checksum(s->model))
    return qn_fail(&s->error, QUERN_E_ARGUMENT,
                   "%s was saved by another model file: a sequence needs the one that read it", path);
  if (h->bits != c->bits)
    return qn_fail(&s->error, QUERN_E_ARGUMENT, "%s holds keys and values of %u bits, the session has cache_bits %u",
                   path, h->bits, c->bits);
  const uint64_t most = (uint64_t)c->pages_most * QN_PAGE_TOKENS;
  if (h->tokens > most || h->tokens > s->model->arch.positions)
    return qn_fail(&s->error, QUERN_E_CAPACITY, "%s has %u tokens, the session holds %llu", path, h->tokens,
                   (unsigned long long)qn_min_size((size_t)most, s->model->arch.positions));
  const uint64_t held = (uint64_t)h->tokens + QN_CACHE_SLACK;
  if (h->first && (!c->keep || h->first * (uint64_t)QN_PAGE_TOKENS + c->keep > held))
    return qn_fail(&s->error, QUERN_E_FORMAT, "%s is no saved sequence: its sizes contradict themselves", path);
  const layout l = lay_out(h);
  if (!h->tokens || h->page_bytes != c->page_bytes || h->last > 1 || h->width != s->model->arch.width ||
      h->vocab != s->model->arch.vocab || h->reserved || l.end + sizeof(uint64_t) != h->file_bytes)
    return qn_fail(&s->error, QUERN_E_FORMAT, "%s is no saved sequence: its sizes contradict themselves", path);
  for (uint32_t i = 0; i < h->tokens - h->first * QN_PAGE_TOKENS; i++)
    if (qn_load_u32(map->data + l.ids + i * sizeof(int32_t)) >= h->vocab)
      return qn_fail(&s->error, QUERN_E_FORMAT, "%s is no saved sequence: token %u is not of the vocabulary", path, i);
  return QUERN_OK;
}

/* Pages that nobody else holds are free once their sequence is dropped. */
static uint32_t pages_to_be_had(const qn_cache *c, uint32_t sequence) {
  uint32_t count = c->unused_count;
  for (uint32_t i = c->sequence[sequence].first; i < c->sequence[sequence].pages; i++)
    count += c->references[c->table[(size_t)sequence * c->pages_most + i]] == 1;
  return count;
}

static void take(quern_session *s, uint32_t sequence, const qn_map *map, const saved_header *h) {
  qn_cache *c = &s->cache;
  const uint32_t from = h->first * QN_PAGE_TOKENS, more = h->tokens - from;
  const layout l = lay_out(h);
  qn_decode_truncate(s, sequence, 0);
  c->sequence[sequence] = (qn_pages){.length = from, .first = h->first, .pages = h->first};
  qn_cache_reserve(c, s->kernels, &sequence, &more, 1);
  c->sequence[sequence].length = h->tokens;
  for (uint32_t i = 0; i < more; i++)
    memcpy(qn_cache_token(c, sequence, from + i), map->data + l.ids + i * sizeof(int32_t), sizeof(int32_t));
  for (uint32_t i = 0; i < saved_pages(h); i++)
    memcpy(qn_cache_block(c, sequence, h->first + i, 0, 0), map->data + l.pages + i * c->page_bytes, c->page_bytes);
  s->sequences[sequence].last = h->last;
  s->sequences[sequence].logits = QN_NO_LOGITS;
  if (h->last) memcpy(s->last + (size_t)sequence * h->width, map->data + l.last, h->width * sizeof(float));
}

quern_status qn_saved_read(quern_session *s, uint32_t sequence, const char *path) {
  qn_map map;
  saved_header h;
  QN_TRY(tell(s, qn_map_open(&map, s->model->env, path, 0)));
  quern_status status = check_header(s, &map, path, &h);
  if (status == QUERN_OK) status = check_fit(s, &map, path, &h);
  if (status == QUERN_OK && saved_pages(&h) > pages_to_be_had(&s->cache, sequence))
    status = qn_fail(&s->error, QUERN_E_CAPACITY, "%s needs %u pages of the cache: free or cut other sequences", path,
                     saved_pages(&h));
  if (status == QUERN_OK) take(s, sequence, &map, &h);
  qn_map_close(&map);
  return status;
}
