/* test_fine.c - the fine stage of clipping: slopes of a layer's error by scales and zero points are those of finite differences where
 * nothing is rounded; what is learned is never worse than where it began. */
#include <math.h>

#include "quant/fine.h"
#include "quant/reconstruct.h"
#include "tiny_session.h"

static qn_env env;

#define ROWS 24u
static const uint32_t lens[3] = {9, 4, 11};

typedef struct inputs {
  float x[ROWS * 32], want[ROWS * 32], weight[32];
} inputs;

static double error_at(qn_reconstruct *r, const inputs *in) {
  qn_reconstruct_run(r, in->x, lens, 3);
  return qn_reconstruct_error(r, in->want, in->weight, lens, 3);
}

/* Ranges that cut some values off, so that there are slopes; not at the same value where it would meet itself. */
static void set_sites(qn_reconstruct *r) {
  static const float range[QN_LEARNS] = {2.2f, 0.7f, 0.7f, 0.9f, 0.43f, 2.2f, 0.6f};
  for (uint32_t i = 0; i < QN_LEARNS; i++) {
    r->site[i] = (qn_learn){
        .scale = range[i] / 63, .zero = i == QN_LEARN_DOWN ? -20 : -3, .lowest = -32, .highest = 31, .on = 1};
  }
}

static quern_status check_slopes(void *user, quern_model *m) {
  const int first_alone = *(int *)user;
  static inputs in;
  quern_session *s = NULL;
  qn_reconstruct r;
  quern_session_options o = {.max_sequences = 4};
  CHECK_EQ(qn_session_resolve(&o, m, &env.error), QUERN_OK);
  CHECK_EQ(qn_session_create(&s, m, &o), QUERN_OK);
  CHECK_EQ(qn_reconstruct_create(&r, &env, s, ROWS, 2 * (81 + 16 + 121)), QUERN_OK);
  for (size_t i = 0; i < ROWS * 32; i++) {
    in.x[i] = 20 * tiny_weight(3, "x", i);
    in.want[i] = 20 * tiny_weight(4, "want", i);
  }
  for (size_t i = 0; i < 32; i++) in.weight[i] = 0.5f + 0.1f * (float)(i % 5);
  for (uint32_t layer = 0; layer < 2; layer++) {
    qn_reconstruct_layer(&r, layer);
    r.rounds = 0;
    r.first_alone = first_alone;
    set_sites(&r);
    error_at(&r, &in);
    qn_reconstruct_slopes(&r, in.x, in.want, in.weight, lens, 3);
    double most_scale = 0, most_zero = 0;
    for (uint32_t i = 0; i < QN_LEARNS; i++) {
      most_scale = fmax(most_scale, fabs(r.site[i].slope_scale));
      most_zero = fmax(most_zero, fabs(r.site[i].slope_zero));
    }
    for (uint32_t i = 0; i < QN_LEARNS; i++) {
      qn_learn *q = &r.site[i];
      const qn_learn was = *q;
      const float off = 3e-4f * was.scale;
      q->scale = was.scale + off;
      double above = error_at(&r, &in);
      q->scale = was.scale - off;
      const double by_scale = (above - error_at(&r, &in)) / (2 * (double)off);
      *q = was;
      q->zero = was.zero + 0.02f;
      above = error_at(&r, &in);
      q->zero = was.zero - 0.02f;
      const double by_zero = (above - error_at(&r, &in)) / 0.04;
      *q = was;
      /* Some values come to be cut off within a step, or cease to be. */
      CHECK(fabs(by_scale - was.slope_scale) < 0.1 * fabs(by_scale) + 0.06 * most_scale);
      CHECK(fabs(by_zero - was.slope_zero) < 0.1 * fabs(by_zero) + 0.06 * most_zero);
      CHECK(fabs(was.slope_scale) > 0);
    }
  }
  qn_reconstruct_free(&r);
  qn_session_free(s);
  return QUERN_OK;
}

static void test_slopes(void) {
  for (int f = 0; f < 4; f++) {
    tiny_options o = tiny_defaults();
    int first_alone = f / 2;
    o.model_type = f % 2 ? "mpnet" : "bert";
    o.labels = 2;
    CHECK(tiny_model_write(dir, &o));
    const qn_quantize_job job = {.src = dir};
    CHECK_EQ(qn_with_float_model(&env, &job, check_slopes, &first_alone), QUERN_OK);
  }
}

/* Of a file made with --report: the error of its outputs on the texts. */
static double error_of(const char *clip, uint32_t bits) {
  char json[512], recipe[300], texts[300], path[300], report[300];
  snprintf(json, sizeof json,
           "{\"name\":\"x\",\"weights\":{\"bits\":%u},\"activations\":{\"bits\":%u,\"static\":true},\"embeddings\":"
           "{\"bits\":8},\"placement\":\"inputs\",\"unfold\":4,\"migrate\":\"balanced\",\"clip\":\"%s\"}",
           bits, bits, clip);
  CHECK(tiny_text(dir, "recipe.json", json));
  snprintf(recipe, sizeof recipe, "%s/recipe.json", dir);
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  snprintf(report, sizeof report, "%s/report", dir);
  path_of(path, sizeof path, "x");
  const qn_quantize_job job = {.src = dir, .dst = path, .recipe = recipe, .calibration = texts, .report = report};
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
  size_t n = 0;
  snprintf(path, sizeof path, "%s/report/report.json", dir);
  uint8_t *text = tiny_read(path, &n);
  const char *at = text ? strstr((const char *)text, "\"search_error\": ") : NULL;
  const double error = at ? strtod(at + strlen("\"search_error\": "), NULL) : NAN;
  free(text);
  return error;
}

static void test_not_worse(void) {
  for (uint32_t i = 0; i < 3; i++) {
    tiny_options o = tiny_defaults();
    o.labels = i % 2 ? 2 : 0;
    o.seed = 5 + i;
    CHECK(tiny_model_write(dir, &o) && write_texts(40));
    const double none = error_of("minmax", 4 + 2 * i), coarse = error_of("tokenwise", 4 + 2 * i),
                 fine = error_of("fine", 4 + 2 * i);
    printf("  %u bits: %.5f, clipped %.5f, learned %.5f\n", 4 + 2 * i, none, coarse, fine);
    CHECK(coarse <= none && fine <= coarse && fine > 0);
  }
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(test_slopes);
  RUN(test_not_worse);
  tiny_dir_remove(dir);
  return TEST_END();
}
