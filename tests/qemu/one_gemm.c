/* one_gemm.c - one product on one set, for counting its instructions: one_gemm ISA M N K, of 8-bit weights, or one_gemm ISA M
 * N K GROUP, of 4-bit ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/kernels.h"

static void *filled(size_t bytes, int byte) {
  void *p = aligned_alloc(64, qk_round_up(bytes, 64));
  if (!p) exit(1);
  return memset(p, byte, bytes);
}

static int run_q4(const qk_table *t, qk_codes a, size_t m, size_t n, size_t k, uint32_t group) {
  const size_t groups = qk_groups(k, group);
  a.group_start = filled(m * groups * 4, 0);
  a.group = group;
  const qk_gemm_group op = {.a = a,
                            .w = filled(qk_weight_bytes(n, k, 4), 0x99),
                            .scale = filled(qk_weight_bytes_f32(n, groups), 0),
                            .w_sums = filled(n * 4, 0),
                            .out = filled(m * n * 4, 0),
                            .ldo = n,
                            .n = (uint32_t)n,
                            .k = (uint32_t)k,
                            .bits = 4,
                            .group = group};
  t->gemm_group(&op, 0, m, 0, qk_panels(n));
  return 0;
}

int main(int argc, char **argv) {
  qk_table t;
  if (argc < 5 || argc > 6 || !qk_table_build(&t, argv[1], qk_cpu_features())) {
    printf("usage: %s ISA M N K [GROUP], with a set of this CPU\n", argv[0]);
    return 2;
  }
  const size_t m = strtoul(argv[2], NULL, 0), n = strtoul(argv[3], NULL, 0), k = strtoul(argv[4], NULL, 0);
  const qk_codes a = {.codes = filled(m * qk_k8(k), 1),
                      .ld = qk_k8(k),
                      .scale = filled(m * 4, 0),
                      .start = filled(m * 4, 0),
                      .zero = filled(m * 4, 0)};
  if (argc == 6) return run_q4(&t, a, m, n, k, (uint32_t)strtoul(argv[5], NULL, 0));
  const qk_gemm_q8 op = {.a = a,
                         .w = filled(qk_weight_bytes(n, k, 8), 0x81),
                         .w_scale = filled(n * 4, 0),
                         .w_sums = filled(n * 4, 0),
                         .out = filled(m * n * 4, 0),
                         .ldo = n,
                         .n = (uint32_t)n,
                         .k = (uint32_t)k};
  t.gemm_q8(&op, 0, m, 0, qk_panels(n));
  return 0;
}
