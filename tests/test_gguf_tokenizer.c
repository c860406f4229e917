/* test_gguf_tokenizer.c - tokenizers from a GGUF's metadata: one of each kind encodes, ends of texts are found, and for every way that
 * keys can contradict each other or the embedding a status with words; allocations that fail. */
#include <math.h>

#include "faulty_alloc.h"
#include "import/gguf_tokenizer.h"
#include "test.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "tiny_gguf.h"

#define KEY(name) "tokenizer.ggml." name
#define NONE -1
enum { TEXTS = 8 };

/* What the metadata says; counts 0 and ids NONE: the key is left out. */
typedef struct spec {
  const char *model, *pre;
  const char *tokens[TEXTS], *merges[TEXTS];
  uint32_t token_count, merge_count, type_count, score_count;
  int32_t types[TEXTS];
  float scores[TEXTS];
  int64_t unk, begin, end, cls, sep;
  const char *wrong;  /* a key that is there as a number, in the place of what it should be */
  uint32_t rows;      /* of the embedding */
  const char *format; /* tokenizer.chat_template */
} spec;

static qn_env env;

static spec byte_bpe(void) {
  return (spec){.model = "gpt2",
                .pre = "gpt-2",
                .tokens = {"a", "b", "ab", "<|im_end|>", "\xC4\xA0"},
                .token_count = 5,
                .types = {1, 1, 1, 3, 1},
                .type_count = 5,
                .merges = {"a b"},
                .merge_count = 1,
                .unk = NONE,
                .begin = 3,
                .end = 3,
                .cls = NONE,
                .sep = NONE,
                .rows = 8};
}
static spec char_bpe(void) {
  return (spec){.model = "llama",
                .tokens = {"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a", "b", "ab", "<0x41>"},
                .token_count = 8,
                .types = {2, 3, 3, 1, 1, 1, 1, 6},
                .type_count = 8,
                .scores = {0, 0, 0, -1, -2, -3, -4, 0},
                .score_count = 8,
                .unk = 0,
                .begin = 1,
                .end = 2,
                .cls = NONE,
                .sep = NONE,
                .rows = 8};
}
static spec unigram(void) {
  spec s = char_bpe();
  s.model = "t5";
  return s;
}
static spec wordpiece(void) {
  return (spec){.model = "bert",
                .tokens = {"[UNK]", "[CLS]", "[SEP]",
                           "\xE2\x96\x81"
                           "a",
                           "b",
                           "\xE2\x96\x81"
                           "ab"},
                .token_count = 6,
                .unk = 0,
                .begin = NONE,
                .end = NONE,
                .cls = 1,
                .sep = 2,
                .rows = 6};
}

static void put_texts(tiny_gguf *w, const char *key, const char *const *texts, uint32_t count) {
  if (!count) return;
  tiny_gguf_array(w, key, 8, count);
  for (uint32_t i = 0; i < count; i++) tiny_gguf_string(w, texts[i]);
}
static void put_id(tiny_gguf *w, const char *key, int64_t id) {
  if (id != NONE) tiny_gguf_int(w, key, (uint32_t)id);
}
static int is_wrong(const spec *s, const char *key) { return s->wrong && !strcmp(s->wrong, key); }

static tiny_gguf file_of(const spec *s) {
  tiny_gguf w;
  tiny_gguf_begin(&w);
  if (s->wrong) tiny_gguf_float(&w, s->wrong, 1);
  if (s->model && !is_wrong(s, KEY("model"))) tiny_gguf_text(&w, KEY("model"), s->model);
  if (s->pre && !is_wrong(s, KEY("pre"))) tiny_gguf_text(&w, KEY("pre"), s->pre);
  if (s->format) tiny_gguf_text(&w, "tokenizer.chat_template", s->format);
  if (!is_wrong(s, KEY("tokens"))) put_texts(&w, KEY("tokens"), s->tokens, s->token_count);
  if (!is_wrong(s, KEY("merges"))) put_texts(&w, KEY("merges"), s->merges, s->merge_count);
  if (s->type_count && !is_wrong(s, KEY("token_type")))
    tiny_gguf_items(&w, KEY("token_type"), 5, s->type_count, s->types, s->type_count * sizeof *s->types);
  if (s->score_count && !is_wrong(s, KEY("scores")))
    tiny_gguf_items(&w, KEY("scores"), 6, s->score_count, s->scores, s->score_count * sizeof *s->scores);
  put_id(&w, KEY("unknown_token_id"), s->unk);
  put_id(&w, KEY("bos_token_id"), s->begin);
  if (!is_wrong(s, KEY("eos_token_id"))) put_id(&w, KEY("eos_token_id"), s->end);
  put_id(&w, KEY("cls_token_id"), s->cls);
  put_id(&w, KEY("seperator_token_id"), s->sep);
  tiny_gguf_end(&w, 0);
  return w;
}

static quern_status build(qn_env *with, const tiny_gguf *w, uint32_t rows, qn_buffer *section) {
  qn_gguf g;
  QN_TRY(qn_gguf_open_memory(&g, with, "a.gguf", w->data, w->bytes));
  const quern_status status = qn_gguf_tokenizer(&g, rows, section);
  qn_gguf_close(&g);
  return status;
}

static void encodes(void) {
  const struct {
    spec s;
    const char *name, *text;
    int32_t ids[6];
    size_t count;
  } cases[] = {{byte_bpe(), "byte-bpe", "ab b<|im_end|>", {2, 4, 1, 3}, 4},
               {char_bpe(), "char-bpe", "abA", {1, 3, 6, 7}, 4},
               {unigram(), "unigram", " ab", {3, 6, 2}, 3},
               {wordpiece(), "wordpiece", "ab aab", {1, 5, 0, 2}, 4}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tiny_gguf w = file_of(&cases[i].s);
    qn_buffer section = {0};
    qn_tokenizer t;
    int32_t ids[16], all[16];
    qn_ids out = {.ids = ids, .cap = 16}, whole = {.ids = all, .cap = 16};
    CHECK_EQ(build(&env, &w, cases[i].s.rows, &section), QUERN_OK);
    CHECK_EQ(qn_tokenizer_open(&t, &env, section.data, section.bytes), QUERN_OK);
    CHECK(!strcmp(qn_tokenizer_name(&t), cases[i].name));
    CHECK_EQ(qn_tokenizer_encode(&t, cases[i].text, strlen(cases[i].text), 0, &out), QUERN_OK);
    CHECK_EQ(qn_tokenizer_template(&t, ids, out.count, NULL, 0, 0, &whole), QUERN_OK);
    const int same = whole.count == cases[i].count && !memcmp(all, cases[i].ids, whole.count * sizeof *all);
    for (size_t k = 0; !same && k < whole.count; k++) printf("  %s: id %d\n", cases[i].name, (int)all[k]);
    CHECK(same);
    qn_buffer_free(&env, &section);
    free(w.data);
  }
  tiny_gguf none;
  qn_buffer section = {0};
  tiny_gguf_begin(&none);
  tiny_gguf_end(&none, 0);
  CHECK(build(&env, &none, 8, &section) == QUERN_OK && !section.bytes); /* no tokenizer at all */
  free(none.data);
}

/* ---- what contradicts itself ------------------------------------------------------------------------------------- */

static void no_model_known(spec *s) { s->model = "rwkv"; }
static void no_pre_known(spec *s) { s->pre = "falcon"; }
static void model_a_number(spec *s) { s->wrong = KEY("model"); }
static void tokens_a_number(spec *s) { s->wrong = KEY("tokens"); }
static void types_a_number(spec *s) { s->wrong = KEY("token_type"); }
static void merges_a_number(spec *s) { s->wrong = KEY("merges"); }
static void end_a_float(spec *s) { s->wrong = KEY("eos_token_id"); }
static void no_tokens(spec *s) { s->token_count = s->type_count = s->score_count = 0; }
static void fewer_rows(spec *s) { s->rows = s->token_count - 1; }
static void fewer_types(spec *s) { s->type_count--; }
static void more_types(spec *s) { s->types[5] = 1, s->type_count = 6; }
static void fewer_scores(spec *s) { s->score_count--; }
static void nan_score(spec *s) { s->scores[4] = NAN; }
static void infinite_score(spec *s) { s->scores[4] = INFINITY; }
static void no_merges(spec *s) { s->merge_count = 0; }
static void merge_of_one(spec *s) { s->merges[0] = "ab"; }
static void empty_merge(spec *s) { s->merges[0] = ""; }
static void merge_of_no_token(spec *s) { s->merges[0] = "a c"; }
static void merge_into_no_token(spec *s) { s->merges[0] = "b a"; }
static void token_twice(spec *s) { s->tokens[1] = s->tokens[0]; }
static void no_utf8(spec *s) { s->tokens[1] = "\xFF"; }
static void surrogate(spec *s) { s->tokens[1] = "\xED\xA0\x80"; }
static void begin_past_tokens(spec *s) { s->begin = s->token_count; }
static void end_past_tokens(spec *s) { s->end = UINT32_MAX; }
static void unknown_past_tokens(spec *s) { s->unk = 1 << 20; }
static void no_begin(spec *s) { s->begin = NONE; }
static void no_end(spec *s) { s->end = NONE; }
static void no_unknown(spec *s) { s->unk = NONE; }
static void no_cls(spec *s) { s->cls = NONE; }
static void cls_past_tokens(spec *s) { s->cls = 6; }

static void contradictions_are_refused(void) {
  static const struct {
    spec (*good)(void);
    void (*change)(spec *s);
    quern_status status;
    const char *words;
  } cases[] = {
      {byte_bpe, no_model_known, QUERN_E_UNSUPPORTED, "\"rwkv\" is not supported"},
      {byte_bpe, no_pre_known, QUERN_E_UNSUPPORTED, "\"falcon\" is not supported"},
      {byte_bpe, model_a_number, QUERN_E_SOURCE, "tokenizer.ggml.model is float32"},
      {byte_bpe, tokens_a_number, QUERN_E_SOURCE, "tokenizer.ggml.tokens is float32"},
      {byte_bpe, types_a_number, QUERN_E_SOURCE, "tokenizer.ggml.token_type is float32"},
      {byte_bpe, merges_a_number, QUERN_E_SOURCE, "tokenizer.ggml.merges is float32"},
      {byte_bpe, end_a_float, QUERN_E_SOURCE, "tokenizer.ggml.eos_token_id is float32"},
      {byte_bpe, no_tokens, QUERN_E_SOURCE, "tokenizer.ggml.tokens"},
      {byte_bpe, fewer_rows, QUERN_E_SOURCE, "5 tokens for the 4 rows of the embedding"},
      {unigram, fewer_rows, QUERN_E_SOURCE, "8 tokens for the 7 rows of the embedding"},
      {byte_bpe, fewer_types, QUERN_E_SOURCE, "are not as many as the tokens"},
      {byte_bpe, more_types, QUERN_E_SOURCE, "are not as many as the tokens"},
      {char_bpe, fewer_scores, QUERN_E_SOURCE, "are not as many as the tokens"},
      {char_bpe, nan_score, QUERN_E_SOURCE, "score of token 4 is not finite"},
      {unigram, infinite_score, QUERN_E_SOURCE, "score of token 4 is not finite"},
      {byte_bpe, no_merges, QUERN_E_SOURCE, "tokenizer.ggml.merges"},
      {byte_bpe, merge_of_one, QUERN_E_SOURCE, "merge 0 is not two texts"},
      {byte_bpe, empty_merge, QUERN_E_SOURCE, "merge 0 is not two texts"},
      {byte_bpe, merge_of_no_token, QUERN_E_SOURCE, "merge"},
      {byte_bpe, merge_into_no_token, QUERN_E_SOURCE, "merge"},
      {byte_bpe, token_twice, QUERN_E_SOURCE, "is there twice, with ids 0 and 1"},
      {wordpiece, token_twice, QUERN_E_SOURCE, "is there twice, with ids 0 and 1"},
      {byte_bpe, no_utf8, QUERN_E_SOURCE, "token 1 is not UTF-8"},
      {wordpiece, no_utf8, QUERN_E_SOURCE, "token 1 is not UTF-8"},
      {char_bpe, surrogate, QUERN_E_SOURCE, "token 1 is not UTF-8"},
      {byte_bpe, begin_past_tokens, QUERN_E_SOURCE, "id 5 of a special token is not in the vocabulary of 5"},
      {char_bpe, end_past_tokens, QUERN_E_SOURCE, "id 4294967295 of a special token"},
      {unigram, unknown_past_tokens, QUERN_E_SOURCE, "id 1048576 of a special token"},
      {char_bpe, no_begin, QUERN_E_SOURCE, "its id is not told"},
      {unigram, no_end, QUERN_E_SOURCE, "its id is not told"},
      {unigram, no_unknown, QUERN_E_SOURCE, "needs the id of its unknown token"},
      {wordpiece, no_cls, QUERN_E_SOURCE, "needs the ids of [UNK], [CLS] and [SEP]"},
      {wordpiece, cls_past_tokens, QUERN_E_SOURCE, "id 6 of a special token is not in the vocabulary of 6"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    spec s = cases[i].good();
    qn_buffer section = {0};
    char why[QN_ERROR_BYTES];
    cases[i].change(&s);
    tiny_gguf w = file_of(&s);
    const quern_status status = build(&env, &w, s.rows, &section);
    qn_error_copy(&env.error, why, sizeof why);
    if (status != cases[i].status || !strstr(why, cases[i].words)) {
      printf("  case %zu: status %d, %s\n", i, status, why);
      CHECK(0);
    }
    CHECK(!section.bytes);
    qn_buffer_free(&env, &section);
    free(w.data);
  }
}

/* Types that are not known are those of plain tokens; ids of ends that no token has are left out. */
static void odd_values_do_no_harm(void) {
  spec s = byte_bpe();
  s.types[0] = -5, s.types[1] = 300, s.begin = NONE, s.end = NONE;
  s.format = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
  tiny_gguf w = file_of(&s);
  qn_buffer section = {0};
  qn_speech speech = {.end_count = 0};
  qn_gguf g;
  CHECK_EQ(build(&env, &w, s.rows, &section), QUERN_OK);
  CHECK_EQ(qn_gguf_open_memory(&g, &env, "a.gguf", w.data, w.bytes), QUERN_OK);
  CHECK_EQ(qn_gguf_speech(&g, s.rows, &speech), QUERN_OK);
  CHECK(speech.end_count == 1 && speech.ends[0] == 3 && speech.chat);
  speech = (qn_speech){.end_count = 0};
  CHECK(qn_gguf_speech(&g, 3, &speech) == QUERN_OK && !speech.end_count); /* fewer rows than the end's id */
  qn_gguf_close(&g);
  qn_buffer_free(&env, &section);
  free(w.data);
}

typedef struct attempt_of {
  tiny_gguf file;
  uint32_t rows;
} attempt_of;

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  const attempt_of *a = arg;
  qn_env failing;
  qn_buffer section = {0};
  qn_env_init(&failing, alloc, NULL, NULL, 0);
  const quern_status status = build(&failing, &a->file, a->rows, &section);
  qn_buffer_free(&failing, &section);
  return status;
}

static void allocations_fail(void) {
  const spec all[] = {byte_bpe(), char_bpe(), unigram(), wordpiece()};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    attempt_of a = {file_of(&all[i]), all[i].rows};
    long calls;
    CHECK_EQ(faulty_each(attempt, &a, &calls), 0);
    CHECK(calls > 4);
    free(a.file.data);
  }
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(encodes);
  RUN(contradictions_are_refused);
  RUN(odd_values_do_no_harm);
  RUN(allocations_fail);
  return TEST_END();
}
