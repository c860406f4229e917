/* test_decode.c - architectures beyond BERT, decoders above all: results against a double-precision forward pass, and the
 * same bytes whatever the kernel set, the threads, the calls that tokens came in and the sequences beside them. */
#include "decoder_session.h"
#include "reference_decoder.h"

#define TOKENS 150u
#define VOCAB TINY_VOCAB

static const char *const decoders[] = {"llama", "mistral", "qwen2", "gemma3", "capped", "phi2", NULL};
static const char *const encoders[] = {"nomic", "embeddinggemma", NULL};
static const char *const recipes[] = {"float", "int8", "int8-g32", "int4", NULL};
static uint32_t cache_bits; /* of the sessions below; 0: the recipe's */

/* Mean over rows of 1 - cosine. */
static double off(const float *a, const double *b, size_t rows, size_t n) {
  double sum = 0;
  for (size_t r = 0; r < rows; r++) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = r * n; i < (r + 1) * n; i++)
      ab += (double)a[i] * b[i], aa += (double)a[i] * (double)a[i], bb += b[i] * b[i];
    sum += 1 - ab / sqrt(aa * bb);
  }
  return sum / (double)rows;
}
static double largest(const float *a, const double *b, size_t n) {
  double error = 0, most = 0;
  for (size_t i = 0; i < n; i++) error = fmax(error, fabs((double)a[i] - b[i])), most = fmax(most, fabs(b[i]));
  return error / most;
}

/* Of random weights with outliers, which are harder on few bits than a trained model's. */
static const double most_off[] = {1e-10, 0.01, 0.01, 0.2};
static void compare(const char *arch, int recipe, const float *got, const double *want, size_t rows, size_t n) {
  const double mean = off(got, want, rows, n), error = largest(got, want, rows * n);
  const int near = mean < most_off[recipe] && (recipe || error < 2e-5);
  CHECK(near);
  if (!near) printf("  %s %s: 1 - cosine %.2e, largest difference %.2e\n", arch, recipes[recipe], mean, error);
}

static void logits_match(void) {
  static float got[TOKENS * VOCAB];
  static double want[TOKENS * VOCAB];
  for (int f = 0; decoders[f]; f++) {
    int32_t ids[TOKENS];
    tiny_source = tiny_arch(decoders[f]);
    for (uint32_t i = 0; i < TOKENS; i++) ids[i] = token_of(0, i);
    plain_logits(ids, TOKENS, want);
    for (int r = 0; recipes[r]; r++) {
      const quern_session_options so = session_of(256, 2, 256, TOKENS);
      make_decoder(decoders[f], recipes[r]);
      decoder d = open_decoder(decoders[f], recipes[r], NULL, 1, &so);
      feed_rows(&d, 1, 0, 0, TOKENS, TOKENS, got);
      compare(decoders[f], r, got, want, TOKENS, VOCAB);
      close_decoder(&d);
    }
  }
}

static void hidden_states_match(void) {
  static double want[TOKENS * 32];
  for (int f = 0; encoders[f]; f++) {
    int32_t ids[TOKENS];
    const uint32_t n = TOKENS;
    tiny_source = tiny_arch(encoders[f]);
    for (uint32_t i = 0; i < TOKENS; i++) ids[i] = token_of(0, i);
    plain_hidden(ids, TOKENS, want);
    for (int r = 0; recipes[r]; r++) {
      const quern_session_options so = session_of(256, 2, 0, 0);
      quern_tensor_view v = {0};
      make_decoder(encoders[f], recipes[r]);
      decoder d = open_decoder(encoders[f], recipes[r], NULL, 1, &so);
      CHECK_EQ(say(&d, quern_encode(d.s, ids, NULL, &n, 1, &v)), QUERN_OK);
      if (v.data) compare(encoders[f], r, v.data, want, TOKENS, v.cols);
      close_decoder(&d);
    }
  }
}

/* Hidden states and embeddings of encoders on every kernel set, with threads, in a batch. */
static void encoders_same_bytes(void) {
  static const uint32_t lens[] = {3, 64, 150, 65, 1}, total = 283;
  for (int f = 0; encoders[f]; f++)
    for (int r = 0; r < 2; r++) {
      int32_t ids[283];
      float *want = NULL;
      for (uint32_t i = 0; i < total; i++) ids[i] = token_of(3, i);
      for (uint32_t i = 0; quern_isa_name(i); i++)
        for (uint32_t threads = 1; threads <= 3; threads++) {
          const quern_session_options so = session_of(512, 8, 0, 0);
          quern_tensor_view v = {0};
          decoder d = open_decoder(encoders[f], recipes[r], quern_isa_name(i), threads, &so);
          CHECK_EQ(quern_encode(d.s, ids, NULL, lens, 5, &v), QUERN_OK);
          const size_t bytes = total * v.cols * sizeof(float);
          if (!want) {
            want = malloc(bytes);
            memcpy(want, v.data, bytes);
          }
          CHECK(!memcmp(want, v.data, bytes));
          close_decoder(&d);
        }
      free(want);
    }
}

/* Logits after each of TOKENS tokens of text 0, one feed on one thread. */
static void alone(const char *arch, const char *recipe, float *want) {
  quern_session_options so = session_of(256, 1, 256, TOKENS);
  so.cache_bits = cache_bits;
  decoder d = open_decoder(arch, recipe, NULL, 1, &so);
  feed_rows(&d, 0, 0, 0, TOKENS, TOKENS, want);
  close_decoder(&d);
}

/* One model on one kernel set: tokens in chunks, single ones behind the first hundred. */
static void in_chunks(const char *arch, const char *recipe, const char *isa, uint32_t threads, uint32_t chunk,
                      const float *want) {
  static float got[TOKENS * VOCAB];
  quern_session_options so = session_of(256, 3, 512, TOKENS);
  so.cache_bits = cache_bits;
  const uint32_t first = chunk == 1 ? TOKENS - 20 : 0;
  decoder d = open_decoder(arch, recipe, isa, threads, &so);
  memset(got, 0, sizeof got);
  if (first) feed_rows(&d, 2, 0, 0, first, first, got);
  feed_rows(&d, 2, 0, first, TOKENS - first, chunk, got + first * VOCAB);
  const int same = !memcmp(got, want, sizeof got);
  CHECK(same);
  if (!same) printf("  %s %s, %s, %u threads, chunks of %u\n", arch, recipe, isa, (unsigned)threads, (unsigned)chunk);
  close_decoder(&d);
}

/* A call of more tokens than a pass takes. */
static void in_passes(const char *arch, const char *recipe, const float *want) {
  quern_session_options so = session_of(40, 1, 512, 1);
  so.cache_bits = cache_bits;
  decoder d = open_decoder(arch, recipe, NULL, 1, &so);
  int32_t ids[TOKENS];
  const float *logits = NULL;
  uint32_t n = 0;
  for (uint32_t j = 0; j < TOKENS; j++) ids[j] = token_of(0, j);
  CHECK_EQ(say(&d, quern_decode_feed(d.s, 0, ids, TOKENS)), QUERN_OK);
  CHECK_EQ(say(&d, quern_decode_logits(d.s, 0, &logits, &n)), QUERN_OK);
  CHECK_EQ(n, VOCAB);
  CHECK(logits && !memcmp(logits, want + (TOKENS - 1) * VOCAB, VOCAB * sizeof(float)));
  close_decoder(&d);
}

static void sets_and_chunks(void) {
  static float want[TOKENS * VOCAB];
  static const uint32_t chunks[] = {1, 7, 64, TOKENS};
  for (int f = 0; decoders[f]; f++)
    for (int r = 0; recipes[r]; r++) {
      alone(decoders[f], recipes[r], want);
      in_passes(decoders[f], recipes[r], want);
      for (uint32_t i = 0; quern_isa_name(i); i++) /* every set meets every chunk in some model */
        in_chunks(decoders[f], recipes[r], quern_isa_name(i), 1, chunks[(i + (uint32_t)(f + r)) % 4], want);
    }
}

static void threads(void) {
  static float want[TOKENS * VOCAB];
  static const uint32_t chunks[] = {1, 17, TOKENS};
  for (int f = 0; decoders[f]; f++)
    for (int r = 0; r < 2; r++) {
      alone(decoders[f], recipes[r], want);
      for (uint32_t c = 0; c < 3; c++) in_chunks(decoders[f], recipes[r], NULL, 2 + c % 2, chunks[c], want);
    }
}

/* The same of keys and values of 4 bits, also of a float model. */
static void four_bits(void) {
  cache_bits = 4;
  sets_and_chunks();
  threads();
  cache_bits = 0;
}

/* Weights and heads, tied ones too, of 6 bits, with one scale a channel and with groups; heads of 4 bits with integer steps of scales, with and
   without zero points. */
static void few_bits(void) {
#define EIGHT "\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},\"head\":"
  static const char *const kinds[] = {"llama", "qwen2", "gemma3"};
  static const char *const members[] = {
      "\"weights\":{\"bits\":6},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":6}",
      "\"weights\":{\"bits\":6,\"group\":32},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":6}",
      EIGHT "{\"bits\":4,\"group\":32,\"minimum\":true,\"scales\":\"integer\"}",
      EIGHT "{\"bits\":4,\"group\":64,\"minimum\":false,\"scales\":\"integer\"}"};
  static float want[TOKENS * VOCAB], exact[TOKENS * VOCAB];
  char path[300];
  for (int f = 0; f < 3; f++)
    for (int g = 0; g < 4; g++) {
      snprintf(path, sizeof path, "%s/few%d.json", dir, g);
      FILE *file = fopen(path, "w");
      CHECK(file && fprintf(file, "{\"name\":\"few\",%s}", members[g]) > 0 && fclose(file) == 0);
      tiny_source = tiny_arch(kinds[f]);
      make_decoder(kinds[f], path);
      alone(kinds[f], "float", exact);
      alone(kinds[f], path, want);
      double off = 0, size = 0;
      for (size_t i = 0; i < TOKENS * VOCAB; i++)
        off += ((double)want[i] - exact[i]) * ((double)want[i] - exact[i]), size += (double)exact[i] * exact[i];
      CHECK(off < 0.15 * size);
      if (off >= 0.15 * size) printf("  %s: relative error %.3f\n", kinds[f], off / size);
      in_passes(kinds[f], path, want);
      for (uint32_t i = 0; quern_isa_name(i); i++)
        in_chunks(kinds[f], path, quern_isa_name(i), 1 + i % 2, i % 2 ? 7 : TOKENS, want);
    }
}

/* Sequences join, get some tokens or many at a time, and leave, in every call others: the logits of each are as alone. */
#define HELD 5u
static void batches(void) {
  static float want[HELD][TOKENS * VOCAB];
  for (int f = 0; decoders[f]; f++)
    for (int r = 0; r < 2; r++) {
      const quern_session_options one = session_of(256, 1, 256, TOKENS), so = session_of(96, HELD + 1, 1024, 96);
      decoder d = open_decoder(decoders[f], recipes[r], NULL, 1, &one);
      for (uint32_t i = 0; i < HELD; i++) {
        feed_rows(&d, 0, i, 0, TOKENS, TOKENS, want[i]);
        CHECK_EQ(quern_sequence_free(d.s, 0), QUERN_OK);
      }
      close_decoder(&d);
      for (uint32_t threads = 1; threads <= 2; threads++) {
        uint32_t done[HELD] = {0}, wrong = 0;
        d = open_decoder(decoders[f], recipes[r], NULL, threads, &so);
        for (uint64_t round = 0; round < (threads > 1 ? 20 : 60); round++) {
          uint32_t sequences[HELD], offsets[HELD + 1] = {0}, n = 0;
          int32_t ids[96];
          for (uint32_t i = 0; i < HELD; i++) {
            const uint64_t hash = tiny_hash(round * 31 + i + threads);
            uint32_t more = hash % 3 ? 1 : (uint32_t)(hash / 3 % 19);
            if (hash / 64 % 4 == 0) more = 0;
            if (done[i] + more > TOKENS) { /* leaves, and comes back as new */
              CHECK_EQ(quern_sequence_free(d.s, i), QUERN_OK);
              done[i] = 0;
            }
            if (!more) continue;
            sequences[n] = i;
            for (uint32_t j = 0; j < more; j++) ids[offsets[n] + j] = token_of(i, done[i] + j);
            offsets[n + 1] = offsets[n] + more;
            n++;
          }
          if (!n) continue;
          quern_tensor_view v = {0};
          CHECK_EQ(say(&d, quern_decode_batch(d.s, sequences, offsets, ids, n)), QUERN_OK);
          CHECK_EQ(say(&d, quern_decode_rows(d.s, 0, offsets[n], &v, NULL)), QUERN_OK);
          for (uint32_t i = 0; v.data && i < n; i++) {
            const uint32_t s = sequences[i], more = offsets[i + 1] - offsets[i];
            wrong += memcmp(v.data + (size_t)offsets[i] * VOCAB, want[s] + (size_t)done[s] * VOCAB,
                            more * VOCAB * sizeof(float)) != 0;
            done[s] += more;
          }
          for (uint32_t i = n; v.data && i-- > 0;) {
            const float *logits = NULL;
            CHECK_EQ(say(&d, quern_decode_logits(d.s, sequences[i], &logits, NULL)), QUERN_OK);
            wrong += !logits || memcmp(logits, want[sequences[i]] + (size_t)(done[sequences[i]] - 1) * VOCAB,
                                       VOCAB * sizeof(float)) != 0;
          }
        }
        CHECK_EQ(wrong, 0);
        if (wrong) printf("  %s %s, %u threads: %u wrong\n", decoders[f], recipes[r], (unsigned)threads, wrong);
        close_decoder(&d);
      }
    }
}

/* Single tokens far behind, where threads cut attention by blocks of keys. */
static void deep(void) {
  enum { DEPTH = 570, LAST = 12 };
  static const char *const kinds[] = {"llama", "mistral", "capped"};
  static const char *const of[] = {"float", "int8", "int8"}; /* the last with keys and values of 4 bits */
  static float want[LAST * VOCAB], got[LAST * VOCAB];
  int32_t ids[DEPTH];
  for (uint32_t j = 0; j < DEPTH; j++) ids[j] = token_of(9, j);
  for (int f = 0; f < 3; f++)
    for (int r = 0; r < 3; r++) {
      tiny_source = tiny_arch(kinds[f]);
      tiny_source.positions = 1024;
      tiny_source.layers = 2;
      if (tiny_source.window) tiny_source.window = 500;
      make_decoder("deep", of[r]);
      for (uint32_t i = 0; !i || quern_isa_name(i - 1); i++) {
        quern_session_options so = session_of(DEPTH, 1, 1024, LAST);
        so.cache_bits = r == 2 ? 4 : 0;
        decoder d = open_decoder("deep", of[r], i ? quern_isa_name(i - 1) : NULL, i ? 2 : 1, &so);
        CHECK_EQ(say(&d, quern_decode_feed(d.s, 0, ids, DEPTH - LAST)), QUERN_OK);
        feed_rows(&d, 0, 9, DEPTH - LAST, LAST, i % 2 ? 5 : 1, i ? got : want);
        if (i) CHECK(!memcmp(want, got, sizeof got));
        close_decoder(&d);
      }
    }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(logits_match);
  RUN(hidden_states_match);
  RUN(encoders_same_bytes);
  RUN(sets_and_chunks);
  RUN(threads);
  RUN(four_bits);
  RUN(few_bits);
  RUN(batches);
  RUN(deep);
  tiny_dir_remove(dir);
  return TEST_END();
}
