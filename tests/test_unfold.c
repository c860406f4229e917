/* test_unfold.c - unfolding neurons: the highest value that copies are enough for, copies whose saturated sum is the neuron, a model
 * that gives the same with them, and what recipes may not say. */
#include <math.h>

#include "quant/unfold.h"
#include "tiny_session.h"

static void test_choice(void) {
  enum { FFN = 6, COPIES = 5 };
  const qn_extremes neuron[FFN] = {{-0.17f, 1}, {-0.17f, 40}, {0, 3}, {0, 9.5f}, {0, 0}, {-0.1f, 2.5f}};
  qn_fold fold[COPIES];
  const float end = qn_unfold_choose(neuron, FFN, COPIES, fold);
  CHECK(fabsf(end - 8) < 1e-4f); /* 40 takes four copies, 9.5 one; a lower end would take more than five */
  for (uint32_t i = 0; i < 4; i++) CHECK(fold[i].source == 1 && fold[i].times == i + 1);
  CHECK(fold[4].source == 3 && fold[4].times == 1);
  CHECK(qn_unfold_choose(neuron + 4, 2, COPIES, fold) == QN_UNFOLD_LEAST);
  CHECK(fold[0].source == 1 && fold[0].times == 1 && fold[1].times == 0 && fold[4].times == 0);
  CHECK(qn_unfold_choose(neuron, FFN, 0, fold) == 40);
  CHECK(qn_unfold_fits(QN_ACT_GELU) && qn_unfold_fits(QN_ACT_RELU) && !qn_unfold_fits(QN_ACT_TANH));
}

/* max(0, x) of a neuron, each part held at the end as codes are: the whole again. */
static void test_sum(void) {
  enum { COPIES = 4 };
  const float end = 2.5f;
  qn_fold fold[COPIES] = {{1, 1}, {1, 2}, {0, 1}, {0, 0}};
  float bias[2 + COPIES] = {0.5f, -1}, rows[2 * 1 + COPIES] = {2, 3}, w[2 * (2 + COPIES)] = {1, -2, 4, 8};
  qn_unfold_bias(bias, 2, COPIES, fold, end);
  qn_unfold_rows(rows, 2, 1, COPIES, fold);
  qn_unfold_columns(w, 2, 2, COPIES, fold);
  CHECK(w[5] == 0 && w[11] == 0 && w[6] == 4 && w[7] == 8);
  for (float x = -2; x <= 2.25f; x += 0.25f) {
    float want[2], got[2] = {0};
    for (int o = 0; o < 2; o++) want[o] = w[6 * o] * fmaxf(0, 2 * x + 0.5f) + w[6 * o + 1] * fmaxf(0, 3 * x - 1);
    for (int i = 0; i < 2 + COPIES; i++)
      for (int o = 0; o < 2; o++) got[o] += w[6 * o + i] * fminf(end, fmaxf(0, rows[i] * x + bias[i]));
    CHECK(fabsf(want[0] - got[0]) < 1e-5f && fabsf(want[1] - got[1]) < 1e-5f);
  }
}

#define EIGHT "\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{\"bits\":8}"
#define CODES EIGHT ",\"sites\":{\"*.in\":{\"bits\":16}}"

static quern_status try_recipe(const char *name, const char *rest, char *message, size_t cap) {
  char json[1024], recipe[300], texts[300], path[300];
  const making k = {.threads = 1, .recipe = recipe, .texts = texts};
  snprintf(json, sizeof json, "{\"name\":\"%s\",%s}", name, rest);
  CHECK(tiny_text(dir, "recipe.json", json));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  path_of(path, sizeof path, name);
  return make_file(&k, path, message, cap);
}

/* Of a model whose activation is max(0, x), with inputs of 16 bits: the embedding is the same but for rounding. */
static void test_model(void) {
  static const char text[] = "the cat sat on the mat a1 b2";
  tiny_options o = tiny_defaults();
  float got[2][64] = {{0}};
  static const char *const name[2] = {"whole", "unfolded"};
  o.activation = "relu";
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  CHECK_EQ(try_recipe(name[0], CODES, NULL, 0), QUERN_OK);
  CHECK_EQ(try_recipe(name[1], CODES ",\"unfold\":24", NULL, 0), QUERN_OK);
  for (int i = 0; i < 2; i++) {
    opened m = open_model(name[i], NULL, 1, 64, 1);
    CHECK_EQ(quern_embed(m.s, text, sizeof text - 1, got[i], 64, NULL), QUERN_OK);
    close_model(&m);
  }
  for (int i = 0; i < 32; i++) CHECK(fabsf(got[0][i] - got[1][i]) < 0.02f);
}

static void test_refused(void) {
  static const char *const bad[][2] = {
      {EIGHT ",\"unfold\":-1", "unfold must be 0 to 256"},
      {EIGHT ",\"unfold\":257", "unfold must be 0 to 256"},
      {EIGHT ",\"unfold\":8,\"split\":8", "unfold and split cannot be combined"},
      {"\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},\"split\":0,\"unfold\":8",
       "unfold belongs to"},
      {EIGHT ",\"unfold\":8,\"sites\":{\"*.down.in\":{\"groups\":2,\"widths\":\"uneven\"}}",
       "cannot be combined with \"split\" or \"unfold\""},
      {"\"weights\":{\"bits\":32},\"activations\":{\"bits\":32},\"embeddings\":{\"bits\":32},\"migrate\":\"balanced\"",
       "a float recipe may say"}};
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o) && write_texts(4));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char message[512] = "";
    const quern_status status = try_recipe("bad", bad[i][0], message, sizeof message);
    CHECK(status == (i < 2 ? QUERN_E_SOURCE : QUERN_E_UNSUPPORTED));
    if (!strstr(message, bad[i][1])) printf("  %s\n", message);
    CHECK(strstr(message, bad[i][1]) != NULL);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(test_choice);
  RUN(test_sum);
  RUN(test_model);
  RUN(test_refused);
  tiny_dir_remove(dir);
  return TEST_END();
}
