/* test_cli_generate.c - the command on a decoder with a tokenizer, made here: generate, eval ppl and choice, bench. What is printed is held
 * against the library's own calls on the same file. */
#include <math.h>
#include "quern.h"
#include "tiny_bpe.h"
#include "tiny_decoder.h"

#include "cli_run.h" /* last: its `dir` would be shadowed */

#define POSITIONS 192u
#define PROMPT "the cat on the"

static quern_context *context;
static quern_model *model;
static quern_session *session;

static void test_models(void) {
  char path[400];
  tiny_decoder o = tiny_decoder_of("llama");
  o.positions = POSITIONS;
  snprintf(path, sizeof path, "%s/m", dir);
  CHECK(tiny_bpe_decoder(path, o));
  CHECK_EQ(quern("quantize @/m -o @/m.qrn"), 0);
  CHECK_EQ(quern("quantize @/m -o @/float.qrn --recipe float"), 0);
  CHECK_EQ(quern("inspect @/m.qrn"), 0);
  CHECK(has("chatml") && has("byte-bpe"));
  const tiny_options encoder = tiny_defaults();
  snprintf(path, sizeof path, "%s/encoder", dir);
  CHECK(mkdir(path, 0700) == 0 && tiny_model_write(path, &encoder));
  CHECK_EQ(quern("quantize @/encoder -o @/encoder.qrn"), 0);

  quern_session_options so;
  quern_session_options_init(&so, sizeof so);
  so.max_sequences = 2, so.cache_tokens = 2 * POSITIONS, so.logit_rows = 64;
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  CHECK_EQ(quern_context_create(&context, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&model, context, path, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&session, model, &so), QUERN_OK);
}

/* ---- what the library says --------------------------------------------------------------------------------------- */

typedef struct text {
  char bytes[4096];
  size_t n;
} text;

static int32_t on_token(void *user, int32_t id, const char *utf8, size_t n) {
  text *t = user;
  (void)id;
  if (n) memcpy(t->bytes + t->n, utf8, n);
  t->n += n;
  return 0;
}

/* What comes after ids; greedy where the temperature is 0. Without NULs, so that it can be compared with what is printed. */
static text expected(const int32_t *ids, size_t n, uint32_t tokens, quern_generated *result) {
  quern_generate_options o;
  text t = {.n = 0};
  quern_generate_options_init(&o, sizeof o);
  o.max_new = tokens;
  *result = (quern_generated){.size = sizeof *result};
  CHECK_EQ(quern_sequence_free(session, 0), QUERN_OK);
  CHECK_EQ(quern_decode_feed(session, 0, ids, (uint32_t)n), QUERN_OK);
  CHECK_EQ(quern_generate(session, 0, &o, on_token, &t, result), QUERN_OK);
  CHECK(t.n == strlen(t.bytes));
  return t;
}

static text expected_of(const char *prompt, uint32_t tokens, quern_generated *result) {
  int32_t ids[256];
  size_t n = 0;
  CHECK_EQ(quern_tokenize(model, prompt, strlen(prompt), 0, ids, 256, &n), QUERN_OK);
  return expected(ids, n, tokens, result);
}

/* Is the output this text and a line's end? */
static int printed(const text *t) {
  const size_t n = strlen(out);
  if (n == t->n + 1 && !memcmp(out, t->bytes, t->n) && out[t->n] == '\n') return 1;
  printf("  printed: %.300s\n  not: %.300s\n", out, t->bytes);
  return 0;
}

/* A text as a line of --lines, and as JSON has it. */
static text escaped(const text *t, int json) {
  text e = {.n = 0};
  for (size_t i = 0; i < t->n; i++) {
    const unsigned char b = (unsigned char)t->bytes[i];
    const char *short_form = b == '\n' ? "\\n" : b == '\r' ? "\\r" : b == '\\' ? "\\\\" : NULL;
    if (json && b == '"') short_form = "\\\"";
    if (json && b == '\t') short_form = "\\t";
    if (short_form)
      e.n += (size_t)sprintf(e.bytes + e.n, "%s", short_form);
    else if (json && b < ' ')
      e.n += (size_t)sprintf(e.bytes + e.n, "\\u%04x", b);
    else
      e.bytes[e.n++] = (char)b;
  }
  return e;
}

/* ---- generate ---------------------------------------------------------------------------------------------------- */

static void test_prompts(void) {
  quern_generated r;
  const text t = expected_of(PROMPT, 40, &r), one = expected_of(PROMPT "\n", 40, &r);
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 40"), 0);
  CHECK(printed(&t));
  CHECK_EQ(quern("generate @/m.qrn --prompt='" PROMPT "' --tokens 40 --threads 3 --isa ref"), 0);
  CHECK(printed(&t));
  CHECK_EQ(tiny_text(dir, "prompt", PROMPT), 1);
  CHECK_EQ(quern("generate @/m.qrn @/prompt -n 40"), 0);
  CHECK(printed(&t));
  CHECK_EQ(quern("generate @/m.qrn -n 40 <@/prompt"), 0);
  CHECK(printed(&t));
  CHECK_EQ(quern("generate @/m.qrn - -n 40 <@/prompt"), 0);
  CHECK(printed(&t));
  /* A file is the prompt whole, its last newline too. */
  CHECK_EQ(tiny_text(dir, "line", PROMPT "\n"), 1);
  CHECK_EQ(quern("generate @/m.qrn @/line -n 40"), 0);
  CHECK(printed(&one) && one.n && strcmp(one.bytes, t.bytes) != 0);
  CHECK_EQ(quern("generate --help"), 0);
  CHECK(has("--lookup N") && has("--stop TEXT") && has("Usage: quern generate MODEL [FILE]"));
}

static void test_json(void) {
  quern_generated r;
  char want[6000];
  const text t = expected_of(PROMPT, 40, &r), e = escaped(&t, 1);
  CHECK_EQ(r.tokens, 40);
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 40 --json"), 0);
  snprintf(want, sizeof want,
           "{\"text\":\"%s\",\"prompt_tokens\":5,\"tokens\":40,\"guessed\":0,\"reason\":\"length\"}\n", e.bytes);
  CHECK(has(want) && strlen(out) == strlen(want));
}

static void test_lines(void) {
  static const char *const prompts[] = {PROMPT, "on", "\xc3\xa9t\xc3\xa9 \\n", "cat\tat", PROMPT};
  text all = {.n = 0};
  char lines[400] = "";
  quern_generated r;
  int newlines = 0;
  for (int i = 0; i < 5; i++) {
    const text t = expected_of(prompts[i], 100, &r), e = escaped(&t, 0);
    memcpy(all.bytes + all.n, e.bytes, e.n);
    all.n += e.n;
    if (i < 4) all.bytes[all.n++] = '\n';
    sprintf(lines + strlen(lines), i % 2 ? "%s\r\n" : "%s\n", prompts[i]);
    newlines += strchr(t.bytes, '\n') != NULL || strchr(t.bytes, '\\') != NULL;
  }
  CHECK(newlines > 0);
  CHECK_EQ(tiny_text(dir, "lines", lines), 1);
  CHECK_EQ(quern("generate @/m.qrn --lines @/lines -n 100"), 0);
  CHECK(printed(&all) && count("\n") == 5);
  CHECK_EQ(quern("generate @/m.qrn --lines - -n 100 <@/lines"), 0);
  CHECK(printed(&all));
  for (int batch = 1; batch <= 5; batch += 2) {
    char args[300];
    snprintf(args, sizeof args, "generate @/m.qrn --lines @/lines -n 100 --batch %d --threads %d", batch,
             1 + batch % 2);
    CHECK_EQ(quern(args), 0);
    CHECK(printed(&all));
  }
  CHECK_EQ(quern("generate @/m.qrn --lines @/lines -n 100 --limit-bytes 1500K"), 0); /* less at a time */
  CHECK(printed(&all));
  static char sampled[sizeof out];
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(quern(i ? "generate @/m.qrn --lines @/lines -n 50 --temperature 1 --seed 5 --batch 4 --json"
                     : "generate @/m.qrn --lines @/lines -n 50 --temperature 1 --seed 5 --batch 1 --json"),
             0);
    if (!i) strcpy(sampled, out);
    CHECK(count("\n") == 5 && !strcmp(sampled, out));
  }
  CHECK_EQ(quern("generate @/m.qrn --lines @/lines -n 100 --json"), 0);
  CHECK(count("{\"text\":\"") == 5 && count("\n") == 5 && count("\"reason\":\"") == 5);
  CHECK_EQ(tiny_text(dir, "lines", "on\n\nat\n"), 1);
  CHECK_EQ(quern("generate @/m.qrn --lines @/lines -n 3"), 1);
  CHECK(has("line 2 is empty"));
  /* What comes before it is printed; longer lines get larger sessions. */
  const text on = expected_of("on", 3, &r);
  text first = escaped(&on, 0);
  first.bytes[first.n++] = '\n';
  CHECK(has(first.bytes));
  CHECK_EQ(tiny_text(dir, "lines",
                     "on\nthe cat on the cat on the cat on the cat on the cat on the cat on the cat on the cat on the "
                     "cat on the cat on "
                     "the cat on the cat on the cat on the cat on the cat on the cat on the cat on the cat\non\n"),
           1);
  CHECK_EQ(quern("generate @/m.qrn --lines @/lines -n 3"), 0);
  CHECK(!strncmp(out, first.bytes, first.n) && count("\n") == 3);
}

/* A byte of the text that is a letter or a digit, from `from` on, as the shell takes it in quotes. */
static size_t plain_byte(const text *t, size_t from) {
  while (from < t->n &&
         !((t->bytes[from] >= 'a' && t->bytes[from] <= 'z') || (t->bytes[from] >= 'A' && t->bytes[from] <= 'Z')))
    from++;
  return from;
}

static void test_stop(void) {
  quern_generated r;
  char args[300];
  text t = expected_of(PROMPT, 60, &r);
  const size_t at = plain_byte(&t, 8);
  CHECK(at < t.n);
  const char stop = t.bytes[at];
  t.n = (size_t)(strchr(t.bytes, stop) - t.bytes);
  CHECK(t.n > 0);
  t.bytes[t.n] = 0;
  snprintf(args, sizeof args, "generate @/m.qrn -p '" PROMPT "' -n 60 --stop %c --stop 'never said'", stop);
  CHECK_EQ(quern(args), 0);
  CHECK(printed(&t));
  strcat(args, " --json");
  CHECK_EQ(quern(args), 0);
  CHECK(has("\"reason\":\"text\""));
  CHECK_EQ(quern("generate @/m.qrn -p on --stop ''"), 2);
  CHECK(has("stop text 0 is empty"));
}

static void test_sampling(void) {
  static char first[sizeof out];
  char args[300];
  int ends = 0, lengths = 0, different = 0;
  for (int seed = 0; seed < 12; seed++) {
    snprintf(args, sizeof args, "generate @/m.qrn -p '" PROMPT "' -n 120 --temperature 1.5 --seed %d --json", seed);
    CHECK_EQ(quern(args), 0);
    ends += count("\"reason\":\"end\"");
    lengths += count("\"reason\":\"length\"");
    if (seed) different += strcmp(first, out) != 0;
    strcpy(first, out);
    strcat(args, " --threads 2 --isa ref");
    CHECK_EQ(quern(args), 0);
    CHECK(!strcmp(first, out));
  }
  printf("  %d ended, %d reached the length\n", ends, lengths);
  CHECK(ends > 0 && lengths > 0 && ends + lengths == 12 && different > 8);
  /* Of one candidate: the likeliest token. */
  quern_generated r;
  const text t = expected_of(PROMPT, 40, &r);
  static const char *const one[] = {"--top-k 1", "--min-p 1", "--top-p 0.000001"};
  for (int i = 0; i < 3; i++) {
    snprintf(args, sizeof args, "generate @/m.qrn -p '" PROMPT "' -n 40 --temperature 2 %s", one[i]);
    CHECK_EQ(quern(args), 0);
    CHECK(printed(&t));
  }
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 40 --repeat-penalty 5"), 0);
  CHECK(strncmp(out, t.bytes, t.n) != 0);
}

static void test_lookup(void) {
  quern_generated r;
  char want[64];
  const text t = expected_of(PROMPT, 120, &r);
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 120 --lookup 8 --quiet"), 0);
  CHECK(printed(&t));
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 120 --lookup 8"), 0);
  snprintf(want, sizeof want, " of %u tokens were guessed", (unsigned)r.tokens);
  CHECK(has(want) && !strstr(out, "\n0 of"));
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 120 --lookup 8 --temperature 0.5 --seed 3 --quiet"), 0);
  text sampled = {.n = strlen(out) - 1};
  memcpy(sampled.bytes, out, sampled.n);
  CHECK_EQ(quern("generate @/m.qrn -p '" PROMPT "' -n 120 --temperature 0.5 --seed 3"), 0);
  CHECK(printed(&sampled));
}

static void test_chat(void) {
  static const quern_chat_message said[2] = {{"system", "the cat", 7}, {"user", PROMPT " <|im_end|>", 25}};
  int32_t ids[256];
  for (int i = 0; i < 2; i++) {
    size_t n = 0;
    quern_generated r;
    CHECK_EQ(quern_chat_tokenize(model, "chatml", said + 1 - i, (uint32_t)(1 + i), QUERN_CHAT_PROMPT, ids, 256, &n), 0);
    const text t = expected(ids, n, 30, &r);
    CHECK_EQ(quern(i ? "generate @/m.qrn --chat --system 'the cat' -p '" PROMPT " <|im_end|>' -n 30"
                     : "generate @/m.qrn --chat -p '" PROMPT " <|im_end|>' -n 30"),
             0);
    CHECK(printed(&t));
  }
  CHECK_EQ(quern("generate @/m.qrn --system 'the cat' -p on"), 2);
  CHECK(has("--system goes with --chat"));
}

static void test_refused(void) {
  static const char *const wrong[][2] = {{"--temperature -1", "temperature"},
                                         {"--temperature warm", "temperature"},
                                         {"--top-p 1.5", "top-p"},
                                         {"--top-k 0", "top-k"},
                                         {"--min-p 2", "min-p"},
                                         {"--tokens 0", "tokens"},
                                         {"--lookup 65", "1 to 64"},
                                         {"--seed x", "seed"},
                                         {"--temprature 1", "--temperature"},
                                         {"--lines @/lines", "one of them"},
                                         {"@/prompt", "one of them"},
                                         {"--repeat-penalty 0", "repeat"}};
  char args[200], big[2000] = "";
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    snprintf(args, sizeof args, "generate @/m.qrn -p on %s", wrong[i][0]);
    CHECK_EQ(quern(args), 2);
    CHECK(has(wrong[i][1]));
  }
  CHECK_EQ(quern("generate"), 2);
  CHECK_EQ(quern("generate @/encoder.qrn -p on"), 1);
  CHECK(has("encoder.qrn predicts no next tokens: it is an embedder, take quern embed or search\n"));
  CHECK_EQ(quern("embed @/m.qrn @/prompt"), 1);
  CHECK(has("m.qrn gives no embeddings: it is a decoder, take quern generate\n"));
  CHECK_EQ(quern("generate @/m.qrn -p ''"), 1);
  CHECK(has("the prompt is empty") && out[0] != '\n');
  CHECK_EQ(quern("generate @/m.qrn </dev/null"), 1);
  CHECK(has("the prompt is empty"));
  for (uint32_t i = 0; i < POSITIONS; i++) strcat(big, " cat");
  CHECK_EQ(tiny_text(dir, "big", big), 1);
  CHECK_EQ(quern("generate @/m.qrn @/big"), 1);
  CHECK(has("the prompt has 192 tokens") && has("reads at most 192"));
  CHECK_EQ(quern("generate @/m.qrn --lines @/big"), 1);
  CHECK(has("line 1 has 192 tokens") && has("reads at most 192"));
  big[4 * (POSITIONS - 2)] = 0; /* room for two */
  CHECK_EQ(tiny_text(dir, "big", big), 1);
  CHECK_EQ(quern("generate @/m.qrn @/big --json"), 0);
  CHECK(has("\"prompt_tokens\":190,\"tokens\":2,\"guessed\":0,\"reason\":\"length\""));
  CHECK_EQ(quern("generate @/none.qrn -p on"), 1);
  const tiny_decoder mute = tiny_decoder_of("llama"); /* without a tokenizer */
  snprintf(args, sizeof args, "%.150s/mute", dir);
  CHECK(mkdir(args, 0700) == 0 && tiny_decoder_write(args, &mute));
  CHECK_EQ(quern("quantize @/mute -o @/mute.qrn"), 0);
  CHECK_EQ(quern("generate @/mute.qrn -p on"), 1);
  CHECK(has("no tokenizer"));
  CHECK_EQ(quern("generate @/mute.qrn --chat -p on"), 1);
  CHECK(has("no tokenizer"));
  CHECK_EQ(quern("generate @/m.qrn @/none"), 1);
  CHECK_EQ(quern("generate @/m.qrn -p on --limit-bytes 1K"), 1);
  CHECK(has("limit"));
}

/* Lines that were done stay; the one that was not leaves nothing. */
static void test_interrupted(void) {
  static char lines[60000];
  char command[1400];
  for (size_t n = 0; n + 4 < sizeof lines; n += 3) memcpy(lines + n, "on\n", 4);
  CHECK_EQ(tiny_text(dir, "many", lines), 1);
  snprintf(command, sizeof command,
           "timeout --foreground --preserve-status -s INT 0.5 %s/quern generate %s/m.qrn --lines %s/many -n 180 "
           ">%s/text 2>%s/notes",
           build, dir, dir, dir, dir);
  const int status = system(command);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 130);
  size_t n = 0;
  char path[300];
  snprintf(path, sizeof path, "%s/text", dir);
  uint8_t *text_of_it = tiny_read(path, &n);
  CHECK(text_of_it && (n == 0 || text_of_it[n - 1] == '\n'));
  free(text_of_it);
}

/* ---- eval -------------------------------------------------------------------------------------------------------- */

/* The logarithms of the probabilities of ids 1 ... n - 1, each after those before it, in double. */
static void reference_scores(const int32_t *ids, uint32_t n, double *out_log) {
  quern_tensor_view v;
  CHECK_EQ(quern_sequence_free(session, 0), QUERN_OK);
  for (uint32_t i = 0; i + 1 < n; i++) {
    double sum = 0;
    CHECK_EQ(quern_decode_feed(session, 0, ids + i, 1), QUERN_OK);
    CHECK_EQ(quern_decode_rows(session, 0, 1, &v, NULL), QUERN_OK);
    for (uint32_t k = 0; k < v.cols; k++) sum += exp((double)v.data[k]);
    out_log[i + 1] = (double)v.data[ids[i + 1]] - log(sum);
  }
}

static double metric(const char *key) {
  char quoted[64];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *p = strstr(out, quoted);
  return p ? atof(p + strlen(quoted)) : NAN;
}

#define WORDS "the cat on the mat, and that other cat at the door: \xc3\xa9t\xc3\xa9. "

static void test_perplexity(void) {
  static const char text_of_it[] = WORDS WORDS WORDS WORDS WORDS;
  static int32_t ids[sizeof text_of_it];
  size_t n = 0;
  double scores[64], sum = 0;
  CHECK_EQ(tiny_text(dir, "ppl", text_of_it), 1);
  CHECK_EQ(quern_tokenize(model, text_of_it, sizeof text_of_it - 1, 0, ids, sizeof text_of_it, &n), QUERN_OK);
  const uint32_t windows = (uint32_t)(n / 40);
  CHECK(windows >= 3);
  for (uint32_t w = 0; w < windows; w++) {
    reference_scores(ids + 40 * w, 40, scores);
    for (int i = 1; i < 40; i++) sum -= scores[i];
  }
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40 --json"), 0);
  const double want = exp(sum / (39.0 * windows)), got = metric("perplexity");
  printf("  perplexity %.9g, computed %.9g\n", got, want);
  CHECK(fabs(got / want - 1) < 1e-6 && metric("rows") == windows);
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40 --limit 1 --json"), 0);
  CHECK(has("\"rows\":1,"));
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data - --context 40 --json <@/ppl"), 0);
  CHECK(metric("perplexity") == got);
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40 --json --threads 2 --isa ref"), 0);
  CHECK(metric("perplexity") == got);
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40 --reference @/m.qrn --json"), 0);
  CHECK(metric("kl_mean") == 0 && metric("top1_agreement") == 1);
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40 --reference @/float.qrn --json"), 0);
  printf("  divergence of int8 from float %g, agreement %g\n", metric("kl_mean"), metric("top1_agreement"));
  CHECK(metric("kl_mean") > 0 && metric("kl_mean") < 0.05 && metric("top1_agreement") > 0.5);
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 40"), 0);
  CHECK(has("perplexity    "));
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/prompt"), 1);
  CHECK(has("has 5 tokens, less than one window of --context 192"));
  CHECK_EQ(quern("eval @/m.qrn --task ppl --data @/ppl --context 193"), 2);
  CHECK(has("reads at most 192 tokens"));
  CHECK_EQ(quern("eval @/encoder.qrn --task ppl --data @/ppl"), 1);
  CHECK(has("encoder.qrn predicts no next tokens: it is an embedder, take --task sts or retrieval\n"));
}

#define ROWS 12

/* The sum of log-probabilities of what comes after `before` in before + after. */
static double reference_choice(const char *before, const char *after) {
  char whole[200];
  int32_t a[100], b[100];
  size_t n = 0, m = 0, same = 0;
  double scores[100], sum = 0;
  snprintf(whole, sizeof whole, "%s%s", before, after);
  CHECK_EQ(quern_tokenize(model, before, strlen(before), 0, a, 100, &n), QUERN_OK);
  CHECK_EQ(quern_tokenize(model, whole, strlen(whole), 0, b, 100, &m), QUERN_OK);
  reference_scores(b, (uint32_t)m, scores);
  while (same < n && a[same] == b[same]) same++;
  for (size_t i = same; i < m; i++) sum += scores[i];
  return sum;
}

static void test_choice(void) {
  static const char *const stems[] = {"the", "on the cat", "that", "at"};
  static const char *const answers[] = {" cat", " the cat at", " mat", " o"};
  char tsv[2000] = "gold\tquestion\tc0\tc1\tc2\n";
  int right = 0, right_by_length = 0;
  for (int i = 0; i < ROWS; i++) {
    const int gold = i % 3, first = i % 4;
    int best = 0, best_by_length = 0;
    double scores[3], by_length[3];
    for (int k = 0; k < 3; k++) {
      const char *answer = answers[(first + k) % 4];
      scores[k] = reference_choice(stems[i / 3], answer);
      by_length[k] = scores[k] / (double)strlen(answer);
      if (scores[k] > scores[best]) best = k;
      if (by_length[k] > by_length[best_by_length]) best_by_length = k;
    }
    right += best == gold, right_by_length += best_by_length == gold;
    sprintf(tsv + strlen(tsv), "%d\t%s\t%s\t%s\t%s\n", gold, stems[i / 3], answers[first] + 1,
            answers[(first + 1) % 4] + 1, answers[(first + 2) % 4] + 1);
  }
  CHECK_EQ(tiny_text(dir, "choice.tsv", tsv), 1);
  CHECK_EQ(quern("eval @/m.qrn --task choice --data @/choice.tsv --json"), 0);
  printf("  %d and %d of %d\n", right, right_by_length, ROWS);
  CHECK(fabs(metric("accuracy") - right / (double)ROWS) < 1e-12);
  CHECK(fabs(metric("accuracy_norm") - right_by_length / (double)ROWS) < 1e-12 && metric("rows") == ROWS);
  /* A gap in a sentence, and a question about a passage: the likelier of two that are known. */
  const int cat = reference_choice("the cat", " on the cat.") > reference_choice("the mat", " on the cat.") ? 0 : 1;
  snprintf(tsv, sizeof tsv, "sentence\tc0\tc1\tgold\nthe _ on the cat.\tcat\tmat\t%d\n", cat);
  CHECK_EQ(tiny_text(dir, "gap.tsv", tsv), 1);
  CHECK_EQ(quern("eval @/m.qrn --task choice --data @/gap.tsv --json"), 0);
  CHECK(metric("accuracy") == 1);
  static const char passage[] = "the cat\nQuestion: on the mat?\nAnswer:";
  const int yes = reference_choice(passage, " yes") > reference_choice(passage, " no");
  snprintf(tsv, sizeof tsv, "passage\tquestion\tlabel\nthe cat\ton the mat\t%d\n", yes);
  CHECK_EQ(tiny_text(dir, "passage.tsv", tsv), 1);
  CHECK_EQ(quern("eval @/m.qrn --task choice --data @/passage.tsv --json"), 0);
  CHECK(metric("accuracy") == 1);
}

static void test_choice_refused(void) {
  static const char *const bad[][2] = {{"question\tc0\tc1\nthe\ta\tb\n", "the column gold"},
                                       {"gold\tc0\tc1\n0\ta\tb\n", "a column question, ctx, goal or sentence"},
                                       {"gold\tquestion\tc0\n0\tthe\ta\n", "the columns c0 and c1"},
                                       {"gold\tquestion\tc0\tc1\n-1\tthe\ta\tb\n", "the right choice is -1"},
                                       {"gold\tsentence\tc0\tc1\n0\tthe\ta\tb\n", "has no _ for the choices"},
                                       {"gold\tquestion\tc0\tc1\n", "has no rows"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK_EQ(tiny_text(dir, "bad.tsv", bad[i][0]), 1);
    CHECK_EQ(quern("eval @/m.qrn --task choice --data @/bad.tsv"), 1);
    CHECK(has(bad[i][1]));
  }
  CHECK_EQ(tiny_text(dir, "bad.tsv", "gold\tquestion\tc0\tc1\n0\tthe\t\t\n0\tthe\ta\tb\n2\tthe\ta\tb\n"), 1);
  CHECK_EQ(quern("eval @/m.qrn --task choice --data @/bad.tsv --json"), 0);
  CHECK(has("\"rows\":1") && has("rows without their right choice are left out: 2"));
  CHECK_EQ(quern("eval @/m.qrn --task choice --data @/choice.tsv --reference @/m.qrn"), 2);
  CHECK(has("takes no --reference"));
  CHECK_EQ(quern("eval @/encoder.qrn --task choice --data @/choice.tsv"), 1);
  CHECK(has("predicts no next tokens: it is an embedder, take --task sts or retrieval\n"));
}

/* ---- bench ------------------------------------------------------------------------------------------------------- */

static void test_bench(void) {
  static const char *const keys[] = {"model",
                                     "isa",
                                     "threads",
                                     "prompt",
                                     "decode",
                                     "depth",
                                     "repeat",
                                     "prefill_tokens_per_second",
                                     "decode_tokens_per_second",
                                     "load_ms",
                                     "peak_rss_bytes",
                                     "gops",
                                     "peak_gops",
                                     "fraction_of_peak",
                                     "bytes_per_token",
                                     "bandwidth_bytes_per_second",
                                     "fraction_of_bandwidth"};
  CHECK_EQ(quern("bench @/m.qrn --prompt 64 --decode 8 --depth 16 --repeat 2 --json --quiet"), 0);
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", keys[i]);
    CHECK(has(quoted));
  }
  CHECK(metric("prompt") == 64 && metric("decode") == 8 && metric("depth") == 16 && metric("repeat") == 2);
  CHECK(metric("prefill_tokens_per_second") > 0 && metric("decode_tokens_per_second") > 0);
  CHECK(metric("bytes_per_token") > 0 && metric("fraction_of_bandwidth") > 0);
  CHECK_EQ(quern("bench @/m.qrn --decode 8 --repeat 1 --json --quiet"), 0);
  CHECK(!strstr(out, "prefill") && !strstr(out, "gops") && metric("depth") == 0);
  CHECK_EQ(quern("bench @/m.qrn --prompt 64 --repeat 1 --quiet"), 0);
  CHECK(has("prefill ") && !strstr(out, "decode "));
  CHECK_EQ(quern("bench @/m.qrn --prompt 193"), 2);
  CHECK(has("reads at most 192"));
  CHECK_EQ(quern("bench @/m.qrn --prompt 64 --seq 16"), 2);
  CHECK_EQ(quern("bench @/encoder.qrn --prompt 16"), 1);
  CHECK(has("is no decoder"));
  CHECK_EQ(quern("bench @/m.qrn --batch 1 --seq 16"), 1);
}

int main(void) {
  if (!cli_run_begin()) return 1;
  RUN(test_models);
  if (session) {
    RUN(test_prompts);
    RUN(test_json);
    RUN(test_lines);
    RUN(test_stop);
    RUN(test_sampling);
    RUN(test_lookup);
    RUN(test_chat);
    RUN(test_refused);
    RUN(test_interrupted);
    RUN(test_perplexity);
    RUN(test_choice);
    RUN(test_choice_refused);
    RUN(test_bench);
  }
  quern_session_free(session);
  quern_model_free(model);
  quern_context_free(context);
  tiny_dir_remove(dir);
  return TEST_END();
}
