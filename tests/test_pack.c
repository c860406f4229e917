/* test_pack.c - codes of 4 and 2 bits with scales by group: where they lie, what they stand for, how far they are off. */
#include <math.h>
#include <string.h>
#include "kernels/layout.h"
#include "quant/quant.h"
#include "tests/test.h"
#include "tests/tiny_model.h"

/* Value of element i of a row of 4-bit panels, by the layout's definition. */
static float nibble_value(const uint8_t *panels, const float *scale, const float *min, uint32_t k, uint32_t group,
                          uint32_t r, uint32_t i) {
  const uint32_t kp = (uint32_t)qk_k8(k), groups = (k + group - 1) / group;
  const uint8_t byte = panels[r / 16 * 8 * kp + i / 8 * 64 + r % 16 * 4 + i % 4];
  const int q = i / 4 % 2 ? byte >> 4 : byte & 15;
  const uint32_t at = r / 16 * groups * 16 + i / group * 16 + r % 16;
  return min ? (float)q * scale[at] + min[at] : (float)(q - 8) * scale[at];
}

/* Codes lie where the layout says, sums are those of the values, and the error is no more than that of the scale which
   the largest magnitude alone gives. */
static void packs_small_codes(void) {
  static float w[40 * 200], scale[48 * 8], min[48 * 8], sums[40];
  static uint8_t panels[48 * 256 / 2];
  static const uint32_t shapes[][3] = {{1, 1, 64},    {16, 64, 32},   {17, 65, 64},
                                       {40, 200, 32}, {40, 200, 256}, {3, 63, 128}};
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
    for (int with_min = 0; with_min < 2; with_min++) {
      const uint32_t n = shapes[s][0], k = shapes[s][1], group = shapes[s][2], groups = (k + group - 1) / group;
      for (uint32_t i = 0; i < n * k; i++) w[i] = tiny_weight(7, "w", i) * (i % 3 ? 1.0f : 1.37f);
      if (n > 2) memset(w + k, 0, k * sizeof *w);
      memset(panels, 0x11, sizeof panels);
      qn_pack_linear_u4(w, n, k, group, panels, scale, with_min ? min : NULL, sums);
      for (uint32_t r = 0; r < (n + 15) / 16 * 16; r++) {
        double sum = 0;
        for (uint32_t i = 0; i < qk_k8(k); i++) {
          const uint8_t byte = panels[r / 16 * 8 * qk_k8(k) + i / 8 * 64 + r % 16 * 4 + i % 4];
          if (r >= n || i >= k) CHECK_EQ(i / 4 % 2 ? byte >> 4 : byte & 15, 8);
        }
        for (uint32_t g = 0; g < groups; g++) {
          double error = 0, plain = 0;
          float most = 0, lo = 0, hi = 0;
          const uint32_t i0 = g * group, i1 = i0 + group < k ? i0 + group : k;
          if (r >= n) {
            const uint32_t at = r / 16 * groups * 16 + g * 16 + r % 16;
            CHECK(scale[at] == 0 && (!with_min || min[at] == 0));
            continue;
          }
          for (uint32_t i = i0; i < i1; i++) {
            const float x = w[r * k + i];
            most = fmaxf(most, fabsf(x));
            lo = i == i0 ? x : fminf(lo, x), hi = i == i0 ? x : fmaxf(hi, x);
          }
          for (uint32_t i = i0; i < i1; i++) {
            const float v = nibble_value(panels, scale, with_min ? min : NULL, k, group, r, i), x = w[r * k + i];
            const float step = with_min ? (hi - lo) / 15 : most / 7, base = with_min ? lo : 0;
            const float rounded = step > 0 ? rintf((x - base) / step) * step + base : x;
            CHECK(v == qn_value_u4(panels, scale, with_min ? min : NULL, k, group, r, i));
            error += ((double)x - (double)v) * ((double)x - (double)v);
            plain += ((double)x - (double)rounded) * ((double)x - (double)rounded);
            sum += (double)v;
          }
          CHECK(error <= plain * 1.0001 + 1e-12);
        }
        if (r < n) CHECK(fabs(sum - (double)sums[r]) < 1e-4);
      }
    }
}

static void packs_small_rows(void) {
  static float w[5 * 100], scale[10], work[16];
  static uint8_t codes[5 * 64];
  static int8_t step[5 * 7 * 2];
  for (uint32_t bits = 2; bits <= 4; bits += 2)
    for (uint32_t group = 16; group <= 32; group += 16)
      for (uint32_t d = 1; d <= 100; d += 33) {
        for (uint32_t i = 0; i < 5 * d; i++) w[i] = (float)(tiny_hash(i) % 1001) / 500 - 1;
        memset(w + d, 0, d * sizeof *w);
        for (uint32_t i = 0; i < d; i++) w[2 * d + i] = 0.25f;
        qn_pack_rows_small(w, 5, d, bits, group, codes, scale, step, work);
        const double grid = 2.0 / (bits == 4 ? 15 : 3);
        for (uint32_t r = 0; r < 5; r++)
          for (uint32_t i = 0; i < d; i++) {
            const uint8_t *row = codes + r * qk_k8(d) * bits / 8;
            const int q = bits == 4 ? row[i / 32 * 16 + i % 16] >> i / 16 % 2 * 4 & 15
                                    : row[i / 64 * 16 + i % 16] >> i / 16 % 4 * 2 & 3;
            const int8_t *s = step + (r * ((d + group - 1) / group) + i / group) * 2;
            const float v = (float)q * ((float)s[0] * scale[2 * r]) + (float)s[1] * scale[2 * r + 1];
            CHECK(v == qn_value_small(codes, scale, step, d, bits, group, r, i));
            CHECK(fabs((double)v - (double)w[r * d + i]) <= (r == 1 ? 0 : r == 2 ? 1e-6 : grid));
          }
      }
}

int main(void) {
  RUN(packs_small_codes);
  RUN(packs_small_rows);
  return TEST_END();
}
