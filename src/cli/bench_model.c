/* bench_model.c - `quern bench MODEL`: how fast the encoder runs, and what share of the machine's limit that is. Token
 * ids are drawn from a fixed seed; the limit is measured between the runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "bench.h"

#define WARM_UP 2u
#define PEAK_NS 500000u
#define PEAK_ROUNDS 100u /* at least, all runs together */

typedef struct result {
  double *ms; /* [repeat], sorted */
  double load_ms, peak_gops;
  uint32_t threads;
  const char *isa;
} result;

/* Multiplications and additions per token of a sequence: the linear operators, and attention's two products. */
static double ops_per_token(const quern_model_info *info, uint32_t seq) {
  const double d = info->width, inner = (double)info->heads * info->head_dim,
               kv = (double)info->kv_heads * info->head_dim;
  const double attention = d * (inner + 2 * kv) + inner * d, ffn = (info->gated ? 3 : 2) * d * info->ffn_width;
  return info->layers * (2 * (attention + ffn) + 4 * (double)seq * inner);
}

static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

void qn_bench_random_ids(int32_t *ids, size_t n, uint32_t vocab) {
  uint64_t state = 1;
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(next_random(&state) % vocab);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double qn_bench_median(double *values, uint32_t n) {
  qsort(values, n, sizeof *values, compare);
  return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

int qn_bench_is_float(qn_cli_model *m) {
  char *recipe;
  if (qn_cli_model_meta(m, "general.recipe", &recipe) != CLI_DONE) return 0;
  int is_float = recipe && strcmp(recipe, "float") == 0;
  free(recipe);
  return is_float;
}

static int run_batches(qn_cli_model *m, const qn_bench_shape *shape, const int32_t *ids, const uint32_t *lens,
                       result *r) {
  const qn_bench_loop *loop = qn_bench_loop_for(r->isa, qn_bench_is_float(m) ? QN_BENCH_FLOAT : QN_BENCH_INT8);
  const uint32_t rounds = (PEAK_ROUNDS + shape->repeat - 1) / shape->repeat;
  for (uint32_t i = 0; i < shape->repeat + WARM_UP; i++) {
    quern_tensor_view view;
    uint64_t start = qn_cli_clock_ns();
    qn_cli_signals_session(m->session);
    quern_status s = quern_encode(m->session, ids, NULL, lens, shape->batch, &view);
    qn_cli_signals_session(NULL);
    if (s != QUERN_OK) return qn_cli_fail_status(m->c, s, m->path, m->session);
    if (i >= WARM_UP) r->ms[i - WARM_UP] = (double)(qn_cli_clock_ns() - start) * 1e-6;
    for (uint32_t k = 0; loop && k < rounds; k++) {
      double gops = qn_bench_loop_gops(loop, r->threads, PEAK_NS);
      if (gops > r->peak_gops) r->peak_gops = gops;
    }
    if (qn_cli_progress(m->c, i + 1, shape->repeat + WARM_UP, "bench")) return qn_cli_interrupted();
  }
  qn_cli_progress_clear();
  return CLI_DONE;
}

uint64_t qn_bench_peak_rss(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

static void print_result(qn_cli_model *m, const qn_bench_shape *shape, const result *r) {
  const uint32_t n = shape->repeat;
  const double p50 = qn_bench_median(r->ms, n), p99 = r->ms[(n * 99u + 99) / 100 - 1];
  const double tokens_per_second = (double)shape->batch * shape->seq / (p50 * 1e-3);
  const double gops = tokens_per_second * ops_per_token(&m->info, shape->seq) * 1e-9;
  const double fraction = r->peak_gops > 0 ? gops / r->peak_gops : 0;
  if (!m->c->common.json) {
    qn_cli_out *o = m->c->out;
    qn_cli_out_format(o, "%s: %s, %u thread%s, batch %u x %u tokens, %u runs\n", m->path, r->isa, (unsigned)r->threads,
                      r->threads > 1 ? "s" : "", (unsigned)shape->batch, (unsigned)shape->seq, (unsigned)n);
    qn_cli_out_format(o, "  tokens/s    %.0f (median run)\n  latency     %.3f ms p50, %.3f ms p99\n", tokens_per_second,
                      p50, p99);
    qn_cli_out_format(o, "  load        %.3f ms\n  peak memory %.1f MB\n", r->load_ms,
                      (double)qn_bench_peak_rss() * 1e-6);
    qn_cli_out_format(o, "  %.1f GOPS, %.1f %% of this machine's %.1f\n", gops, 100 * fraction, r->peak_gops);
    return;
  }
  qn_cli_json j = {.out = m->c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_text(&j, "model", m->path);
  qn_cli_json_text(&j, "isa", r->isa);
  qn_cli_json_int(&j, "threads", r->threads);
  qn_cli_json_int(&j, "batch", shape->batch);
  qn_cli_json_int(&j, "seq", shape->seq);
  qn_cli_json_int(&j, "repeat", n);
  qn_cli_json_double(&j, "tokens_per_second", tokens_per_second);
  qn_cli_json_double(&j, "best_tokens_per_second", (double)shape->batch * shape->seq / (r->ms[0] * 1e-3));
  qn_cli_json_open(&j, "latency_ms", '{');
  qn_cli_json_double(&j, "p50", p50);
  qn_cli_json_double(&j, "p99", p99);
  qn_cli_json_close(&j, '}');
  qn_cli_json_double(&j, "load_ms", r->load_ms);
  qn_cli_json_int(&j, "peak_rss_bytes", qn_bench_peak_rss());
  qn_cli_json_double(&j, "gops", gops);
  qn_cli_json_double(&j, "peak_gops", r->peak_gops);
  qn_cli_json_double(&j, "fraction_of_peak", fraction);
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

static int measure(qn_cli_model *m, const qn_bench_shape *shape, result *r) {
  int32_t *ids = NULL;
  uint32_t *lens = NULL;
  const size_t tokens = (size_t)shape->batch * shape->seq;
  int code = qn_cli_grow(m->c, &ids, tokens, sizeof *ids);
  if (!code) code = qn_cli_grow(m->c, &lens, shape->batch, sizeof *lens);
  if (!code) code = qn_cli_grow(m->c, &r->ms, shape->repeat, sizeof *r->ms);
  if (!code) {
    qn_bench_random_ids(ids, tokens, m->info.vocab);
    for (uint32_t i = 0; i < shape->batch; i++) lens[i] = shape->seq;
    code = run_batches(m, shape, ids, lens, r);
  }
  if (!code) print_result(m, shape, r);
  free(r->ms);
  free(lens);
  free(ids);
  return code;
}

int qn_bench_model(qn_cli_state *c, const char *path, const qn_bench_shape *wanted) {
  qn_bench_shape shape = *wanted;
  qn_cli_model m;
  result r = {0};
  int code = qn_cli_context_open(c);
  if (code) return code;
  uint64_t start = qn_cli_clock_ns();
  code = qn_cli_model_open(&m, c, path, 0);
  if (!code && m.info.decoder)
    code = qn_cli_fail(c, CLI_FAILED, "%s is a decoder: give --prompt, --decode or --depth, not --batch and --seq",
                       path);
  if (!code && shape.seq > m.info.max_tokens) {
    code = qn_cli_fail(c, CLI_USAGE, "--seq %u: %s reads at most %u tokens", (unsigned)shape.seq, path,
                       (unsigned)m.info.max_tokens);
  }
  if (!code) code = qn_cli_model_session(&m, (uint64_t)shape.batch * shape.seq, shape.batch);
  r.load_ms = (double)(qn_cli_clock_ns() - start) * 1e-6;
  r.threads = quern_context_threads(c->context);
  r.isa = quern_context_isa(c->context);
  if (!code) code = measure(&m, &shape, &r);
  qn_cli_model_close(&m);
  return code;
}
