/* isa_avx512.c - the AVX-512 set (F, BW, DQ, VL). Attention over caches is the AVX2 set's: few CPUs have this one and not the next. */
#include "kernels/sets.h"
#if QK_X86
static void overlay(qk_table *t) {
  qk_rows_avx512(t);
  t->transform = qk_transform_avx512;
  t->gemm_q8 = qk_gemm_q8_avx512;
  t->gemm_group = qk_gemm_group_avx512;
  t->gemm_f32 = qk_gemm_f32_avx512;
  t->attention_q8 = qk_attention_q8_avx512;
  t->attention_f32 = qk_attention_f32_avx512;
}

const qk_isa qk_isa_avx512 = {"avx512", QK_CPU_AVX2 | QK_CPU_AVX512, overlay};
#endif
