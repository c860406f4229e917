/* reader.h - raw UTF-8 as the normalized characters that a tokenizer splits: one by one, with a cursor that may be copied
 * to look ahead. Nothing is stored of the text: canonical order and composition (NFC) are found by walking it again, so
 * that sequences of any length need no memory. One thread; the text outlives the reader. */
#ifndef QN_READER_H
#define QN_READER_H
#include "text/unicode.h"

#define QN_READ_NFC 1u    /* normalization form C */
#define QN_READ_BLANKS 2u /* U+2581 is a blank: SentencePiece writes blanks so */
#define QN_READ_END 0xFFFFFFFFu

typedef struct qn_part { /* a place in the decomposed text: a raw character, and which of its parts */
  const uint8_t *p;
  uint32_t sub;
} qn_part;

/* The marks behind a starter in canonical order, less those composed with it. */
typedef struct qn_marks {
  qn_part from, to, at;
  uint32_t starter;    /* as composed so far; QN_READ_END: none */
  int32_t class, last; /* marks of this class are being walked; class of the last one that was not composed, or -1 */
} qn_marks;

typedef struct qn_reader {
  uint32_t cp; /* the current character, or QN_READ_END */
  uint32_t flags;
  const uint8_t *from,
      *to;                /* raw bytes that it came from; from is where it can be read again, unless `marks` is used */
  const uint8_t *p, *end; /* raw bytes behind it */
  uint64_t left;          /* characters behind it that may be given, for a bound that is not the text's end */
  uint32_t in_marks;      /* marks are being given, then `p` goes on at part `sub` */
  uint32_t sub;
  qn_marks marks;
} qn_reader;

/* Stands on the first character. blank: a blank is put before the text; not if text is empty. */
void qn_reader_begin(qn_reader *r, const uint8_t *text, const uint8_t *end, uint32_t flags, int blank);
/* On to the next character. */
void qn_reader_next(qn_reader *r);
/* Stands on the raw character at p: what is between it and the current one are ASCII characters, and no sequence that NFC
   changes is cut. */
void qn_reader_seek(qn_reader *r, const uint8_t *p);
#endif
