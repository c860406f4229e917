/* test_json.c - JSON: what is accepted and what is not, values, bounded memory, truncations and byte changes. */
#include "base/json.h"
#include "faulty_alloc.h"
#include "test.h"

static qn_env env;

static quern_status parse(qn_json *j, const char *text, size_t bytes) {
  /* Exactly as large as said, so that a sanitizer sees every step past the end. */
  char *copy = malloc(bytes ? bytes : 1);
  memcpy(copy, text, bytes);
  quern_status s = qn_json_parse(j, &env, "test.json", copy, bytes);
  free(copy);
  return s;
}

static int accepted(const char *text, size_t bytes) {
  qn_json j;
  quern_status s = parse(&j, text, bytes);
  CHECK(s == QUERN_OK || s == QUERN_E_SOURCE);
  CHECK(s == QUERN_OK ? j.nodes[0].next == j.count : j.nodes == NULL && j.count == 0);
  qn_json_free(&env, &j);
  return s == QUERN_OK;
}
typedef struct json_text {
  const char *text;
  size_t bytes;
} json_text;
#define T(literal)                                                                                                     \
  { literal, sizeof literal - 1 }
static const json_text good[] = {T("0"),
                                 T("-0"),
                                 T(" 1.5e+3 "),
                                 T("1E5"),
                                 T("true"),
                                 T("false"),
                                 T("null"),
                                 T("\"\""),
                                 T("[]"),
                                 T("{}"),
                                 T("[ ]"),
                                 T("{ }"),
                                 T("[[],[[]],{}]"),
                                 T("{\"a\":{},\"b\":[{}]}"),
                                 T("\t\r\n [1 , 2 ] \n"),
                                 T("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD\""),
                                 T("\"\x7F\""),
                                 T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\""),
                                 T("{\"\":1}")};
static const json_text bad[] = {T(""),
                                T(" "),
                                T("["),
                                T("]"),
                                T("{"),
                                T("[1,]"),
                                T("[,]"),
                                T("[,1]"),
                                T("{,}"),
                                T("{\"a\":1,}"),
                                T("{\"a\"}"),
                                T("{\"a\":}"),
                                T("{\"a\" 1}"),
                                T("{1:2}"),
                                T("{a:1}"),
                                T("[1 2]"),
                                T("[1}"),
                                T("{\"a\":1]"),
                                T("1 2"),
                                T("[]]"),
                                T("tru"),
                                T("True"),
                                T("nul"),
                                T("nan"),
                                T("NaN"),
                                T("Infinity"),
                                T("-"),
                                T("01"),
                                T("-01"),
                                T("1."),
                                T(".5"),
                                T("1.e5"),
                                T("1e"),
                                T("1e+"),
                                T("+1"),
                                T("0x10"),
                                T("1_0"),
                                T("1e400"),
                                T("-1e400"),
                                T("\""),
                                T("\"abc"),
                                T("\"\\"),
                                T("\"\\\""),
                                T("\"\\x\""),
                                T("\"\\u12\""),
                                T("\"\\u12g4\""),
                                T("\"\\ud800\""),
                                T("\"\\udc00\""),
                                T("\"\\ud800\\u0041\""),
                                T("\"\\ud800\\ud800\""),
                                T("\"\\ud800\\u"),
                                T("\"\n\""),
                                T("\"\0\""),
                                T("\"\x1F\""),
                                T("\"\x80\""),
                                T("\"\xC3\""),
                                T("\"\xED\xA0\x80\""),
                                T("\"\xF0\x9F\x98\""),
                                T("\"\xC0\x80\""),
                                T("\xEF\xBB\xBF[]"),
                                T("[1]\0"),
                                T("\0"),
                                T("// x\n1"),
                                T("'a'"),
                                T("{\"a\":1 \"b\":2}"),
                                T("{\"a\":1,,\"b\":2}"),
                                T("{:1}"),
                                T("[:]"),
                                T("[1:2]"),
                                T("{\"a\",\"b\"}")};

static void accepts_json_and_nothing_else(void) {
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (!accepted(good[i].text, good[i].bytes)) {
      printf("  refused: %s\n", good[i].text);
      CHECK(0);
    }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (accepted(bad[i].text, bad[i].bytes)) {
      printf("  accepted: %s\n", bad[i].text);
      CHECK(0);
    }
}

static void depth_is_bounded(void) {
  char text[300];
  for (int depth = 1; depth <= 140; depth++)
    for (int object = 0; object < 2; object++) {
      size_t n = 0;
      for (int i = 0; i < depth; i++) n += qn_format(text + n, sizeof text - n, object && i % 2 ? "{\"\":" : "[");
      if (object && depth % 2 == 0) text[n++] = '0';
      for (int i = depth; i--;) text[n++] = object && i % 2 ? '}' : ']';
      if (n < sizeof text) CHECK_EQ(accepted(text, n), depth <= 64);
      if (depth > 70 && object) return;
    }
}

static void values_and_lookups(void) {
  static const char text[] =
      "{\"model\": {\"vocab\": {\"a\": 1, \"b\\u0000c\": 2}, \"type\": \"Word\\u00e9\\ud83d\\ude00\"},"
      "\"n\": -12, \"f\": 0.5, \"big\": 1e300, \"half\": 2.5, \"yes\": true, \"no\": false,"
      "\"list\": [1, [2, 3], {\"x\": [4]}, 5], \"none\": null, \"n\": 13, \"exact\": 9007199254740992}";
  qn_json j;
  CHECK_EQ(parse(&j, text, sizeof text - 1), QUERN_OK);
  CHECK_EQ(j.nodes[0].kind, QN_JSON_OBJECT);
  CHECK_EQ(j.nodes[0].count, 11);
  CHECK_EQ(j.nodes[0].next, j.count);
  CHECK_EQ(qn_json_int(&j, 0, "n", 0), 13); /* the last wins */
  CHECK_EQ(qn_json_int(&j, 0, "exact", 0), 9007199254740992ll);
  CHECK_EQ(qn_json_int(&j, 0, "half", 7), 7);
  CHECK_EQ(qn_json_int(&j, 0, "big", 7), 7);
  CHECK_EQ(qn_json_int(&j, 0, "yes", 7), 7);
  CHECK_EQ(qn_json_int(&j, 0, "gone", 7), 7);
  CHECK(qn_json_number(&j, 0, "f", 0) == 0.5 && qn_json_number(&j, 0, "big", 0) == 1e300);
  CHECK(qn_json_number(&j, 0, "none", 3) == 3);
  CHECK(qn_json_bool(&j, 0, "yes", 0) == 1 && qn_json_bool(&j, 0, "no", 1) == 0 && qn_json_bool(&j, 0, "n", 1) == 1);
  uint32_t model = qn_json_get(&j, 0, "model"), vocab = qn_json_path(&j, 0, "model.vocab");
  CHECK(!strcmp(qn_json_string(&j, model, "type", ""), "Word\xC3\xA9\xF0\x9F\x98\x80"));
  CHECK(qn_json_string(&j, 0, "n", NULL) == NULL);
  CHECK_EQ(j.nodes[vocab].count, 2);
  CHECK_EQ(qn_json_get(&j, vocab, "b"), 0); /* "b\0c" is another key */
  CHECK(j.nodes[vocab + 3].bytes == 3 && !memcmp(j.nodes[vocab + 3].string, "b\0c", 4));
  CHECK_EQ(qn_json_path(&j, 0, "model.type.x"), 0);
  CHECK_EQ(qn_json_path(&j, 0, "model..x"), 0);
  CHECK_EQ(qn_json_get(&j, model, "vocab.a"), 0);
  uint32_t list = qn_json_get(&j, 0, "list"), sum = 0, n = 0;
  CHECK_EQ(j.nodes[list].count, 4);
  for (uint32_t k = list + 1; k < j.nodes[list].next; k = j.nodes[k].next, n++)
    if (j.nodes[k].kind == QN_JSON_NUMBER) sum += (uint32_t)j.nodes[k].number;
  CHECK_EQ(n, 4);
  CHECK_EQ(sum, 6);
  CHECK_EQ(qn_json_get(&j, list, "x"), 0);
  CHECK_EQ(qn_json_get(&j, 9999, "x"), 0);
  qn_json_free(&env, &j);
}

static void messages_name_the_place(void) {
  qn_json j;
  CHECK_EQ(parse(&j, "{\n \"a\": 1,\n \"b\" 2}", 18), QUERN_E_SOURCE);
  CHECK(!strcmp(env.error.text, "test.json: line 3, column 6: ':' is missing"));
  CHECK_EQ(parse(&j, "", 0), QUERN_E_SOURCE);
  CHECK(strstr(env.error.text, "ends too early") != NULL);
}

static const char sample[] =
    "{\"version\":\"1.0\",\"added\":[{\"id\":0,\"content\":\"[PAD]\",\"single_word\":false},{}],"
    "\"s\\u00fc\\ud83d\\ude00\":[-1.5e-3,0,null,true,[[]],\"\xE2\x82\xAC\"],\"o\":{\"k\":{\"k\":\"\"}}}";

/* Truncations have no closing brace, so none is valid; changed bytes may be, and must not fault. */
static void truncations_and_byte_changes(void) {
  size_t n = sizeof sample - 1, still_good = 0;
  CHECK(accepted(sample, n));
  for (size_t i = 0; i < n; i++) CHECK(!accepted(sample, i));
  char text[sizeof sample];
  for (size_t i = 0; i < n; i++)
    for (int c = 0; c < 256; c++) {
      memcpy(text, sample, n);
      text[i] = (char)c;
      still_good += (size_t)accepted(text, n);
    }
  CHECK(still_good > n && still_good < n * 200);
}

static void memory_is_bounded_by_the_text(void) {
  enum { N = 100000 };
  char *text = malloc(N);
  static const char *const unit[] = {"0,", "[],", "\"\",", "[[]],", "{\"\":{}},", "\",:[{\\\"\","};
  for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
    size_t n = 1, k = strlen(unit[u]);
    text[0] = '[';
    for (; n + k + 1 < N; n += k) memcpy(text + n, unit[u], k);
    text[n - 1] = ']';
    faulty_alloc f = {0};
    quern_allocator a = faulty_allocator(&f);
    qn_env e;
    qn_json j;
    qn_env_init(&e, &a, NULL, NULL, 0);
    CHECK_EQ(qn_json_parse(&j, &e, "x", text, n), QUERN_OK);
    CHECK_EQ(f.calls, 1);
    CHECK(f.peak_bytes <= 23 * n + 64);
    qn_json_free(&e, &j);
    CHECK_EQ(f.live_bytes, 0);
    CHECK_EQ(f.wrong_sizes, 0);
    text[n - 1] = ','; /* no end: the block is given back */
    CHECK_EQ(qn_json_parse(&j, &e, "x", text, n), QUERN_E_SOURCE);
    CHECK_EQ(f.live_bytes, 0);
  }
  free(text);
}

static quern_status attempt_to_parse(const quern_allocator *alloc, void *arg) {
  qn_env e;
  qn_json j;
  (void)arg;
  qn_env_init(&e, alloc, NULL, NULL, 0);
  QN_TRY(qn_json_parse(&j, &e, "x", sample, sizeof sample - 1));
  qn_json_free(&e, &j);
  return QUERN_OK;
}

static void allocations_may_fail(void) {
  long n;
  CHECK_EQ(faulty_each(attempt_to_parse, NULL, &n), 0);
  CHECK_EQ(n, 1);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(accepts_json_and_nothing_else);
  RUN(depth_is_bounded);
  RUN(values_and_lookups);
  RUN(messages_name_the_place);
  RUN(truncations_and_byte_changes);
  RUN(memory_is_bounded_by_the_text);
  RUN(allocations_may_fail);
  return TEST_END();
}
