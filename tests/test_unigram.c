/* test_unigram.c - unigram tokenizers against what the tokenizers package gives (unigram_golden.h), words longer than the window,
 * lists as a GGUF has them, damaged sections, sources that are refused. */
#include <stdlib.h>
#include "faulty_alloc.h"
#include "test.h"
#include "text/unigram.h"
#include "unigram_golden.h"

#define VARIANTS (sizeof golden_variants / sizeof golden_variants[0])
#define TEXTS (sizeof golden_texts / sizeof golden_texts[0])
#define LONGS (sizeof golden_long / sizeof golden_long[0])
#define ROWS 700u

typedef struct made {
  qn_env env;
  qn_buffer section;
  qn_tokenizer t;
} made;

static char json[65536];

static size_t write_json(const char *model, const char *rest) {
  return (size_t)snprintf(json, sizeof json, "{\"model\":%s,%s}", model, rest);
}

static quern_status build(qn_env *env, qn_buffer *section, size_t n) {
  qn_json j = {0};
  quern_status s = qn_json_parse(&j, env, "tokenizer.json", json, n);
  if (!s) s = qn_tokenizer_build(env, &j, NULL, 0, NULL, ROWS, section);
  qn_json_free(env, &j);
  return s;
}

static quern_status make_json(made *m, size_t n) {
  memset(m, 0, sizeof *m);
  qn_env_init(&m->env, NULL, NULL, NULL, 0);
  const quern_status s = n < sizeof json ? build(&m->env, &m->section, n) : QUERN_E_CAPACITY;
  return s ? s : qn_tokenizer_open(&m->t, &m->env, m->section.data, m->section.bytes);
}

static size_t variant_json(size_t v) {
  return write_json(golden_variants[v].fallback ? fallback_model : plain_model, golden_variants[v].rest);
}

static void make(made *m, size_t v) {
  if (!make_json(m, variant_json(v))) return;
  printf("  %s: %s\n", golden_variants[v].name, m->env.error.text); /* nothing can be tested without it */
  exit(1);
}

static void unmake(made *m) { qn_buffer_free(&m->env, &m->section); }

static void texts(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    make(&m, v);
    CHECK(strcmp(qn_tokenizer_name(&m.t), "unigram") == 0);
    for (size_t i = 0; i < TEXTS; i++) {
      int32_t ids[256], again[256];
      quern_span spans[256];
      char got[2048] = "", text[2048];
      size_t at = 0, n = 0;
      qn_ids out = {.ids = ids, .cap = 256}, traced = {.ids = again, .cap = 256, .spans = spans};
      CHECK_EQ(qn_tokenizer_encode(&m.t, golden_texts[i].p, golden_texts[i].n, 3, &out), QUERN_OK);
      for (size_t k = 0; k < out.count; k++) at += (size_t)sprintf(got + at, k ? " %d" : "%d", ids[k]);
      if (strcmp(got, golden_variants[v].ids[i]) != 0)
        printf("  %s, text %zu gave %s, not %s\n", golden_variants[v].name, i, got, golden_variants[v].ids[i]);
      CHECK(strcmp(got, golden_variants[v].ids[i]) == 0);
      CHECK_EQ(qn_tokenizer_encode(&m.t, golden_texts[i].p, golden_texts[i].n, 3, &traced), QUERN_OK);
      CHECK(traced.count == out.count && !memcmp(ids, again, out.count * sizeof *ids));
      for (size_t k = 0; k < traced.count; k++)
        CHECK(spans[k].begin <= spans[k].end && spans[k].end <= golden_texts[i].n &&
              (!k || spans[k].begin >= spans[k - 1].begin));
      CHECK_EQ(qn_tokenizer_decode(&m.t, ids, out.count, 1, text, sizeof text, &n), QUERN_OK);
      const int holds_nul = memchr(golden_texts[i].p, 0, golden_texts[i].n) != NULL;
      if (!holds_nul && strcmp(text, golden_variants[v].decoded[i]) != 0)
        printf("  %s, text %zu reads \"%s\", not \"%s\"\n", golden_variants[v].name, i, text,
               golden_variants[v].decoded[i]);
      CHECK(holds_nul || strcmp(text, golden_variants[v].decoded[i]) == 0);
    }
    unmake(&m);
  }
}

/* Words longer than the window are cut where all ways agree. */
static void long_texts(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    make(&m, v);
    for (size_t i = 0; i < LONGS; i++) {
      const size_t unit = strlen(golden_long[i].unit), n = unit * golden_long[i].times;
      char *text = malloc(n);
      int32_t *ids = malloc((4 * n + 1) * sizeof *ids);
      quern_span *spans = malloc((4 * n + 1) * sizeof *spans);
      for (size_t k = 0; k < golden_long[i].times; k++) memcpy(text + k * unit, golden_long[i].unit, unit);
      for (int traced = 0; traced < 2; traced++) {
        qn_ids out = {.ids = ids, .cap = 4 * n + 1, .spans = traced ? spans : NULL};
        CHECK_EQ(qn_tokenizer_encode(&m.t, text, n, 0, &out), QUERN_OK);
        uint64_t h = 0xCBF29CE484222325u;
        for (size_t k = 0; k < out.count && k < out.cap; k++) h = (h ^ (uint64_t)ids[k]) * 0x100000001B3u;
        CHECK_EQ(out.count, golden_variants[v].count[i]);
        CHECK(h == golden_variants[v].hash[i]);
      }
      free(spans), free(ids), free(text);
    }
    unmake(&m);
  }
}

/* Which of two ways a word begins with may show at its end: that is looked for, but not for ever. */
static void words_are_looked_through(void) {
  made m;
  const size_t n = write_json(
      "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",-50],[\"aa\",-1],[\"a\",-30],[\"\u2581\",-1]]}",
      "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":"
      "\"never\",\"split\":false},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}");
  enum { FAR = 200000 };
  static char text[FAR];
  static int32_t ids[FAR];
  CHECK_EQ(make_json(&m, n), QUERN_OK);
  memset(text, 'a', sizeof text);
  for (size_t k = 2040; k < 2060; k++) {
    for (size_t bytes = k; bytes < 130000; bytes = bytes * 8 + 1) {
      qn_ids out = {.ids = ids, .cap = FAR};
      CHECK_EQ(qn_tokenizer_encode(&m.t, text, bytes, 0, &out), QUERN_OK);
      CHECK(out.count == (bytes + 1) / 2 && ids[0] == (bytes % 2 ? 2 : 1) && ids[1] == 1);
    }
  }
  qn_ids out = {.ids = ids, .cap = FAR};
  CHECK_EQ(qn_tokenizer_encode(&m.t, text, FAR, 0, &out), QUERN_E_UNSUPPORTED);
  CHECK(strstr(m.env.error.text, "cannot be cut"));
  unmake(&m);
}

/* As a GGUF's metadata tells it: scores, types, a character map that is searched for its longest pieces. */
static const qn_listed_token listed[] = {{"<pad>", 5, 0, QN_LISTED_CONTROL},
                                         {"</s>", 4, 0, QN_LISTED_CONTROL},
                                         {"<unk>", 5, 0, QN_LISTED_UNKNOWN},
                                         {"\xE2\x96\x81", 3, -2, QN_LISTED_NORMAL},
                                         {"a", 1, -3, QN_LISTED_NORMAL},
                                         {"b", 1, -3, QN_LISTED_NORMAL},
                                         {"ab", 2, -4, QN_LISTED_NORMAL},
                                         {"\xE2\x96\x81"
                                          "ab",
                                          5, -4.5f, QN_LISTED_NORMAL},
                                         {"<0xC3>", 6, 0, QN_LISTED_BYTE},
                                         {"<0xA9>", 6, 0, QN_LISTED_BYTE}};
static qn_token_list list_of(void) {
  return (qn_token_list){.kind = QN_TOKENIZER_UNIGRAM,
                         .tokens = listed,
                         .count = sizeof listed / sizeof listed[0],
                         .blank = 1,
                         .strip = 1,
                         .unk = 2,
                         .begin = -1,
                         .end = 1,
                         .add_end = 1};
}

static void lists(void) {
  static const struct {
    const char *text;
    int32_t ids[8];
    size_t n;
  } known[] = {{"ab", {7}, 1},
               {"  ab   ab ", {7, 7}, 2},
               {"aab", {3, 4, 6}, 3},
               {"\xC3\xA9"
                "a",
                {3, 8, 9, 4},
                4},
               {"x\xC3\xA8", {3, 2}, 2},
               {"ab</s>b", {7, 1, 3, 5}, 4},
               {"", {0}, 0},
               {"<0xC3>", {3, 2}, 2}};
  made m = {.section = {0}};
  qn_token_list l = list_of();
  qn_env_init(&m.env, NULL, NULL, NULL, 0);
  CHECK_EQ(qn_tokenizer_build_list(&m.env, &l, 10, &m.section), QUERN_OK);
  CHECK_EQ(qn_tokenizer_open(&m.t, &m.env, m.section.data, m.section.bytes), QUERN_OK);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    int32_t ids[32];
    qn_ids out = {.ids = ids, .cap = 32};
    CHECK_EQ(qn_tokenizer_encode(&m.t, known[i].text, strlen(known[i].text), 0, &out), QUERN_OK);
    CHECK(out.count == known[i].n && !memcmp(ids, known[i].ids, known[i].n * sizeof *ids));
  }
  CHECK_EQ(qn_tokenizer_specials(&m.t, 0), 1);
  unmake(&m);
  l.unk = -1;
  CHECK_EQ(qn_tokenizer_build_list(&m.env, &l, 10, &m.section), QUERN_E_SOURCE);
  l = list_of();
  l.charsmap = "\x08\0\0\0none", l.charsmap_bytes = 8;
  CHECK_EQ(qn_tokenizer_build_list(&m.env, &l, 10, &m.section), QUERN_E_SOURCE);
  CHECK(strstr(m.env.error.text, "character map is none"));
  unmake(&m);
}

static void refused(void) {
#define META "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"},"
#define META_DECODER "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"}"
#define PLAIN "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"u\",0],[\"a\",-1]]}"
  static const struct {
    const char *model, *rest;
    quern_status status;
  } bad[] = {
      {"{\"type\":\"Unigram\",\"unk_id\":0}", META META_DECODER, QUERN_E_SOURCE},
      {"{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[\"a\"]}", META META_DECODER, QUERN_E_SOURCE},
      {"{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",\"b\"]]}", META META_DECODER, QUERN_E_SOURCE},
      {"{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0],[\"a\",-1]]}", META META_DECODER, QUERN_E_SOURCE},
      {"{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":[[\"a\",0]]}", META META_DECODER, QUERN_E_UNSUPPORTED},
      {"{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}", META META_DECODER, QUERN_E_UNSUPPORTED},
      {PLAIN, META_DECODER, QUERN_E_UNSUPPORTED},
      {PLAIN, "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}," META_DECODER, QUERN_E_UNSUPPORTED},
      {PLAIN, "\"normalizer\":{\"type\":\"NFKC\"}," META META_DECODER, QUERN_E_UNSUPPORTED},
      {PLAIN, "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"#\"}," META META_DECODER,
       QUERN_E_SOURCE},
      {PLAIN, "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," META META_DECODER,
       QUERN_E_SOURCE},
      {PLAIN,
       "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
       "\"Metaspace\","
       "\"replacement\":\"\\u2581\",\"prepend_scheme\":\"first\"}]}," META_DECODER,
       QUERN_E_UNSUPPORTED},
      {PLAIN, "\"added_tokens\":[{\"id\":2,\"content\":\"<m>\",\"normalized\":true}]," META META_DECODER,
       QUERN_E_UNSUPPORTED},
      {PLAIN, META "\"decoder\":{\"type\":\"WordPiece\"}", QUERN_E_UNSUPPORTED},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    made m;
    const quern_status s = make_json(&m, write_json(bad[i].model, bad[i].rest));
    if (s != bad[i].status) printf("  source %zu: %s\n", i, m.env.error.text);
    CHECK_EQ(s, bad[i].status);
    CHECK(m.env.error.text[0] != 0 && m.section.bytes == 0);
    unmake(&m);
  }
}

/* Encodes and decodes what it can; ids must be below vocab whatever the section holds. */
static void exercise(const qn_tokenizer *t) {
  static char text[3 * QN_UNIGRAM_WINDOW];
  int32_t ids[256];
  char buf[64];
  size_t len;
  for (size_t i = 0; i < TEXTS; i++) {
    quern_span spans[256];
    qn_ids out = {.ids = ids, .cap = 256, .spans = i % 2 ? spans : NULL};
    qn_tokenizer_encode(t, golden_texts[i].p, golden_texts[i].n, 0, &out);
    for (size_t k = 0; k < out.count && k < out.cap; k++) CHECK(ids[k] >= 0 && (uint32_t)ids[k] < t->vocab);
  }
  memset(text, 'a', sizeof text);
  qn_ids out = {.ids = ids, .cap = 256};
  qn_tokenizer_encode(t, text, sizeof text, 0, &out);
  for (int32_t i = 0; i < 100; i++) ids[i] = i;
  qn_tokenizer_decode(t, ids, 100, 1, buf, sizeof buf, &len);
}

static void damaged_sections(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    qn_tokenizer t;
    make(&m, v);
    const size_t n = m.section.bytes;
    uint8_t *copy = aligned_alloc(64, (n + 127) & ~(size_t)63);
    memcpy(copy, m.section.data, n);
    for (size_t cut = 0; cut < n; cut += cut < 200 ? 1 : 61)
      CHECK(qn_tokenizer_open(&t, &m.env, copy, cut) == QUERN_E_FORMAT);
    uint64_t seed = 88172645463325252u + v;
    int opened = 0;
    for (int round = 0; round < 400; round++) {
      memcpy(copy, m.section.data, n);
      for (int k = 0; k < 1 + round % 32; k++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        const size_t at = seed % (round % 8 == 0 ? sizeof(qn_unigram_header) : n);
        copy[at] = (uint8_t)(seed >> 40 & 1 ? seed >> 48 : copy[at] ^ 1u << (seed >> 32 & 7));
      }
      if (qn_tokenizer_open(&t, &m.env, copy, n) != QUERN_OK) continue;
      opened++;
      exercise(&t);
    }
    CHECK(opened > 100);
    free(copy);
    unmake(&m);
  }
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  qn_env env;
  qn_buffer section = {0};
  qn_env_init(&env, alloc, NULL, NULL, 0);
  const quern_status status = build(&env, &section, *(const size_t *)arg);
  qn_buffer_free(&env, &section);
  return status;
}

static quern_status attempt_list(const quern_allocator *alloc, void *arg) {
  qn_env env;
  qn_buffer section = {0};
  qn_token_list l = list_of();
  (void)arg;
  qn_env_init(&env, alloc, NULL, NULL, 0);
  const quern_status status = qn_tokenizer_build_list(&env, &l, 10, &section);
  qn_buffer_free(&env, &section);
  return status;
}

static void allocations_fail(void) {
  long allocations = 0;
  size_t n = variant_json(0);
  CHECK_EQ(faulty_each(attempt, &n, &allocations), 0);
  CHECK(allocations >= 5);
  CHECK_EQ(faulty_each(attempt_list, NULL, &allocations), 0);
}

int main(void) {
  RUN(texts);
  RUN(long_texts);
  RUN(words_are_looked_through);
  RUN(lists);
  RUN(refused);
  RUN(damaged_sections);
  RUN(allocations_fail);
  return TEST_END();
}
