/* cli_float.c - floats as the shortest decimal text that reads back to the same value. Pure functions, any thread.
 *
 * A float32 needs at most 9 digits, which a double carries with 24 bits to spare: D = rint(v * 10^k) is the nearest
 * integer of n digits, and D / 10^k, both exact in double, is rounded once. Reading it back as a float rounds again;
 * that differs from one rounding only where the double is exactly halfway between two floats, which is left to strtof,
 * as are magnitudes at the edges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Does digits * 10^-scale, 0 <= scale <= 22, read back to v? -1: cannot tell here. */
static int reads_back(uint32_t digits, int scale, float v) {
  double d = (double)digits / powers[scale];
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  if ((bits & 0x1fffffffu) == 0x10000000u) return -1;
  return (float)d == v;
}

static size_t float_text_slow(float v, char buf[CLI_FLOAT_CHARS]) {
  int n = 0;
  for (int digits = 1; digits <= 9; digits++) {
    n = snprintf(buf, CLI_FLOAT_CHARS, "%.*g", digits, (double)v);
    if (strtof(buf, NULL) == v) break;
  }
  return (size_t)n;
}

/* digits * 10^-scale in positional notation; count: number of digits. */
static size_t positional(uint32_t digits, int count, int scale, char *buf) {
  char text[10];
  char *p = buf;
  for (int i = count; i-- > 0; digits /= 10) text[i] = (char)('0' + digits % 10);
  int whole = count - scale; /* digits before the point */
  if (whole <= 0) {
    *p++ = '0';
    *p++ = '.';
    for (int i = whole; i < 0; i++) *p++ = '0';
    memcpy(p, text, (size_t)count);
    return (size_t)(p + count - buf);
  }
  memcpy(p, text, (size_t)whole);
  p += whole;
  if (scale > 0) {
    *p++ = '.';
    memcpy(p, text + whole, (size_t)scale);
    p += scale;
  }
  return (size_t)(p - buf);
}

size_t qn_cli_float_text(float v, char buf[CLI_FLOAT_CHARS]) {
  double x = v < 0 ? -(double)v : (double)v;
  uint32_t bits;
  char *p = buf;
  memcpy(&bits, &v, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) {
    memcpy(buf, "null", 4);
    return 4;
  }
  if (bits >> 31) *p++ = '-';
  if (x == 0) {
    *p++ = '0';
    return (size_t)(p - buf);
  }
  if (x < 1e-5 || x >= 1e6) return float_text_slow(v, buf);
  int exponent = -5; /* 10^exponent <= x < 10^(exponent + 1) */
  while (x >= (exponent + 1 < 0 ? 1 / powers[-(exponent + 1)] : powers[exponent + 1])) exponent++;
  /* Any decimal of at most 6 digits survives a float, so one that reads back is found among those of 6 digits. */
  for (int count = 6; count <= 9; count++) {
    int scale = count - 1 - exponent; /* 0 ... 13 */
    uint32_t digits = (uint32_t)(x * powers[scale] + 0.5);
    int same = reads_back(digits, scale, (float)x);
    if (same < 0) return float_text_slow(v, buf);
    if (!same) continue;
    while (scale > 0 && digits % 10 == 0) digits /= 10, scale--, count--;
    if (digits >= (uint32_t)powers[count]) count++; /* rounded up to the next power of ten */
    return (size_t)(p - buf) + positional(digits, count, scale, p);
  }
  return float_text_slow(v, buf);
}

size_t qn_cli_double_text(double v, char buf[32]) {
  int n = 0;
  if (!(v - v == 0)) {
    memcpy(buf, "null", 4);
    return 4;
  }
  for (int digits = 6; digits <= 17; digits++) {
    n = snprintf(buf, 32, "%.*g", digits, v);
    if (strtod(buf, NULL) == v) break;
  }
  return (size_t)n;
}
