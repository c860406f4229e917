/* bench_decode.c - `quern bench MODEL --prompt P --decode D --depth K`: how fast a decoder reads a prompt, as a share of the peak, and how
 * fast it generates, as a share of the bandwidth; both limits are measured between the runs. */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

#define PEAK_NS 500000u
#define PEAK_ROUNDS 50u /* of each limit at least, all runs together */
#define PASS_TOKENS 512u

typedef struct result {
  double *prefill, *decode; /* [repeat] tokens per second, or NULL */
  double load_ms, peak_gops, bandwidth;
  double token_ops, token_bytes; /* multiplications and additions, and bytes read, of linear operators, of one token */
  uint64_t peak_rss;             /* bytes, of the process before the bandwidth's memory is there */
  uint32_t threads;
  const char *isa;
} result;

typedef struct bench {
  qn_cli_model m;
  const qn_bench_decoding *shape;
  int32_t *ids;
  char *memory; /* to read for the bandwidth */
  result r;
} bench;

static int ends_with(const char *text, const char *end) {
  const size_t n = strlen(text), m = strlen(end);
  return n >= m && !strcmp(text + n - m, end);
}

/* What every token takes of the file: all but the table of embeddings, of which it reads a row. A prompt's tokens take no part of the
   head but the last. */
static void count_weights(bench *b) {
  quern_tensor_info t = {.size = sizeof t};
  for (uint32_t i = 0; quern_model_get_tensor(b->m.model, i, &t) == QUERN_OK; i++) {
    if (!strncmp(t.name, "embed.", 6)) continue;
    b->r.token_bytes += (double)t.bytes;
    if (ends_with(t.name, ".weight") && strcmp(t.name, "head.out.weight") != 0)
      b->r.token_ops += 2 * (double)t.dim[0] * (double)t.dim[1];
  }
}

/* Of queries times keys and weights times values of `tokens` tokens one after another. */
static double attention_ops(const quern_model_info *info, double tokens) {
  return 2 * tokens * (tokens + 1) * info->layers * info->heads * info->head_dim;
}
/* Keys and values of so many tokens, with their scales. */
static double cache_bytes(bench *b, double depth) {
  static const double bits[] = {8, 4, 8, 32}; /* of CLI_CACHE_OPTION */
  const quern_model_info *info = &b->m.info;
  const double h = info->head_dim;
  const double held = b->shape->cache == 0 && qn_bench_is_float(&b->m) ? 32 : bits[b->shape->cache];
  const double token = held == 32 ? 8 * h : held == 4 ? 1.125 * h + 13 : 2 * h + 12;
  return depth * info->layers * info->kv_heads * token;
}

static int feed(bench *b, const int32_t *ids, uint32_t n) {
  qn_cli_signals_session(b->m.session);
  return qn_cli_model_call(&b->m, quern_decode_feed(b->m.session, 0, ids, n));
}

/* To the logits of the token behind the prompt. */
static int run_prefill(bench *b, uint32_t n, double *speed) {
  const float *logits;
  int code = qn_cli_model_call(&b->m, quern_sequence_free(b->m.session, 0));
  const uint64_t start = qn_cli_clock_ns();
  if (!code) code = feed(b, b->ids, n);
  if (!code) code = qn_cli_model_call(&b->m, quern_decode_logits(b->m.session, 0, &logits, NULL));
  *speed = n / ((double)(qn_cli_clock_ns() - start) * 1e-9);
  return code;
}

/* Each token is chosen of the logits before it, as in generation. */
static int run_decode(bench *b, uint32_t n, double *speed) {
  const uint32_t sequence = 0, depth = b->shape->depth ? b->shape->depth : 1;
  int32_t id;
  int code = qn_cli_model_call(&b->m, quern_sequence_free(b->m.session, 0));
  if (!code) code = feed(b, b->ids, depth);
  if (!code) code = qn_cli_model_call(&b->m, quern_decode_next(b->m.session, &sequence, 1, NULL, &id));
  const uint64_t start = qn_cli_clock_ns();
  for (uint32_t i = 0; i < n && !code; i++)
    code = qn_cli_model_call(&b->m, quern_decode_next(b->m.session, &sequence, 1, NULL, &id));
  *speed = n / ((double)(qn_cli_clock_ns() - start) * 1e-9);
  return code;
}

static void measure_limits(bench *b, uint32_t round) {
  const qn_bench_loop *loop = qn_bench_loop_for(b->r.isa, qn_bench_is_float(&b->m) ? QN_BENCH_FLOAT : QN_BENCH_INT8);
  const uint32_t rounds = (PEAK_ROUNDS + b->shape->repeat - 1) / b->shape->repeat;
  for (uint32_t i = 0; i < rounds; i++) {
    const double gops = loop ? qn_bench_loop_gops(loop, b->r.threads, PEAK_NS) : 0;
    const double bandwidth = qn_bench_memory_rate(b->memory, b->r.threads, round * rounds + i);
    if (gops > b->r.peak_gops) b->r.peak_gops = gops;
    if (bandwidth > b->r.bandwidth) b->r.bandwidth = bandwidth;
  }
}

static void print_result(bench *b) {
  const qn_bench_decoding *shape = b->shape;
  const quern_model_info *info = &b->m.info;
  result *r = &b->r;
  const double prefill = r->prefill ? qn_bench_median(r->prefill, shape->repeat) : 0;
  const double decode = r->decode ? qn_bench_median(r->decode, shape->repeat) : 0;
  const double gops = shape->prompt
                          ? prefill * (r->token_ops + attention_ops(info, shape->prompt) / shape->prompt) * 1e-9
                          : 0;
  const double bytes = r->token_bytes + cache_bytes(b, shape->depth + 0.5 * shape->decode);
  const double fraction = r->peak_gops > 0 ? gops / r->peak_gops : 0;
  const double fraction_read = r->bandwidth > 0 ? decode * bytes * 1e-9 / r->bandwidth : 0;
  if (!b->m.c->common.json) {
    qn_cli_out *o = b->m.c->out;
    qn_cli_out_format(o, "%s: %s, %u thread%s, %u runs\n", b->m.path, r->isa, (unsigned)r->threads,
                      r->threads > 1 ? "s" : "", (unsigned)shape->repeat);
    if (r->prefill)
      qn_cli_out_format(o, "  prefill     %.1f tokens/s of %u, %.1f GOPS, %.1f %% of this machine's %.1f\n", prefill,
                        (unsigned)shape->prompt, gops, 100 * fraction, r->peak_gops);
    if (r->decode)
      qn_cli_out_format(o, "  decode      %.1f tokens/s at depth %u, %.1f GB/s, %.1f %% of this machine's %.1f\n",
                        decode, (unsigned)shape->depth, decode * bytes * 1e-9, 100 * fraction_read, r->bandwidth);
    qn_cli_out_format(o, "  load        %.3f ms\n  peak memory %.1f MB\n", r->load_ms, (double)r->peak_rss * 1e-6);
    return;
  }
  qn_cli_json j = {.out = b->m.c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_text(&j, "model", b->m.path);
  qn_cli_json_text(&j, "isa", r->isa);
  qn_cli_json_int(&j, "threads", r->threads);
  qn_cli_json_int(&j, "prompt", shape->prompt);
  qn_cli_json_int(&j, "decode", shape->decode);
  qn_cli_json_int(&j, "depth", shape->depth);
  qn_cli_json_int(&j, "repeat", shape->repeat);
  if (r->prefill) {
    qn_cli_json_double(&j, "prefill_tokens_per_second", prefill);
    qn_cli_json_double(&j, "best_prefill_tokens_per_second",
                       r->prefill[shape->repeat - 1]); /* the median has sorted them */
  }
  if (r->decode) {
    qn_cli_json_double(&j, "decode_tokens_per_second", decode);
    qn_cli_json_double(&j, "best_decode_tokens_per_second", r->decode[shape->repeat - 1]);
  }
  qn_cli_json_double(&j, "load_ms", r->load_ms);
  qn_cli_json_int(&j, "peak_rss_bytes", r->peak_rss);
  if (r->prefill) {
    qn_cli_json_double(&j, "gops", gops);
    qn_cli_json_double(&j, "peak_gops", r->peak_gops);
    qn_cli_json_double(&j, "fraction_of_peak", fraction);
  }
  if (r->decode) {
    qn_cli_json_double(&j, "bytes_per_token", bytes);
    qn_cli_json_double(&j, "bandwidth_bytes_per_second", r->bandwidth * 1e9);
    qn_cli_json_double(&j, "fraction_of_bandwidth", fraction_read);
  }
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

/* Memory to read for the bandwidth. It is no memory of the model: the peak is taken before. */
static int take_memory(bench *b) {
  const size_t bytes = qn_bench_level_bytes(QN_BENCH_MEMORY, b->r.threads) * b->r.threads;
  b->r.peak_rss = qn_bench_peak_rss();
  b->memory = aligned_alloc(64, bytes);
  if (!b->memory) return qn_cli_fail(b->m.c, CLI_FAILED, "out of memory: %zu bytes", bytes);
  memset(b->memory, 1, bytes);
  return CLI_DONE;
}

static int measure(bench *b) {
  const qn_bench_decoding *shape = b->shape;
  double warm_up;
  int code = shape->prompt ? run_prefill(b, shape->prompt, &warm_up) : CLI_DONE;
  if (!code && (shape->decode || !shape->prompt)) code = run_decode(b, 1, &warm_up);
  if (!code) code = take_memory(b);
  for (uint32_t i = 0; i < shape->repeat && !code; i++) {
    if (shape->prompt) code = run_prefill(b, shape->prompt, &b->r.prefill[i]);
    if (shape->decode && !code) code = run_decode(b, shape->decode, &b->r.decode[i]);
    measure_limits(b, i);
    if (!code && qn_cli_progress(b->m.c, i + 1, shape->repeat, "bench")) code = qn_cli_interrupted();
  }
  qn_cli_progress_clear();
  return code;
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

static int prepare(bench *b) {
  const qn_bench_decoding *shape = b->shape;
  qn_cli_state *c = b->m.c;
  const uint32_t held = larger(shape->prompt, larger(shape->depth, 1) + shape->decode + 1);
  if (!b->m.info.decoder)
    return qn_cli_fail(c, CLI_FAILED, "%s is no decoder: give --batch and --seq, not --prompt, --decode or --depth",
                       b->m.path);
  if (held > b->m.info.max_tokens)
    return qn_cli_fail(c, CLI_USAGE, "%u tokens: %s reads at most %u", (unsigned)held, b->m.path,
                       (unsigned)b->m.info.max_tokens);
  int code = qn_cli_model_cache(&b->m, shape->cache);
  b->m.options.cache_tokens = held;
  b->m.options.logit_rows = 1;
  if (!code) code = qn_cli_model_session(&b->m, held < PASS_TOKENS ? held : PASS_TOKENS, 1);
  if (!code) code = qn_cli_grow(c, &b->ids, held, sizeof *b->ids);
  if (!code) qn_bench_random_ids(b->ids, held, b->m.info.vocab);
  if (!code && shape->prompt) code = qn_cli_grow(c, &b->r.prefill, shape->repeat, sizeof(double));
  if (!code && shape->decode) code = qn_cli_grow(c, &b->r.decode, shape->repeat, sizeof(double));
  return code;
}

int qn_bench_decoder(qn_cli_state *c, const char *path, const qn_bench_decoding *shape) {
  bench b = {.shape = shape};
  int code = qn_cli_context_open(c);
  if (code) return code;
  const uint64_t start = qn_cli_clock_ns();
  code = qn_cli_model_open(&b.m, c, path, 0);
  if (!code) code = prepare(&b);
  b.r.load_ms = (double)(qn_cli_clock_ns() - start) * 1e-6;
  b.r.threads = quern_context_threads(c->context);
  b.r.isa = quern_context_isa(c->context);
  if (!code) count_weights(&b);
  if (!code) code = measure(&b);
  if (!code) print_result(&b);
  free(b.r.prefill);
  free(b.r.decode);
  free(b.ids);
  free(b.memory);
  qn_cli_model_close(&b.m);
  return code;
}
