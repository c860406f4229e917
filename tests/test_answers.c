/* test_answers.c - answers from contexts: windows, logits and the best span against a plain search over the reference's
 * double-precision pass; the same bytes whatever runs them; ties, no answer, offsets, and what is refused. */
#include <math.h>

#include "reference_bert.h"
#include "tiny_session.h"

#define MAX_WINDOWS 64u
#define MAX_TOKENS 64u

static const char question[] = "Is the cat on a mat?";
static const char context[] =
    "The dog sat on the mat. Caf\xc3\xa9 and cafe\xcc\x81, \xe4\xb8\xad\xe5\x9b\xbd! A cat is of the mat, and the dog "
    "is "
    "in 1984 to the cat. The mat is on a cat of the dog and a dog sat in the mat, to 27 cats. O\xc3\x9c and z9 is a "
    "zoo of cats and dogs. The cat? The dog! Is the mat of 3 cats and 5 dogs?";

/* The windows that a call showed. */
typedef struct shown {
  uint32_t count, stop_at; /* stop_at: the window at which the callback cancels, from 1; 0: none */
  uint32_t tokens[MAX_WINDOWS], first[MAX_WINDOWS], context_tokens[MAX_WINDOWS];
  uint64_t pair[MAX_WINDOWS];
  int32_t ids[MAX_WINDOWS][MAX_TOKENS];
  quern_span spans[MAX_WINDOWS][MAX_TOKENS];
  float logits[MAX_WINDOWS][2 * MAX_TOKENS];
} shown;
static shown seen, again;

static int32_t on_window(void *user, const quern_window *w) {
  shown *s = user;
  const uint32_t i = s->count++;
  if (i >= MAX_WINDOWS || w->tokens > MAX_TOKENS) return 1;
  s->tokens[i] = w->tokens, s->first[i] = w->context, s->context_tokens[i] = w->context_tokens, s->pair[i] = w->pair;
  memcpy(s->ids[i], w->ids, w->tokens * sizeof *w->ids);
  memcpy(s->spans[i], w->spans, w->tokens * sizeof *w->spans);
  memcpy(s->logits[i], w->logits, 2 * w->tokens * sizeof *w->logits);
  return s->count == s->stop_at;
}

static quern_answer_options options_of(shown *s, uint32_t stride, uint32_t answer_tokens) {
  quern_answer_options o;
  quern_answer_options_init(&o, sizeof o);
  o.stride = stride;
  o.answer_tokens = answer_tokens;
  o.window = s ? on_window : NULL;
  o.window_user = s;
  if (s) memset(s, 0, sizeof *s);
  return o;
}

static tiny_options span_model(const char *family) {
  tiny_options o = tiny_defaults();
  o.model_type = family;
  o.span = 1;
  if (!strcmp(family, "electra")) o.embed_width = 24;
  return o;
}

static quern_status ask(quern_session *s, const char *q, const char *c, const quern_answer_options *o,
                        quern_span *answer, float *scores) {
  return quern_answer(s, q, strlen(q), c, strlen(c), o, answer, scores);
}

static int says(const quern_session *s, const char *words) {
  char message[512];
  quern_session_error(s, message, sizeof message);
  if (strstr(message, words)) return 1;
  printf("  message: %s\n", message);
  return 0;
}

/* Windows as they should be: each the template with `room` context tokens but the last, stepping by room - stride. */
static void check_windows(const quern_model *m, const char *q, const char *c, uint32_t limit, uint32_t stride) {
  int32_t qi[MAX_TOKENS], ci[1024];
  quern_span spans[1024];
  size_t nq = 0, nc = 0;
  CHECK_EQ(quern_tokenize(m, q, strlen(q), QUERN_NO_SPECIAL, qi, MAX_TOKENS, &nq), QUERN_OK);
  CHECK_EQ(quern_tokenize_spans(m, c, strlen(c), QUERN_NO_SPECIAL, ci, spans, 1024, &nc), QUERN_OK);
  const size_t room = limit - 3 - nq;
  size_t at = 0;
  for (uint32_t w = 0; w < seen.count; w++, at += room - stride) {
    const size_t n = nc - at < room ? nc - at : room;
    CHECK_EQ(seen.tokens[w], nq + n + 3);
    CHECK_EQ(seen.first[w], nq + 2);
    CHECK_EQ(seen.context_tokens[w], n);
    CHECK(seen.ids[w][0] == 2 && seen.ids[w][nq + 1] == 3 && seen.ids[w][nq + n + 2] == 3);
    CHECK(memcmp(seen.ids[w] + 1, qi, nq * sizeof *qi) == 0);
    CHECK(memcmp(seen.ids[w] + nq + 2, ci + at, n * sizeof *ci) == 0);
    CHECK(memcmp(seen.spans[w] + nq + 2, spans + at, n * sizeof *spans) == 0);
    CHECK(seen.spans[w][0].end == 0 && seen.spans[w][nq].end == 0 && seen.spans[w][nq + n + 2].end == 0);
    CHECK((at + n == nc) == (w + 1 == seen.count));
  }
}

/* The head on the reference's hidden states. */
static void check_logits(const tiny_options *o) {
  static double hidden[MAX_TOKENS * 64], want[MAX_TOKENS * 2];
  double worst = 0;
  for (uint32_t w = 0; w < seen.count; w++) {
    int32_t types[MAX_TOKENS];
    const uint32_t n = seen.tokens[w];
    for (uint32_t i = 0; i < n; i++) types[i] = i >= seen.first[w];
    reference_bert(o, seen.ids[w], types, n, hidden);
    const reference r = {o, n, hidden};
    reference_linear(&r, hidden, want, 2, o->width, "qa_outputs");
    for (uint32_t i = 0; i < 2 * n; i++) worst = fmax(worst, fabs((double)seen.logits[w][i] - want[i]));
  }
  printf("  %s: %u windows, largest difference %.1e\n", o->model_type, seen.count, worst);
  CHECK(seen.count > 0 && worst < 1e-4);
}

/* The best span by looking at them all, from the last to the first. */
static void check_answer(uint32_t answer_tokens, quern_span answer, const float *scores) {
  float best = -INFINITY, null_score = INFINITY;
  quern_span at = {0, 0};
  for (uint32_t w = seen.count; w-- > 0;) {
    const float *l = seen.logits[w];
    if (l[0] + l[1] < null_score) null_score = l[0] + l[1];
    for (uint32_t i = seen.first[w] + seen.context_tokens[w]; i-- > seen.first[w];) {
      for (uint32_t j = i; j < i + answer_tokens && j < seen.first[w] + seen.context_tokens[w]; j++) {
        if (l[2 * i] + l[2 * j + 1] < best) continue;
        best = l[2 * i] + l[2 * j + 1];
        at = (quern_span){seen.spans[w][i].begin, seen.spans[w][j].end};
      }
    }
  }
  CHECK(scores[0] == best && scores[1] == null_score);
  CHECK(answer.begin == at.begin && answer.end == at.end && answer.end > answer.begin);
}

static void test_against_reference(void) {
  static const char *const families[] = {"bert", "mpnet", "distilbert", "electra"};
  static const char *const recipe[] = {"float", NULL};
  for (int f = 0; f < 4; f++) {
    const tiny_options o = span_model(families[f]);
    CHECK(make(&o, recipe));
    opened m = open_model("float", NULL, 1, 0, 0);
    if (!m.s) return;
    for (uint32_t answer_tokens = 1; answer_tokens <= 40; answer_tokens += 13) {
      const quern_answer_options a = options_of(&seen, 16, answer_tokens);
      quern_span answer;
      float scores[2];
      CHECK_EQ(ask(m.s, question, context, &a, &answer, scores), QUERN_OK);
      check_windows(m.m, question, context, o.positions, 16);
      check_answer(answer_tokens, answer, scores);
    }
    check_logits(&o);
    close_model(&m);
  }
}

/* Half of the room is shared where 128 tokens are too many; a context that fits is one window whatever the stride. */
static void test_default_stride(void) {
  const tiny_options o = span_model("bert");
  CHECK(make(&o, both));
  opened m = open_model("int8", NULL, 1, 0, 0);
  quern_answer_options a = options_of(&seen, 0, 0);
  quern_span answer, same;
  float scores[2], same_scores[2];
  size_t nq = 0;
  if (!m.s) return;
  CHECK_EQ(ask(m.s, question, context, &a, &answer, scores), QUERN_OK);
  CHECK_EQ(quern_tokenize(m.m, question, strlen(question), QUERN_NO_SPECIAL, NULL, 0, &nq), QUERN_E_CAPACITY);
  check_windows(m.m, question, context, 64, (uint32_t)(64 - 3 - nq) / 2);
  check_answer(30, answer, scores);
  CHECK_EQ(ask(m.s, question, context, NULL, &same, same_scores), QUERN_OK);
  CHECK(!memcmp(&answer, &same, sizeof same) && !memcmp(scores, same_scores, sizeof scores));
  a = options_of(&seen, 1000, 0);
  CHECK_EQ(ask(m.s, question, "the cat sat", &a, &answer, scores), QUERN_OK);
  CHECK_EQ(seen.count, 1);
  CHECK_EQ(ask(m.s, question, context, &a, &answer, scores), QUERN_E_ARGUMENT);
  CHECK(says(m.s, "cannot share 1000"));
  a = options_of(&seen, (uint32_t)(64 - 3 - nq), 0);
  CHECK_EQ(ask(m.s, question, context, &a, &answer, scores), QUERN_E_ARGUMENT);
  close_model(&m);
}

/* Three questions alone and together, on every kernel set, with sessions of one window and of many: the same bytes. */
static void test_same_everywhere(void) {
  static const char *const questions[] = {question, "a?", "to the zoo"};
  static const char *const contexts[] = {context, "", context + 30};
  const tiny_options o = span_model("electra");
  char text[2048] = "";
  int64_t offsets[7] = {0};
  CHECK(make(&o, both));
  for (int i = 0; i < 3; i++) {
    strcat(text, questions[i]), offsets[2 * i + 1] = (int64_t)strlen(text);
    strcat(text, contexts[i]), offsets[2 * i + 2] = (int64_t)strlen(text);
  }
  for (int r = 0; both[r]; r++) {
    quern_span want[3], got[3];
    float want_scores[6], scores[6];
    for (uint32_t k = 0; quern_isa_name(k); k++) {
      for (uint32_t size = 0; size < 3; size++) {
        opened m = open_model(both[r], quern_isa_name(k), size + 1, size ? 1024 : 64, size == 2 ? 3 : 0);
        quern_answer_options a = options_of(&again, 20, 0);
        if (!m.s) return;
        memset(got, 0xff, sizeof got);
        CHECK_EQ(quern_answer_batch(m.s, text, offsets, 6, &a, got, scores), QUERN_OK);
        CHECK(again.count > 5 && again.pair[0] == 0 && again.pair[again.count - 1] == 2);
        if (k == 0 && size == 0) {
          memcpy(want, got, sizeof want), memcpy(want_scores, scores, sizeof scores);
          seen = again;
        }
        seen.stop_at = again.stop_at;
        CHECK(!memcmp(want, got, sizeof want) && !memcmp(want_scores, scores, sizeof scores));
        CHECK(!memcmp(&seen, &again, sizeof seen));
        for (int i = 0; i < 3; i++) {
          a.window = NULL;
          CHECK_EQ(ask(m.s, questions[i], contexts[i], &a, &got[0], scores), QUERN_OK);
          CHECK(!memcmp(&want[i], &got[0], sizeof want[i]) && !memcmp(want_scores + 2 * i, scores, 2 * sizeof *scores));
        }
        close_model(&m);
      }
    }
  }
}

/* A file of recipe `float` in memory whose head is replaced by weights of 0 and these biases. */
static uint8_t *with_biases(size_t *bytes, float start, float end) {
  const float bias[2] = {start, end};
  char path[300];
  opened m = open_model("float", NULL, 1, 0, 0);
  path_of(path, sizeof path, "float");
  uint8_t *file = tiny_read(path, bytes), *copy = NULL;
  quern_tensor_info t = {.size = sizeof t};
  if (file && posix_memalign((void **)&copy, 64, *bytes) == 0) memcpy(copy, file, *bytes);
  for (uint32_t i = 0; copy && quern_model_get_tensor(m.m, i, &t) == QUERN_OK; i++) {
    if (!strcmp(t.name, "head.out.weight")) memset(copy + t.offset, 0, t.bytes);
    if (!strcmp(t.name, "head.out.bias")) memcpy(copy + t.offset, bias, sizeof bias);
  }
  free(file);
  close_model(&m);
  return copy;
}

/* All spans score the same: the first token of the first window is the answer, and being none scores as much. */
static void test_ties(void) {
  const tiny_options o = span_model("distilbert");
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  size_t bytes = 0;
  CHECK(make(&o, both));
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  uint8_t *file = with_biases(&bytes, 0.5f, 0.25f);
  CHECK_EQ(quern_model_open_memory(&m, c, file, bytes, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  const quern_answer_options a = options_of(&seen, 16, 0);
  quern_span answer;
  float scores[2];
  CHECK_EQ(ask(s, question, context, &a, &answer, scores), QUERN_OK);
  CHECK(seen.count > 2 && answer.begin == 0 && answer.end == 3 && scores[0] == 0.75f && scores[1] == 0.75f);
  /* Dropped characters and marks belong to no token. */
  CHECK_EQ(ask(s, question, "\xe2\x80\x8b\xcc\x81  \xc3\xa9\xcc\x81t", &a, &answer, scores), QUERN_OK);
  CHECK(answer.begin == 7 && answer.end == 9);
  quern_session_free(s);
  quern_model_free(m);
  free(file);
  s = NULL, m = NULL;
  file = with_biases(&bytes, (float)NAN, 0);
  CHECK_EQ(quern_model_open_memory(&m, c, file, bytes, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  CHECK_EQ(ask(s, question, context, NULL, &answer, scores), QUERN_E_NONFINITE);
  CHECK(says(s, "span head"));
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
  free(file);
}

/* Contexts without tokens have no answer; what is around an answer does not belong to it. */
static void test_no_answer_and_offsets(void) {
  static const char *const empty[] = {"", " \t ", "\xe2\x80\x8b", "\xcc\x81"};
  const tiny_options o = span_model("mpnet");
  CHECK(make(&o, both));
  for (int r = 0; both[r]; r++) {
    opened m = open_model(both[r], NULL, 2, 0, 0);
    quern_span answer;
    float scores[2];
    if (!m.s) return;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
      CHECK_EQ(ask(m.s, question, empty[i], NULL, &answer, scores), QUERN_OK);
      CHECK(answer.begin == 0 && answer.end == 0 && scores[0] == -INFINITY && isfinite(scores[1]));
    }
    CHECK_EQ(ask(m.s, "", "  the\t", NULL, &answer, scores), QUERN_OK); /* one token: one answer */
    CHECK(answer.begin == 2 && answer.end == 5 && isfinite(scores[0]));
    CHECK_EQ(ask(m.s, "?", " \xc3\x84\xcc\x84 ", NULL, &answer, scores), QUERN_OK);
    CHECK(answer.begin == 1 && answer.end == 3);
    CHECK_EQ(ask(m.s, "?", "\xe4\xb8\xad", NULL, &answer, scores), QUERN_OK);
    CHECK(answer.begin == 0 && answer.end == 3);
    close_model(&m);
  }
}

static void test_refused(void) {
  tiny_options o = span_model("bert");
  static const int64_t offsets[] = {0, 3, 6}, wrong[] = {0, 6, 3};
  char long_question[400] = "";
  quern_span answers[2] = {{7, 7}, {7, 7}};
  float scores[4] = {7, 7, 7, 7}, out[64];
  for (int i = 0; i < 61; i++) strcat(long_question, "the ");
  CHECK(make(&o, both));
  opened m = open_model("int8", NULL, 1, 64, 0);
  if (!m.s) return;
  quern_model_info info = {.size = sizeof info};
  CHECK_EQ(quern_model_get_info(m.m, &info), QUERN_OK);
  CHECK(info.span == 1 && info.labels == 0 && info.regression == 0 && info.embedding_width == 0);
  quern_answer_options a = options_of(&seen, 0, 0);
  CHECK_EQ(ask(m.s, long_question, "cat", &a, answers, scores), QUERN_E_CAPACITY);
  CHECK(says(m.s, "61 tokens") && says(m.s, "windows of 64"));
  CHECK_EQ(ask(m.s, long_question + 4, "cat", &a, answers, scores), QUERN_OK); /* room for one token */
  CHECK(seen.count == 1 && answers[0].end == 3);
  answers[0] = (quern_span){7, 7}, scores[0] = scores[1] = 7;
  a = options_of(&seen, 8, 0);
  seen.stop_at = 2;
  CHECK_EQ(ask(m.s, question, context, &a, answers, scores), QUERN_E_CANCELLED);
  CHECK(seen.count == 2 && answers[0].begin == 7 && scores[0] == 7);
  CHECK_EQ(quern_session_cancel(m.s), QUERN_OK);
  CHECK_EQ(ask(m.s, question, "cat", NULL, answers, scores), QUERN_E_CANCELLED);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", offsets, 1, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", wrong, 2, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, NULL, offsets, 2, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", NULL, 2, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", offsets, 2, NULL, NULL, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", offsets, 2, NULL, answers, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer_batch(m.s, "catdog", offsets, 0, NULL, NULL, NULL), QUERN_OK);
  CHECK_EQ(quern_answer_batch(NULL, "catdog", offsets, 2, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer(m.s, NULL, 3, "cat", 3, NULL, answers, scores), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_answer(NULL, "a", 1, "cat", 3, NULL, answers, scores), QUERN_E_ARGUMENT);
  a = options_of(NULL, 0, 0);
  a.reserved = 1;
  CHECK_EQ(ask(m.s, question, "cat", &a, answers, scores), QUERN_E_ARGUMENT);
  a.size = 2;
  CHECK_EQ(ask(m.s, question, "cat", &a, answers, scores), QUERN_E_ARGUMENT);
  CHECK(answers[1].begin == 7 && scores[2] == 7);
  CHECK_EQ(quern_classify_batch(m.s, "catdog", offsets, 2, 0, out, NULL, 64), QUERN_E_TASK);
  CHECK_EQ(quern_embed(m.s, "cat", 3, out, 64, NULL), QUERN_E_TASK);
  close_model(&m);
  m = open_model("int8", NULL, 1, 63, 0);
  CHECK_EQ(ask(m.s, question, "cat", NULL, answers, scores), QUERN_E_CAPACITY);
  close_model(&m);
  o.span = 0, o.labels = 2; /* two outputs, but of a classifier */
  CHECK(make(&o, both));
  m = open_model("int8", NULL, 1, 0, 0);
  CHECK_EQ(ask(m.s, question, "cat", NULL, answers, scores), QUERN_E_TASK);
  CHECK(says(m.s, "no span head"));
  close_model(&m);
}

/* Layers of 4 bits before a head of 8: codes of the one have starts of groups, those of the other have none. */
static void test_small_weights(void) {
  static const char *const recipes[] = {"int4", "small", NULL};
  const tiny_options o = span_model("bert");
  CHECK(make(&o, recipes));
  for (int r = 0; recipes[r]; r++) {
    quern_span answer = {0, 0}, same = {0, 0};
    float scores[2] = {0, 0}, same_scores[2] = {1, 1};
    opened m = open_model(recipes[r], NULL, 1, 0, 0), ref = open_model(recipes[r], "ref", 2, 0, 0);
    CHECK_EQ(ask(m.s, question, context, NULL, &answer, scores), QUERN_OK);
    CHECK_EQ(ask(ref.s, question, context, NULL, &same, same_scores), QUERN_OK);
    CHECK(answer.end > answer.begin && !memcmp(&answer, &same, sizeof same));
    CHECK(!memcmp(scores, same_scores, sizeof scores));
    close_model(&m);
    close_model(&ref);
  }
}

static void test_without_a_tokenizer(void) {
  tiny_options o = span_model("bert");
  quern_span answer;
  float scores[2];
  char vocab[300];
  snprintf(vocab, sizeof vocab, "%s/vocab.txt", dir);
  unlink(vocab); /* of the models before */
  o.tokenizer = 0;
  CHECK(make(&o, both));
  opened m = open_model("int8", NULL, 1, 0, 0);
  CHECK_EQ(ask(m.s, question, "cat", NULL, &answer, scores), QUERN_E_TASK);
  CHECK(says(m.s, "no tokenizer"));
  close_model(&m);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(test_against_reference);
  RUN(test_default_stride);
  RUN(test_small_weights);
  RUN(test_same_everywhere);
  RUN(test_ties);
  RUN(test_no_answer_and_offsets);
  RUN(test_refused);
  RUN(test_without_a_tokenizer);
  tiny_dir_remove(dir);
  return TEST_END();
}
