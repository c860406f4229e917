/* test_squad.c - an answer against the right ones, with what SQuAD's own evaluation script gives for the same texts. */
#include "cli/eval.h"
#include "test.h"

static const struct {
  const char *answer, *right;
  double exact, f1;
} cases[] = {
    {"Denver Broncos", "Denver Broncos", 1, 1},
    {"the denver  BRONCOS.", "Denver Broncos", 1, 1},
    {"Denver", "Denver Broncos", 0, 2.0 / 3},
    {"Denver Broncos", "Denver Broncos ||| Carolina Panthers", 1, 1},
    {"Carolina Panthers", "Denver Broncos ||| Carolina Panthers", 1, 1},
    {"Carolina Panthers", "Denver Broncos|||Carolina|||the Panthers of Carolina", 0, 0.8},
    {"Santa Clara", "Denver Broncos", 0, 0},
    /* Words count as often as they occur. */
    {"dog dog cat", "dog cat cat", 0, 2.0 / 3},
    {"to be or not to be", "to be", 0, 0.5},
    /* Punctuation goes without a blank; only ASCII is punctuation. */
    {"gold-themed", "goldthemed", 1, 1},
    {"gold themed", "gold-themed", 0, 0},
    {"24\xe2\x80\x93"
     "10",
     "2410", 0, 0},
    {"\"golden anniversary\"", "golden anniversary", 1, 1},
    {"$5.50", "550", 1, 1},
    /* Articles are whole words of letters, digits and _, after punctuation is gone. */
    {"an apple a day", "apple day", 1, 1},
    {"theatre", "atre", 0, 0},
    {"a.m", "am", 1, 1},
    {"the\xe2\x80\x93"
     "end",
     "\xe2\x80\x93"
     "end",
     1, 1},
    {"th\xc3\xa9 a", "th\xc3\xa9", 1, 1},
    {"a\xc3\xa9", "\xc3\xa9", 0, 0},
    /* Case and white space beyond ASCII. */
    {"\xc3\x89mile \xce\xa3igma", "\xc3\xa9mile \xcf\x83igma", 1, 1},
    {"one\xc2\xa0two\xe3\x80\x80three", "one two three", 1, 1},
    /* Nothing left: equal, or none of it. */
    {"", "", 1, 1},
    {"the", "a ||| b", 1, 1},
    {"", "b", 0, 0},
    {"b", "", 0, 0},
    {"...", "!", 1, 1},
    {"b", "||||||b", 1, 1},
    {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd", 1, 1},
};

static void test_cases(void) {
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    double exact = -1, f1 = -1, swap = -1, swap_f1 = -1;
    const char *a = cases[i].answer, *b = cases[i].right;
    CHECK_EQ(qn_metric_answer(a, strlen(a), b, strlen(b), &exact, &f1), 1);
    const double off = f1 - cases[i].f1;
    if (exact != cases[i].exact || off > 1e-12 || off < -1e-12) {
      printf("  '%s' against '%s': %g, %g\n", a, b, exact, f1);
      CHECK(0);
    }
    if (strstr(b, "|||")) continue; /* both measures are symmetric */
    CHECK_EQ(qn_metric_answer(b, strlen(b), a, strlen(a), &swap, &swap_f1), 1);
    CHECK(swap == exact && swap_f1 - f1 < 1e-12 && f1 - swap_f1 < 1e-12);
  }
}

/* Every cut of a text in pieces of its bytes: no reading past the end (the sanitizers watch), measures within bounds. */
static void test_any_bytes(void) {
  static const char text[] = "The \xc4\xb0\xe2\x80\x93 an |||| a\xf0\x9f\x98\x80the ||| \xff The\xe2\x80";
  for (size_t i = 0; i < sizeof text; i++) {
    for (size_t n = 0; n + i < sizeof text; n++) {
      double exact, f1;
      CHECK_EQ(qn_metric_answer(text + i, n, text, i, &exact, &f1), 1);
      CHECK((exact == 0 || exact == 1) && f1 >= 0 && f1 <= 1 && (exact == 0 || f1 == 1));
    }
  }
}

int main(void) {
  RUN(test_cases);
  RUN(test_any_bytes);
  return TEST_END();
}
