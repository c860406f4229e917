/* tokenizer_golden.h - a small vocabulary, and texts with the ids and places that the tokenizers package (0.23.3) gives
 * them. */
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

/* Tokens as ID:BEGIN:END, the bytes they came from, with two more added tokens: "<l>" takes the blanks on its left, "{b}", in
   normalized text, those on both sides. */
#define ADDED_OF_SPANS                                                                                                 \
  "[{\"id\":2,\"content\":\"[CLS]\",\"special\":true,\"normalized\":false},{\"id\":4,\"content\":\"[MASK]\","          \
  "\"special\":"                                                                                                       \
  "true,\"normalized\":false},{\"id\":64,\"content\":\"New "                                                           \
  "York\",\"single_word\":true,\"normalized\":true},{\"id\":65,"                                                       \
  "\"content\":\"<Tag>\",\"rstrip\":true,\"normalized\":false},{\"id\":66,\"content\":\"<l>\",\"lstrip\":true,"        \
  "\"normalized\":false},{\"id\":67,\"content\":\"{b}\",\"lstrip\":true,\"rstrip\":true,\"normalized\":true}]"
static const struct {
  text in;
  const char *tokens[4]; /* by normalizers[] */
} golden_spans[] = {
    {TEXT("The QUICK, unaffable fox!"),
     {"5:0:3 6:4:9 16:9:10 9:11:13 10:13:16 11:16:20 7:21:24 17:24:25",
      "1:0:3 1:4:9 16:9:10 9:11:13 10:13:16 11:16:20 7:21:24 17:24:25",
      "5:0:3 6:4:9 16:9:10 9:11:13 10:13:16 11:16:20 7:21:24 17:24:25",
      "1:0:3 1:4:9 16:9:10 9:11:13 10:13:16 11:16:20 7:21:24 17:24:25"}},
    {TEXT("Caf\xc3\xa9 cafe\xcc\x81 CAFE"),
     {"29:0:5 29:6:10 29:13:17", "1:0:5 29:6:10 63:10:12 1:13:17", "1:0:5 29:6:10 63:10:12 29:13:17",
      "1:0:5 29:6:10 63:10:12 1:13:17"}},
    {TEXT("  caf\xc3\xa9\xcc\x81s\x09\xe4\xb8\xad\xe5\x9b\xbd"
          "abc "),
     {"1:2:10 32:11:14 33:14:17 44:17:20", "1:2:10 32:11:14 33:14:17 44:17:20", "1:2:10 32:11:14 33:14:17 44:17:20",
      "1:2:10 1:11:20"}},
    {TEXT("hel\x00lo wor\x07ld\xe2\x80\x8b!"),
     {"13:0:6 14:7:13 17:16:17", "13:0:6 14:7:13 17:16:17", "13:0:6 14:7:13 17:16:17", "1:0:6 1:7:16 17:16:17"}},
    {TEXT("New York  new york"),
     {"64:0:8 64:10:18", "64:0:8 1:10:13 1:14:18", "64:0:8 64:10:18", "64:0:8 1:10:13 1:14:18"}},
    {TEXT("a <Tag>  b<tag>c<Tag>"),
     {"23:0:1 65:2:9 24:9:10 1:10:11 1:11:14 1:14:15 25:15:16 65:16:21",
      "23:0:1 65:2:9 24:9:10 1:10:11 1:11:14 1:14:15 25:15:16 65:16:21",
      "23:0:1 65:2:9 24:9:10 1:10:11 1:11:14 1:14:15 25:15:16 65:16:21",
      "23:0:1 65:2:9 24:9:10 1:10:11 1:11:14 1:14:15 25:15:16 65:16:21"}},
    {TEXT("a <l> b  {b} \xe3\x80\x80"
          "c{b}"),
     {"23:0:1 66:1:5 24:6:7 67:7:16 25:16:17 67:17:20", "23:0:1 66:1:5 24:6:7 67:7:16 25:16:17 67:17:20",
      "23:0:1 66:1:5 24:6:7 67:7:16 25:16:17 67:17:20", "23:0:1 66:1:5 24:6:7 67:7:16 25:16:17 67:17:20"}},
    {TEXT("\xf0\x9d\x85\x9f\xf0\x9d\x85\xae\xf0\x9d\x85\xa5"), {"49:0:4 52:4:8 51:8:12", "1:0:12", "1:0:12", "1:0:12"}},
    {TEXT("\xea\xb0\x80 \xea\xb0\x80\xcc\x81"),
     {"54:0:3 55:0:3 54:4:7 55:4:7", "53:0:3 53:4:7 63:7:9", "53:0:3 53:4:7 63:7:9", "53:0:3 53:4:7 63:7:9"}},
    {TEXT("\xc4\xb0i I"), {"30:0:2 31:2:3 30:4:5", "1:0:3 1:4:5", "1:0:3 30:4:5", "1:0:3 1:4:5"}},
    {TEXT("x\xc2\xa0x\xe3\x80\x80x\xe2\x80\xa8x"),
     {"61:0:1 61:3:4 61:7:8 61:11:12", "61:0:1 61:3:4 61:7:8 61:11:12", "61:0:1 61:3:4 61:7:8 61:11:12",
      "61:0:1 61:3:4 61:7:8 61:11:12"}},
    {TEXT("fo\xc2\xadxyz x#x"),
     {"1:0:7 61:8:9 35:9:10 61:10:11", "1:0:7 61:8:9 35:9:10 61:10:11", "1:0:7 61:8:9 35:9:10 61:10:11",
      "1:0:7 61:8:9 35:9:10 61:10:11"}},
    {TEXT("e\xcc\x81\xcc\xa3 \xc3\xa9\xcc\xa3t"),
     {"37:0:1 1:6:11", "37:0:1 63:1:3 62:3:5 1:6:11", "37:0:1 63:1:3 62:3:5 1:6:11", "37:0:1 63:1:3 62:3:5 1:6:11"}},
    {TEXT("aaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaa"
          "\xcc\x81"),
     {"1:0:101", "1:0:103", "1:0:103", "1:0:103"}},
    {TEXT("\xcc\x81\xcc\x81"
          "a"),
     {"23:4:5", "1:0:5", "1:0:5", "1:0:5"}},
    {TEXT("na\xc3\xafvet\xc3\xa9 abcabc"),
     {"1:0:9 44:10:13 26:13:14 45:14:16", "1:0:9 44:10:13 26:13:14 45:14:16", "1:0:9 44:10:13 26:13:14 45:14:16",
      "1:0:9 44:10:13 26:13:14 45:14:16"}},
    {TEXT("[CLS] the [MASK]"),
     {"2:0:5 5:6:9 4:10:16", "2:0:5 5:6:9 4:10:16", "2:0:5 5:6:9 4:10:16", "2:0:5 5:6:9 4:10:16"}},
    {TEXT("hello \xef\xbf\xbd w\xef\xbf\xbdorld"),
     {"13:0:5 14:10:18", "13:0:5 14:10:18", "13:0:5 14:10:18", "13:0:5 1:6:9 1:10:18"}},
};

#endif
