/* bench.h - how long each operation of a set takes on sizes of a small sentence encoder (128 tokens, 384 wide, 12 heads of
 * 32, 1,536 inside). Cycles are of a loop of dependent additions, one a cycle, timed in the same run. */
#ifndef BENCH_H
#define BENCH_H
#include <time.h>
#include "tests/kernels/check_codes.h"

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
static double ns_per_cycle(void) {
  double best = 1e9;
  for (int rep = 0; rep < 5; rep++) {
    uint64_t x = 1;
    double t = now_ns();
    for (int i = 0; i < 1000000; i++) {
      x += x; /* kept from the optimizer, each waits for the one before */
      __asm__ volatile("" : "+r"(x));
    }
    t = (now_ns() - t) / 1e6;
    if (t < best) best = t;
  }
  return best;
}

typedef struct bench {
  const qk_table *t;
  double cycle_ns;
} bench_of;
static void report(const bench_of *b, const char *what, double ns, double elements, double ops) {
  printf("%-10s %-26s %9.2f us %8.3f cycles/element", b->t->isa, what, ns / 1e3, ns / b->cycle_ns / elements);
  if (ops > 0) printf(" %8.1f GOPS", ops / ns);
  printf("\n");
}
/* The best of nine; each at least a fifth of a millisecond. */
#define BENCH(what, elements, ops, call)                                                                               \
  do {                                                                                                                 \
    double best_ = 1e18;                                                                                               \
    for (int rep_ = 0, times_ = 1; rep_ < 9; rep_++) {                                                                 \
      double t_ = now_ns();                                                                                            \
      for (int i_ = 0; i_ < times_; i_++) call;                                                                        \
      t_ = now_ns() - t_;                                                                                              \
      if (rep_ == 0)                                                                                                   \
        times_ = 1 + (int)(2e5 / (t_ + 1));                                                                            \
      else if (t_ / times_ < best_)                                                                                    \
        best_ = t_ / times_;                                                                                           \
    }                                                                                                                  \
    report(b, what, best_, (double)(elements), (double)(ops));                                                         \
  } while (0)

/* Aligned, as a session's memory is. */
static float *aligned_floats(size_t n) {
  float *p = buffer(qk_round_up(n, 16) * 4, 64);
  fill(p, n, UNIFORM);
  return p;
}

static void bench_gemm(const bench_of *b, size_t m, size_t n, size_t k, uint32_t act) {
  char what[64];
  case_begin(1);
  qk_gemm_q8 q = {.a = codes_of(m, k, 0),
                  .w = weights_of(n, k, 0),
                  .w_scale = scales_of(n, 0),
                  .w_sums = buffer(n * 4, 4),
                  .bias = aligned_floats(n),
                  .out = buffer(m * n * 4, 64),
                  .ldo = n,
                  .n = (uint32_t)n,
                  .k = (uint32_t)k,
                  .act = act};
  snprintf(what, sizeof what, "gemm_q8 %zux%zux%zu%s", m, n, k, act ? " gelu" : "");
  BENCH(what, m * n, 2 * m * n * k, b->t->gemm_q8(&q, 0, m, 0, qk_panels(n)));
}

/* The same to codes, with GELU in the product or by a table after it. */
static void bench_codes(const bench_of *b, size_t m, size_t n, size_t k) {
  case_begin(1);
  const size_t panels = qk_panels(n);
  float *by = aligned_floats(panels), *zero = aligned_floats(panels);
  for (size_t p = 0; p < panels; p++) by[p] = 0x1p-14f, zero[p] = -20.0f;
  codes_pair c = codes_outputs(m, n);
  qk_gemm_q8 q = {.a = codes_of(m, k, 0),
                  .w = weights_of(n, k, 0),
                  .w_scale = scales_of(n, 0),
                  .w_sums = buffer(n * 4, 4),
                  .bias = aligned_floats(n),
                  .n = (uint32_t)n,
                  .k = (uint32_t)k,
                  .codes = c.got.codes,
                  .by = by,
                  .zero = zero,
                  .ldc = c.got.ld};
  char what[64];
  for (uint32_t act = 0; act < 2; act++) {
    q.act = act ? QK_ACT_GELU_SHORT : QK_ACT_NONE;
    snprintf(what, sizeof what, "gemm_q8 %zux%zux%zu%s codes", m, n, k, act ? " gelu" : "");
    BENCH(what, m * n, 2 * m * n * k, b->t->gemm_q8(&q, 0, m, 0, panels));
  }
  int8_t table[256];
  qk_lookup_build(table, QK_ACT_GELU, (qk_site){0.03f, -20.0f}, (qk_site){0.02f, -110.0f});
  BENCH("lookup_q8", m * n, 0, b->t->lookup_q8(table, c.ref.codes, c.got.codes, m * c.got.ld));
  BENCH("start_q8", m * n, 0, b->t->start_q8(&c.got, (uint32_t)n, 0, m));
  int16_t weights[32];
  qk_exp_build(weights, 0.1f); /* scores in steps of 0.07 */
  codes_head head = codes_head_of(m, 32);
  const qk_pack_codes pack = {
      .head = head.got, .q = c.ref.codes, .k = c.ref.codes + 32, .v = c.ref.codes + 64, .ldx = c.ref.ld};
  BENCH("pack_codes, a head of 32", m * 96, 0, b->t->pack_codes(&pack));
  const qk_limits all = {-127.0f, 127.0f};
  const qk_attention_codes s = {.head = head.got,
                                .exp = weights,
                                .q_scale = 0.01f,
                                .k_scale = 0.01f,
                                .v_scale = 0.01f,
                                .probs_scale = 1.0f / 254.0f,
                                .scores = {10.0f, 0.0f, all},
                                .probs = {254.0f, -127.0f, all},
                                .context = {100.0f, 0.0f, all},
                                .codes = c.got.codes,
                                .ldc = c.got.ld,
                                .scratch = buffer(qk_attention_scratch(m), 64)};
  BENCH("attention_codes 128, h 32", m * m, 4 * m * m * 32, b->t->attention_codes(&s, 0, m));
}

static void bench_set(const qk_table *t, double cycle_ns) {
  bench_of bb = {t, cycle_ns}, *b = &bb;
  size_t rows = 128, d = 384, f = 1536;
  case_begin(1);
  float *x = aligned_floats(rows * f), *y = aligned_floats(rows * f);
  codes_pair c = codes_outputs(rows, f), cd = codes_outputs(rows, d);
  BENCH("quantize 384", rows * d, 0, t->quantize(x, d, (uint32_t)d, NULL, &cd.got, 0, rows));
  BENCH("quantize 1536", rows * f, 0, t->quantize(x, f, (uint32_t)f, NULL, &c.got, 0, rows));
  const float *smooth = aligned_floats(f);
  BENCH("quantize 1536, smoothed", rows * f, 0, t->quantize(x, f, (uint32_t)f, smooth, &c.got, 0, rows));
  qk_norm norm = {.x = x,
                  .out = y,
                  .gain = aligned_floats(d),
                  .bias = aligned_floats(d),
                  .ldx = d,
                  .ldo = d,
                  .d = (uint32_t)d,
                  .eps = 1e-12f};
  BENCH("norm 384", rows * d, 0, t->norm(&norm, 0, rows));
  norm.q = cd.got;
  BENCH("norm + quantize 384", rows * d, 0, t->norm(&norm, 0, rows));
  norm.smooth = smooth;
  BENCH("the same, smoothed", rows * d, 0, t->norm(&norm, 0, rows));
  BENCH("gelu", rows * f, 0, t->activate(x, y, rows * f, QK_ACT_GELU));
  BENCH("gelu_tanh", rows * f, 0, t->activate(x, y, rows * f, QK_ACT_GELU_TANH));
  BENCH("mean_rows", rows * d, 0, t->mean_rows(x, d, rows, (uint32_t)d, y));
  BENCH("softmax 128", rows * 128, 0, for (size_t r = 0; r < rows; r++) t->softmax(x + r * f, y, 128));
  head_pair p = head_outputs(rows, 32);
  qk_pack_q8 pack = {.head = p.got, .q = x, .k = x + d, .v = x + 2 * d, .ldx = f, .fold = 0.25f};
  BENCH("pack_q8, a head of 32", rows * 96, 0, t->pack_q8(&pack, 0, rows));
  qk_attention_q8 a8 = {.head = p.got, .out = y, .ldo = d};
  BENCH("attention_q8 128, h 32", rows * rows, 4 * rows * rows * 32, t->attention_q8(&a8, 0, rows));
  qk_attention_f32 af = {
      .q = x, .k = x + d, .v = x + 2 * d, .ldx = f, .fold = 0.25f, .out = y, .ldo = d, .n = (uint32_t)rows, .h = 32};
  BENCH("attention_f32 128, h 32", rows * rows, 4 * rows * rows * 32, t->attention_f32(&af, 0, rows));
  bench_gemm(b, 128, 1152, 384, 0);
  bench_gemm(b, 128, 384, 384, 0);
  bench_gemm(b, 128, 1536, 384, QK_ACT_GELU_SHORT);
  bench_gemm(b, 128, 384, 1536, 0);
  bench_gemm(b, 1, 384, 384, 0);
  bench_gemm(b, 128, 1536, 384, 0);
  bench_codes(b, 128, 1536, 384);
  case_begin(1);
  qk_gemm_f32 g = {.a = rows_of(rows, d, d, 1),
                   .w = buffer(d * d * 4, 64),
                   .out = buffer(rows * d * 4, 64),
                   .lda = d,
                   .ldo = d,
                   .n = (uint32_t)d,
                   .k = (uint32_t)d};
  BENCH("gemm_f32 128x384x384", rows * d, 2 * rows * d * d, t->gemm_f32(&g, 0, rows, 0, qk_panels(d)));
}
#endif
