/* gemm_ref.c - the products in plain C: the specification (kernels.h: qk_gemm_q8, qk_gemm_f32). */
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
      vf y = qk_dequant(acc, &c, op->a.scale[m], op->a.zero[m]);
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
