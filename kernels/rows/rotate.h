/* rotate.h - rotary positions: cosines and sines of positions, and the rotation of heads with the norm before it (kernels.h: turns,
 * qk_rotate). Over lanes. */
#ifndef QK_ROWS_ROTATE_H
#define QK_ROWS_ROTATE_H
#include "kernels/rows/epilogue.h"

static void qk_rows_turns(const float *frequency, size_t n, const int32_t *positions, float *cosine, float *sine,
                          size_t r0, size_t r1) {
  for (size_t r = r0; r < r1; r++) {
    const vf position = vf_set1((float)positions[r]);
    for (size_t i = 0; i < n; i += 16) {
      vf c, s;
      qk_turn(vf_mul(position, qk_load_n(frequency + i, n - i)), &c, &s);
      qk_store_n(cosine + r * n + i, c, n - i);
      qk_store_n(sine + r * n + i, s, n - i);
    }
  }
}

/* The RMS norm of one head. */
static inline void qk_head_norm(float *x, size_t h, const float *gain, float eps) {
  vf s = vf_zero();
  for (size_t i = 0; i < h; i += 16) {
    const vf v = qk_load_n(x + i, h - i);
    s = vf_add(s, vf_mul(v, v));
  }
  const vf rstd = vf_set1(1.0f / __builtin_sqrtf(vf_sum(s) / (float)h + eps));
  for (size_t i = 0; i < h; i += 16)
    qk_store_n(x + i, vf_mul(vf_mul(qk_load_n(x + i, h - i), rstd), qk_load_n(gain + i, h - i)), h - i);
}

#define QK_HEAD_VECTORS 4u /* of the head size that has code of its own: 64 */

/* Levels within 16 channels: of a lane whose number has the bit, its own value is taken off the other's. */
static inline vf qk_hadamard_lanes(vf x) {
  const float sign[4][16] = {{1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
                             {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
                             {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
                             {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1}};
  x = vf_fma(x, vf_load(sign[0]), vf_swap1(x));
  x = vf_fma(x, vf_load(sign[1]), vf_swap2(x));
  x = vf_fma(x, vf_load(sign[2]), vf_swap4(x));
  return vf_fma(x, vf_load(sign[3]), vf_swap8(x));
}
/* Levels of `vectors` vectors, times by, in registers. */
QK_INLINE void qk_hadamard_vectors(float *x, vf by, const size_t vectors) {
  vf v[QK_HEAD_VECTORS];
  QK_UNROLL for (size_t i = 0; i < vectors; i++) v[i] = qk_hadamard_lanes(vf_load(x + i * 16));
  QK_UNROLL for (size_t n = 1; n < vectors; n *= 2) QK_UNROLL for (size_t i = 0; i < vectors; i++) {
    if (i & n) continue;
    const vf a = v[i], b = v[i + n];
    v[i] = vf_add(a, b), v[i + n] = vf_sub(a, b);
  }
  QK_UNROLL for (size_t i = 0; i < vectors; i++) vf_store(x + i * 16, vf_mul(v[i], by));
}
static inline void qk_head_hadamard(float *x, size_t h) {
  const vf by = vf_set1(1.0f / __builtin_sqrtf((float)h));
  if (h == QK_HEAD_VECTORS * 16) {
    qk_hadamard_vectors(x, by, QK_HEAD_VECTORS);
    return;
  }
  for (size_t i = 0; i < h; i += 16) vf_store(x + i, qk_hadamard_lanes(vf_load(x + i)));
  for (size_t n = 16; n < h; n *= 2)
    for (size_t i = 0; i < h; i += 16) {
      if (i & n) continue;
      const vf a = vf_load(x + i), b = vf_load(x + i + n);
      vf_store(x + i, vf_add(a, b));
      vf_store(x + i + n, vf_sub(a, b));
    }
  for (size_t i = 0; i < h; i += 16) vf_store(x + i, vf_mul(vf_load(x + i), by));
}

static void qk_rows_rotate(const qk_rotate *op, size_t r0, size_t r1) {
  const size_t half = op->rotary / 2;
  for (size_t r = r0; r < r1; r++)
    for (size_t head = 0; head < op->heads; head++) {
      float *x = op->x + r * op->ldx + head * op->h, *y = x + half;
      if (op->gain) qk_head_norm(x, op->h, op->gain, op->eps);
      for (size_t i = 0; i < half; i += 16) {
        const size_t n = half - i;
        const vf a = qk_load_n(x + i, n), b = qk_load_n(y + i, n);
        const vf c = qk_load_n(op->cosine + r * half + i, n), s = qk_load_n(op->sine + r * half + i, n);
        qk_store_n(x + i, vf_fma(a, c, vf_neg(vf_mul(b, s))), n);
        qk_store_n(y + i, vf_fma(b, c, vf_mul(a, s)), n);
      }
      if (op->hadamard) qk_head_hadamard(x, op->h);
    }
}
#endif
