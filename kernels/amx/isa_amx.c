/* isa_amx.c - the AVX-512-VNNI set with AMX-INT8: products of many rows in tiles. Everything else is that
 * set's. Tiles are configured when a kernel is called and released before it returns. */
#include "kernels/sets.h"
#if QK_X86
#include <string.h>
QK_TARGET_BEGIN_AVX512VNNI
#include "kernels/lanes/lanes_avx512.h"
#include "kernels/amx/tiles_amx.h"

#define QK_TILE_ROWS 32
#define QK_TILE_PANELS 4
#define QK_FINISH_PANELS 2
#define QK_FEW_ROWS qk_gemm_q8_avx512vnni

#include "kernels/products/gemm_amx.h"

static void gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_amx(op, m0, m1, p0, p1);
}
QK_TARGET_END

static void overlay(qk_table *t) { t->gemm_q8 = gemm_q8; }

const qk_isa qk_isa_amx = {"amx", QK_CPU_AVX2 | QK_CPU_AVX512 | QK_CPU_AVX512VNNI | QK_CPU_AMX, overlay};
#endif
