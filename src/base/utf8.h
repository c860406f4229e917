/* utf8.h - decoding that accepts any bytes (WHATWG rules: one U+FFFD per maximal subpart), encoding. */
#ifndef QN_UTF8_H
#define QN_UTF8_H
#include <stddef.h>
#include <stdint.h>
#define QN_REPLACEMENT 0xFFFDu
/* Decodes the code point at p[0] (len >= 1); *used: bytes consumed, 1 ... 4. */
uint32_t qn_utf8_decode(const uint8_t *p, size_t len, uint32_t *used);
/* Encodes cp (a scalar value) to out[4]; returns 1 ... 4. */
uint32_t qn_utf8_encode(uint32_t cp, uint8_t out[4]);
#endif
