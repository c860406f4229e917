/* test_relative.c - relative attention biases: buckets against the definition in floats, rows by distance, and what a
 * model file holds of them. */
#include <math.h>

#include "model/model.h"
#include "quant/quant.h"
#include "quant/relative.h"
#include "run/context.h"
#include "test.h"
#include "tiny_model.h"

/* T5's rule as it is published: in floats, with 16 buckets for a direction and 128 the farthest distance. The smallest
   amount on top keeps exact powers (16, 32, 64) on their side of the floor. */
static uint32_t bucket_by_definition(int distance) {
  const int d = abs(distance);
  int bucket = d;
  if (d >= 8) bucket = 8 + (int)floor(log((double)d / 8) / log(128.0 / 8) * 8 + 1e-12);
  if (bucket > 15) bucket = 15;
  return (uint32_t)(bucket + (distance > 0 ? 16 : 0));
}

static void test_buckets(void) {
  for (int d = -2000; d <= 2000; d++) CHECK_EQ(qn_relative_bucket(d), bucket_by_definition(d));
  CHECK_EQ(qn_relative_bucket(INT64_MAX), 31);
  CHECK_EQ(qn_relative_bucket(-INT64_MAX), 15);
}

static void test_rows(void) {
  enum { HEADS = 3, POSITIONS = 70, SPAN = 2 * POSITIONS - 1 };
  float table[QN_RELATIVE_BUCKETS * HEADS], out[HEADS * SPAN + 1];
  for (uint32_t i = 0; i < QN_RELATIVE_BUCKETS * HEADS; i++) table[i] = tiny_weight(3, "table", i);
  out[HEADS * SPAN] = 7.0f;
  qn_relative_expand(table, HEADS, POSITIONS, out);
  CHECK(out[HEADS * SPAN] == 7.0f);
  for (int head = 0; head < HEADS; head++) {
    const float *centre = out + head * SPAN + POSITIONS - 1;
    for (int d = 1 - POSITIONS; d < POSITIONS; d++) {
      const double want = (double)table[bucket_by_definition(d) * HEADS + (uint32_t)head] / log(2.0);
      CHECK(fabs((double)centre[d] - want) <= 1e-7 * fabs(want));
    }
  }
  qn_relative_expand(table, 1, 1, out); /* one position: distance 0 alone */
  CHECK(fabs((double)out[0] - (double)table[0] / log(2.0)) < 1e-6);
}

/* In the file of an mpnet model, whatever the recipe, and in no other. */
static void test_file(void) {
  static const char *const recipes[] = {"float", "int8"};
  char dir[256];
  qn_env env;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  CHECK(tiny_dir_make(dir, sizeof dir));
  for (int i = 0; i < 4; i++) {
    const int biased = i < 2;
    tiny_options o = tiny_defaults();
    quern_context c = {.pool = NULL};
    quern_model *m = NULL;
    qn_buffer file = {0};
    o.model_type = biased ? "mpnet" : "distilbert";
    CHECK(tiny_model_write(dir, &o));
    const qn_quantize_job job = {.src = dir, .recipe = recipes[i % 2], .memory = &file};
    CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
    CHECK_EQ(qn_model_create(&m, &c, &env, (qn_map){.data = file.data, .bytes = file.bytes}, 0), QUERN_OK);
    if (!m) break;
    CHECK_EQ(m->arch.relative_bias, biased);
    CHECK_EQ(m->arch.positions, o.positions);
    CHECK_EQ(m->arch.position_offset, biased ? 2 : 0);
    CHECK_EQ(m->arch.types, 0);
    CHECK((m->relative_bias != NULL) == biased);
    for (uint32_t head = 0; biased && head < o.heads; head++) {
      const float *centre = m->relative_bias + head * (2 * o.positions - 1) + o.positions - 1;
      for (int d = 1 - (int)o.positions; d < (int)o.positions; d++) {
        const float x = tiny_weight(o.seed, "encoder.relative_attention_bias.weight",
                                    bucket_by_definition(d) * o.heads + head);
        CHECK(fabs((double)centre[d] - (double)x / log(2.0)) <= 1e-7);
      }
    }
    qn_model_release(m);
    qn_buffer_free(&env, &file);
  }
  tiny_dir_remove(dir);
}

int main(void) {
  RUN(test_buckets);
  RUN(test_rows);
  RUN(test_file);
  return TEST_END();
}
