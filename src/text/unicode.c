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

uint32_t qn_unicode_strip(uint32_t cp, uint32_t out[3]) {
  if (cp >= 0xAC00u && cp <= 0xD7A3u) { /* Hangul: leading consonant, vowel, final consonant if any */
    uint32_t s = cp - 0xAC00u;
    out[0] = 0x1100u + s / 588u;
    out[1] = 0x1161u + s % 588u / 28u;
    out[2] = 0x11A7u + s % 28u;
    return s % 28u ? 3 : 2;
  }
  uint32_t lo = 0, hi = QN_UNICODE_STRIPPED;
  while (hi - lo > 1) {
    uint32_t mid = (lo + hi) / 2;
    if (qn_unicode_stripped_keys[mid] <= cp)
      lo = mid;
    else
      hi = mid;
  }
  out[0] = cp;
  if (qn_unicode_stripped_keys[lo] != cp) return 1;
  uint32_t value = qn_unicode_stripped_values[lo];
  if (!(value >> 31)) {
    out[0] = value;
    return 1;
  }
  uint32_t n = value >> 16 & 3u;
  for (uint32_t i = 0; i < n; i++) out[i] = qn_unicode_stripped_pool[(value & 0xFFFFu) + i];
  return n;
}

uint32_t qn_unicode_combining_class(uint32_t cp) {
  for (uint32_t i = 0; i < QN_UNICODE_CLASSES; i++)
    if (cp >= qn_unicode_class_table[i].first && cp <= qn_unicode_class_table[i].last)
      return qn_unicode_class_table[i].value;
  return 0;
}

int qn_unicode_is_chinese(uint32_t cp) {
  if (cp < 0x3400u) return 0;
  return cp <= 0x4DBFu || (cp >= 0x4E00u && cp <= 0x9FFFu) || (cp >= 0xF900u && cp <= 0xFAFFu) ||
         (cp >= 0x20000u && cp <= 0x2A6DFu) || (cp >= 0x2A700u && cp <= 0x2B81Fu) ||
         (cp >= 0x2B920u && cp <= 0x2CEAFu) || (cp >= 0x2F800u && cp <= 0x2FA1Fu);
}
