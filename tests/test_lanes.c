/* test_lanes.c - how work is shared: units dealt to lanes and taken from them, each once; attention planned so that no lane
 * waits; the same bytes, in the caller's order, for batches of every shape and any number of threads. */
#include <pthread.h>

#include "base/share.h"
#include "run/group.h"
#include "tiny_session.h"

/* ---- shares ---- */

#define UNITS 20000u
#define LANES 8u
typedef struct taker {
  qn_share *share;
  atomic_uchar *taken;
  uint32_t lane, count;
} taker;

static void *take_all(void *arg) {
  taker *t = arg;
  uint32_t unit;
  for (; qn_share_take(t->share, LANES, t->lane, &unit); t->count++)
    atomic_fetch_add_explicit(&t->taken[unit], 1, memory_order_relaxed);
  return NULL;
}

/* Rounds of even shares, of all units in one, and with a lane that takes one of its own and then stands still. */
static void units_are_taken_once(void) {
  static qn_share share[LANES];
  static atomic_uchar taken[UNITS];
  enum { STILL = 2, RICH = 5 };
  for (int round = 0; round < 12; round++) {
    const int skewed = round % 3 == 1, still = round % 3 == 2;
    pthread_t thread[LANES];
    taker t[LANES];
    uint32_t total = 0, wrong = 0, unit = 0;
    for (uint32_t i = 0; i < UNITS; i++) taken[i] = 0;
    qn_share_deal(share, LANES, UNITS);
    if (skewed)
      for (uint32_t i = 0; i < LANES; i++) qn_share_set(&share[i], 0, i == RICH ? UNITS : 0);
    if (still) {
      CHECK(qn_share_take(share, LANES, STILL, &unit));
      taken[unit]++;
      total++;
    }
    for (uint32_t i = 0; i < LANES; i++) {
      t[i] = (taker){share, taken, i, 0};
      if (still && i == STILL) continue;
      CHECK(pthread_create(&thread[i], NULL, take_all, &t[i]) == 0);
    }
    for (uint32_t i = 0; i < LANES; i++) {
      if (!still || i != STILL) pthread_join(thread[i], NULL);
      total += t[i].count;
    }
    for (uint32_t i = 0; i < UNITS; i++) wrong += taken[i] != 1;
    CHECK_EQ(wrong, 0);
    CHECK_EQ(total, UNITS);
  }
}

static void own_units_come_first(void) {
  qn_share share[3];
  uint32_t unit = 99;
  qn_share_deal(share, 3, 8); /* 0 1 | 2 3 4 | 5 6 7 */
  static const uint32_t want[] = {2, 3, 4, 7, 1, 6, 0, 5};
  for (int i = 0; i < 8; i++) {
    CHECK(qn_share_take(share, 3, 1, &unit));
    CHECK_EQ(unit, want[i]);
  }
  CHECK(!qn_share_take(share, 3, 1, &unit) && !qn_share_take(share, 3, 0, &unit));
  qn_share_deal(share, 3, 1);
  CHECK(qn_share_take(share, 3, 0, &unit) && unit == 0 && !qn_share_take(share, 3, 2, &unit));
  qn_share_deal(share, 3, 0);
  CHECK(!qn_share_take(share, 3, 0, &unit));
}

/* ---- batches ---- */

#define MOST 96u
#define TOKENS 4096u
typedef struct batch {
  const char *name;
  uint32_t count, lens[MOST];
} batch;

static batch batches[8];
static uint32_t batch_count;

/* first sequences of n1 tokens, then second of n2, then third of n3. */
static void add_batch(const char *name, uint32_t first, uint32_t n1, uint32_t second, uint32_t n2, uint32_t third,
                      uint32_t n3) {
  batch *b = &batches[batch_count++];
  b->name = name;
  for (uint32_t i = 0; i < first; i++) b->lens[b->count++] = n1;
  for (uint32_t i = 0; i < second; i++) b->lens[b->count++] = n2;
  for (uint32_t i = 0; i < third; i++) b->lens[b->count++] = n3;
}

static void make_batches(void) {
  add_batch("one token", 1, 1, 0, 0, 0, 0);
  add_batch("one long", 1, 300, 0, 0, 0, 0);
  add_batch("one long among many", 30, 9, 1, 512, 40, 12);
  add_batch("the longest last", 60, 5, 0, 0, 2, 400);
  add_batch("three of 130", 3, 130, 0, 0, 0, 0);
  add_batch("even", 64, 40, 0, 0, 0, 0);
  batch *b = &batches[batch_count++];
  b->name = "every length";
  for (b->count = 0; b->count < 80; b->count++) b->lens[b->count] = 1 + b->count * 37 % 90;
}

static uint32_t tokens_of(const batch *b) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < b->count; i++) n += b->lens[i];
  return n;
}

static uint64_t cost(uint32_t n) { return (uint64_t)n * (n + 32); }

/* When the last lane is done with the units taken whole: whoever is free takes the next. */
static uint64_t finish(quern_session *s, uint32_t lanes) {
  uint64_t busy[16] = {0}, last = 0;
  uint32_t unit;
  for (uint32_t lane = 0, first = 0; lane < lanes; first = s->lane[lane++].units_end)
    qn_share_set(&s->share[lane], first, s->lane[lane].units_end);
  for (;;) {
    uint32_t free = 0;
    for (uint32_t lane = 1; lane < lanes; lane++)
      if (busy[lane] < busy[free]) free = lane;
    if (!lanes || !qn_share_take(s->share, lanes, free, &unit)) return last;
    busy[free] += cost(s->lens[s->units[unit].sequence]);
    last = busy[free] > last ? busy[free] : last;
  }
}

/* What a plan must be: each head of each sequence once; a lane's longest first; those that are cut no more than lanes at a
   time; all done not long after what an even share of the cost would take. */
static void check_plan(const batch *b, const opened *m, uint32_t heads) {
  quern_session *s = m->s;
  qn_group g = {.s = s, .arch = &s->model->arch, .count = b->count};
  static uint8_t seen[MOST][16];
  memset(seen, 0, sizeof seen);
  memcpy(s->lens, b->lens, b->count * sizeof *b->lens);
  qn_attention_plan(&g);
  const uint32_t lanes = s->lanes < g.whole ? s->lanes : g.whole;
  CHECK_EQ(g.whole + g.cut, b->count * heads);
  uint64_t all = 0, cut = 0;
  for (uint32_t i = 0; i < g.whole + g.cut; i++) {
    const uint64_t c = cost(s->lens[s->units[i].sequence]);
    seen[s->units[i].sequence][s->units[i].head]++;
    all += c;
    cut += i < g.whole ? 0 : c;
  }
  for (uint32_t i = 0; i < b->count; i++)
    for (uint32_t h = 0; h < heads; h++) CHECK_EQ(seen[i][h], 1);
  for (uint32_t lane = 0, i = 0; lane < lanes; lane++)
    for (const uint32_t first = i; i < s->lane[lane].units_end; i++)
      CHECK(lanes == 1 || i == first || s->lens[s->units[i].sequence] <= s->lens[s->units[i - 1].sequence]);
  if (lanes) CHECK_EQ(s->lane[lanes - 1].units_end, g.whole);
  for (uint32_t i = g.whole, run = 0; i < g.whole + g.cut; i++) {
    run = i > g.whole && s->lens[s->units[i].sequence] == s->lens[s->units[i - 1].sequence] ? run + 1 : 1;
    CHECK(run <= s->lanes);
  }
  const uint64_t share = all / s->lanes, done = finish(s, lanes) + cut / s->lanes;
  CHECK(done <= share + share / 4 + 8192);
  if (done > share + share / 4 + 8192)
    printf("  %s, %u lanes: %g\n", b->name, (unsigned)s->lanes, (double)done / (double)share);
}

static void plans_leave_no_lane_waiting(void) {
  static const uint32_t threads[] = {1, 2, 3, 7, 16};
  static const char *const recipes[] = {"int8", NULL};
  tiny_options o = tiny_defaults();
  o.width = 48, o.heads = 12, o.positions = 512;
  CHECK(make(&o, recipes));
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    opened m = open_model("int8", NULL, threads[t], TOKENS, MOST);
    for (uint32_t i = 0; m.s && i < batch_count; i++) check_plan(&batches[i], &m, o.heads);
    if (m.s && threads[t] == 16) { /* all twelve heads of the long sequence are cut, nothing else is */
      qn_group g = {.s = m.s, .arch = &m.s->model->arch, .count = batches[2].count};
      memcpy(m.s->lens, batches[2].lens, sizeof batches[2].lens);
      qn_attention_plan(&g);
      CHECK_EQ(g.cut, 12);
      for (uint32_t i = g.whole; i < g.whole + g.cut; i++) CHECK_EQ(m.s->units[i].sequence, 30);
    }
    if (m.s && threads[t] == 7) { /* twelve long heads on seven lanes: a round of whole ones, five cut */
      qn_group g = {.s = m.s, .arch = &m.s->model->arch, .count = 1};
      m.s->lens[0] = 300;
      qn_attention_plan(&g);
      CHECK_EQ(g.whole, 7);
      CHECK_EQ(g.cut, 5);
    }
    close_model(&m);
  }
}

/* Hidden states of every batch by 1 thread in ref, one sequence a call, against whole batches on many. */
static void every_shape(const char *family, const char *recipe) {
  static const uint32_t threads[] = {1, 2, 5, 16};
  const char *const recipes[] = {recipe, NULL};
  static int32_t ids[TOKENS];
  tiny_options o = tiny_defaults();
  o.model_type = family;
  o.width = 24, o.heads = 3, o.ffn = 40, o.positions = 512;
  CHECK(make(&o, recipes));
  for (uint32_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)(tiny_hash(i) % TINY_VOCAB);
  float *want[8];
  opened one = open_model(recipe, NULL, 1, 512, 1);
  for (uint32_t k = 0; k < batch_count; k++) {
    want[k] = malloc(tokens_of(&batches[k]) * o.width * sizeof **want);
    for (uint32_t i = 0, row = 0; i < batches[k].count; row += batches[k].lens[i++]) {
      quern_tensor_view v = {0};
      CHECK_EQ(quern_encode(one.s, ids + row, NULL, &batches[k].lens[i], 1, &v), QUERN_OK);
      if (v.data) memcpy(want[k] + row * o.width, v.data, v.rows * v.cols * sizeof(float));
    }
  }
  close_model(&one);
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    opened m = open_model(recipe, NULL, threads[t], TOKENS, MOST);
    for (uint32_t k = 0; k < batch_count; k++) {
      quern_tensor_view v = {0};
      CHECK_EQ(quern_encode(m.s, ids, NULL, batches[k].lens, batches[k].count, &v), QUERN_OK);
      const int same = v.data && v.rows == tokens_of(&batches[k]) &&
                       !memcmp(v.data, want[k], v.rows * v.cols * sizeof(float));
      CHECK(same);
      if (!same) printf("  %s %s, %s, %u threads\n", family, recipe, batches[k].name, (unsigned)threads[t]);
    }
    close_model(&m);
  }
  for (uint32_t k = 0; k < batch_count; k++) free(want[k]);
}

static void batches_of_every_shape(void) {
  every_shape("bert", "int8");
  every_shape("bert", "float");
  every_shape("mpnet", "int8"); /* distances between a part's queries and the keys */
  every_shape("mpnet", "float");
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  make_batches();
  RUN(units_are_taken_once);
  RUN(own_units_come_first);
  RUN(plans_leave_no_lane_waiting);
  RUN(batches_of_every_shape);
  tiny_dir_remove(dir);
  return TEST_END();
}
