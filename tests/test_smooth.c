/* test_smooth.c - smoothing: observed maxima are those of the float model's inputs, the same for the same seed; smoothing vectors
 * balance outliers, stay in bounds, and leave the product as it is. */
#include <math.h>
#include <stdlib.h>

#include "quant/smooth.h"
#include "test.h"
#include "tiny_model.h"

static char dir[256];
static qn_env env;

static void check_vectors(uint32_t alpha) {
  enum { N = 5, K = 40 };
  float w[N * K], was[N * K], maxima[K], smooth[K], x[K];
  for (int i = 0; i < N * K; i++) w[i] = was[i] = tiny_weight(1, "w", (uint64_t)i);
  for (int j = 0; j < K; j++) {
    maxima[j] = 1.0f + 0.1f * (float)(j % 7);
    x[j] = tiny_weight(2, "x", (uint64_t)j);
  }
  maxima[3] = 300.0f; /* an outlier channel */
  maxima[4] = 0.0f;   /* one that is never used */
  for (int i = 0; i < N; i++) w[i * K + 5] = was[i * K + 5] = 0.0f;
  qn_smooth(w, N, K, (qn_smoothing){alpha, 8 - alpha}, maxima, smooth);
  float least = INFINITY, most = 0;
  for (int j = 0; j < K; j++) least = fminf(least, smooth[j]), most = fmaxf(most, smooth[j]);
  CHECK(least > 0 && isfinite(most) && most / least <= 32.0f * 32.0f * 1.001f);
  CHECK(smooth[3] < 0.5f * smooth[2]); /* the outlier takes less of the grid */
  for (int j = 0; j < K; j++)
    if (j < 3 || j > 5) CHECK(smooth[3] < smooth[j]);
  for (int i = 0; i < N; i++) {
    double before = 0, after = 0;
    for (int j = 0; j < K; j++) {
      before += (double)was[i * K + j] * (double)x[j];
      after += (double)w[i * K + j] * ((double)x[j] * (double)smooth[j]);
    }
    CHECK(fabs(before - after) < 1e-5);
  }
}

static void test_vectors(void) {
  for (uint32_t alpha = 2; alpha <= 6; alpha++) check_vectors(alpha);
}

static void test_zero_weights(void) {
  float w[8] = {0}, smooth[4];
  const float maxima[4] = {0};
  qn_smooth(w, 2, 4, (qn_smoothing){6, 2}, maxima, smooth);
  for (int j = 0; j < 4; j++) CHECK(smooth[j] > 0 && isfinite(smooth[j]));
  for (int i = 0; i < 8; i++) CHECK(w[i] == 0);
}

static quern_status observe_model(qn_maxima *m, uint32_t seed) {
  const qn_quantize_job job = {.src = dir, .recipe = "int8", .seed = seed};
  return qn_maxima_observe(m, &env, &job);
}

static void test_maxima(void) {
  tiny_options o = tiny_defaults();
  qn_maxima a, b, c;
  CHECK(tiny_model_write(dir, &o));
  CHECK_EQ(observe_model(&a, 0), QUERN_OK);
  CHECK_EQ(observe_model(&b, 0), QUERN_OK);
  CHECK_EQ(observe_model(&c, 1), QUERN_OK);
  CHECK_EQ(a.bytes, 2 * (32 + 32 + 32 + 64) * sizeof(float));
  CHECK(a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes));
  CHECK(memcmp(a.data, c.data, a.bytes) != 0);
  /* The first input is a LayerNorm's output over 8 texts: no channel is silent, none beyond what 32 channels can hold. */
  for (uint32_t layer = 0; layer < 2; layer++) {
    const float *qkv = qn_maxima_of(&a, layer, QN_SITE_QKV_IN), *down = qn_maxima_of(&a, layer, QN_SITE_FFN_DOWN_IN);
    for (int j = 0; j < 32; j++) CHECK(qkv[j] > 0.1f && qkv[j] < 20.0f);
    int used = 0;
    for (int j = 0; j < 64; j++) used += down[j] > 0.0f;
    CHECK(used > 32);
  }
  qn_maxima_free(&env, &a);
  qn_maxima_free(&env, &b);
  qn_maxima_free(&env, &c);
}

/* A model without a tokenizer, and one with fewer positions than the texts would take. */
static void test_bare_models(void) {
  tiny_options o = tiny_defaults();
  qn_maxima m;
  o.tokenizer = 0;
  char sub[300];
  snprintf(sub, sizeof sub, "%s/vocab.txt", dir);
  unlink(sub);
  snprintf(sub, sizeof sub, "%s/tokenizer_config.json", dir);
  unlink(sub);
  o.positions = 9, o.max_seq = 9;
  CHECK(tiny_model_write(dir, &o));
  CHECK_EQ(observe_model(&m, 0), QUERN_OK);
  CHECK(qn_maxima_of(&m, 0, QN_SITE_QKV_IN)[0] > 0);
  qn_maxima_free(&env, &m);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(test_vectors);
  RUN(test_zero_weights);
  RUN(test_maxima);
  RUN(test_bare_models);
  tiny_dir_remove(dir);
  return TEST_END();
}
