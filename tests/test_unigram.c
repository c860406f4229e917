/* test_unigram.c - unigram tokenizers against what the tokenizers package gives (unigram_golden.h), words longer than the window,
 * lists as a GGUF has them, damaged sections, sources that are refused. */
#include "text/unigram.h"
#include "unigram_golden.h"

#define ROWS 700u
#define WINDOW QN_UNIGRAM_WINDOW
#define HEADER_BYTES sizeof(qn_unigram_header)
#include "golden_tokenizer.h"

static size_t write_json(const char *model, const char *rest) {
  return (size_t)snprintf(json, sizeof json, "{\"model\":%s,%s}", model, rest);
}

static size_t variant_json(size_t v) {
  return write_json(golden_variants[v].fallback ? fallback_model : plain_model, golden_variants[v].rest);
}

static const char *variant_kind(size_t v) {
  (void)v;
  return "unigram";
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

static void allocations_fail(void) {
  long allocations = 0;
  size_t n = variant_json(0);
  golden_list l = {list_of(), 10};
  CHECK_EQ(faulty_each(attempt, &n, &allocations), 0);
  CHECK(allocations >= 5);
  CHECK_EQ(faulty_each(attempt_list, &l, &allocations), 0);
}

int main(void) {
  RUN(ids_are_golden);
  RUN(long_texts);
  RUN(words_are_looked_through);
  RUN(lists);
  RUN(refused);
  RUN(damaged_sections);
  RUN(allocations_fail);
  return TEST_END();
}
