/* pack_group.c - linear operators to codes whose scales are of groups of inputs, or of 2 and 4 bits. Scales of small codes are
 * searched for, so that the squared error is small: some widths of the grid are tried, and the scale is fitted to the codes
 * of each by least squares. Needs round-to-nearest (base/thread.h's guard). Deterministic: every output channel depends on
 * itself alone. Stateless; any thread. */
#include <string.h>
#include "kernels/layout.h"
#include "quant/quant.h"

#define TINY 0x1p-100f /* magnitudes below count as zero: quotients stay far from overflow */
#define STEP_MOST 15

static float largest(const float *w, size_t n) {
  float most = 0;
  for (size_t i = 0; i < n; i++) {
    const float a = w[i] < 0 ? -w[i] : w[i];
    most = a > most ? a : most;
  }
  return most;
}

/* Codes without a minimum lie in -half ... half - 1; of 8 bits in -127 ... 127. */
static float half_of(uint32_t bits) { return bits == 6 ? 32.0f : bits == 4 ? 8.0f : 2.0f; }

/* ---- one group, symmetric: w ~ c * scale --------------------------------------------------------------------------- */

/* Where the largest magnitude comes to lie on the grid: more cuts it off. */
static const float reach4[] = {6.5f,  7.0f, 7.25f, 7.5f,  7.75f, 8.0f,  8.25f, 8.5f,
                               8.75f, 9.0f, 9.5f,  10.0f, 11.0f, 12.0f, 14.0f};
static const float reach6[] = {25.0f, 26.0f, 27.0f, 28.0f, 29.0f, 30.0f, 30.5f, 31.0f,
                               31.5f, 32.0f, 33.0f, 34.0f, 36.0f, 39.0f, 43.0f};
static const float reach2[] = {0.75f, 1.0f,  1.2f, 1.35f, 1.5f, 1.75f, 2.0f, 2.25f,
                               2.5f,  2.75f, 3.0f, 3.5f,  4.0f, 5.0f,  6.0f};
#define REACHES (sizeof reach4 / sizeof reach4[0])

/* The scale that leaves the least squared error, 0 for a group of zeros. sign: -1, 1, or 0 for either. */
static float symmetric_scale(const float *w, size_t n, uint32_t bits, int sign) {
  const float *reach = bits == 6 ? reach6 : bits == 4 ? reach4 : reach2, half = half_of(bits), most = largest(w, n);
  float best = 0, scale = 0;
  if (most < TINY) return 0;
  for (size_t c = 0; c < 2 * REACHES; c++) {
    const float by = (c % 2 ? -reach[c / 2] : reach[c / 2]) / most;
    float wq = 0, qq = 0;
    if ((c % 2 ? -1 : 1) * sign < 0) continue;
    for (size_t i = 0; i < n; i++) {
      const float q = qn_pack_held(qn_pack_rint(w[i] * by), -half, half - 1);
      wq += w[i] * q;
      qq += q * q;
    }
    /* With scale wq / qq the error is sum w^2 - wq^2 / qq. */
    if (qq > 0 && wq / qq * wq > best) best = wq / qq * wq, scale = wq / qq;
  }
  return scale;
}

/* ---- one channel with integer steps: w ~ c * step * scale --------------------------------------------------------------- */

/* Squared error of a group at one scale; *wq, *qq: what a scale is fitted from, with codes times `times`. */
static float error_at(const float *w, size_t n, uint32_t bits, float scale, float times, double *wq, double *qq) {
  const float half = half_of(bits), by = scale > TINY || scale < -TINY ? 1.0f / scale : 0;
  float error = 0;
  *wq = *qq = 0;
  for (size_t i = 0; i < n; i++) {
    const float q = qn_pack_held(qn_pack_rint(qn_pack_held(w[i] * by, -16, 16)), -half, half - 1), d = w[i] - q * scale;
    error += d * d;
    *wq += (double)w[i] * (double)(q * times);
    *qq += (double)(q * times) * (double)(q * times);
  }
  return error;
}

/* Steps of a channel's groups at `scale`, each the better one of the two around its own best scale; the scale that then fits
   best goes to *fitted. Returns the squared error before that. */
static double choose_steps(const float *w, size_t k, const qn_form *f, const float *own, float scale, uint8_t *steps,
                           float *fitted) {
  double all = 0, sum_wq = 0, sum_qq = 0;
  for (size_t g = 0; g < qk_groups(k, f->group); g++) {
    const size_t k0 = g * f->group, n = k - k0 < f->group ? k - k0 : f->group;
    const int low = (int)qn_pack_held(own[g] / scale, 1, STEP_MOST);
    float best = -1;
    double best_wq = 0, best_qq = 0;
    for (int step = low; step <= low + 1 && step <= STEP_MOST; step++) {
      double wq, qq;
      const float error = error_at(w + k0, n, f->bits, scale * (float)step, (float)step, &wq, &qq);
      if (best >= 0 && error >= best) continue;
      best = error, best_wq = wq, best_qq = qq;
      steps[g * QK_PANEL] = (uint8_t)step;
    }
    all += (double)best;
    sum_wq += best_wq, sum_qq += best_qq;
  }
  *fitted = sum_qq > 0 ? (float)(sum_wq / sum_qq) : scale;
  return all;
}

/* Scale and steps of a channel of k weights: of both signs and some scales the one with the least squared error. own: of
   [groups] floats. Steps lie QK_PANEL apart. */
static float stepped_scale(const float *w, size_t k, const qn_form *f, float *own, uint8_t *steps) {
  static const float tops[] = {15, 14, 13, 12, 10.5f, 9, 7.5f, 6};
  const size_t groups = qk_groups(k, f->group);
  float best_scale = 0, fitted;
  double best = -1;
  for (int sign = 1; sign >= -1; sign -= 2) {
    for (size_t g = 0; g < groups; g++) {
      const size_t k0 = g * f->group;
      own[g] = symmetric_scale(w + k0, k - k0 < f->group ? k - k0 : f->group, f->bits, sign);
    }
    const float most = largest(own, groups);
    if (most < TINY) continue;
    for (size_t c = 0; c < sizeof tops / sizeof tops[0]; c++) {
      float scale = (float)sign * most / tops[c];
      for (int turn = 0; turn < 2; turn++) {
        const double error = choose_steps(w, k, f, own, scale, steps, &fitted);
        if (best < 0 || error < best) best = error, best_scale = scale;
        if (!(fitted * (float)sign > TINY)) break;
        scale = fitted;
      }
    }
  }
  if (best < 0) {
    for (size_t g = 0; g < groups; g++) steps[g * QK_PANEL] = 1;
    return 0;
  }
  for (size_t g = 0; g < groups; g++) {
    const size_t k0 = g * f->group;
    own[g] = symmetric_scale(w + k0, k - k0 < f->group ? k - k0 : f->group, f->bits, best_scale < 0 ? -1 : 1);
  }
  choose_steps(w, k, f, own, best_scale, steps, &fitted);
  return best_scale;
}

/* ---- panels -------------------------------------------------------------------------------------------------------- */

/* Inputs that lie in 64 bytes of a panel. */
static size_t inputs_of(uint32_t bits) { return 32 / bits; }

static size_t byte_at(uint32_t bits, size_t k, size_t row, size_t i) {
  return row / QK_PANEL * QK_PANEL * qk_k8(k) * bits / 8 + i / inputs_of(bits) * 64 + row % QK_PANEL * QK_KSTEP +
         i % QK_KSTEP;
}
static uint32_t shift_of(uint32_t bits, size_t i) { return (uint32_t)(i % inputs_of(bits) / QK_KSTEP) * bits; }

/* A code of 6 bits: where its low four bits lie, from bit *low on, and its high two, from bit *high on. */
static size_t six_at(size_t k, size_t row, size_t i, size_t *high_at, uint32_t *low, uint32_t *high) {
  const size_t block = row / QK_PANEL * QK_PANEL * qk_k8(k) * 6 / 8 + i / 32 * 384,
               in = row % QK_PANEL * QK_KSTEP + i % QK_KSTEP;
  *high_at = block + 256 + i % 32 / 16 * 64 + in;
  *low = shift_of(4, i);
  *high = shift_of(2, i);
  return block + i % 32 / 8 * 64 + in;
}

static void put_bits(uint8_t *byte, uint32_t bits, uint32_t shift, uint32_t q) {
  const uint32_t mask = ((1u << bits) - 1) << shift;
  *byte = (uint8_t)((*byte & ~mask) | q << shift);
}

static int get_code(const uint8_t *panels, uint32_t bits, size_t k, size_t row, size_t i) {
  size_t high_at;
  uint32_t low, high;
  if (bits != 6) return panels[byte_at(bits, k, row, i)] >> shift_of(bits, i) & ((1 << bits) - 1);
  const size_t at = six_at(k, row, i, &high_at, &low, &high);
  return (panels[at] >> low & 15) | (panels[high_at] >> high & 3) << 4;
}

/* Replaces the code of a weight; q unsigned, of 8 bits with its offset. */
static void put_code(uint8_t *panels, uint32_t bits, size_t k, size_t row, size_t i, int q) {
  size_t high_at;
  uint32_t low, high;
  if (bits == 6) {
    const size_t at = six_at(k, row, i, &high_at, &low, &high);
    put_bits(&panels[at], 4, low, (uint32_t)q & 15);
    put_bits(&panels[high_at], 2, high, (uint32_t)q >> 4);
    return;
  }
  put_bits(panels + byte_at(bits, k, row, i), bits, shift_of(bits, i), (uint32_t)q);
}

size_t qn_form_groups(const qn_form *f, size_t k) { return f->group ? qk_groups(k, f->group) : 1; }
size_t qn_form_scales(const qn_form *f, size_t n, size_t k) {
  const size_t panels = qk_panels(n) * QK_PANEL;
  return f->steps ? panels : panels * qn_form_groups(f, k);
}

/* Where the steps of a channel's groups are, QK_PANEL apart, and of all other forms its scales. */
static size_t first_at(const qn_form *f, size_t k, size_t row) {
  return row / QK_PANEL * qn_form_groups(f, k) * QK_PANEL + row % QK_PANEL;
}
static uint8_t step_at(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i) {
  return p->steps[first_at(f, k, row) + i / f->group * QK_PANEL];
}

/* What is added to codes so that they are unsigned. */
static int offset_of(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i) {
  return f->zeros ? qn_zero_of(step_at(p, f, k, row, i)) : f->min ? 0 : f->bits == 8 ? 128 : (int)half_of(f->bits);
}

/* The codes of a group on its grid; returns their sum. */
static int64_t put_group(const float *w, const qn_form *f, const qn_packed *to, const qn_grid *g, size_t k, size_t row,
                         size_t k0, size_t k1) {
  const int offset = offset_of(to, f, k, row, k0);
  int64_t codes = 0;
  for (size_t i = k0; i < k1; i++) {
    const int c = (int)qn_grid_code(g, w[i]);
    put_code(to->panels, f->bits, k, row, i, c + offset);
    codes += c;
  }
  return codes;
}

static void choose_grids(const float *w, size_t k, size_t row, const qn_form *f, const qn_packed *to, float *own) {
  const size_t groups = qn_form_groups(f, k), group = f->group ? f->group : k, at = first_at(f, k, row);
  if (f->steps)
    to->scale[row] = f->zeros ? qn_pack_zeros(w, k, group, own, to->steps + at)
                              : stepped_scale(w, k, f, own, to->steps + at);
  for (size_t g = 0; g < groups && !f->steps; g++) {
    const size_t k0 = g * group, n = k - k0 < group ? k - k0 : group, here = at + g * QK_PANEL;
    float unused;
    if (f->min && f->bits < 8)
      qn_pack_grid(w + k0, n, (float)((1 << f->bits) - 1), &to->scale[here], &to->min[here]);
    else if (f->bits == 8)
      to->scale[here] = qn_pack_row_scale(w + k0, n, 127.0f, &unused);
    else
      to->scale[here] = symmetric_scale(w + k0, n, f->bits, 0);
  }
}

void qn_pack_grids(const float *w, uint32_t n, uint32_t k, const qn_form *f, const qn_packed *to, float *work) {
  const size_t scales = qn_form_scales(f, n, k);
  memset(to->scale, 0, scales * sizeof *to->scale);
  if (f->min) memset(to->min, 0, scales * sizeof *to->min);
  if (f->steps) memset(to->steps, 1, qk_panels(n) * QK_PANEL * qn_form_groups(f, k));
  for (size_t row = 0; row < n; row++) choose_grids(w + row * k, k, row, f, to, work);
}

static void put_row(const float *w, size_t k, size_t row, const qn_form *f, const qn_packed *to) {
  const size_t groups = qn_form_groups(f, k), group = f->group ? f->group : k;
  double all = 0;
  int64_t code_sum = 0;
  for (size_t g = 0; g < groups; g++) {
    const size_t k0 = g * group, k1 = k - k0 < group ? k : k0 + group;
    const qn_grid grid = qn_packed_grid(to, f, k, row, k0);
    const int64_t codes = put_group(w, f, to, &grid, k, row, k0, k1);
    if (f->steps)
      code_sum += codes * qn_step_of(step_at(to, f, k, row, k0));
    else
      all += (double)grid.scale * (double)codes + (double)grid.min * (double)(k1 - k0);
  }
  if (f->steps)
    to->code_sums[row] = (int32_t)code_sum;
  else
    to->sums[row] = (float)all;
}

void qn_pack_codes(const float *w, uint32_t n, uint32_t k, const qn_form *f, const qn_packed *to) {
  const size_t bytes = qk_weight_bytes(n, k, f->bits);
  memset(to->panels, f->bits == 8 ? 0x80 : f->bits == 6 ? 0 : f->bits == 4 ? 0x88 : 0xaa, bytes);
  for (size_t i = 256; f->bits == 6 && i < bytes; i += 384) memset(to->panels + i, 0xaa, 128);
  for (size_t row = 0; row < n; row++) put_row(w + row * k, k, row, f, to);
}

/* Code without its offset, times its step. */
static int code_of(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i) {
  const int c = get_code(p->panels, f->bits, k, row, i) - offset_of(p, f, k, row, i);
  return f->steps ? c * qn_step_of(step_at(p, f, k, row, i)) : c;
}
static size_t scale_at(const qn_form *f, size_t k, size_t row, size_t i) {
  if (f->steps || !f->group) return row;
  return (row / QK_PANEL * qk_groups(k, f->group) + i / f->group) * QK_PANEL + row % QK_PANEL;
}

qn_grid qn_packed_grid(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i) {
  const size_t at = scale_at(f, k, row, i);
  qn_grid g = {.scale = p->scale[at], .min = f->min ? p->min[at] : 0, .has_min = f->min};
  if (f->steps) g.scale *= (float)qn_step_of(step_at(p, f, k, row, i));
  g.low = f->bits == 8 ? -127.0f : (float)-offset_of(p, f, k, row, i);
  g.high = f->bits == 8 ? 127.0f : (float)((1 << f->bits) - 1) + g.low;
  return qn_grid_widened(g, 1);
}

qn_grid qn_grid_widened(qn_grid g, float by) {
  if (g.has_min) g.min += g.scale * (1 - by) * 0.5f * g.high;
  g.scale *= by;
  g.by = g.scale < -TINY || g.scale > TINY ? 1.0f / g.scale : 0;
  return g;
}

void qn_packed_widen(const qn_packed *p, const qn_form *f, size_t k, size_t row, float by) {
  const size_t groups = f->steps ? 1 : qn_form_groups(f, k);
  for (size_t g = 0; g < groups; g++) {
    const size_t i = f->steps ? 0 : g * f->group, at = scale_at(f, k, row, i);
    const qn_grid grid = qn_grid_widened(qn_packed_grid(p, f, k, row, i), by);
    p->scale[at] = f->steps ? p->scale[at] * by : grid.scale;
    if (f->min) p->min[at] = grid.min;
  }
}

double qn_packed_value(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i) {
  const size_t at = scale_at(f, k, row, i);
  return (double)code_of(p, f, k, row, i) * (double)p->scale[at] + (f->min ? (double)p->min[at] : 0);
}

void qn_packed_sums(const qn_packed *p, const qn_form *f, uint32_t n, uint32_t k, uint32_t group, float *sums) {
  const size_t groups = qk_groups(k, group);
  memset(sums, 0, qk_weight_bytes_f32(n, groups));
  for (size_t row = 0; row < n; row++)
    for (size_t g = 0; g < groups; g++) {
      const size_t k0 = g * group, k1 = k - k0 < group ? k : k0 + group, at = scale_at(f, k, row, k0);
      int64_t codes = 0;
      for (size_t i = k0; i < k1; i++) codes += code_of(p, f, k, row, i);
      const double sum = (double)p->scale[at] * (double)codes;
      sums[(row / QK_PANEL * groups + g) * QK_PANEL + row % QK_PANEL] = (float)(f->min ? sum + (double)p->min[at] *
                                                                                                   (double)(k1 - k0)
                                                                                       : sum);
    }
}
