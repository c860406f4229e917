/* bench_limits.c - the machine's limits, measured: operations per second of register-resident loops, and bandwidths.
 * Threads are started anew for each measurement; the caller's takes part. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "bench.h"

/* Short rounds, so that on a busy machine some of them run without losing the CPU. */
#define ROUNDS 30
#define ROUND_NS 1000000u
#define MAX_ROWS 24
#define MAX_THREADS 1024u
#define LARGE_BYTES ((size_t)64 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

/* Work of one thread: `repeat` times the loop's iterations, or reads of its memory. */
typedef struct worker {
  const qn_bench_loop *loop; /* NULL: reads */
  qn_bench_reader *read;
  const char *memory;
  size_t bytes;
  uint64_t repeat;
  atomic_int *gate; /* threads that are not there yet */
} worker;

static void work(const worker *w) {
  if (w->loop) {
    w->loop->run(w->repeat);
  } else {
    for (uint64_t i = 0; i < w->repeat; i++) w->read(w->memory, w->bytes);
  }
}

static void *worker_main(void *p) {
  const worker *w = p;
  atomic_fetch_sub(w->gate, 1);
  while (atomic_load(w->gate) > 0) {}
  work(w);
  return NULL;
}

/* Runs all workers at once; ns from the moment they all stand ready to the end of the last. 0: a thread was refused. */
static uint64_t run_workers(worker *workers, uint32_t n) {
  pthread_t threads[MAX_THREADS];
  atomic_int gate;
  uint32_t started = 0;
  atomic_init(&gate, (int)n);
  for (uint32_t i = 0; i < n; i++) workers[i].gate = &gate;
  qn_cli_signals_block(1);
  while (started + 1 < n && pthread_create(&threads[started], NULL, worker_main, &workers[started + 1]) == 0) started++;
  qn_cli_signals_block(0);
  if (started + 1 < n) atomic_store(&gate, 0); /* lets those that wait run to their end */
  atomic_fetch_sub(&gate, 1);
  while (atomic_load(&gate) > 0) {}
  uint64_t start = qn_cli_clock_ns();
  if (started + 1 == n) work(&workers[0]);
  for (uint32_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
  uint64_t took = qn_cli_clock_ns() - start;
  return started + 1 == n ? took + !took : 0;
}

/* Repetitions of w that take about ns on one thread. */
static uint64_t calibrate(worker w, uint64_t ns) {
  uint64_t took = 0;
  w.repeat = 1;
  for (;;) {
    uint64_t start = qn_cli_clock_ns();
    work(&w);
    took = qn_cli_clock_ns() - start;
    if (took * 8 >= ns || w.repeat >> 40) break;
    w.repeat *= took * 64 < ns ? 8 : 2;
  }
  double repeat = (double)w.repeat * (double)ns / (double)(took + 1);
  return repeat < 1 ? 1 : (uint64_t)repeat;
}

/* `unit` per repetition and thread; per ns. repeat 0: as many as take about ns. */
static double rate(worker *workers, uint32_t threads, uint64_t repeat, uint64_t ns, double unit) {
  if (!repeat) repeat = calibrate(workers[0], ns);
  for (uint32_t i = 0; i < threads; i++) workers[i].repeat = repeat;
  uint64_t took = run_workers(workers, threads);
  return took ? unit * (double)repeat * threads / (double)took : 0;
}

double qn_bench_loop_gops(const qn_bench_loop *loop, uint32_t threads, uint64_t ns) {
  worker workers[MAX_THREADS];
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  for (uint32_t i = 0; i < threads; i++) workers[i] = (worker){.loop = loop};
  return rate(workers, threads, 0, ns, loop->ops);
}

double qn_bench_read_rate(const char *memory, size_t bytes, uint64_t ns) {
  worker w = {.read = qn_bench_read_loop(), .memory = memory, .bytes = bytes};
  return rate(&w, 1, ns ? 0 : 1, ns, (double)bytes);
}

/* ---- bench --limits ---------------------------------------------------------------------------------------------- */

typedef struct row {
  const char *name, *unit;
  const qn_bench_loop *loop; /* NULL: reads of `bytes` per thread */
  size_t base, bytes;
  size_t piece; /* 0: all of them, over and over; else each round reads the next so many once, so that no cache helps */
  double best;
} row;

/* GB/s of `threads` threads that read, each its own part of the memory. */
static double read_rate(const row *r, const char *memory, uint32_t threads, uint32_t round) {
  worker workers[MAX_THREADS];
  const size_t bytes = r->piece ? r->piece : r->bytes, offset = r->piece ? round % (r->bytes / r->piece) * r->piece : 0;
  for (uint32_t i = 0; i < threads; i++) {
    workers[i] = (worker){
        .read = qn_bench_read_loop(), .memory = memory + r->base + i * r->bytes + offset, .bytes = bytes};
  }
  return rate(workers, threads, r->piece ? 1 : 0, ROUND_NS, (double)bytes);
}

static int read_word(const char *name, int index, char *word, size_t cap) {
  char path[128];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
  FILE *f = fopen(path, "r");
  char *line = f ? fgets(word, (int)cap, f) : NULL;
  if (f) fclose(f);
  return line != NULL;
}

/* Bytes of the data cache of a level as the system lists it (sysconf tells some machines' last level wrong). */
static size_t cache_bytes(int level, size_t otherwise) {
  char word[32];
  for (int i = 0; i < 8; i++) {
    if (!read_word("level", i, word, sizeof word) || atoi(word) != level) continue;
    if (!read_word("type", i, word, sizeof word) || word[0] == 'I') continue;
    if (!read_word("size", i, word, sizeof word) || atol(word) <= 0) continue;
    return (size_t)atol(word) << (strchr(word, 'M') ? 20 : 10);
  }
  return otherwise;
}

size_t qn_bench_level_bytes(uint32_t level, uint32_t threads) {
  const size_t l2 = cache_bytes(2, (size_t)1 << 20), l3 = cache_bytes(3, (size_t)16 << 20);
  const size_t shared = l3 / 4 / threads, memory = (l3 * 4 > LARGE_BYTES ? l3 * 4 : LARGE_BYTES) / threads;
  switch (level) {
    case 1:
      return cache_bytes(1, (size_t)32 << 10) / 2;
    case 2:
      return l2 / 2;
    case 3:
      return shared > 2 * l2 ? shared : 2 * l2;
    default:
      return (memory + QN_BENCH_PIECE - 1) / QN_BENCH_PIECE * QN_BENCH_PIECE;
  }
}

const char *const qn_bench_level_names[5] = {"", "read L1", "read L2", "read L3", "read memory"};

double qn_bench_memory_rate(const char *memory, uint32_t threads, uint32_t round) {
  const row r = {.bytes = qn_bench_level_bytes(QN_BENCH_MEMORY, threads), .piece = QN_BENCH_PIECE};
  return read_rate(&r, memory, threads, round);
}

static uint32_t list_rows(row rows[MAX_ROWS], uint32_t threads) {
  const qn_bench_loop *loop;
  uint32_t n = 0;
  for (; n < MAX_ROWS - 4 && (loop = qn_bench_loop_at(n)) != NULL; n++) {
    rows[n] = (row){loop->name, loop->kind == QN_BENCH_FLOAT ? "GFLOPS" : "GOPS", loop, 0, 0, 0, 0};
  }
  for (uint32_t level = 1; level <= QN_BENCH_MEMORY; level++) {
    const size_t bytes = (qn_bench_level_bytes(level, threads) + 4095) / 4096 * 4096;
    const size_t piece = level == QN_BENCH_MEMORY ? QN_BENCH_PIECE : 0;
    rows[n++] = (row){qn_bench_level_names[level], "GB/s", NULL, 0, bytes, piece, 0};
  }
  return n;
}

static int measure(qn_cli_state *c, row *rows, uint32_t n, const char *memory, uint32_t threads) {
  for (uint32_t round = 0; round < ROUNDS; round++) {
    for (uint32_t i = 0; i < n; i++) {
      double value = rows[i].loop ? qn_bench_loop_gops(rows[i].loop, threads, ROUND_NS)
                                  : read_rate(&rows[i], memory, threads, round);
      if (value > rows[i].best) rows[i].best = value;
      if (qn_cli_progress(c, round * n + i + 1, (uint64_t)ROUNDS * n, rows[i].name)) return qn_cli_interrupted();
    }
  }
  return CLI_DONE;
}

/* What a loop multiplies: QN_BENCH_*. */
static const char *const operands[] = {"int8", "float", "int4", "int8", "int4"};

static void print_rows(qn_cli_state *c, const row *rows, uint32_t n, uint32_t threads) {
  qn_cli_json j = {.out = c->out};
  if (c->common.json) {
    qn_cli_json_open(&j, NULL, '{');
    qn_cli_json_int(&j, "threads", threads);
    qn_cli_json_open(&j, "limits", '[');
  } else {
    qn_cli_out_format(c->out, "%u thread%s, best of %d\n", (unsigned)threads, threads > 1 ? "s" : "", ROUNDS);
  }
  for (uint32_t i = 0; i < n; i++) {
    if (c->common.json) {
      qn_cli_json_open(&j, NULL, '{');
      qn_cli_json_text(&j, "name", rows[i].name);
      qn_cli_json_text(&j, "unit", rows[i].unit);
      qn_cli_json_double(&j, "value", rows[i].best);
      if (rows[i].loop) qn_cli_json_text(&j, "operands", operands[rows[i].loop->kind]);
      if (!rows[i].loop) qn_cli_json_int(&j, "bytes", rows[i].bytes);
      qn_cli_json_close(&j, '}');
    } else {
      qn_cli_out_format(c->out, "  %-46s %9.1f %s\n", rows[i].name, rows[i].best, rows[i].unit);
    }
  }
  if (c->common.json) {
    qn_cli_json_close(&j, ']');
    qn_cli_json_close(&j, '}');
    qn_cli_json_end(&j);
  }
}

int qn_bench_limits(qn_cli_state *c) {
  row rows[MAX_ROWS];
  int code = qn_cli_context_open(c);
  if (code) return code;
  const uint32_t threads = quern_context_threads(c->context), n = list_rows(rows, threads);
  size_t bytes = 0;
  for (uint32_t i = 0; i < n; i++) {
    rows[i].base = bytes; /* a place of its own: what one row reads is not in another's cache */
    bytes += rows[i].bytes * threads;
  }
  bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  if (c->common.limit_bytes && bytes > c->common.limit_bytes) {
    return qn_cli_fail(c, CLI_FAILED, "needs %zu bytes, above --limit-bytes %llu", bytes,
                       (unsigned long long)c->common.limit_bytes);
  }
  char *memory = aligned_alloc(HUGE_PAGE, bytes);
  if (!memory) return qn_cli_fail(c, CLI_FAILED, "out of memory: %zu bytes", bytes);
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE); /* bandwidth, not address translation */
#endif
  memset(memory, 1, bytes);
  code = measure(c, rows, n, memory, threads);
  qn_cli_progress_clear();
  if (!code) print_rows(c, rows, n, threads);
  free(memory);
  return code;
}
