/* utf8.c - UTF-8 by the WHATWG decoder: malformed input gives one U+FFFD per maximal subpart. Pure functions. */
#include "base/utf8.h"

uint32_t qn_utf8_decode(const uint8_t *p, size_t len, uint32_t *used) {
  uint32_t lead = p[0];
  *used = 1;
  if (lead < 0x80) return lead;
  /* The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4). */
  uint32_t low = 0x80, high = 0xBF, tail, cp;
  if (lead >= 0xC2 && lead <= 0xDF) {
    tail = 1, cp = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    tail = 2, cp = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    tail = 3, cp = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return QN_REPLACEMENT;
  }
  for (uint32_t i = 1; i <= tail; i++) {
    if (i >= len || p[i] < low || p[i] > high) {
      *used = i;
      return QN_REPLACEMENT;
    }
    cp = cp << 6 | (p[i] & 0x3Fu);
    low = 0x80, high = 0xBF;
  }
  *used = tail + 1;
  return cp;
}

uint32_t qn_utf8_encode(uint32_t cp, uint8_t out[4]) {
  if (cp < 0x80) {
    out[0] = (uint8_t)cp;
    return 1;
  }
  if (cp < 0x800) {
    out[0] = (uint8_t)(0xC0 | cp >> 6);
    out[1] = (uint8_t)(0x80 | (cp & 0x3F));
    return 2;
  }
  if (cp < 0x10000) {
    out[0] = (uint8_t)(0xE0 | cp >> 12);
    out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
    out[2] = (uint8_t)(0x80 | (cp & 0x3F));
    return 3;
  }
  out[0] = (uint8_t)(0xF0 | cp >> 18);
  out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3F));
  out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
  out[3] = (uint8_t)(0x80 | (cp & 0x3F));
  return 4;
}
