/* test_rotations.c - inputs of operators in another basis, step by step: matrices are orthogonal, products stay what they were, the zigzag keeps
 * its bound, the search lowers ranges, learned ranges cost less; the same bytes on every kernel set and thread count; files that run. */
#include <math.h>
#include <stdlib.h>

#include "format/qrn.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "quant/greedy.h"
#include "quant/learn_clip.h"
#include "quant/orthogonal.h"
#include "quant/input_transform.h"
#include "quant/token_codes.h"
#include "quant/zigzag.h"
#include "tiny_decoder.h"
#include "tiny_faults.h"

static qn_env env;

enum { B = 64, K = 192, ROWS = 50, N = 24 };
static double a[B * B], b[B * B], work[2 * B * B];
static float rows[ROWS * K], given[ROWS * K], weights[N * K], changed[N * K];

static double random_of(uint64_t seed, uint64_t i) { return (double)tiny_weight(seed, "x", i); }

/* Rows with a channel of outliers in all, and one row with a massive one. */
static void make_rows(void) {
  for (uint32_t i = 0; i < ROWS * K; i++) {
    given[i] = (float)random_of(21, i);
    if (i % K == 70) given[i] *= 20;
  }
  given[7 * K + 130] = 300;
  memcpy(rows, given, sizeof rows);
  for (uint32_t i = 0; i < N * K; i++) weights[i] = changed[i] = (float)random_of(22, i);
}

/* ---- the pieces ------------------------------------------------------------------------------------------------------ */

static double off_identity(const double *m, const double *n, size_t size, int turned) {
  double worst = 0;
  for (size_t i = 0; i < size; i++)
    for (size_t j = 0; j < size; j++) {
      double sum = i == j ? -1 : 0;
      for (size_t c = 0; c < size; c++) sum += m[i * size + c] * (turned ? n[j * size + c] : n[c * size + j]);
      worst = fmax(worst, fabs(sum));
    }
  return worst;
}

static void test_matrices(void) {
  static const size_t sizes[] = {1, 2, 16, 32, B};
  int16_t m[B * B];
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    const size_t n = sizes[s];
    qn_orthogonal_random(a, n, s);
    CHECK(off_identity(a, a, n, 1) < 1e-13);
    qn_orthogonal_spread(a, n, s, work);
    CHECK(off_identity(a, a, n, 1) < 1e-13);
    for (size_t j = 0; j < n; j++) CHECK(fabs(a[j] - 1 / sqrt((double)n)) < 1e-14);
    for (size_t i = 0; i < n * n; i++) m[i] = (int16_t)lrint(a[i] * QN_ROTATION_ONE);
    qn_orthogonal_inverse(m, n, b, work);
    for (size_t i = 0; i < n * n; i++) a[i] = (double)m[i] / QN_ROTATION_ONE;
    CHECK(off_identity(a, b, n, 0) < 1e-13);
    CHECK(n < 16 || off_identity(a, a, n, 1) > 1e-6); /* its transpose would not do */
  }
}

static void test_zigzag(void) {
  float x[K], descending[K];
  int32_t order[K];
  uint32_t scratch[K];
  for (uint32_t block = 16; block <= B; block *= 2)
    for (uint32_t turn = 0; turn < 20; turn++) {
      const uint32_t blocks = K / block;
      double gap = 0, mean = 0, variance = 0, of_block[K / 16] = {0};
      for (uint32_t i = 0; i < K; i++) {
        const double v = fabs(random_of(turn, i));
        x[i] = (float)(turn % 3 == 0 ? v : turn % 3 == 1 ? v * v * v * v * 100 : floor(v * 8));
      }
      qn_zigzag(x, K, block, order, scratch);
      int seen[K] = {0};
      for (uint32_t i = 0; i < K; i++) {
        CHECK(order[i] >= 0 && order[i] < K && !seen[order[i]]++);
        CHECK(i % block == 0 || x[order[i]] <= x[order[i - 1]]);
        of_block[i / block] += (double)x[order[i]] / block;
        mean += (double)x[order[i]] / K;
        descending[i] = x[scratch[i]];
      }
      for (uint32_t i = 1; i < K; i++) gap = fmax(gap, (double)descending[i - 1] - (double)descending[i]);
      for (uint32_t i = 0; i < blocks; i++) variance += (of_block[i] - mean) * (of_block[i] - mean) / blocks;
      const double bound = (blocks - 1) * gap / 4;
      CHECK(variance <= bound * bound + 1e-12);
    }
}

static double ranges_of(const float *x) {
  double sum = 0;
  for (uint32_t r = 0; r < ROWS; r++) {
    float low = 0, high = 0;
    for (uint32_t i = 0; i < K; i++) low = fminf(low, x[r * K + i]), high = fmaxf(high, x[r * K + i]);
    sum += (double)(high - low) * (double)(high - low);
  }
  return sum;
}

static void test_greedy(void) {
  static const char *const isas[] = {NULL, "ref"};
  float rotation[B * B], want[B * B];
  for (int by_row = 0; by_row < 2; by_row++) {
    make_rows();
    for (int i = 0; i < 2; i++) {
      qk_table kernels;
      qn_pool *pool = NULL;
      CHECK(qk_table_build(&kernels, isas[i], qk_cpu_features()));
      CHECK_EQ(qn_pool_create(&pool, &env, i ? 3 : 1, NULL, NULL), QUERN_OK);
      const qn_greedy g = {&kernels, pool, ROWS, K, B, 24, by_row ? 0 : 4, by_row, 5};
      CHECK_EQ(qn_greedy_rotation(&env, &g, given, i ? rotation : want), QUERN_OK);
      qn_pool_free(pool);
    }
    CHECK(!memcmp(rotation, want, sizeof want));
    for (uint32_t i = 0; i < B * B; i++) a[i] = (double)rotation[i];
    CHECK(off_identity(a, a, B, 1) < 1e-5);
    for (uint32_t r = 0; r < ROWS * K / B; r++)
      for (uint32_t j = 0; j < B; j++) {
        double sum = 0;
        for (uint32_t i = 0; i < B; i++) sum += (double)given[r * B + i] * a[i * B + j];
        rows[r * B + j] = (float)sum;
      }
    CHECK(ranges_of(rows) < 0.3 * ranges_of(given));
  }
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static qn_recipe recipe_of(int rotate, int permute, uint32_t second, uint32_t block) {
  return (qn_recipe){.transforms = 1,
                     .rotate = rotate,
                     .permute = permute,
                     .rotate2 = second,
                     .block = block,
                     .steps = 12,
                     .restart = 4};
}

static qn_products products_of(qk_table *kernels, qn_pool **pool) {
  CHECK(qk_table_build(kernels, NULL, qk_cpu_features()));
  CHECK_EQ(qn_pool_create(pool, &env, 2, NULL, NULL), QUERN_OK);
  return (qn_products){&env, kernels, *pool};
}

/* Products of rows and weights, and the squares of what they lose. */
static double product_error(const float *x, const float *w) {
  double error = 0, power = 0;
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t n = 0; n < N; n++) {
      double want = 0, got = 0;
      for (uint32_t i = 0; i < K; i++) {
        want += (double)given[r * K + i] * (double)weights[n * K + i];
        got += (double)x[r * K + i] * (double)w[n * K + i];
      }
      error += (want - got) * (want - got);
      power += want * want;
    }
  return sqrt(error / power);
}

static void check_step(const qn_products *e, const qn_recipe *r, uint32_t block) {
  qn_transform t = {0};
  qn_trail trail = {0};
  float *found = malloc(sizeof rows);
  make_rows();
  memcpy(found, given, sizeof rows);
  const qn_transform_shape s = qn_transform_shape_of(r, K);
  CHECK_EQ(s.block, block);
  CHECK_EQ(qn_transform_find(&t, e, r, &s, K, 3, found, ROWS, &trail), QUERN_OK);
  CHECK(!t.first == !s.first && !t.order == !s.order && !t.second == !s.second && !t.signs == !s.signs);
  CHECK_EQ(qn_transform_rows(&t, e, 0, rows, ROWS), QUERN_OK);
  CHECK_EQ(qn_transform_rows(&t, e, 1, changed, N), QUERN_OK);
  CHECK(product_error(rows, changed) < 1e-6);
  CHECK(block < 32 || ranges_of(rows) < 0.5 * ranges_of(given));
  /* Moments in the new basis are those of rows that are in it. */
  static float moments[K * K];
  for (uint32_t i = 0; i < K; i++)
    for (uint32_t j = 0; j <= i; j++) {
      double sum = 0;
      for (uint32_t row = 0; row < ROWS; row++) sum += (double)given[row * K + i] * (double)given[row * K + j];
      moments[i * K + j] = (float)sum;
    }
  CHECK_EQ(qn_transform_moments(&t, e, moments), QUERN_OK);
  double error = 0, power = 0;
  for (uint32_t i = 0; i < K; i++)
    for (uint32_t j = 0; j < K; j++) {
      double sum = 0;
      for (uint32_t row = 0; row < ROWS; row++) sum += (double)rows[row * K + i] * (double)rows[row * K + j];
      error += (sum - (double)moments[i * K + j]) * (sum - (double)moments[i * K + j]);
      power += sum * sum;
    }
  CHECK(sqrt(error / power) < 1e-5);
  qn_transform_free(&env, &t);
  free(found);
}

static void test_steps(void) {
  qk_table kernels;
  qn_pool *pool = NULL;
  const qn_products e = products_of(&kernels, &pool);
  for (uint32_t block = 16; block <= 128; block *= 2) {
    const uint32_t fits = block > B ? B : block; /* 192 is three times 64 */
    for (int kind = 0; kind < 6; kind++) {
      const qn_recipe r = recipe_of(kind != 5, kind == 1 || kind == 3 || kind == 4,
                                    kind == 2 || kind == 3   ? QN_ROTATE2_DENSE
                                    : kind == 4 || kind == 5 ? QN_ROTATE2_HADAMARD
                                                             : QN_ROTATE2_NONE,
                                    block);
      check_step(&e, &r, fits);
    }
  }
  const qn_recipe none = recipe_of(1, 1, QN_ROTATE2_DENSE, 128);
  CHECK_EQ(qn_transform_shape_of(&none, 24).block, 0);
  qn_pool_free(pool);
}

/* Kernels take the panels for what rows are multiplied by. */
static void test_kernel(void) {
  qk_table kernels;
  qn_pool *pool = NULL;
  const qn_products e = products_of(&kernels, &pool);
  const qn_recipe r = recipe_of(1, 1, QN_ROTATE2_DENSE, B);
  const qn_transform_shape s = qn_transform_shape_of(&r, K);
  qn_transform t = {0};
  qn_trail trail = {0};
  static int8_t codes[ROWS * K];
  static float scale[ROWS], zero[ROWS];
  static int32_t start[ROWS];
  make_rows();
  float *found = malloc(sizeof rows);
  memcpy(found, given, sizeof rows);
  CHECK_EQ(qn_transform_find(&t, &e, &r, &s, K, 3, found, ROWS, &trail), QUERN_OK);
  CHECK_EQ(qn_transform_rows(&t, &e, 0, rows, ROWS), QUERN_OK);
  int16_t *first = aligned_alloc(64, B * B * 2), *second = aligned_alloc(64, B * B * 2);
  qn_transform_panels(t.first, B, first);
  qn_transform_panels(t.second, B, second);
  const qk_transform k = {.first = first, .order = t.order, .second = second, .block = B};
  const qk_codes q = {.codes = codes, .scale = scale, .zero = zero, .start = start, .ld = K};
  void *scratch = aligned_alloc(64, qk_round_up(qk_transform_scratch(K), 64));
  CHECK_EQ(kernels.transform(&k, given, K, K, &q, scratch, 0, ROWS), 0);
  for (uint32_t i = 0; i < ROWS * K; i++) {
    const float y = ((float)codes[i] - zero[i / K]) * scale[i / K];
    CHECK(fabsf(y - rows[i]) <= 0.75f * scale[i / K]); /* that of codes, and those of 14 bits before */
  }
  free(scratch);
  free(first);
  free(second);
  free(found);
  qn_transform_free(&env, &t);
  qn_pool_free(pool);
}

/* Rows become what the kernels' codes stand for; the factor of their range that is found loses least, and lies further in the wider they are. */
static void test_token_codes(void) {
  static const struct {
    uint32_t bits, group;
    int symmetric;
  } forms[] = {{4, 0, 0}, {6, 0, 0}, {4, 64, 1}};
  qk_table kernels;
  CHECK(qk_table_build(&kernels, NULL, qk_cpu_features()));
  for (size_t f = 0; f < 3; f++) {
    static int8_t codes[ROWS * K];
    static float scale[ROWS * K / 64], zero[ROWS * K / 64], want[ROWS * K];
    static int32_t start[ROWS], group_start[ROWS * K / 64];
    const uint32_t each = forms[f].group ? forms[f].group : K;
    const qk_codes q = {.codes = codes,
                        .scale = scale,
                        .zero = zero,
                        .start = start,
                        .ld = K,
                        .bits = forms[f].bits,
                        .group_start = forms[f].group ? group_start : NULL,
                        .grouped = forms[f].group != 0,
                        .group = forms[f].group,
                        .symmetric = (uint32_t)forms[f].symmetric,
                        .clip = 0.75f};
    qn_token_codes c = {forms[f].bits, forms[f].group, forms[f].symmetric, 0.75f};
    make_rows();
    CHECK_EQ(kernels.quantize(given, K, K, NULL, &q, 0, ROWS), 0);
    for (uint32_t i = 0; i < ROWS * K; i++) want[i] = ((float)codes[i] - zero[i / each]) * scale[i / each];
    qn_token_round(&c, rows, ROWS, K);
    for (uint32_t i = 0; i < ROWS * K; i++) CHECK(fabsf(rows[i] - want[i]) <= 1e-5f * scale[i / each]);
    make_rows();
    c.clip = 0;
    const float clip = qn_token_clip(&c, given, ROWS, K);
    double least = 0;
    for (int part = 32; part >= 20; part--) {
      double sum = 0;
      make_rows();
      c.clip = (float)part / 32;
      qn_token_round(&c, rows, ROWS, K);
      for (uint32_t r = 0; r < ROWS; r++) {
        double error = 0, power = 0;
        for (uint32_t i = r * K; i < (r + 1) * K; i++) {
          error += pow((double)rows[i] - (double)given[i], 2);
          power += pow((double)given[i], 2);
        }
        sum += error / power;
      }
      if (part == 32 || sum < least) least = sum;
      if (c.clip <= clip) CHECK(sum >= least * (1 - 1e-12));
      if (c.clip == clip) CHECK(sum <= least * (1 + 1e-12));
    }
  }
  static float noise[16 * 4096]; /* near to normal */
  const qn_token_codes four = {4, 0, 0, 0};
  for (uint32_t i = 0; i < 16 * 4096; i++)
    for (uint32_t j = 0; j < 12; j++) noise[i] += (float)random_of(30, 12 * i + j);
  const float narrow = qn_token_clip(&four, noise, 1024, 64), wide = qn_token_clip(&four, noise, 16, 4096);
  CHECK(narrow > 0.9f && wide < 0.8f && wide > 0.65f);
  CHECK(qn_token_clip(&four, noise, 0, 64) == 1);
}

static double clip_cost(const float *moments, const float *scale, const float *min) {
  double sum = 0;
  for (uint32_t n = 0; n < N; n++) {
    double error[K];
    for (uint32_t i = 0; i < K; i++) {
      const double code = scale[n] > 0
                              ? rint(
                                    fmin(fmax(((double)weights[n * K + i] - (double)min[n]) / (double)scale[n], 0), 15))
                              : 0;
      error[i] = code * (double)scale[n] + (double)min[n] - (double)weights[n * K + i];
    }
    for (uint32_t i = 0; i < K; i++)
      for (uint32_t j = 0; j < K; j++) sum += error[i] * error[j] * (double)moments[i * K + j];
  }
  return sum;
}

static void test_learned_ranges(void) {
  static float moments[K * K];
  float scale[N], min[N];
  qk_table kernels;
  qn_pool *pool = NULL;
  const qn_products e = products_of(&kernels, &pool);
  make_rows();
  memset(weights + 5 * K, 0, K * sizeof *weights);
  for (uint32_t i = 0; i < K * K; i++)
    for (uint32_t r = 0; r < ROWS; r++) moments[i] += given[r * K + i / K] * given[r * K + i % K];
  double least = 1e300;
  for (float part = 1; part > 0.55f; part -= 0.08f) {
    for (uint32_t n = 0; n < N; n++) qn_clip_grid(weights + n * K, K, 15, part, &scale[n], &min[n]);
    least = fmin(least, clip_cost(moments, scale, min));
  }
  const qn_learning l = {.w = weights, .moments = moments, .n = N, .k = K, .top = 15, .scale = scale, .min = min};
  CHECK_EQ(qn_learn_clip(&e, &l), QUERN_OK);
  CHECK(clip_cost(moments, scale, min) < 0.9 * least);
  CHECK(scale[5] == 0 && min[5] == 0);
  qn_pool_free(pool);
}

/* Every allocation of the search and what it is used for may fail. */
static void test_memory(void) {
  qk_table kernels;
  qn_pool *pool = NULL;
  qn_env faulty;
  faulty_alloc f = {0};
  const quern_allocator alloc = {sizeof alloc, 0, &f, faulty_alloc_alloc, faulty_alloc_free};
  qn_env_init(&faulty, &alloc, NULL, NULL, 0);
  qn_products e = products_of(&kernels, &pool);
  const qn_recipe r = recipe_of(1, 1, QN_ROTATE2_DENSE, 16);
  const qn_transform_shape s = qn_transform_shape_of(&r, K);
  e.env = &faulty;
  quern_status status = QUERN_E_MEMORY;
  for (f.fail_at = 1; status == QUERN_E_MEMORY && f.fail_at < 100; f.fail_at++) {
    qn_transform t = {0};
    qn_trail trail = {0};
    f.calls = 0;
    make_rows();
    status = qn_transform_find(&t, &e, &r, &s, K, 3, rows, ROWS, &trail);
    if (status == QUERN_OK) status = qn_transform_rows(&t, &e, 1, changed, N);
    qn_transform_free(&faulty, &t);
    CHECK(f.live == 0 && f.wrong_sizes == 0);
  }
  CHECK_EQ(status, QUERN_OK);
  CHECK(f.fail_at > 8);
  qn_pool_free(pool);
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static char texts[300];
static int set_texts(void) {
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  return write_texts(20);
}

static quern_status make_one(const char *recipe, const char *isa, uint32_t threads, const char *name,
                             const char *from) {
  char path[300], message[512] = "";
  const making k = {.isa = isa, .threads = threads, .recipe = recipe, .texts = from};
  path_of(path, sizeof path, name);
  const quern_status status = make_file(&k, path, message, sizeof message);
  if (status != QUERN_OK && status != QUERN_E_ARGUMENT) printf("  %s: %s\n", recipe, message);
  return status;
}

static double cosine(const char *name) {
  static const char text[] = "the cat sat on a mat and the dog is in b7";
  float x[64], y[64];
  double xy = 0;
  uint32_t width = 0;
  opened m = open_model(name, NULL, 1, 0, 0), f = open_model("float", NULL, 1, 0, 0);
  if (!m.s || !f.s) return 0;
  CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, x, 64, &width), QUERN_OK);
  CHECK_EQ(quern_embed(f.s, text, sizeof text - 1, y, 64, NULL), QUERN_OK);
  for (uint32_t i = 0; i < width; i++) xy += (double)x[i] * (double)y[i];
  close_model(&m);
  close_model(&f);
  return xy;
}

static void test_files(void) {
  static const struct {
    const char *recipe;
    double least;
    int without_text;
  } made[] = {{"duquant6", 0.99, 1}, {"duquant4", 0.8, 1}, {"duquant4-lwc", 0.8, 0}};
  tiny_options o = tiny_defaults();
  o.ffn = 80; /* blocks of 16 */
  CHECK(tiny_model_write(dir, &o) && set_texts());
  CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
  for (size_t i = 0; i < 3; i++) {
    char path[300];
    size_t n = 0, m = 0;
    CHECK_EQ(make_one(made[i].recipe, NULL, 1, "x", NULL), made[i].without_text ? QUERN_OK : QUERN_E_ARGUMENT);
    if (made[i].without_text) CHECK(cosine("x") > made[i].least);
    CHECK_EQ(make_one(made[i].recipe, NULL, 1, "x", texts), QUERN_OK);
    CHECK(cosine("x") > made[i].least);
    path_of(path, sizeof path, "x");
    uint8_t *want = tiny_read(path, &n);
    CHECK_EQ(make_one(made[i].recipe, "ref", 3, "x", texts), QUERN_OK);
    uint8_t *got = tiny_read(path, &m);
    CHECK(want && got && m == n && !memcmp(got, want, n));
    free(got);
    free(want);
  }
}

/* One rotation of attention's output is in the weights: the file has none of it, and the model is as good. */
static void test_merged(void) {
  static const char json[] =
      "{\"name\":\"merged\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6},\"embeddings\":{\"bits\":8},"
      "\"transform\":\"duquant\",\"steps\":8,\"merge\":true}";
  char recipe[300], path[300];
  qrn_reader f;
  size_t n = 0;
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && set_texts() && tiny_text(dir, "merged.json", json));
  snprintf(recipe, sizeof recipe, "%s/merged.json", dir);
  CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
  CHECK_EQ(make_one(recipe, "ref", 3, "x", texts), QUERN_OK);
  CHECK(cosine("x") > 0.99);
  path_of(path, sizeof path, "x");
  uint8_t *data = tiny_read(path, &n);
  CHECK_EQ(qrn_open(&f, &env, data, n), QUERN_OK);
  CHECK(!qrn_find_tensor(&f, "layers.0.attn.out.in.rotation") && qrn_find_tensor(&f, "layers.0.attn.qkv.in.rotation"));
  free(data);
}

/* Scores of the token behind six, by the file of that name. */
static void scores_of(const char *name, uint32_t vocab, float *out) {
  static const int32_t ids[] = {3, 50, 7, 20, 41, 9};
  const float *logits = NULL;
  uint32_t n = 0;
  opened m = open_model(name, NULL, 1, 16, 1);
  if (!m.s) return;
  CHECK_EQ(quern_decode_feed(m.s, 0, ids, 6), QUERN_OK);
  CHECK_EQ(quern_decode_logits(m.s, 0, &logits, &n), QUERN_OK);
  CHECK_EQ(n, vocab);
  if (n == vocab) memcpy(out, logits, n * sizeof *out);
  close_model(&m);
}

/* Of decoders heads are rotated as well, where they can be: gemma3's of 16 channels, not llama's of 8. */
static void test_decoders(void) {
  static const char *const families[] = {"llama", "gemma3"};
  for (int i = 0; i < 2; i++) {
    const tiny_decoder o = tiny_decoder_of(families[i]);
    float want[128] = {0}, got[128] = {0};
    double product = 0, squares[2] = {0, 0};
    CHECK(o.vocab <= 128 && tiny_decoder_write(dir, &o));
    CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
    CHECK_EQ(make_one("duquant6", NULL, 2, "x", NULL), QUERN_OK);
    scores_of("float", o.vocab, want);
    scores_of("x", o.vocab, got);
    for (uint32_t j = 0; j < o.vocab; j++) {
      product += (double)want[j] * (double)got[j];
      squares[0] += (double)want[j] * (double)want[j];
      squares[1] += (double)got[j] * (double)got[j];
    }
    CHECK(product > 0.98 * sqrt(squares[0] * squares[1]));
  }
}

/* Transforms that are chosen: the same on every kernel set and thread count, and as the budget allows. */
static void test_chosen(void) {
  static const struct {
    const char *budget, *activations;
    int chooses;
  } made[] = {{"1", "4", 0}, {"64", "4", 1}, {"64", "4,\"group\":32,\"symmetric\":true", 1}};
  char recipe[300], path[300];
  size_t n[2] = {0};
  uint8_t *data[2] = {NULL};
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && set_texts());
  snprintf(recipe, sizeof recipe, "%s/auto.json", dir);
  path_of(path, sizeof path, "x");
  CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
  for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
    char json[400];
    qrn_reader f;
    uint32_t wide = 0;
    snprintf(json, sizeof json,
             "{\"name\":\"auto\",\"weights\":{\"bits\":4,\"group\":0,\"minimum\":true},\"activations\":{\"bits\":%s},"
             "\"embeddings\":{\"bits\":8},\"transform\":\"auto\",\"block\":16,\"steps\":8,\"budget\":%s}",
             made[i].activations, made[i].budget);
    CHECK(tiny_text(dir, "auto.json", json));
    for (int j = 0; j < 2; j++) {
      CHECK_EQ(make_one(recipe, j ? "ref" : NULL, j ? 3 : 1, "x", texts), QUERN_OK);
      data[j] = tiny_read(path, &n[j]);
    }
    CHECK(data[0] && data[1] && n[0] == n[1] && !memcmp(data[0], data[1], n[0]));
    CHECK(cosine("x") > 0.8);
    CHECK_EQ(qrn_open(&f, &env, data[0], n[0]), QUERN_OK);
    for (uint32_t t = 0; t < f.tensor_count; t++) {
      const char *name = qrn_tensor_name(&f, &f.tensors[t]);
      wide += (strstr(name, ".in.rotation") && f.tensors[t].dim[0] != 16) || strstr(name, ".in.signs");
    }
    CHECK_EQ(wide > 0, made[i].chooses);
    free(data[0]);
    free(data[1]);
  }
}

static void test_faults(void) {
  char path[300];
  tiny_options o = tiny_defaults();
  o.layers = 1;
  CHECK(tiny_model_write(dir, &o) && set_texts());
  CHECK(tiny_text(dir, "faults.json",
                  "{\"name\":\"x\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6},\"embeddings\":{\"bits\":8},"
                  "\"transform\":\"auto\",\"steps\":2,\"budget\":2,\"merge\":true}"));
  snprintf(path, sizeof path, "%s/faults.json", dir);
  faulty_make("duquant4-lwc");
  faulty_make("duquant6"); /* codes are rounded by calibration */
  faulty_make(path);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  const qn_fpenv guard = qn_fpenv_enter();
  RUN(test_matrices);
  RUN(test_zigzag);
  RUN(test_greedy);
  RUN(test_steps);
  RUN(test_kernel);
  RUN(test_token_codes);
  RUN(test_learned_ranges);
  RUN(test_memory);
  qn_fpenv_leave(guard);
  RUN(test_decoders); /* first: encoders leave their pooling in the folder */
  RUN(test_files);
  RUN(test_merged);
  RUN(test_chosen);
  RUN(test_faults);
  tiny_dir_remove(dir);
  return TEST_END();
}
