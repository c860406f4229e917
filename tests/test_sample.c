/* test_sample.c - sampling: order, cuts, penalties, biases, draws that are the same everywhere. */
#include "run/sample.h"

#include <math.h>
#include <stdlib.h>

#include "base/thread.h"
#include "test.h"

enum { VOCAB = 1000 };
static qk_table kernels;
static float values[VOCAB], logits[VOCAB];
static qn_candidate order[VOCAB];
static const qn_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

static int32_t pick_after(qn_sampling o, uint32_t n, const int32_t *recent, uint32_t recents, uint64_t position) {
  const qn_sampler s = {&kernels, n, values, order};
  int32_t id = -2;
  qn_sample(&o, &s, logits, recent, recents, 3, position, &id);
  return id;
}
static int32_t pick(qn_sampling o, uint32_t n, uint64_t position) { return pick_after(o, n, NULL, 0, position); }

static void fill(uint64_t seed) {
  for (uint32_t i = 0; i < VOCAB; i++) logits[i] = floorf(qn_counter_random(seed, 0, i) * 64) / 8; /* with many ties */
}

static void greedy_takes_the_first_of_the_best(void) {
  fill(1);
  int32_t best = 0;
  for (int32_t i = 1; i < VOCAB; i++)
    if (logits[i] > logits[best]) best = i;
  CHECK_EQ(pick(greedy, VOCAB, 0), best);
  qn_sampling o = greedy;
  o.temperature = 1;
  o.top_k = 1;
  for (uint64_t p = 0; p < 20; p++) CHECK_EQ(pick(o, VOCAB, p), best);
  o.top_k = 0;
  o.top_p = 1e-6f;
  CHECK_EQ(pick(o, VOCAB, 7), best);
  o.top_p = 1;
  o.min_p = 1;
  CHECK(logits[pick(o, VOCAB, 7)] == logits[best]);
}

/* How often each of n tokens comes in `draws` draws. */
static void count(qn_sampling o, uint32_t n, uint32_t draws, uint32_t *counts) {
  memset(counts, 0, n * sizeof *counts);
  for (uint32_t p = 0; p < draws; p++) {
    const int32_t id = pick(o, n, p);
    CHECK(id >= 0 && (uint32_t)id < n);
    counts[id]++;
  }
}

static void draws_follow_the_probabilities(void) {
  enum { N = 5, DRAWS = 40000 };
  const float p[N] = {0.05f, 0.4f, 0.1f, 0.25f, 0.2f};
  uint32_t counts[N];
  for (int i = 0; i < N; i++) logits[i] = 3 + logf(p[i]);
  qn_sampling o = greedy;
  o.temperature = 1;
  o.seed = 42;
  count(o, N, DRAWS, counts);
  for (int i = 0; i < N; i++) CHECK(fabs(counts[i] / (double)DRAWS - p[i]) < 0.01);
  o.temperature = 0.5f;
  count(o, N, DRAWS, counts);
  for (int i = 0; i < N; i++) CHECK(fabs(counts[i] / (double)DRAWS - p[i] * p[i] / 0.275) < 0.01);
  o.temperature = 1;
  o.top_k = 3;
  count(o, N, DRAWS, counts);
  CHECK(counts[0] == 0 && counts[2] == 0 && fabs(counts[1] / (double)DRAWS - 0.4 / 0.85) < 0.01);
  o.top_k = 0;
  o.top_p = 0.6f; /* 0.4 and 0.25 */
  count(o, N, DRAWS, counts);
  CHECK(counts[0] + counts[2] + counts[4] == 0 && fabs(counts[3] / (double)DRAWS - 0.25 / 0.65) < 0.01);
  o.top_p = 1;
  o.min_p = 0.3f; /* 0.4, 0.25, 0.2 */
  count(o, N, DRAWS, counts);
  CHECK(counts[0] + counts[2] == 0 && counts[4] > 0);
}

/* With every set of kernels that this machine has. */
static void draws_are_pinned(void) {
  const qk_table best = kernels;
  CHECK(qn_counter_random(0, 0, 0) != qn_counter_random(0, 0, 1) &&
        qn_counter_random(0, 0, 0) != qn_counter_random(0, 1, 0) &&
        qn_counter_random(0, 0, 0) != qn_counter_random(1, 0, 0));
  qn_sampling o = greedy;
  o.temperature = 1.25f;
  o.top_k = 200;
  o.top_p = 0.95f;
  fill(2);
  const qk_isa *isa;
  for (uint32_t i = 0; (isa = qk_isa_at(i, qk_cpu_features())); i++) {
    uint64_t all = 0;
    qk_table_build(&kernels, isa->name, qk_cpu_features());
    for (uint64_t p = 0; p < 64; p++) {
      o.seed = p % 3;
      all = all * 1000003 + (uint64_t)pick(o, VOCAB, p);
    }
    CHECK(all == 291823122687124546u);
  }
  kernels = best;
}

static void penalties_and_biases(void) {
  const int32_t recent[] = {1, 2, 1, 1};
  const float given[] = {1, 2, -1, 1.5f};
  memcpy(logits, given, sizeof given);
  qn_sampling o = greedy;
  CHECK_EQ(pick_after(o, 4, recent, 4, 0), 1);
  o.repeat_penalty = 1.25f; /* once: 1.6 */
  CHECK_EQ(pick_after(o, 4, recent, 4, 0), 1);
  o.repeat_penalty = 1.5f;
  CHECK_EQ(pick_after(o, 4, recent, 4, 0), 3);
  o.repeat_penalty = 1;
  o.presence_penalty = 0.75f;
  CHECK_EQ(pick_after(o, 4, recent, 4, 0), 3);
  const int32_t ids[] = {3, 2};
  const float bias[] = {-INFINITY, 4};
  o.presence_penalty = 0;
  o.bias_ids = ids;
  o.bias = bias;
  o.biases = 1;
  o.temperature = 1;
  for (uint64_t p = 0; p < 50; p++) CHECK(pick(o, 4, p) != 3);
  o.temperature = 0;
  o.biases = 2;
  CHECK_EQ(pick(o, 4, 0), 2);
  const int32_t every[] = {0, 1, 2, 3};
  const float never[] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  o.bias_ids = every;
  o.bias = never;
  o.biases = 4;
  CHECK_EQ(pick(o, 4, 0), -1);
  o.temperature = 1;
  CHECK_EQ(pick(o, 4, 0), -1);
}

static void options_are_checked(void) {
  const char *what;
  const float nan = nanf(""), bad[] = {nan};
  const int32_t ids[] = {4};
  CHECK(qn_sampling_valid(&greedy, 4, &what));
#define REFUSED(member, value)                                                                                         \
  do {                                                                                                                 \
    qn_sampling o = greedy;                                                                                            \
    o.member = value;                                                                                                  \
    CHECK(!qn_sampling_valid(&o, 4, &what) && what);                                                                   \
  } while (0)
  REFUSED(temperature, -1);
  REFUSED(temperature, nan);
  REFUSED(top_p, 0);
  REFUSED(top_p, 1.5f);
  REFUSED(min_p, -0.1f);
  REFUSED(repeat_penalty, 0);
  REFUSED(presence_penalty, INFINITY);
  REFUSED(biases, 1);
  qn_sampling o = greedy;
  o.bias_ids = ids;
  o.bias = bad;
  o.biases = 1;
  CHECK(!qn_sampling_valid(&o, 5, &what));
  const float one = 1;
  o.bias = &one;
  CHECK(qn_sampling_valid(&o, 5, &what) && !qn_sampling_valid(&o, 4, &what));
}

int main(void) {
  qk_table_build(&kernels, NULL, qk_cpu_features());
  const qn_fpenv guard = qn_fpenv_enter();
  RUN(greedy_takes_the_first_of_the_best);
  RUN(draws_follow_the_probabilities);
  RUN(draws_are_pinned);
  RUN(penalties_and_biases);
  RUN(options_are_checked);
  qn_fpenv_leave(guard);
  return TEST_END();
}
