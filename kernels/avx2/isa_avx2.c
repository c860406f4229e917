/* isa_avx2.c - the AVX2 set. */
#include "kernels/sets.h"
#if QK_X86
static void overlay(qk_table *t) {
  qk_rows_avx2(t);
  qk_attend_avx2(t);
  t->transform = qk_transform_avx2;
  t->gemm_q8 = qk_gemm_q8_avx2;
  t->gemm_group = qk_gemm_group_avx2;
  t->gemm_f32 = qk_gemm_f32_avx2;
  t->attention_q8 = qk_attention_q8_avx2;
  t->attention_f32 = qk_attention_f32_avx2;
  t->attention_codes = qk_attention_codes_avx2;
}

const qk_isa qk_isa_avx2 = {"avx2", QK_CPU_AVX2, overlay};
#endif
