/* test_cli_answer.c - the command on models with a span head, made here: answer, eval squad, inspect, and the places that
 * tokenize tells. */
#include "cli_run.h"

#define CONTEXT "The cat sat on a mat. The dog is in the zoo, and the cat is on a dog of 27 cats in the mat!"

static void make_model(const char *name, const char *family, uint32_t positions) {
  char path[400], command[200];
  tiny_options o = tiny_defaults();
  o.model_type = family;
  o.span = 1, o.positions = positions, o.seed = 11;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  CHECK(mkdir(path, 0700) == 0);
  CHECK(tiny_model_write(path, &o));
  snprintf(command, sizeof command, "quantize @/%s -o @/%s.qrn", name, name);
  CHECK_EQ(quern(command), 0);
  snprintf(command, sizeof command, "quantize @/%s -o @/%s.float.qrn --recipe float", name, name);
  CHECK_EQ(quern(command), 0);
}

static void test_models(void) {
  make_model("m", "bert", 64);
  make_model("short", "distilbert", 24);
  CHECK_EQ(quern("verify @/m.qrn"), 0);
  CHECK_EQ(quern("inspect @/m.qrn --json"), 0);
  CHECK(has("\"labels\":0") && has("\"head\":\"span\"") && has("\"embedding_width\":0"));
  CHECK_EQ(quern("inspect @/m.qrn --tensors --sites"), 0);
  CHECK(has("head             span") && has("head.out.weight") && has("2 x 32") && has("head.out.in"));
}

/* The value of a member of the n-th JSON object of the output, up to a comma or brace. */
static const char *member(int n, const char *key) {
  static char value[200];
  const char *p = out;
  for (int i = 0; i < n && p; i++) p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL;
  p = p ? strstr(p, key) : NULL;
  snprintf(value, sizeof value, "%.*s", p ? (int)strcspn(p + strlen(key), ",}") : 0, p ? p + strlen(key) : "");
  return value;
}

static void test_answer(void) {
  static char whole[sizeof out];
  char expected[300];
  CHECK_EQ(tiny_text(dir, "pairs", "Where?\t" CONTEXT "\r\nWho?\tthe caf\xc3\xa9\n?\t\n"), 1);
  CHECK_EQ(tiny_text(dir, "context", CONTEXT), 1);
  CHECK_EQ(quern("answer @/m.qrn @/pairs"), 0);
  CHECK(count("{\"answer\":\"") == 3 && count(",\"null_score\":") == 3);
  const int begin = atoi(member(0, "\"begin\":")), end = atoi(member(0, "\"end\":"));
  CHECK(begin < end && end <= (int)sizeof CONTEXT - 1);
  snprintf(expected, sizeof expected, "{\"answer\":\"%.*s\",\"begin\":%d,", end - begin, &CONTEXT[begin], begin);
  CHECK(has(expected));
  CHECK(has("{\"answer\":\"\",\"begin\":0,\"end\":0,\"score\":null,\"null_score\":"));
  strcpy(whole, out);
  /* The same from a whole file, whatever the threads and the kernels. */
  CHECK_EQ(quern("answer @/m.qrn @/context -q Where? --threads 3 --isa ref"), 0);
  CHECK(count("\n") == 1 && !strncmp(whole, out, strlen(out)));
  CHECK_EQ(quern("answer @/m.qrn -q Where? <@/context"), 0);
  CHECK(!strncmp(whole, out, strlen(out)));
  /* Windows: the defaults, said aloud, change nothing. */
  CHECK_EQ(quern("answer @/m.qrn @/pairs --max-tokens 32 --stride 32"), 2);
  CHECK(has("cannot share 32"));
  CHECK_EQ(quern("answer @/m.qrn @/pairs --max-tokens 64 --answer-tokens 30"), 0);
  CHECK(!strcmp(whole, out));
  CHECK_EQ(quern("answer @/m.qrn @/pairs --max-tokens 12 --stride 1 --answer-tokens 1"), 0);
  CHECK(strcmp(whole, out) != 0 && !strstr(member(0, "\"answer\":\""), " "));
  CHECK_EQ(quern("answer @/m.qrn @/pairs --max-tokens 4"), 1);
  CHECK(has("question 0, \"Where?\", has 5 tokens") && has("leaves no room"));
}

/* --null: an answer only where its score is not below that of none. */
static void test_null(void) {
  static const char *const questions[] = {"the?", "a", "cat", "is the dog", "to", "zoo", "9", "of a mat", "b", "c d"};
  char text[4096] = "";
  float scores[10][2];
  int none = 0;
  for (int i = 0; i < 10; i++) sprintf(text + strlen(text), "%s\t%s\n", questions[i], i % 2 ? "in" : "mat");
  CHECK_EQ(tiny_text(dir, "many", text), 1);
  CHECK_EQ(quern("answer @/m.qrn @/many"), 0);
  CHECK_EQ(count("\"answer\":\"\""), 0);
  for (int i = 0; i < 10; i++) {
    scores[i][0] = (float)atof(member(i, "\"score\":"));
    scores[i][1] = (float)atof(member(i, "\"null_score\":"));
    none += scores[i][1] > scores[i][0];
  }
  printf("  %d of 10 without an answer\n", none);
  CHECK(none > 0 && none < 10);
  CHECK_EQ(quern("answer @/m.qrn @/many --null"), 0);
  for (int i = 0; i < 10; i++) CHECK_EQ(strcmp(member(i, "\"answer\":"), "\"\"") == 0, scores[i][1] > scores[i][0]);
  /* Right answers that are none: exact where none is given. */
  FILE *f = NULL;
  char path[300];
  snprintf(path, sizeof path, "%s/none.tsv", dir);
  f = fopen(path, "w");
  CHECK(f != NULL);
  if (!f) return;
  fprintf(f, "question\tcontext\tanswers\n");
  for (int i = 0; i < 10; i++)
    fprintf(f, "%s\t%s\t%s\n", questions[i], i % 2 ? "in" : "mat",
            scores[i][1] > scores[i][0] ? ""
            : i % 2                     ? "In."
                                        : "x|||the mat");
  fclose(f);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/none.tsv --null --json"), 0);
  CHECK(has("\"rows\":10,\"metrics\":{\"exact_match\":1,\"f1\":1}"));
  snprintf(path, sizeof path, "\"exact_match\":%.1g,\"f1\":%.1g}", (10 - none) / 10.0, (10 - none) / 10.0);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/none.tsv --json"), 0);
  CHECK(has(path));
}

static void test_squad(void) {
  CHECK_EQ(tiny_text(dir, "squad.tsv",
                     "id\tquestion\tcontext\tanswer\n"
                     "1\twho?\tcat\tThe CAT!\n2\twho?\tcat\tdog ||| a cat\n3\twho?\tcat\tcat dog\n4\twho?\tcat\tdog\n"),
           1);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/squad.tsv --json"), 0);
  CHECK(has("{\"task\":\"squad\",\"model\":\"") &&
        has("\"rows\":4,\"metrics\":{\"exact_match\":0.5,\"f1\":0.6666666666666666"));
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/squad.tsv --limit 2"), 0);
  CHECK(has("exact_match   1.0000") && has("f1            1.0000"));
  CHECK_EQ(tiny_text(dir, "long.tsv",
                     "question\tcontext\tanswers\nwhere is the cat?\t" CONTEXT " " CONTEXT "\tmat\nwho?\t" CONTEXT
                     "\tcat ||| the dog\n?\t\t\n"),
           1);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/long.tsv --reference @/m.qrn --json"), 0);
  CHECK(has("\"nmse\":0,\"agreement\":1}"));
  CHECK_EQ(
      quern("eval @/m.qrn --task squad --data @/long.tsv --reference @/m.float.qrn --json --max-tokens 32 --stride 4"),
      0);
  const double nmse = atof(member(0, "\"nmse\":"));
  CHECK(nmse > 0 && nmse < 0.01);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/long.tsv --reference @/m.float.qrn"), 0);
  CHECK(has("nmse          0.00") && has("agreement "));
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/long.tsv --reference @/short.qrn"), 1);
  CHECK(has("different windows"));
}

static void test_refused(void) {
  char path[400];
  tiny_options o = tiny_defaults();
  o.labels = 2;
  snprintf(path, sizeof path, "%s/classes", dir);
  CHECK(mkdir(path, 0700) == 0 && tiny_model_write(path, &o));
  CHECK_EQ(quern("quantize @/classes -o @/classes.qrn"), 0);
  CHECK_EQ(quern("answer @/classes.qrn @/pairs"), 1);
  CHECK(has("no span head"));
  CHECK_EQ(quern("eval @/classes.qrn --task squad --data @/squad.tsv"), 1);
  CHECK(has("classes.qrn has no span head"));
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/squad.tsv --reference @/classes.qrn"), 1);
  CHECK(has("classes.qrn has no span head"));
  CHECK_EQ(quern("classify @/m.qrn @/pairs"), 1);
  CHECK(has("no classification head: it is an encoder that finds answers, take quern answer"));
  CHECK_EQ(quern("embed @/m.qrn @/pairs"), 1);
  CHECK_EQ(quern("eval @/m.qrn --task sts --data @/squad.tsv"), 1);
  CHECK(has("m.qrn gives no embeddings: it is an encoder that finds answers, take --task squad"));
  CHECK_EQ(tiny_text(dir, "bad", "Where?\tthe mat\nno tab here\n"), 1);
  CHECK_EQ(quern("answer @/m.qrn @/bad"), 1);
  CHECK(has("line 2 of ") && has("has no tab"));
  CHECK_EQ(tiny_text(dir, "bad.tsv", "question\ttext\nWhere?\tthe mat\n"), 1);
  CHECK_EQ(quern("eval @/m.qrn --task squad --data @/bad.tsv"), 1);
  CHECK(has("lacks question, context, or answers") && has("names: question, text"));
  CHECK_EQ(quern("answer @/m.qrn @/pairs --answer-tokens 0"), 2);
  CHECK_EQ(quern("answer"), 2);
  CHECK_EQ(quern("answer --help"), 0);
  CHECK(has("--question TEXT") && has("--stride N") && has("--null"));
}

static void test_spans(void) {
  CHECK_EQ(tiny_text(dir, "text", "The  caf\xc3\xa9!\n\n"), 1);
  CHECK_EQ(quern("tokenize @/m.qrn @/text --spans"), 0);
  CHECK(!strncmp(out, "2:0:0 81:0:3 7:5:6 41:6:7 46:7:8 45:8:10 79:10:11 3:0:0\n2:0:0 3:0:0\n", strlen(out)));
  CHECK_EQ(quern("tokenize @/m.qrn @/text --spans --json --no-special"), 0);
  CHECK(has("[[81,0,3],[7,5,6],") && has("[79,10,11]]\n[]\n"));
  CHECK_EQ(quern("tokenize @/m.qrn @/text --spans --detokenize"), 2);
}

int main(void) {
  if (!cli_run_begin()) return 1;
  RUN(test_models);
  RUN(test_answer);
  RUN(test_null);
  RUN(test_squad);
  RUN(test_refused);
  RUN(test_spans);
  tiny_dir_remove(dir);
  return TEST_END();
}
