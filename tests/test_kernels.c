/* test_kernels.c - the kernel checker: every operation of every kernel set that this CPU runs, byte for byte against the
 * reference set, on buffers between inaccessible pages; and the reference against its definitions.
 *
 *   test_kernels [--isa NAME] [--test NAME] [--seed N] [--cases N] [--bench] [--golden] [--list]
 *
 * Where the CPU ends, emulation goes on: the set "amx-emulated" is the source of "amx" over tiles in plain C.
 * --golden prints the hashes of `checks`: they change when a definition does, and on no other occasion.
 * A case is made of its seed alone; a failure prints the command that repeats it. */
#include "tests/kernels/amx_emulated.h"
#include "tests/kernels/bench.h"
#include "tests/kernels/check_cache.h"
#include "tests/kernels/check_groups.h"
#include "tests/kernels/check_parts.h"
#include "tests/kernels/mean_transform.h"

typedef int check_fn(const qk_table *ref, const qk_table *t);
typedef struct check {
  const char *name;
  check_fn *run;
  int cases;
  int ref_only;    /* about the reference, run once */
  uint64_t golden; /* hash of the reference's outputs over the default cases: the same for every compiler and machine */
} check;

static const check checks[] = {
    {"table", mean_table, 1, 1, 0},
    {"fma", mean_fma, 40, 1, 0},
    {"math", mean_math, 40, 1, 0},
    {"mean_quantize", mean_quantize, 200, 1, 0},
    {"mean_zero", mean_zero, 10, 1, 0},
    {"mean_norm", mean_norm, 60, 1, 0},
    {"mean_embed", mean_embed, 60, 1, 0},
    {"mean_gemm_q8", mean_gemm_q8, 60, 1, 0},
    {"mean_asymmetric", mean_asymmetric, 60, 1, 0},
    {"mean_gemm_group", mean_gemm_group, 60, 1, 0},
    {"mean_gemm_f32", mean_gemm_f32, 60, 1, 0},
    {"mean_attention", mean_attention, 20, 1, 0},
    {"mean_pack", mean_pack, 30, 1, 0},
    {"mean_vectors", mean_vectors, 60, 1, 0},
    {"mean_lookup_build", mean_lookup_build, 60, 1, 0},
    {"mean_start_q8", mean_start_q8, 60, 1, 0},
    {"mean_gemm_q8_codes", mean_gemm_q8_codes, 60, 1, 0},
    {"mean_gemm_q8_planes", mean_gemm_q8_planes, 60, 1, 0},
    {"mean_norm_q8", mean_norm_q8, 60, 1, 0},
    {"mean_gemm_q8_parts", mean_gemm_q8_parts, 100, 1, 0},
    {"mean_gemm_q8_any_parts", mean_gemm_q8_any_parts, 100, 1, 0},
    {"mean_norm_q8_site", mean_norm_q8_site, 200, 1, 0},
    {"mean_norm_q8_columns", mean_norm_q8_columns, 200, 1, 0},
    {"mean_pack_codes", mean_pack_codes, 60, 1, 0},
    {"mean_softmax_codes", mean_softmax_codes, 20, 1, 0},
    {"mean_attention_codes", mean_attention_codes, 60, 1, 0},
    {"mean_rms", mean_rms, 60, 1, 0},
    {"mean_rotate", mean_rotate, 100, 1, 0},
    {"mean_hadamard", mean_hadamard, 60, 1, 0},
    {"mean_gate", mean_gate, 60, 1, 0},
    {"mean_embed_panels", mean_embed_panels, 200, 1, 0},
    {"mean_append", mean_append, 60, 1, 0},
    {"mean_attend", mean_attend, 60, 1, 0},
    {"mean_bits", mean_bits, 100, 1, 0},
    {"mean_transform", mean_transform, 100, 1, 0},
    {"quantize", check_quantize, 300, 0, 0x2a0ba40b971d5755u},
    {"norm", check_norm, 300, 0, 0xf4f279da634fa86au},
    {"embed", check_embed, 300, 0, 0x0644a063ca0e1492u},
    {"pack_q8", check_pack_q8, 150, 0, 0x1e0fb2ae159dd2e2u},
    {"gemm_q8", check_gemm_q8, 300, 0, 0x05341ed478679ec5u},
    {"few_rows", check_few_rows, 60, 0, 0x933ebb906cef8610u},
    {"gemm_q8_large", check_gemm_q8_large, 40, 0, 0xc40bd256d3a8d352u},
    {"gemm_group", check_gemm_group, 400, 0, 0xdeaa6f7e71ccdddau},
    {"steps_rows", check_steps_rows, 60, 0, 0x1fc37099e1d6968au},
    {"group_chunks", check_group_chunks, 40, 0, 0x6fdec887c115f8f5u},
    {"gemm_narrow", check_gemm_narrow, 300, 0, 0x40cf3bf48bdd6ce7u},
    {"gemm_steps", check_gemm_steps, 200, 0, 0xe043e8a07f97bc42u},
    {"gemm_grouped", check_gemm_grouped, 400, 0, 0x4cd1af8009386783u},
    {"gemm_f32", check_gemm_f32, 200, 0, 0xbc726563e6e71bc7u},
    {"attention_q8", check_attention_q8, 100, 0, 0x38b4e3625eb40c0cu},
    {"attention_f32", check_attention_f32, 60, 0, 0xf6b0cf3cd9559b8fu},
    {"activate", check_activate, 500, 0, 0xbf2d6741de57bf4du},
    {"mean_rows", check_mean_rows, 200, 0, 0xf1deeacaa4fc339fu},
    {"normalize", check_normalize, 200, 0, 0x41b9abe73b06ce37u},
    {"dot", check_dot, 200, 0, 0x3e104ba09ea5a352u},
    {"softmax", check_softmax, 200, 0, 0x10415c85b6fb4e6fu},
    {"lookup_q8", check_lookup_q8, 200, 0, 0x26bd9c3e8258ded2u},
    {"start_q8", check_start_q8, 200, 0, 0x36c7217bd3f633fbu},
    {"gemm_q8_codes", check_gemm_q8_codes, 300, 0, 0x1d67e5c52a2ced25u},
    {"planes", check_planes, 200, 0, 0x97df106dcfa538c2u},
    {"gemm_q8_planes", check_gemm_q8_planes, 300, 0, 0x847c79c9327acc08u},
    {"embed_sum", check_embed_sum, 200, 0, 0x98b10d56246eb7a8u},
    {"norm_q8", check_norm_q8, 300, 0, 0x418ba9430cdd9a1au},
    {"norm_q8_site", check_norm_q8_site, 300, 0, 0x4bc0f734f642fbc1u},
    {"norm_q8_order", check_norm_q8_order, 200, 0, 0x679020b8440147c3u},
    {"norm_q8_site_order", check_norm_q8_site_order, 300, 0, 0x904069e6f1d50098u},
    {"quantize_parts", check_quantize_parts, 200, 0, 0x0ea56b698a090abfu},
    {"gemm_q8_parts", check_gemm_q8_parts, 300, 0, 0x18795e4cf03d19aau},
    {"quantize_any_parts", check_quantize_any_parts, 200, 0, 0x6bf4fda70ec3f3f1u},
    {"gemm_q8_any_parts", check_gemm_q8_any_parts, 200, 0, 0x23e46dfd3ab5aa3au},
    {"norm_q8_columns", check_norm_q8_columns, 300, 0, 0x0e06fe8f1d77f640u},
    {"columns", check_columns, 300, 0, 0x0e162a1c19ff3bb5u},
    {"pack_codes", check_pack_codes, 150, 0, 0xd29e93d57e1ed341u},
    {"attention_codes", check_attention_codes, 200, 0, 0x5f6e9acbc511b82du},
    {"rms", check_rms, 300, 0, 0xaac30ce7c499c36au},
    {"turns", check_turns, 200, 0, 0xb29cb5b750dacc49u},
    {"rotate", check_rotate, 200, 0, 0x61bbf6f245128839u},
    {"head_hadamard", check_head_hadamard, 200, 0, 0x98c7a64484588609u},
    {"gate", check_gate, 200, 0, 0x77d3130a5510f805u},
    {"cap", check_cap, 200, 0, 0x1ab974f407175a7fu},
    {"embed_panels", check_embed_panels, 300, 0, 0x2cfb701db51c2909u},
    {"cache_append", check_cache_append, 200, 0, 0x79d4b7e4a61d910du},
    {"window_q8", check_window_q8, 60, 0, 0x3ba7d952d736fe7eu},
    {"window_f32", check_window_f32, 40, 0, 0xd77efcbd8515c280u},
    {"attend_cache", check_attend_cache, 100, 0, 0x8e3f5d409edc0176u},
    {"attend_4", check_attend_4, 60, 0, 0x21a890358d668e5eu},
    {"attend_part", check_attend_part, 100, 0, 0xfc3fa9aec09ddd2fu},
    {"bits", check_bits, 300, 0, 0x2767e3f78b14c564u},
    {"transform", check_transform, 200, 0, 0x559250b37bb27a67u},
    {"attend_f32", check_attend_f32, 40, 0, 0x0ebce77fe2790e4eu},
};
#define CHECKS (sizeof checks / sizeof checks[0])

static int run_check(const check *c, const char *program, const qk_table *ref, const qk_table *t, uint64_t seed,
                     int cases, int golden) {
  uint64_t hash = 0;
  for (int i = 0; i < (cases ? cases : c->cases); i++) {
    uint64_t s = seed + (uint64_t)i;
    snprintf(fault_text, sizeof fault_text,
             " in %s of %s\n  again: %s --isa %s --test %s --seed %llu --cases 1\n0 passed, 1 failed\n", c->name,
             t->isa, program, t->isa, c->name, (unsigned long long)s);
    case_begin(s * 0x9e3779b97f4a7c15u);
    int good = c->run(ref, t) && !fail_text[0];
    if (tiles_left()) good = failed("tiles are left configured");
    if (good && !margins_whole()) good = failed("wrote outside of a buffer");
    if (!good) {
      printf("FAIL %s of %s: %s\n  again: %s --isa %s --test %s --seed %llu --cases 1\n", c->name, t->isa, fail_text,
             program, t->isa, c->name, (unsigned long long)s);
      return 0;
    }
    if (!strcmp(t->isa, ref->isa)) hash = hash_outputs(hash);
  }
  if (golden) printf("%-16s 0x%016llx\n", c->name, (unsigned long long)hash);
  if (!golden && !strcmp(t->isa, ref->isa) && !c->ref_only && !cases && seed == 1 && hash != c->golden) {
    printf("FAIL %s of %s: outputs hash to 0x%016llx, not 0x%016llx\n", c->name, t->isa, (unsigned long long)hash,
           (unsigned long long)c->golden);
    return 0;
  }
  return 1;
}

/* Set i that there is to check; 0 past the end. */
static int set_at(uint32_t i, uint64_t features, qk_table *t) {
  const qk_isa *isa = qk_isa_at(i, features);
  if (isa) return qk_table_build(t, isa->name, features);
  if (i && !qk_isa_at(i - 1, features)) return 0;
  amx_emulated_table(t);
  return 1;
}

int main(int argc, char **argv) {
  const char *isa = NULL, *test = NULL;
  uint64_t seed = 1, features = qk_cpu_features();
  int bench = 0, golden = 0, cases = 0, passed = 0, bad = 0, found = 0;
  qk_table ref, t;
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "--isa"))
      isa = value, i++;
    else if (!strcmp(argv[i], "--test"))
      test = value, i++;
    else if (!strcmp(argv[i], "--seed"))
      seed = strtoull(value, NULL, 0), i++;
    else if (!strcmp(argv[i], "--cases"))
      cases = atoi(value), i++;
    else if (!strcmp(argv[i], "--golden"))
      golden = 1, isa = "ref";
    else if (!strcmp(argv[i], "--bench"))
      bench = 1;
    else if (!strcmp(argv[i], "--list")) {
      for (uint32_t s = 0; set_at(s, features, &t); s++) printf("isa %s\n", t.isa);
      for (size_t c = 0; c < CHECKS; c++) printf("test %s\n", checks[c].name);
      return 0;
    } else {
      printf("usage: %s [--isa NAME] [--test NAME] [--seed N] [--cases N] [--bench] [--golden] [--list]\n", argv[0]);
      return 2;
    }
  }
  if (!guard_map()) return printf("checker: no memory for guarded buffers\n"), 2;
  guard_signals();
  if (!qk_table_build(&ref, "ref", features)) return printf("checker: no reference set\n"), 2;
  double cycle_ns = bench ? ns_per_cycle() : 0;
  if (bench) printf("%.3f GHz\n", 1 / cycle_ns);
  for (uint32_t s = 0; set_at(s, features, &t); s++) {
    if ((isa && strcmp(isa, t.isa)) || (bench && !strcmp(t.isa, AMX_EMULATED))) continue;
    found++;
    if (bench) {
      bench_set(&t, cycle_ns);
      continue;
    }
    for (size_t c = 0; c < CHECKS; c++) {
      if ((test && strcmp(test, checks[c].name)) || (checks[c].ref_only && (s || golden))) continue;
      if (run_check(&checks[c], argv[0], &ref, &t, seed, cases, golden))
        passed++;
      else
        bad++;
    }
  }
  if (!found || (!bench && passed + bad == 0)) return printf("checker: no such set or test; --list shows them\n"), 2;
  if (!bench) printf("%d passed, %d failed\n", passed, bad);
  return bad != 0;
}
