/* bench_rows.h - kernels with operands to run them on, and how a row of `quern bench --kernels` is timed. */
#ifndef QN_CLI_BENCH_ROWS_H
#define QN_CLI_BENCH_ROWS_H
#include "bench.h"
#include "kernels/kernels.h"

/* Sizes of one row; what they mean is the kernel's. */
typedef struct qn_bench_sizes {
  uint32_t m, n, k, act;
  uint32_t group; /* of inputs, of products by groups; 0: one scale a channel */
  uint32_t codes; /* of products by groups: CODES_* of bench_rows.c; of transforms 1: a Hadamard transform */
  uint32_t level; /* of memory, that operands come from; 0: they are where they are */
} qn_bench_sizes;

/* Weights of many products, one after another, each with all that a call reads of them: they fill a level of memory, and
   every call takes the next. */
typedef struct qn_bench_area {
  char *memory;
  size_t each, count, at; /* bytes of a product's, products, the next one */
  size_t piece;           /* bytes to read in one go; 0: all */
} qn_bench_area;

/* Everything a kernel may need, made for one row. */
typedef struct qn_bench_row {
  const qk_table *table;
  qn_bench_sizes s;
  double ops, bytes;  /* of one call; ops 0: bytes are what counts */
  uint32_t kind;      /* QN_BENCH_*, of the loop that bounds it */
  qn_bench_area area; /* memory NULL: operands are where they are */
  qk_gemm_q8 q8;
  qk_gemm_group by_group;
  qk_gemm_f32 f32;
  qk_norm norm;
  qk_transform transform;
  qk_pack_q8 pack;
  qk_attention_q8 attention;
  qk_attention_f32 attention_float;
  qk_attend_cache attend;
  const uint8_t **blocks; /* of all caches in the area */
  float *x, *y;
  void *owned[20];
  uint32_t owned_count;
  int failed; /* out of memory */
} qn_bench_row;

typedef struct qn_bench_kernel {
  const char *name;
  void (*prepare)(qn_bench_row *r);
  void (*run)(qn_bench_row *r);
  const qn_bench_sizes *shapes;
  uint32_t shape_count;
  const char *format; /* of the shape: m, n, k */
} qn_bench_kernel;

/* ---- operands (bench_rows.c) -------------------------------------------------------------------------------------- */

/* NULL past the end. */
const qn_bench_kernel *qn_bench_kernel_at(uint32_t i);
/* Writes the shape of a row of k; returns it. */
const char *qn_bench_shape_text(const qn_bench_kernel *k, const qn_bench_sizes *s, char *text, size_t cap);
/* The products that bars are of; the 8-bit one with its activations quantized in the same call, too. */
extern const qn_bench_kernel qn_bench_q8, qn_bench_q8_quantized, qn_bench_groups;
/* After a product was prepared: its weights come from `bytes` of memory of their own. piece: as in qn_bench_area. */
void qn_bench_spread(qn_bench_row *r, size_t bytes, size_t piece);
void qn_bench_row_free(qn_bench_row *r);

/* ---- timing (bench_kernels.c) ------------------------------------------------------------------------------------- */

/* Best ns of one call, of at most `rounds`, between those of its limit. *limit: best of the loop, in operations per ns,
   or, where the row has an area, of reading it, in bytes per ns; 0: neither. */
double qn_bench_time(const qn_bench_kernel *k, qn_bench_row *r, const qn_bench_loop *loop, uint32_t rounds,
                     double *limit);

/* ---- the bars (bench_bars.c) -------------------------------------------------------------------------------------- */

/* A row for each bar that has `filter` in its name (NULL: all), into j or, NULL, as a table. Counts them in *matched. */
int qn_bench_bars(qn_cli_state *c, qn_cli_json *j, const char *isa, const char *filter, uint32_t *matched);

#endif
