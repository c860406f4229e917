/* test_bpe.c - byte-level BPE and SentencePiece's: ids and texts against golden values (tools/make_bpe_goldens.py), long
 * words, text id by id, NFC, lists of tokens, sources that must be refused, damaged sections, chats. */
#include "bpe_golden.h"
#include "text/bpe.h"
#include "text/chat.h"

#define ROWS 600u
#define WINDOW QN_BPE_WINDOW
#define HEADER_BYTES sizeof(qn_bpe_header)
#include "golden_tokenizer.h"

static size_t write_json(const char *model, int ignore_merges, const char *rest) {
  return (size_t)snprintf(json, sizeof json, "{\"model\":{%s,\"ignore_merges\":%s},%s}", model,
                          ignore_merges ? "true" : "false", rest);
}

static const char *model_of(const struct golden_variant *v) { return v->characters ? character_model : byte_model; }

static size_t variant_json(size_t v) {
  return write_json(model_of(&golden_variants[v]), golden_variants[v].ignore_merges, golden_variants[v].rest);
}

static const char *variant_kind(size_t v) { return golden_variants[v].characters ? "char-bpe" : "byte-bpe"; }

/* A word of every length about that of the window, cut or not, in windows or whole, gives the same tokens: those of its
   parts on both sides of a place that no merge crosses. */
static void windows_agree(void) {
  static char text[3 * QN_BPE_WINDOW];
  static int32_t ids[3 * QN_BPE_WINDOW], whole[3 * QN_BPE_WINDOW];
  made m;
  make(&m, 0);
  uint64_t seed = 88172645463325252u;
  for (size_t n = QN_BPE_WINDOW - 5; n < QN_BPE_WINDOW + 40; n++) {
    for (size_t i = 0; i < sizeof text; i++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      text[i] = "abnthe"[seed % 6];
    }
    qn_ids a = {.ids = ids, .cap = sizeof ids / 4}, b = {.ids = whole, .cap = sizeof ids / 4};
    text[n] = '\x7f'; /* in the same word of other characters: none, so a word of its own */
    CHECK_EQ(qn_tokenizer_encode(&m.t, text, n, 0, &a), QUERN_OK);
    CHECK_EQ(qn_tokenizer_encode(&m.t, text, n + 1, 0, &b), QUERN_OK);
    CHECK(b.count == a.count + 1 && memcmp(ids, whole, a.count * 4) == 0);
    char back[3 * QN_BPE_WINDOW];
    size_t len = 0;
    CHECK_EQ(qn_tokenizer_decode(&m.t, ids, a.count, 1, back, sizeof back, &len), QUERN_OK);
    CHECK(len == n && memcmp(back, text, n) == 0);
  }
  unmake(&m);
}

static uint64_t hash_normal(uint64_t h, const uint8_t *text, size_t n) {
  qn_reader r;
  qn_reader_begin(&r, text, text + n, QN_READ_NFC, 0);
  for (; r.cp != QN_READ_END; qn_reader_next(&r)) h = fnv(h, r.cp);
  return fnv(h, 0);
}

static void normalization(void) {
  uint64_t alone = FNV, behind = FNV;
  for (uint32_t cp = 0; cp < 0x110000u; cp++) {
    uint8_t text[32];
    uint32_t parts[4];
    if (cp >= 0xD800u && cp < 0xE000u) continue;
    alone = hash_normal(alone, text, qn_utf8_encode(cp, text));
    if (!(qn_unicode_props(cp) & QN_UC_DECOMPOSES) && cp != 0x11938u) continue;
    uint32_t n = 0, count = qn_unicode_decompose(cp, parts);
    if (cp == 0x11938u) parts[0] = 0x11935u, parts[1] = 0x11930u, count = 2; /* decomposes for the generator only */
    for (uint32_t i = 0; i < count; i++) n += qn_utf8_encode(parts[i], text + n);
    n += qn_utf8_encode(0x323u, text + n);
    n += qn_utf8_encode(0x301u, text + n);
    behind = hash_normal(behind, text, n);
  }
  CHECK(alone == golden_nfc[0]);
  CHECK(behind == golden_nfc[1]);
}

static void bytes_become_characters(void) {
  made m;
  char text[64];
  size_t len = 0;
  make(&m, 5); /* <0xNN> is id 2 + NN */
  const int32_t ids[] = {2 + 0xF0, 2 + 0x9F, 2 + 0x98, 2 + 0x80, 2 + 0xE2, 2 + 0x82, 2 + 0x41, 2 + 0x80};
  CHECK_EQ(qn_tokenizer_decode(&m.t, ids, 8, 0, text, sizeof text, &len), QUERN_OK);
  CHECK(strcmp(text, "\xF0\x9F\x98\x80\xEF\xBF\xBD\xEF\xBF\xBD"
                     "A\xEF\xBF\xBD") == 0);
  CHECK(streams(&m, ids, 8, text, len));
  unmake(&m);
}

/* ---- lists of tokens ---- */

/* What a list of the tokens of a tokenizer gives is what its tokenizer.json gives. */
static void lists_give_the_same(void) {
  made m, again;
  make(&m, 0);
  qn_json j;
  const size_t n = write_json(byte_model, 0, golden_variants[0].rest);
  CHECK_EQ(qn_json_parse(&j, &m.env, "x", json, n), QUERN_OK);
  const uint32_t vocab = qn_json_path(&j, 0, "model.vocab"), merges = qn_json_path(&j, 0, "model.merges");
  static qn_listed_token tokens[ROWS], pairs[ROWS];
  static char joined[ROWS][64];
  qn_token_list l = {.kind = QN_TOKENIZER_BYTE_BPE,
                     .tokens = tokens,
                     .merges = pairs,
                     .words = "gpt2",
                     .unk = -1,
                     .begin = -1,
                     .end = -1};
  for (uint32_t k = vocab + 1; k < j.nodes[vocab].next; k = j.nodes[k + 1].next, l.count++)
    tokens[(size_t)j.nodes[k + 1].number] = (qn_listed_token){j.nodes[k].string, j.nodes[k].bytes, 0, 1};
  for (uint32_t k = merges + 1; k < j.nodes[merges].next; k = j.nodes[k].next, l.merge_count++) {
    const int bytes = snprintf(joined[l.merge_count], 64, "%s %s", j.nodes[k + 1].string, j.nodes[k + 2].string);
    pairs[l.merge_count] = (qn_listed_token){joined[l.merge_count], (size_t)bytes, 0, 1};
  }
  memset(&again, 0, sizeof again);
  qn_env_init(&again.env, NULL, NULL, NULL, 0);
  CHECK_EQ(qn_tokenizer_build_list(&again.env, &l, ROWS, &again.section), QUERN_OK);
  CHECK_EQ(qn_tokenizer_open(&again.t, &again.env, again.section.data, again.section.bytes), QUERN_OK);
  for (size_t i = 0; i < TEXTS; i++) {
    int32_t a[256], b[256];
    if (strchr(golden_texts[i].p, '<')) continue; /* the list has no added tokens */
    qn_ids x = {.ids = a, .cap = 256}, y = {.ids = b, .cap = 256};
    CHECK_EQ(qn_tokenizer_encode(&m.t, golden_texts[i].p, golden_texts[i].n, 0, &x), QUERN_OK);
    CHECK_EQ(qn_tokenizer_encode(&again.t, golden_texts[i].p, golden_texts[i].n, 0, &y), QUERN_OK);
    CHECK(x.count == y.count && memcmp(a, b, x.count * 4) == 0);
  }
  l.words = "llama7";
  qn_buffer none = {0};
  CHECK_EQ(qn_tokenizer_build_list(&again.env, &l, ROWS, &none), QUERN_E_UNSUPPORTED);
  l.words = "gpt2", l.begin = 9999;
  CHECK_EQ(qn_tokenizer_build_list(&again.env, &l, ROWS, &none), QUERN_E_SOURCE);
  l.begin = -1, l.add_begin = 1;
  CHECK_EQ(qn_tokenizer_build_list(&again.env, &l, ROWS, &none), QUERN_E_SOURCE);
  CHECK(none.bytes == 0);
  qn_json_free(&m.env, &j);
  unmake(&m);
  unmake(&again);
}

#define T(text, score, type)                                                                                           \
  { text, sizeof(text) - 1, score, type }
#define U "\xE2\x96\x81"
static const qn_listed_token scored[] = {
    T("<unk>", 0, 2), T("<s>", 0, 3), T("<0x0A>", 0, 6), T(U, -1, 1),    T("a", -2, 1),   T("b", -3, 1),
    T(U "a", -4, 1),  T("ab", -5, 1), T(U "ab", -6, 1),  T("ba", -7, 1), T("aba", -8, 1), T("<|u|>", 0, 4),
};

static void merges_follow_scores(void) {
  static const struct {
    const char *in;
    size_t n;
    int32_t ids[8];
  } cases[] = {{"ab", 1, {8}},         {"aba", 2, {8, 4}},       {"baba", 3, {3, 5, 10}},
               {"a\nb", 3, {6, 2, 5}}, {"q", 2, {3, 0}},         {"a<|u|>b", 4, {6, 11, 3, 5}},
               {"  ", 3, {3, 3, 3}},   {"qq\xC3\xA9", 2, {3, 0}}};
  const qn_token_list l = {.kind = QN_TOKENIZER_CHAR_BPE,
                           .tokens = scored,
                           .count = sizeof scored / sizeof scored[0],
                           .blank = 1,
                           .unk = 0,
                           .begin = 1,
                           .end = -1,
                           .add_begin = 1};
  made m;
  memset(&m, 0, sizeof m);
  qn_env_init(&m.env, NULL, NULL, NULL, 0);
  CHECK_EQ(qn_tokenizer_build_list(&m.env, &l, 12, &m.section), QUERN_OK);
  CHECK_EQ(qn_tokenizer_open(&m.t, &m.env, m.section.data, m.section.bytes), QUERN_OK);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int32_t ids[8];
    qn_ids out = {.ids = ids, .cap = 8};
    CHECK_EQ(qn_tokenizer_encode(&m.t, cases[i].in, strlen(cases[i].in), 0, &out), QUERN_OK);
    if (out.count != cases[i].n || memcmp(ids, cases[i].ids, out.count * 4) != 0) printf("  case %zu\n", i);
    CHECK(out.count == cases[i].n && memcmp(ids, cases[i].ids, out.count * 4) == 0);
  }
  CHECK_EQ(qn_tokenizer_specials(&m.t, 0), 1);
  char text[32];
  size_t len = 0;
  CHECK_EQ(qn_tokenizer_decode(&m.t, (const int32_t[]){1, 8, 6, 2}, 4, 0, text, sizeof text, &len), QUERN_OK);
  CHECK(strcmp(text, "ab a\n") == 0);
  CHECK_EQ(qn_tokenizer_build_list(&m.env, &l, 11, &m.section), QUERN_E_SOURCE);
  unmake(&m);
}

/* ---- what is refused, damage ---- */

static void refused_sources(void) {
#define REST(normalizer, splitter, decoder)                                                                            \
  "\"added_tokens\":[],\"normalizer\":" normalizer ",\"pre_tokenizer\":" splitter ",\"decoder\":" decoder
#define BYTES "{\"type\":\"ByteLevel\"}"
  static const struct {
    const char *model, *rest;
    quern_status status;
  } bad[] = {
      {byte_model, REST("{\"type\":\"NFKC\"}", BYTES, BYTES), QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", "null", BYTES), QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", BYTES, "null"), QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", "{\"type\":\"Whitespace\"}", BYTES), QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", "{\"type\":\"ByteLevel\",\"use_regex\":false}", BYTES), QUERN_E_UNSUPPORTED},
      {byte_model,
       REST("null",
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+\"},"
            "\"behavior\":\"Isolated\"}," BYTES "]}",
            BYTES),
       QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}", BYTES),
       QUERN_E_UNSUPPORTED},
      {byte_model, REST("null", "7", BYTES), QUERN_E_UNSUPPORTED},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]", REST("null", BYTES, BYTES), QUERN_E_SOURCE},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"ab\"]", REST("null", BYTES, BYTES), QUERN_E_SOURCE},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\"]]", REST("null", BYTES, BYTES), QUERN_E_SOURCE},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":7", REST("null", BYTES, BYTES), QUERN_E_SOURCE},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"b\"", REST("null", BYTES, BYTES),
       QUERN_E_SOURCE},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1", REST("null", BYTES, BYTES),
       QUERN_E_UNSUPPORTED},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"", REST("null", BYTES, BYTES),
       QUERN_E_UNSUPPORTED},
      {"\"type\":\"BPE\",\"vocab\":{\"a\":900},\"merges\":[]", REST("null", BYTES, BYTES), QUERN_E_SOURCE},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    made m;
    const quern_status s = make_json(&m, write_json(bad[i].model, 0, bad[i].rest));
    if (s != bad[i].status) printf("  source %zu: %s\n", i, m.env.error.text);
    CHECK_EQ(s, bad[i].status);
    CHECK(m.env.error.text[0] != 0 && m.section.bytes == 0);
    unmake(&m);
  }
}

static void failing_allocations(void) {
  long allocations = 0;
  size_t n = variant_json(6);
  golden_list l = {{.kind = QN_TOKENIZER_CHAR_BPE,
                    .tokens = scored,
                    .count = sizeof scored / sizeof scored[0],
                    .unk = 0,
                    .begin = 1,
                    .end = -1},
                   12};
  CHECK_EQ(faulty_each(attempt, &n, &allocations), 0);
  CHECK(allocations >= 7);
  CHECK_EQ(faulty_each(attempt_list, &l, &allocations), 0);
  CHECK(allocations >= 5);
}

/* ---- chats ---- */

static void chats(void) {
  static const qn_chat_message talk[] = {
      {"system", "Be brief.", 9}, {"user", " Hi ", 4}, {"assistant", "Yes?", 4}, {"user", "Bye", 3}};
  static const struct {
    const char *name, *want;
  } cases[] = {
      {"chatml", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
                 "<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"
                 "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
      {"llama3",
       "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
       "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|><|start_header_id|>user"
       "<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
      {"gemma", "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
                "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"},
      {"llama2", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yes? </s><s>[INST] Bye [/INST]"},
      {"mistral", "[INST] Be brief.\n\n Hi  [/INST]Yes?</s>[INST] Bye [/INST]"},
      {"vicuna", "Be brief. USER:  Hi  ASSISTANT: Yes?</s>USER: Bye ASSISTANT:"},
      {"phi3", "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nYes?<|end|>\n<|user|>\nBye<|end|>\n"
               "<|assistant|>\n"},
      {"plain", "Be brief.\n\nUser:  Hi \nAssistant: Yes?\nUser: Bye\nAssistant:"},
  };
  qn_env env;
  quern_span plain[4];
  char text[1024];
  size_t len = 0;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK_EQ(qn_chat_render(&env, cases[i].name, talk, 4, 1, text, sizeof text, &len, plain), QUERN_OK);
    if (strcmp(text, cases[i].want) != 0) printf("  %s gave\n%s\n", cases[i].name, text);
    CHECK(strcmp(text, cases[i].want) == 0 && len == strlen(text));
    for (size_t k = 0; k < 4; k++) {
      const size_t n = (size_t)(plain[k].end - plain[k].begin);
      CHECK(n <= talk[k].content_bytes && strstr(talk[k].content, "e") != (const char *)1);
      CHECK(plain[k].end <= len && (k == 0 || plain[k].begin >= plain[k - 1].end));
    }
    CHECK(memcmp(text + plain[2].begin, "Yes?", 4) == 0);
    CHECK_EQ(qn_chat_render(&env, cases[i].name, talk, 4, 1, NULL, 0, &len, plain), QUERN_OK);
    CHECK_EQ(len, strlen(cases[i].want));
    CHECK_EQ(qn_chat_render(&env, cases[i].name, talk, 4, 1, text, len, &len, plain), QUERN_E_CAPACITY);
  }
  CHECK_EQ(qn_chat_render(&env, "smollm2", talk + 1, 1, 0, text, sizeof text, &len, plain), QUERN_OK);
  CHECK(strncmp(text, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM", 62) == 0);
  CHECK_EQ(qn_chat_render(&env, "none", talk, 1, 0, text, sizeof text, &len, plain), QUERN_E_ARGUMENT);
  const qn_chat_message odd[] = {{"user", "x", 1}, {"system", "y", 1}, {"tool", "z", 1}};
  CHECK_EQ(qn_chat_render(&env, "chatml", odd, 2, 0, text, sizeof text, &len, plain), QUERN_E_ARGUMENT);
  CHECK_EQ(qn_chat_render(&env, "chatml", odd + 2, 1, 0, text, sizeof text, &len, plain), QUERN_E_ARGUMENT);
  static const char *const detected[][2] = {{"{{ '<|im_start|>' + role }}", "chatml"},
                                            {"[INST] <<SYS>>", "llama2"},
                                            {"{{ '[INST]' }}", "mistral"},
                                            {"<|start_header_id|>x<|end_header_id|>", "llama3"},
                                            {"<start_of_turn>", "gemma"},
                                            {"<|user|>\n</s>", "zephyr"},
                                            {"nothing", "plain"},
                                            {"", "plain"}};
  for (size_t i = 0; i < sizeof detected / sizeof detected[0]; i++)
    CHECK(strcmp(qn_chat_detect(detected[i][0], strlen(detected[i][0])), detected[i][1]) == 0);
  size_t names = 0;
  while (qn_chat_name(names)) names++;
  CHECK(names >= 10 && strcmp(qn_chat_name(names - 1), "plain") == 0);
}

/* What a user says holds no special token; other added tokens are still found there. */
static void users_cannot_inject(void) {
  static const char text[] = "<|end|>the<|end|> <|user|><|end|>";
  const quern_span plain[] = {{8, 17}, {18, 26}};
  made m;
  make(&m, 0);
  int32_t ids[64];
  qn_ids out = {.ids = ids, .cap = 64};
  const qn_text marked = {text, sizeof text - 1, plain, 2};
  CHECK_EQ(qn_tokenizer_encode_text(&m.t, &marked, 0, &out), QUERN_OK);
  size_t special = 0, user = 0;
  for (size_t i = 0; i < out.count; i++) {
    special += qn_tokenizer_is_special(&m.t, ids[i]) != 0;
    user += ids[i] == 401;
  }
  CHECK(special == 2 && qn_tokenizer_is_special(&m.t, ids[0]) && qn_tokenizer_is_special(&m.t, ids[out.count - 1]));
  CHECK_EQ(user, 1);
  char back[64];
  size_t len = 0;
  CHECK_EQ(qn_tokenizer_decode(&m.t, ids, out.count, 1, back, sizeof back, &len), QUERN_OK);
  CHECK(strcmp(back, text) == 0);
  unmake(&m);
}

int main(void) {
  RUN(ids_are_golden);
  RUN(long_texts);
  RUN(windows_agree);
  RUN(normalization);
  RUN(bytes_become_characters);
  RUN(lists_give_the_same);
  RUN(merges_follow_scores);
  RUN(refused_sources);
  RUN(damaged_sections);
  RUN(failing_allocations);
  RUN(chats);
  RUN(users_cannot_inject);
  return TEST_END();
}
