/* one_gemm.c - one 8-bit product on one set, for counting its instructions: one_gemm ISA M N K. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/kernels.h"

static void *filled(size_t bytes, int byte) {
  void *p = aligned_alloc(64, qk_round_up(bytes, 64));
  if (!p) exit(1);
  return memset(p, byte, bytes);
}

int main(int argc, char **argv) {
  qk_table t;
  if (argc != 5 || !qk_table_build(&t, argv[1], qk_cpu_features())) {
    printf("usage: %s ISA M N K, with a set of this CPU\n", argv[0]);
    return 2;
  }
  const size_t m = strtoul(argv[2], NULL, 0), n = strtoul(argv[3], NULL, 0), k = strtoul(argv[4], NULL, 0);
  const qk_gemm_q8 op = {.a = {filled(m * qk_k8(k), 1), qk_k8(k), filled(m * 4, 0), filled(m * 4, 0), filled(m * 4, 0)},
                         .w = filled(qk_weight_bytes_i8(n, k), 0x81),
                         .w_scale = filled(n * 4, 0),
                         .w_sums = filled(n * 4, 0),
                         .out = filled(m * n * 4, 0),
                         .ldo = n,
                         .n = (uint32_t)n,
                         .k = (uint32_t)k};
  t.gemm_q8(&op, 0, m, 0, qk_panels(n));
  return 0;
}
