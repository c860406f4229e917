/* test_suppress.c - outlier suppression: gains that migrate change nothing but rounding, near zero and elsewhere; ranges by quantiles of
 * tokens; codes of fewer bits; the same file on every kernel set and thread count, whose shortcuts are as the gains were. */
#include <math.h>

#include "format/qrn.h"
#include "quant/clip.h"
#include "quant/migrate.h"
#include "qrn_seal.h"
#include "tiny_faults.h"

static qn_env env;
static char texts[300];

#define CODES "\"weights\":{\"bits\":6},\"activations\":{\"bits\":6,\"static\":true},\"embeddings\":{\"bits\":6}"
#define FLOATS "\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32}"

/* A recipe of this name and text, quantized to dir/name.qrn. */
static quern_status quantize(const char *name, const char *text, const char *isa, uint32_t threads) {
  char json[1024], recipe[300], path[300], message[512] = "";
  const making k = {.isa = isa, .threads = threads, .recipe = recipe, .texts = texts};
  snprintf(json, sizeof json, "{\"name\":\"%s\",%s}", name, text);
  CHECK(tiny_text(dir, "recipe.json", json));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  path_of(path, sizeof path, name);
  const quern_status status = make_file(&k, path, message, sizeof message);
  if (status != QUERN_OK) printf("  %s\n", message);
  return status;
}

/* Logits or an embedding of one text. */
static void answer(const char *recipe, int labels, float out[64]) {
  static const char text[] = "the cat sat on the mat a1 b2";
  static const int64_t offsets[2] = {0, sizeof text - 1};
  opened m = open_model(recipe, NULL, 1, 64, 1);
  memset(out, 0, 64 * sizeof *out);
  if (m.s && labels)
    CHECK_EQ(quern_classify_batch(m.s, text, offsets, 1, 0, out, NULL, 64), QUERN_OK);
  else if (m.s)
    CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, out, 64, NULL), QUERN_OK);
  close_model(&m);
}
static float distance(const float *a, const float *b) {
  float most = 0;
  for (int i = 0; i < 64; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
  return most;
}

static const qrn_tensor *tensor_in(const char *recipe, const char *name, qn_map *map, qrn_reader *r) {
  char path[300];
  path_of(path, sizeof path, recipe);
  CHECK_EQ(qn_map_open(map, &env, path, 0), QUERN_OK);
  CHECK_EQ(qrn_open(r, &env, map->data, map->bytes), QUERN_OK);
  return qrn_find_tensor(r, name);
}

/* A float model whose norms migrate what balances made-up channels, to dir/balanced.qrn. */
static void write_balanced(uint32_t mode) {
  float reach[4 * 32];
  char path[300];
  qn_source *source = NULL;
  qn_migration m;
  for (int i = 0; i < 4 * 32; i++) reach[i] = i % 32 == 5 ? 40.0f : i % 32 == 9 ? 0 : 0.5f + (float)(i % 7);
  path_of(path, sizeof path, "balanced");
  CHECK_EQ(qn_source_open(&source, &env, dir, 0), QUERN_OK);
  CHECK_EQ(qn_migration_create(&m, &env, source, qn_source_arch(source), mode, reach), QUERN_OK);
  const float *by = qn_migration_by(&m, 1);
  CHECK(by && by[5] > 2 * by[4] && by[9] > 0 && by[9] < by[4]);
  const qn_quantize_job job = {.src = dir, .dst = path, .recipe = "float", .migration = &m};
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
  qn_migration_free(&env, &m);
  qn_source_close(source);
}

static void test_exact(void) {
  static const char *const families[] = {"bert", "mpnet", "distilbert", "electra"};
  for (size_t f = 0; f < 4; f++) {
    tiny_options o = tiny_defaults();
    float want[64], got[64];
    qn_map map;
    qrn_reader r;
    o.model_type = families[f];
    if (f == 3) o.embed_width = 24;
    if (f % 2) o.labels = 2;
    CHECK(tiny_model_write(dir, &o) && write_texts(40));
    CHECK_EQ(quantize("whole", FLOATS, NULL, 1), QUERN_OK);
    CHECK_EQ(quantize("attention", FLOATS ",\"migrate\":\"attention\"", NULL, 1), QUERN_OK);
    CHECK_EQ(quantize("all", FLOATS ",\"migrate\":\"all\"", NULL, 1), QUERN_OK);
    answer("whole", (int)o.labels, want);
    answer("attention", (int)o.labels, got);
    CHECK(distance(want, got) < 1e-5f);
    answer("all", (int)o.labels, got);
    CHECK(distance(want, got) < 1e-5f);
    for (uint32_t mode = QN_MIGRATE_BALANCED; mode <= QN_MIGRATE_BALANCED_MORE; mode++) {
      write_balanced(mode);
      answer("balanced", (int)o.labels, got);
      CHECK(distance(want, got) < 1e-5f);
    }
    CHECK(tensor_in("attention", "layers.0.ffn.shortcut", &map, &r) != NULL);
    CHECK(qrn_find_tensor(&r, "layers.1.attn.shortcut") == NULL);
    qn_map_close(&map);
    CHECK(tensor_in("all", "layers.1.attn.shortcut", &map, &r) != NULL);
    CHECK((qrn_find_tensor(&r, "layers.0.attn.shortcut") != NULL) == (f != 3)); /* widened embeddings keep their gain */
    qn_map_close(&map);
  }
}

/* What moves is the gain, but where that is next to nothing. */
static void test_near_zero(void) {
  float gain[8] = {1, -2, 0.5f, 1e-30f, -1e-3f, 0, 3, 1}, by[8], work[8];
  CHECK(qn_migration_of(gain, 8, by, work));
  const float least = QN_MIGRATE_LEAST * 1.0f; /* of the median */
  const float want[8] = {1, -2, 0.5f, least, -least, least, 3, 1};
  for (int i = 0; i < 8; i++) CHECK(by[i] == want[i]);
  memset(gain, 0, sizeof gain);
  CHECK(!qn_migration_of(gain, 8, by, work));
  gain[0] = NAN;
  CHECK(!qn_migration_of(gain, 8, by, work));
}

/* A site that has seen 100 tokens: all but two lie within -3 ... 10. */
static void test_quantiles(void) {
  qn_arch a = {.layers = 1, .width = 16, .heads = 1, .head_dim = 16, .ffn = 16, .positions = 100};
  qn_recipe r = {.id = QN_RECIPE_STATIC, .activation_bits = 6, .inputs_only = 1};
  qn_observed seen = {0};
  qn_plan plan = {0};
  qn_clip clip = {0};
  float x[100 * 16] = {0};
  for (int t = 0; t < 100; t++) x[t * 16] = t == 50 ? 1000 : t == 7 ? 500 : 10, x[t * 16 + 3] = t == 9 ? -70 : -3;
  CHECK_EQ(qn_observed_create(&seen, &env, &a, 100, 0), QUERN_OK);
  for (uint32_t kind = QN_SITE_QKV_IN; kind <= QN_SITE_FFN_SUM; kind++) {
    const qn_seen s = {.kind = kind,
                       .layer = 0,
                       .d = kind == QN_SITE_SCORES || kind == QN_SITE_PROBS ? 1 : 16,
                       .rows = 100,
                       .ld = 16,
                       .x = x,
                       .channels = 1};
    qn_observed_see(&seen, &s);
  }
  qn_observed_end_block(&seen, 100, 4);
  CHECK_EQ(qn_plan_create(&plan, &env, &a, &r), QUERN_OK);
  CHECK_EQ(qn_clip_create(&clip, &env, &seen, &plan), QUERN_OK);
  const uint32_t up = qn_site_index(&a, QN_SITE_FFN_UP_IN, 0);
  CHECK(clip.clips[up] && clip.clips[qn_site_index(&a, QN_SITE_Q, 0)]);
  CHECK(!clip.clips[qn_site_index(&a, QN_SITE_PROBS, 0)] && !clip.clips[qn_site_index(&a, QN_SITE_FFN_SUM, 0)]);
  qn_extremes e = qn_clip_range(&clip, up);
  CHECK(e.low == -70 && e.high == 1000);
  for (uint8_t step = 1; step < QN_CLIP_STEPS; step++) {
    CHECK(qn_clip_part(step) > qn_clip_part(step - 1u));
    clip.at[up] = step;
    const qn_extremes narrower = qn_clip_range(&clip, up);
    CHECK(narrower.low >= e.low && narrower.high <= e.high);
    e = narrower;
  }
  CHECK(e.low == -3 && e.high == 10);
  qn_clip_free(&env, &clip);
  qn_plan_free(&env, &plan);
  qn_observed_free(&env, &seen);
}

/* Scales of 6 and 4 bits use every code there is, and 0 has one. */
static void test_codes(void) {
  for (uint32_t bits = 4; bits <= 6; bits += 2) {
    const float levels = bits == 4 ? 15 : 63, lowest = bits == 4 ? -8 : -32, highest = -1 - lowest;
    float scale, zero;
    qn_range_codes(0, levels, 0, bits, &scale, &zero);
    CHECK(scale == 1 && zero == lowest);
    qn_range_codes(-levels, 0, 0, bits, &scale, &zero);
    CHECK(scale == 1 && zero == highest);
    qn_range_codes(-1, 2 * highest, 1, bits, &scale, &zero);
    CHECK(scale == 2 && zero == 0);
  }
}

#define SEARCHED CODES ",\"placement\":\"inputs\",\"unfold\":8,\"migrate\":\"auto\",\"clip\":\"fine\""

static void test_same_file(void) {
  static const uint32_t threads[] = {1, 3};
  tiny_options o = tiny_defaults();
  char path[300];
  size_t n = 0;
  o.model_type = "mpnet";
  o.labels = 2, o.layers = 1;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  CHECK_EQ(quantize("want", SEARCHED, "ref", 1), QUERN_OK);
  path_of(path, sizeof path, "want");
  uint8_t *want = tiny_read(path, &n);
  for (uint32_t isa = 0; want && quern_isa_name(isa); isa++)
    for (size_t t = 0; t < 2; t++) {
      size_t m = 0;
      CHECK_EQ(quantize("want", SEARCHED, quern_isa_name(isa), threads[t]), QUERN_OK);
      uint8_t *got = tiny_read(path, &m);
      CHECK(got && m == n && !memcmp(got, want, n));
      free(got);
    }
  free(want);
}

/* Heads, embedders and spans are all searched for; what comes out is nearer to floats than without. */
static void test_search(void) {
  for (int kind = 0; kind < 4; kind++) {
    tiny_options o = tiny_defaults();
    float want[64], plain[64], found[64];
    if (kind == 1) o.labels = 3;
    if (kind == 2) o.span = 1;
    if (kind == 3) o.dense = 20;
    CHECK(tiny_model_write(dir, &o) && write_texts(40));
    CHECK_EQ(quantize("found", SEARCHED, NULL, 1), QUERN_OK);
    if (kind == 2) continue;
    CHECK_EQ(quantize("whole", FLOATS, NULL, 1), QUERN_OK);
    CHECK_EQ(quantize("plain", CODES ",\"placement\":\"inputs\"", NULL, 1), QUERN_OK);
    answer("whole", (int)o.labels, want);
    answer("plain", (int)o.labels, plain);
    answer("found", (int)o.labels, found);
    printf("  kind %d: %.4f without, %.4f with\n", kind, (double)distance(want, plain), (double)distance(want, found));
    CHECK(distance(want, found) < 0.6f);
  }
}

/* A file whose site or shortcut is not as it may be. */
static void test_refused(void) {
  tiny_options o = tiny_defaults();
  char path[300], message[512];
  size_t bytes = 0;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  CHECK_EQ(quantize("x", CODES ",\"placement\":\"inputs\",\"migrate\":\"all\"", NULL, 1), QUERN_OK);
  path_of(path, sizeof path, "x");
  uint8_t *p = tiny_read(path, &bytes);
  if (!p) return;
  qrn_site *s = (qrn_site *)(void *)(qrn_section_at(p, QRN_SITES) + 16);
  const uint32_t count = *(uint32_t *)(void *)qrn_section_at(p, QRN_SITES);
  const char *names = (const char *)(s + count);
  for (uint32_t i = 0; i < count; i++) {
    const int low = s[i].bits == 6;
    const uint32_t before = s[i].bits;
    quern_context *c = NULL;
    quern_model *m = NULL;
    if (before > 16) continue;
    s[i].bits = low ? 8
                    : 4; /* keys and values of 8 bits have no zero point; others may; scores and pool.in have no 4 */
    qrn_seal(p, bytes);
    CHECK(tiny_file(dir, "x.qrn", p, bytes));
    CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
    const quern_status status = quern_model_open(&m, c, path, NULL);
    const char *end = names + s[i].name + s[i].name_bytes - 2;
    const int weights = !strncmp(end, ".k", 2) || !strncmp(end, ".v", 2);
    CHECK_EQ(status, low && !weights ? QUERN_OK : QUERN_E_UNSUPPORTED);
    quern_context_error(c, message, sizeof message);
    quern_model_free(m);
    quern_context_free(c);
    s[i].bits = before;
  }
  free(p);
}

static void test_memory(void) {
  tiny_options o = tiny_defaults();
  char recipe[300];
  o.layers = 1, o.labels = 2;
  CHECK(tiny_model_write(dir, &o));
  CHECK(tiny_text(dir, "recipe.json",
                  "{\"name\":\"x\"," CODES
                  ",\"placement\":\"inputs\",\"unfold\":4,\"migrate\":\"balanced\",\"clip\":\"fine\"}"));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  faulty_make(recipe);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  RUN(test_exact);
  RUN(test_near_zero);
  RUN(test_quantiles);
  RUN(test_codes);
  RUN(test_same_file);
  RUN(test_search);
  RUN(test_refused);
  RUN(test_memory);
  tiny_dir_remove(dir);
  return TEST_END();
}
