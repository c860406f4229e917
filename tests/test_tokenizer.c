/* test_tokenizer.c - WordPiece from a small vocabulary: ids and texts against golden values (made with the tokenizers
 * package from the same vocabulary), sources that must be refused, damaged sections. */
#include <stdlib.h>
#include "base/utf8.h"
#include "damage_bytes.h"
#include "faulty_alloc.h"
#include "test.h"
#include "text/wordpiece.h"
#include "tokenizer_golden.h"

static const char *const normalizers[4] = {"\"lowercase\":true", "\"lowercase\":false",
                                           "\"lowercase\":true,\"strip_accents\":false",
                                           "\"lowercase\":false,\"clean_text\":false,\"handle_chinese_chars\":false"};

#define BERT_TEMPLATE                                                                                                  \
  "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{"   \
  "\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{"    \
  "\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\","  \
  "\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],"  \
  "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":\"[SEP]\","   \
  "\"ids\":[3],\"tokens\":[\"[SEP]\"]}}}"

/* Parts of a tokenizer.json; NULL: as a good one has them. */
typedef struct parts {
  const char *vocab, *added, *normalizer, *splitter, *processor, *decoder, *model;
} parts;

static size_t add(char *json, size_t cap, size_t at, const char *s) {
  size_t n = strlen(s);
  if (at + n < cap) memcpy(json + at, s, n + 1);
  return at + n;
}

static size_t write_json(char *json, size_t cap, const parts *q) {
  char item[128];
  size_t n = add(json, cap, 0, "{\"added_tokens\":");
  if (q->added) {
    n = add(json, cap, n, q->added);
  } else {
    for (uint32_t i = 0; i < 5; i++) {
      snprintf(item, sizeof item, "%s{\"id\":%u,\"content\":\"%s\",\"special\":true,\"normalized\":false}",
               i ? "," : "[", i, vocab[i]);
      n = add(json, cap, n, item);
    }
    snprintf(item, sizeof item, ",{\"id\":%u,\"content\":\"New York\",\"single_word\":true,\"normalized\":true}",
             VOCAB);
    n = add(json, cap, n, item);
    snprintf(item, sizeof item, ",{\"id\":%u,\"content\":\"<Tag>\",\"rstrip\":true,\"normalized\":false}]", VOCAB + 1);
    n = add(json, cap, n, item);
  }
  n = add(json, cap, n, ",\"normalizer\":");
  n = add(json, cap, n, q->normalizer ? q->normalizer : "{\"type\":\"BertNormalizer\"}");
  n = add(json, cap, n, ",\"pre_tokenizer\":");
  n = add(json, cap, n, q->splitter ? q->splitter : "{\"type\":\"BertPreTokenizer\"}");
  n = add(json, cap, n, ",\"post_processor\":");
  n = add(json, cap, n, q->processor ? q->processor : BERT_TEMPLATE);
  n = add(json, cap, n, ",\"decoder\":");
  n = add(json, cap, n, q->decoder ? q->decoder : "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}");
  n = add(json, cap, n, ",\"model\":{");
  n = add(json, cap, n, q->model ? q->model : "\"type\":\"WordPiece\",\"max_input_chars_per_word\":100");
  n = add(json, cap, n, ",\"vocab\":");
  if (q->vocab) n = add(json, cap, n, q->vocab);
  for (uint32_t i = 0; !q->vocab && i < VOCAB; i++) {
    snprintf(item, sizeof item, "%s\"%s\":%u%s", i ? "," : "{", vocab[i], i, i + 1 < VOCAB ? "" : "}");
    n = add(json, cap, n, item);
  }
  return add(json, cap, n, "}}");
}

/* A tokenizer and what it stands on. */
typedef struct made {
  qn_env env;
  qn_buffer section;
  qn_tokenizer t;
} made;

static quern_status make_from(made *m, const char *json, size_t n) {
  qn_json j;
  memset(m, 0, sizeof *m);
  qn_env_init(&m->env, NULL, NULL, NULL, 0);
  quern_status s = qn_json_parse(&j, &m->env, "tokenizer.json", json, n);
  if (s) return s;
  s = qn_tokenizer_build(&m->env, &j, NULL, 0, NULL, VOCAB + 10, &m->section);
  qn_json_free(&m->env, &j);
  return s ? s : qn_tokenizer_open(&m->t, &m->env, m->section.data, m->section.bytes);
}

static quern_status make(made *m, const parts *q) {
  static char json[16384];
  size_t n = write_json(json, sizeof json, q);
  if (n >= sizeof json) return QUERN_E_CAPACITY;
  return make_from(m, json, n);
}

static void unmake(made *m) { qn_buffer_free(&m->env, &m->section); }

static quern_status make_vocab(made *m, const char *lines, const char *config) {
  qn_json j;
  memset(m, 0, sizeof *m);
  qn_env_init(&m->env, NULL, NULL, NULL, 0);
  quern_status s = config ? qn_json_parse(&j, &m->env, "tokenizer_config.json", config, strlen(config)) : QUERN_OK;
  if (s) return s;
  s = qn_tokenizer_build(&m->env, NULL, lines, strlen(lines), config ? &j : NULL, VOCAB, &m->section);
  if (config) qn_json_free(&m->env, &j);
  return s ? s : qn_tokenizer_open(&m->t, &m->env, m->section.data, m->section.bytes);
}

/* Spans change no id, lie within the text and follow one another; the first ids may be passed over. */
static int same_with_spans(const made *m, text in, const int32_t *ids, size_t n) {
  int32_t again[512];
  quern_span spans[512];
  for (size_t skip = 0; skip < n + 2; skip++) {
    qn_ids out = {.ids = again, .spans = skip % 3 == 1 ? NULL : spans, .cap = skip == 2 ? 1 : 512, .skip = skip};
    if (qn_tokenizer_encode(&m->t, in.p, in.n, 7, &out) != QUERN_OK || out.count != n) return 0;
    const size_t left = skip < n ? n - skip : 0, kept = left < out.cap ? left : out.cap;
    if (memcmp(again, ids + skip, kept * sizeof *ids) != 0) return 0;
    for (size_t i = 0; out.spans && i < kept; i++)
      if (spans[i].begin >= spans[i].end || spans[i].end > in.n || (i && spans[i].begin < spans[i - 1].begin)) return 0;
  }
  return 1;
}

/* Does the text give these ids? */
static int gives(const made *m, text in, const char *want) {
  static char got[4096];
  int32_t ids[512], types[512];
  qn_ids out = {.ids = ids, .types = types, .cap = 512};
  if (qn_tokenizer_encode(&m->t, in.p, in.n, 7, &out) != QUERN_OK || out.count > out.cap) return 0;
  size_t n = 0;
  got[0] = 0;
  for (size_t i = 0; i < out.count; i++) {
    n += (size_t)snprintf(got + n, sizeof got - n, i ? " %d" : "%d", (int)ids[i]);
    if (types[i] != 7) return 0;
  }
  if (!same_with_spans(m, in, ids, out.count)) return 0;
  if (strcmp(got, want) != 0) printf("  \"%s\" gave %s, not %s\n", in.p, got, want);
  return strcmp(got, want) == 0;
}

static void ids_are_golden(void) {
  for (int k = 0; k < 4; k++) {
    char normalizer[256];
    made m;
    snprintf(normalizer, sizeof normalizer, "{\"type\":\"BertNormalizer\",%s}", normalizers[k]);
    CHECK_EQ(make(&m, &(parts){.normalizer = normalizer}), QUERN_OK);
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) CHECK(gives(&m, golden[i].in, golden[i].ids[k]));
    unmake(&m);
  }
}

static void spans_are_golden(void) {
  for (int k = 0; k < 4; k++) {
    char normalizer[256], got[4096];
    made m;
    snprintf(normalizer, sizeof normalizer, "{\"type\":\"BertNormalizer\",%s}", normalizers[k]);
    CHECK_EQ(make(&m, &(parts){.normalizer = normalizer, .added = ADDED_OF_SPANS}), QUERN_OK);
    for (size_t i = 0; i < sizeof golden_spans / sizeof golden_spans[0]; i++) {
      const text in = golden_spans[i].in;
      int32_t ids[512];
      quern_span spans[512];
      qn_ids out = {.ids = ids, .cap = 512, .spans = spans};
      size_t n = 0;
      CHECK_EQ(qn_tokenizer_encode(&m.t, in.p, in.n, 0, &out), QUERN_OK);
      got[0] = 0;
      for (size_t j = 0; j < out.count; j++)
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%d:%d:%d", j ? " " : "", (int)ids[j], (int)spans[j].begin,
                              (int)spans[j].end);
      if (strcmp(got, golden_spans[i].tokens[k]) != 0) {
        printf("  \"%s\" gave %s, not %s\n", in.p, got, golden_spans[i].tokens[k]);
        CHECK(0);
      }
    }
    unmake(&m);
  }
}

/* A word of 100 characters is cut into pieces, one of 101 is unknown; marks that are stripped do not count. */
static void long_words(void) {
  char in[4096] = "", want[2048] = "23";
  made m;
  CHECK_EQ(make(&m, &(parts){0}), QUERN_OK);
  for (int i = 0; i < 100; i++) strcat(in, "a\xcc\x81");
  for (int i = 1; i < 100; i++) strcat(want, " 26");
  CHECK(gives(&m, (text){in, strlen(in)}, want));
  strcat(in, "a");
  CHECK(gives(&m, (text){in, strlen(in)}, "1"));
  memset(in, 'b', 4000);
  memcpy(in + 3990, " the", 4);
  CHECK(gives(&m, (text){in, 3994}, "1 5"));
  unmake(&m);
}

/* Kept marks are put in canonical order, however many there are, up to what a word may hold. */
static void marks_are_ordered(void) {
  made m;
  const char *words = "{\"[UNK]\":0,\"x\":1,\"##\xf0\x9d\x85\xa5\":2,\"##\xf0\x9d\x85\xad\":3,\"##\xea\xa7\x80\":4}";
  CHECK_EQ(make(&m, &(parts){.vocab = words, .added = "[]", .processor = "null"}), QUERN_OK);
  /* classes: U+1D165 216, U+1D16D 226, U+A9C0 9; U+0941 is a dropped mark of class 0, which ends the run */
  CHECK(gives(&m, (text)TEXT("x\xf0\x9d\x85\xad\xf0\x9d\x85\xa5\xea\xa7\x80"), "1 4 2 3"));
  CHECK(gives(&m, (text)TEXT("x\xf0\x9d\x85\xad\xe0\xa5\x81\xf0\x9d\x85\xa5\xea\xa7\x80"), "1 3 4 2"));
  CHECK(gives(&m, (text)TEXT("x\xf0\x9d\x85\xad\xcc\x81\xf0\x9d\x85\xa5\xea\xa7\x80"), "1 4 2 3"));
  unmake(&m);
}

static uint64_t fnv(uint64_t h, uint8_t c) { return (h ^ c) * 0x100000001B3u; }

/* Hashes over what the tokenizers package (0.23.3) makes of each code point alone. */
static void every_code_point(void) {
  static const struct {
    uint32_t flags;
    uint64_t hash;
  } want[] = {{QN_WP_CLEAN, 0x64E6626EC725349Eu},
              {QN_WP_CHINESE, 0xE075C45FF39AF3F5u},
              {QN_WP_STRIP, 0xFC9D3B7A0EFC4B07u},
              {QN_WP_LOWER, 0x4B2E69A63593DC34u},
              {QN_WP_CLEAN | QN_WP_CHINESE | QN_WP_STRIP | QN_WP_LOWER, 0x7A56F3129A0B29A5u}};
  const uint64_t start = 0xCBF29CE484222325u;
  for (size_t k = 0; k < sizeof want / sizeof want[0]; k++) {
    uint64_t h = start;
    for (uint32_t cp = 0; cp < 0x110000u; cp++) {
      if (cp >= 0xD800u && cp < 0xE000u) continue;
      uint32_t out[8], n = qn_wp_normalize(want[k].flags, cp, out);
      CHECK(n <= 6);
      for (uint32_t i = 0; i < n; i++) {
        uint8_t b[4];
        uint32_t size = out[i] == QN_WP_BARRIER ? 0 : qn_utf8_encode(out[i], b);
        for (uint32_t c = 0; c < size; c++) h = fnv(h, b[c]);
      }
      h = fnv(h, 0xFF);
    }
    CHECK(h == want[k].hash);
  }
  uint64_t h = start;
  for (uint32_t cp = 0; cp < 0x110000u; cp++) {
    uint32_t p = qn_unicode_props(cp);
    if (cp >= 0xD800u && cp < 0xE000u) continue;
    h = fnv(h, (uint8_t)((p & QN_UC_SPACE ? 1 : 0) | (p & QN_UC_PUNCTUATION ? 2 : 0) | (p & QN_UC_WORD ? 4 : 0)));
  }
  CHECK(h == 0x9CDA8AABF01B2B74u);
  CHECK_EQ(qn_unicode_props(0x110000u), 0);
}

static void templates(void) {
  static const struct {
    const char *processor;
    int32_t single[6], pair[10], types[10];
    size_t ns, np;
  } cases[] = {
      {NULL, {2, 5, 6, 3}, {2, 5, 6, 3, 7, 3}, {0, 0, 0, 0, 1, 1}, 4, 6},
      {"{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}",
       {2, 5, 6, 3},
       {2, 5, 6, 3, 7, 3},
       {0, 0, 0, 0, 1, 1},
       4,
       6},
      {"{\"type\":\"RobertaProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2],\"trim_offsets\":true,"
       "\"add_prefix_space\":false}",
       {2, 5, 6, 3},
       {2, 5, 6, 3, 3, 7, 3},
       {0},
       4,
       7},
      {"null", {5, 6}, {5, 6, 7}, {0, 0, 1}, 2, 3},
      {"{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":4}}],\"pair\":[{"
       "\"Sequence\":"
       "{\"id\":\"B\",\"type_id\":2}},{\"SpecialToken\":{\"id\":\"x\",\"type_id\":1}},{\"Sequence\":{\"id\":\"A\","
       "\"type_id\":0}}],\"special_tokens\":{\"x\":{\"id\":\"x\",\"ids\":[4,4],\"tokens\":[\"y\",\"y\"]}}}",
       {5, 6},
       {7, 4, 4, 5, 6},
       {2, 1, 1, 0, 0},
       2,
       5},
  };
  const int32_t a[] = {5, 6}, b[] = {7};
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    int32_t ids[16], types[16];
    made m;
    CHECK_EQ(make(&m, &(parts){.processor = cases[k].processor}), QUERN_OK);
    qn_ids out = {.ids = ids, .types = types, .cap = 16};
    CHECK_EQ(qn_tokenizer_template(&m.t, a, 2, NULL, 0, 0, &out), QUERN_OK);
    CHECK_EQ(out.count, cases[k].ns);
    CHECK_EQ(qn_tokenizer_specials(&m.t, 0), cases[k].ns - 2);
    CHECK(memcmp(ids, cases[k].single, cases[k].ns * sizeof *ids) == 0);
    out.count = 0;
    CHECK_EQ(qn_tokenizer_template(&m.t, a, 2, b, 1, 1, &out), QUERN_OK);
    CHECK_EQ(out.count, cases[k].np);
    CHECK_EQ(qn_tokenizer_specials(&m.t, 1), cases[k].np - 3);
    CHECK(memcmp(ids, cases[k].pair, cases[k].np * sizeof *ids) == 0);
    CHECK(memcmp(types, cases[k].types, cases[k].np * sizeof *ids) == 0);
    CHECK_EQ(cases[k].single[qn_tokenizer_before(&m.t, 0, 0, 0)], a[0]);
    CHECK_EQ(cases[k].pair[qn_tokenizer_before(&m.t, 1, 0, 1)], a[0]);
    CHECK_EQ(cases[k].pair[qn_tokenizer_before(&m.t, 1, 1, 2)], b[0]);
    out = (qn_ids){.ids = ids, .cap = 3}; /* too small: what fits is written, all is counted */
    ids[3] = -5;
    CHECK_EQ(qn_tokenizer_template(&m.t, a, 2, b, 1, 1, &out), QUERN_OK);
    CHECK(out.count == cases[k].np && ids[3] == -5);
    unmake(&m);
  }
}

static void decoding(void) {
  static const struct {
    int32_t ids[9];
    const char *plain, *special;
  } cases[] = {
      {{2, 13, 14, 15, 3, -1}, "hello world.", "[CLS] hello world. [SEP]"},
      {{5, 6, 7, 8, 16, 20, 18, 19, -1}, "the quick foxes, don ' t", "the quick foxes, don ' t"},
      {{9, 10, 11, -1}, "unaffable", "unaffable"},
      {{8, 13, -1}, "##es hello", "##es hello"},
      {{57, 58, 56, 17, -1}, "do notn't!", "do notn't!"},
      {{64, 65, 13, -1}, "new york <Tag> hello", "new york <Tag> hello"},
      {{1, 4, 13, 0, -1}, "hello", "[UNK] [MASK] hello [PAD]"},
      {{-1}, "", ""},
  };
  made m;
  char buf[128];
  size_t len = 99;
  CHECK_EQ(make(&m, &(parts){0}), QUERN_OK);
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    size_t n = 0;
    while (cases[k].ids[n] >= 0) n++;
    for (int keep = 0; keep < 2; keep++) {
      const char *want = keep ? cases[k].special : cases[k].plain;
      CHECK_EQ(qn_tokenizer_decode(&m.t, cases[k].ids, n, keep, buf, sizeof buf, &len), QUERN_OK);
      CHECK(len == strlen(want) && strcmp(buf, want) == 0);
      CHECK_EQ(qn_tokenizer_decode(&m.t, cases[k].ids, n, keep, NULL, 0, &len), QUERN_OK);
      CHECK_EQ(len, strlen(want));
      if (len == 0) continue;
      CHECK_EQ(qn_tokenizer_decode(&m.t, cases[k].ids, n, keep, buf, len, &len), QUERN_E_CAPACITY);
      CHECK_EQ(len, strlen(want));
    }
  }
  const int32_t odd[] = {-1, 13, INT32_MIN, INT32_MAX, (int32_t)VOCAB + 2, 14};
  CHECK_EQ(qn_tokenizer_decode(&m.t, odd, 6, 0, buf, sizeof buf, &len), QUERN_OK);
  CHECK(strcmp(buf, "hello world") == 0);
  CHECK(qn_tokenizer_is_special(&m.t, 2) && !qn_tokenizer_is_special(&m.t, 13) && !qn_tokenizer_is_special(&m.t, -1));
  CHECK(!qn_tokenizer_is_special(&m.t, (int32_t)VOCAB + 1) && !qn_tokenizer_is_special(&m.t, INT32_MAX));
  unmake(&m);
  CHECK_EQ(make(&m, &(parts){.decoder = "null"}), QUERN_OK);
  CHECK_EQ(qn_tokenizer_decode(&m.t, (const int32_t[]){9, 10, 17}, 3, 0, buf, sizeof buf, &len), QUERN_OK);
  CHECK(strcmp(buf, "un ##aff !") == 0);
  unmake(&m);
}

static void vocab_file(void) {
  char lines[2048] = "";
  made m;
  for (uint32_t i = 0; i < VOCAB; i++) strcat(strcat(lines, vocab[i]), i % 3 ? "\n" : "\r\n");
  CHECK_EQ(make_vocab(&m, lines, NULL), QUERN_OK);
  CHECK_EQ(m.t.vocab, VOCAB);
  for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++)
    if (!strstr(golden[i].ids[0], "64") && !strstr(golden[i].ids[0], "65"))
      CHECK(gives(&m, golden[i].in, golden[i].ids[0]));
  CHECK_EQ(qn_tokenizer_specials(&m.t, 1), 3);
  CHECK(qn_tokenizer_is_special(&m.t, 4));
  unmake(&m);
  CHECK_EQ(make_vocab(&m, lines, "{\"do_lower_case\":false,\"strip_accents\":null,\"cls_token\":{\"content\":\"ss\"}}"),
           QUERN_OK);
  CHECK(gives(&m, (text)TEXT("Caf\xc3\xa9 cafe the"), "1 29 5"));
  CHECK(qn_tokenizer_is_special(&m.t, 34) && !qn_tokenizer_is_special(&m.t, 2));
  unmake(&m);
  CHECK_EQ(make_vocab(&m, lines, "{\"tokenizer_class\":\"MPNetTokenizer\",\"cls_token\":\"<s>\",\"sep_token\":\"b\"}"),
           QUERN_OK);
  CHECK_EQ(qn_tokenizer_specials(&m.t, 1), 4);
  unmake(&m);
  CHECK_EQ(make_vocab(&m, lines, "{\"added_tokens_decoder\":{\"23\":{\"content\":\"a\",\"special\":true}}}"), QUERN_OK);
  CHECK(gives(&m, (text)TEXT("the quick fox at"), "5 6 7 23 19"));
  unmake(&m);
  static const struct {
    const char *lines, *config;
    quern_status status;
  } bad[] = {{"", NULL, QUERN_E_SOURCE},
             {"[UNK]\n[CLS]\n", NULL, QUERN_E_SOURCE},
             {"[UNK]\n[CLS]\n[SEP]\na\na\n", NULL, QUERN_E_SOURCE},
             {"[UNK]\n[CLS]\n[SEP]\n", "{\"tokenizer_class\":\"BertweetTokenizer\"}", QUERN_E_UNSUPPORTED},
             {"[UNK]\n[CLS]\n[SEP]\n", "{\"do_basic_tokenize\":false}", QUERN_E_UNSUPPORTED},
             {"[UNK]\n[CLS]\n[SEP]\n", "{\"cls_token\":\"<s>\"}", QUERN_E_SOURCE},
             {"[UNK]\n[CLS]\n[SEP]\n", "{\"added_tokens_decoder\":{\"-1\":{\"content\":\"a\"}}}", QUERN_E_SOURCE},
             {"[UNK]\n[CLS]\n[SEP]\n", "{\"added_tokens_decoder\":{\"1\":{\"content\":\"a\"}}}", QUERN_E_SOURCE}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK_EQ(make_vocab(&m, bad[i].lines, bad[i].config), bad[i].status);
    CHECK(m.env.error.text[0] != 0);
    unmake(&m);
  }
}

static void refused_sources(void) {
#define ADDED(members) "[{\"content\":\"zz\"," members "}]"
#define BAD(part, value, code)                                                                                         \
  { {.part = value}, code }
  static const struct {
    parts q;
    quern_status status;
  } bad[] = {
      BAD(vocab, "[]", QUERN_E_SOURCE),
      BAD(vocab, "{}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":-1}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":0.5}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":1e99}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":4294967296}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":1000}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":\"0\"}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":0,\"a\":0}", QUERN_E_SOURCE),
      BAD(vocab, "{\"[UNK]\":0,\"a\":1,\"a\":2}", QUERN_E_SOURCE),
      BAD(vocab, "{\"a\":0}", QUERN_E_SOURCE),
      BAD(added, "{}", QUERN_E_SOURCE),
      BAD(added, "[1]", QUERN_E_SOURCE),
      BAD(added, "[{\"id\":2}]", QUERN_E_SOURCE),
      BAD(added, ADDED("\"id\":1000"), QUERN_E_SOURCE),
      BAD(added, ADDED("\"id\":-1"), QUERN_E_SOURCE),
      BAD(added, ADDED("\"id\":2"), QUERN_E_SOURCE),
      BAD(added, ADDED("\"id\":66,\"special\":1"), QUERN_E_SOURCE),
      BAD(added, "[{\"id\":3,\"content\":\"[CLS]\"}]", QUERN_E_SOURCE),
      BAD(added, "[{\"id\":2,\"content\":\"[CLS]\"},{\"id\":2,\"content\":\"[CLS]\"}]", QUERN_E_SOURCE),
      BAD(added, "[{\"id\":66,\"content\":\"\\u0007\"}]", QUERN_E_UNSUPPORTED),
      BAD(added, "[{\"id\":66,\"content\":\"\\ud834\\udd66\"}]", QUERN_E_UNSUPPORTED),
      BAD(normalizer, "7", QUERN_E_SOURCE),
      BAD(normalizer, "{\"type\":\"NFKC\"}", QUERN_E_UNSUPPORTED),
      BAD(normalizer, "{\"type\":\"BertNormalizer\",\"lowercase\":\"yes\"}", QUERN_E_SOURCE),
      BAD(splitter, "null", QUERN_E_UNSUPPORTED),
      BAD(splitter, "{\"type\":\"Metaspace\"}", QUERN_E_UNSUPPORTED),
      BAD(decoder, "{\"type\":\"ByteLevel\"}", QUERN_E_UNSUPPORTED),
      BAD(decoder, "{\"type\":\"WordPiece\",\"prefix\":\"@@\"}", QUERN_E_UNSUPPORTED),
      BAD(processor, "{\"type\":\"ByteLevel\"}", QUERN_E_UNSUPPORTED),
      BAD(processor, "{\"type\":\"BertProcessing\"}", QUERN_E_SOURCE),
      BAD(processor, "{\"type\":\"BertProcessing\",\"sep\":[\"a\",-3],\"cls\":[\"b\",2]}", QUERN_E_SOURCE),
      BAD(processor, "{\"type\":\"BertProcessing\",\"sep\":[\"a\",3000],\"cls\":[\"b\",2]}", QUERN_E_SOURCE),
      BAD(processor, "{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[]}", QUERN_E_SOURCE),
      BAD(processor, "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]}",
          QUERN_E_SOURCE),
      BAD(processor, "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"q\",\"type_id\":0}}]}",
          QUERN_E_SOURCE),
      BAD(model, "\"type\":\"BPE\"", QUERN_E_SOURCE),
      BAD(model, "\"type\":\"WordLevel\"", QUERN_E_UNSUPPORTED),
      BAD(model, "\"unk_token\":\"[UNK]\"", QUERN_E_UNSUPPORTED),
      BAD(model, "\"type\":\"WordPiece\",\"unk_token\":\"nothing\"", QUERN_E_SOURCE),
      BAD(model, "\"type\":\"WordPiece\",\"max_input_chars_per_word\":0", QUERN_E_SOURCE),
      BAD(model, "\"type\":\"WordPiece\",\"max_input_chars_per_word\":\"100\"", QUERN_E_SOURCE),
      BAD(model, "\"type\":\"WordPiece\",\"max_input_chars_per_word\":5000", QUERN_E_UNSUPPORTED),
      BAD(model, "\"type\":\"WordPiece\",\"continuing_subword_prefix\":1", QUERN_E_SOURCE),
  };
  made m;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    quern_status s = make(&m, &bad[i].q);
    if (s != bad[i].status) printf("  source %zu:\n", i);
    CHECK_EQ(s, bad[i].status);
    CHECK(m.env.error.text[0] != 0 && m.section.bytes == 0);
    unmake(&m);
  }
  CHECK_EQ(make_from(&m, "[]", 2), QUERN_E_SOURCE);
  CHECK_EQ(make_from(&m, "{}", 2), QUERN_E_SOURCE);
}

/* Encodes and decodes what it can; ids must be below vocab whatever the section holds. */
static void exercise(const qn_tokenizer *t) {
  int32_t ids[256];
  char buf[64];
  size_t len;
  for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
    quern_span spans[256];
    qn_ids out = {.ids = ids, .cap = 256, .spans = i % 2 ? spans : NULL};
    qn_tokenizer_encode(t, golden[i].in.p, golden[i].in.n, 0, &out);
    for (size_t k = 0; k < out.count && k < out.cap; k++) CHECK(ids[k] >= 0 && (uint32_t)ids[k] < t->vocab);
  }
  for (int32_t i = 0; i < 100; i++) ids[i] = i;
  qn_tokenizer_decode(t, ids, 100, 1, buf, sizeof buf, &len);
  int32_t all[256];
  qn_ids out = {.ids = all, .cap = 256};
  qn_tokenizer_template(t, ids, 3, ids, 3, 1, &out);
  qn_tokenizer_specials(t, 0);
}

static void damaged_sections(void) {
  made m;
  qn_tokenizer t;
  CHECK_EQ(make(&m, &(parts){0}), QUERN_OK);
  size_t n = m.section.bytes;
  uint8_t *copy = aligned_alloc(64, (n + 127) & ~(size_t)63);
  if (!copy) return;
  memcpy(copy, m.section.data, n);
  for (size_t cut = 0; cut < n; cut++) CHECK(qn_tokenizer_open(&t, &m.env, copy, cut) == QUERN_E_FORMAT);
  CHECK_EQ(qn_tokenizer_open(&t, &m.env, copy + 8, n - 8), QUERN_E_ARGUMENT);
  CHECK_EQ(qn_tokenizer_open(&t, &m.env, copy, n + 64), QUERN_E_FORMAT);
  uint64_t seed = 88172645463325252u;
  int opened = 0;
  for (int round = 0; round < 4000; round++) {
    memcpy(copy, m.section.data, n);
    damage_bytes(copy, round % 4 == 0 ? sizeof(qn_tok_header) : n, 1 + round % 8, &seed);
    if (qn_tokenizer_open(&t, &m.env, copy, n) != QUERN_OK) continue;
    opened++;
    exercise(&t);
  }
  CHECK(opened > 2000);
  free(copy);
  unmake(&m);
}

typedef struct source {
  qn_env plain;
  qn_json json;
} source;

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  const source *s = arg;
  qn_env env;
  qn_buffer section = {0};
  qn_env_init(&env, alloc, NULL, NULL, 0);
  quern_status status = qn_tokenizer_build(&env, &s->json, NULL, 0, NULL, VOCAB + 10, &section);
  qn_buffer_free(&env, &section);
  return status;
}

static void failing_allocations(void) {
  static char json[16384];
  source s;
  long allocations = 0;
  size_t n = write_json(json, sizeof json, &(parts){0});
  qn_env_init(&s.plain, NULL, NULL, NULL, 0);
  CHECK_EQ(qn_json_parse(&s.json, &s.plain, "tokenizer.json", json, n), QUERN_OK);
  CHECK_EQ(faulty_each(attempt, &s, &allocations), 0);
  CHECK(allocations >= 6);
  qn_json_free(&s.plain, &s.json);
}

int main(void) {
  RUN(ids_are_golden);
  RUN(spans_are_golden);
  RUN(long_words);
  RUN(marks_are_ordered);
  RUN(every_code_point);
  RUN(templates);
  RUN(decoding);
  RUN(vocab_file);
  RUN(refused_sources);
  RUN(damaged_sections);
  RUN(failing_allocations);
  return TEST_END();
}
