/* test_saved.c - sequences saved and restored: what comes after is the same, and no damaged or foreign file changes anything. */
#include "decoder_session.h"

#include <unistd.h>

enum { TOKENS = 70, MORE = 20, VOCAB = TINY_VOCAB };

static char path[300];

static void write_file(const uint8_t *data, size_t n) {
  FILE *f = fopen(path, "wb");
  CHECK(f && fwrite(data, 1, n, f) == n);
  if (f) fclose(f);
}

static void goes_on_the_same(void) {
  static const char *const recipes[] = {"float", "int8", "int8"};
  static const uint32_t bits[] = {0, 0, 4};
  for (int r = 0; r < 3; r++)
    for (uint32_t tokens = 1; tokens <= TOKENS; tokens += 23) { /* 64 and more: two pages */
      quern_session_options so = session_of(128, 2, 512, TOKENS + MORE);
      so.cache_bits = bits[r];
      static float all[(TOKENS + MORE) * VOCAB], want[MORE * VOCAB], got[MORE * VOCAB];
      decoder d = open_decoder("llama", recipes[r], NULL, 1, &so);
      feed_rows(&d, 0, 1, 0, tokens, tokens, all);
      CHECK_EQ(say(&d, quern_sequence_save(d.s, 0, path)), QUERN_OK);
      feed_rows(&d, 0, 1, tokens, MORE, 3, want);
      close_decoder(&d);
      d = open_decoder("llama", recipes[r], "ref", 2, &so);
      feed_rows(&d, 1, 4, 0, 80, 80, all); /* goes */
      CHECK_EQ(say(&d, quern_sequence_restore(d.s, 1, path)), QUERN_OK);
      const float *logits;
      CHECK_EQ(say(&d, quern_decode_logits(d.s, 1, &logits, NULL)), QUERN_OK);
      feed_rows(&d, 1, 1, tokens, MORE, MORE, got);
      CHECK(!memcmp(want, got, sizeof want));
      uint32_t n;
      CHECK(quern_sequence_length(d.s, 1, &n) == QUERN_OK && n == tokens + MORE);
      close_decoder(&d);
    }
}

/* The sequence, its length and what comes after it are as they were. */
static void check_untouched(const decoder *d, const float *want) {
  static float got[MORE * VOCAB];
  uint32_t n = 0;
  CHECK(quern_sequence_length(d->s, 0, &n) == QUERN_OK && n == TOKENS);
  feed_rows(d, 0, 2, TOKENS, MORE, MORE, got);
  CHECK(!memcmp(got, want, sizeof got));
  CHECK_EQ(quern_sequence_truncate(d->s, 0, TOKENS), QUERN_OK);
}

static void damage_is_refused(void) {
  const quern_session_options so = session_of(128, 2, 256, TOKENS);
  static float all[TOKENS * VOCAB], want[MORE * VOCAB];
  decoder d = open_decoder("llama", "int8", NULL, 1, &so);
  feed_rows(&d, 0, 2, 0, TOKENS, TOKENS, all);
  feed_rows(&d, 0, 2, TOKENS, MORE, MORE, want);
  CHECK_EQ(quern_sequence_truncate(d.s, 0, TOKENS), QUERN_OK);
  feed_rows(&d, 1, 3, 0, 5, 5, all);
  CHECK_EQ(say(&d, quern_sequence_save(d.s, 1, path)), QUERN_OK);
  size_t bytes = 0;
  uint8_t *saved = tiny_read(path, &bytes);
  for (size_t cut = 0; cut < bytes; cut += cut < 128 ? 1 : 97) {
    write_file(saved, cut);
    CHECK(quern_sequence_restore(d.s, 0, path) != QUERN_OK);
  }
  for (size_t i = 0; i < bytes; i += i < 128 ? 1 : 61) {
    saved[i] ^= 0x40;
    write_file(saved, bytes);
    CHECK(quern_sequence_restore(d.s, 0, path) != QUERN_OK);
    saved[i] ^= 0x40;
  }
  check_untouched(&d, want);
  write_file(saved, bytes);
  CHECK_EQ(say(&d, quern_sequence_restore(d.s, 0, path)), QUERN_OK);
  free(saved);
  close_decoder(&d);
}

static void others_are_refused(void) {
  const quern_session_options so = session_of(128, 2, 512, TOKENS), small = session_of(128, 1, 64, 1);
  static float all[TOKENS * VOCAB];
  decoder d = open_decoder("llama", "int8", NULL, 1, &so);
  CHECK_EQ(quern_sequence_save(d.s, 0, path), QUERN_E_ARGUMENT); /* it is empty */
  feed_rows(&d, 0, 2, 0, TOKENS, TOKENS, all);
  CHECK_EQ(quern_sequence_save(d.s, 0, "/nowhere/at/all"), QUERN_E_IO);
  CHECK_EQ(say(&d, quern_sequence_save(d.s, 0, path)), QUERN_OK);
  CHECK_EQ(quern_sequence_restore(d.s, 2, path), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_sequence_restore(d.s, 0, decoder_path("llama", "none")), QUERN_E_IO);
  CHECK_EQ(quern_sequence_restore(d.s, 0, decoder_path("llama", "int8")), QUERN_E_FORMAT);
  close_decoder(&d);
  d = open_decoder("llama", "float", NULL, 1, &so);
  CHECK_EQ(quern_sequence_restore(d.s, 0, path), QUERN_E_ARGUMENT); /* another model */
  close_decoder(&d);
  d = open_decoder("llama", "int8", NULL, 1, &small);
  CHECK_EQ(quern_sequence_restore(d.s, 0, path), QUERN_E_CAPACITY);
  close_decoder(&d);
  for (uint32_t bits = 4; bits <= 32; bits += 28) {
    quern_session_options other = so;
    other.cache_bits = bits;
    d = open_decoder("llama", "int8", NULL, 1, &other);
    CHECK_EQ(quern_sequence_restore(d.s, 0, path), QUERN_E_ARGUMENT);
    close_decoder(&d);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(path, sizeof path, "%s/sequence", dir);
  tiny_source = tiny_arch("llama");
  make_decoder("llama", "float");
  make_decoder("llama", "int8");
  RUN(goes_on_the_same);
  RUN(damage_is_refused);
  RUN(others_are_refused);
  tiny_dir_remove(dir);
  return TEST_END();
}
