/* test_choose.c - recipes that choose their sites by a greatest loss: within it on their own text, fewer bits for more of it, refused where it
 * makes no sense or cannot be reached; the same file on every kernel set and thread count; no memory; cancelled. */
#include <math.h>

#include "faulty_alloc.h"
#include "format/qrn.h"
#include "quant/quant.h"
#include "tiny_session.h"

static qn_env env;
static char texts[300], out[300], report[300], message[1024];

static quern_status quantize_as(const char *recipe, double max_loss, const char *isa, uint32_t threads) {
  const making k = {
      .isa = isa, .threads = threads, .recipe = recipe, .texts = texts, .report = report, .max_loss = max_loss};
  message[0] = 0;
  return make_file(&k, out, message, sizeof message);
}
static quern_status quantize(double max_loss) { return quantize_as("auto", max_loss, NULL, 1); }

/* The report's numbers of the last choice; cost as a part of that of the most bits. */
typedef struct chosen {
  double loss, least, cost;
  uint32_t moves, kept;
} chosen;
static chosen read_report(void) {
  chosen r = {0};
  char path[400];
  size_t n = 0;
  qn_json j;
  snprintf(path, sizeof path, "%s/report.json", report);
  uint8_t *text = tiny_read(path, &n);
  CHECK_EQ(qn_json_parse(&j, &env, "report.json", text, n), QUERN_OK);
  const uint32_t at = qn_json_get(&j, 0, "choice");
  CHECK(at != 0);
  if (at) {
    const uint32_t moves = qn_json_get(&j, at, "moves");
    r.loss = qn_json_number(&j, at, "loss", -1);
    r.least = qn_json_number(&j, at, "least_loss", -1);
    r.cost = qn_json_number(&j, at, "cost", -1) / qn_json_number(&j, at, "cost_of_most_bits", -1);
    r.moves = j.nodes[moves].count;
    for (uint32_t k = moves + 1; k < j.nodes[moves].next; k = j.nodes[k].next) {
      CHECK(qn_json_string(&j, k, "site", NULL) && qn_json_number(&j, k, "loss", -1) >= 0);
      r.kept += qn_json_bool(&j, k, "kept", 0) != 0;
    }
  }
  qn_json_free(&env, &j);
  free(text);
  return r;
}

static void write_model(uint32_t labels, uint32_t layers) {
  tiny_options o = tiny_defaults();
  o.labels = labels, o.layers = layers;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
}

/* By the least loss that there is. */
static void test_within(void) {
  static const double times[] = {1.02, 1.3, 2, 4, 30};
  for (uint32_t labels = 0; labels < 3; labels += 2) {
    double cost = 1, first = 0;
    write_model(labels, 2);
    CHECK_EQ(quantize(1), QUERN_OK);
    const double least = read_report().least;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
      const double most = times[i] * least;
      CHECK_EQ(quantize(most), QUERN_OK);
      const chosen r = read_report();
      printf("  %u labels: loss %.6f of %.6f, cost %.4f, %u of %u moves\n", labels, r.loss, most, r.cost, r.kept,
             r.moves);
      CHECK(r.loss <= most && r.least <= most && r.moves >= r.kept && r.cost <= cost);
      cost = r.cost;
      if (i == 0) first = cost;
    }
    CHECK(cost < first);
    CHECK_EQ(quantize(0.9 * least), QUERN_E_UNSUPPORTED);
  }
}

/* Squared error over the spread of a file's logits on the texts, against the float model's. */
static double loss_of_file(void) {
  static float want[80], got[80];
  double mean = 0, spread = 0, error = 0;
  char path[300], line[4096];
  size_t n = 0;
  opened m[2];
  path_of(path, sizeof path, "chosen");
  CHECK(rename(out, path) == 0);
  path_of(path, sizeof path, "float");
  const making k = {.threads = 1, .recipe = "float"};
  CHECK_EQ(make_file(&k, path, NULL, 0), QUERN_OK);
  m[0] = open_model("float", NULL, 1, 64, 1);
  m[1] = open_model("chosen", NULL, 1, 64, 1);
  FILE *f = fopen(texts, "r");
  for (; f && n < 80 && fgets(line, sizeof line, f); n += 2) {
    const int64_t offsets[2] = {0, (int64_t)strcspn(line, "\n")};
    CHECK_EQ(quern_classify_batch(m[0].s, line, offsets, 1, 0, want + n, NULL, 2), QUERN_OK);
    CHECK_EQ(quern_classify_batch(m[1].s, line, offsets, 1, 0, got + n, NULL, 2), QUERN_OK);
  }
  if (f) fclose(f);
  for (int i = 0; i < 2; i++) close_model(&m[i]);
  CHECK_EQ(n, 80);
  for (size_t i = 0; i < n; i++) mean += (double)want[i] / (double)n;
  for (size_t i = 0; i < n; i++) {
    spread += ((double)want[i] - mean) * ((double)want[i] - mean);
    error += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
  }
  return error / spread;
}

static const char low_json[] =
    "{\"name\":\"low\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":4,\"static\":true},"
    "\"embeddings\":{\"bits\":8},\"max_loss\":0.2}";

/* The loss that the report tells is that of the file. */
static void test_file_has_it(void) {
  char recipe[300];
  write_model(2, 1);
  CHECK(tiny_text(dir, "low.json", low_json));
  snprintf(recipe, sizeof recipe, "%s/low.json", dir);
  for (int low = 0; low < 2; low++) {
    CHECK_EQ(low ? quantize_as(recipe, 0, NULL, 1) : quantize(0.001), QUERN_OK);
    const chosen r = read_report();
    const double loss = loss_of_file();
    printf("  %.6f, reported %.6f\n", loss, r.loss);
    CHECK(loss > 0.998 * r.loss && loss < 1.002 * r.loss);
  }
}

static int says(const char *what) { return strstr(message, what) != NULL; }
static void test_refused(void) {
  static const struct {
    const char *json, *says;
  } bad[] = {{"\"max_loss\":0", "at most 1"},
             {"\"max_loss\":1.5", "at most 1"},
             {"\"max_loss\":0.1,\"order\":\"range\"", "order"},
             {"\"max_loss\":0.1,\"sites\":{}", "sites"},
             {"\"max_loss\":0.1,\"clip\":\"fine\"", "clip"}};
  char recipe[300], json[600];
  quern_context *c = NULL;
  quern_quantize_options q;
  write_model(2, 1);
  remove(out);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    snprintf(json, sizeof json,
             "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{"
             "\"bits\":8},%s}",
             bad[i].json);
    CHECK(tiny_text(dir, "recipe.json", json));
    snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
    const quern_status s = quantize_as(recipe, 0, NULL, 1);
    CHECK((s == QUERN_E_SOURCE || s == QUERN_E_UNSUPPORTED) && says(bad[i].says));
  }
  CHECK_EQ(quantize(-1), QUERN_E_ARGUMENT);
  CHECK_EQ(quantize(1.01), QUERN_E_ARGUMENT);
  CHECK_EQ(quantize((double)NAN), QUERN_E_ARGUMENT);
  CHECK_EQ(quantize(1e-12), QUERN_E_UNSUPPORTED);
  CHECK(says("most bits the loss is") && says("1e-12"));
  CHECK_EQ(quantize_as("mixed", 0.1, NULL, 1), QUERN_E_ARGUMENT);
  CHECK(says("auto") && says("mixed"));
  quern_quantize_options_init(&q, sizeof q);
  q.recipe = "auto";
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_quantize_file(c, dir, out, &q, NULL), QUERN_E_ARGUMENT);
  quern_context_error(c, message, sizeof message);
  CHECK(says("--calibrate"));
  q.select = 3;
  CHECK_EQ(quern_quantize_file(c, dir, out, &q, NULL), QUERN_E_ARGUMENT);
  quern_context_error(c, message, sizeof message);
  CHECK(says("select is QUERN_SELECT_RANDOM"));
  quern_context_free(c);
  CHECK(access(out, F_OK) != 0);
}

/* Bits of the file's sites: down to the recipe's, and what was chosen can be quantized again as a recipe of its own. */
static void test_low_bits(void) {
  char recipe[300];
  size_t n = 0, m = 0;
  uint32_t low = 0;
  qn_map map;
  qrn_reader r;
  write_model(2, 1);
  CHECK(tiny_text(dir, "recipe.json", low_json));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  CHECK_EQ(quantize_as(recipe, 0, NULL, 1), QUERN_OK);
  const chosen chose = read_report();
  CHECK(chose.loss <= 0.2 && chose.cost < 0.5);
  CHECK_EQ(qn_map_open(&map, &env, out, 0), QUERN_OK);
  CHECK_EQ(qrn_open(&r, &env, map.data, map.bytes), QUERN_OK);
  for (uint32_t i = 0; i < r.site_count; i++) low += r.sites[i].bits < 8;
  printf("  %u sites below 8 bits\n", low);
  CHECK(low > 0);
  const char *json = NULL;
  quern_context *c = NULL;
  quern_model *model = NULL;
  static char text[16384];
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&model, c, out, NULL), QUERN_OK);
  CHECK_EQ(quern_model_get_meta(model, "recipe.json", text, sizeof text, NULL), QUERN_OK);
  json = text;
  CHECK(!strstr(json, "max_loss") && strstr(json, "\"sites\""));
  quern_model_free(model);
  quern_context_free(c);
  qn_map_close(&map);
  uint8_t *want = tiny_read(out, &n);
  CHECK(tiny_text(dir, "recipe.json", json));
  CHECK_EQ(quantize_as(recipe, 0, NULL, 1), QUERN_OK);
  uint8_t *got = tiny_read(out, &m);
  CHECK(want && got && n == m && !memcmp(want, got, n));
  free(want);
  free(got);
}

static void test_same_file(void) {
  static const uint32_t threads[] = {1, 3};
  size_t n = 0;
  write_model(2, 1);
  CHECK_EQ(quantize_as("auto", 0.0005, "ref", 1), QUERN_OK);
  uint8_t *want = tiny_read(out, &n);
  for (uint32_t isa = 0; want && quern_isa_name(isa); isa++)
    for (size_t t = 0; t < 2; t++) {
      size_t m = 0;
      CHECK_EQ(quantize_as("auto", 0.0005, quern_isa_name(isa), threads[t]), QUERN_OK);
      uint8_t *got = tiny_read(out, &m);
      CHECK(got && m == n && !memcmp(got, want, n));
      free(got);
    }
  free(want);
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  qn_env own;
  (void)arg;
  qn_env_init(&own, alloc, NULL, NULL, 0);
  const qn_quantize_job job = {
      .src = dir, .dst = out, .recipe = "auto", .calibration = texts, .max_loss = 0.9, .report = report};
  return qn_quantize(&own, &job, NULL);
}
static void test_memory(void) {
  long allocations = 0;
  write_model(2, 1);
  remove(out);
  CHECK(tiny_text(dir, "texts.txt", "a b\nthe cat\n"));
  CHECK_EQ(faulty_each(attempt, NULL, &allocations), 0);
  printf("  %ld allocations\n", allocations);
}

static int32_t cancel_later(void *user, uint64_t done, uint64_t total, const char *what) {
  (void)done, (void)total;
  uint32_t *left = user;
  return strcmp(what, "choosing") == 0 && --*left == 0;
}
static void test_cancelled(void) {
  write_model(2, 1);
  remove(out);
  for (uint32_t after = 1; after < 26; after += 12) {
    uint32_t left = after;
    const qn_quantize_job job = {.src = dir,
                                 .dst = out,
                                 .recipe = "auto",
                                 .calibration = texts,
                                 .progress = cancel_later,
                                 .progress_user = &left};
    CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_CANCELLED);
    CHECK(access(out, F_OK) != 0);
  }
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  snprintf(out, sizeof out, "%s/out.qrn", dir);
  snprintf(report, sizeof report, "%s/report", dir);
  RUN(test_within);
  RUN(test_file_has_it);
  RUN(test_refused);
  RUN(test_low_bits);
  RUN(test_same_file);
  RUN(test_memory);
  RUN(test_cancelled);
  tiny_dir_remove(dir);
  return TEST_END();
}
