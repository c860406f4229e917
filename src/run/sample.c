/* sample.c - choosing the next token (sample.h; docs/NUMERICS.md, "Sampling"). Stateless; any thread. */
#include "run/sample.h"

#include <math.h>
#include <string.h>

/* Tokens whose logit is further below the best one's are no candidates: less than 2.1e-9 of its probability. */
#define QN_CANDIDATE_SPAN 20.0f

int qn_sampling_valid(const qn_sampling *o, uint32_t vocab, const char **what) {
  const struct {
    int holds;
    const char *name;
  } rules[] = {
      {o->temperature >= 0 && o->temperature <= 1e6f, "temperature: 0 to 1e6"}, /* false for NaN too */
      {o->top_p > 0 && o->top_p <= 1, "top_p: above 0, at most 1"},
      {o->min_p >= 0 && o->min_p <= 1, "min_p: 0 to 1"},
      {o->repeat_penalty > 0 && o->repeat_penalty <= 1e6f, "repeat_penalty: above 0"},
      {fabsf(o->presence_penalty) <= 1e6f, "presence_penalty: a number"},
      {!o->biases || (o->bias_ids && o->bias), "bias: ids and values"},
  };
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
    *what = rules[i].name;
    if (!rules[i].holds) return 0;
  }
  *what = "bias: tokens of the vocabulary, values that are numbers or -infinity";
  for (uint32_t i = 0; i < o->biases; i++)
    if ((uint32_t)o->bias_ids[i] >= vocab || !(o->bias[i] < INFINITY)) return 0;
  return 1;
}

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

float qn_counter_random(uint64_t seed, uint64_t sequence, uint64_t position) {
  uint64_t h = mix(seed + 0x9E3779B97F4A7C15u);
  h = mix(h ^ (sequence + 1) * 0xD1B54A32D192ED03u);
  h = mix(h ^ (position + 1) * 0xAEF17502108EF2D9u);
  return (float)(h >> 40) * 0x1p-24f;
}

/* Larger logits first, of equal ones the smaller id. */
static int comes_before(qn_candidate a, qn_candidate b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

/* A heap whose root comes last of all. */
static void sift_down(qn_candidate *heap, uint32_t n, uint32_t i) {
  const qn_candidate x = heap[i];
  for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && comes_before(heap[child], heap[child + 1])) child++;
    if (!comes_before(x, heap[child])) break;
    heap[i] = heap[child];
  }
  heap[i] = x;
}

/* The first `most` candidates among values [n], in order. Returns how many there are. */
static uint32_t take_candidates(const float *values, uint32_t n, float least, uint32_t most, qn_candidate *heap) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; i++) {
    const qn_candidate x = {values[i], (int32_t)i};
    if (!(values[i] >= least)) continue;
    if (count < most) {
      heap[count++] = x;
      if (count == most)
        for (uint32_t j = count / 2; j-- > 0;) sift_down(heap, count, j);
    } else if (comes_before(x, heap[0])) {
      heap[0] = x;
      sift_down(heap, count, 0);
    }
  }
  if (count < most)
    for (uint32_t j = count / 2; j-- > 0;) sift_down(heap, count, j);
  for (uint32_t end = count; end-- > 1;) {
    const qn_candidate last = heap[0];
    heap[0] = heap[end];
    heap[end] = last;
    sift_down(heap, end, 0);
  }
  return count;
}

/* Logits as biases and penalties change them; each token is punished once. */
static void adjust(const qn_sampling *o, float *values, const int32_t *recent, uint32_t recents) {
  for (uint32_t i = 0; i < o->biases; i++) values[o->bias_ids[i]] += o->bias[i];
  if (o->repeat_penalty == 1 && o->presence_penalty == 0) return;
  for (uint32_t i = 0; i < recents; i++) {
    uint32_t before = 0;
    while (recent[before] != recent[i]) before++;
    if (before < i) continue;
    float *x = &values[recent[i]];
    *x = *x > 0 ? *x / o->repeat_penalty : *x * o->repeat_penalty;
    *x -= o->presence_penalty;
  }
}

/* Candidates 0 ... count - 1 less those that min_p and top_p take away; p are their probabilities. *total: the sum of the rest. */
static uint32_t keep_likely(const qn_sampling *o, const float *p, uint32_t count, float *total) {
  const float least = o->min_p * p[0];
  uint32_t kept = 0;
  *total = 0;
  while (kept < count && p[kept] >= least && (kept == 0 || *total < o->top_p)) *total += p[kept++];
  return kept;
}

void qn_sample(const qn_sampling *o, const qn_sampler *s, const float *logits, const int32_t *recent, uint32_t recents,
               uint64_t sequence, uint64_t position, int32_t *id) {
  const int greedy = o->temperature == 0;
  float *values = s->values, best = -INFINITY;
  memcpy(values, logits, s->vocab * sizeof *values);
  adjust(o, values, recent, recents);
  *id = -1;
  for (uint32_t i = 0; i < s->vocab; i++) {
    if (!greedy) values[i] /= o->temperature;
    if (values[i] > best) best = values[i], *id = (int32_t)i;
  }
  if (greedy || *id < 0) return;
  const uint32_t most = o->top_k && o->top_k < s->vocab ? o->top_k : s->vocab;
  const uint32_t count = take_candidates(values, s->vocab, best - QN_CANDIDATE_SPAN, most, s->order);
  for (uint32_t i = 0; i < count; i++) values[i] = s->order[i].logit;
  s->kernels->softmax(values, values, count);
  float total, sum = 0;
  const uint32_t kept = keep_likely(o, values, count, &total);
  const float at = qn_counter_random(o->seed, sequence, position) * total;
  uint32_t i = 0;
  while (i + 1 < kept && !((sum += values[i]) > at)) i++;
  *id = s->order[i].id;
}
