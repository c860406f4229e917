/* bench_kernels.c - `quern bench --kernels`: each kernel of the chosen set on one thread, interleaved with the loop that
 * bounds it, then the bars. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench_rows.h"

/* Short rounds, so that on a busy machine some of them run without losing the CPU. */
#define ROUNDS 24u
#define ROUND_NS 400000u
#define ROW_NS 400000000u /* a row that is slow gets fewer rounds */

static uint64_t time_calls(const qn_bench_kernel *k, qn_bench_row *r, uint64_t calls) {
  uint64_t start = qn_cli_clock_ns();
  for (uint64_t i = 0; i < calls; i++) k->run(r);
  return qn_cli_clock_ns() - start;
}

/* Bytes per ns of reading what the next calls would. */
static double area_rate(qn_bench_row *r) {
  qn_bench_area *a = &r->area;
  size_t products = a->piece ? a->piece / a->each : a->count;
  if (products < 1) products = 1;
  if (a->at + products > a->count) a->at = 0;
  const double rate = qn_bench_read_rate(a->memory + a->at * a->each, products * a->each, a->piece ? 0 : ROUND_NS);
  a->at = (a->at + products) % a->count;
  return rate;
}

double qn_bench_time(const qn_bench_kernel *k, qn_bench_row *r, const qn_bench_loop *loop, uint32_t rounds,
                     double *limit) {
  uint64_t calls = 1, took = time_calls(k, r, 1), began = qn_cli_clock_ns();
  double best = 0;
  while (took < ROUND_NS / 2) {
    calls *= 2;
    took = time_calls(k, r, calls);
  }
  *limit = 0;
  for (uint32_t i = 0; i < rounds && (i == 0 || qn_cli_clock_ns() - began < ROW_NS); i++) {
    const double ns = (double)time_calls(k, r, calls) / (double)calls;
    const double most = loop ? qn_bench_loop_gops(loop, 1, ROUND_NS) : r->area.memory ? area_rate(r) : 0;
    if (i == 0 || ns < best) best = ns;
    if (most > *limit) *limit = most;
  }
  return best;
}

static void put_row(qn_cli_state *c, qn_cli_json *j, const qn_bench_kernel *k, const qn_bench_row *r,
                    const char *shape_text, double ns, double peak) {
  const double gops = r->ops / ns, value = r->ops > 0 ? gops : r->bytes / ns, fraction = peak > 0 ? value / peak : 0;
  if (!j && r->ops > 0) {
    qn_cli_out_format(c->out, "%-14s %-28s %10.2f us %9.1f GOPS %6.1f %% of %.0f\n", k->name, shape_text, ns * 1e-3,
                      gops, 100 * fraction, peak);
  } else if (!j && peak > 0) {
    qn_cli_out_format(c->out, "%-14s %-28s %10.2f us %9.1f GB/s %6.1f %% of %.0f\n", k->name, shape_text, ns * 1e-3,
                      value, 100 * fraction, peak);
  } else if (!j) {
    qn_cli_out_format(c->out, "%-14s %-28s %10.2f us %9.1f GB/s\n", k->name, shape_text, ns * 1e-3, value);
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
      qn_cli_json_double(j, "bytes_per_second", value * 1e9);
      if (peak > 0) qn_cli_json_double(j, "fraction_of_reading", fraction);
    }
    qn_cli_json_close(j, '}');
  }
  qn_cli_out_flush(c->out);
}

static int bench_row(qn_cli_state *c, qn_cli_json *j, const qk_table *table, const qn_bench_kernel *k,
                     const qn_bench_sizes *s, const char *shape_text) {
  qn_bench_row r = {.table = table, .s = *s};
  int code = CLI_DONE;
  k->prepare(&r);
  if (r.failed) {
    code = qn_cli_fail(c, CLI_FAILED, "out of memory for %s %s", k->name, shape_text);
  } else {
    double peak, ns = qn_bench_time(k, &r, r.ops > 0 ? qn_bench_loop_for(table->isa, r.kind) : NULL, ROUNDS, &peak);
    put_row(c, j, k, &r, shape_text, ns, peak);
    code = qn_cli_interrupted();
  }
  qn_bench_row_free(&r);
  return code;
}

static int each_kernel(qn_cli_state *c, qn_cli_json *j, const qk_table *table, const char *filter, uint32_t *matched) {
  const qn_bench_kernel *k;
  int code = CLI_DONE;
  for (uint32_t i = 0; !code && (k = qn_bench_kernel_at(i)) != NULL; i++) {
    for (uint32_t s = 0; s < k->shape_count && !code && !c->out->error; s++) {
      char shape[80], name[96];
      qn_bench_shape_text(k, &k->shapes[s], shape, sizeof shape);
      snprintf(name, sizeof name, "%s %s", k->name, shape);
      if (filter && !strstr(name, filter)) continue;
      ++*matched;
      code = bench_row(c, j, table, k, &k->shapes[s], shape);
    }
  }
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
  code = each_kernel(c, j, &table, filter, &matched);
  if (j) {
    qn_cli_json_close(j, ']');
    qn_cli_json_open(j, "bars", '[');
  }
  if (!code) code = qn_bench_bars(c, j, table.isa, filter, &matched);
  if (j) {
    qn_cli_json_close(j, ']');
    qn_cli_json_close(j, '}');
    qn_cli_json_end(j);
  }
  if (!code && !matched) code = qn_cli_fail(c, CLI_FAILED, "no kernel, shape or bar has '%s' in its name", filter);
  return code;
}
