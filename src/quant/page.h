/* page.h - text that grows: what the report's JSON and HTML are written with. The first failure is kept, and what comes after it is
 * dropped. One thread. */
#ifndef QN_PAGE_H
#define QN_PAGE_H
#include "base/env.h"

typedef struct qn_page {
  qn_env *env;
  qn_buffer buffer;
  quern_status status;
} qn_page;

void qn_page_put(qn_page *p, const char *fmt, ...) QN_PRINTF(2, 3); /* at most 1,023 bytes */
void qn_page_text(qn_page *p, const char *text);
/* v with `digits` decimals, rounded half away from 0; magnitudes of 1e18 and more as 1e18. */
void qn_page_fixed(qn_page *p, double v, uint32_t digits);
/* v with 4 digits that count; 0 below 1e-15. */
void qn_page_number(qn_page *p, double v);
/* Text from outside, for HTML and as a string of JSON: malformed UTF-8 becomes U+FFFD, control characters blanks or escapes. */
void qn_page_escaped(qn_page *p, const char *text);
void qn_page_string(qn_page *p, const char *text);
#endif
