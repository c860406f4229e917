/* test_calibrate.c - calibration and static recipes: the table of sites, what is observed, ranges made of it, the file that comes
 * out (the same bytes on every kernel set and thread count), no floats between operators, and bad input. */
#include <math.h>

#include "quant/calibrate.h"
#include "quant/ranges.h"
#include "run/session.h"
#include "tiny_bpe.h"
#include "tiny_faults.h"

static qn_env env;
static char texts[300];

static int message_has(const qn_error *error, const char *words) {
  char message[QN_ERROR_BYTES];
  qn_error_copy(error, message, sizeof message);
  if (strstr(message, words)) return 1;
  printf("  message: %s\n", message);
  return 0;
}

/* ---- the table of sites -------------------------------------------------------------------------------------------- */

static void test_table(void) {
  qn_arch a = {.layers = 2, .width = 32, .heads = 2, .head_dim = 16, .ffn = 64, .labels = 3};
  for (uint32_t shape = 0; shape < 16; shape++) {
    a.embed_width = shape & 1 ? 24 : 0;
    a.head = shape & 2 ? QN_HEAD_CLASSIFY : QN_HEAD_NONE;
    a.head_pooler = (shape & 6) == 6;
    a.dense = shape & 8 ? 20 : 0;
    const uint32_t count = qn_site_count(&a);
    for (uint32_t i = 0; i < count; i++) {
      qn_site s;
      qn_site_at(&a, i, &s);
      CHECK_EQ(qn_site_index(&a, s.kind, s.layer), i);
      CHECK(s.channels > 0 && s.name[0]);
    }
    CHECK(qn_site_index(&a, qn_site_output_kind(&a), QN_NO_LAYER) < count);
    CHECK_EQ(qn_site_index(&a, QN_SITE_PROJECT_IN, QN_NO_LAYER) == UINT32_MAX, !a.embed_width);
  }
}

/* ---- what is observed ---------------------------------------------------------------------------------------------- */

static quern_status observe(qn_observed *o, const char *file, uint32_t rows) {
  const qn_quantize_job job = {.src = dir, .calibration = file, .calibration_rows = rows};
  const qn_fpenv guard = qn_fpenv_enter();
  qn_calibration_text text = {0};
  quern_status status = qn_calibration_read(&text, &env, file, rows, 0);
  if (status == QUERN_OK) status = qn_calibrate(o, &env, &job, &text, 1, NULL);
  qn_calibration_free(&env, &text);
  qn_fpenv_leave(guard);
  return status;
}

/* Channels, tokens and bins of a site say the same as the whole. */
static void check_site(const qn_observed *o, uint32_t i) {
  const qn_site_seen *s = &o->site[i];
  qn_extremes channels = {INFINITY, -INFINITY}, tokens = channels;
  uint64_t count = 0;
  qn_site site;
  qn_site_at(&o->arch, i, &site);
  for (uint32_t c = 0; c < s->channels; c++) {
    channels.low = fminf(channels.low, s->channel[c].low);
    channels.high = fmaxf(channels.high, s->channel[c].high);
  }
  for (size_t t = 0; t < o->tokens; t++) {
    tokens.low = fminf(tokens.low, s->token[t].low);
    tokens.high = fmaxf(tokens.high, s->token[t].high);
    if (s->token[t].high >= s->token[t].low) CHECK(t < o->first);
  }
  for (uint32_t b = 0; b < QN_BINS; b++) {
    count += s->bin[b];
    if (!s->bin[b]) continue;
    CHECK(qn_bin_end(b) >= s->all.low && (b == 0 || qn_bin_end(b - 1) <= s->all.high));
  }
  CHECK(s->count > 0 && count == s->count);
  CHECK(channels.low == s->all.low && channels.high == s->all.high);
  CHECK(tokens.low == s->all.low && tokens.high == s->all.high);
  CHECK(s->low_of_blocks / o->blocks >= (double)s->all.low && s->high_of_blocks / o->blocks <= (double)s->all.high);
  if (site.kind == QN_SITE_PROBS) CHECK(s->all.low >= 0 && s->all.high <= 1 && s->all.high > 0);
}

static void test_observed(void) {
  static const char *const families[] = {"bert", "mpnet", "distilbert", "electra"};
  for (size_t f = 0; f < 4; f++) {
    tiny_options o = tiny_defaults();
    qn_observed seen = {0};
    o.model_type = families[f];
    if (f == 3) o.embed_width = 24;
    if (f % 2) o.labels = 2;
    CHECK(tiny_model_write(dir, &o) && write_texts(80));
    CHECK_EQ(observe(&seen, texts, 70), QUERN_OK);
    CHECK_EQ(seen.blocks, 3); /* of 32 texts */
    CHECK_EQ(seen.texts, 70);
    for (uint32_t i = 0; i < seen.sites; i++) {
      qn_site site;
      qn_site_at(&seen.arch, i, &site);
      if (!(site.flags & QN_SITE_DYNAMIC)) check_site(&seen, i);
    }
    /* A residual sum is what was added: its range is no wider than those of its parts together. */
    for (uint32_t layer = 0; layer < o.layers && seen.site; layer++) {
      const qn_extremes sum = seen.site[qn_site_index(&seen.arch, QN_SITE_FFN_SUM, layer)].all;
      const qn_extremes out = seen.site[qn_site_index(&seen.arch, QN_SITE_FFN_OUT, layer)].all;
      const qn_extremes in = seen.site[qn_site_index(&seen.arch, QN_SITE_FFN_UP_IN, layer)].all;
      CHECK(sum.high <= (out.high + in.high) * 1.0001f && sum.low >= (out.low + in.low) * 1.0001f);
    }
    qn_observed_free(&env, &seen);
  }
}

/* ---- ranges -------------------------------------------------------------------------------------------------------- */

/* A site that has seen x. */
static qn_site_seen seen_of(qn_observed *o, const float *x, uint32_t rows, uint32_t d) {
  const qn_arch a = {.layers = 1, .width = 4, .heads = 1, .head_dim = 4, .ffn = d, .head = QN_HEAD_NONE};
  CHECK_EQ(qn_observed_create(o, &env, &a, rows, 1), QUERN_OK);
  const qn_seen s = {.kind = QN_SITE_FFN_DOWN_IN, .d = d, .rows = rows, .ld = d, .x = x, .channels = 1};
  qn_observed_see(o, &s);
  qn_observed_end_block(o, rows, 1);
  return o->site[qn_site_index(&a, QN_SITE_FFN_DOWN_IN, 0)];
}

static void test_estimators(void) {
  enum { ROWS = 100, D = 100 };
  static float x[ROWS * D];
  qn_observed o;
  for (int i = 0; i < ROWS * D; i++) x[i] = tiny_weight(3, "x", (uint64_t)i) * 4; /* mostly within 1 */
  for (int i = 0; i < ROWS * D; i++) x[i] = fmaxf(-1, fminf(1, x[i]));
  x[17] = 1000;
  x[18] = -3;
  const qn_site_seen s = seen_of(&o, x, ROWS, D);
  qn_site_rule rule = {.bits = 8, .estimator = QN_RANGE_MINMAX, .percentile = 99.9};
  qn_extremes e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.low == -3 && e.high == 1000);
  rule.estimator = QN_RANGE_RUNNING;
  e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.low == -3 && e.high == 1000);
  rule.estimator = QN_RANGE_PERCENTILE; /* both ends lose one value in a thousand */
  e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.low >= -1.02f && e.low < -0.5f && e.high <= 1.02f && e.high > 0.5f);
  rule.percentile = 100;
  e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.low == -3 && e.high == 1000);
  rule.estimator =
      QN_RANGE_MSE; /* one value of 1000 in 10,000 of 1 is worth keeping: its square outweighs their rounding */
  e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.high >= 900 && e.low <= 0);
  rule.bits = 16;
  e = qn_range_of(&s, o.blocks, &rule);
  CHECK(e.high >= 990 && e.low <= 0);
  qn_observed_free(&env, &o);
}

static void test_range_codes(void) {
  static const float ends[] = {0, 1e-38f, 0.3f, 1, 77, 1e30f, INFINITY};
  for (size_t i = 0; i < 7; i++)
    for (size_t j = 0; j < 7; j++)
      for (int symmetric = 0; symmetric < 2; symmetric++)
        for (int wide = 0; wide < 2; wide++) {
          const float limit = wide ? 16383.0f : 127.0f, low = -ends[i], high = ends[j];
          float scale, zero;
          qn_range_codes(low, high, symmetric, limit > 127 ? 16 : 8, &scale, &zero);
          CHECK(scale >= 0x1p-100f && scale <= 0x1p100f && fabsf(zero) <= limit && zero == rintf(zero));
          if (symmetric) CHECK(zero == 0);
          if (ends[i] > 1e29f || ends[j] > 1e29f || fmaxf(ends[i], ends[j]) < 1e-30f) continue;
          CHECK(rintf(high / scale) + zero <= limit + 1 && rintf(low / scale) + zero >= -limit - 1);
        }
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static quern_status quantize(const char *recipe, const char *out, const char *isa, uint32_t threads,
                             const char *calibration, char *message, size_t cap) {
  const making k = {.isa = isa, .threads = threads, .recipe = recipe, .texts = calibration};
  return make_file(&k, out, message, cap);
}

static void test_same_file(void) {
  static const uint32_t threads[] = {1, 2, 5};
  tiny_options o = tiny_defaults();
  char path[300], want_path[300];
  size_t n = 0;
  o.model_type = "mpnet";
  o.labels = 2;
  CHECK(tiny_model_write(dir, &o) && write_texts(80));
  path_of(want_path, sizeof want_path, "want");
  path_of(path, sizeof path, "got");
  CHECK_EQ(quantize("mixed", want_path, "ref", 1, texts, NULL, 0), QUERN_OK);
  uint8_t *want = tiny_read(want_path, &n);
  for (uint32_t isa = 0; want && quern_isa_name(isa); isa++)
    for (size_t t = 0; t < 3; t++) {
      size_t m = 0;
      CHECK_EQ(quantize("mixed", path, quern_isa_name(isa), threads[t], texts, NULL, 0), QUERN_OK);
      uint8_t *got = tiny_read(path, &m);
      CHECK(got && m == n && !memcmp(got, want, n));
      free(got);
    }
  free(want);
}

/* Sites of a model whose activations are floats, and those of 16 bits; others are 8 bits. */
static void count_sites(const char *recipe, uint32_t *floats, uint32_t *wide, uint32_t *all) {
  opened m = open_model(recipe, NULL, 1, 64, 4);
  quern_model_info info = {.size = sizeof info};
  *floats = *wide = *all = 0;
  if (m.m) CHECK_EQ(quern_model_get_info(m.m, &info), QUERN_OK);
  for (uint32_t i = 0; m.m && i < info.sites; i++) {
    quern_site_info s = {.size = sizeof s};
    CHECK_EQ(quern_model_get_site(m.m, i, &s), QUERN_OK);
    *floats += s.bits == 32;
    *wide += s.bits == 16;
    CHECK(s.bits == 32 || !strcmp(s.granularity, "static"));
  }
  *all = info.sites;
  /* Nothing of the kind that dynamic recipes have between operators is there to be written. */
  if (m.s) CHECK(!m.s->qkv && !m.s->context && m.s->qkv_codes && m.s->context_codes.codes);
  close_model(&m);
}

static void test_no_floats_between(void) {
  static const char *const recipes[] = {"w8a8-static", "mixed", "mixed-gelu", "floats", NULL};
  tiny_options o = tiny_defaults();
  uint32_t floats, wide, all;
  o.labels = 2; /* 13 sites a layer, the embedding sum, pooler, head and logits */
  CHECK(make(&o, recipes));
  count_sites("w8a8-static", &floats, &wide, &all);
  CHECK(floats == 0 && wide == 0 && all == 13 * o.layers + 4);
  count_sites("mixed", &floats, &wide, &all);
  CHECK(floats == 0 && wide == 3 * o.layers);
  count_sites("mixed-gelu", &floats, &wide, &all);
  CHECK(floats == 0 && wide == 4 * o.layers);
  count_sites("floats", &floats, &wide, &all);
  CHECK(floats == 1 + 4 * o.layers && wide == 4 * o.layers + 2);
}

/* w8a8-static with the sites of mixed at 16 bits is mixed; ranges given one by one make the file that calibration made. */
static void test_given(void) {
  tiny_options o = tiny_defaults();
  char message[512] = "", path[300], recipe[300];
  static char json[32768];
  size_t n = 0;
  qn_observed seen = {0};
  CHECK(tiny_model_write(dir, &o) && write_texts(80));
  CHECK_EQ(observe(&seen, texts, 256), QUERN_OK);
  n += (size_t)snprintf(json, sizeof json,
                        "{\"name\":\"given\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
                        "\"embeddings\":{\"bits\":8},\"sites\":{");
  for (uint32_t i = 0; i < seen.sites; i++) {
    qn_site s;
    qn_site_at(&seen.arch, i, &s);
    const double by = s.kind == QN_SITE_SCORES ? 1 / 1.44269504088896340736 : 1;
    n += (size_t)snprintf(json + n, sizeof json - n, "%s\"%s\":{\"low\":%.17g,\"high\":%.17g}", i ? "," : "", s.name,
                          fmin(0, (double)seen.site[i].all.low * by), fmax(0, (double)seen.site[i].all.high * by));
  }
  qn_observed_free(&env, &seen);
  snprintf(json + n, sizeof json - n, "}}");
  CHECK(tiny_text(dir, "given.json", json));
  snprintf(recipe, sizeof recipe, "%s/given.json", dir);
  path_of(path, sizeof path, "given");
  CHECK_EQ(quantize(recipe, path, NULL, 1, NULL, message, sizeof message), QUERN_OK);
  path_of(path, sizeof path, "w8a8-static");
  CHECK_EQ(quantize("w8a8-static", path, NULL, 1, texts, message, sizeof message), QUERN_OK);
  if (message[0]) printf("  %s\n", message);
  static const char text[] = "the cat sat on the mat";
  float a[32], b[32];
  opened x = open_model("given", NULL, 1, 0, 0), y = open_model("w8a8-static", NULL, 1, 0, 0);
  CHECK_EQ(quern_embed(x.s, text, sizeof text - 1, a, 32, NULL), QUERN_OK);
  CHECK_EQ(quern_embed(y.s, text, sizeof text - 1, b, 32, NULL), QUERN_OK);
  CHECK(!memcmp(a, b, sizeof a));
  close_model(&x);
  close_model(&y);
}

/* ---- bad input ----------------------------------------------------------------------------------------------------- */

static void test_texts(void) {
  static const struct {
    const char *text, *words; /* words NULL: it is read */
    size_t texts;
    int pairs;
  } files[] = {
      {"", "is empty", 0, 0},
      {"\n\n\r\n", "is empty", 0, 0},
      {"one\ntwo\n\nthree", NULL, 3, 0},
      {"a\tb\r\nc\td\r\n", NULL, 4, 1},
      {"a\tb\nc\n", "row 2 has not two texts", 0, 0},
      {"id\tsentence\n1\tone\n2\ttwo\n", NULL, 2, 0},
      {"id\tsentence1\tscore\tsentence2\n1\tone\t5\ttwo\n", NULL, 2, 1},
      {"label\tpremise\thypothesis\n", "a header and no rows", 0, 0},
      {"id\tsentence\n1\t\n", "row 1 has no text", 0, 0},
      {"id\tsentence\n1\n", "row 1 has no text", 0, 0},
      {"id\tquestion\tcontext\n1\twho\tme\n", NULL, 2, 1},
      {"\xef\xbb\xbfsentence\tid\none\t1\n", NULL, 1, 0},
      {"sentence\none\n", NULL, 2, 0},
  };
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    qn_calibration_text t;
    CHECK(tiny_text(dir, "texts.txt", files[i].text));
    const quern_status s = qn_calibration_read(&t, &env, texts, 256, 0);
    CHECK_EQ(s, files[i].words ? QUERN_E_SOURCE : QUERN_OK);
    CHECK(files[i].words ? message_has(&env.error, files[i].words)
                         : t.texts == files[i].texts && t.pairs == files[i].pairs);
    qn_calibration_free(&env, &t);
  }
  qn_calibration_text t;
  CHECK_EQ(qn_calibration_read(&t, &env, "/nonexistent/texts", 256, 0), QUERN_E_IO);
  qn_calibration_free(&env, &t);
}

/* Of a .jsonl file each line's text, with what is escaped in it. */
static void test_jsonl(void) {
  static const struct {
    const char *text, *words; /* words NULL: it is read */
    size_t texts;
  } files[] = {
      {"{\"text\": \"one\\ttwo\"}\n\n{\"id\": 3, \"text\": \"three\\nfour\"}\n", NULL, 2},
      {"\xef\xbb\xbf{\"text\": \"one\"}\r\n\n{\"text\": \"two\"}", NULL, 2}, /* a byte order mark */
      {"", "is empty", 0},
      {"{\"text\": \"one\"}\n{\"sentence\": \"two\"}\n", "row 2 is no object with a \"text\"", 0},
      {"{\"text\": 4}\n", "row 1 is no object", 0},
      {"{\"text\": \"\"}\n", "row 1 is no object", 0},
      {"[\"one\"]\n", "row 1 is no object", 0},
      {"one\n", "texts.jsonl", 0},
  };
  char path[300];
  snprintf(path, sizeof path, "%s/texts.jsonl", dir);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    qn_calibration_text t;
    CHECK(tiny_text(dir, "texts.jsonl", files[i].text));
    CHECK_EQ(qn_calibration_read(&t, &env, path, 256, 0), files[i].words ? QUERN_E_SOURCE : QUERN_OK);
    CHECK(files[i].words ? message_has(&env.error, files[i].words) : t.texts == files[i].texts && !t.pairs);
    if (!i) CHECK(!memcmp(t.utf8.data, "one\ttwothree\nfour", t.utf8.bytes));
    qn_calibration_free(&env, &t);
  }
}

/* A .tsv file whose first line names no columns is no text unless it can be. */
static void test_tsv(void) {
  static const struct {
    const char *text;
    size_t texts;
    int unnamed;
  } files[] = {{"sentence\none\n", 1, 0},
               {"one\ttwo\nthree\tfour\n", 4, 1},
               {"one\ntwo\n", 2, 1},
               {"id\tquestion1\tquestion2\n1\ta\tb\n", 2, 0},
               {"id\tutterance\tlabel\n1\ta\t0\n", 0, 1}};
  char path[300];
  snprintf(path, sizeof path, "%s/texts.tsv", dir);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    qn_calibration_text t;
    CHECK(tiny_text(dir, "texts.tsv", files[i].text));
    CHECK_EQ(qn_calibration_read(&t, &env, path, 256, 0), files[i].texts ? QUERN_OK : QUERN_E_SOURCE);
    CHECK(t.texts == files[i].texts && t.unnamed == files[i].unnamed);
    qn_calibration_free(&env, &t);
  }
  CHECK(message_has(&env.error, "names no columns of text (sentence or text; or sentence1"));
  CHECK(message_has(&env.error, ": id\tutterance\tlabel"));
}

/* Drawn rows: as many as asked for, in order, others for another seed. */
static void test_draws(void) {
  qn_calibration_text a, b;
  CHECK(write_texts(200));
  CHECK_EQ(qn_calibration_read(&a, &env, texts, 50, 0), QUERN_OK);
  CHECK(a.texts == 50 && a.rows_found == 200);
  CHECK_EQ(qn_calibration_read(&b, &env, texts, 50, 1), QUERN_OK);
  CHECK(a.utf8.bytes != b.utf8.bytes || memcmp(a.utf8.data, b.utf8.data, a.utf8.bytes) != 0);
  qn_calibration_free(&env, &a);
  qn_calibration_free(&env, &b);
}

static void check_selected(const char *content, uint32_t select, uint32_t rows, const char *want) {
  char path[300];
  qn_calibration_text t;
  snprintf(path, sizeof path, "%s/rows.txt", dir);
  CHECK(tiny_text(dir, "rows.txt", content));
  const qn_quantize_job job = {.src = dir, .calibration = path, .select = select};
  CHECK_EQ(qn_calibration_select(&t, &env, &job, rows), QUERN_OK);
  const int same = t.utf8.bytes == strlen(want) && !memcmp(t.utf8.data, want, strlen(want));
  CHECK(same);
  if (!same) printf("  %.*s, not %s\n", (int)t.utf8.bytes, (const char *)t.utf8.data, want);
  qn_calibration_free(&env, &t);
}

/* The longest rows, in the order of the file, and of equal ones the first; pairs whole. Those with the most outliers are
   the same ones each time. */
static void test_selections(void) {
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o));
  check_selected("a\nbb cc\nd\nee ff\ng h i j\n", QN_SELECT_LONGEST, 2, "bb ccg h i j");
  check_selected("a\nbb\n", QN_SELECT_LONGEST, 5, "abb");
  check_selected("a\tb\ncat\ton a mat\nd\te\n", QN_SELECT_LONGEST, 1, "caton a mat");
  check_selected("a\nbb\n", QN_SELECT_OUTLIERS, 2, "abb");
  qn_calibration_text one, more;
  CHECK(write_texts(60));
  for (int pass = 0; pass < 2; pass++) {
    const qn_quantize_job job = {.src = dir, .calibration = texts, .select = QN_SELECT_OUTLIERS, .seed = 1};
    CHECK_EQ(qn_calibration_select(pass ? &more : &one, &env, &job, 12), QUERN_OK);
  }
  CHECK(one.texts == 12 && more.utf8.bytes == one.utf8.bytes && !memcmp(one.utf8.data, more.utf8.data, one.utf8.bytes));
  const int64_t *offsets = (const int64_t *)(const void *)one.offsets.data;
  for (size_t i = 0; i < one.texts; i++) CHECK(offsets[i] < offsets[i + 1]);
  CHECK(offsets[12] == (int64_t)one.utf8.bytes);
  qn_calibration_free(&env, &one);
  qn_calibration_free(&env, &more);
}

/* Every allocation of a selection may fail. */
static void test_selection_faults(void) {
  static const uint32_t kinds[] = {QN_SELECT_LONGEST, QN_SELECT_OUTLIERS};
  for (size_t i = 0; i < 2; i++) {
    faulty_alloc f = {0};
    const quern_allocator alloc = {sizeof alloc, 0, &f, faulty_alloc_alloc, faulty_alloc_free};
    qn_env faulty;
    quern_status status = QUERN_E_MEMORY;
    qn_env_init(&faulty, &alloc, NULL, NULL, 0);
    for (f.fail_at = 1; status == QUERN_E_MEMORY && f.fail_at < 1000; f.fail_at++) {
      const qn_quantize_job job = {.src = dir, .calibration = texts, .select = kinds[i]};
      qn_calibration_text t;
      f.calls = 0;
      status = qn_calibration_select(&t, &faulty, &job, 12);
      qn_calibration_free(&faulty, &t);
      CHECK(f.live == 0 && f.wrong_sizes == 0);
    }
    CHECK_EQ(status, QUERN_OK);
    CHECK(f.fail_at > 3);
  }
}

static void refused(const char *recipe, const char *calibration, quern_status status, const char *words) {
  char message[512] = "", path[300];
  path_of(path, sizeof path, "refused");
  CHECK_EQ(quantize(recipe, path, NULL, 1, calibration, message, sizeof message), status);
  CHECK(strstr(message, words));
  if (!strstr(message, words)) printf("  message: %s\n", message);
  CHECK(access(path, F_OK) != 0);
}
static void rule_refused(const char *rule, const char *words) {
  char json[1024], path[300];
  snprintf(json, sizeof json,
           "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{"
           "\"bits\":8},"
           "\"sites\":{%s}}",
           rule);
  CHECK(tiny_text(dir, "rule.json", json));
  snprintf(path, sizeof path, "%s/rule.json", dir);
  refused(path, texts, QUERN_E_UNSUPPORTED, words);
}

static void test_bad_input(void) {
  tiny_options o = tiny_defaults();
  char path[300];
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  refused("mixed", NULL, QUERN_E_ARGUMENT, "--calibrate FILE");
  refused("mixed", "/nonexistent/texts", QUERN_E_IO, "/nonexistent/texts");
  rule_refused("\"layers.7.ffn.sum\":{\"bits\":16}", "layers.7.ffn.sum is none of the model's");
  rule_refused("\"*.attn.q\":{\"bits\":16}", "layers.0.attn.q cannot have 16 bits; it may have 4, 6, 8");
  rule_refused("\"*.attn.scores\":{\"bits\":32}", "attn.scores cannot have 32 bits; it may have 8");
  rule_refused("\"layers.1.attn.out.in\":{\"groups\":2}", "layers.1.attn.out.in cannot have groups");
  rule_refused("\"*.attn.k\":{\"symmetric\":false}", "is symmetric");
  rule_refused("\"*.attn.q\":{\"scale\":0.1,\"zero\":0.5}", "zero point that is no code");
  o.poison = "encoder.layer.1.intermediate.dense.weight";
  CHECK(tiny_model_write(dir, &o));
  refused("w8a8-static", texts, QUERN_E_NONFINITE, "is NaN");
  o = tiny_defaults();
  o.heads = 4, o.width = 40, o.ffn = 64; /* 40 is no multiple of 16 */
  CHECK(tiny_model_write(dir, &o));
  refused("w8a8-static", texts, QUERN_E_UNSUPPORTED, "multiple of 16");
  o = tiny_defaults();
  o.tokenizer = 0;
  snprintf(path, sizeof path, "%s/vocab.txt", dir);
  CHECK(tiny_model_write(dir, &o) && unlink(path) == 0);
  refused("w8a8-static", texts, QUERN_E_TASK, "no tokenizer");
  /* Texts that are all the same, of a token each, are enough for ranges. */
  o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "a\na\na\n"));
  path_of(path, sizeof path, "same");
  CHECK_EQ(quantize("w8a8-static", path, NULL, 1, texts, NULL, 0), QUERN_OK);
  opened m = open_model("same", NULL, 1, 0, 0);
  float out[32];
  CHECK_EQ(quern_embed(m.s, "the cat", 7, out, 32, NULL), QUERN_OK);
  close_model(&m);
}

/* ---- how much of each text a decoder is run on --------------------------------------------------------------------- */

#define SHARED 4
typedef struct shares {
  const qn_calibration_text *text;
  quern_session *s;
  uint32_t tokens[SHARED];
} shares;

static quern_status count_tokens(void *user, size_t first, uint32_t batch) {
  shares *c = user;
  for (uint32_t i = 0; i < batch && first + i < SHARED; i++) c->tokens[first + i] += c->s->lens[i];
  return QUERN_OK;
}
static quern_status run_shares(void *user, quern_model *m) {
  shares *c = user;
  quern_session_options o;
  quern_session_options_init(&o, sizeof o);
  o.max_tokens = 32, o.max_sequences = SHARED, o.cache_tokens = SHARED * 64;
  QN_TRY(qn_session_resolve(&o, m, &env.error));
  QN_TRY(qn_session_create(&c->s, m, &o));
  const quern_status status = qn_calibration_decode(c->s, &env, c->text, SHARED, count_tokens, c);
  qn_session_free(c->s);
  return status;
}
/* As many tokens of each text; what a short one leaves the others have. */
static void test_shares(void) {
  char source[400];
  qn_calibration_text t = {0};
  shares c = {.text = &t};
  snprintf(source, sizeof source, "%s/shares", dir);
  CHECK(tiny_bpe_decoder(source, tiny_decoder_of("llama")));
  CHECK(tiny_text(dir, "texts.txt", "bbbbbbbbbbbbbbbbbbbb\nbb\ndddddddddddddddddddd\ndddddddddddddddddddd\n"));
  CHECK_EQ(qn_calibration_read(&t, &env, texts, SHARED, 0), QUERN_OK);
  const qn_quantize_job job = {.src = source};
  t.tokens_most = 20;
  CHECK_EQ(qn_with_float_model(&env, &job, run_shares, &c), QUERN_OK);
  CHECK(c.tokens[0] == 5 && c.tokens[1] == 2 && c.tokens[2] == 7 && c.tokens[3] == 6);
  qn_calibration_free(&env, &t);
}

static void test_memory(void) {
  tiny_options o = tiny_defaults();
  o.layers = 1;
  CHECK(tiny_model_write(dir, &o));
  faulty_make("mixed");
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  RUN(test_table);
  RUN(test_observed);
  RUN(test_estimators);
  RUN(test_range_codes);
  RUN(test_same_file);
  RUN(test_no_floats_between);
  RUN(test_given);
  RUN(test_texts);
  RUN(test_jsonl);
  RUN(test_tsv);
  RUN(test_draws);
  RUN(test_selections);
  RUN(test_selection_faults);
  RUN(test_bad_input);
  RUN(test_shares);
  RUN(test_memory);
  tiny_dir_remove(dir);
  return TEST_END();
}
