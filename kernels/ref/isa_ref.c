/* isa_ref.c - the reference set: plain C, runs everywhere, defines what every other set computes. */
#include "kernels/sets.h"

static void overlay(qk_table *t) {
  t->gemm_q8 = qk_gemm_q8_ref;
  t->gemm_group = qk_gemm_group_ref;
  t->gemm_f32 = qk_gemm_f32_ref;
  t->transform = qk_transform_ref;
  t->attention_q8 = qk_attention_q8_ref;
  t->attention_f32 = qk_attention_f32_ref;
  t->attention_codes = qk_attention_codes_ref;
  t->attend_cache = qk_attend_cache_ref;
  t->attend_part = qk_attend_part_ref;
  t->attend_merge = qk_attend_merge_ref;
  qk_rows_ref(t);
}

const qk_isa qk_isa_ref = {"ref", 0, overlay};
