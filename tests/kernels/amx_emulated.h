/* amx_emulated.h - the products over AMX tiles on emulated tiles and the lanes of plain C: what isa_amx.c is on a machine with
 * AMX, as a set that every machine can check. */
#ifndef AMX_EMULATED_H
#define AMX_EMULATED_H
#include "kernels/sets.h"
#include "kernels/lanes/lanes_ref.h"
#include "tests/kernels/tiles_emulated.h"

#define AMX_EMULATED "amx-emulated"
#define QK_TILE_ROWS 32
#define QK_TILE_PANELS 4
#define QK_FEW_ROWS qk_gemm_q8_ref

#include "kernels/products/gemm_amx.h"

static void amx_gemm_q8(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  qk_gemm_q8_over_amx(op, m0, m1, p0, p1);
}

/* The reference set with this operation in the place of its own. */
static void amx_emulated_table(qk_table *t) {
  qk_table_build(t, "ref", 0);
  t->isa = AMX_EMULATED;
  t->gemm_q8 = amx_gemm_q8;
}
/* No kernel leaves tiles behind: every switch between threads would carry them. */
static int tiles_left(void) {
  const int left = emulated.configured;
  emulated.configured = 0;
  return left;
}
#endif
