/* page.c - see page.h. */
#include "quant/page.h"

#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

void qn_page_put(qn_page *p, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  size_t n = qn_vformat(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n >= sizeof text) n = sizeof text - 1;
  if (p->status == QUERN_OK) p->status = qn_buffer_append(p->env, &p->buffer, text, n);
}

void qn_page_text(qn_page *p, const char *text) {
  if (p->status == QUERN_OK) p->status = qn_buffer_append(p->env, &p->buffer, text, strlen(text));
}

void qn_page_fixed(qn_page *p, double v, uint32_t digits) {
  char text[40];
  uint64_t scale = 1;
  const int negative = v < 0;
  for (uint32_t i = 0; i < digits; i++) scale *= 10;
  const double scaled = (negative ? -v : v) * (double)scale + 0.5;
  uint64_t whole = scaled < 1e18 ? (uint64_t)scaled : (uint64_t)1e18;
  const int sign = negative && whole;
  char *at = text + sizeof text;
  *--at = 0;
  for (uint32_t i = 0; i < digits; i++, whole /= 10) *--at = (char)('0' + whole % 10);
  if (digits) *--at = '.';
  do *--at = (char)('0' + whole % 10);
  while (whole /= 10);
  if (sign) *--at = '-';
  qn_page_text(p, at);
}

void qn_page_number(qn_page *p, double v) {
  char text[32];
  double by = 1;
  const double a = v < 0 ? -v : v;
  if (a < 1e-15) v = 0; /* powers of ten are exact up to 1e22 */
  if (a >= 1e-15 && a < 1e22) {
    /* The nearest multiple of a power of ten; above 10,000 the power divides. */
    while (a * by < 1000) by *= 10;
    if (a < 1e4) {
      v = __builtin_rint(v * by) / by;
    } else {
      for (by = 1; a / by >= 10000;) by *= 10;
      v = __builtin_rint(v / by) * by;
    }
  }
  qn_format_number(text, sizeof text, v);
  qn_page_text(p, text);
}

/* The next character of text as UTF-8 into out, with a NUL; how many bytes it took. */
static uint32_t next(const char *text, char out[5], uint32_t *cp) {
  uint32_t used;
  *cp = qn_utf8_decode((const uint8_t *)text, strlen(text), &used);
  out[qn_utf8_encode(*cp, (uint8_t *)out)] = 0;
  return used;
}

void qn_page_escaped(qn_page *p, const char *text) {
  char out[5];
  uint32_t cp;
  while (*text) {
    text += next(text, out, &cp);
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
      qn_page_text(p, " ");
    else if (cp == '<' || cp == '>' || cp == '&' || cp == '"' || cp == '\'')
      qn_page_put(p, "&#%u;", cp);
    else
      qn_page_text(p, out);
  }
}

void qn_page_string(qn_page *p, const char *text) {
  char out[5];
  uint32_t cp;
  qn_page_text(p, "\"");
  while (*text) {
    text += next(text, out, &cp);
    if (cp < 0x20 || cp == 0x7f)
      qn_page_put(p, "\\u00%x%x", cp >> 4, cp & 15);
    else
      qn_page_put(p, "%s%s", cp == '"' || cp == '\\' ? "\\" : "", out);
  }
  qn_page_text(p, "\"");
}
