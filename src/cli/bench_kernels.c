/* bench_kernels.c - `quern bench --kernels`: each kernel of the chosen set on one thread, at the shapes of models,
 * interleaved with the loop that bounds it. Data is random and valid; results are not looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "kernels/kernels.h"

/* Short rounds, so that on a busy machine some of them run without losing the CPU. */
#define ROUNDS 24u
#define ROUND_NS 400000u
#define ROW_NS 400000000u /* a row that is slow gets fewer rounds */

/* Sizes of one row; what they mean is the kernel's. */
typedef struct shape {
  uint32_t m, n, k, act;
  uint32_t group; /* of inputs, of products by groups; 0: one scale a channel */
  uint32_t kind;  /* of products by groups: GROUP_* */
} shape;

/* What is multiplied by groups: 4 bits, scales in floats; the same with integer steps of scales; 2 bits; 8 bits; 8 bits, and
   activations with a symmetric scale for each group; with zeros too. */
enum { GROUP_4, GROUP_4_STEPS, GROUP_2, GROUP_8, GROUP_8_BOTH, GROUP_8_ZEROS };
static const char *const group_names[] = {"", " steps", " 2 bit", " 8 bit", " 8 bit both", " 8 bit both, zeros"};

/* Everything a kernel may need, made for one row. */
typedef struct qn_bench_row {
  const qk_table *table;
  shape s;
  double ops, bytes; /* of one call; ops 0: bytes are what counts */
  uint32_t loop;     /* QN_BENCH_*, what bounds it */
  qk_gemm_q8 q8;
  qk_gemm_group group;
  qk_gemm_f32 f32;
  qk_norm norm;
  qk_pack_q8 pack;
  qk_attention_q8 attention;
  qk_attention_f32 attention_float;
  float *x, *y;
  void *owned[16];
  uint32_t owned_count;
  int failed; /* out of memory */
} qn_bench_row;

typedef struct kernel {
  const char *name;
  void (*prepare)(qn_bench_row *r);
  void (*run)(qn_bench_row *r);
  const shape *shapes;
  uint32_t shape_count;
  const char *format; /* of the shape: m, n, k */
} kernel;

static uint64_t random_state = 1;

static uint32_t random_bits(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

static void *take(qn_bench_row *r, size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!p || r->owned_count == sizeof r->owned / sizeof r->owned[0]) {
    free(p);
    r->failed = 1;
    return NULL;
  }
  memset(p, 0, (bytes + 127) / 64 * 64);
  r->owned[r->owned_count++] = p;
  return p;
}

static float *take_floats(qn_bench_row *r, size_t n) {
  float *x = take(r, n * sizeof *x);
  for (size_t i = 0; x && i < n; i++) x[i] = (float)((double)random_bits() / 2147483648.0 - 1.0);
  return x;
}

static uint8_t *take_bytes(qn_bench_row *r, size_t n) {
  uint8_t *x = take(r, n);
  for (size_t i = 0; x && i < n; i++) x[i] = (uint8_t)(random_bits() >> 8 | 1);
  return x;
}

static qk_codes take_codes(qn_bench_row *r, size_t rows, size_t d) {
  return (qk_codes){.codes = take(r, rows * qk_k8(d)),
                    .ld = qk_k8(d),
                    .scale = take(r, rows * sizeof(float)),
                    .start = take(r, rows * sizeof(int32_t)),
                    .zero = take(r, rows * sizeof(float))};
}

/* ---- the kernels ------------------------------------------------------------------------------------------------- */

static void prepare_gemm_q8(qn_bench_row *r) {
  const shape s = r->s;
  float *x = take_floats(r, (size_t)s.m * s.k);
  r->q8 = (qk_gemm_q8){.a = take_codes(r, s.m, s.k),
                       .w = take_bytes(r, qk_weight_bytes_i8(s.n, s.k)),
                       .w_scale = take_floats(r, qk_panels(s.n) * QK_PANEL),
                       .w_sums = take(r, qk_panels(s.n) * QK_PANEL * sizeof(int32_t)),
                       .bias = take_floats(r, qk_panels(s.n) * QK_PANEL),
                       .out = take(r, (size_t)s.m * s.n * sizeof(float)),
                       .ldo = s.n,
                       .n = s.n,
                       .k = s.k,
                       .act = s.act};
  if (!r->failed) r->table->quantize(x, s.k, s.k, NULL, &r->q8.a, 0, s.m);
  r->ops = 2.0 * s.m * s.n * s.k;
}
static void run_gemm_q8(qn_bench_row *r) { r->table->gemm_q8(&r->q8, 0, r->s.m, 0, qk_panels(r->s.n)); }

static void prepare_gemm_q4(qn_bench_row *r) {
  const shape s = r->s;
  const uint32_t group = s.group ? s.group : (uint32_t)qk_k8(s.k);
  const uint32_t bits = s.kind >= GROUP_8 ? 8 : s.kind == GROUP_2 ? 2 : 4;
  const size_t groups = qk_groups(s.k, group), scales = qk_weight_bytes_f32(s.n, groups) / sizeof(float);
  float *x = take_floats(r, (size_t)s.m * s.k);
  qk_gemm_group *op = &r->group;
  *op = (qk_gemm_group){.a = take_codes(r, s.m * (s.kind >= GROUP_8_BOTH ? groups : 1), s.k),
                        .w = take_bytes(r, qk_weight_bytes(s.n, s.k, bits)),
                        .scale = take_floats(r, scales),
                        .steps = s.kind == GROUP_4_STEPS ? take_bytes(r, scales) : NULL,
                        .w_sums = take_floats(r, s.n),
                        .code_sums = take(r, s.n * sizeof(int32_t)),
                        .value_sums = take_floats(r, scales),
                        .bias = take_floats(r, s.n),
                        .out = take(r, (size_t)s.m * s.n * sizeof(float)),
                        .ldo = s.n,
                        .n = s.n,
                        .k = s.k,
                        .bits = bits,
                        .group = group,
                        .act = s.act};
  op->a.group = group;
  op->a.group_start = take(r, s.m * groups * sizeof(int32_t));
  op->a.grouped = s.kind >= GROUP_8_BOTH;
  op->a.symmetric = s.kind == GROUP_8_BOTH;
  if (!r->failed) r->table->quantize(x, s.k, s.k, NULL, &op->a, 0, s.m);
  r->ops = 2.0 * s.m * s.n * s.k;
  r->loop = bits == 8 || op->steps ? QN_BENCH_INT8 : QN_BENCH_INT4;
}
static void run_gemm_q4(qn_bench_row *r) { r->table->gemm_group(&r->group, 0, r->s.m, 0, qk_panels(r->s.n)); }

static void prepare_gemm_f32(qn_bench_row *r) {
  const shape s = r->s;
  r->f32 = (qk_gemm_f32){.a = take_floats(r, (size_t)s.m * s.k),
                         .w = take_floats(r, qk_weight_bytes_f32(s.n, s.k) / sizeof(float)),
                         .bias = take_floats(r, qk_panels(s.n) * QK_PANEL),
                         .out = take(r, (size_t)s.m * s.n * sizeof(float)),
                         .lda = s.k,
                         .ldo = s.n,
                         .n = s.n,
                         .k = s.k,
                         .act = s.act};
  r->ops = 2.0 * s.m * s.n * s.k;
  r->loop = QN_BENCH_FLOAT;
}
static void run_gemm_f32(qn_bench_row *r) { r->table->gemm_f32(&r->f32, 0, r->s.m, 0, qk_panels(r->s.n)); }

static void prepare_quantize(qn_bench_row *r) {
  r->x = take_floats(r, (size_t)r->s.m * r->s.n);
  r->norm.q = take_codes(r, r->s.m, r->s.n);
  r->bytes = 5.0 * r->s.m * r->s.n;
}
static void run_quantize(qn_bench_row *r) { r->table->quantize(r->x, r->s.n, r->s.n, NULL, &r->norm.q, 0, r->s.m); }

static void prepare_norm(qn_bench_row *r) {
  const shape s = r->s;
  r->norm = (qk_norm){.x = take_floats(r, (size_t)s.m * s.n),
                      .out = take(r, (size_t)s.m * s.n * sizeof(float)),
                      .gain = take_floats(r, s.n),
                      .bias = take_floats(r, s.n),
                      .q = take_codes(r, s.m, s.n),
                      .ldx = s.n,
                      .ldo = s.n,
                      .d = s.n,
                      .eps = 1e-12f};
  r->bytes = 9.0 * s.m * s.n;
}
static void run_norm(qn_bench_row *r) { r->table->norm(&r->norm, 0, r->s.m); }

/* One head: m tokens of n channels, q, k and v side by side. */
static void prepare_pack(qn_bench_row *r) {
  const size_t n = qk_round_up(r->s.m, QK_BLOCK), h = r->s.n, hp = qk_round_up(h, QK_LANES);
  r->x = take_floats(r, 3 * r->s.m * h);
  if (r->failed) return;
  r->pack = (qk_pack_q8){.q = r->x, .k = r->x + h, .v = r->x + 2 * h, .ldx = 3 * h, .fold = 0.18f};
  r->pack.head = (qk_head_q8){.q = take(r, n * hp),
                              .q_scale = take(r, n * sizeof(float)),
                              .q_start = take(r, n * sizeof(int32_t)),
                              .k = take(r, n * hp),
                              .k_scale = take(r, n * sizeof(float)),
                              .v = take(r, n * hp),
                              .v_scale = take(r, n * sizeof(float)),
                              .n = r->s.m,
                              .h = r->s.n};
  r->bytes = 15.0 * (double)r->s.m * (double)h;
}
static void run_pack(qn_bench_row *r) { r->table->pack_q8(&r->pack, 0, r->s.m); }

static void prepare_attention(qn_bench_row *r) {
  prepare_pack(r);
  r->attention = (qk_attention_q8){
      .head = r->pack.head, .out = take(r, (size_t)r->s.m * r->s.n * sizeof(float)), .ldo = r->s.n};
  if (!r->failed) run_pack(r);
  r->ops = 4.0 * r->s.m * r->s.m * r->s.n;
}
static void run_attention(qn_bench_row *r) { r->table->attention_q8(&r->attention, 0, r->s.m); }

static void prepare_attention_f32(qn_bench_row *r) {
  const size_t h = r->s.n;
  float *x = take_floats(r, 3 * r->s.m * h);
  if (!x) return;
  r->attention_float = (qk_attention_f32){.q = x,
                                          .k = x + h,
                                          .v = x + 2 * h,
                                          .ldx = 3 * h,
                                          .fold = 0.18f,
                                          .out = take(r, (size_t)r->s.m * h * sizeof(float)),
                                          .ldo = h,
                                          .n = r->s.m,
                                          .h = r->s.n};
  r->ops = 4.0 * r->s.m * r->s.m * r->s.n;
  r->loop = QN_BENCH_FLOAT;
}
static void run_attention_f32(qn_bench_row *r) { r->table->attention_f32(&r->attention_float, 0, r->s.m); }

static void prepare_floats(qn_bench_row *r) {
  r->x = take_floats(r, (size_t)r->s.m * r->s.n);
  r->y = take_floats(r, (size_t)r->s.m * r->s.n);
  r->bytes = 8.0 * r->s.m * r->s.n;
}
static void run_activate(qn_bench_row *r) { r->table->activate(r->x, r->y, (size_t)r->s.m * r->s.n, r->s.act); }
static void run_mean_rows(qn_bench_row *r) { r->table->mean_rows(r->x, r->s.n, r->s.m, r->s.n, r->y); }
static void run_normalize(qn_bench_row *r) { r->table->normalize(r->x, r->s.n); }
static void run_dot(qn_bench_row *r) { r->y[0] = r->table->dot(r->x, r->y, r->s.n); }
static void run_softmax(qn_bench_row *r) { r->table->softmax(r->x, r->y, r->s.n); }

static const shape gemm_shapes[] = {
    {1, 384, 384, 0, 0, 0},
    {1, 1536, 384, 0, 0, 0},
    {1, 384, 1536, 0, 0, 0},
    {4, 384, 384, 0, 0, 0},
    {4, 1536, 384, 0, 0, 0},
    {4, 384, 1536, 0, 0, 0},
    {16, 1152, 384, 0, 0, 0},
    {16, 1536, 384, 0, 0, 0},
    {16, 384, 1536, 0, 0, 0},
    {128, 384, 384, 0, 0, 0},
    {128, 1152, 384, 0, 0, 0},
    {128, 1536, 384, 0, 0, 0},
    {128, 384, 1536, 0, 0, 0},
    {512, 1152, 384, 0, 0, 0},
    {512, 1536, 384, 0, 0, 0},
    {512, 384, 1536, 0, 0, 0},
    {128, 3072, 768, 0, 0, 0},
    {128, 768, 3072, 0, 0, 0},
    {2048, 384, 384, 0, 0, 0},
    {16, 1536, 384, QK_ACT_GELU, 0, 0},
    {128, 1536, 384, QK_ACT_GELU, 0, 0},
    {128, 3072, 768, QK_ACT_GELU, 0, 0},
};
#define EACH_GROUP(m, n, k, act)                                                                                       \
  {m, n, k, act, 0, 0}, {m, n, k, act, 128, 0}, {m, n, k, act, 64, 0}, { m, n, k, act, 32, 0 }
static const shape gemm_q4_shapes[] = {
    EACH_GROUP(1, 384, 384, 0),
    EACH_GROUP(1, 1536, 384, 0),
    EACH_GROUP(1, 384, 1536, 0),
    EACH_GROUP(4, 1536, 384, 0),
    EACH_GROUP(16, 1536, 384, 0),
    EACH_GROUP(16, 384, 1536, 0),
    EACH_GROUP(128, 384, 384, 0),
    EACH_GROUP(128, 1152, 384, 0),
    EACH_GROUP(128, 1536, 384, 0),
    EACH_GROUP(128, 384, 1536, 0),
    EACH_GROUP(512, 1536, 384, 0),
    EACH_GROUP(128, 3072, 768, 0),
    EACH_GROUP(128, 1536, 384, QK_ACT_GELU),
};
#define EACH_KIND(m, n, k)                                                                                             \
  {m, n, k, 0, 32, GROUP_4_STEPS}, {m, n, k, 0, 32, GROUP_2}, {m, n, k, 0, 32, GROUP_8},                               \
      {m, n, k, 0, 32, GROUP_8_BOTH}, {                                                                                \
    m, n, k, 0, 32, GROUP_8_ZEROS                                                                                      \
  }
static const shape gemm_group_shapes[] = {
    EACH_KIND(1, 1536, 384),
    EACH_KIND(16, 1536, 384),
    EACH_KIND(128, 1536, 384),
    EACH_KIND(128, 384, 1536),
};
static const shape gemm_f32_shapes[] = {{1, 1536, 384, 0, 0, 0},
                                        {16, 1536, 384, 0, 0, 0},
                                        {128, 1152, 384, 0, 0, 0},
                                        {128, 1536, 384, 0, 0, 0},
                                        {128, 384, 1536, 0, 0, 0}};
static const shape row_shapes[] = {{128, 384, 0, 0, 0, 0}, {128, 768, 0, 0, 0, 0}, {128, 1536, 0, 0, 0, 0}};
static const shape head_shapes[] = {
    {16, 32, 0, 0, 0, 0}, {128, 32, 0, 0, 0, 0}, {512, 32, 0, 0, 0, 0}, {128, 64, 0, 0, 0, 0}, {512, 64, 0, 0, 0, 0}};
static const shape activate_shapes[] = {
    {128, 1536, 0, QK_ACT_GELU, 0, 0}, {128, 1536, 0, QK_ACT_GELU_TANH, 0, 0}, {128, 1536, 0, QK_ACT_TANH, 0, 0}};
static const shape vector_shapes[] = {{1, 384, 0, 0, 0, 0}, {1, 768, 0, 0, 0, 0}};

static const char *const act_names[QK_ACT_KINDS] = {"", " gelu", " gelu_tanh", " relu", " tanh"};

#define SHAPES(x) x, sizeof x / sizeof x[0]
static const kernel kernels[] = {
    {"gemm_q8", prepare_gemm_q8, run_gemm_q8, SHAPES(gemm_shapes), "m=%u n=%u k=%u"},
    {"gemm_q4", prepare_gemm_q4, run_gemm_q4, SHAPES(gemm_q4_shapes), "m=%u n=%u k=%u"},
    {"gemm_group", prepare_gemm_q4, run_gemm_q4, SHAPES(gemm_group_shapes), "m=%u n=%u k=%u"},
    {"gemm_f32", prepare_gemm_f32, run_gemm_f32, SHAPES(gemm_f32_shapes), "m=%u n=%u k=%u"},
    {"attention_q8", prepare_attention, run_attention, SHAPES(head_shapes), "n=%u h=%u"},
    {"attention_f32", prepare_attention_f32, run_attention_f32, SHAPES(head_shapes), "n=%u h=%u"},
    {"pack_q8", prepare_pack, run_pack, SHAPES(head_shapes), "n=%u h=%u"},
    {"quantize", prepare_quantize, run_quantize, SHAPES(row_shapes), "rows=%u d=%u"},
    {"norm", prepare_norm, run_norm, SHAPES(row_shapes), "rows=%u d=%u"},
    {"activate", prepare_floats, run_activate, SHAPES(activate_shapes), "rows=%u d=%u"},
    {"mean_rows", prepare_floats, run_mean_rows, SHAPES(row_shapes), "rows=%u d=%u"},
    {"normalize", prepare_floats, run_normalize, SHAPES(vector_shapes), "rows=%u d=%u"},
    {"dot", prepare_floats, run_dot, SHAPES(vector_shapes), "rows=%u d=%u"},
    {"softmax", prepare_floats, run_softmax, SHAPES(vector_shapes), "rows=%u d=%u"},
};
#define KERNEL_COUNT ((uint32_t)(sizeof kernels / sizeof kernels[0]))

/* ---- timing ------------------------------------------------------------------------------------------------------ */

static uint64_t time_calls(const kernel *k, qn_bench_row *r, uint64_t calls) {
  uint64_t start = qn_cli_clock_ns();
  for (uint64_t i = 0; i < calls; i++) k->run(r);
  return qn_cli_clock_ns() - start;
}

/* Best ns of one call; *peak: best of the loop that bounds it. */
static double time_row(const kernel *k, qn_bench_row *r, const qn_bench_loop *loop, double *peak) {
  uint64_t calls = 1, took = time_calls(k, r, 1), began = qn_cli_clock_ns();
  double best = 0;
  while (took < ROUND_NS / 2) {
    calls *= 2;
    took = time_calls(k, r, calls);
  }
  *peak = 0;
  for (uint32_t i = 0; i < ROUNDS && (i == 0 || qn_cli_clock_ns() - began < ROW_NS); i++) {
    double ns = (double)time_calls(k, r, calls) / (double)calls,
           gops = loop ? qn_bench_loop_gops(loop, 1, ROUND_NS) : 0;
    if (i == 0 || ns < best) best = ns;
    if (gops > *peak) *peak = gops;
  }
  return best;
}

static void put_row(qn_cli_state *c, qn_cli_json *j, const kernel *k, const qn_bench_row *r, const char *shape_text,
                    double ns, double peak) {
  double gops = r->ops / ns, fraction = peak > 0 ? gops / peak : 0;
  if (!j && r->ops > 0) {
    qn_cli_out_format(c->out, "%-14s %-28s %10.2f us %9.1f GOPS %6.1f %% of %.0f\n", k->name, shape_text, ns * 1e-3,
                      gops, 100 * fraction, peak);
  } else if (!j) {
    qn_cli_out_format(c->out, "%-14s %-28s %10.2f us %9.1f GB/s\n", k->name, shape_text, ns * 1e-3, r->bytes / ns);
  } else {
    qn_cli_json_open(j, NULL, '{');
    qn_cli_json_text(j, "kernel", k->name);
    qn_cli_json_text(j, "shape", shape_text);
    qn_cli_json_double(j, "ns", ns);
    if (r->ops > 0) {
      qn_cli_json_double(j, "gops", gops);
      qn_cli_json_double(j, "peak_gops", peak);
      qn_cli_json_double(j, "fraction_of_peak", fraction);
    } else {
      qn_cli_json_double(j, "bytes_per_second", r->bytes / ns * 1e9);
    }
    qn_cli_json_close(j, '}');
  }
  qn_cli_out_flush(c->out);
}

static int qn_bench_shape_of(qn_cli_state *c, qn_cli_json *j, const qk_table *table, const kernel *k, const shape *s,
                             const char *shape_text) {
  qn_bench_row r = {.table = table, .s = *s};
  int code = CLI_DONE;
  k->prepare(&r);
  if (r.failed) {
    code = qn_cli_fail(c, CLI_FAILED, "out of memory for %s %s", k->name, shape_text);
  } else {
    double peak, ns = time_row(k, &r, r.ops > 0 ? qn_bench_loop_for(table->isa, r.loop) : NULL, &peak);
    put_row(c, j, k, &r, shape_text, ns, peak);
    code = qn_cli_interrupted();
  }
  for (uint32_t i = 0; i < r.owned_count; i++) free(r.owned[i]);
  return code;
}

int qn_bench_kernels(qn_cli_state *c, const char *filter) {
  qk_table table;
  qn_cli_json json = {.out = c->out}, *j = c->common.json ? &json : NULL;
  uint32_t matched = 0;
  int code = qn_cli_context_open(c); /* checks the name of the kernel set */
  if (code) return code;
  if (!qk_table_build(&table, quern_context_isa(c->context), qk_cpu_features())) {
    return qn_cli_fail(c, CLI_FAILED, "no kernel set '%s'", quern_context_isa(c->context));
  }
  if (j) {
    qn_cli_json_open(j, NULL, '{');
    qn_cli_json_text(j, "isa", table.isa);
    qn_cli_json_open(j, "kernels", '[');
  } else {
    qn_cli_out_format(c->out, "%s, one thread\n", table.isa);
  }
  for (uint32_t i = 0; i < KERNEL_COUNT && !code; i++) {
    for (uint32_t s = 0; s < kernels[i].shape_count && !code && !c->out->error; s++) {
      const shape *sizes = &kernels[i].shapes[s];
      char name[96];
      int used = snprintf(name, sizeof name, "%s ", kernels[i].name);
      char *text = name + used;
      size_t room = sizeof name - (size_t)used;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      used = snprintf(text, room, kernels[i].format, sizes->m, sizes->n, sizes->k);
#pragma GCC diagnostic pop
      used += snprintf(text + used, room - (size_t)used, "%s", act_names[sizes->act]);
      if (kernels[i].prepare == prepare_gemm_q4 && sizes->group)
        snprintf(text + used, room - (size_t)used, " g%u%s", sizes->group, group_names[sizes->kind]);
      else if (kernels[i].prepare == prepare_gemm_q4)
        snprintf(text + used, room - (size_t)used, " channel");
      if (filter && !strstr(name, filter)) continue;
      matched++;
      code = qn_bench_shape_of(c, j, &table, &kernels[i], sizes, text);
    }
  }
  if (j) {
    qn_cli_json_close(j, ']');
    qn_cli_json_close(j, '}');
    qn_cli_json_end(j);
  }
  if (!code && !matched) code = qn_cli_fail(c, CLI_FAILED, "no kernel or shape has '%s' in its name", filter);
  return code;
}
