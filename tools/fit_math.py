#!/usr/bin/env python3
"""Fits the polynomials of kernels/rows/math.h and prints them with the errors they achieve in float32.

Minimax by linear programming on a dense grid; the coefficients are then rounded to float32, low ones last, each rounding
followed by a new fit of the coefficients that are still free, so that the rounding of one is repaired by the others.
Needs numpy and scipy. Run it to reproduce the constants; nothing in the build needs it.
"""
import numpy as np
from scipy.optimize import linprog
from scipy.special import erf

F = np.float32


def minimax(basis, target, weight, fixed, equal=None):
    """Coefficients c minimizing max |weight * (basis @ c - target)|; fixed: {index: value}; equal: (row, value)."""
    n = basis.shape[1]
    free = [i for i in range(n) if i not in fixed]
    base = sum((basis[:, i] * v for i, v in fixed.items()), np.zeros(len(target)))
    a = (basis[:, free] * weight[:, None])
    b = (target - base) * weight
    k = len(free)
    cost = np.zeros(k + 1)
    cost[-1] = 1
    one = np.ones((len(b), 1))
    scale = 1 / np.abs(b).max()
    eq = {}
    if equal is not None:
        row, value = equal
        eq = dict(A_eq=np.append(row[free], 0)[None, :],
                  b_eq=[(value - sum(row[i] * v for i, v in fixed.items()))])
    r = linprog(cost, A_ub=np.vstack([np.hstack([a, -one]), np.hstack([-a, -one])]), b_ub=np.concatenate([b, -b]),
                bounds=[(None, None)] * k + [(0, None)], method="highs", **eq)
    c = np.zeros(n)
    for i, v in fixed.items():
        c[i] = v
    c[free] = r.x[:k]
    return c


def fit(basis, target, weight, order, fixed=None, equal=None):
    fixed = dict(fixed or {})
    for i in order:
        c = minimax(basis, target, weight, fixed, equal)
        fixed[i] = float(F(c[i]))
    c = np.array([fixed.get(i, c[i]) for i in range(basis.shape[1])])
    return c


def fma(a, b, c):  # float64 carries the product exactly; the double rounding is far below what is measured here
    return (a.astype(np.float64) * np.float64(b) + np.float64(c)).astype(F) if np.isscalar(c) or c.ndim == 0 else \
        (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(F)


def horner(c, x):
    """c ascending, every step one fma."""
    y = np.full(x.shape, F(c[-1]))
    for k in range(len(c) - 2, -1, -1):
        y = fma(y, x, np.full(x.shape, F(c[k])))
    return y


def even_odd(c, t):
    """The two halves of the polynomial as chains in t^2, joined by one fma: half the latency of horner."""
    s = (t * t).astype(F)
    return fma(t, horner(c[1::2], s), horner(c[0::2], s))


def show(name, c):
    print(f"{name}: " + ", ".join(f"{float(F(v)).hex()}" for v in c))
    print(f"    as decimal: " + ", ".join(f"{float(F(v)):.9g}f" for v in c))


def exp2_fit(degree):
    r = np.cos(np.linspace(0, np.pi, 2001)) * 0.5
    target = np.exp2(r)
    basis = r[:, None] ** np.arange(degree + 1)
    c = fit(basis, target, 1 / target, range(degree, 0, -1), {0: 1.0})
    x = np.linspace(-0.5, 0.5, 2000001).astype(F)
    err = np.abs(horner(c, x).astype(np.float64) / np.exp2(x.astype(np.float64)) - 1)
    ulp = np.abs(horner(c, x).astype(np.float64) - np.exp2(x.astype(np.float64)))
    ulp = ulp / np.where(x < 0, 2.0 ** -24, 2.0 ** -23)
    show(f"exp2, degree {degree}", c)
    print(f"    relative error {err.max():.3g}, {ulp.max():.2f} ulp")


def gelu_fit(clip, degree):
    """Phi(x) = clamp(1/2 + x Q(t), 0, 1), t = min(x^2, clip^2) * 2 / clip^2 - 1: beyond clip the clamp makes it 0 or 1."""
    x = clip * np.sin(np.linspace(0.0005, np.pi / 2, 3000))
    target = (erf(x / np.sqrt(2)) / 2) / x
    weight = x * x / np.maximum(1, x)  # |x| * |error of Phi| against max(1, |x|)
    t = x * x * (2 / clip**2) - 1
    basis = t[:, None] ** np.arange(degree + 1)
    c = fit(basis, target, weight, list(range(degree, -1, -1)))
    x = np.linspace(-8, 8, 4000001).astype(F)
    full = np.full(x.shape, F(1))
    tt = fma(np.minimum((x * x).astype(F), F(clip**2)), full * F(2 / clip**2), -full)
    y = (x * np.clip(fma(x, even_odd(c, tt), full * F(0.5)), F(0), F(1))).astype(F)
    true = x.astype(np.float64) * 0.5 * (1 + erf(x.astype(np.float64) / np.sqrt(2)))
    err = np.abs(y - true) / np.maximum(1, np.abs(x))
    exact = np.abs(x[y != np.maximum(x, 0)]).max()
    show(f"gelu, clip {clip} (clip^2 {clip**2}, 2 / clip^2 {float(F(2 / clip**2)).hex()}), degree {degree}", c)
    print(f"    error / max(1, |x|): {err.max():.3g} at {x[err.argmax()]}; x or 0 exactly from |x| > {exact}")


def gelu_short_fit(clip, degree):
    """Phi(x) = 1/2 + c P(s), c = min(max(x, -clip), clip), s = c^2; P(clip^2) = 1 / (2 clip), so that it ends at 0 and 1."""
    x = clip * np.sin(np.linspace(0.0005, np.pi / 2, 3000))
    target = (erf(x / np.sqrt(2)) / 2) / x
    basis = (x * x)[:, None] ** np.arange(degree + 1)
    row = (clip * clip) ** np.arange(degree + 1.0)
    c = fit(basis, target, x * x, list(range(degree, 0, -1)), equal=(row, 0.5 / clip))
    c[0] = float(F(0.5 / clip - sum(row[1:] * c[1:])))
    x = np.linspace(-8, 8, 4000001).astype(F)
    full = np.full(x.shape, F(1))
    held = np.clip(x, F(-clip), F(clip))
    y = (x * fma(held, horner(c, (held * held).astype(F)), full * F(0.5))).astype(F)
    true = x.astype(np.float64) * 0.5 * (1 + erf(x.astype(np.float64) / np.sqrt(2)))
    err = np.abs(y - true)
    show(f"gelu, short, clip {clip}, degree {degree}", c)
    print(f"    error: {err.max():.3g} at {x[err.argmax()]}; at -8 {y[0]}, at 8 {y[-1]}")


def tanh_fit(limit, degree):
    """tanh(x) = x + x s P(s), s = x^2, for |x| < limit."""
    x = np.linspace(1e-3, limit, 3000)
    s = x * x
    target = (np.tanh(x) / x - 1) / s
    basis = s[:, None] ** np.arange(degree + 1)
    c = fit(basis, target, s, range(degree, -1, -1))
    show(f"tanh, |x| < {limit}, degree {degree}", c)
    err = np.abs(x + x * s * (basis @ c) - np.tanh(x)) / np.tanh(x)
    print(f"    relative error {err.max():.3g} before rounding")


def turn_fit(limit, sine_degree, cosine_degree):
    """sin(r) = r + r s P(s), cos(r) = 1 + s (-1/2 + s Q(s)), s = r^2, |r| <= limit, behind a reduction by pi/2 in three steps."""
    x = np.linspace(1e-3, limit, 3000)
    s = x * x
    basis = s[:, None] ** np.arange(sine_degree + 1)
    c = fit(basis, (np.sin(x) / x - 1) / s, s * x, range(sine_degree, -1, -1))
    show(f"sin, |r| <= {limit}, degree {sine_degree}", c)
    basis = s[:, None] ** np.arange(cosine_degree + 1)
    d = fit(basis, ((np.cos(x) - 1) / s + 0.5) / s, s * s, range(cosine_degree, -1, -1))
    show(f"cos, degree {cosine_degree}", d)
    p1 = F(np.pi / 2)
    p2 = F(np.pi / 2 - np.float64(p1))
    p3 = F(np.float64("1.5707963267948966192313216916398") - np.float64(p1) - np.float64(p2) + 6.123233995736766e-17)
    show("pi/2 in three parts, 2/pi", [p1, p2, p3, F(2 / np.pi)])
    rng = np.random.default_rng(1)
    a = np.concatenate([rng.uniform(-(2.0 ** k), 2.0 ** k, 400000) for k in range(1, 21)]).astype(F)
    k = np.rint((a * F(2 / np.pi)).astype(F)).astype(F)
    r = fma(-k, p1, a)
    r = fma(-k, p2, r)
    r = fma(-k, p3, r)
    t = (r * r).astype(F)
    one = np.full(r.shape, F(1))
    sine = fma((r * t).astype(F), horner(c, t), r)
    cosine = fma(fma(horner(d, t), t, -F(0.5) * one), t, one)
    q = k.astype(np.int64)
    got_s = np.where(q & 1, cosine, sine) * np.where(q & 2, -1, 1)
    got_c = np.where(q & 1, sine, cosine) * np.where((q + 1) & 2, -1, 1)
    exact = a.astype(np.longdouble)
    print(f"    largest |r| {np.abs(r).max():.4g}; error of sin {np.abs(got_s - np.sin(exact)).max():.3g}, of cos "
          f"{np.abs(got_c - np.cos(exact)).max():.3g}, |angle| <= 2^20")


if __name__ == "__main__":
    exp2_fit(6)
    exp2_fit(3)
    gelu_fit(4.8, 11)
    gelu_short_fit(3.65, 5)
    tanh_fit(0.625, 4)
    turn_fit(0.9, 2, 2)
