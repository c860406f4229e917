/* fuzz_saved.c - a saved sequence, as it was written or changed at given places and sealed again, restored into a session that may have
 * sequences of its own; and then used. The first bytes choose the model, the session and what was saved; the next ones change it.
 * A file that is refused changes nothing; one that is taken gives a sequence that can be used. */
#include "tests/fuzz/fuzz_decoder.h"

enum { VOCAB = 80, SEQUENCES = 3, PAGES = 5, MODELS = 2, BITS = 3, LENGTHS = 4, MOST = 1 << 16 };

static const char *const families[MODELS] = {
    "llama", "mistral"}; /* of the second pages are given back: its layers have a window */
static const uint32_t bits[BITS] = {8, 32, 4}, lengths[LENGTHS] = {1, 63, 64, 150};
static fuzz_decoder decoders[MODELS];
static uint8_t *saved[MODELS][BITS][LENGTHS];
static size_t saved_bytes[MODELS][BITS][LENGTHS];

static quern_session *session_of(uint32_t m, uint32_t b) {
  quern_session *s = NULL;
  quern_session_options so;
  quern_session_options_init(&so, sizeof so);
  so.max_tokens = 64;
  so.max_sequences = SEQUENCES;
  so.cache_tokens = 64 * PAGES;
  so.cache_bits = bits[b];
  FUZZ_NEED(quern_session_create(&s, decoders[m].model, &so) == QUERN_OK);
  return s;
}

static quern_status feed(quern_session *s, uint32_t sequence, uint32_t n) {
  int32_t ids[FUZZ_POSITIONS];
  for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)((i * 7 + n) % VOCAB);
  return quern_decode_feed(s, sequence, ids, n);
}

static void begin(void) {
  for (uint32_t m = 0; m < MODELS; m++) {
    fuzz_make_decoder(&decoders[m], families[m]);
    for (uint32_t b = 0; b < BITS; b++)
      for (uint32_t i = 0; i < LENGTHS; i++) {
        quern_session *s = session_of(m, b);
        FUZZ_NEED(feed(s, 0, lengths[i]) == QUERN_OK && quern_sequence_save(s, 0, fuzz_path) == QUERN_OK);
        saved[m][b][i] = tiny_read(fuzz_path, &saved_bytes[m][b][i]);
        FUZZ_NEED(saved[m][b][i] && saved_bytes[m][b][i] <= MOST);
        quern_session_free(s);
      }
  }
}

/* What was saved, cut or longer, with changes: most of them in the header and the ids. Returns its bytes. */
static size_t change(fuzz_input *in, const uint8_t *from, size_t n, uint8_t *to) {
  const uint32_t how = fuzz_u8(in);
  memcpy(to, from, n);
  if (how & 1) n = fuzz_below(in, 65536) % (n + 1);
  if (how & 2) {
    const size_t more = fuzz_below(in, 1024);
    memset(to + n, 0, more);
    n += more;
  }
  while (in->left && n) {
    const uint32_t wide = fuzz_u8(in);
    size_t at = wide & 1 ? fuzz_u16(in) % n : fuzz_u8(in) % n;
    for (uint32_t i = wide >> 1 & 7; i < 8 && at < n; i++) to[at++] = (uint8_t)fuzz_u8(in);
  }
  return n;
}

/* The sequence goes on, as far as there is room. */
static void use(quern_session *s, uint32_t sequence) {
  uint32_t n = 0, more = 0;
  const float *logits;
  float score;
  int32_t id = 0;
  quern_sampling_options sampling;
  quern_sampling_options_init(&sampling, sizeof sampling);
  sampling.temperature = 1, sampling.repeat_penalty = 1.5f;
  FUZZ_NEED(quern_sequence_length(s, sequence, &n) == QUERN_OK && n && n <= FUZZ_POSITIONS);
  (void)quern_decode_logits(s, sequence, &logits, NULL); /* the file may be without a last token's states */
  (void)quern_decode_score(s, sequence, &id, 1, &score);
  if (quern_decode_next(s, &sequence, 1, &sampling, &id) == QUERN_OK) FUZZ_NEED(id >= 0 && id < VOCAB);
  (void)feed(s, sequence, 3);
  FUZZ_NEED(quern_sequence_length(s, sequence, &more) == QUERN_OK && more >= n && more <= FUZZ_POSITIONS);
  (void)quern_sequence_truncate(s, sequence, n - 1);
  (void)quern_sequence_copy(s, sequence, (sequence + 1) % SEQUENCES, n / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static uint8_t file[MOST + 1024];
  fuzz_input in = {data, bytes};
  uint32_t before[SEQUENCES], after;
  if (!fuzz_context) begin();
  const uint32_t m = fuzz_below(&in, MODELS), b = fuzz_below(&in, BITS), i = fuzz_below(&in, LENGTHS);
  const uint32_t other = fuzz_u8(&in), sequence = fuzz_below(&in, SEQUENCES);
  quern_session *s = session_of(m, other & 8 ? other / 16 % BITS : b);
  for (uint32_t k = 0; k < SEQUENCES; k++) {
    if (other >> k & 1) (void)feed(s, k, 60 + 10 * k);
    FUZZ_NEED(quern_sequence_length(s, k, &before[k]) == QUERN_OK);
  }
  const size_t n = change(&in, saved[m][b][i], saved_bytes[m][b][i], file);
  fuzz_write_saved(&decoders[m], file, n);
  const quern_status status = quern_sequence_restore(s, sequence, fuzz_path);
  unlink(fuzz_path);
  for (uint32_t k = 0; k < SEQUENCES; k++) {
    FUZZ_NEED(quern_sequence_length(s, k, &after) == QUERN_OK);
    if (k != sequence || status != QUERN_OK) FUZZ_NEED(after == before[k]);
  }
  if (status == QUERN_OK) use(s, sequence);
  for (uint32_t k = 0; k < SEQUENCES; k++) FUZZ_NEED(quern_sequence_free(s, k) == QUERN_OK);
  quern_stats st = {.size = sizeof st};
  FUZZ_NEED(quern_session_get_stats(s, &st) == QUERN_OK && st.cache_pages_free == st.cache_pages);
  quern_session_free(s);
  return 0;
}
