/* gemm_ref.c - the products in plain C: the specification (kernels.h: qk_gemm_q8, qk_gemm_q4, qk_gemm_f32). */
#include "kernels/sets.h"
#include "kernels/ref/panel_ref.h"
#include "kernels/rows/epilogue.h"

void qk_gemm_q8_ref(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  size_t steps = qk_round_up(op->k, QK_KSTEP) / QK_KSTEP, panel_bytes = QK_PANEL * qk_k8(op->k);
  for (size_t m = m0; m < m1; m++)
    for (size_t p = p0; p < p1; p++) {
      vi acc = ref_panel(op->w + p * panel_bytes, op->a.codes + m * op->a.ld, steps, op->a.start[m]);
      size_t n0 = p * QK_PANEL, n = op->n - n0;
      const qk_columns c = qk_columns_of(op, n0);
      const float *residual = op->residual ? op->residual + m * op->ldr + n0 : NULL;
      vf y = qk_dequant(acc, &c, op->a.scale[m], op->a.zero[m]);
      if (!op->codes) {
        qk_finish(y, op->act, residual, op->out + m * op->ldo + n0, n);
        continue;
      }
      float row[16];
      qk_finish(y, op->act, residual, row, n);
      y = qk_load_n(row, n);
      vi_store8_part(op->codes + m * op->ldc + n0, qk_requantize(y, vf_set1(op->by[p]), vf_set1(op->zero[p])),
                     n < 16 ? n : 16);
    }
}

/* Lane c: sum over i < 8 * steps, of a group, of a[i] * (code of channel c - offset). */
static vi group_sum(const uint8_t *w, const int8_t *a, size_t steps, int32_t offset) {
  vi acc = vi_zero();
  for (size_t s = 0; s < steps; s++)
    for (size_t c = 0; c < 16; c++)
      for (size_t i = 0; i < 4; i++) {
        const int32_t both = w[s * 64 + c * 4 + i];
        acc.l[c] += ((both & 15) - offset) * a[s * 8 + i] + ((both >> 4) - offset) * a[s * 8 + 4 + i];
      }
  return acc;
}

void qk_gemm_q4_ref(const qk_gemm_q4 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  const size_t groups = qk_groups(op->k, op->group), panel_bytes = QK_PANEL * qk_k8(op->k) / 2;
  for (size_t m = m0; m < m1; m++)
    for (size_t p = p0; p < p1; p++) {
      const size_t n0 = p * QK_PANEL, n = op->n - n0;
      vf acc = vf_zero();
      for (size_t g = 0; g < groups; g++) {
        const size_t k = g * op->group, left = op->k - k, part = left < op->group ? left : op->group;
        const size_t at = (p * groups + g) * 16;
        const vi sum = group_sum(op->w + p * panel_bytes + k * 8, op->a.codes + m * op->a.ld + k, (part + 7) / 8,
                                 op->min ? 0 : 8);
        acc = vf_fma(vi_to_vf(sum), vf_load(op->scale + at), acc);
        /* a power of 2 below the start: exact */
        const float codes = (float)op->a.group_start[m * groups + g] * -0.125f;
        if (op->min) acc = vf_fma(vf_set1(codes), vf_load(op->min + at), acc);
      }
      const qk_columns c = qk_columns_of_q4(op, n0);
      const vf y = qk_dequant_q4(acc, &c, op->a.scale[m], op->a.zero[m]);
      qk_finish(y, op->act, op->residual ? op->residual + m * op->ldr + n0 : NULL, op->out + m * op->ldo + n0, n);
    }
}

void qk_gemm_f32_ref(const qk_gemm_f32 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  for (size_t m = m0; m < m1; m++) {
    const float *a = op->a + m * op->lda;
    for (size_t p = p0; p < p1; p++) {
      const float *w = op->w + p * QK_PANEL * op->k; /* [k][16] */
      vf acc = vf_zero();
      for (size_t k = 0; k < op->k; k++) acc = vf_fma(vf_set1(a[k]), vf_load(w + k * 16), acc);
      size_t n0 = p * QK_PANEL, n = op->n - n0;
      vf y = vf_add(acc, op->bias ? qk_load_n(op->bias + n0, n) : vf_zero());
      qk_finish(y, op->act, op->residual ? op->residual + m * op->ldr + n0 : NULL, op->out + m * op->ldo + n0, n);
    }
  }
}
