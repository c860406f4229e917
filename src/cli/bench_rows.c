/* bench_rows.c - what `quern bench --kernels` times: every kernel at the shapes of models, with random and valid operands.
 * Results are not looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "bench_rows.h"

#define HUGE_PAGE ((size_t)2 << 20)

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

/* ---- weights that fill a level of memory ------------------------------------------------------------------------- */

/* Where the parts of a product's weights lie: codes, then scales or their integer steps, sums, biases and scales of its channels. */
typedef struct parts {
  size_t codes, scales, channels; /* bytes; of the last, of each of sums, biases and scales */
} parts;

static parts parts_of(const qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  const size_t channels = qk_panels(s.n) * QK_PANEL * sizeof(float);
  if (!r->by_group.w) return (parts){qk_weight_bytes(s.n, s.k, 8), channels, channels};
  const size_t scales = qk_panels(s.n) * QK_PANEL * qk_groups(s.k, r->by_group.group);
  return (parts){qk_weight_bytes(s.n, s.k, 4), scales * (r->by_group.steps ? 1 : sizeof(float)), channels};
}

static void take_next(qn_bench_row *r) {
  const parts p = parts_of(r);
  char *w = r->area.memory + r->area.at * r->area.each;
  float *scales = (float *)(void *)(w + p.codes);
  char *sums = w + p.codes + p.scales;
  if (r->by_group.w) {
    r->by_group.w = (uint8_t *)w;
    if (r->by_group.steps) {
      r->by_group.steps = (uint8_t *)w + p.codes;
      r->by_group.scale = (float *)(void *)(sums + 2 * p.channels);
      r->by_group.code_sums = (int32_t *)(void *)sums;
    } else {
      r->by_group.scale = scales;
      r->by_group.w_sums = (float *)(void *)sums;
    }
    r->by_group.bias = (float *)(void *)(sums + p.channels);
  } else {
    r->q8.w = (uint8_t *)w;
    r->q8.w_scale = scales;
    r->q8.w_sums = (int32_t *)(void *)sums;
    r->q8.bias = (float *)(void *)(sums + p.channels);
  }
  if (++r->area.at == r->area.count) r->area.at = 0;
}

void qn_bench_spread(qn_bench_row *r, size_t bytes, size_t piece) {
  const parts p = parts_of(r);
  qn_bench_area *a = &r->area;
  const size_t all = p.codes + p.scales + (r->by_group.steps ? 3 : 2) * p.channels;
  r->bytes = (double)all;
  a->each = (all + 1023) / 1024 * 1024;
  a->count = bytes > a->each ? bytes / a->each : 1;
  a->piece = piece;
  a->memory = aligned_alloc(HUGE_PAGE, (a->count * a->each + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
  if (!a->memory || r->owned_count == sizeof r->owned / sizeof r->owned[0]) {
    free(a->memory);
    a->memory = NULL;
    r->failed = 1;
    return;
  }
  r->owned[r->owned_count++] = a->memory;
#ifdef MADV_HUGEPAGE
  madvise(a->memory, a->count * a->each, MADV_HUGEPAGE); /* bandwidth, not address translation */
#endif
  for (size_t i = 0; i < a->count; i++) {
    char *w = a->memory + i * a->each;
    for (size_t j = 0; j < p.codes; j += sizeof(uint32_t)) {
      const uint32_t bits = random_bits();
      memcpy(w + j, &bits, sizeof bits);
    }
    memset(w + p.codes, 0, a->each - p.codes);
    for (size_t j = p.codes; j < p.codes + p.scales; j += sizeof(float)) {
      const float scale = 0.5f + (float)(random_bits() >> 16) / 65536.0f;
      memcpy(w + j, &scale, sizeof scale);
    }
  }
}

/* ---- the kernels ------------------------------------------------------------------------------------------------- */

static void prepare_gemm_q8(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  float *x = take_floats(r, (size_t)s.m * s.k);
  r->q8 = (qk_gemm_q8){.a = take_codes(r, s.m, s.k),
                       .w = take_bytes(r, qk_weight_bytes(s.n, s.k, 8)),
                       .w_scale = take_floats(r, qk_panels(s.n) * QK_PANEL),
                       .w_sums = take(r, qk_panels(s.n) * QK_PANEL * sizeof(int32_t)),
                       .bias = take_floats(r, qk_panels(s.n) * QK_PANEL),
                       .out = take(r, (size_t)s.m * s.n * sizeof(float)),
                       .ldo = s.n,
                       .n = s.n,
                       .k = s.k,
                       .act = s.act};
  r->x = x;
  if (!r->failed) r->table->quantize(x, s.k, s.k, NULL, &r->q8.a, 0, s.m);
  r->ops = 2.0 * s.m * s.n * s.k;
}
static void run_gemm_q8(qn_bench_row *r) {
  if (r->area.memory) take_next(r);
  r->table->gemm_q8(&r->q8, 0, r->s.m, 0, qk_panels(r->s.n));
}
static void run_gemm_q8_quantized(qn_bench_row *r) {
  r->table->quantize(r->x, r->s.k, r->s.k, NULL, &r->q8.a, 0, r->s.m);
  run_gemm_q8(r);
}

/* What is multiplied by groups: 4 bits, scales in floats; the same with integer steps of scales; 2 bits; 8 bits; 8 bits, and
   activations with a symmetric scale for each group; with zeros too. */
enum { CODES_4, CODES_4_STEPS, CODES_2, CODES_8, CODES_8_BOTH, CODES_8_ZEROS };
static const char *const codes_names[] = {"", " steps", " 2 bit", " 8 bit", " 8 bit both", " 8 bit both, zeros"};

static void prepare_gemm_group(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  const uint32_t group = s.group ? s.group : (uint32_t)qk_k8(s.k);
  const uint32_t bits = s.codes >= CODES_8 ? 8 : s.codes == CODES_2 ? 2 : 4;
  const size_t groups = qk_groups(s.k, group), scales = qk_weight_bytes_f32(s.n, groups) / sizeof(float);
  float *x = take_floats(r, (size_t)s.m * s.k);
  qk_gemm_group *op = &r->by_group;
  *op = (qk_gemm_group){.a = take_codes(r, s.m * (s.codes >= CODES_8_BOTH ? groups : 1), s.k),
                        .w = take_bytes(r, qk_weight_bytes(s.n, s.k, bits)),
                        .scale = take_floats(r, scales),
                        .steps = s.codes == CODES_4_STEPS ? take_bytes(r, scales) : NULL,
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
  op->a.grouped = s.codes >= CODES_8_BOTH;
  op->a.symmetric = s.codes == CODES_8_BOTH;
  if (!r->failed) r->table->quantize(x, s.k, s.k, NULL, &op->a, 0, s.m);
  r->ops = 2.0 * s.m * s.n * s.k;
  r->kind = bits == 8 || op->steps ? QN_BENCH_INT8 : s.group == QK_GROUP ? QN_BENCH_INT4_GROUPS : QN_BENCH_INT4;
}
static void run_gemm_group(qn_bench_row *r) {
  if (r->area.memory) take_next(r);
  r->table->gemm_group(&r->by_group, 0, r->s.m, 0, qk_panels(r->s.n));
}

static void prepare_gemm_f32(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
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
  r->kind = QN_BENCH_FLOAT;
}
static void run_gemm_f32(qn_bench_row *r) { r->table->gemm_f32(&r->f32, 0, r->s.m, 0, qk_panels(r->s.n)); }

/* Products of few rows, as decoding has them, whose weights come from a level of memory. */
static void spread_far(qn_bench_row *r) {
  if (!r->failed)
    qn_bench_spread(r, qn_bench_level_bytes(r->s.level, 1), r->s.level == QN_BENCH_MEMORY ? QN_BENCH_PIECE : 0);
  r->ops = 0;
}
static void prepare_q8_far(qn_bench_row *r) {
  prepare_gemm_q8(r);
  spread_far(r);
}
static void prepare_group_far(qn_bench_row *r) {
  prepare_gemm_group(r);
  spread_far(r);
}

static void prepare_quantize(qn_bench_row *r) {
  r->x = take_floats(r, (size_t)r->s.m * r->s.n);
  r->norm.q = take_codes(r, r->s.m, r->s.n);
  r->bytes = 5.0 * r->s.m * r->s.n;
}
static void run_quantize(qn_bench_row *r) { r->table->quantize(r->x, r->s.n, r->s.n, NULL, &r->norm.q, 0, r->s.m); }

/* Rows of n in blocks of k, an order between the steps; the second step is of sums and differences where codes says so. */
static void prepare_transform(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  int32_t *order = take(r, s.n * sizeof *order);
  int8_t *signs = take(r, s.n);
  const int16_t *matrix = (const int16_t *)(const void *)take_bytes(r, qk_rotation_bytes(s.k));
  r->x = take_floats(r, (size_t)s.m * s.n);
  r->norm.q = take_codes(r, s.m, s.n);
  r->norm.q.bits = 4;
  r->y = take(r, qk_transform_scratch(s.n));
  if (r->failed) return;
  for (uint32_t i = 0; i < s.n; i++) {
    const uint32_t from = random_bits() % (i + 1);
    order[i] = order[from], order[from] = (int32_t)i;
    signs[i] = random_bits() & 1 ? 1 : -1;
  }
  r->transform = (qk_transform){.first = matrix, .order = order, .block = s.k};
  if (s.codes)
    r->transform.signs = signs;
  else
    r->transform.second = matrix;
  r->ops = (s.codes ? 2.0 : 4.0) * s.m * s.n * s.k; /* of the rotations */
}
static void run_transform(qn_bench_row *r) {
  r->table->transform(&r->transform, r->x, r->s.n, r->s.n, &r->norm.q, r->y, 0, r->s.m);
}

static void prepare_norm(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
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
                              .k = take(r, n * hp),
                              .k_scale = take(r, n * sizeof(float)),
                              .k_start = take(r, n * sizeof(int32_t)),
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
  r->kind = QN_BENCH_FLOAT;
}
static void run_attention_f32(qn_bench_row *r) { r->table->attention_f32(&r->attention_float, 0, r->s.m); }

/* m rows, the last of n tokens, of `group` heads of size k that share a cache of 8 bits; with a level many caches, of which every call
   takes the next. */
static void prepare_attend(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  const size_t blocks = (s.n + QK_BLOCK - 1) / QK_BLOCK, bytes = qk_cache_bytes(s.k, 8), each = blocks * bytes;
  const size_t room = s.level ? qn_bench_level_bytes(s.level, 1) : 0, count = room > each ? room / each : 1;
  float *x = take_floats(r, 2 * (size_t)s.n * s.k);
  uint8_t *memory = take(r, count * each);
  r->blocks = take(r, count * blocks * sizeof *r->blocks);
  r->attend = (qk_attend_cache){.block = r->blocks,
                                .keys = s.n,
                                .q = take_floats(r, (size_t)s.m * s.group * s.k),
                                .ldq = (size_t)s.group * s.k,
                                .heads = s.group,
                                .h = s.k,
                                .bits = 8,
                                .position = s.n - s.m,
                                .fold = 0.18f,
                                .out = take(r, (size_t)s.m * s.group * s.k * sizeof(float)),
                                .ldo = (size_t)s.group * s.k,
                                .scratch = take(r, qk_attend_scratch(s.k))};
  if (r->failed) return;
  for (size_t i = 0; i < count * blocks; i++) r->blocks[i] = memory + i * bytes;
  for (size_t i = 0; i < blocks; i++) r->table->cache_clear(memory + i * bytes, s.k, 8);
  const qk_append append = {.block = (uint8_t *const *)(uintptr_t)r->blocks,
                            .k = x,
                            .v = x + (size_t)s.n * s.k,
                            .ldx = s.k,
                            .h = s.k,
                            .bits = 8};
  r->table->cache_append(&append, 0, s.n);
  for (size_t i = 1; i < count; i++) memcpy(memory + i * each, memory, each);
  if (s.level) {
    r->area = (qn_bench_area){.memory = (char *)memory, .each = each, .count = count};
    r->bytes = (double)each;
  } else {
    for (uint32_t i = 0; i < s.m; i++) r->ops += 4.0 * s.group * s.k * (s.n - s.m + i + 1);
  }
}
static void run_attend(qn_bench_row *r) {
  const size_t blocks = (r->s.n + QK_BLOCK - 1) / QK_BLOCK;
  if (r->area.memory) {
    r->attend.block = r->blocks + r->area.at * blocks;
    r->area.at = (r->area.at + 1) % r->area.count;
  }
  r->table->attend_cache(&r->attend, 0, r->s.m);
}

static void prepare_rotate(qn_bench_row *r) {
  const qn_bench_sizes s = r->s;
  r->x = take_floats(r, (size_t)s.m * s.n);
  r->y = take_floats(r, (size_t)s.m * s.k);
  float *frequency = take_floats(r, s.k);
  int32_t *positions = take(r, s.m * sizeof *positions);
  for (uint32_t i = 0; positions && i < s.m; i++) positions[i] = (int32_t)i;
  if (!r->failed) r->table->turns(frequency, s.k / 2, positions, r->y, r->y + (size_t)s.m * s.k / 2, 0, s.m);
  r->bytes = 8.0 * s.m * s.n;
}
static void run_rotate(qn_bench_row *r) {
  const qk_rotate op = {.x = r->x,
                        .ldx = r->s.n,
                        .heads = r->s.n / r->s.k,
                        .h = r->s.k,
                        .rotary = r->s.k,
                        .cosine = r->y,
                        .sine = r->y + (size_t)r->s.m * r->s.k / 2};
  r->table->rotate(&op, 0, r->s.m);
}

static void prepare_gate(qn_bench_row *r) {
  r->x = take_floats(r, 2 * (size_t)r->s.m * r->s.n);
  r->y = take(r, (size_t)r->s.m * r->s.n * sizeof(float));
  r->norm.q = take_codes(r, r->s.m, r->s.n);
  r->bytes = 13.0 * r->s.m * r->s.n;
}
static void run_gate(qn_bench_row *r) {
  const qk_gate op = {
      .x = r->x, .out = r->y, .ldx = 2 * (size_t)r->s.n, .ldo = r->s.n, .d = r->s.n, .act = r->s.act, .q = r->norm.q};
  r->table->gate(&op, 0, r->s.m);
}

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

static const qn_bench_sizes gemm_shapes[] = {
    {1, 384, 384, 0, 0, 0, 0},
    {1, 1536, 384, 0, 0, 0, 0},
    {1, 384, 1536, 0, 0, 0, 0},
    {4, 384, 384, 0, 0, 0, 0},
    {4, 1536, 384, 0, 0, 0, 0},
    {4, 384, 1536, 0, 0, 0, 0},
    {16, 1152, 384, 0, 0, 0, 0},
    {16, 1536, 384, 0, 0, 0, 0},
    {16, 384, 1536, 0, 0, 0, 0},
    {128, 384, 384, 0, 0, 0, 0},
    {128, 1152, 384, 0, 0, 0, 0},
    {128, 1536, 384, 0, 0, 0, 0},
    {128, 384, 1536, 0, 0, 0, 0},
    {512, 1152, 384, 0, 0, 0, 0},
    {512, 1536, 384, 0, 0, 0, 0},
    {512, 384, 1536, 0, 0, 0, 0},
    {128, 3072, 768, 0, 0, 0, 0},
    {128, 768, 3072, 0, 0, 0, 0},
    {2048, 384, 384, 0, 0, 0, 0},
    {16, 1536, 384, QK_ACT_GELU_SHORT, 0, 0, 0},
    {128, 1536, 384, QK_ACT_GELU_SHORT, 0, 0, 0},
    {128, 3072, 768, QK_ACT_GELU_SHORT, 0, 0, 0},
};
#define EACH_GROUP(m, n, k, act)                                                                                       \
  {m, n, k, act, 0, 0, 0}, {m, n, k, act, 128, 0, 0}, {m, n, k, act, 64, 0, 0}, { m, n, k, act, 32, 0, 0 }
#define EACH_CODES(m, n, k)                                                                                            \
  {m, n, k, 0, 32, CODES_4_STEPS, 0}, {m, n, k, 0, 32, CODES_2, 0}, {m, n, k, 0, 32, CODES_8, 0},                      \
      {m, n, k, 0, 32, CODES_8_BOTH, 0}, {                                                                             \
    m, n, k, 0, 32, CODES_8_ZEROS, 0                                                                                   \
  }
static const qn_bench_sizes gemm_group_shapes[] = {
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
    EACH_GROUP(128, 1536, 384, QK_ACT_GELU_SHORT),
    EACH_CODES(1, 1536, 384),
    EACH_CODES(16, 1536, 384),
    EACH_CODES(128, 1536, 384),
    EACH_CODES(128, 384, 1536),
};
#define EACH_FAR(n, k, group, codes, level)                                                                            \
  {1, n, k, 0, group, codes, level}, {2, n, k, 0, group, codes, level}, {4, n, k, 0, group, codes, level}, {           \
    8, n, k, 0, group, codes, level                                                                                    \
  }
#define FAR(group, codes)                                                                                              \
  EACH_FAR(1536, 576, group, codes, 2), EACH_FAR(960, 576, group, codes, 3), EACH_FAR(1536, 576, group, codes, 3),     \
      EACH_FAR(576, 1536, group, codes, 3), EACH_FAR(5632, 2048, group, codes, 4),                                     \
      EACH_FAR(2048, 5632, group, codes, 4)
static const qn_bench_sizes q8_far_shapes[] = {FAR(0, 0)};
static const qn_bench_sizes group_far_shapes[] = {FAR(32, CODES_4), FAR(32, CODES_4_STEPS)};
static const qn_bench_sizes gemm_f32_shapes[] = {{1, 1536, 384, 0, 0, 0, 0},
                                                 {16, 1536, 384, 0, 0, 0, 0},
                                                 {128, 1152, 384, 0, 0, 0, 0},
                                                 {128, 1536, 384, 0, 0, 0, 0},
                                                 {128, 384, 1536, 0, 0, 0, 0}};
static const qn_bench_sizes row_shapes[] = {
    {128, 384, 0, 0, 0, 0, 0}, {128, 768, 0, 0, 0, 0, 0}, {128, 1536, 0, 0, 0, 0, 0}};
static const qn_bench_sizes transform_shapes[] = {
    {1, 576, 64, 0, 0, 0, 0},     {1, 576, 64, 0, 0, 1, 0},     {1, 2048, 128, 0, 0, 0, 0},
    {1, 2048, 128, 0, 0, 1, 0},   {192, 576, 64, 0, 0, 0, 0},   {192, 576, 64, 0, 0, 1, 0},
    {192, 1536, 64, 0, 0, 0, 0},  {192, 1536, 64, 0, 0, 1, 0},  {192, 2048, 128, 0, 0, 0, 0},
    {192, 2048, 128, 0, 0, 1, 0}, {192, 5632, 128, 0, 0, 0, 0}, {192, 5632, 128, 0, 0, 1, 0},
    {16, 2048, 128, 0, 0, 0, 0},  {16, 2048, 128, 0, 0, 1, 0},  {16, 8192, 128, 0, 0, 0, 0},
    {16, 8192, 128, 0, 0, 1, 0}};
static const qn_bench_sizes head_shapes[] = {{16, 32, 0, 0, 0, 0, 0},
                                             {128, 32, 0, 0, 0, 0, 0},
                                             {512, 32, 0, 0, 0, 0, 0},
                                             {128, 64, 0, 0, 0, 0, 0},
                                             {512, 64, 0, 0, 0, 0, 0}};
static const qn_bench_sizes activate_shapes[] = {{128, 1536, 0, QK_ACT_GELU, 0, 0, 0},
                                                 {128, 1536, 0, QK_ACT_GELU_SHORT, 0, 0, 0},
                                                 {128, 1536, 0, QK_ACT_GELU_TANH, 0, 0, 0},
                                                 {128, 1536, 0, QK_ACT_TANH, 0, 0, 0}};
static const qn_bench_sizes attend_shapes[] = {{512, 512, 64, 0, 3, 0, 0},  {512, 512, 64, 0, 7, 0, 0},
                                               {512, 2048, 64, 0, 3, 0, 0}, {2048, 2048, 64, 0, 3, 0, 0},
                                               {16, 1024, 64, 0, 3, 0, 0},  {4, 1024, 64, 0, 3, 0, 0}};
static const qn_bench_sizes attend_far_shapes[] = {
    {1, 1024, 64, 0, 3, 0, 2}, {1, 1024, 64, 0, 3, 0, 3},  {1, 2048, 64, 0, 3, 0, 3}, {1, 1024, 64, 0, 7, 0, 2},
    {1, 1024, 64, 0, 7, 0, 3}, {1, 1024, 256, 0, 4, 0, 3}, {1, 1024, 64, 0, 1, 0, 3}, {4, 1024, 64, 0, 3, 0, 3}};
static const qn_bench_sizes rotate_shapes[] = {{128, 576, 64, 0, 0, 0, 0}};
static const qn_bench_sizes gate_shapes[] = {{128, 1536, 0, QK_ACT_SILU, 0, 0, 0},
                                             {128, 2048, 0, QK_ACT_GELU_TANH, 0, 0, 0}};
static const qn_bench_sizes vector_shapes[] = {{1, 384, 0, 0, 0, 0, 0}, {1, 768, 0, 0, 0, 0, 0}};

static const char *const act_names[QK_ACT_KINDS] = {"",      " gelu",       " gelu_tanh", " relu",
                                                    " tanh", " gelu_short", " silu"};

#define SHAPES(x) x, sizeof x / sizeof x[0]
static const qn_bench_kernel kernels[] = {
    {"gemm_q8", prepare_gemm_q8, run_gemm_q8, SHAPES(gemm_shapes), "m=%u n=%u k=%u"},
    {"gemm_group", prepare_gemm_group, run_gemm_group, SHAPES(gemm_group_shapes), "m=%u n=%u k=%u"},
    {"q8_far", prepare_q8_far, run_gemm_q8, SHAPES(q8_far_shapes), "m=%u n=%u k=%u"},
    {"group_far", prepare_group_far, run_gemm_group, SHAPES(group_far_shapes), "m=%u n=%u k=%u"},
    {"gemm_f32", prepare_gemm_f32, run_gemm_f32, SHAPES(gemm_f32_shapes), "m=%u n=%u k=%u"},
    {"attention_q8", prepare_attention, run_attention, SHAPES(head_shapes), "n=%u h=%u"},
    {"attention_f32", prepare_attention_f32, run_attention_f32, SHAPES(head_shapes), "n=%u h=%u"},
    {"attend_cache", prepare_attend, run_attend, SHAPES(attend_shapes), "rows=%u depth=%u h=%u"},
    {"attend_far", prepare_attend, run_attend, SHAPES(attend_far_shapes), "rows=%u depth=%u h=%u"},
    {"rotate", prepare_rotate, run_rotate, SHAPES(rotate_shapes), "rows=%u d=%u h=%u"},
    {"gate", prepare_gate, run_gate, SHAPES(gate_shapes), "rows=%u d=%u"},
    {"pack_q8", prepare_pack, run_pack, SHAPES(head_shapes), "n=%u h=%u"},
    {"quantize", prepare_quantize, run_quantize, SHAPES(row_shapes), "rows=%u d=%u"},
    {"transform", prepare_transform, run_transform, SHAPES(transform_shapes), "rows=%u d=%u block=%u"},
    {"norm", prepare_norm, run_norm, SHAPES(row_shapes), "rows=%u d=%u"},
    {"activate", prepare_floats, run_activate, SHAPES(activate_shapes), "rows=%u d=%u"},
    {"mean_rows", prepare_floats, run_mean_rows, SHAPES(row_shapes), "rows=%u d=%u"},
    {"normalize", prepare_floats, run_normalize, SHAPES(vector_shapes), "rows=%u d=%u"},
    {"dot", prepare_floats, run_dot, SHAPES(vector_shapes), "rows=%u d=%u"},
    {"softmax", prepare_floats, run_softmax, SHAPES(vector_shapes), "rows=%u d=%u"},
};

const qn_bench_kernel qn_bench_q8 = {"gemm_q8", prepare_gemm_q8, run_gemm_q8, NULL, 0, NULL};
const qn_bench_kernel qn_bench_q8_quantized = {
    "quantize + gemm_q8", prepare_gemm_q8, run_gemm_q8_quantized, NULL, 0, NULL};
const qn_bench_kernel qn_bench_groups = {"gemm_group", prepare_gemm_group, run_gemm_group, NULL, 0, NULL};

const qn_bench_kernel *qn_bench_kernel_at(uint32_t i) {
  return i < sizeof kernels / sizeof kernels[0] ? &kernels[i] : NULL;
}

const char *qn_bench_shape_text(const qn_bench_kernel *k, const qn_bench_sizes *s, char *text, size_t cap) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  size_t used = (size_t)snprintf(text, cap, k->format, s->m, s->n, s->k);
#pragma GCC diagnostic pop
  used += (size_t)snprintf(text + used, cap - used, "%s", act_names[s->act]);
  if (k->prepare == prepare_attend)
    used += (size_t)snprintf(text + used, cap - used, " heads=%u", s->group);
  else if (k->prepare == prepare_transform)
    used += (size_t)snprintf(text + used, cap - used, s->codes ? " hadamard" : "");
  else if (s->group)
    used += (size_t)snprintf(text + used, cap - used, " g%u%s", s->group, codes_names[s->codes]);
  else if (k->prepare == prepare_gemm_group)
    used += (size_t)snprintf(text + used, cap - used, " channel");
  if (s->level) snprintf(text + used, cap - used, " from %s", qn_bench_level_names[s->level] + strlen("read "));
  return text;
}

void qn_bench_row_free(qn_bench_row *r) {
  for (uint32_t i = 0; i < r->owned_count; i++) free(r->owned[i]);
}
