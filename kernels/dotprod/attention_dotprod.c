/* attention_dotprod.c - integer attention by sdot, in tiles of 6 rows x 1 panel (isa_dotprod.c says why not udot). */
#include "kernels/sets.h"
#if QK_ARM64
#include <string.h>
QK_TARGET_BEGIN_DOTPROD
#include "kernels/lanes/lanes_neon.h"

#define QK_TILE_ROWS 6
#define QK_TILE_PANELS 1
#define QK_TILE_CASES(X) QK_ROWS_6(X, 1)

#include "kernels/dotprod/dot_dotprod.h"

#include "kernels/products/tile_q8.h"

#include "kernels/products/attention_codes.h"
#define QK_PART_FLOATS qk_part_f32_neon
#define QK_ATTEND_FEW qk_attend_few
#include "kernels/products/attend_few.h"
#include "kernels/products/attend_cache.h"
#include "kernels/products/attention_q8.h"

void qk_attention_q8_dotprod(const qk_attention_q8 *op, size_t r0, size_t r1) {
  qk_attention_q8_over_tiles(op, r0, r1);
}
void qk_attention_codes_dotprod(const qk_attention_codes *op, size_t r0, size_t r1) {
  qk_attention_codes_over_tiles(op, r0, r1);
}
size_t qk_attend_few_dotprod(const qk_attend_cache *op, size_t row0, size_t first, size_t n) {
  return qk_attend_few(op, row0, first, n);
}
QK_TARGET_END

void qk_attend_dotprod(qk_table *t) { QK_ATTEND_SET(t); }
#endif
