/* sets.h - what the files of the kernel sets give each other and table.c; private to kernels/. Every function takes its
 * place in qk_table (kernels.h), where its contract stands. */
#ifndef QK_SETS_H
#define QK_SETS_H
#include "kernels/kernels.h"
#include "kernels/target.h"

void qk_gemm_q8_ref(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_ref(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_f32_ref(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_attention_q8_ref(const qk_attention_q8 *op, size_t r0, size_t r1);
void qk_attention_f32_ref(const qk_attention_f32 *op, size_t r0, size_t r1);
void qk_attention_codes_ref(const qk_attention_codes *op, size_t r0, size_t r1);
size_t qk_attend_cache_ref(const qk_attend_cache *op, size_t r0, size_t r1);
size_t qk_attend_part_ref(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, float *parts);
void qk_attend_merge_ref(const qk_attend_cache *op, size_t r0, size_t r1, size_t b0, size_t b1, const float *parts);

typedef size_t qk_transform_fn(const qk_transform *t, const float *x, size_t ldx, uint32_t d, const qk_codes *q,
                               void *scratch, size_t r0, size_t r1);
qk_transform_fn qk_transform_ref;
/* Row operations that transforms end with. */
typedef size_t qk_quantize_fn(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q, size_t r0,
                              size_t r1);
typedef void qk_start_fn(const qk_codes *q, uint32_t d, size_t r0, size_t r1);
qk_quantize_fn qk_quantize_ref;

/* Put every row operation of the set (all of qk_table but products and attention) into the table. */
void qk_rows_ref(qk_table *t);
extern const qk_isa qk_isa_ref;

/* What block b of a cache of floats gives queries first ... first + n - 1 of rows from row0 on, for attend_part's memory. */
typedef void qk_part_f32_fn(const qk_attend_cache *op, size_t row0, size_t first, size_t n, size_t b, float *parts);

/* Epilogue of a tile of products of 8 bits (products/finish_q8.h). */
typedef void qk_finish_q8_fn(const qk_gemm_q8 *op, const void *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                             size_t panels, int floats);

#if QK_X86
qk_transform_fn qk_transform_avx2, qk_transform_avxvnni, qk_transform_avx512, qk_transform_avx512vnni;
qk_quantize_fn qk_quantize_avx2, qk_quantize_avx512;
qk_start_fn qk_start_q8_avx2, qk_start_q8_avx512;
void qk_rows_avx2(qk_table *t);
void qk_rows_avx512(qk_table *t);
extern const qk_isa qk_isa_avx2, qk_isa_avxvnni, qk_isa_avx512, qk_isa_avx512vnni, qk_isa_amx;

void qk_gemm_q8_avx2(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_finish_group_avx2(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                          size_t panels);
void qk_gemm_group_avx2(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
/* Of a set's qk_gemm_group what codes of 8 bits are multiplied for (products/gemm_group.h). */
void qk_gemm_wide_avx2(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_wide_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_wide_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
/* Of a set's qk_gemm_group many rows times 4 bits with integer steps, of activations with one scale a row (products/gemm_steps.h). */
void qk_gemm_steps_avx2(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_steps_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_steps_avx512(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_steps_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_f32_avx2(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_attention_q8_avx2(const qk_attention_q8 *op, size_t r0, size_t r1);
void qk_attention_f32_avx2(const qk_attention_f32 *op, size_t r0, size_t r1);
void qk_attention_codes_avx2(const qk_attention_codes *op, size_t r0, size_t r1);
qk_part_f32_fn qk_part_f32_avx2, qk_part_f32_avx512;
qk_finish_q8_fn qk_finish_q8_avx2, qk_finish_q8_avx512;
void qk_attend_avx2(qk_table *t);
void qk_gemm_q8_avx512(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_avxvnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_finish_group_avx512(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                            size_t panels);
void qk_gemm_group_avx512(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_avx512vnni(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_f32_avx512(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_attention_q8_avx512(const qk_attention_q8 *op, size_t r0, size_t r1);
void qk_attention_f32_avx512(const qk_attention_f32 *op, size_t r0, size_t r1);
void qk_gemm_q8_avx512vnni(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
#endif

#if QK_ARM64
qk_transform_fn qk_transform_neon;
qk_quantize_fn qk_quantize_neon;
qk_start_fn qk_start_q8_neon;
void qk_rows_neon(qk_table *t);
extern const qk_isa qk_isa_neon, qk_isa_dotprod, qk_isa_i8mm;

void qk_finish_group_neon(const qk_gemm_group *op, const float *sums, size_t ldsums, size_t m, size_t rows, size_t p,
                          size_t panels);
void qk_gemm_q8_neon(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_wide_neon(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_wide_dotprod(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_neon(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_dotprod(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
void qk_gemm_group_i8mm(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1);
qk_part_f32_fn qk_part_f32_neon;
qk_finish_q8_fn qk_finish_q8_neon;
void qk_attend_dotprod(qk_table *t);
size_t qk_attend_few_dotprod(const qk_attend_cache *op, size_t row0, size_t first, size_t n);
void qk_attention_q8_dotprod(const qk_attention_q8 *op, size_t r0, size_t r1);
void qk_attention_codes_dotprod(const qk_attention_codes *op, size_t r0, size_t r1);
#endif
#endif
