/* bench_bars.c - what the kernels are held to: a fraction of what the same instructions reach in registers, or of what a level
 * of memory delivers, measured in turns with the kernel. A row for each bar and shape, of every set up to the chosen one;
 * operations are the product's own, without padding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench_rows.h"

#define ROUNDS 60u

typedef struct bar {
  const char *name, *sets; /* of the case; of the kernel sets that it is for, with spaces around each */
  const qn_bench_kernel *kernel;
  double least;
  uint32_t level; /* of memory; 0: the limit is the set's register loop */
  const qn_bench_sizes *sizes;
  uint32_t count;
} bar;

static const qn_bench_sizes most[] = {
    {16, 1536, 384, 0, 0, 0, 0},  {16, 384, 1536, 0, 0, 0, 0},  {128, 384, 384, 0, 0, 0, 0},
    {128, 1152, 384, 0, 0, 0, 0}, {128, 1536, 384, 0, 0, 0, 0}, {128, 384, 1536, 0, 0, 0, 0},
    {512, 1536, 384, 0, 0, 0, 0}, {512, 384, 1536, 0, 0, 0, 0}, {512, 1536, 1536, 0, 0, 0, 0}};
static const qn_bench_sizes four[] = {{4, 384, 384, 0, 0, 0, 0}};
static const qn_bench_sizes large[] = {{2048, 384, 384, 0, 0, 0, 0},
                                       {2048, 1536, 384, 0, 0, 0, 0},
                                       {128, 3072, 768, 0, 0, 0, 0},
                                       {128, 768, 3072, 0, 0, 0, 0}};
static const qn_bench_sizes deep[] = {{512, 1024, 4096, 0, 0, 0, 0}};
static const qn_bench_sizes some[] = {{16, 1536, 384, 0, 0, 0, 0},
                                      {128, 1152, 384, 0, 0, 0, 0},
                                      {128, 384, 1536, 0, 0, 0, 0},
                                      {128, 3072, 768, 0, 0, 0, 0}};
static const qn_bench_sizes row_near[] = {{1, 384, 384, 0, 0, 0, 0}};
static const qn_bench_sizes row_far[] = {
    {1, 1536, 384, 0, 0, 0, 0}, {1, 384, 1536, 0, 0, 0, 0}, {1, 1024, 1024, 0, 0, 0, 0}};
static const qn_bench_sizes row_groups[] = {{1, 1536, 384, 0, 128, 0, 0},
                                            {1, 384, 1536, 0, 128, 0, 0},
                                            {1, 1536, 384, 0, 32, 0, 0},
                                            {1, 384, 1536, 0, 32, 0, 0}};
static const qn_bench_sizes wide_128[] = {{16, 1536, 384, 0, 128, 0, 0},
                                          {128, 1152, 384, 0, 128, 0, 0},
                                          {128, 384, 1536, 0, 128, 0, 0},
                                          {512, 1536, 384, 0, 128, 0, 0}};
static const qn_bench_sizes wide_32[] = {{16, 1536, 384, 0, 32, 0, 0},
                                         {128, 1152, 384, 0, 32, 0, 0},
                                         {128, 384, 1536, 0, 32, 0, 0},
                                         {512, 1536, 384, 0, 32, 0, 0}};
static const qn_bench_sizes tiles_short[] = {
    {128, 384, 384, 0, 0, 0, 0}, {128, 1536, 384, 0, 0, 0, 0}, {512, 1536, 384, 0, 0, 0, 0}};
static const qn_bench_sizes tiles_long[] = {{128, 3072, 768, 0, 0, 0, 0},
                                            {128, 384, 1536, 0, 0, 0, 0},
                                            {512, 1536, 1536, 0, 0, 0, 0},
                                            {128, 768, 3072, 0, 0, 0, 0}};

#define EVERY " avx2 avxvnni avx512 avx512vnni neon dotprod i8mm "
#define SIZES(x) x, sizeof x / sizeof x[0]
static const bar bars[] = {
    {"8 bit, M 16 to 512", " avx512vnni ", &qn_bench_q8, 0.92, 0, SIZES(most)},
    {"8 bit, M 16 to 512, quantizing", " avx512vnni ", &qn_bench_q8_quantized, 0.88, 0, SIZES(most)},
    {"8 bit, M 4, weights in L2", " avx512vnni ", &qn_bench_q8, 0.90, 0, SIZES(four)},
    {"8 bit, M 2048 or 2 MB of weights", " avx512vnni ", &qn_bench_q8, 0.86, 0, SIZES(large)},
    {"8 bit, K 4096", " avx512vnni ", &qn_bench_q8, 0.86, 0, SIZES(deep)},
    {"8 bit, one row, L2", " avxvnni avx512vnni ", &qn_bench_q8, 0.90, 2, SIZES(row_near)},
    {"8 bit, one row, L3", EVERY, &qn_bench_q8, 0.90, 3, SIZES(row_far)},
    {"8 bit, one row, memory", EVERY, &qn_bench_q8, 0.90, QN_BENCH_MEMORY, SIZES(row_far)},
    {"4 bit, one row, L3", EVERY, &qn_bench_groups, 0.90, 3, SIZES(row_groups)},
    {"4 bit, one row, memory", EVERY, &qn_bench_groups, 0.90, QN_BENCH_MEMORY, SIZES(row_groups)},
    {"4 bit, groups of 128", " avxvnni avx512vnni ", &qn_bench_groups, 0.90, 0, SIZES(wide_128)},
    {"4 bit, groups of 32", " avxvnni avx512vnni ", &qn_bench_groups, 0.85, 0, SIZES(wide_32)},
    {"8 bit, AVX-VNNI", " avxvnni ", &qn_bench_q8, 0.90, 0, SIZES(some)},
    {"8 bit, AVX2", " avx2 ", &qn_bench_q8, 0.85, 0, SIZES(some)},
    {"8 bit, AVX2, K 4096", " avx2 ", &qn_bench_q8, 0.85, 0, SIZES(deep)},
    {"4 bit, AVX2, groups of 128", " avx2 ", &qn_bench_groups, 0.85, 0, SIZES(wide_128)},
    {"4 bit, AVX2, groups of 32", " avx2 ", &qn_bench_groups, 0.85, 0, SIZES(wide_32)},
    {"8 bit, AMX, K 384", " amx ", &qn_bench_q8, 0.65, 0, SIZES(tiles_short)},
    {"8 bit, AMX, K from 768", " amx ", &qn_bench_q8, 0.75, 0, SIZES(tiles_long)},
};

/* Bars that no clock holds: instructions executed for a multiply-add, at most. */
static const struct {
  const char *name, *set;
  double most;
} counted[] = {{"8 bit, dot products", "dotprod", 0.080},
               {"8 bit, matrices", "i8mm", 0.050},
               {"4 bit, groups of 32, matrices", "i8mm", 0.080}};
#define COUNTED_BY "counted by make check-qemu, which holds it to this; no clock is involved"

/* Why a bar is missed: what was found out, on the machine it names; docs/KERNELS.md has the figures. The first that fits: its
   set, and a part of the case. */
static const struct {
  const char *set, *part, *text;
} reasons[] = {
    {"avx2", "8 bit, one row, L3",
     "found on a Zen 3: no faster from L1; bound by its six vector instructions for 32 codes"},
    {"avx2", "4 bit, one row, L3",
     "found on a Zen 3: no faster from L1; bound by its fifteen vector instructions for 64 bytes"},
    {"avx2", "one row, memory",
     "found on a Zen 3 and a Xeon: 0.76 to 1.04 from run to run; memory is shared with others"},
    {"avx2", "8 bit, AVX2",
     "found on a Zen 3: at K 384 xor and absolute value of the weights, shared by four rows, are a ninth of the "
     "instructions; tiles of 8 rows x 8 channels are slower; deeper 0.85 on a Xeon"},
    {"avx2", "4 bit, AVX2",
     "found on a Zen 3: unpacking, shared by up to 128 rows, and each tile's start, end and epilogue, which the loop "
     "lacks; met at K 1536"},
    {"avx512vnni", "4 bit, groups of 32",
     "found on a Xeon, Emerald Rapids class: conversion and scale are 2 of 10 instructions for the same two ports, "
     "0.80 of their peak at most; unpacking and the epilogue come on top"},
    {"avx512vnni", "4 bit, groups of 128",
     "found on a Xeon, Emerald Rapids class: conversion and scale are 2 of 34 instructions for the same two ports, "
     "the epilogue of K 384 is 1 of 12 cycles, and with 16 rows unpacking 1 of 7"},
    {"avxvnni", "4 bit, groups of",
     "found on a Xeon, Emerald Rapids class: 16 registers hold twelve sums, whose float sums go through the L1 cache; "
     "8 bits with the same tile are at 0.85 to 0.92"},
    {"avxvnni", "8 bit, AVX-VNNI",
     "found on a Xeon, Emerald Rapids class: 0.83 to 0.93 from run to run with the clock, which other loops of this "
     "bench lower; two steps a round give 0.6 % more"},
    {"avxvnni", "8 bit, one row, L2",
     "found on a Xeon, Emerald Rapids class: the same with and without prefetch and with 4 or 8 chains of sums; 24 "
     "starts and epilogues in 5,000 cycles"},
    {"avxvnni", "one row, memory", "found on a Xeon: 0.77 to 1.40 from run to run; memory is shared with others"},
    {"avxvnni", "4 bit, one row, L3", "found on a Xeon: 0.70 to 0.98 from run to run; the cache is shared with others"},
    {"avx512", "one row, memory", "found on a Xeon: 0.73 to 0.85 from run to run; memory is shared with others"},
    {"avx512vnni", "8 bit, M 16 to 512, quantizing",
     "found on a Xeon, Emerald Rapids class: a pass for the range and one for the codes, nine instructions of the "
     "same two ports for 16 values; packing 64 codes at once gives 5 % of these passes, asking for rows ahead costs "
     "20 %"},
    {"avx512vnni", "8 bit, M 16 to 512",
     "found on a Xeon, Emerald Rapids class: 3 MB of output pass L2; 0.91 to 0.92 from run to run"},
    {"avx512vnni", "8 bit, M 2048", "found on a Xeon, Emerald Rapids class: 12.6 MB of output go to memory"},
    {"avx512vnni", "8 bit, M 4",
     "found on a Xeon, Emerald Rapids class: 0.87 to 0.91 from run to run; four rows share a panel's loads and "
     "epilogue"},
    {"avx512vnni", "8 bit, one row, L2",
     "found on a Xeon, Emerald Rapids class: 0.77 without the prefetch that memory gains by, 0.78 with a shorter "
     "epilogue too; beyond that not found"},
    {"avx512vnni", "4 bit, one row, memory",
     "found on a Xeon, Emerald Rapids class: 2 to 8 KB ahead and what the epilogue reads asked for ahead give the "
     "same; beyond that not found"},
    {"amx", "8 bit, AMX",
     "found on a Xeon shared with others: sums go through L1 to the vectors; a bare loop that does so is at 0.5 (K "
     "384)"},
};

static const char *reason_of(const char *set, const char *name) {
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
    if (strcmp(reasons[i].set, set) == 0 && strstr(name, reasons[i].part)) return reasons[i].text;
  return "not looked into";
}

/* Reasons that rows of a set refer to by their number, from 1. */
typedef struct notes {
  const char *text[sizeof reasons / sizeof reasons[0] + 3]; /* and the three that stand elsewhere */
  uint32_t count;
} notes;

static uint32_t note_of(notes *n, const char *reason) {
  uint32_t i = 0;
  while (i < n->count && strcmp(n->text[i], reason) != 0) i++;
  if (i == n->count) n->text[n->count++] = reason;
  return i + 1;
}

/* What a bar's row says; value 0: it was not measured. */
typedef struct result {
  const char *name, *set, *unit, *limit_of, *reason;
  const qn_bench_sizes *sizes; /* NULL: none in particular */
  double gops, value, limit, bar;
} result;

static void put(qn_cli_state *c, qn_cli_json *j, notes *n, const result *r) {
  const double fraction = r->limit > 0 ? r->value / r->limit : 0;
  const int met = fraction >= r->bar;
  const char *reason = r->value > 0 && met ? NULL : r->reason;
  char number[16] = "";
  if (reason) snprintf(number, sizeof number, " [%u]", (unsigned)note_of(n, reason));
  const qn_bench_sizes none = {0}, *s = r->sizes ? r->sizes : &none;
  if (j) {
    qn_cli_json_open(j, NULL, '{');
    qn_cli_json_text(j, "case", r->name);
    qn_cli_json_text(j, "isa", r->set);
    if (s->m) {
      qn_cli_json_int(j, "m", s->m);
      qn_cli_json_int(j, "n", s->n);
      qn_cli_json_int(j, "k", s->k);
    }
    if (s->group) qn_cli_json_int(j, "group", s->group);
    if (r->value > 0) {
      qn_cli_json_double(j, "gops", r->gops);
      qn_cli_json_double(j, "value", r->value);
      qn_cli_json_double(j, "limit", r->limit);
    }
    if (r->unit) qn_cli_json_text(j, "unit", r->unit);
    if (r->limit_of) qn_cli_json_text(j, "limit_of", r->limit_of);
    if (r->value > 0) qn_cli_json_double(j, "fraction", fraction);
    qn_cli_json_double(j, "bar", r->bar);
    if (r->value > 0) qn_cli_json_bool(j, "met", met);
    if (reason) qn_cli_json_text(j, "reason", reason);
    qn_cli_json_close(j, '}');
  } else if (r->value > 0) {
    char sizes[64];
    const int used = snprintf(sizes, sizeof sizes, "m=%u n=%u k=%u", s->m, s->n, s->k);
    if (s->group) snprintf(sizes + used, sizeof sizes - (size_t)used, " g%u", s->group);
    qn_cli_out_format(c->out, "%-10s %-33s %-22s %8.1f of %.0f %s (%s): %.3f, %s %.2f%s\n", r->set, r->name, sizes,
                      r->value, r->limit, r->unit, r->limit_of, fraction, met ? "met" : "MISSED", r->bar, number);
  } else {
    qn_cli_out_format(c->out, "%-10s %-33s bar %.3g%s%s%s\n", r->set, r->name, r->bar, r->unit ? " " : "",
                      r->unit ? r->unit : "", number);
  }
  qn_cli_out_flush(c->out);
}

static int measure(qn_cli_state *c, qn_cli_json *j, notes *n, const bar *b, const qk_table *table,
                   const qn_bench_sizes *s) {
  const size_t bytes = b->level ? qn_bench_level_bytes(b->level, 1) : 0;
  const size_t piece = b->level == QN_BENCH_MEMORY ? QN_BENCH_PIECE : 0;
  qn_bench_row row = {.table = table, .s = *s};
  result r = {.name = b->name, .set = table->isa, .sizes = s, .bar = b->least};
  int code = CLI_DONE;
  if (c->common.limit_bytes && bytes > c->common.limit_bytes) {
    r.reason = "needs more memory than --limit-bytes allows";
    put(c, j, n, &r);
    return CLI_DONE;
  }
  b->kernel->prepare(&row);
  if (b->level && !row.failed) qn_bench_spread(&row, bytes, piece);
  if (row.failed) {
    code = qn_cli_fail(c, CLI_FAILED, "out of memory for the bar '%s'", b->name);
  } else {
    const qn_bench_loop *loop = b->level ? NULL : qn_bench_loop_for(table->isa, row.kind);
    const double ns = qn_bench_time(b->kernel, &row, loop, ROUNDS, &r.limit);
    r.gops = row.ops / ns;
    r.value = b->level ? row.bytes / ns : r.gops;
    r.unit = b->level ? "GB/s" : "GOPS";
    r.limit_of = loop ? loop->name : qn_bench_level_names[b->level];
    r.reason = reason_of(table->isa, b->name);
    put(c, j, n, &r);
    code = qn_cli_interrupted();
  }
  qn_bench_row_free(&row);
  return code;
}

static int wanted(const char *filter, const char *set, const char *name, const qn_bench_sizes *s) {
  char text[160];
  const int used = snprintf(text, sizeof text, "bar %s %s", set, name);
  if (s) snprintf(text + used, sizeof text - (size_t)used, " m=%u n=%u k=%u", s->m, s->n, s->k);
  return !filter || strstr(text, filter) != NULL;
}

/* The bars of one set; NULL table: it is not to be had. */
static int bars_of(qn_cli_state *c, qn_cli_json *j, const char *set, const qk_table *table, const char *why,
                   const char *filter, uint32_t *matched) {
  char word[32];
  uint32_t absent = 0;
  notes n = {.count = 0};
  int code = CLI_DONE;
  snprintf(word, sizeof word, " %s ", set);
  for (size_t i = 0; i < sizeof bars / sizeof bars[0] && !code; i++) {
    const bar *b = &bars[i];
    if (!strstr(b->sets, word)) continue;
    if (!table) {
      const result r = {.name = b->name, .set = set, .bar = b->least, .reason = why};
      if (!wanted(filter, set, b->name, NULL)) continue;
      ++*matched;
      ++absent;
      if (j) put(c, j, &n, &r);
    }
    for (uint32_t k = 0; table && k < b->count && !code && !c->out->error; k++) {
      if (!wanted(filter, set, b->name, &b->sizes[k])) continue;
      ++*matched;
      code = measure(c, j, &n, b, table, &b->sizes[k]);
    }
  }
  if (absent && !j) qn_cli_out_format(c->out, "%-10s %u bars %s\n", set, (unsigned)absent, why);
  for (size_t i = 0; i < sizeof counted / sizeof counted[0] && !code; i++) {
    const result r = {.name = counted[i].name,
                      .set = set,
                      .bar = counted[i].most,
                      .unit = "instructions per multiply-add, at most",
                      .reason = COUNTED_BY};
    if (strcmp(counted[i].set, set) || !wanted(filter, set, r.name, NULL)) continue;
    ++*matched;
    put(c, j, &n, &r);
  }
  for (uint32_t i = 0; i < n.count && !j; i++)
    qn_cli_out_format(c->out, "%-10s [%u] %s\n", set, (unsigned)i + 1, n.text[i]);
  return code;
}

int qn_bench_bars(qn_cli_state *c, qn_cli_json *j, const char *isa, const char *filter, uint32_t *matched) {
  static const char *const sets[] = {"avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm"};
  const qk_isa *last = NULL;
  int code = CLI_DONE;
  for (size_t i = 0; i < sizeof sets / sizeof sets[0] && !code; i++) {
    const uint64_t features = qk_cpu_features();
    const qk_isa *chosen = NULL, *found = NULL;
    for (uint32_t k = 0; (last = qk_isa_at(k, features)) != NULL && !chosen; k++) {
      if (strcmp(last->name, sets[i]) == 0) found = last;
      if (strcmp(last->name, isa) == 0) chosen = last;
    }
    qk_table table;
    if (found && qk_table_build(&table, found->name, features))
      code = bars_of(c, j, sets[i], &table, NULL, filter, matched);
    else
      code = bars_of(c, j, sets[i], NULL, "not measured: this CPU lacks the set, or --isa keeps it out", filter,
                     matched);
  }
  return code;
}
