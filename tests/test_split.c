/* test_split.c - splitting neurons: the largest weights are chosen, the block's output stays as it is, the shares of a
 * split weight add up to the nearest code of the whole. */
#include <math.h>

#include "quant/quant.h"
#include "quant/split.h"
#include "test.h"
#include "tiny_model.h"

enum { WIDTH = 5, FFN = 12, COPIES = 7, K = FFN + COPIES };

static void weights(float up[K * WIDTH], float down[WIDTH * K]) {
  for (int i = 0; i < FFN * WIDTH; i++) up[i] = tiny_weight(1, "up", (uint64_t)i);
  for (int i = 0; i < WIDTH * FFN; i++) down[i] = tiny_weight(1, "down", (uint64_t)i);
  down[2 * FFN + 4] = -9.0f;
  down[3 * FFN + 11] = 3.0f;
}

static void test_choice(void) {
  float up[K * WIDTH], down[WIDTH * K], most[WIDTH];
  uint32_t source[COPIES], shares[FFN];
  weights(up, down);
  qn_split_choose(down, WIDTH, FFN, COPIES, source, shares, most);
  /* 9 as 4.5, as 3: then 3 of the other neuron is no smaller. */
  CHECK(source[0] == 4 && source[1] == 4);
  uint32_t all = 0, fourth = 0, eleventh = 0;
  for (int i = 0; i < COPIES; i++) fourth += source[i] == 4, eleventh += source[i] == 11;
  for (int j = 0; j < FFN; j++) all += shares[j] - 1;
  CHECK_EQ(all, COPIES);
  CHECK(shares[4] == fourth + 1 && shares[11] == eleventh + 1 && fourth + eleventh == COPIES && eleventh >= 1);
  for (int r = 0; r < WIDTH; r++) {
    float want = 0;
    for (int j = 0; j < FFN; j++) want = fmaxf(want, fabsf(down[r * FFN + j]) / (float)shares[j]);
    CHECK(most[r] == want);
  }
}

static void test_exact(void) {
  float up[K * WIDTH], down[WIDTH * K], was[WIDTH * K], most[WIDTH], x[WIDTH] = {0.5f, -1, 2, 0.25f, -3};
  uint32_t source[COPIES], shares[FFN];
  weights(up, down);
  weights(up, was);
  qn_split_choose(down, WIDTH, FFN, COPIES, source, shares, most);
  qn_split_rows(up, FFN, WIDTH, COPIES, source);
  qn_split_columns(down, WIDTH, FFN, COPIES, source);
  for (int r = 0; r < WIDTH; r++) {
    double before = 0, after = 0;
    for (int j = 0; j < K; j++) {
      double h = 0;
      for (int i = 0; i < WIDTH; i++) h += (double)up[j * WIDTH + i] * (double)x[i];
      h = h > 0 ? h : 0;
      if (j < FFN) before += h * (double)was[r * FFN + j];
      after += h * (double)down[r * K + j];
    }
    CHECK(fabs(before - after) < 1e-5);
  }
}

static void test_shares(void) {
  float up[K * WIDTH], down[WIDTH * K], was[WIDTH * K], most[WIDTH];
  uint32_t source[COPIES], shares[FFN];
  uint8_t panels[16 * 64];
  float scale[WIDTH];
  int32_t sums[WIDTH];
  weights(up, down);
  qn_split_choose(down, WIDTH, FFN, COPIES, source, shares, most);
  qn_split_columns(down, WIDTH, FFN, COPIES, source);
  for (int i = 0; i < WIDTH * K; i++) was[i] = down[i];
  qn_split_share(down, WIDTH, FFN, COPIES, 127.0f, source);
  qn_pack_linear_i8(down, WIDTH, K, 127.0f, panels, scale, sums);
  for (int r = 0; r < WIDTH; r++) {
    for (int j = 0; j < FFN; j++) {
      int whole = 0, least = 127, largest = -127;
      double want = 0;
      for (int c = 0; c < K; c++) {
        if (c != j && !(c >= FFN && source[c - FFN] == (uint32_t)j)) continue;
        const int code = (int8_t)(panels[c / 4 * 64 + r * 4 + c % 4] ^ 0x80);
        whole += code;
        least = code < least ? code : least;
        largest = code > largest ? code : largest;
        want += (double)was[r * K + c];
      }
      CHECK(largest - least <= 1);
      CHECK(fabs(whole * (double)scale[r] - want) <= 0.5001 * (double)scale[r]);
    }
  }
}

int main(void) {
  RUN(test_choice);
  RUN(test_exact);
  RUN(test_shares);
  return TEST_END();
}
