/* test_encode.c - the encoder's results: against a double-precision forward pass, and the same bytes whatever the kernel set,
 * the number of threads, the batch and the size of the session. */
#include <math.h>

#include "reference_bert.h"
#include "tiny_session.h"

/* One model of each family. */
static const char *const families[] = {"bert", "mpnet", "distilbert", "electra", NULL};
static tiny_options options_of(const char *family) {
  tiny_options o = tiny_defaults();
  o.model_type = family;
  if (!strcmp(family, "electra")) o.embed_width = 24;
  return o;
}

static const char *const every[] = {
    "float",  "int8", "int8-g32",    "int4",       "int4-g128", "small",   "zeros",  "symmetric", "steps4", "channel",
    "steps2", "two",  "w8a8-static", "mixed-gelu", "floats",    "grouped", "parted", "tiny",      NULL};

/* A ragged batch: lengths around tiles and blocks. ids, types: [sum]. */
#define BATCH 9u
static const uint32_t ragged[BATCH] = {1, 2, 5, 6, 7, 63, 64, 65, 100};
#define RAGGED_TOKENS 313u
static void fill_tokens(int32_t *ids, int32_t *types) {
  for (uint32_t i = 0; i < RAGGED_TOKENS; i++) {
    ids[i] = (int32_t)(tiny_hash(i) % TINY_VOCAB);
    types[i] = (int32_t)(tiny_hash(i + 1000) % 2);
  }
}

static double cosine(const float *a, const double *b, size_t n) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < n; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * (double)a[i], bb += b[i] * b[i];
  return ab / sqrt(aa * bb);
}

static void match_reference(const char *family) {
  /* Of `every`, the worst token: four bits of random weights with outliers are coarse, two leave little. */
  static const double most[] = {1e-10, 5e-3, 2e-3, 0.25, 0.25, 0.25, 0.25, 2e-2, 0.25,
                                5e-3,  0.8,  0.8,  0.25, 0.25, 0.25, 0.25, 0.25, 0.4};
  tiny_options o = options_of(family);
  o.width = 48, o.heads = 3, o.ffn = 100, o.positions = 128;
  int32_t ids[RAGGED_TOKENS], types[RAGGED_TOKENS];
  fill_tokens(ids, types);
  CHECK(make(&o, every));
  double *want = malloc(RAGGED_TOKENS * o.width * sizeof *want);
  for (uint32_t i = 0, row = 0; i < BATCH; row += ragged[i++])
    reference_bert(&o, ids + row, types + row, ragged[i], want + row * o.width);
  for (int r = 0; every[r]; r++) {
    opened m = open_model(every[r], NULL, 1, 512, 16);
    quern_tensor_view out = {0};
    CHECK_EQ(quern_encode(m.s, ids, types, ragged, BATCH, &out), QUERN_OK);
    CHECK_EQ(out.rows, RAGGED_TOKENS);
    CHECK_EQ(out.cols, o.width);
    double worst = 0, error = 0;
    for (uint32_t i = 0; out.data && i < RAGGED_TOKENS; i++) {
      worst = fmax(worst, 1 - cosine(out.data + i * o.width, want + i * o.width, o.width));
      for (uint32_t c = 0; c < o.width; c++)
        error = fmax(error, fabs((double)out.data[i * o.width + c] - want[i * o.width + c]));
    }
    CHECK(worst < most[r]);
    if (!r) CHECK(error < 2e-5);
    if (worst > 1e-10)
      printf("  %s %s: worst 1 - cosine %.2e, largest difference %.2e\n", family, every[r], worst, error);
    close_model(&m);
  }
  free(want);
}

static void test_matches_reference(void) {
  for (int f = 0; families[f]; f++) match_reference(families[f]);
}

/* Hidden states of the ragged batch, run in calls of `step` sequences. */
static void run_ragged(const opened *m, uint32_t step, uint32_t width, float *out) {
  int32_t ids[RAGGED_TOKENS], types[RAGGED_TOKENS];
  fill_tokens(ids, types);
  for (uint32_t i = 0, row = 0; i < BATCH; i += step) {
    const uint32_t n = i + step < BATCH ? step : BATCH - i;
    quern_tensor_view v = {0};
    CHECK_EQ(quern_encode(m->s, ids + row, types + row, ragged + i, n, &v), QUERN_OK);
    if (v.data) memcpy(out + row * width, v.data, v.rows * v.cols * sizeof *out);
    row += (uint32_t)v.rows;
  }
}

static void same_bytes(const char *family, const char *const *recipes) {
  tiny_options o = options_of(family);
  o.width = 64, o.heads = 2, o.ffn = 150, o.positions = 128, o.layers = 3;
  static const uint32_t threads[] = {1, 2, 3, 8};
  CHECK(make(&o, recipes));
  const size_t floats = RAGGED_TOKENS * o.width;
  float *want = malloc(floats * sizeof *want), *got = malloc(floats * sizeof *got);
  for (int r = 0; recipes[r]; r++) {
    opened base = open_model(recipes[r], "ref", 1, 512, 16);
    run_ragged(&base, BATCH, o.width, want);
    close_model(&base);
    for (uint32_t isa = 0; quern_isa_name(isa); isa++) {
      for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        opened m = open_model(recipes[r], quern_isa_name(isa), threads[t], 512, 16);
        for (uint32_t step = 1; step <= BATCH; step += 4) {
          memset(got, 0xff, floats * sizeof *got);
          run_ragged(&m, step, o.width, got);
          CHECK(!memcmp(got, want, floats * sizeof *got));
        }
        close_model(&m);
      }
    }
  }
  free(want);
  free(got);
}

static void test_same_bytes(void) {
  static const char *const some[] = {"float", "int8", "small", NULL};
  for (int f = 0; families[f]; f++) same_bytes(families[f], f ? some : every);
}

static void test_texts_same_bytes(void) {
  static const char *const texts[] = {"the cat sat on the mat.", "a dog is in a1", "", "the and of and to in cats",
                                      "dogs!"};
  enum { TEXTS = 5 };
  tiny_options o = tiny_defaults();
  char buffer[256] = "";
  int64_t offsets[TEXTS + 1] = {0};
  CHECK(make(&o, every));
  for (int i = 0; i < TEXTS; i++) {
    strcat(buffer, texts[i]);
    offsets[i + 1] = (int64_t)strlen(buffer);
  }
  for (int r = 0; every[r]; r++) {
    float batch[TEXTS][32], one[32];
    opened big = open_model(every[r], NULL, 2, 0, 0), small = open_model(every[r], NULL, 1, 48, 2);
    CHECK_EQ(quern_embed_batch(big.s, buffer, offsets, TEXTS, batch[0], TEXTS * 32, NULL), QUERN_OK);
    for (int i = 0; i < TEXTS; i++) {
      CHECK_EQ(quern_embed(small.s, texts[i], strlen(texts[i]), one, 32, NULL), QUERN_OK);
      CHECK(!memcmp(one, batch[i], sizeof one));
      double length = 0;
      for (int c = 0; c < 32; c++) length += (double)one[c] * (double)one[c];
      CHECK(fabs(length - 1) < 1e-6);
    }
    float again[TEXTS][32];
    CHECK_EQ(quern_embed_batch(small.s, buffer, offsets, TEXTS, again[0], TEXTS * 32, NULL), QUERN_OK);
    CHECK(!memcmp(again, batch, sizeof batch));
    close_model(&big);
    close_model(&small);
  }
}

static void test_classify(void) {
  tiny_options o = tiny_defaults();
  o.labels = 3;
  static const char text[] = "the catthe dog satthe mat";
  static const int64_t offsets[] = {0, 7, 18, 25, 25};
  float logits[4][3], probabilities[4][3], pair[2][3];
  CHECK(make(&o, every));
  for (int r = 0; every[r]; r++) {
    opened m = open_model(every[r], NULL, 1, 0, 0);
    CHECK_EQ(quern_classify_batch(m.s, text, offsets, 4, 0, logits[0], probabilities[0], 12), QUERN_OK);
    for (int i = 0; i < 4; i++)
      CHECK(fabsf(probabilities[i][0] + probabilities[i][1] + probabilities[i][2] - 1) < 1e-6f);
    CHECK_EQ(quern_classify_batch(m.s, text, offsets, 4, QUERN_PAIRS, pair[0], NULL, 6), QUERN_OK);
    CHECK(memcmp(pair[0], logits[0], sizeof pair[0]) != 0);
    CHECK_EQ(quern_classify_batch(m.s, text, offsets, 3, QUERN_PAIRS, pair[0], NULL, 6), QUERN_E_ARGUMENT);
    CHECK_EQ(quern_classify_batch(m.s, text, offsets, 4, 0, logits[0], NULL, 11), QUERN_E_CAPACITY);
    close_model(&m);
  }
  o.labels = 0;
  CHECK(make(&o, every));
  opened m = open_model("int8", NULL, 1, 0, 0);
  CHECK_EQ(quern_classify_batch(m.s, text, offsets, 4, 0, logits[0], NULL, 12), QUERN_E_TASK);
  close_model(&m);
}

static double gelu(double x) { return x * 0.5 * (1 + erf(x / sqrt(2))); }
static double relu(double x) { return x > 0 ? x : 0; }

/* Logits of the float recipe against the reference pass, dense layer and output layer by hand. */
static void head_matches_reference(const char *family, double (*activation)(double)) {
  tiny_options o = options_of(family);
  o.labels = 2;
  int32_t ids[64];
  size_t n = 0;
  float got[2];
  CHECK(make(&o, every));
  opened m = open_model("float", NULL, 1, 0, 0);
  static const char text[] = "the dog sat.";
  const int64_t offsets[2] = {0, sizeof text - 1};
  CHECK_EQ(quern_tokenize(m.m, text, sizeof text - 1, 0, ids, 64, &n), QUERN_OK);
  CHECK_EQ(quern_classify_batch(m.s, text, offsets, 1, 0, got, NULL, 2), QUERN_OK);
  double *x = malloc(n * o.width * sizeof *x), pooled[32], want[2];
  reference_bert(&o, ids, NULL, (uint32_t)n, x);
  reference r = {&o, 1, x};
  reference_linear(&r, x, pooled, o.width, o.width, "pooler.dense");
  for (uint32_t c = 0; c < o.width; c++) pooled[c] = activation(pooled[c]);
  reference_linear(&r, pooled, want, 2, o.width, "classifier");
  CHECK(fabs((double)got[0] - want[0]) < 1e-5 && fabs((double)got[1] - want[1]) < 1e-5);
  free(x);
  close_model(&m);
}

static void test_heads_match_reference(void) {
  head_matches_reference("bert", tanh);
  head_matches_reference("mpnet", tanh);
  head_matches_reference("distilbert", relu);
  head_matches_reference("electra", gelu);
}

/* A dense layer between pooling and normalizing, against the same model without both. */
static void test_dense(void) {
  static const char text[] = "a dog is on the mat";
  enum { DENSE = 21 };
  tiny_options o = tiny_defaults();
  float plain[32], got[DENSE];
  double x[32], want[DENSE], length = 0;
  o.normalize = 0;
  CHECK(make(&o, every));
  opened m = open_model("float", NULL, 1, 0, 0);
  CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, plain, 32, NULL), QUERN_OK);
  close_model(&m);
  for (int i = 0; i < 32; i++) x[i] = (double)plain[i];
  reference r = {&o, 1, NULL};
  reference_linear(&r, x, want, DENSE, 32, "linear");
  for (int i = 0; i < DENSE; i++) want[i] = tanh(want[i]), length += want[i] * want[i];
  o.normalize = 1, o.dense = DENSE;
  CHECK(make(&o, every));
  for (int recipe = 0; every[recipe]; recipe++) {
    uint32_t width = 0;
    double error = 0;
    m = open_model(every[recipe], NULL, 2, 0, 0);
    CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, got, DENSE - 1, NULL), QUERN_E_CAPACITY);
    CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, got, DENSE, &width), QUERN_OK);
    CHECK_EQ(width, DENSE);
    for (int i = 0; i < DENSE; i++) error = fmax(error, fabs((double)got[i] - want[i] / sqrt(length)));
    CHECK(error < (recipe > 1 ? 1 : recipe ? 3e-2 : 1e-6));
    close_model(&m);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(test_matches_reference);
  RUN(test_same_bytes);
  RUN(test_texts_same_bytes);
  RUN(test_classify);
  RUN(test_heads_match_reference);
  RUN(test_dense);
  tiny_dir_remove(dir);
  return TEST_END();
}
