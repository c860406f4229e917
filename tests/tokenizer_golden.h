/* tokenizer_golden.h - a small vocabulary, and texts with the ids that the tokenizers package (0.23.3) gives them. */
#ifndef QN_TOKENIZER_GOLDEN_H
#define QN_TOKENIZER_GOLDEN_H
#include <stddef.h>
#include <stdint.h>

typedef struct text {
  const char *p;
  size_t n;
} text;
#define TEXT(s)                                                                                                        \
  { s, sizeof(s) - 1 }

static const char *const vocab[] = {"[PAD]",
                                    "[UNK]",
                                    "[CLS]",
                                    "[SEP]",
                                    "[MASK]",
                                    "the",
                                    "quick",
                                    "fox",
                                    "##es",
                                    "un",
                                    "##aff",
                                    "##able",
                                    "aff",
                                    "hello",
                                    "world",
                                    ".",
                                    ",",
                                    "!",
                                    "'",
                                    "t",
                                    "don",
                                    "##'",
                                    "s",
                                    "a",
                                    "b",
                                    "c",
                                    "##a",
                                    "##b",
                                    "##c",
                                    "cafe",
                                    "i",
                                    "##i",
                                    "\xe4\xb8\xad",
                                    "\xe5\x9b\xbd",
                                    "ss",
                                    "#",
                                    "\xc3\xa9",
                                    "e",
                                    "##e",
                                    "-",
                                    "1",
                                    "##1",
                                    "##2",
                                    "ab",
                                    "abc",
                                    "##bc",
                                    "naive",
                                    "\xcf\x83",
                                    "##\xcf\x83",
                                    "\xf0\x9d\x85\x98\xf0\x9d\x85\xa5",
                                    "\xf0\x9d\x85\xa5",
                                    "##\xf0\x9d\x85\xa5",
                                    "##\xf0\x9d\x85\xae",
                                    "\xea\xb0\x80",
                                    "\xe1\x84\x80",
                                    "##\xe1\x85\xa1",
                                    "n't",
                                    "do",
                                    "not",
                                    "\xf0\x9f\x98\x80",
                                    "<s>",
                                    "x",
                                    "##\xcc\xa3",
                                    "##\xcc\x81"};
#define VOCAB ((uint32_t)(sizeof vocab / sizeof vocab[0])) /* "New York" and "<Tag>" come after it */

static const struct {
  text in;
  const char *ids[4]; /* by normalizers[] */
} golden[] = {
    {TEXT(""), {"", "", "", ""}},
    {TEXT("   \x09\x0d\x0a "), {"", "", "", ""}},
    {TEXT("the quick foxes"), {"5 6 7 8", "5 6 7 8", "5 6 7 8", "5 6 7 8"}},
    {TEXT("The QUICK, unaffable fox!"),
     {"5 6 16 9 10 11 7 17", "1 1 16 9 10 11 7 17", "5 6 16 9 10 11 7 17", "1 1 16 9 10 11 7 17"}},
    {TEXT("Caf\xc3\xa9 cafe\xcc\x81 CAFE"), {"29 29 29", "1 29 63 1", "1 29 63 29", "1 29 63 1"}},
    {TEXT("\xe4\xb8\xad\xe5\x9b\xbd"
          "abc"),
     {"32 33 44", "32 33 44", "32 33 44", "1"}},
    {TEXT("hel\x00lo wor\x07ld\xe2\x80\x8b!"), {"13 14 17", "13 14 17", "13 14 17", "1 1 17"}},
    {TEXT("\xef\xbf\xbdhello\xef\xbf\xbd"), {"13", "13", "13", "1"}},
    {TEXT("hello \xff\xfe w\xe4\xb8orld"), {"13 14", "13 14", "13 14", "13 1 1"}},
    {TEXT("a\xe4\xb8"
          "b\xf0\x9f\x98\x80"),
     {"1", "1", "1", "1"}},
    {TEXT("[CLS] the [MASK] [mask][SEP]"), {"2 5 4 1 1 1 3", "2 5 4 1 1 1 3", "2 5 4 1 1 1 3", "2 5 4 1 1 1 3"}},
    {TEXT("new york NEW YORK newyork renew york"), {"64 64 1 1 1", "1 1 1 1 1 1 1", "64 64 1 1 1", "1 1 1 1 1 1 1"}},
    {TEXT("a <Tag>  b<tag>c<Tag>"),
     {"23 65 24 1 1 1 25 65", "23 65 24 1 1 1 25 65", "23 65 24 1 1 1 25 65", "23 65 24 1 1 1 25 65"}},
    {TEXT("don't do not"), {"20 18 19 57 58", "20 18 19 57 58", "20 18 19 57 58", "20 18 19 57 58"}},
    {TEXT("\xf0\x9f\x98\x80 fox\xf0\x9f\x98\x80"), {"59 1", "59 1", "59 1", "59 1"}},
    {TEXT("\xf0\x9d\x85\x9f\xf0\x9d\x85\xae\xf0\x9d\x85\xa5"), {"49 52 51", "1", "1", "1"}},
    {TEXT("\xea\xb0\x80 \xea\xb0\x80"), {"54 55 54 55", "53 53", "53 53", "53 53"}},
    {TEXT("\xce\xa3\xce\xa3 \xce\xa3"), {"47 48 47", "1 1", "47 48 47", "1 1"}},
    {TEXT("\xc4\xb0i I"), {"30 31 30", "1 1", "1 30", "1 1"}},
    {TEXT("\xc3\x9f ss"), {"1 34", "1 34", "1 34", "1 34"}},
    {TEXT("it's 1-12"), {"1 18 22 40 39 40 42", "1 18 22 40 39 40 42", "1 18 22 40 39 40 42", "1 18 22 40 39 40 42"}},
    {TEXT("x\xc2\xa0x\xe3\x80\x80x\xe2\x80\xa8x"), {"61 61 61 61", "61 61 61 61", "61 61 61 61", "61 61 61 61"}},
    {TEXT("xyz x#x ##"), {"1 61 35 61 35 35", "1 61 35 61 35 35", "1 61 35 61 35 35", "1 61 35 61 35 35"}},
    {TEXT("e\xcc\x81\xcc\xa3 \xc3\xa9\xcc\xa3"), {"37 37", "37 63 62 36 62", "37 63 62 36 62", "37 63 62 36 62"}},
    {TEXT("f\xc2\xadox"), {"7", "7", "7", "1"}},
    {TEXT("\xf4\x90\x80\x80\xed\xa0\x80\xc0\xaf"), {"", "", "", "1"}},
    {TEXT("na\xc3\xafve"), {"46", "1", "1", "1"}},
    {TEXT("ab abc abcbc abcabc"),
     {"43 44 44 45 44 26 45", "43 44 44 45 44 26 45", "43 44 44 45 44 26 45", "43 44 44 45 44 26 45"}},
};

#endif
