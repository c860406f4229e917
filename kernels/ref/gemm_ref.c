/* gemm_ref.c - the products in plain C: the specification (kernels.h: qk_gemm_q8, qk_gemm_group, qk_gemm_f32). */
#include "kernels/sets.h"
#include "kernels/ref/panel_ref.h"
#include "kernels/rows/epilogue.h"

static void store_codes(const qk_gemm_q8 *op, vf y, size_t m, size_t p, size_t n) {
  const vf by = qk_site_at(op->by, op->by_column, p * QK_PANEL),
           zero = qk_site_at(op->zero, op->by_column, p * QK_PANEL);
  const size_t at = m * op->ldc + p * QK_PANEL;
  qk_store_codes(op->codes + at, op->low ? op->low + at : NULL, y, by, zero, qk_limits_at(op->limits, p), n);
}

/* The sum of one part, wrapping. */
static vi sum_of_part(const qk_part *p, const uint8_t *w, const int8_t *codes) {
  uint32_t sum[16] = {0};
  vi acc;
  for (uint32_t i = p->first; i < p->end; i++)
    for (size_t c = 0; c < 16; c++)
      sum[c] += (uint32_t)((w[i / QK_KSTEP * 64 + c * QK_KSTEP + i % QK_KSTEP] - 128) * codes[i]);
  memcpy(&acc, sum, sizeof acc);
  return acc;
}
/* The sum of inputs in parts, of row m and a panel at w. */
static vf sum_of_parts(const qk_gemm_q8 *op, const uint8_t *w, size_t m) {
  const int8_t *codes = op->a.codes + m * op->a.ld;
  vf floats = vf_zero();
  vi whole = vi_zero();
  for (uint32_t i = 0; i < op->a.parts.count; i++) {
    const qk_part *p = &op->a.parts.part[i];
    const vi sum = sum_of_part(p, w, codes);
    floats = vf_fma(vi_to_vf(sum), vf_set1(p->scale), floats);
    whole = vi_add(vi_shl_by(whole, (int)p->shift), sum);
  }
  return op->a.parts.shifts ? vi_to_vf(whole) : floats;
}

void qk_gemm_q8_ref(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  size_t steps = qk_round_up(op->k, QK_KSTEP) / QK_KSTEP, panel_bytes = QK_PANEL * qk_k8(op->k);
  for (size_t m = m0; m < m1; m++)
    for (size_t p = p0; p < p1; p++) {
      vi acc = ref_panel(op->w + p * panel_bytes, op->a.codes + m * op->a.ld, steps, op->a.start[m]);
      size_t n0 = p * QK_PANEL, n = op->n - n0;
      const qk_columns c = qk_columns_of(op, n0);
      const float *residual = op->residual ? op->residual + m * op->ldr + n0 : NULL;
      vf sum = op->a.parts.count ? sum_of_parts(op, op->w + p * panel_bytes, m) : vi_to_vf(acc);
      if (op->a.low) {
        const vi low = ref_panel(op->w + p * panel_bytes, op->a.low + m * op->a.ld, steps, op->a.low_start[m]);
        sum = vf_fma(sum, vf_set1(128.0f), vi_to_vf(low));
      }
      const vf y = qk_dequant(sum, &c, qk_row_of(op->a.scale[m], op->a.zero[m]));
      if (!op->codes) {
        qk_finish(y, op->act, residual, op->out + m * op->ldo + n0, n);
        continue;
      }
      float row[16];
      qk_finish(y, op->act, residual, row, n);
      store_codes(op, qk_load_n(row, n), m, p, n < 16 ? n : 16);
    }
}

/* The code of input k of channel c of a panel, less what its bits are centred on, times its step. */
static int32_t code_at(const qk_gemm_group *op, size_t p, size_t k, size_t c) {
  const uint8_t *w = op->w + p * QK_PANEL * qk_k8(op->k) * op->bits / 8;
  const size_t at = c * 4 + k % 4;
  if (op->bits == 8) return (int8_t)(w[k / 4 * 64 + at] ^ 0x80);
  if (op->bits == 6) {
    const uint8_t *block = w + k / 32 * 384;
    return (block[k % 32 / 8 * 64 + at] >> k % 8 / 4 * 4 & 15) +
           ((block[256 + k % 32 / 16 * 64 + at] >> k % 16 / 4 * 2 & 3) << 4) - 32;
  }
  const int32_t q = op->bits == 4 ? w[k / 8 * 64 + at] >> k % 8 / 4 * 4 & 15
                                  : w[k / 16 * 64 + at] >> k % 16 / 4 * 2 & 3;
  if (op->min) return q;
  const int32_t centred = q - (op->bits == 4 ? 8 : 2);
  if (!op->steps) return centred;
  const int32_t step = op->steps[(p * qk_groups(op->k, op->group) + k / op->group) * 16 + c];
  return (centred + 8 - (step >> 4 ^ 8)) * (step & 15);
}

#define REF_ROWS 8u     /* that share decoded codes */
#define REF_INPUTS 256u /* decoded at once */

/* Inputs k0 ... k1 - 1 of `rows` rows from m on times panel p, wrapping, into sums. */
static void group_sums(const qk_gemm_group *op, size_t m, size_t rows, size_t p, size_t k0, size_t k1,
                       vi sums[REF_ROWS]) {
  int16_t codes[REF_INPUTS * 16];
  for (size_t r = 0; r < rows; r++) sums[r] = vi_zero();
  for (size_t k = k0; k < k1; k += REF_INPUTS) {
    const size_t n = k1 - k < REF_INPUTS ? k1 - k : REF_INPUTS;
    for (size_t i = 0; i < n; i++)
      for (size_t c = 0; c < 16; c++) codes[i * 16 + c] = (int16_t)code_at(op, p, k + i, c);
    for (size_t r = 0; r < rows; r++) {
      const int8_t *a = op->a.codes + (m + r) * op->a.ld + k;
      uint32_t sum[16] = {0};
      for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 16; c++) sum[c] += (uint32_t)(codes[i * 16 + c] * a[i]);
      vi more;
      memcpy(&more, sum, sizeof more);
      sums[r] = vi_add(sums[r], more);
    }
  }
}

/* Sum of group g to acc; at: of the weights' scale, n: the channel. */
static float add_group(const qk_gemm_group *op, size_t m, size_t g, float sum, size_t at, size_t n, float acc) {
  const size_t groups = qk_groups(op->k, op->a.group), a = m * groups + g;
  const float codes = (float)op->a.group_start[a] * -0.125f; /* a power of 2 below the start: exact */
  if (!op->a.grouped) {
    acc = ref_fma(sum, op->scale[at], acc);
    return op->min ? ref_fma(codes, op->min[at], acc) : acc;
  }
  const int channel = op->steps || !op->group;
  acc = ref_fma(sum * (channel ? op->scale[n] : op->scale[at]), op->a.scale[a], acc);
  if (op->min) acc = ref_fma(op->a.scale[a] * codes, op->min[at], acc);
  if (!op->a.symmetric)
    acc = ref_fma(-op->a.zero[a] * op->a.scale[a], op->value_sums[(n / 16 * groups + g) * 16 + n % 16], acc);
  return acc;
}

/* Rows m ... m + rows - 1 times panel p. */
static void group_panel(const qk_gemm_group *op, size_t m, size_t rows, size_t p) {
  const int whole = op->steps && !op->a.grouped; /* one exact sum */
  const size_t group = whole ? op->k : op->a.group, n0 = p * QK_PANEL, n = op->n - n0;
  const size_t groups = qk_groups(op->k, group), w_groups = op->group ? qk_groups(op->k, op->group) : 1;
  vf acc[REF_ROWS];
  for (size_t r = 0; r < rows; r++) acc[r] = vf_zero();
  for (size_t g = 0; g < groups; g++) {
    const size_t k = g * group, end = op->k - k < group ? op->k : k + group;
    vi sums[REF_ROWS];
    group_sums(op, m, rows, p, k, end, sums);
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < 16 && c < n; c++) {
        const size_t at = (p * w_groups + (w_groups > 1 ? g : 0)) * 16 + c;
        const float sum = (float)sums[r].l[c];
        acc[r].l[c] = whole ? sum : add_group(op, m + r, g, sum, at, n0 + c, acc[r].l[c]);
      }
  }
  const qk_columns c = qk_columns_of_group(op, n0);
  for (size_t r = 0; r < rows; r++, m++) {
    const vf y = qk_dequant(acc[r], &c,
                            op->a.grouped ? qk_row_of(1.0f, 0.0f) : qk_row_of(op->a.scale[m], op->a.zero[m]));
    qk_finish(y, op->act, op->residual ? op->residual + m * op->ldr + n0 : NULL, op->out + m * op->ldo + n0, n);
  }
}

void qk_gemm_group_ref(const qk_gemm_group *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  for (size_t m = m0; m < m1; m += REF_ROWS)
    for (size_t p = p0; p < p1; p++) group_panel(op, m, m1 - m < REF_ROWS ? m1 - m : REF_ROWS, p);
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
