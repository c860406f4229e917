/* isa_avx512vnni.c - the AVX-512 set with VNNI. */
#include "kernels/sets.h"
#if QK_X86
static void overlay(qk_table *t) {
  qk_rows_avx512(t);
  t->gemm_q8 = qk_gemm_q8_avx512vnni;
  t->gemm_f32 = qk_gemm_f32_avx512;
  t->attention_q8 = qk_attention_q8_avx512vnni;
  t->attention_f32 = qk_attention_f32_avx512;
}

const qk_isa qk_isa_avx512vnni = {"avx512vnni", QK_CPU_AVX2 | QK_CPU_AVX512 | QK_CPU_AVX512VNNI, overlay};
#endif
