/* unicode.c - look-ups in the Unicode tables; not a general Unicode library. Constants only: any thread. */
#include "text/unicode.h"

uint32_t qn_unicode_to_lower(uint32_t cp) {
  uint32_t lo = 0, hi = QN_UNICODE_LOWER; /* the last range with first <= cp */
  while (hi - lo > 1) {
    uint32_t mid = (lo + hi) / 2;
    if (qn_unicode_lower_table[mid].first <= cp)
      lo = mid;
    else
      hi = mid;
  }
  const qn_unicode_lower *r = &qn_unicode_lower_table[lo];
  uint32_t at = cp - r->first;
  if (cp < r->first || at % r->stride != 0 || at / r->stride >= r->count) return cp;
  return (uint32_t)((int32_t)cp + r->difference);
}

/* Hangul syllables are composed by arithmetic: leading consonant, vowel, final consonant if any. */
#define SYLLABLES 0xAC00u
#define LEADS 0x1100u
#define VOWELS 0x1161u
#define FINALS 0x11A7u /* that of no final consonant */

#define PART(step, shift) ((uint32_t)((step) >> (shift)) & 0x1FFFFFu)

/* The step of a code point, or 0. */
static uint64_t find_step(uint32_t cp) {
  uint32_t lo = 0, hi = QN_UNICODE_STEPS;
  while (hi - lo > 1) {
    uint32_t mid = (lo + hi) / 2;
    if (PART(qn_unicode_steps[mid], 42) <= cp)
      lo = mid;
    else
      hi = mid;
  }
  return PART(qn_unicode_steps[lo], 42) == cp ? qn_unicode_steps[lo] : 0;
}

uint32_t qn_unicode_decompose(uint32_t cp, uint32_t out[4]) {
  const uint32_t s = cp - SYLLABLES;
  if (s < 19u * 588u) {
    out[0] = LEADS + s / 588u;
    out[1] = VOWELS + s % 588u / 28u;
    out[2] = FINALS + s % 28u;
    return s % 28u ? 3 : 2;
  }
  uint32_t n = 4; /* written from the end: only the first part decomposes further */
  uint32_t parts[4];
  while (n > 1 && (qn_unicode_props(cp) & QN_UC_DECOMPOSES)) {
    const uint64_t step = find_step(cp);
    if (PART(step, 0)) parts[--n] = PART(step, 0);
    cp = PART(step, 21);
  }
  parts[--n] = cp;
  for (uint32_t i = n; i < 4; i++) out[i - n] = parts[i];
  return 4 - n;
}

uint32_t qn_unicode_strip(uint32_t cp, uint32_t out[4]) {
  const uint32_t n = qn_unicode_decompose(cp, out);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; i++)
    if (n == 1 || !(qn_unicode_props(out[i]) & QN_UC_MARK)) out[kept++] = out[i];
  return kept;
}

uint32_t qn_unicode_compose(uint32_t first, uint32_t second) {
  if (first - LEADS < 19u && second - VOWELS < 21u)
    return SYLLABLES + ((first - LEADS) * 21u + (second - VOWELS)) * 28u;
  if (first - SYLLABLES < 19u * 588u && (first - SYLLABLES) % 28u == 0 && second - FINALS - 1u < 27u)
    return first + second - FINALS;
  const uint64_t parts = (uint64_t)first << 21 | second;
  uint32_t lo = 0, hi = QN_UNICODE_COMPOSED;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    const uint64_t step = qn_unicode_steps[qn_unicode_composed[mid]], other = step & 0x3FFFFFFFFFFu;
    if (other == parts) return PART(step, 42);
    if (other < parts)
      lo = mid + 1;
    else
      hi = mid;
  }
  return 0;
}

int qn_unicode_is_chinese(uint32_t cp) {
  if (cp < 0x3400u) return 0;
  return cp <= 0x4DBFu || (cp >= 0x4E00u && cp <= 0x9FFFu) || (cp >= 0xF900u && cp <= 0xFAFFu) ||
         (cp >= 0x20000u && cp <= 0x2A6DFu) || (cp >= 0x2A700u && cp <= 0x2B81Fu) ||
         (cp >= 0x2B920u && cp <= 0x2CEAFu) || (cp >= 0x2F800u && cp <= 0x2FA1Fu);
}
