/* test_cache.c - what sequences of a decoder hold: pages that run out, are given back, shared and copied; calls that fail and
 * leave everything as it was; sessions of exactly the bytes that were told; files that are damaged. */
#include "decoder_session.h"
#include "faulty_alloc.h"
#include "qrn_seal.h"

#define VOCAB TINY_VOCAB
#define LONG 200u
static float want[LONG * VOCAB], got[LONG * VOCAB]; /* want: of text 0 alone */

static uint32_t pages_free(const decoder *d) {
  quern_stats st = {.size = sizeof st};
  CHECK_EQ(quern_session_get_stats(d->s, &st), QUERN_OK);
  return st.cache_pages_free;
}
static uint32_t length_of(const decoder *d, uint32_t sequence) {
  uint32_t n = 0;
  CHECK_EQ(quern_sequence_length(d->s, sequence, &n), QUERN_OK);
  return n;
}
static quern_status feed(const decoder *d, uint32_t sequence, uint64_t text, uint32_t from, uint32_t n) {
  int32_t ids[512];
  for (uint32_t i = 0; i < n; i++) ids[i] = token_of(text, from + i);
  return quern_decode_feed(d->s, sequence, ids, n);
}
static int same(const float *a, const float *b, uint32_t rows) { return !memcmp(a, b, rows * VOCAB * sizeof(float)); }
/* Whether tokens from ... of text 0, fed to a sequence, have the logits that they have alone. */
static int goes_on(const decoder *d, uint32_t sequence, uint32_t from, uint32_t n) {
  feed_rows(d, sequence, 0, from, n, n, got);
  return same(got, want + (size_t)from * VOCAB, n);
}

static uint32_t cache_bits; /* of all sessions that open_tiny makes */

static decoder open_tiny(const char *recipe, uint32_t sequences, uint32_t cache_tokens) {
  quern_session_options so = session_of(256, sequences, cache_tokens, LONG);
  so.cache_bits = cache_bits;
  return open_decoder("tiny", recipe, NULL, 2, &so);
}

static void alone(const char *recipe) {
  decoder d = open_tiny(recipe, 1, 256);
  feed_rows(&d, 0, 0, 0, LONG, LONG, want);
  close_decoder(&d);
}

static void full_cache_changes_nothing(void) {
  decoder d = open_tiny("int8", 4, 256); /* 4 pages */
  CHECK_EQ(pages_free(&d), 4);
  CHECK_EQ(feed(&d, 0, 0, 0, 64), QUERN_OK);
  CHECK_EQ(feed(&d, 1, 1, 0, 65), QUERN_OK);
  CHECK_EQ(pages_free(&d), 1);
  static const uint32_t sequences[] = {0, 1, 2}, offsets[] = {0, 1, 2, 3};
  static const int32_t ids[] = {1, 2, 3};
  CHECK_EQ(quern_decode_batch(d.s, sequences, offsets, ids, 3), QUERN_E_CAPACITY); /* two pages */
  char message[256];
  quern_session_error(d.s, message, sizeof message);
  CHECK(strstr(message, "1 pages of 64"));
  CHECK_EQ(feed(&d, 2, 0, 0, 129), QUERN_E_CAPACITY);
  CHECK_EQ(feed(&d, 2, 0, 0, 257), QUERN_E_CAPACITY);
  CHECK_EQ(pages_free(&d), 1);
  CHECK_EQ(length_of(&d, 0), 64);
  CHECK_EQ(length_of(&d, 1), 65);
  CHECK_EQ(length_of(&d, 2), 0);
  CHECK(goes_on(&d, 0, 64, 30));
  CHECK_EQ(feed(&d, 3, 0, 0, 1), QUERN_E_CAPACITY);
  CHECK_EQ(quern_sequence_free(d.s, 1), QUERN_OK);
  CHECK_EQ(pages_free(&d), 2);
  CHECK(goes_on(&d, 3, 0, 100));
  CHECK(goes_on(&d, 0, 94, 34));
  CHECK_EQ(feed(&d, 0, 0, 128, 1), QUERN_E_CAPACITY);
  close_decoder(&d);
}

static void truncated_and_fed_again(void) {
  static const char *const recipes[] = {"int8", "float", "int8"};
  static const uint32_t cuts[] = {0, 1, 63, 64, 65, 127, 128, 129, 199, 200};
  for (int r = 0; r < 3; r++) {
    cache_bits = r == 2 ? 4 : 0;
    alone(recipes[r]);
    decoder d = open_tiny(recipes[r], 2, 512);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
      CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
      CHECK_EQ(feed(&d, 0, 0, 0, cuts[i] ? cuts[i] : 1), QUERN_OK); /* then others, that are dropped */
      CHECK_EQ(feed(&d, 0, 5, 0, 150), QUERN_OK);
      CHECK_EQ(quern_sequence_truncate(d.s, 0, cuts[i]), QUERN_OK);
      CHECK_EQ(length_of(&d, 0), cuts[i]);
      CHECK_EQ(pages_free(&d), 8 - (cuts[i] + 63) / 64);
      const float *logits;
      CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_E_ARGUMENT);
      if (cuts[i] < LONG) CHECK(goes_on(&d, 0, cuts[i], LONG - cuts[i]));
    }
    CHECK_EQ(quern_sequence_truncate(d.s, 0, 201), QUERN_E_ARGUMENT);
    CHECK_EQ(quern_sequence_truncate(d.s, 2, 0), QUERN_E_ARGUMENT);
    close_decoder(&d);
  }
  cache_bits = 0;
  alone("int8");
}

/* Keys and values of 4 bits are other numbers, but near ones, in little over half the memory. */
static void four_bits(void) {
  size_t bytes[2];
  double off = 0, size = 0;
  decoder d = open_tiny("int8", 1, 256);
  for (int i = 0; i < 2; i++) {
    quern_session_options so = session_of(256, 1, 1u << 20, 1);
    so.cache_bits = i ? 4 : 8;
    CHECK_EQ(quern_session_bytes(d.m, &so, &bytes[i]), QUERN_OK);
  }
  close_decoder(&d);
  CHECK(bytes[1] < bytes[0] * 3 / 4);
  cache_bits = 4;
  d = open_tiny("int8", 1, 256);
  feed_rows(&d, 0, 0, 0, LONG, LONG, got);
  close_decoder(&d);
  cache_bits = 0;
  for (size_t i = 0; i < LONG * VOCAB; i++)
    off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]), size += (double)want[i] * want[i];
  CHECK(off > 0 && off < 0.1 * size);
  if (off >= 0.1 * size) printf("  relative error %.3f\n", off / size);
}

static void prefixes_are_found(void) {
  int32_t ids[150];
  uint32_t n = 7;
  for (uint32_t i = 0; i < 150; i++) ids[i] = token_of(0, i);
  decoder d = open_tiny("int8", 2, 512);
  CHECK(quern_sequence_prefix(d.s, 0, ids, 150, &n) == QUERN_OK && n == 0);
  CHECK_EQ(feed(&d, 0, 0, 0, 130), QUERN_OK);
  CHECK(quern_sequence_prefix(d.s, 0, ids, 150, &n) == QUERN_OK && n == 130);
  CHECK(quern_sequence_prefix(d.s, 0, ids, 65, &n) == QUERN_OK && n == 65);
  CHECK(quern_sequence_prefix(d.s, 0, NULL, 0, &n) == QUERN_OK && n == 0);
  ids[64]++;
  CHECK(quern_sequence_prefix(d.s, 0, ids, 150, &n) == QUERN_OK && n == 64);
  CHECK_EQ(quern_sequence_prefix(d.s, 2, ids, 150, &n), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_prefix(d.s, 0, NULL, 1, &n), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_prefix(d.s, 0, ids, 1, NULL), QUERN_E_ARGUMENT);
  close_decoder(&d);
}

static void prefixes_are_shared(void) {
  static const uint32_t shares[] = {1, 63, 64, 100, 128};
  for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
    const uint32_t n = shares[i];
    decoder d = open_tiny("int8", 4, 1024); /* 16 pages */
    CHECK_EQ(feed(&d, 0, 0, 0, 130), QUERN_OK);
    CHECK_EQ(pages_free(&d), 13);
    for (uint32_t to = 1; to < 4; to++) CHECK_EQ(quern_sequence_copy(d.s, 0, to, n), QUERN_OK);
    CHECK_EQ(pages_free(&d), 13);
    CHECK_EQ(length_of(&d, 2), n);
    CHECK_EQ(feed(&d, 3, 7, 0, 40), QUERN_OK); /* goes elsewhere */
    CHECK(goes_on(&d, 1, n, 60));
    CHECK(goes_on(&d, 0, 130, 70));
    CHECK(goes_on(&d, 2, n, 1));
    CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
    CHECK(goes_on(&d, 2, n + 1, 70));
    CHECK(goes_on(&d, 1, n + 60, 10));
    CHECK_EQ(quern_sequence_free(d.s, 1), QUERN_OK);
    CHECK_EQ(quern_sequence_free(d.s, 3), QUERN_OK);
    CHECK_EQ(pages_free(&d), 16 - (n + 71 + 63) / 64);
    CHECK_EQ(quern_sequence_free(d.s, 2), QUERN_OK);
    CHECK_EQ(pages_free(&d), 16);
    close_decoder(&d);
  }
}

/* Two that share their last page append in one call: one of them may keep it, so one page is enough; without it nothing changes. */
static void shared_pages_are_copied_once(void) {
  static const uint32_t sequences[] = {0, 1}, offsets[] = {0, 1, 2};
  const int32_t ids[] = {token_of(0, 70), token_of(0, 70)};
  for (int room = 0; room < 2; room++) {
    decoder d = open_tiny("int8", 3, 256); /* 4 pages */
    CHECK_EQ(feed(&d, 0, 0, 0, 70), QUERN_OK);
    CHECK_EQ(quern_sequence_copy(d.s, 0, 1, 70), QUERN_OK);
    const float *a = NULL, *b = NULL;
    CHECK_EQ(quern_decode_logits(d.s, 1, &b, NULL), QUERN_OK); /* a whole copy has its source's */
    CHECK(b && same(b, want + 69 * VOCAB, 1));
    CHECK_EQ(feed(&d, 2, 3, 0, room ? 64 : 128), QUERN_OK);
    CHECK_EQ(pages_free(&d), room);
    CHECK_EQ(quern_decode_batch(d.s, sequences, offsets, ids, 2), room ? QUERN_OK : QUERN_E_CAPACITY);
    if (!room) CHECK_EQ(quern_sequence_free(d.s, 2), QUERN_OK);
    if (!room) CHECK_EQ(quern_decode_batch(d.s, sequences, offsets, ids, 2), QUERN_OK);
    CHECK_EQ(quern_decode_logits(d.s, 0, &a, NULL), QUERN_OK);
    CHECK(a && same(a, want + 70 * VOCAB, 1));
    CHECK_EQ(quern_decode_logits(d.s, 1, &b, NULL), QUERN_OK);
    CHECK(b && same(b, want + 70 * VOCAB, 1));
    CHECK_EQ(pages_free(&d), room ? 0 : 1);
    close_decoder(&d);
  }
}

/* Logits of sequences that were fed at different times. */
static void logits_stay(void) {
  decoder d = open_tiny("int8", 3, 512);
  const float *logits = NULL;
  CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(feed(&d, 0, 0, 0, 20), QUERN_OK);
  CHECK_EQ(feed(&d, 1, 0, 0, 30), QUERN_OK);
  CHECK_EQ(feed(&d, 2, 0, 0, 40), QUERN_OK);
  for (uint32_t i = 0; i < 6; i++) {
    CHECK_EQ(quern_decode_logits(d.s, i * 2 % 3, &logits, NULL), QUERN_OK);
    CHECK(logits && same(logits, want + (19 + i * 2 % 3 * 10) * VOCAB, 1));
  }
  quern_tensor_view v;
  uint32_t rows = 0;
  CHECK_EQ(quern_decode_rows(d.s, 0, 0, &v, &rows), QUERN_OK);
  CHECK_EQ(rows, 40);
  CHECK_EQ(quern_decode_rows(d.s, 35, 6, &v, &rows), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_rows(d.s, 35, 5, &v, &rows), QUERN_OK);
  CHECK(same(v.data, want + 35 * VOCAB, 5));
  CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_OK);
  CHECK(logits && same(logits, want + 19 * VOCAB, 1));
  close_decoder(&d);
}

static void bad_arguments(void) {
  decoder d = open_tiny("int8", 2, 1024);
  static const uint32_t twice[] = {1, 1}, there[] = {0, 1}, offsets[] = {0, 1, 2}, none[] = {0, 1, 1};
  static const int32_t ids[] = {1, 2}, outside[] = {1, VOCAB};
  const float *logits;
  CHECK_EQ(quern_decode_batch(d.s, twice, offsets, ids, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_batch(d.s, there, none, ids, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_batch(d.s, there, offsets, outside, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_batch(d.s, there, offsets, NULL, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_batch(NULL, there, offsets, ids, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_feed(d.s, 2, ids, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_feed(d.s, 0, ids, 0), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_decode_logits(d.s, 2, &logits, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_copy(d.s, 0, 1, 1), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_copy(d.s, 0, 2, 0), QUERN_E_ARGUMENT);
  for (uint32_t i = 0; i < 2; i++) CHECK_EQ(feed(&d, 0, 0, i * 256, 256), QUERN_OK);
  CHECK_EQ(feed(&d, 0, 0, 512, 1), QUERN_E_ARGUMENT); /* the model's 512 positions */
  uint32_t len = 2;
  quern_tensor_view v;
  CHECK_EQ(quern_encode(d.s, ids, NULL, &len, 1, &v), QUERN_E_TASK);
  CHECK_EQ(quern_session_cancel(d.s), QUERN_OK);
  CHECK_EQ(feed(&d, 1, 0, 0, 2), QUERN_E_CANCELLED);
  CHECK_EQ(length_of(&d, 1), 0);
  CHECK(goes_on(&d, 1, 0, 70));
  close_decoder(&d);

  quern_session_options so = session_of(0, 0, 0, 0);
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, decoder_path("tiny", "int8"), NULL), QUERN_OK);
  so.cache_bits = 5;
  CHECK_EQ(quern_session_create(&s, m, &so), QUERN_E_ARGUMENT);
  so.cache_bits = 0;
  so.cache_tokens = UINT32_MAX;
  CHECK_EQ(quern_session_create(&s, m, &so), QUERN_E_ARGUMENT);
  so.cache_tokens = 0;
  so.max_sequences = 1u << 20; /* tables of pages */
  size_t bytes = 0;
  CHECK_EQ(quern_session_bytes(m, &so, &bytes), QUERN_OK);
  so.max_sequences = 3;
  CHECK_EQ(quern_session_bytes(m, &so, &bytes), QUERN_OK);
  so.workspace = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  memset(so.workspace, 0xA5, bytes + 64); /* nothing counts on zeros, and nothing is written behind */
  so.workspace_bytes = bytes;
  CHECK_EQ(quern_session_create(&s, m, &so), QUERN_OK);
  decoder w = {c, m, s};
  for (uint32_t i = 0; i < 3; i++) CHECK_EQ(feed(&w, i, 0, 0, 60), QUERN_OK);
  const float *row = NULL;
  CHECK_EQ(quern_decode_logits(s, 1, &row, NULL), QUERN_OK);
  CHECK(row && same(row, want + 59 * VOCAB, 1));
  for (size_t i = 0; i < 64; i++) CHECK_EQ(((uint8_t *)so.workspace)[bytes + i], 0xA5);
  quern_session_free(s);
  free(so.workspace);
  quern_model_free(m);
  quern_context_free(c);
}

/* The embedding of token 0 of a model becomes infinite: in the file, for making one runs the model. */
static void poison_first_token(const char *path) {
  const float infinite = INFINITY;
  qn_env env;
  qrn_reader r;
  size_t bytes = 0, data = 0;
  uint8_t *p = tiny_read(path, &bytes);
  qn_env_init(&env, NULL, NULL, NULL, 0);
  CHECK_EQ(p ? qrn_open(&r, &env, p, bytes) : QUERN_E_MEMORY, QUERN_OK);
  const qrn_tensor *t = qrn_find_tensor(&r, "embed.tokens.scale");
  if (!t) t = qrn_find_tensor(&r, "embed.tokens"); /* in floats */
  const uint8_t *at = qrn_section_data(&r, QRN_DATA, &data);
  CHECK(t && at && t->dtype == QRN_F32);
  if (t && at) memcpy(p + (size_t)(at - p) + t->offset, &infinite, sizeof infinite);
  qrn_seal(p, bytes);
  CHECK(tiny_file(dir, strrchr(path, '/') + 1, p, bytes));
  free(p);
}
static void failed_calls_append_nothing(void) {
  static const char *const recipes[] = {"int8", "float"};
  static const uint32_t sequences[] = {0, 1}, offsets[] = {0, 2, 302};
  for (int r = 0; r < 2; r++) {
    tiny_source = tiny_arch("llama");
    make_decoder("poisoned", recipes[r]);
    poison_first_token(decoder_path("poisoned", recipes[r]));
    const quern_session_options so = session_of(100, 2, 1024, 100);
    decoder d = open_decoder("poisoned", recipes[r], NULL, 2, &so);
    static float before[90 * VOCAB];
    feed_rows(&d, 0, 0, 0, 90, 90, before);
    CHECK_EQ(quern_sequence_truncate(d.s, 0, 70), QUERN_OK);
    int32_t ids[302];
    for (uint32_t i = 0; i < 302; i++) ids[i] = token_of(4, i);
    ids[301] = 0; /* in the fourth pass */
    CHECK_EQ(quern_decode_batch(d.s, sequences, offsets, ids, 2), QUERN_E_NONFINITE);
    CHECK_EQ(length_of(&d, 0), 70);
    CHECK_EQ(length_of(&d, 1), 0);
    CHECK_EQ(pages_free(&d), 14);
    ids[0] = 0;
    CHECK_EQ(quern_decode_feed(d.s, 0, ids, 2), QUERN_E_NONFINITE);
    feed_rows(&d, 0, 0, 70, 20, 20, got);
    CHECK(same(got, before + 70 * VOCAB, 20));
    close_decoder(&d);
  }
}

/* Where all layers have a window, what is behind it and behind the tokens of penalties is given back: a sequence grows beyond the
   pool, and its logits are those with all pages. */
static void windows_release(void) {
  enum { TOKENS = 2300, POOL = 21 * 64, KEPT = 1024 + 64 };
  static float all[VOCAB], end[40 * VOCAB], other[40 * VOCAB];
  char path[300];
  int32_t ids[TOKENS];
  uint32_t n = 0;
  const float *logits = NULL;
  snprintf(path, sizeof path, "%s/window.sequence", dir);
  for (uint32_t i = 0; i < TOKENS; i++) ids[i] = token_of(0, i);
  tiny_source = tiny_arch("mistral");
  tiny_source.positions = 4096;
  make_decoder("window", "int8");
  const quern_session_options whole = session_of(512, 1, 4096, 40), small = session_of(512, 2, POOL, 40);
  decoder d = open_decoder("window", "int8", NULL, 1, &whole);
  CHECK_EQ(quern_decode_feed(d.s, 0, ids, TOKENS), QUERN_OK); /* at once: all are held until the end */
  CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_OK);
  memcpy(all, logits, sizeof all);
  CHECK_EQ(pages_free(&d), 64 - (36 - (TOKENS - KEPT) / 64));
  feed_rows(&d, 0, 0, TOKENS, 40, 7, end);
  close_decoder(&d);

  d = open_decoder("window", "int8", NULL, 2, &small);
  CHECK_EQ(quern_decode_feed(d.s, 0, ids, TOKENS), QUERN_E_CAPACITY);
  for (uint32_t i = 0; i < TOKENS; i += 100) CHECK_EQ(say(&d, quern_decode_feed(d.s, 0, ids + i, 100)), QUERN_OK);
  CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_OK);
  CHECK(!memcmp(logits, all, sizeof all));
  CHECK_EQ(quern_sequence_save(d.s, 0, path), QUERN_OK);
  CHECK_EQ(quern_sequence_copy(d.s, 0, 1, TOKENS), QUERN_OK);
  feed_rows(&d, 0, 0, TOKENS, 40, 40, other);
  CHECK(!memcmp(end, other, sizeof end));
  CHECK_EQ(quern_sequence_truncate(d.s, 0, 1100), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_copy(d.s, 0, 1, 1100), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_truncate(d.s, 0, TOKENS - 20), QUERN_OK); /* 60 shorter */
  feed_rows(&d, 0, 0, TOKENS - 20, 20, 20, other);
  feed_rows(&d, 0, 0, TOKENS, 40, 3, other);
  CHECK(!memcmp(end, other, sizeof end));
  CHECK_EQ(quern_sequence_truncate(d.s, 0, 0), QUERN_OK);
  feed_rows(&d, 1, 0, TOKENS, 40, 11, other);
  CHECK(!memcmp(end, other, sizeof end));
  CHECK_EQ(quern_sequence_free(d.s, 1), QUERN_OK);
  CHECK_EQ(pages_free(&d), POOL / 64);
  CHECK_EQ(say(&d, quern_sequence_restore(d.s, 1, path)), QUERN_OK);
  CHECK(quern_sequence_length(d.s, 1, &n) == QUERN_OK && n == TOKENS);
  feed_rows(&d, 1, 0, TOKENS, 40, 40, other);
  CHECK(!memcmp(end, other, sizeof end));
  CHECK_EQ(quern_sequence_truncate(d.s, 1, TOKENS - 20), QUERN_OK); /* saved where it was cut */
  CHECK_EQ(quern_sequence_save(d.s, 1, path), QUERN_OK);
  CHECK_EQ(quern_sequence_restore(d.s, 0, path), QUERN_E_CAPACITY);
  CHECK_EQ(quern_sequence_free(d.s, 1), QUERN_OK);
  CHECK_EQ(say(&d, quern_sequence_restore(d.s, 0, path)), QUERN_OK);
  CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
  CHECK_EQ(pages_free(&d), POOL / 64);
  close_decoder(&d);
  tiny_source = tiny_arch("llama");
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *session = NULL;
  quern_context_options co;
  quern_context_options_init(&co, sizeof co);
  co.threads = 1;
  co.alloc = alloc;
  quern_status s = quern_context_create(&c, &co);
  if (s == QUERN_OK) s = quern_model_open(&m, c, arg, NULL);
  if (s == QUERN_OK) s = quern_session_create(&session, m, NULL);
  const decoder d = {c, m, session};
  if (s == QUERN_OK) s = feed(&d, 0, 0, 0, 10);
  quern_session_free(session);
  quern_model_free(m);
  quern_context_free(c);
  return s;
}

/* Once a session exists its calls allocate nothing. */
static void calls_allocate_nothing(void) {
  faulty_alloc heap = {0};
  const quern_allocator alloc = faulty_allocator(&heap);
  quern_context_options co;
  quern_session_options so = session_of(64, 3, 512, 8);
  quern_context_options_init(&co, sizeof co);
  co.threads = 2;
  co.alloc = &alloc;
  decoder d = {0};
  const float *logits;
  quern_tensor_view v;
  CHECK_EQ(quern_context_create(&d.c, &co), QUERN_OK);
  CHECK_EQ(quern_model_open(&d.m, d.c, decoder_path("tiny", "int8"), NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&d.s, d.m, &so), QUERN_OK);
  const long before = heap.calls;
  CHECK_EQ(feed(&d, 0, 0, 0, 100), QUERN_OK);
  CHECK_EQ(quern_sequence_copy(d.s, 0, 1, 90), QUERN_OK);
  CHECK_EQ(feed(&d, 1, 0, 90, 1), QUERN_OK);
  CHECK_EQ(quern_decode_logits(d.s, 0, &logits, NULL), QUERN_OK);
  CHECK_EQ(quern_decode_rows(d.s, 0, 1, &v, NULL), QUERN_OK);
  CHECK_EQ(feed(&d, 2, 0, 0, 500), QUERN_E_CAPACITY);
  CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
  CHECK_EQ(heap.calls, before);
  close_decoder(&d);
  CHECK_EQ(heap.live, 0);
}

static void allocations_fail(void) {
  char path[512];
  long allocations = 0;
  snprintf(path, sizeof path, "%s", decoder_path("tiny", "int8"));
  CHECK_EQ(faulty_each(attempt, path, &allocations), 0);
  CHECK(allocations >= 3);
}

/* Opens a file and appends to its sequences; what comes out does not matter, that it returns does. */
static void use(quern_context *c, const uint8_t *data, size_t bytes) {
  quern_model *m = NULL;
  quern_session *s = NULL;
  quern_session_options so = session_of(48, 2, 128, 4);
  size_t need = 0;
  if (quern_model_open_memory(&m, c, data, bytes, NULL) != QUERN_OK) return;
  if (quern_session_bytes(m, &so, &need) == QUERN_OK && need < (64u << 20) &&
      quern_session_create(&s, m, &so) == QUERN_OK) {
    const decoder d = {c, m, s};
    const float *logits;
    if (feed(&d, 0, 0, 0, 70) == QUERN_OK) quern_decode_logits(s, 0, &logits, NULL);
    if (quern_sequence_copy(s, 0, 1, 65) == QUERN_OK) feed(&d, 1, 0, 65, 2);
  }
  quern_session_free(s);
  quern_model_free(m);
}

static void damaged_files(void) {
  static const char *const kinds[] = {"gemma3", "phi2"};
  static const char *const recipes[] = {"int8", "int4"};
  for (int f = 0; f < 2; f++) {
    size_t bytes = 0;
    quern_context *c = NULL;
    quern_context_options co;
    quern_context_options_init(&co, sizeof co);
    co.threads = 1;
    tiny_source = tiny_arch(kinds[f]);
    make_decoder("damaged", recipes[f]);
    uint8_t *file = tiny_read(decoder_path("damaged", recipes[f]), &bytes), *copy = NULL;
    CHECK(file && posix_memalign((void **)&copy, 64, bytes) == 0);
    CHECK_EQ(quern_context_create(&c, &co), QUERN_OK);
    memcpy(copy, file, bytes);
    use(c, copy, bytes);
    for (size_t i = 0; i < bytes; i += i < 8192 ? 5 : 211) {
      copy[i] ^= (uint8_t)(1u << tiny_hash(i) % 8);
      use(c, copy, bytes);
      copy[i] = file[i];
    }
    free(file), free(copy);
    quern_context_free(c);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  tiny_source = tiny_arch("llama");
  make_decoder("tiny", "int8");
  make_decoder("tiny", "float");
  alone("int8");
  RUN(full_cache_changes_nothing);
  RUN(truncated_and_fed_again);
  RUN(four_bits);
  RUN(prefixes_are_found);
  RUN(prefixes_are_shared);
  RUN(shared_pages_are_copied_once);
  RUN(logits_stay);
  RUN(bad_arguments);
  RUN(failed_calls_append_nothing);
  RUN(windows_release);
  RUN(calls_allocate_nothing);
  RUN(allocations_fail);
  RUN(damaged_files);
  tiny_dir_remove(dir);
  return TEST_END();
}
