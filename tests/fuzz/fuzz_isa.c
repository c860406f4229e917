/* fuzz_isa.c - kernel set against kernel set: the first byte chooses an operation, the rest decides shapes, kinds of
 * values and cuts (tests/kernels/guard.h), eight bytes a draw, and what it does not decide follows from its hash. Every set
 * that this machine has gives the reference's bytes and writes nowhere else. */
#include <stdio.h>
#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#pragma GCC diagnostic ignored "-Wunused-function" /* definitions that are checked by test_kernels alone */
#include "tests/kernels/check_parts.h"
#include "tests/kernels/check_transform.h"

typedef int check_fn(const qk_table *ref, const qk_table *t);
static check_fn *const checks[] = {check_gemm_q8,
                                   check_attention_q8,
                                   check_quantize,
                                   check_norm,
                                   check_embed,
                                   check_pack_q8,
                                   check_gemm_f32,
                                   check_activate,
                                   check_mean_rows,
                                   check_normalize,
                                   check_attention_f32,
                                   check_dot,
                                   check_softmax,
                                   check_gemm_q8_large,
                                   check_gemm_group,
                                   check_gemm_steps,
                                   check_gemm_grouped,
                                   check_lookup_q8,
                                   check_start_q8,
                                   check_attention_codes,
                                   check_gemm_q8_codes,
                                   check_few_rows,
                                   check_pack_codes,
                                   check_quantize_parts,
                                   check_quantize_any_parts,
                                   check_gemm_q8_parts,
                                   check_gemm_q8_any_parts,
                                   check_norm_q8,
                                   check_norm_q8_columns,
                                   check_columns,
                                   check_gemm_q8_planes,
                                   check_transform,
                                   check_bits};
#define CHECKS (sizeof checks / sizeof checks[0])

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static int mapped;
  const uint64_t features = qk_cpu_features();
  qk_table ref, t;
  if (!bytes) return 0;
  FUZZ_NEED(mapped || (mapped = guard_map()));
  FUZZ_NEED(qk_table_build(&ref, "ref", features));
  for (uint32_t i = 1; qk_isa_at(i, features); i++) {
    FUZZ_NEED(qk_table_build(&t, qk_isa_at(i, features)->name, features));
    case_begin(qn_xxh64(data, bytes, 0));
    rng_given = data + 1, rng_left = bytes - 1;
    if (checks[data[0] % CHECKS](&ref, &t) && margins_whole()) continue;
    printf("%s: %s\n", t.isa, fail_text[0] ? fail_text : "wrote outside of a buffer");
    abort();
  }
  return 0;
}
