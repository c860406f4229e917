/* rows_ref.c - the row operations over plain C lanes: the specification of every other set's. And the tables of lookup_q8 and
 * attention_codes, made once, by these lanes for all sets. */
#include <string.h>
#include "kernels/sets.h"
#include "kernels/lanes/lanes_ref.h"
#include "kernels/rows/rows.h"

size_t qk_quantize_ref(const float *x, size_t ldx, uint32_t d, const float *smooth, const qk_codes *q, size_t r0,
                       size_t r1) {
  return qk_rows_quantize(x, ldx, d, smooth, q, r0, r1);
}
void qk_rows_ref(qk_table *t) { QK_ROWS_SET(t); }

void qk_lookup_build(int8_t table[256], uint32_t act, qk_site in, qk_site out) {
  const vf by = vf_set1(1.0f / out.scale), zero = vf_set1(out.zero);
  float x[256];
  for (int b = 0; b < 256; b++) x[b] = ((float)(int8_t)(uint8_t)b - in.zero) * in.scale;
  qk_rows_activate(x, x, 256, act);
  for (int b = 0; b < 256; b += 16)
    vi_store8(table + b, qk_requantize(vf_load(x + b), by, zero, qk_limits_at(NULL, 0)));
}

void qk_exp_build(int16_t table[32], float step) {
  for (int i = 0; i < 32; i++) {
    const float d = (float)(i < 16 ? 16 * i : i - 16);
    table[i] = (int16_t)ref_rint(vf_first(qk_exp2(vf_set1(-d * step))) * 32767.0f);
  }
}
