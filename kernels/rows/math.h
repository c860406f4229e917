/* math.h - exp2, exp, GELU, SiLU, tanh, ReLU, sine and cosine on 16 floats, written once over lanes: the same operations in the same order, so
 * the same bytes, on every ISA. The constants come from tools/fit_math.py, which also prints the errors they achieve.
 * Include after a lanes file. Polynomials are chains of fma, highest coefficient first.
 */
#ifndef QK_ROWS_MATH_H
#define QK_ROWS_MATH_H

#ifndef QK_LANES_SCALE
#define QK_LANES_SCALE 0
#endif
#define QK_LOG2E 1.44269504088896341f

/* 2^x for x <= 127 (more is not asked for): n = rint(x), 2^n * p(x - n), p of degree 6 on [-1/2, 1/2], 1.2 ulp.
   x < -126 gives 0, so results are never subnormal; exp2(0) = 1 exactly; -infinity and NaN give 0. */
static inline vf qk_exp2(vf x) {
  vf n = vf_rint(x), r = vf_sub(x, n);
  vf p = vf_fma(vf_set1(0x1.36b54p-13f), r, vf_set1(0x1.5e6f06p-10f));
  p = vf_fma(p, r, vf_set1(0x1.3b337ep-7f));
  p = vf_fma(p, r, vf_set1(0x1.c6b03ep-5f));
  p = vf_fma(p, r, vf_set1(0x1.ebfbdep-3f));
  p = vf_fma(p, r, vf_set1(0x1.62e43p-1f));
  p = vf_fma(p, r, vf_set1(1.0f));
  /* The largest float below -126: no comparison holds for NaN, which so gives 0. */
  return vf_select_lt(vf_set1(-0x1.f80002p+6f), x, vf_scale2(p, n), vf_zero());
}

/* 2^x where 8 bits of it are wanted: x + QK_MAGIC has rint(x) in its low bits, p of degree 3, relative error 1.01e-4. x <= 127;
   x <= -125, -infinity and NaN give 0. */
#define QK_MAGIC 0x1.8p23f
static inline vf qk_exp2_third(vf r) {
  vf p = vf_fma(vf_set1(0x1.c2a212p-5f), r, vf_set1(0x1.f00c4cp-3f));
  p = vf_fma(p, r, vf_set1(0x1.62f5fap-1f));
  return vf_fma(p, r, vf_set1(1.0f));
}
static inline vf qk_exp2_short(vf x) {
  const vf t = vf_add(x, vf_set1(QK_MAGIC)), r = vf_sub(x, vf_sub(t, vf_set1(QK_MAGIC)));
  return vf_lift_lt(vf_set1(-125.0f), x, qk_exp2_third(r), vi_shl(vi_bits(t), 23));
}
/* The same for x <= 64, where what qk_exp2_short gives of larger x is not asked for: fewer operations, where there are instructions
   for them. */
static inline vf qk_exp2_short_low(vf x) {
#if QK_LANES_SCALE
  const vf r = vf_past_rint(x);
  return vf_scale_lt(vf_set1(-125.0f), x, qk_exp2_third(r), vf_sub(x, r));
#else
  return qk_exp2_short(x);
#endif
}

/* exp(x) = exp2(x * log2(e)), the product rounded once. */
static inline vf qk_exp(vf x) { return qk_exp2(vf_mul(x, vf_set1(QK_LOG2E))); }

/* x Phi(x): Phi = clamp(1/2 + x Q(t), 0, 1), t = 2 min(x^2, c^2) / c^2 - 1, c = 4.8; Q of degree 11, its even and its odd
   part as chains in t^2 (half the latency of one chain). Beyond c the clamp makes it x or -0 exactly. Error at most
   1e-6 max(1, |x|). NaN stays NaN. */
static inline vf qk_gelu(vf x) {
  vf t = vf_fma(vf_min(vf_mul(x, x), vf_set1(23.04f)), vf_set1(0x1.638e38p-4f), vf_set1(-1.0f)), s = vf_mul(t, t);
  vf a = vf_fma(vf_set1(0x1.121f76p-9f), s, vf_set1(0x1.09187ep-8f)),
     b = vf_fma(vf_set1(-0x1.8d2292p-11f), s, vf_set1(-0x1.4eb622p-9f));
  a = vf_fma(a, s, vf_set1(0x1.e5d116p-7f)), b = vf_fma(b, s, vf_set1(-0x1.1cc14ap-7f));
  a = vf_fma(a, s, vf_set1(0x1.f2d8cp-6f)), b = vf_fma(b, s, vf_set1(-0x1.6510dcp-6f));
  a = vf_fma(a, s, vf_set1(0x1.b19b7cp-5f)), b = vf_fma(b, s, vf_set1(-0x1.4cb3acp-5f));
  a = vf_fma(a, s, vf_set1(0x1.2d7dbp-3f)), b = vf_fma(b, s, vf_set1(-0x1.2aeb5cp-4f));
  vf phi = vf_fma(x, vf_fma(t, b, a), vf_set1(0.5f));
  return vf_mul(x, vf_min(vf_max(phi, vf_zero()), vf_set1(1.0f)));
}

/* x Phi(x) where 8 bits of it are wanted: Phi = 1/2 + c P(c^2), c = min(max(x, -3.65), 3.65), P of degree 5, half the
   operations. Error at most 4.9e-4 + 1e-6 |x|. NaN stays NaN. */
static inline vf qk_gelu_short(vf x) {
  vf c = vf_min(vf_max(x, vf_set1(-3.65f)), vf_set1(3.65f)), s = vf_mul(c, c);
  vf p = vf_fma(vf_set1(-0x1.0bb788p-21f), s, vf_set1(0x1.c88f2cp-16f));
  p = vf_fma(p, s, vf_set1(-0x1.461274p-11f));
  p = vf_fma(p, s, vf_set1(0x1.02113cp-7f));
  p = vf_fma(p, s, vf_set1(-0x1.00a476p-4f));
  p = vf_fma(p, s, vf_set1(0x1.960c46p-2f));
  return vf_mul(x, vf_fma(c, p, vf_set1(0.5f)));
}

/* x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 = x / (1 + 2^(x (a + b x^2))), a = -2 log2(e) sqrt(2/pi),
   b = 0.044715 a. The exponent is held at 126: x / 2^126 is as good as 0. */
static inline vf qk_gelu_tanh(vf x) {
  vf e = vf_mul(x, vf_fma(vf_mul(x, x), vf_set1(-0.102943240f), vf_set1(-2.30220819f)));
  return vf_div(x, vf_add(vf_set1(1.0f), qk_exp2(vf_min(vf_set1(126.0f), e))));
}

/* x / (1 + exp(-x)), the exponent held as above. */
static inline vf qk_silu(vf x) {
  const vf e = vf_mul(x, vf_set1(-QK_LOG2E));
  return vf_div(x, vf_add(vf_set1(1.0f), qk_exp2(vf_min(vf_set1(126.0f), e))));
}

/* |x| < 0.625: x + x s P(s), s = x^2; beyond: sign(x) (1 - 2 / (1 + exp(2 |x|))), 1 from |x| = 43 on. */
static inline vf qk_tanh(vf x) {
  vf a = vf_abs(x), s = vf_mul(x, x);
  vf p = vf_fma(vf_set1(-0x1.922f88p-8f), s, vf_set1(0x1.58c0d8p-6f));
  p = vf_fma(p, s, vf_set1(-0x1.b943eap-5f));
  p = vf_fma(p, s, vf_set1(0x1.110edap-3f));
  p = vf_fma(p, s, vf_set1(-0x1.555554p-2f));
  vf near = vf_fma(vf_mul(x, s), p, x);
  vf e = qk_exp2(vf_min(vf_set1(126.0f), vf_mul(a, vf_set1(2.88539008f))));
  vf far = vf_sub(vf_set1(1.0f), vf_div(vf_set1(2.0f), vf_add(vf_set1(1.0f), e)));
  /* NaN takes the first branch: the comparison the other way round is false for it. */
  return vf_select_lt(vf_set1(0.625f), a, vf_copysign(far, x), near);
}

/* What nears cap and -cap. */
static inline vf qk_capped(vf x, vf cap) { return vf_mul(cap, qk_tanh(vf_div(x, cap))); }

/* Sine and cosine of |x| <= 2^20 within 1e-7: k = rint(x * 2/pi), r = x - k * pi/2 in three fma, the first of which is exact, |r| < 0.9;
   sin r = r + r s P(s), cos r = 1 + s (-1/2 + s Q(s)), s = r^2; k tells which of them with which sign. */
static inline void qk_turn(vf x, vf *cosine, vf *sine) {
  const vf n = vf_rint(vf_mul(x, vf_set1(0x1.45f306p-1f))), k = vf_neg(n);
  vf r = vf_fma(k, vf_set1(0x1.921fb6p+0f), x);
  r = vf_fma(k, vf_set1(-0x1.777a5cp-25f), r);
  r = vf_fma(k, vf_set1(-0x1.ee59dap-50f), r);
  const vf s = vf_mul(r, r);
  vf p = vf_fma(vf_set1(-0x1.98b1e8p-13f), s, vf_set1(0x1.1106e2p-7f));
  vf q = vf_fma(vf_set1(0x1.9a30ccp-16f), s, vf_set1(-0x1.6c0f96p-10f));
  p = vf_fma(p, s, vf_set1(-0x1.555546p-3f));
  q = vf_fma(vf_fma(q, s, vf_set1(0x1.555554p-5f)), s, vf_set1(-0.5f));
  const vi a = vi_bits(vf_fma(vf_mul(r, s), p, r)), b = vi_bits(vf_fma(q, s, vf_set1(1.0f)));
  const vi turn = vf_to_vi(n), one = vi_set1(1), swap = vi_and(vi_xor(a, b), vi_sub(vi_zero(), vi_and(turn, one)));
  const vi minus = vi_shl(vi_and(turn, vi_set1(2)), 30),
           minus_cosine = vi_shl(vi_and(vi_add(turn, one), vi_set1(2)), 30);
  *sine = vf_from_bits(vi_xor(vi_xor(a, swap), minus));
  *cosine = vf_from_bits(vi_xor(vi_xor(b, swap), minus_cosine));
}

/* 0 > x ? 0 : x, which keeps NaN. */
static inline vf qk_relu(vf x) { return vf_max(vf_zero(), x); }

static inline vf qk_act(vf x, uint32_t act) {
  switch (act) {
    case QK_ACT_GELU:
      return qk_gelu(x);
    case QK_ACT_GELU_TANH:
      return qk_gelu_tanh(x);
    case QK_ACT_RELU:
      return qk_relu(x);
    case QK_ACT_TANH:
      return qk_tanh(x);
    case QK_ACT_GELU_SHORT:
      return qk_gelu_short(x);
    case QK_ACT_SILU:
      return qk_silu(x);
    default:
      return x;
  }
}
#endif
