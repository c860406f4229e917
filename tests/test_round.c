/* test_round.c - rounding by calibration: moments are those of what operators take, codes are never worse by them than the nearest,
 * the same on every kernel set and thread count, and recipes that round so make files that run. */
#define _GNU_SOURCE /* memmem */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "quant/moments.h"
#include "quant/round.h"
#include "tiny_faults.h"

static qn_env env;
static char texts[300];

/* ---- codes --------------------------------------------------------------------------------------------------------- */

enum { N = 37, K = 150, GROUPS = 5 };
static float w[N * K], c[K * K], out[N * K], other[N * K], scale[48 * GROUPS], min[48 * GROUPS], work[2 * GROUPS];
static uint8_t steps[48 * GROUPS];

/* Moments of `rows` random inputs, of which some go together; one of them is always zero, one is huge. */
static void make_moments(uint32_t rows, uint32_t k) {
  memset(c, 0, sizeof c);
  for (uint32_t r = 0; r < rows; r++) {
    float x[K];
    for (uint32_t i = 0; i < k; i++)
      x[i] = tiny_weight(11, "x", r * K + i) + (i % 3 ? 0.7f * tiny_weight(12, "common", r * 8 + i % 5) : 0);
    x[k > 3 ? 3 : 0] = 0;
    if (k > 7) x[7] *= 100;
    for (uint32_t i = 0; i < k; i++)
      for (uint32_t j = 0; j <= i; j++) c[i * k + j] += x[i] * x[j];
  }
}

/* (q - w)^T C (q - w) of a channel with C damped, in double. */
static double cost(const float *q, uint32_t row, uint32_t k) {
  double sum = 0;
  for (uint32_t i = 0; i < k; i++)
    for (uint32_t j = 0; j < k; j++) {
      const double m = (double)(i > j ? c[i * k + j] : c[j * k + i]) * (i == j ? 1 + QN_ROUND_DAMPING : 1);
      sum += m * ((double)q[row * k + i] - (double)w[row * k + i]) * ((double)q[row * k + j] - (double)w[row * k + j]);
    }
  return sum;
}

static qn_packed packed(const qn_form *f) {
  return (qn_packed){.scale = scale, .min = f->min ? min : NULL, .steps = f->steps ? steps : NULL};
}

static quern_status round_on(qn_env *e, const char *isa, uint32_t threads, const qn_form *f, uint32_t n, uint32_t k,
                             float *to) {
  const qn_packed p = packed(f);
  const qn_rounding r = {.w = w, .moments = c, .n = n, .k = k, .form = *f, .grids = &p};
  qk_table kernels;
  qn_pool *pool = NULL;
  qn_pack_grids(w, n, k, f, &p, work);
  CHECK(qk_table_build(&kernels, isa, qk_cpu_features()));
  quern_status status = qn_pool_create(&pool, e, threads, NULL, NULL);
  if (status == QUERN_OK) status = qn_round(e, &kernels, pool, &r, to);
  qn_pool_free(pool);
  return status;
}

/* Nearest codes on the grids that were chosen first. */
static void nearest(const qn_form *f, uint32_t n, uint32_t k, float *to) {
  const qn_packed p = packed(f);
  qn_pack_grids(w, n, k, f, &p, work);
  for (uint32_t r = 0; r < n; r++)
    for (uint32_t i = 0; i < k; i++) {
      const qn_grid g = qn_packed_grid(&p, f, k, r, i);
      to[r * k + i] = qn_grid_code(&g, w[r * k + i]) * g.scale + g.min;
    }
}

static void check_round(const qn_form *f, uint32_t n, uint32_t k, double *gain) {
  double before = 0, after = 0;
  nearest(f, n, k, other);
  CHECK_EQ(round_on(&env, NULL, 1, f, n, k, out), QUERN_OK);
  const qn_packed p = packed(f); /* scales as they were left */
  for (uint32_t r = 0; r < n; r++) {
    const double a = cost(other, r, k), b = cost(out, r, k);
    CHECK(b <= a * 1.001 + 1e-9);
    before += a, after += b;
    for (uint32_t i = 0; i < k; i++) {
      const qn_grid g = qn_packed_grid(&p, f, k, r, i);
      const float code = qn_grid_code(&g, out[r * k + i]);
      CHECK(fabsf(code * g.scale + g.min - out[r * k + i]) <= 4e-6f * fabsf(g.scale) + 1e-6f * fabsf(g.min));
    }
  }
  *gain = before > 0 ? after / before : 1;
}

static void test_never_worse(void) {
  static const uint32_t shapes[][2] = {{1, 1}, {3, 20}, {N, 64}, {N, 65}, {N, K}};
  for (uint32_t i = 0; i < N * K; i++) w[i] = tiny_weight(7, "w", i);
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
    for (uint32_t rows = 0; rows < 400; rows += rows ? 380 : 10) { /* none, fewer than inputs, more */
      const uint32_t n = shapes[s][0], k = shapes[s][1];
      make_moments(rows, k);
      for (uint32_t bits = 2; bits <= 4; bits += 2)
        for (int kind = 0; kind < (bits == 4 ? 5 : 4); kind++) {
          const qn_form f = {.bits = bits,
                             .group = kind ? 32 : (uint32_t)qk_k8(k),
                             .min = kind == 2,
                             .steps = kind >= 3,
                             .zeros = kind == 4};
          double gain;
          check_round(&f, n, k, &gain);
          if (rows > 100 && k == K) CHECK(gain < 0.85);
        }
    }
}

/* One scale a channel, and groups, whatever runs it. */
static void test_same_everywhere(void) {
  make_moments(60, K);
  for (int kind = 0; kind < 2; kind++) {
    const qn_form f = {.bits = 4, .group = kind ? 32 : 192};
    CHECK_EQ(round_on(&env, "ref", 1, &f, N, K, out), QUERN_OK);
    for (uint32_t isa = 0; quern_isa_name(isa); isa++)
      for (uint32_t threads = 1; threads <= 4; threads += 3) {
        qk_table kernels;
        if (!qk_table_build(&kernels, quern_isa_name(isa), qk_cpu_features())) continue;
        CHECK_EQ(round_on(&env, quern_isa_name(isa), threads, &f, N, K, other), QUERN_OK);
        CHECK(!memcmp(out, other, sizeof out));
      }
  }
}

/* Moments that are no numbers, or too large, leave the nearest codes of those inputs; nothing that comes out is no number. */
static void test_odd_moments(void) {
  static const float odd[] = {NAN, INFINITY, -1, 1e38f, 1e-40f};
  const qn_form f = {.bits = 4, .group = 32};
  for (size_t o = 0; o < sizeof odd / sizeof odd[0]; o++) {
    make_moments(200, K);
    for (uint32_t i = 0; i < K; i++) c[70 * K + i] = c[i * K + 70] = odd[o];
    memset(w + K, 0, K * sizeof *w);
    CHECK_EQ(round_on(&env, NULL, 1, &f, N, K, out), QUERN_OK);
    for (uint32_t i = 0; i < N * K; i++) CHECK(isfinite(out[i]));
    for (uint32_t i = 0; i < K; i++) CHECK(out[K + i] == 0);
  }
}

static quern_status round_once(const quern_allocator *alloc, void *arg) {
  qn_env e;
  (void)arg;
  const qn_form f = {.bits = 2, .group = 32};
  qn_env_init(&e, alloc, NULL, NULL, 0);
  return round_on(&e, NULL, 2, &f, 5, 70, out);
}
static void test_round_memory(void) {
  long allocations = 0;
  make_moments(9, 70);
  CHECK_EQ(faulty_each(round_once, NULL, &allocations), 0);
}

/* ---- moments ------------------------------------------------------------------------------------------------------- */

/* The moments of one operator's input, in double. */
typedef struct counted {
  uint32_t kind, layer, d;
  double *sums;
} counted;
static void count(void *user, const qn_seen *seen) {
  counted *n = user;
  if (seen->kind != n->kind || seen->layer != n->layer) return;
  n->d = seen->d;
  for (size_t r = 0; r < seen->rows; r++)
    for (size_t i = 0; i < seen->d; i++)
      for (size_t j = 0; j < seen->d; j++)
        n->sums[i * seen->d + j] += (double)seen->x[r * seen->ld + i] * (double)seen->x[r * seen->ld + j];
}

typedef struct counting {
  counted *counted;
  const qn_calibration_text *text;
} counting;
static quern_status ignore(void *user, size_t first, uint32_t batch) {
  (void)user, (void)first, (void)batch;
  return QUERN_OK;
}
static quern_status count_model(void *user, quern_model *m) {
  counting *k = user;
  quern_session *s = NULL;
  CHECK_EQ(qn_calibration_session(&s, &env, m), QUERN_OK);
  if (!s) return QUERN_E_MEMORY;
  s->observe = count;
  s->observe_user = k->counted;
  const quern_status status = qn_calibration_run(s, &env, k->text, k->text->texts, ignore, NULL, "counting", texts);
  qn_session_free(s);
  return status;
}

static void check_moments(const qn_moments *m, const qn_quantize_job *job, const qn_calibration_text *text,
                          uint32_t kind) {
  counted got = {.kind = kind, .layer = 1, .sums = calloc((size_t)K * K, sizeof *got.sums)};
  counting k = {&got, text};
  CHECK_EQ(qn_with_float_model(&env, job, count_model, &k), QUERN_OK);
  CHECK(got.d && got.d <= K);
  qn_moments_of(m, 1, kind, 0, NULL, NULL, c);
  for (uint32_t i = 0; i < got.d; i++)
    for (uint32_t j = 0; j <= i; j++) {
      const double want = got.sums[i * got.d + j], size = sqrt(got.sums[i * got.d + i] * got.sums[j * got.d + j]);
      CHECK(fabs((double)c[i * got.d + j] - want) <= 1e-5 * size);
    }
  free(got.sums);
}

static void test_moments(void) {
  tiny_options o = tiny_defaults();
  qn_moments m = {0};
  qn_calibration_text text;
  o.width = 72, o.ffn = 130;
  CHECK(tiny_model_write(dir, &o) && write_texts(80));
  const qn_quantize_job job = {.src = dir, .calibration = texts};
  const qn_fpenv guard = qn_fpenv_enter();
  CHECK_EQ(qn_calibration_read(&text, &env, texts, 80, 0), QUERN_OK);
  CHECK_EQ(qn_moments_observe(&m, NULL, &env, &job, &text), QUERN_OK);
  check_moments(&m, &job, &text, QN_SITE_QKV_IN);
  check_moments(&m, &job, &text, QN_SITE_ATTN_OUT_IN);
  check_moments(&m, &job, &text, QN_SITE_FFN_DOWN_IN);
  /* A copy goes together with everything as its neuron does; a smoothed channel as much as it is smoothed. */
  static const uint32_t source[2] = {5, 100};
  float smooth[132], plain[2];
  for (int i = 0; i < 132; i++) smooth[i] = i == 131 ? 0.5f : 1;
  qn_moments_of(&m, 1, QN_SITE_FFN_DOWN_IN, 0, NULL, NULL, c);
  plain[0] = c[100 * 130 + 5], plain[1] = c[100 * 130 + 100];
  qn_moments_of(&m, 1, QN_SITE_FFN_DOWN_IN, 2, source, smooth, c);
  CHECK(c[100 * 132 + 5] == plain[0] && c[131 * 132 + 130] == plain[0] / 2 && c[130 * 132 + 100] == plain[0]);
  CHECK(c[131 * 132 + 100] == plain[1] / 2 && c[131 * 132 + 131] == plain[1] / 4);
  qn_calibration_free(&env, &text);
  qn_moments_free(&env, &m);
  qn_fpenv_leave(guard);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

#define ROUNDED(weights, activations, embeddings)                                                                      \
  "{\"name\":\"x\",\"weights\":{" weights "},\"activations\":{" activations "},\"embeddings\":{" embeddings            \
  "},\"rounding\":\"calibrated\"}"
static const char *const recipes[] = {
    ROUNDED("\"bits\":4", "\"bits\":8", "\"bits\":8"),
    ROUNDED("\"bits\":4,\"group\":64,\"minimum\":true", "\"bits\":8", "\"bits\":4,\"group\":16"),
    ROUNDED("\"bits\":4,\"group\":32,\"scales\":\"integer\"", "\"bits\":8,\"group\":32", "\"bits\":4"),
    ROUNDED("\"bits\":2,\"group\":32", "\"bits\":8,\"group\":32,\"symmetric\":true", "\"bits\":2"),
};

static quern_status make_one(const char *recipe, const char *isa, uint32_t threads, const char *name,
                             const char *calibration) {
  char path[300];
  const making k = {.isa = isa, .threads = threads, .recipe = recipe, .texts = calibration};
  path_of(path, sizeof path, name);
  char message[512] = "";
  const quern_status status = make_file(&k, path, message, sizeof message);
  if (status != QUERN_OK && calibration) printf("  %s\n", message);
  return status;
}

/* The cosine of a model's embedding with the float model's. */
static double cosine(const char *name) {
  static const char text[] = "the cat sat on a mat and the dog is in b7";
  float a[64], b[64];
  double ab = 0;
  opened x = open_model(name, NULL, 1, 0, 0), y = open_model("float", NULL, 1, 0, 0);
  if (!x.s || !y.s) return 0;
  uint32_t width = 0;
  CHECK_EQ(quern_embed(x.s, text, sizeof text - 1, a, 64, &width), QUERN_OK);
  CHECK_EQ(quern_embed(y.s, text, sizeof text - 1, b, 64, NULL), QUERN_OK);
  for (uint32_t i = 0; i < width; i++) ab += (double)a[i] * (double)b[i];
  close_model(&x);
  close_model(&y);
  return ab;
}

static void test_files(void) {
  static const char *const families[] = {"bert", "mpnet", "distilbert", "electra"};
  static const uint32_t threads[] = {1, 3};
  char path[300], recipe[300];
  snprintf(recipe, sizeof recipe, "%s/x.json", dir);
  for (size_t f = 0; f < 4; f++) {
    tiny_options o = tiny_defaults();
    size_t n = 0;
    o.model_type = families[f];
    if (f == 3) o.embed_width = 24;
    CHECK(tiny_model_write(dir, &o) && write_texts(80));
    CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
    CHECK_EQ(make_one("tiny", "ref", 1, "tiny", texts), QUERN_OK);
    CHECK(cosine("tiny") > 0.8);
    CHECK(tiny_text(dir, "x.json", recipes[f]));
    CHECK_EQ(make_one(recipe, NULL, 1, "x", texts), QUERN_OK);
    CHECK(cosine("x") > (f == 3 ? 0.3 : 0.9));
    path_of(path, sizeof path, "tiny");
    uint8_t *want = tiny_read(path, &n);
    for (uint32_t isa = 0; want && quern_isa_name(isa); isa++)
      for (size_t t = 0; t < 2; t++) {
        size_t m = 0;
        CHECK_EQ(make_one("tiny", quern_isa_name(isa), threads[t], "tiny", texts), QUERN_OK);
        uint8_t *got = tiny_read(path, &m);
        CHECK(got && m == n && !memcmp(got, want, n));
        free(got);
      }
    free(want);
  }
}

static void test_bad_input(void) {
  tiny_options o = tiny_defaults();
  char message[512] = "", path[300];
  CHECK(tiny_model_write(dir, &o) && write_texts(4));
  making k = {.threads = 1, .recipe = "tiny"};
  path_of(path, sizeof path, "refused");
  CHECK_EQ(make_file(&k, path, message, sizeof message), QUERN_E_ARGUMENT);
  CHECK(strstr(message, "rounds weights by calibration") && strstr(message, "--calibrate FILE"));
  k.texts = "/nonexistent/texts";
  CHECK_EQ(make_file(&k, path, message, sizeof message), QUERN_E_IO);
  o.poison = "encoder.layer.1.intermediate.dense.weight";
  CHECK(tiny_model_write(dir, &o));
  k.texts = texts;
  CHECK_EQ(make_file(&k, path, message, sizeof message), QUERN_E_NONFINITE);
  CHECK(access(path, F_OK) != 0);
  /* Texts that are all the same, of a token each, are enough. */
  o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "a\na\na\n"));
  CHECK_EQ(make_one("float", NULL, 1, "float", NULL), QUERN_OK);
  CHECK_EQ(make_one("tiny", NULL, 1, "same", texts), QUERN_OK);
  CHECK(cosine("same") > 0.7);
}

/* A recipe that may do either takes text where there is some, and the file says what was done. */
static void test_either(void) {
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  for (int text = 0; text < 2; text++) {
    char recipe[1024] = "", path[300];
    CHECK_EQ(make_one("int4", NULL, 1, "int4", text ? texts : NULL), QUERN_OK);
    opened m = open_model("int4", NULL, 1, 0, 0);
    size_t n = 0;
    CHECK_EQ(quern_model_get_meta(m.m, "recipe.json", recipe, sizeof recipe, &n), QUERN_OK);
    CHECK(!strstr(recipe, "either") && (strstr(recipe, "\"rounding\":\"calibrated\"") != NULL) == text);
    CHECK_EQ(quern_model_get_meta(m.m, "calibration.file", path, sizeof path, &n) == QUERN_OK, text);
    close_model(&m);
  }
}

static void keep_warning(void *user, int32_t level, const char *message) {
  if (level == 1) snprintf(user, 300, "%s", message);
}

/* The report says what was rounded by, and with little text so does a warning; with enough there is none. */
static void test_report(void) {
  tiny_options o = tiny_defaults();
  char path[300], report[280], warning[300] = "", wanted[300];
  qn_env told;
  qn_env_init(&told, NULL, keep_warning, warning, 1);
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  path_of(path, sizeof path, "reported");
  snprintf(report, sizeof report, "%s/report", dir);
  const qn_quantize_job job = {
      .src = dir, .dst = path, .recipe = "tiny", .calibration = texts, .calibration_rows = 4, .report = report};
  CHECK_EQ(qn_quantize(&told, &job, NULL), QUERN_OK);
  snprintf(wanted, sizeof wanted, "worse than without: give %u or more", QN_MOMENTS_TOKENS * o.ffn);
  CHECK(strstr(warning, wanted));
  snprintf(path, sizeof path, "%s/report.html", report);
  size_t n = 0;
  uint8_t *page = tiny_read(path, &n);
  CHECK(page && memmem(page, n, "change outputs least on 4 rows of texts.txt, ", 45) &&
        memmem(page, n, "which is little", 15));
  free(page);
  path_of(path, sizeof path, "enough");
  const qn_quantize_job more = {.src = dir, .dst = path, .recipe = "tiny", .calibration = texts, .report = report};
  warning[0] = 0;
  CHECK(qn_quantize(&told, &more, NULL) == QUERN_OK && !warning[0]);
  snprintf(path, sizeof path, "%s/report.html", report);
  page = tiny_read(path, &n);
  CHECK(page && !memmem(page, n, "which is little", 15));
  free(page);
}

static int stop(void *user, uint64_t done, uint64_t total, const char *what) {
  int *calls = user;
  (void)done, (void)total;
  *calls += !strcmp(what, "calibration");
  return *calls == 1;
}
static void test_cancel(void) {
  tiny_options o = tiny_defaults();
  int calls = 0;
  char path[300];
  const qn_quantize_job job = {
      .src = dir, .dst = path, .recipe = "tiny", .calibration = texts, .progress = stop, .progress_user = &calls};
  CHECK(tiny_model_write(dir, &o) && write_texts(80));
  path_of(path, sizeof path, "cancelled");
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_CANCELLED);
  CHECK(calls == 1 && access(path, F_OK) != 0);
}

static void test_memory(void) {
  tiny_options o = tiny_defaults();
  o.layers = 1;
  CHECK(tiny_model_write(dir, &o));
  faulty_make("tiny");
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  RUN(test_never_worse);
  RUN(test_same_everywhere);
  RUN(test_odd_moments);
  RUN(test_round_memory);
  RUN(test_moments);
  RUN(test_files);
  RUN(test_bad_input);
  RUN(test_either);
  RUN(test_report);
  RUN(test_cancel);
  RUN(test_memory);
  tiny_dir_remove(dir);
  return TEST_END();
}
