/* test_fold.c - what is folded into a model's own tensors changes nothing but rounding, in every placement of norms, with shared and own
 * heads of values, behind gates and without; and the file has no vector to multiply by where one folds. */
#include <math.h>
#include <stdlib.h>

#include "format/qrn.h"
#include "quant/fold.h"
#include "quant/quant.h"
#include "tiny_decoder.h"
#include "tiny_session.h"

static qn_env env;

static quern_status make_one(const qn_recipe *made, const char *name) {
  char path[300];
  const qn_quantize_job job = {.src = dir, .dst = path, .recipe = made ? NULL : "float", .made = made, .seed = 3};
  path_of(path, sizeof path, name);
  return qn_quantize(&env, &job, NULL);
}

/* Smoothing as a transform has it, in floats. */
static qn_recipe smoothed(void) {
  return (qn_recipe){.name = "folded",
                     .id = QN_RECIPE_FLOAT,
                     .weight_bits = 32,
                     .activation_bits = 32,
                     .embedding_bits = 32,
                     .smooth = 1,
                     .transforms = 1,
                     .alpha = 5};
}

/* Hidden states of tokens, or a decoder's scores of the last; returns how many. */
static uint32_t outputs_of(const char *name, int causal, float *out, uint32_t room) {
  static const int32_t ids[] = {3, 50, 7, 20, 41, 9};
  static const uint32_t lens[] = {6};
  uint32_t n = 0;
  opened m = open_model(name, NULL, 1, 16, 1);
  if (!m.s) return 0;
  if (causal) {
    const float *logits = NULL;
    CHECK_EQ(quern_decode_feed(m.s, 0, ids, 6), QUERN_OK);
    CHECK_EQ(quern_decode_logits(m.s, 0, &logits, &n), QUERN_OK);
    if (n <= room) memcpy(out, logits, n * sizeof *out);
  } else {
    quern_tensor_view v = {0};
    CHECK_EQ(quern_encode(m.s, ids, NULL, lens, 1, &v), QUERN_OK);
    n = (uint32_t)(v.rows * v.cols);
    if (n && n <= room) memcpy(out, v.data, n * sizeof *out);
  }
  CHECK(n <= room);
  close_model(&m);
  return n;
}

/* merge: QN_ROTATE2_HADAMARD, signs and a Hadamard matrix within heads; QN_ROTATE2_DENSE, a rotation; else none. */
static void check_same(const char *family, int causal, uint32_t merge) {
  static float want[4096], got[4096];
  double error = 0, power = 0;
  qn_recipe r = smoothed();
  r.merge = merge != QN_ROTATE2_NONE;
  r.rotate2 = merge;
  r.block = 16, r.steps = 4;
  CHECK_EQ(make_one(NULL, "float"), QUERN_OK);
  CHECK_EQ(make_one(&r, "folded"), QUERN_OK);
  const uint32_t n = outputs_of("float", causal, want, 4096);
  CHECK_EQ(outputs_of("folded", causal, got, 4096), n);
  for (uint32_t i = 0; i < n; i++) {
    error += ((double)want[i] - (double)got[i]) * ((double)want[i] - (double)got[i]);
    power += (double)want[i] * (double)want[i];
  }
  printf("  %s, %u: %.2g\n", family, merge, sqrt(error / power));
  CHECK(n && error > 0 && sqrt(error / power) < 2e-6);
}

static void test_exact(void) {
  static const char *const families[] = {"llama", "gemma3", "phi2", "nomic"};
  for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
    tiny_decoder o = tiny_decoder_of(families[i]);
    o.head_dim = 16;
    if (i >= 2) o.heads = o.kv_heads = 2;
    CHECK(tiny_decoder_write(dir, &o));
    for (uint32_t merge = QN_ROTATE2_NONE; merge <= QN_ROTATE2_HADAMARD; merge++) check_same(families[i], i < 3, merge);
  }
  tiny_options o = tiny_defaults();
  o.heads = 2;
  CHECK(tiny_model_write(dir, &o));
  for (uint32_t merge = QN_ROTATE2_NONE; merge <= QN_ROTATE2_HADAMARD; merge++) check_same("bert", 0, merge);
}

/* By the recipe's file: vectors are there where they do not fold. */
static void test_file(void) {
  static const struct {
    const char *family;
    uint32_t vectors; /* of a layer */
  } made[] = {{"llama", 0}, {"gemma3", 0}, {"phi2", 1}, {"nomic", 2}};
  for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
    static const char *const inputs[] = {"attn.qkv", "attn.out", "ffn.up", "ffn.down"};
    const tiny_decoder o = tiny_decoder_of(made[i].family);
    char path[300];
    qrn_reader f;
    size_t bytes = 0;
    uint32_t found = 0;
    CHECK(tiny_decoder_write(dir, &o));
    path_of(path, sizeof path, "duquant6");
    const qn_quantize_job job = {.src = dir, .dst = path, .recipe = "duquant6"};
    CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
    uint8_t *data = tiny_read(path, &bytes);
    CHECK(data);
    CHECK_EQ(qrn_open(&f, &env, data, bytes), QUERN_OK);
    for (size_t j = 0; j < 4; j++) {
      char name[64];
      snprintf(name, sizeof name, "layers.1.%s.smooth", inputs[j]);
      found += qrn_find_tensor(&f, name) != NULL;
    }
    CHECK_EQ(found, made[i].vectors);
    free(data);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(test_file); /* first: encoders like BERT leave their pooling in the folder */
  RUN(test_exact);
  tiny_dir_remove(dir);
  return TEST_END();
}
