/* test_report.c - reports: what report.json has for each kind of recipe; report.html well formed, without anything from outside, hostile
 * names escaped; the same bytes for any number of threads; failing allocations leave nothing. */
#include "base/json.h"
#include "faulty_alloc.h"
#include "quant/page.h"
#include "quant/quant.h"
#include "tiny_session.h"

static qn_env env;
static char texts[300], out[300], report[300];

/* ---- pages ---- */

/* Elements closed in order, attributes quoted, every & a number; 1 where it is so. */
static int well_formed(const char *html) {
  char open[64][16];
  int depth = 0;
  const char *p = strchr(html, '\n'); /* behind the doctype */
  while (p && *(p += strcspn(p, "<&"))) {
    char name[16] = "";
    if (*p == '&') {
      const size_t n = strspn(p + 2, "0123456789");
      if (p[1] != '#' || !n || p[2 + n] != ';') return 0;
      p += n;
      continue;
    }
    const int closes = p[1] == '/';
    if (sscanf(p + 1 + closes, "%15[a-z0-9]", name) != 1) return 0;
    int quotes = 0;
    const char *end = p;
    for (; *end && (*end != '>' || quotes % 2); end++) quotes += *end == '"';
    if (!*end || quotes % 2) return 0;
    for (const char *q = p; q < end; q++)
      if (*q == '=' && q[1] != '"' && q[-1] != '"' && !memchr(p, '"', (size_t)(q - p))) return 0;
    if (closes) {
      if (!depth || strcmp(open[--depth], name) != 0) return 0;
    } else if (end[-1] != '/') {
      if (depth == 64) return 0;
      strcpy(open[depth++], name);
    }
    p = strcmp(name, "style") || closes ? end : strstr(end, "</style");
  }
  return depth == 0;
}

static void test_checker(void) {
  CHECK(well_formed("\n<p class=\"a\">x &#60; y<br/></p>"));
  CHECK(!well_formed("\n<p>"));
  CHECK(!well_formed("\n<p></b></p>"));
  CHECK(!well_formed("\n<p class=a></p>"));
  CHECK(!well_formed("\n<p>a & b</p>"));
}

/* A file of a directory, with a NUL; NULL: there is none. */
static char *read_text(const char *folder, const char *name) {
  char path[400];
  size_t n = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  uint8_t *bytes = tiny_read(path, &n);
  char *text = bytes ? malloc(n + 1) : NULL;
  if (text) memcpy(text, bytes, n), text[n] = 0;
  free(bytes);
  return text;
}
static char *read_page(const char *name) { return read_text(report, name); }

static quern_status quantize(const char *recipe, const char *calibration, uint32_t threads) {
  const making k = {.threads = threads, .recipe = recipe, .texts = calibration, .report = report};
  char message[512] = "";
  const quern_status s = make_file(&k, out, message, sizeof message);
  if (s != QUERN_OK) printf("  %s\n", message);
  return s;
}

/* ---- what is in them ---- */

static void check_sites(const qn_json *j, int is_static) {
  const uint32_t sites = qn_json_get(j, 0, "sites");
  uint32_t ranges = 0;
  CHECK(sites && j->nodes[sites].count >= 8);
  for (uint32_t k = sites + 1; sites && k < j->nodes[sites].next; k = j->nodes[k].next) {
    const int64_t channels = qn_json_int(j, k, "channels", -1);
    const uint32_t before = qn_json_get(j, k, "channels_before"), low = before ? qn_json_get(j, before, "low") : 0;
    CHECK(qn_json_string(j, k, "name", NULL) && channels > 0 && qn_json_int(j, k, "bits", -1) > 0);
    CHECK(qn_json_get(j, k, "seen") && qn_json_get(j, k, "outlier_channels") && qn_json_get(j, k, "outlier_tokens"));
    CHECK(!is_static || qn_json_get(j, k, "scales"));
    if (!low) continue;
    ranges++;
    CHECK(j->nodes[low].count > 1 && j->nodes[low].count <= channels); /* repeated neurons are seen once */
    CHECK_EQ(j->nodes[qn_json_get(j, before, "high")].count, j->nodes[low].count);
  }
  CHECK(ranges > 6);
}

static void check_json(const char *recipe, uint32_t layers) {
  static const char *const members[] = {"source",
                                        "recipe",
                                        "layers",
                                        "width",
                                        "heads",
                                        "ffn_width",
                                        "vocab",
                                        "source_bytes",
                                        "sizes",
                                        "tensor_bytes",
                                        "calibration",
                                        "changes",
                                        "worst_weight_error",
                                        "errors",
                                        "operators",
                                        "share_of_16_bits",
                                        "sites"};
  qn_json j;
  char *text = read_page("report.json");
  CHECK(text != NULL);
  if (!text) return;
  CHECK_EQ(qn_json_parse(&j, &env, "report.json", text, strlen(text)), QUERN_OK);
  for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) CHECK(qn_json_get(&j, 0, members[i]));
  const uint32_t errors = qn_json_get(&j, 0, "errors"), list = qn_json_get(&j, errors, "layers");
  CHECK(list && j.nodes[list].count == layers + 1);
  CHECK(qn_json_number(&j, errors, "output", -1) > 0 && qn_json_int(&j, errors, "rows", 0) == 32);
  CHECK_EQ(qn_json_int(&j, qn_json_get(&j, 0, "calibration"), "rows", 0), 40);
  const double share = qn_json_number(&j, 0, "share_of_16_bits", -1);
  CHECK(!strcmp(recipe, "mixed") ? share > 0.1 && share < 0.4 : share >= 0);
  CHECK((qn_json_get(&j, 0, "choice") != 0) == !strcmp(recipe, "auto"));
  int64_t before = 0, after = 0;
  const uint32_t sizes = qn_json_get(&j, 0, "sizes");
  for (uint32_t k = sizes + 1; k < j.nodes[sizes].next; k = j.nodes[k].next)
    before += qn_json_int(&j, k, "bytes_before", 0), after += qn_json_int(&j, k, "bytes_after", 0);
  CHECK_EQ(before, qn_json_int(&j, 0, "source_bytes", -1));
  CHECK_EQ(after, qn_json_int(&j, 0, "tensor_bytes", -1));
  check_sites(&j, strcmp(recipe, "int8") != 0 && strcmp(recipe, "os6") != 0);
  qn_json_free(&env, &j);
  free(text);
}

static void check_html(void) {
  char *text = read_page("report.html");
  CHECK(text && well_formed(text) && strstr(text, "</html>") && strstr(text, "Error behind each layer"));
  CHECK(text && !strstr(text, "http") && !strstr(text, "src=") && !strstr(text, "@import") && !strstr(text, "<script"));
  CHECK(text && !strstr(text, "nan") && !strstr(text, "inf"));
  free(text);
}

static void test_members(void) {
  static const char *const recipes[] = {"int8", "mixed", "peg-uneven", "os6", "auto"};
  for (int kind = 0; kind < 3; kind++) {
    tiny_options o = tiny_defaults();
    o.labels = kind == 1 ? 2 : 0;
    o.span = kind == 2;
    o.layers = kind == 1 ? 2 : 1;
    o.width = 96, o.heads = 3, o.ffn = 96; /* six groups */
    if (kind == 2) o.model_type = "mpnet";
    CHECK(tiny_model_write(dir, &o) && write_texts(40));
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
      if (kind != 1 && i == 3) continue; /* a search, once */
      CHECK_EQ(quantize(recipes[i], texts, 1), QUERN_OK);
      check_json(recipes[i], o.layers);
      check_html();
    }
  }
}

static void test_without_text(void) {
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o));
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(quantize(i ? "int8" : "float", NULL, 1), QUERN_OK);
    char *json = read_page("report.json"), *html = read_page("report.html");
    CHECK(json && strstr(json, "\"errors\": null") && strstr(json, "\"calibration\": null"));
    CHECK(html && well_formed(html));
    free(json);
    free(html);
  }
}

/* The errors are those of the model: what is nearly exact has next to none, and migrated gains are put back. */
static void test_errors(void) {
  static const struct {
    const char *json;
    double most;
  } recipes[] = {{"\"sites\":{\"*.sum\":{\"bits\":16},\"*.in\":{\"bits\":16},\"*.out\":{\"bits\":16}}", 0.01},
                 {"\"placement\":\"inputs\",\"migrate\":\"all\"", 0.02},
                 {"\"sites\":{\"*.in\":{\"bits\":16}},\"order\":\"range\"", 0.02},
                 {"\"sites\":{\"*.in\":{\"bits\":16}},\"order\":\"range-by-layer\"", 0.02}};
  tiny_options o = tiny_defaults();
  char recipe[300], json[600];
  o.labels = 2;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
    qn_json j;
    snprintf(json, sizeof json,
             "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{"
             "\"bits\":8},%s}",
             recipes[i].json);
    CHECK(tiny_text(dir, "recipe.json", json));
    snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
    CHECK_EQ(quantize(recipe, texts, 1), QUERN_OK);
    char *text = read_page("report.json");
    if (!text) return;
    CHECK_EQ(qn_json_parse(&j, &env, "report.json", text, strlen(text)), QUERN_OK);
    const uint32_t list = qn_json_get(&j, qn_json_get(&j, 0, "errors"), "layers");
    printf("  recipe %zu:", i);
    for (uint32_t k = list + 1; k < j.nodes[list].next; k = j.nodes[k].next) {
      printf(" %.5f", j.nodes[k].number);
      CHECK(j.nodes[k].number < recipes[i].most);
    }
    printf("\n");
    qn_json_free(&env, &j);
    free(text);
  }
}

static void test_hostile_names(void) {
  static const char name[] = "a<script>alert('1')</script>&\\u0001\\\"\\u00e9";
  char config[4096], path[400];
  tiny_options o = tiny_defaults();
  qn_json j;
  o.layers = 1, o.sentence = 0;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  snprintf(path, sizeof path, "%s/modules.json", dir);
  remove(path); /* of the models before */
  char *text = read_text(dir, "config.json"), *at = text ? strstr(text, "tiny/bert") : NULL;
  CHECK(at != NULL);
  if (!at) return;
  snprintf(config, sizeof config, "%.*s%s%s", (int)(at - text), text, name, at + 9);
  free(text);
  CHECK(tiny_text(dir, "config.json", config));
  snprintf(path, sizeof path, "%s/t<b>&\"\xff.txt", dir);
  CHECK(rename(texts, path) == 0);
  CHECK_EQ(quantize("mixed", path, 1), QUERN_OK);
  char *json = read_page("report.json"), *html = read_page("report.html");
  CHECK(html && well_formed(html) && !strstr(html, "<script") && !strstr(html, "t<b>") && strstr(html, "&#60;b&#62;"));
  if (json) {
    CHECK_EQ(qn_json_parse(&j, &env, "report.json", json, strlen(json)), QUERN_OK);
    CHECK(strstr(qn_json_string(&j, 0, "source", ""), "<script>alert('1')</script>&"));
    CHECK(!strcmp(qn_json_string(&j, qn_json_get(&j, 0, "calibration"), "file", ""), "t<b>&\"\xef\xbf\xbd.txt"));
    qn_json_free(&env, &j);
  }
  free(json);
  free(html);
}

static void test_numbers(void) {
  static const struct {
    double v;
    const char *text;
  } of[] = {{0, "0"},
            {1, "1"},
            {-0.5, "-0.5"},
            {1234.56, "1235"},
            {123456, "123500"},
            {0.00123456, "0.001235"},
            {-99999, "-100000"},
            {1e-27, "0"}};
  qn_page p = {.env = &env};
  for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
    p.buffer.bytes = 0;
    qn_page_number(&p, of[i].v);
    CHECK(p.buffer.bytes == strlen(of[i].text) && !memcmp(p.buffer.data, of[i].text, p.buffer.bytes));
  }
  p.buffer.bytes = 0;
  qn_page_fixed(&p, -1.25, 1);
  qn_page_fixed(&p, -0.001, 2);
  CHECK(p.buffer.bytes == 8 && !memcmp(p.buffer.data, "-1.30.00", 8));
  qn_buffer_free(&env, &p.buffer);
}

static void test_same_pages(void) {
  static const char *const names[2] = {"report.json", "report.html"};
  tiny_options o = tiny_defaults();
  char *want[2] = {NULL, NULL};
  o.labels = 2;
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  for (uint32_t threads = 1; threads <= 3; threads += 2) {
    char recipe[300];
    CHECK(tiny_text(dir, "recipe.json", small_recipe("parted")));
    snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
    CHECK_EQ(quantize(recipe, texts, threads), QUERN_OK);
    for (int i = 0; i < 2; i++) {
      char *got = read_page(names[i]);
      CHECK(got && (!want[i] || !strcmp(got, want[i])));
      free(want[i]);
      want[i] = got;
    }
  }
  free(want[0]);
  free(want[1]);
}

static void count_warnings(void *user, int32_t level, const char *message) {
  uint32_t *warnings = user;
  *warnings += level == 1 && strstr(message, "tokens are little") != NULL;
}
/* The model that a report compares with is made without a second word. */
static void test_warns_once(void) {
  uint32_t warnings = 0;
  qn_env own;
  tiny_options o = tiny_defaults();
  qn_env_init(&own, NULL, count_warnings, &warnings, 1);
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "a b\nthe cat\n"));
  const qn_quantize_job job = {.src = dir, .dst = out, .recipe = "int4", .calibration = texts, .report = report};
  CHECK_EQ(qn_quantize(&own, &job, NULL), QUERN_OK);
  CHECK_EQ(warnings, 1);
}

/* Where no report can be written is said before the source is looked at; a folder that was not there is not there then. */
static void test_folder_first(void) {
  char nowhere[400], fresh[400], message[QN_ERROR_BYTES];
  qn_quantize_job job = {.src = "/dev/null/no-source", .dst = out, .report = nowhere};
  snprintf(nowhere, sizeof nowhere, "%s/none/below", dir);
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_IO);
  qn_error_copy(&env.error, message, sizeof message);
  CHECK(strstr(message, "the report's directory cannot be created"));
  job.report = texts; /* a file */
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_IO);
  qn_error_copy(&env.error, message, sizeof message);
  CHECK(strstr(message, "report.json"));
  snprintf(fresh, sizeof fresh, "%s/fresh", dir);
  job.report = fresh;
  CHECK(qn_quantize(&env, &job, NULL) != QUERN_OK && access(fresh, F_OK) != 0);
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  qn_env own;
  qn_env_init(&own, alloc, NULL, NULL, 0);
  const qn_quantize_job job = {.src = dir, .dst = out, .recipe = arg, .calibration = texts, .report = report};
  return qn_quantize(&own, &job, NULL);
}
static void test_memory(void) {
  char recipe[300];
  long allocations = 0;
  tiny_options o = tiny_defaults();
  o.layers = 1, o.labels = 2;
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "a b\nthe cat\n"));
  CHECK(tiny_text(dir, "recipe.json",
                  "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
                  "\"embeddings\":{\"bits\":8},\"placement\":\"inputs\",\"migrate\":\"all\"}"));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  CHECK_EQ(faulty_each(attempt, recipe, &allocations), 0);
  printf("  %ld allocations, static\n", allocations);
  CHECK_EQ(faulty_each(attempt, (void *)(uintptr_t) "int8", &allocations), 0);
  printf("  %ld allocations, int8\n", allocations);
  CHECK_EQ(tiny_dir_count(report), 2);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  snprintf(out, sizeof out, "%s/out.qrn", dir);
  snprintf(report, sizeof report, "%s/report", dir);
  RUN(test_checker);
  RUN(test_members);
  RUN(test_without_text);
  RUN(test_errors);
  RUN(test_hostile_names);
  RUN(test_numbers);
  RUN(test_same_pages);
  RUN(test_warns_once);
  RUN(test_folder_first);
  RUN(test_memory);
  tiny_dir_remove(dir);
  return TEST_END();
}
