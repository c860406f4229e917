/* test_cli_heads.c - the command on models with a head, made here: quantize from source, classify, eval classify, and
 * the metrics against values worked out by hand. */
#include "cli_run.h"
#include "quern.h"

static void make_source(const char *name, uint32_t labels) {
  char path[400];
  tiny_options o = tiny_defaults();
  o.labels = labels;
  o.seed = 7;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  CHECK(mkdir(path, 0700) == 0);
  CHECK(tiny_model_write(path, &o));
}

static void test_quantize(void) {
  make_source("classes", 3);
  make_source("two", 2);
  make_source("score", 1);
  CHECK_EQ(quern("quantize @/classes -o @/classes.qrn"), 0);
  CHECK(has("wrote "));
  CHECK_EQ(quern("quantize @/classes -o @/float.qrn --recipe float --json"), 0);
  CHECK(has("\"recipe\":\"float\"") && has("\"source_bytes\":") && has("\"worst_weight_error\":0"));
  CHECK_EQ(quern("quantize @/two -o @/two.qrn"), 0);
  CHECK_EQ(quern("quantize @/score -o @/score.qrn"), 0);
  CHECK_EQ(quern("quantize @/classes --dry-run"), 0);
  CHECK(has("would write"));
  CHECK_EQ(quern("verify @/classes.qrn"), 0);
  CHECK_EQ(quern("inspect @/classes.qrn --json"), 0);
  CHECK(has("\"labels\":3") && has("\"regression\":false") && has("\"label.1\":\"label-b\""));
  CHECK_EQ(quern("inspect @/score.qrn --json"), 0);
  CHECK(has("\"regression\":true"));
  CHECK_EQ(quern("quantize @/classes -o @/x.qrn --limit-bytes 1K"), 1);
  CHECK_EQ(quern("quantize @/classes -o @/no/such.qrn"), 1);
}

/* Printed recipes are those that their names stand for. */
static void test_printed_recipes(void) {
  const char *name;
  char command[400];
  int presets = 0;
  tiny_options o = tiny_defaults();
  o.width = 96, o.heads = 2, o.ffn = 192; /* which 6 groups divide */
  snprintf(command, sizeof command, "%s/wide", dir);
  CHECK(mkdir(command, 0700) == 0 && tiny_model_write(command, &o));
  CHECK_EQ(tiny_text(dir, "calibration", "the cat\nthe dog sat\non the mat\n"), 1);
  CHECK_EQ(quern("quantize --print-recipe mixed"), 0);
  CHECK(strncmp(out, "{\n  \"name\": \"mixed\",\n  \"weights\": {\"bits\": 8},\n", 43) == 0);
  CHECK(has("\n  \"sites\": {\n    \"layers.*.ffn.up.in\": {\"bits\": 16},\n") && has("}\n  }\n}\n"));
  for (; (name = quern_recipe_name((uint32_t)presets)) != NULL; presets++) {
    snprintf(command, sizeof command, "quantize --print-recipe %s --quiet >@/printed.json", name);
    CHECK_EQ(quern(command), 0);
    for (int printed = 0; printed < 2; printed++) {
      snprintf(command, sizeof command, "quantize @/wide -o @/%d.qrn --quiet --calibrate @/calibration --recipe %s",
               printed, printed ? "@/printed.json" : name);
      const int code = quern(command);
      if (code) printf("  %s: %s\n", name, out);
      CHECK_EQ(code, 0);
    }
    snprintf(command, sizeof command, "verify @/0.qrn && cmp @/0.qrn @/1.qrn");
    CHECK_EQ(quern(command), 0);
  }
  CHECK(presets >= 10);
  CHECK_EQ(quern("quantize @/wide --dry-run --recipe mixed --calibrate @/calibration --rows 4"), 0);
  CHECK(has("warning: ") && has("/calibration has 3 rows of text: all are taken, not 4\n"));
  CHECK_EQ(tiny_text(dir, "calibration.tsv", "the cat\tthe dog\n"), 1);
  CHECK_EQ(quern("quantize @/wide --dry-run --recipe mixed --calibrate @/calibration.tsv"), 0);
  CHECK(has("warning: ") && has("every line is taken as text\n"));
}

static void test_classify(void) {
  CHECK_EQ(tiny_text(dir, "texts", "the cat\nthe cat\tthe dog\n\nthe dog sat on the mat\r\n"), 1);
  CHECK_EQ(quern("classify @/classes.qrn @/texts"), 0);
  CHECK_EQ(count("{\"label\":\""), 4);
  CHECK_EQ(count(",\"logits\":["), 4);
  CHECK_EQ(count(",\"probabilities\":["), 4);
  CHECK_EQ(count("\n"), 4);
  CHECK_EQ(count("{\"label\":\"label-"), 4);
  CHECK_EQ(quern("classify @/two.qrn @/texts"), 0);
  CHECK_EQ(count("{\"label\":\"label-"), 4);
  CHECK_EQ(quern("classify @/score.qrn @/texts"), 0);
  CHECK_EQ(count("{\"score\":"), 4);
  CHECK_EQ(quern("embed @/classes.qrn @/texts"), 1);
  CHECK(has("classes.qrn gives no embeddings: it is a classifier, take quern classify\n"));
}

/* A line's result does not depend on the lines around it, nor on whether these are pairs. */
static void test_classify_mixed(void) {
  static char all[1 << 16];
  CHECK_EQ(quern("classify @/classes.qrn @/texts"), 0);
  memcpy(all, out, sizeof all);
  CHECK_EQ(quern("tokenize @/classes.qrn @/texts >/dev/null && for i in 1 2 3 4; do sed -n ${i}p @/texts | "
                 "${BUILD:-build}/quern classify @/classes.qrn; done"),
           0);
  CHECK(strcmp(all, out) == 0);
}

static void test_eval_classify(void) {
  CHECK_EQ(
      tiny_text(dir, "rows.tsv",
                "id\tlabel\tsentence\n1\tlabel-b\tthe cat\n2\t2\tthe dog sat\n3\tLabel-A\ton the mat\n4\t0\tthe mat\n"),
      1);
  CHECK_EQ(quern("eval @/classes.qrn --task classify --data @/rows.tsv --json --reference @/float.qrn"), 0);
  CHECK(has("{\"task\":\"classify\",") && has("\"rows\":4,") && has("\"metrics\":{\"accuracy\":"));
  CHECK(has("\"f1\":") && has("\"matthews\":") && has("\"nmse\":") && has("\"agreement\":"));
  CHECK_EQ(quern("eval @/classes.qrn --task classify --data @/rows.tsv --json --reference @/classes.qrn"), 0);
  CHECK(has("\"nmse\":0,\"agreement\":1}"));
  CHECK_EQ(tiny_text(dir, "pairs.tsv", "label\tpremise\thypothesis\n1\tthe cat\tthe dog\n0\tthe mat\tis\n"), 1);
  CHECK_EQ(quern("eval @/two.qrn --task classify --data @/pairs.tsv --limit 1"), 0);
  CHECK(has("rows          1\n"));
  CHECK_EQ(tiny_text(dir, "wrong.tsv", "label\tsentence\n1\tthe cat\n3\tthe dog\n"), 1);
  CHECK_EQ(quern("eval @/classes.qrn --task classify --data @/wrong.tsv"), 1);
  CHECK(has("line 3 ") && has("'3'"));
  CHECK_EQ(tiny_text(dir, "wrong.tsv", "label\ttext\n1\tthe cat\n"), 1);
  CHECK_EQ(quern("eval @/classes.qrn --task classify --data @/wrong.tsv"), 1);
  CHECK(has("lacks a text: sentence") && has("names: label, text"));
  CHECK_EQ(quern("eval @/classes.qrn --task sts --data @/wrong.tsv"), 1);
  CHECK_EQ(quern("eval @/classes.qrn --task classify --data @/rows.tsv --reference @/two.qrn"), 1);
}

/* The predictions are asked for first, so that right answers and their metrics are known. */
static void test_metrics(void) {
  static const char *const texts[] = {"the cat", "the dog sat on the mat", "is", "a b c d e f", "cat ! cat ?", "z 9"};
  char rows[2048], all_right[2048], one_wrong[2048];
  int predicted[6];
  FILE *f;
  snprintf(rows, sizeof rows, "%s/lines", dir);
  f = fopen(rows, "w");
  CHECK(f != NULL);
  for (int i = 0; f && i < 6; i++) fprintf(f, "%s\n", texts[i]);
  if (f) fclose(f);
  CHECK_EQ(quern("classify @/two.qrn @/lines"), 0);
  const char *p = out;
  for (int i = 0; i < 6; i++) {
    p = strstr(p, "\"index\":");
    CHECK(p != NULL);
    if (!p) return;
    predicted[i] = atoi(p += 8);
  }
  int n = snprintf(all_right, sizeof all_right, "label\tsentence\n"),
      m = snprintf(one_wrong, sizeof one_wrong, "label\tsentence\n");
  for (int i = 0; i < 6; i++) {
    n += snprintf(all_right + n, sizeof all_right - (size_t)n, "%d\t%s\n", predicted[i], texts[i]);
    m += snprintf(one_wrong + m, sizeof one_wrong - (size_t)m, "%d\t%s\n", i ? predicted[i] : !predicted[i], texts[i]);
  }
  CHECK_EQ(tiny_text(dir, "right.tsv", all_right), 1);
  CHECK_EQ(tiny_text(dir, "wrong.tsv", one_wrong), 1);
  CHECK_EQ(quern("eval @/two.qrn --task classify --data @/right.tsv --json"), 0);
  CHECK(has("\"accuracy\":1,"));
  CHECK_EQ(quern("eval @/two.qrn --task classify --data @/wrong.tsv --json"), 0);
  CHECK(has("\"accuracy\":0.833333333333333"));
}

static void test_eval_regression(void) {
  CHECK_EQ(tiny_text(dir, "scores.tsv", "score\tsentence1\tsentence2\n1.5\tthe cat\tthe dog\n-2\ta\tb\n0\tis\tof\n"),
           1);
  CHECK_EQ(quern("eval @/score.qrn --task classify --data @/scores.tsv --json --reference @/score.qrn"), 0);
  CHECK(has("\"pearson\":") && has("\"spearman\":") && has("\"nmse\":0}"));
  CHECK_EQ(quern("eval @/score.qrn --task classify --data @/rows.tsv"), 1);
  CHECK(has("lacks the column score"));
}

int main(void) {
  if (!cli_run_begin()) return 1;
  RUN(test_quantize);
  RUN(test_printed_recipes);
  RUN(test_classify);
  RUN(test_classify_mixed);
  RUN(test_eval_classify);
  RUN(test_metrics);
  RUN(test_eval_regression);
  tiny_dir_remove(dir);
  return TEST_END();
}
