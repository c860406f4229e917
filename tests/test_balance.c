/* test_balance.c - queries and keys balanced: scores stay as they are, maxima meet, and what was not observed is left alone. */
#include "quant/balance.h"

#include <math.h>
#include <stdlib.h>

#include "test.h"
#include "tiny_model.h"

enum { HEADS = 4, SHARED = 2, H = 8, WIDTH = 6, ROWS = (HEADS + 2 * SHARED) * H };

static qn_arch arch_of(uint32_t rotary, uint32_t head_norm) {
  return (qn_arch){.layers = 2,
                   .width = WIDTH,
                   .heads = HEADS,
                   .kv_heads = SHARED,
                   .head_dim = H,
                   .rotary = rotary,
                   .head_norm = head_norm,
                   .causal = 1};
}

/* Maxima of two layers: keys have one far beyond the others. */
static float data[2 * (HEADS + SHARED) * H];
static qn_maxima maxima_of(void) {
  qn_maxima m = {.data = data, .inputs = {.layers = 2, .stride = (HEADS + SHARED) * H}};
  m.inputs.width[QN_SITE_Q] = HEADS * H;
  m.inputs.width[QN_SITE_K] = SHARED * H;
  m.inputs.offset[QN_SITE_K] = HEADS * H;
  for (size_t i = 0; i < sizeof data / sizeof data[0]; i++) data[i] = 1.0f + fabsf(tiny_weight(3, "m", i));
  data[m.inputs.stride + HEADS * H + 3] = 400.0f; /* channel 3 of the first head of the second layer */
  return m;
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* The score of a query head with its key head on one input, by pairs, which a rotation leaves a sum of. */
static double score(const float *w, const float *bias, const float *x, uint32_t head, uint32_t i) {
  const uint32_t q = head * H + i, k = (HEADS + head / (HEADS / SHARED)) * H + i;
  return (dot(w + q * WIDTH, x, WIDTH) + (double)bias[q]) * (dot(w + k * WIDTH, x, WIDTH) + (double)bias[k]);
}

static void rows_are_balanced(void) {
  float w[ROWS * WIDTH], bias[ROWS], was[ROWS * WIDTH], bias_was[ROWS], x[WIDTH];
  for (uint32_t rotary = 4; rotary <= H; rotary += 4) {
    const qn_arch a = arch_of(rotary, 0);
    const qn_maxima m = maxima_of();
    const qn_item it = {.name = "layers.1.attn.qkv",
                        .kind = QN_ITEM_LINEAR,
                        .n = ROWS,
                        .k = WIDTH,
                        .layer = 1,
                        .input = QN_SITE_QKV_IN};
    for (uint32_t i = 0; i < ROWS * WIDTH; i++) w[i] = was[i] = tiny_weight(1, "w", i);
    for (uint32_t i = 0; i < ROWS; i++) bias[i] = bias_was[i] = tiny_weight(2, "b", i);
    for (uint32_t i = 0; i < WIDTH; i++) x[i] = tiny_weight(4, "x", i);
    qn_balance_item(&m, &a, &it, w, bias);
    for (uint32_t head = 0; head < HEADS; head++)
      for (uint32_t i = 0; i < H; i++)
        CHECK(fabs(score(w, bias, x, head, i) - score(was, bias_was, x, head, i)) < 1e-6);
    for (uint32_t i = (HEADS + SHARED) * H * WIDTH; i < ROWS * WIDTH; i++) CHECK(w[i] == was[i]); /* values */
    const uint32_t outlier = HEADS * H + 3, partner = rotary == 4 ? HEADS * H + 1 : HEADS * H + 7;
    const float by = w[outlier * WIDTH] / was[outlier * WIDTH];
    CHECK(rotary == 4 ? by < 0.11f : by < 0.11f); /* alone, or with its partner */
    CHECK(rotary == 4 || fabsf(w[partner * WIDTH] / was[partner * WIDTH] - by) < 1e-6f);
  }
}

static void gains_are_balanced(void) {
  const qn_arch a = arch_of(H, 1);
  const qn_maxima m = maxima_of();
  qn_item q = {.name = "layers.1.attn.q.norm.gain", .kind = QN_ITEM_VECTOR, .n = H, .k = 1, .layer = 1, .input = -1};
  qn_item k = {.name = "layers.1.attn.k.norm.gain", .kind = QN_ITEM_VECTOR, .n = H, .k = 1, .layer = 1, .input = -1};
  float a_q[H], a_k[H];
  for (uint32_t i = 0; i < H; i++) a_q[i] = a_k[i] = 1.0f;
  qn_balance_item(&m, &a, &q, a_q, NULL);
  qn_balance_item(&m, &a, &k, a_k, NULL);
  for (uint32_t i = 0; i < H; i++)
    CHECK(fabsf(a_q[i] * a_k[i] - 1.0f) < 1e-6f && a_k[i] == a_k[i < H / 2 ? i + H / 2 : i - H / 2]);
  CHECK(a_k[3] < 0.11f && a_k[0] > 0.5f);
}

static void others_are_left(void) {
  const qn_arch a = arch_of(H, 0);
  qn_maxima m = maxima_of();
  qn_item it = {
      .name = "layers.1.attn.out", .kind = QN_ITEM_LINEAR, .n = 2, .k = 2, .layer = 1, .input = QN_SITE_ATTN_OUT_IN};
  float w[4] = {1, 2, 3, 4}, bias[2] = {5, 6};
  qn_balance_item(&m, &a, &it, w, bias);
  it.input = QN_SITE_QKV_IN;
  m.inputs.width[QN_SITE_K] = 0;
  qn_balance_item(&m, &a, &it, w, bias);
  m.data = NULL;
  qn_balance_item(&m, &a, &it, w, bias);
  CHECK(w[0] == 1 && w[1] == 2 && w[2] == 3 && w[3] == 4 && bias[0] == 5 && bias[1] == 6);
}

int main(void) {
  RUN(rows_are_balanced);
  RUN(gains_are_balanced);
  RUN(others_are_left);
  return TEST_END();
}
