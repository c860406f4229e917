/* test_pack.c - codes of few bits and codes with scales by group: where they lie, what they stand for, how far they are off. */
#include <math.h>
#include <string.h>
#include "kernels/layout.h"
#include "quant/quant.h"
#include "tests/test.h"
#include "tests/tiny_model.h"

enum { MOST_N = 48, MOST_K = 256, MOST_GROUPS = 8 };
static float w[MOST_N * MOST_K], scale[MOST_N * MOST_GROUPS], min[MOST_N * MOST_GROUPS], sums[MOST_N];
static float group_sums[MOST_N * MOST_GROUPS], work[2 * MOST_GROUPS];
static int32_t code_sums[MOST_N];
static uint8_t panels[MOST_N * MOST_K], steps[MOST_N * MOST_GROUPS];

/* Code i of a row, by the layouts' definitions. */
static int code_of(const qn_form *f, uint32_t k, uint32_t r, uint32_t i) {
  const uint32_t kp = (uint32_t)qk_k8(k), lane = r % 16 * 4 + i % 4;
  if (f->bits == 8) return panels[(r / 16 * (kp / 4) + i / 4) * 64 + lane];
  if (f->bits == 4) return panels[(r / 16 * (kp / 8) + i / 8) * 64 + lane] >> i / 4 % 2 * 4 & 15;
  return panels[(r / 16 * (kp / 16) + i / 16) * 64 + lane] >> i / 4 % 4 * 2 & 3;
}
static int middle(const qn_form *f) { return f->bits == 8 ? 128 : f->min ? 0 : f->bits == 4 ? 8 : 2; }
/* Of a group whose step is at `at`. */
static int zero_of(const qn_form *f, uint32_t at) { return f->zeros ? steps[at] >> 4 ^ 8 : middle(f); }
static int step_of(const qn_form *f, uint32_t at) { return f->steps ? steps[at] & 15 : 1; }

/* Squared error of the grid that the extremes of n weights give, without any search. */
static double plain_error(const float *x, uint32_t n, const qn_form *f) {
  float lo = x[0], hi = x[0], most = 0;
  double error = 0;
  for (uint32_t i = 0; i < n; i++) lo = fminf(lo, x[i]), hi = fmaxf(hi, x[i]), most = fmaxf(most, fabsf(x[i]));
  const float top = f->bits == 8 ? 127.0f : f->bits == 4 ? 7.0f : 1.0f;
  const float step = f->min ? (hi - lo) / (f->bits == 4 ? 15.0f : 3.0f) : most / top, base = f->min ? lo : 0;
  for (uint32_t i = 0; i < n; i++) {
    const float v = step > 0 ? rintf((x[i] - base) / step) * step + base : x[i];
    error += ((double)x[i] - (double)v) * ((double)x[i] - (double)v);
  }
  return error;
}

/* Codes lie where the layout says, sums are those of the values, padding is the middle, and the error is no more than that of
   the grid which extremes alone give; of integer steps over the channel, where a group has no scale of its own. */
static void check_form(const qn_form *f, uint32_t n, uint32_t k) {
  const uint32_t group = f->group, groups = (k + group - 1) / group;
  const qn_packed p = {panels, scale, f->min ? min : NULL, f->steps ? steps : NULL, sums, code_sums};
  memset(panels, 0x11, sizeof panels);
  memset(steps, 99, sizeof steps);
  qn_pack_grids(w, n, k, f, &p, work);
  qn_pack_codes(w, n, k, f, &p);
  if (group >= 32 && !f->min) qn_packed_sums(&p, f, n, k, group, group_sums);
  for (uint32_t r = 0; r < (n + 15) / 16 * 16; r++) {
    double sum = 0, row_error = 0, row_plain = 0;
    int64_t codes = 0;
    for (uint32_t i = 0; i < qk_k8(k); i++)
      if (r >= n || i >= k) CHECK_EQ(code_of(f, k, r, i), f->bits == 8 ? 128 : f->bits == 4 ? 8 : 2);
    for (uint32_t g = 0; g < groups; g++) {
      const uint32_t at = (r / 16 * groups + g) * 16 + r % 16, i0 = g * group, i1 = i0 + group < k ? i0 + group : k;
      double error = 0, part = 0;
      if (f->steps) CHECK(r >= n || (step_of(f, at) >= 1 && (f->zeros || steps[at] <= 15)));
      if (f->zeros) CHECK(zero_of(f, at) * step_of(f, at) <= 128 && (15 - zero_of(f, at)) * step_of(f, at) <= 127);
      if (r >= n) {
        if (!f->steps) CHECK(scale[at] == 0 && (!f->min || min[at] == 0));
        continue;
      }
      for (uint32_t i = i0; i < i1; i++) {
        const int c = (code_of(f, k, r, i) - zero_of(f, at)) * step_of(f, at);
        const double v = c * (double)scale[f->steps ? r : at] + (f->min ? (double)min[at] : 0),
                     x = (double)w[r * k + i];
        CHECK(v == qn_packed_value(&p, f, k, r, i));
        error += (x - v) * (x - v);
        part += v;
        codes += c;
      }
      const double plain = plain_error(w + r * k + i0, i1 - i0, f);
      if (!f->steps) CHECK(error <= plain * 1.0001 + 1e-12);
      if (group >= 32 && !f->min) CHECK(fabs(part - (double)group_sums[at]) < 1e-4);
      sum += part, row_error += error, row_plain += plain;
    }
    if (r >= n) continue;
    if (f->steps)
      CHECK(code_sums[r] == codes && row_error <= row_plain * 1.1 + 1e-12);
    else
      CHECK(fabs(sum - (double)sums[r]) < 1e-4);
  }
}

static void packs_linear(void) {
  static const uint32_t shapes[][3] = {{1, 1, 64},    {16, 64, 32},   {17, 65, 64},
                                       {40, 200, 32}, {40, 200, 256}, {3, 63, 128}};
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
    const uint32_t n = shapes[s][0], k = shapes[s][1], group = shapes[s][2];
    for (uint32_t i = 0; i < n * k; i++) w[i] = tiny_weight(7, "w", i) * (i % 3 ? 1.0f : 1.37f);
    if (n > 2) memset(w + k, 0, k * sizeof *w);
    for (uint32_t bits = 2; bits <= 8; bits *= 2)
      for (int kind = 0; kind < (bits == 8 ? 1 : bits == 4 ? 4 : 3); kind++) {
        const qn_form f = {
            .bits = bits, .group = group, .min = kind == 1, .steps = kind >= 2, .zeros = kind == 3};
        check_form(&f, n, k);
      }
  }
}

/* Rows of few bits in bytes: no scale of the nine tried has a smaller error, and 8 bits keep the largest weight. */
static void packs_few_bits(void) {
  enum { N = 5, K = 96 };
  for (uint32_t i = 0; i < N * K; i++) w[i] = tiny_weight(9, "w", i) * (i % 37 ? 1.0f : 6.0f);
  for (uint32_t bits = 4; bits <= 8; bits += 2) {
    const float most = bits == 8 ? 127 : bits == 6 ? 31 : 7;
    qn_pack_linear_i8(w, N, K, most, panels, scale, code_sums);
    for (uint32_t r = 0; r < N; r++) {
      float absmax = 0;
      double least = INFINITY, got = 0;
      for (uint32_t i = 0; i < K; i++) absmax = fmaxf(absmax, fabsf(w[r * K + i]));
      for (int part = 20; part >= 12; part--) {
        const double step = (double)absmax / (double)most * part / 20;
        double error = 0;
        for (uint32_t i = 0; i < K; i++) {
          const double code = fmin(fmax(rint((double)w[r * K + i] / step), -(double)most), (double)most);
          error += pow((double)w[r * K + i] - code * step, 2);
        }
        if (bits < 8 || part == 20) least = fmin(least, error);
      }
      for (uint32_t i = 0; i < K; i++) {
        const int code = (int8_t)(panels[i / 4 * 64 + r * 4 + i % 4] ^ 0x80);
        CHECK(abs(code) <= (int)most);
        got += pow((double)w[r * K + i] - code * (double)scale[r], 2);
      }
      CHECK(got <= least * 1.001);
    }
  }
}

static void packs_small_rows(void) {
  static float rows_scale[10], rows_work[16];
  static uint8_t codes[5 * 64];
  static int8_t step[5 * 7 * 2];
  for (uint32_t bits = 2; bits <= 4; bits += 2)
    for (uint32_t group = 16; group <= 32; group += 16)
      for (uint32_t d = 1; d <= 100; d += 33) {
        for (uint32_t i = 0; i < 5 * d; i++) w[i] = (float)(tiny_hash(i) % 1001) / 500 - 1;
        memset(w + d, 0, d * sizeof *w);
        for (uint32_t i = 0; i < d; i++) w[2 * d + i] = 0.25f;
        qn_pack_rows_small(w, 5, d, bits, group, codes, rows_scale, step, rows_work);
        const double grid = 2.0 / (bits == 4 ? 15 : 3);
        for (uint32_t r = 0; r < 5; r++)
          for (uint32_t i = 0; i < d; i++) {
            const uint8_t *row = codes + r * qk_k8(d) * bits / 8;
            const int q = bits == 4 ? row[i / 32 * 16 + i % 16] >> i / 16 % 2 * 4 & 15
                                    : row[i / 64 * 16 + i % 16] >> i / 16 % 4 * 2 & 3;
            const int8_t *s = step + (r * ((d + group - 1) / group) + i / group) * 2;
            const float v = (float)q * ((float)s[0] * rows_scale[2 * r]) + (float)s[1] * rows_scale[2 * r + 1];
            CHECK(v == qn_value_small(codes, rows_scale, step, d, bits, group, r, i));
            CHECK(fabs((double)v - (double)w[r * d + i]) <= (r == 1 ? 0 : r == 2 ? 1e-6 : grid));
          }
      }
}

int main(void) {
  RUN(packs_linear);
  RUN(packs_few_bits);
  RUN(packs_small_rows);
  return TEST_END();
}
