/* bench.h - what the forms of `quern bench` share: loops that reach the machine's limits, and how they are timed. */
#ifndef QN_CLI_BENCH_H
#define QN_CLI_BENCH_H
#include "cli.h"

/* ---- loops (bench_loops.c) --------------------------------------------------------------------------------------- */

/* What a loop multiplies. Where 4-bit weights in groups of 32 have no sequence of their own, it is that of longer groups,
   and where these have none, that of 8-bit weights, but for TILES, which take 8 bits alone. */
enum { QN_BENCH_INT8, QN_BENCH_FLOAT, QN_BENCH_INT4, QN_BENCH_TILES, QN_BENCH_INT4_GROUPS };

/* A register-resident loop of one instruction sequence: the most operations per second that a kernel built of it could
   reach. An operation is a multiplication or an addition. */
typedef struct qn_bench_loop {
  const char *name; /* of the instructions */
  uint32_t level;   /* of the kernel set that uses them, by qn_bench_level */
  uint32_t kind;    /* QN_BENCH_* */
  uint32_t ops;     /* of one iteration */
  void (*run)(uint64_t iterations);
} qn_bench_loop;

/* Loop i that this CPU can run, NULL past the end. */
const qn_bench_loop *qn_bench_loop_at(uint32_t i);
/* The most capable loop that a kernel set may use, the first of its level; for "ref" and unknown names the machine's best.
   NULL: none. */
const qn_bench_loop *qn_bench_loop_for(const char *isa, uint32_t kind);
/* Reads `bytes`, a multiple of 1024, from p, aligned to 64 bytes. */
typedef void qn_bench_reader(const char *p, size_t bytes);
/* The reader with the widest loads that this CPU has. */
qn_bench_reader *qn_bench_read_loop(void);

/* ---- timing (bench_limits.c) ------------------------------------------------------------------------------------- */

/* Operations per ns of `threads` threads running the loop at once, for about ns. 0: no threads to be had. */
double qn_bench_loop_gops(const qn_bench_loop *loop, uint32_t threads, uint64_t ns);
/* Bytes per ns of reading, with the widest loads, over and over for about ns; 0: once. As for qn_bench_reader. */
double qn_bench_read_rate(const char *memory, size_t bytes, uint64_t ns);
/* Levels of memory: caches by their number, and what is behind them, of which each round reads another piece. */
enum { QN_BENCH_MEMORY = 4 };
#define QN_BENCH_PIECE ((size_t)8 << 20)
extern const char *const qn_bench_level_names[QN_BENCH_MEMORY + 1];
/* Bytes that lie in a level and in none before it, for each of `threads` threads. */
size_t qn_bench_level_bytes(uint32_t level, uint32_t threads);
/* Bytes per ns that `threads` threads read from behind all caches, each its own part of qn_bench_level_bytes(QN_BENCH_MEMORY, threads)
   of memory: a piece for each round, so that none is in a cache. */
double qn_bench_memory_rate(const char *memory, uint32_t threads, uint32_t round);
int qn_bench_limits(qn_cli_state *c);
/* filter: NULL or a part of the rows' names. */
int qn_bench_kernels(qn_cli_state *c, const char *filter);

/* ---- other work on the machine (bench_load.c) -------------------------------------------------------------------- */

/* CPU time since the system started, of all CPUs, in ticks; all 0 where the system does not tell. */
typedef struct qn_bench_load {
  double busy, stolen, all; /* run by processes; by other guests of a hypervisor; these and idle */
  double own;               /* of busy: this process's */
} qn_bench_load;
void qn_bench_load_now(qn_bench_load *out);
/* The first line of /proc/stat; own stays. 0: it is not. */
int qn_bench_load_parse(const char *stat, qn_bench_load *out);
/* Whether figures taken between the two are doubtful; text: why. */
int qn_bench_load_doubts(const qn_bench_load *from, const qn_bench_load *to, char *text, size_t cap);

/* ---- the forms --------------------------------------------------------------------------------------------------- */

typedef struct qn_bench_shape {
  uint32_t batch, seq, repeat;
} qn_bench_shape;
int qn_bench_model(qn_cli_state *c, const char *path, const qn_bench_shape *shape);
/* Of a decoder: tokens of a prompt, tokens decoded one at a time, tokens before them. */
typedef struct qn_bench_decoding {
  uint32_t prompt, decode, depth, repeat;
  uint32_t cache; /* of CLI_CACHE_OPTION */
} qn_bench_decoding;
int qn_bench_decoder(qn_cli_state *c, const char *path, const qn_bench_decoding *shape);
/* Of lines of a file; NULL or "-": standard input. */
int qn_bench_text(qn_cli_state *c, const char *path, const char *file, uint32_t repeat);
/* What the forms of a model share (bench_model.c): ids from a fixed seed, what the process took at most, whether all is float. */
void qn_bench_random_ids(int32_t *ids, size_t n, uint32_t vocab);
uint64_t qn_bench_peak_rss(void);
int qn_bench_is_float(qn_cli_model *m);
double qn_bench_median(double *values, uint32_t n); /* sorts them */

#endif
