/* isa_avx2.c - the AVX2 set. */
#include "kernels/sets.h"
#if QK_X86
static void overlay(qk_table *t) { qk_rows_avx2(t); }

const qk_isa qk_isa_avx2 = {"avx2", QK_CPU_AVX2, overlay};
#endif
