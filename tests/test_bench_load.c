/* test_bench_load.c - when `quern bench` says that its figures are doubtful: counts of CPU time as Linux gives them. */
#include "cli/bench.h"
#include "test.h"

static qn_bench_load load(const char *stat, double own) {
  qn_bench_load l = {0};
  CHECK(qn_bench_load_parse(stat, &l));
  l.own = own;
  return l;
}

static void test_counts(void) {
  qn_bench_load l = load("cpu  100 10 20 1000 50 1 2 7 60 0\n", 0);
  CHECK(l.busy > 132.9 && l.busy < 133.1); /* guests are counted with user */
  CHECK(l.stolen > 6.9 && l.stolen < 7.1);
  CHECK(l.all > 1189.9 && l.all < 1190.1);
  CHECK(!qn_bench_load_parse("", &l) && !qn_bench_load_parse("cpu0 1 2 3 4 5 6 7 8", &l));
  CHECK(!qn_bench_load_parse("cpu  1 2 3 4 5 6 7", &l));
}

static void test_doubts(void) {
  const qn_bench_load from = load("cpu 0 0 0 1000 0 0 0 0 0 0", 0);
  const struct {
    const char *stat;
    double own;
    const char *words; /* NULL: no doubt */
  } cases[] = {
      {"cpu 100 0 0 1100 0 0 0 0", 100, NULL},
      {"cpu 110 0 5 1085 0 0 0 0", 100, NULL},
      {"cpu 150 0 0 1050 0 0 0 0", 100, "other processes took 25 % of this machine's CPUs and a hypervisor 0 %"},
      {"cpu 100 0 0 1090 0 0 0 10", 100, "took 0 % of this machine's CPUs and a hypervisor 5 %"},
      {"cpu 30 0 0 1010 0 0 0 0", 0, NULL}}; /* too short */
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[200] = "";
    const qn_bench_load to = load(cases[i].stat, cases[i].own);
    CHECK_EQ(qn_bench_load_doubts(&from, &to, text, sizeof text), cases[i].words != NULL);
    CHECK(!cases[i].words || strstr(text, cases[i].words));
  }
  const qn_bench_load untold = {0}, to = load("cpu 1000 0 0 1000 0 0 0 0", 0);
  CHECK(!qn_bench_load_doubts(&untold, &to, (char[200]){0}, 200)); /* no /proc */
}

static void test_now(void) {
  qn_bench_load a, b;
  qn_bench_load_now(&a);
  qn_bench_load_now(&b);
  CHECK(b.own >= a.own && b.all >= a.all && b.busy >= a.busy);
}

int main(void) {
  RUN(test_counts);
  RUN(test_doubts);
  RUN(test_now);
  return TEST_END();
}
