/* number.c - decimal text to double and back without the locale. Not a validator: JSON's stricter grammar is json.c's.
 * Up to 19 significant digits are converted exactly (correctly rounded, any exponent, subnormals too); digits past them
 * only mark the value as a little larger. Pure functions. */
#include "base/json.h"
#include "base/status.h"
#include <math.h>
#include <string.h>

#define NUMBER_DIGITS 19
#define NUMBER_LIMBS 32
#define NUMBER_SHIFT 27 /* limbs; see number_scale */

typedef struct number_big {
  uint32_t limb[NUMBER_LIMBS]; /* little-endian, 32 bits each */
  int count;                   /* limbs in use: the top one is not 0 */
} number_big;

static void number_multiply(number_big *b, uint32_t by) {
  uint64_t carry = 0;
  for (int i = 0; i < b->count; i++) {
    carry += (uint64_t)b->limb[i] * by;
    b->limb[i] = (uint32_t)carry;
    carry >>= 32;
  }
  if (carry) b->limb[b->count++] = (uint32_t)carry;
}

static uint32_t number_divide(number_big *b, uint32_t by) {
  uint64_t rest = 0;
  for (int i = b->count - 1; i >= 0; i--) {
    rest = rest << 32 | b->limb[i];
    b->limb[i] = (uint32_t)(rest / by);
    rest %= by;
  }
  while (b->count && b->limb[b->count - 1] == 0) b->count--;
  return (uint32_t)rest;
}

/* b = w * 10^e as b * 2^(result), cut to an integer; *sticky is set when something was cut. w > 0, -343 <= e <= 340.
 * Up: w * 5^340 has 64 + 790 bits, 27 limbs. Down: (w << 864) / 5^343 keeps 864 - 797 = 67 bits even for w = 1, more
 * than the 64 that are looked at, and (w << 864) has 29 limbs. Dividing by parts of 5^k is exact, because
 * floor(floor(a / b) / c) = floor(a / (b * c)), and nothing was cut if no part left a remainder. */
static int number_scale(number_big *b, uint64_t w, int e, int *sticky) {
  static const uint32_t five[] = {1,     5,      25,      125,     625,      3125,     15625,
                                  78125, 390625, 1953125, 9765625, 48828125, 244140625};
  const uint32_t five13 = 1220703125;
  int shift = e < 0 ? NUMBER_SHIFT : 0, k = e < 0 ? -e : e;
  memset(b, 0, sizeof *b);
  b->limb[shift] = (uint32_t)w;
  b->limb[shift + 1] = (uint32_t)(w >> 32);
  b->count = shift + (w >> 32 ? 2 : 1);
  for (; k; k -= k < 13 ? k : 13) {
    uint32_t by = k < 13 ? five[k] : five13;
    if (e >= 0)
      number_multiply(b, by);
    else if (number_divide(b, by))
      *sticky = 1;
  }
  return e - 32 * shift;
}

/* The 64 bits of b from its highest set bit down; *sticky is set when a bit below them is set. */
static uint64_t number_top(const number_big *b, int *sticky) {
  int used = 32 - __builtin_clz(b->limb[b->count - 1]); /* bits in the highest limb, 1 ... 32 */
  uint64_t top = 0;
  for (int i = 0; i < b->count; i++) {
    uint64_t limb = b->limb[b->count - 1 - i];
    int shift = 64 - used - 32 * i; /* where the limb's bit 0 comes to stand */
    if (shift >= 0) {
      top |= limb << shift;
    } else if (shift > -32) {
      top |= limb >> -shift;
      if (limb & ((1ull << -shift) - 1)) *sticky = 1;
    } else if (limb) {
      *sticky = 1;
    }
  }
  return top;
}

/* top * 2^q (highest bit of top set; a bit of sticky below) rounded to nearest even. */
static double number_round(uint64_t top, int q, int sticky) {
  int exponent = q + 63; /* of the highest bit */
  if (exponent > 1023) return (double)INFINITY;
  int keep = exponent >= -1022 ? 53 : 53 + 1022 + exponent; /* bits that a double has there */
  if (keep < 0) return 0.0;
  int drop = 64 - keep;
  uint64_t m = drop == 64 ? 0 : top >> drop;
  uint64_t rest = drop == 64 ? top : top & ((1ull << drop) - 1), half = 1ull << (drop - 1);
  if (rest > half || (rest == half && (sticky || (m & 1)))) m++;
  /* m has its leading bit in place 52 for a normal number; a carry out of it raises the exponent field by itself. */
  uint64_t bits = exponent >= -1022 ? ((uint64_t)(exponent + 1022) << 52) + m : m;
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

static double number_convert(uint64_t w, int64_t e, int sticky) {
  static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (w == 0 || e < -343) return 0.0; /* below 10^19 * 10^-344: less than half the smallest subnormal */
  if (e > 308) return (double)INFINITY;
  if (w <= 1ull << 53 && e >= -22 && e <= 22 && !sticky) /* both operands are exact: one rounding */
    return e < 0 ? (double)w / ten[-e] : (double)w * ten[e];
  number_big b;
  int exp2 = number_scale(&b, w, (int)e, &sticky);
  int bits = 32 * b.count - __builtin_clz(b.limb[b.count - 1]);
  uint64_t top = number_top(&b, &sticky);
  return number_round(top, bits - 64 + exp2, sticky);
}

static int number_digit(const char *p, size_t i, size_t bytes) { return i < bytes && p[i] >= '0' && p[i] <= '9'; }

size_t qn_parse_number(const char *p, size_t bytes, double *out) {
  size_t i = 0;
  int negative = 0, seen = 0, point = 0, digits = 0, sticky = 0;
  uint64_t w = 0;
  int64_t e = 0;
  if (i < bytes && (p[i] == '-' || p[i] == '+')) negative = p[i++] == '-';
  for (; i < bytes; i++) {
    if (p[i] == '.' && !point) {
      point = 1;
      continue;
    }
    if (!number_digit(p, i, bytes)) break;
    seen = 1;
    if (digits < NUMBER_DIGITS) {
      w = w * 10 + (uint64_t)(p[i] - '0');
      digits += w != 0;
      e -= point;
    } else {
      sticky |= p[i] != '0';
      e += !point;
    }
  }
  if (!seen) return 0;
  if (i < bytes && (p[i] == 'e' || p[i] == 'E')) {
    size_t j = i + 1;
    int down = 0;
    if (j < bytes && (p[j] == '-' || p[j] == '+')) down = p[j++] == '-';
    if (number_digit(p, j, bytes)) {
      int64_t x = 0;
      for (; number_digit(p, j, bytes); j++)
        if (x < INT64_MAX / 100) x = x * 10 + (p[j] - '0'); /* far past any double, far from wrapping */
      e += down ? -x : x;
      i = j;
    }
  }
  double d = number_convert(w, e, sticky);
  *out = negative ? -d : d;
  return i;
}

/* ---- to text ----------------------------------------------------------------------------------------------------- */

/* v * 10^k to nearest even, where that is below 2^63; v > 0, -308 <= k <= 340. */
static uint64_t number_scaled(double v, int k) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  const int field = (int)(bits >> 52);
  const uint64_t fraction = bits & ((1ull << 52) - 1), m = field ? fraction | 1ull << 52 : fraction;
  number_big b;
  int sticky = 0;
  const int exp2 = number_scale(&b, m, k, &sticky) + (field ? field : 1) - 1075;
  const int down = 64 - (32 * b.count - __builtin_clz(b.limb[b.count - 1])) - exp2; /* bits of `top` below the point */
  const uint64_t top = number_top(&b, &sticky);
  if (down > 64) return 0;
  const uint64_t whole = down == 64 ? 0 : top >> down, half = 1ull << (down - 1), rest = top & (half + (half - 1));
  return whole + (rest > half || (rest == half && (sticky || (whole & 1))));
}

/* digits: d[0].d[1]d[2]... * 10^e */
static size_t number_layout(char *buf, size_t cap, const char *sign, const char *digits, int e) {
  static const char zeros[] = "0000000000000000";
  const int n = (int)strlen(digits);
  if (e < -5 || e > 16) return qn_format(buf, cap, "%s%c%s%se%d", sign, digits[0], n > 1 ? "." : "", digits + 1, e);
  if (e < 0) return qn_format(buf, cap, "%s0.%.*s%s", sign, -e - 1, zeros, digits);
  if (e >= n - 1) return qn_format(buf, cap, "%s%s%.*s", sign, digits, e - n + 1, zeros);
  return qn_format(buf, cap, "%s%.*s.%s", sign, e + 1, digits, digits + e + 1);
}

size_t qn_format_number(char *buf, size_t cap, double v) {
  const char *sign = __builtin_signbit(v) ? "-" : "";
  if (v != v) return qn_format(buf, cap, "nan");
  if (v < 0) v = -v;
  if (v == 0) return qn_format(buf, cap, "%s0", sign);
  if (v == (double)INFINITY) return qn_format(buf, cap, "%sinf", sign);
  /* 10^e <= v < 10^(e + 1): from the exponent of two, log10(2) = 1233 / 4096 to 5e-6, so e comes out right or one off. */
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  const int field = (int)(bits >> 52), exp2 = field ? field - 1023 : -1011 - __builtin_clzll(bits);
  int e = (exp2 * 1233) >> 12;
  if (number_convert(1, e + 1, 0) <= v) e++;
  if (number_convert(1, e, 0) > v) e--;
  /* The fewest digits that read back: v is d * 10^-k. 17 digits always do. */
  int k = -e;
  uint64_t d = number_scaled(v, k);
  for (; k < 16 - e && number_convert(d, -k, 0) != v; d = number_scaled(v, k)) k++;
  for (; d % 10 == 0; k--) d /= 10; /* rounded up to a power of ten */
  char digits[24];
  const int n = (int)qn_format(digits, sizeof digits, "%llu", (unsigned long long)d);
  return number_layout(buf, cap, sign, digits, n - 1 - k);
}
