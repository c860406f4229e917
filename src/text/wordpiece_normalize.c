/* wordpiece_normalize.c - pieces that the WordPiece encoder and the section's writer share: normalizing one code point,
 * ordering marks. No state of its own: any thread. */
#include <string.h>
#include "text/wordpiece.h"
#include "base/utf8.h"

static uint32_t lower(uint32_t flags, uint32_t cp, uint32_t *out) {
  if (!(flags & QN_WP_LOWER) || !(qn_unicode_props(cp) & QN_UC_HAS_LOWER)) {
    out[0] = cp;
    return 1;
  }
  out[0] = qn_unicode_to_lower(cp);
  if (cp != 0x130u) return 1;
  out[1] = 0x307u;
  return 2;
}

uint32_t qn_wp_normalize(uint32_t flags, uint32_t cp, uint32_t out[8]) {
  uint32_t props = qn_unicode_props(cp), n = 0, kept[4] = {cp}, kept_n = 1;
  if (flags & QN_WP_CLEAN) {
    if (props & QN_UC_CONTROL) return 0;
    if (props & QN_UC_SPACE) {
      out[0] = ' ';
      return 1;
    }
  }
  int chinese = (flags & QN_WP_CHINESE) && qn_unicode_is_chinese(cp);
  if (chinese) out[n++] = ' ';
  if (flags & QN_WP_STRIP) {
    if (props & QN_UC_MARK) {
      if (!(props & QN_UC_ORDERED)) out[n++] = QN_WP_BARRIER;
      return n;
    }
    kept_n = qn_unicode_strip(cp, kept);
  }
  for (uint32_t i = 0; i < kept_n; i++) n += lower(flags, kept[i], out + n);
  if (chinese) out[n++] = ' ';
  return n;
}

uint32_t qn_wp_append(uint8_t *word, uint32_t n, uint32_t cp, int ordered, uint32_t *run_start) {
  uint8_t bytes[4];
  uint32_t size = qn_utf8_encode(cp, bytes), at = n;
  if (ordered) { /* stable: past all marks of a class not above its own */
    uint32_t class = qn_unicode_class(cp), used = 0;
    for (at = *run_start; at < n; at += used) {
      uint32_t other = qn_utf8_decode(word + at, n - at, &used);
      if (qn_unicode_class(other) > class) break;
    }
    memmove(word + at + size, word + at, n - at);
  } else {
    *run_start = n + size;
  }
  memcpy(word + at, bytes, size);
  return n + size;
}
