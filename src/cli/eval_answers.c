/* eval_answers.c - how SQuAD compares an answer with the right ones: without case, ASCII punctuation, articles and the
 * kind of white space; exactly, and by the words that both have. Stateless; any thread. */
#include <stdlib.h>
#include <string.h>
#include "base/utf8.h"
#include "eval.h"
#include "text/unicode.h"

#define SEPARATOR "|||" /* between right answers */

typedef struct word {
  const uint32_t *p;
  size_t n;
} word;

/* A text as it is compared: its words, in memory of its own. */
typedef struct comparable {
  uint32_t *characters;
  word *words;
  size_t count;
} comparable;

static int is_punctuation(uint32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* \w of a regular expression, between whose ends and other characters an article stands alone. */
static int is_word_character(uint32_t c) { return (qn_unicode_props(c) & QN_UC_WORD) != 0; }

/* Length of the article that is the whole word at p[0], n characters being left; 0: there is none. */
static size_t article_at(const uint32_t *p, size_t n) {
  static const char *const articles[] = {"a", "an", "the"};
  for (size_t i = 0; i < sizeof articles / sizeof articles[0]; i++) {
    size_t k = 0;
    while (k < n && articles[i][k] && p[k] == (uint8_t)articles[i][k]) k++;
    if (!articles[i][k] && (k == n || !is_word_character(p[k]))) return k;
  }
  return 0;
}

/* Lower case without punctuation; returns the number of characters. */
static size_t simplify(const char *text, size_t n, uint32_t *out) {
  size_t count = 0;
  for (size_t at = 0; at < n;) {
    uint32_t used = 1, c = qn_utf8_decode((const uint8_t *)text + at, n - at, &used);
    at += used;
    if (qn_unicode_props(c) & QN_UC_HAS_LOWER) c = qn_unicode_to_lower(c);
    if (!is_punctuation(c)) out[count++] = c;
  }
  return count;
}

static int comparable_make(comparable *t, const char *text, size_t n) {
  *t = (comparable){.characters = malloc((n + 1) * sizeof *t->characters), .words = malloc((n + 1) * sizeof *t->words)};
  if (!t->characters || !t->words) return 0;
  uint32_t *c = t->characters;
  const size_t count = simplify(text, n, c);
  for (size_t i = 0; i < count; i++) {
    const size_t article = i == 0 || !is_word_character(c[i - 1]) ? article_at(c + i, count - i) : 0;
    for (size_t k = 0; k < article; k++) c[i + k] = ' ';
  }
  for (size_t i = 0, start = 0; i <= count; i++) {
    if (i < count && !(qn_unicode_props(c[i]) & QN_UC_SPACE)) continue;
    if (i > start) t->words[t->count++] = (word){c + start, i - start};
    start = i + 1;
  }
  return 1;
}

static void comparable_free(comparable *t) {
  free(t->characters);
  free(t->words);
}

static int compare_words(const void *a, const void *b) {
  const word *x = a, *y = b;
  const size_t n = x->n < y->n ? x->n : y->n;
  for (size_t i = 0; i < n; i++)
    if (x->p[i] != y->p[i]) return x->p[i] < y->p[i] ? -1 : 1;
  return (x->n > y->n) - (x->n < y->n);
}

static int same_words(const comparable *a, const comparable *b) {
  if (a->count != b->count) return 0;
  for (size_t i = 0; i < a->count; i++)
    if (compare_words(&a->words[i], &b->words[i]) != 0) return 0;
  return 1;
}

/* Harmonic mean of precision and recall of words, each counted as often as it occurs; sorts both. Of two texts without
   words 1, of one without 0. */
static double overlap(comparable *a, comparable *b) {
  size_t common = 0;
  if (!a->count || !b->count) return a->count == b->count;
  qsort(a->words, a->count, sizeof *a->words, compare_words);
  qsort(b->words, b->count, sizeof *b->words, compare_words);
  for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
    const int order = compare_words(&a->words[i], &b->words[k]);
    common += order == 0;
    i += order <= 0;
    k += order >= 0;
  }
  if (!common) return 0;
  const double precision = (double)common / (double)a->count, recall = (double)common / (double)b->count;
  return 2 * precision * recall / (precision + recall);
}

/* Against one right answer; 0: no memory. */
static int compare_answer(const char *answer, size_t n, const char *right, size_t right_n, double *exact, double *f1) {
  comparable a, b = {0};
  const int made = comparable_make(&a, answer, n) && comparable_make(&b, right, right_n);
  if (made) {
    if (same_words(&a, &b)) *exact = 1;
    const double words = overlap(&a, &b);
    if (words > *f1) *f1 = words;
  }
  comparable_free(&a);
  comparable_free(&b);
  return made;
}

int qn_metric_answer(const char *answer, size_t n, const char *right, size_t right_n, double *exact, double *f1) {
  const size_t gap = strlen(SEPARATOR);
  *exact = *f1 = 0;
  for (size_t start = 0, i = 0; i <= right_n; i++) {
    const int separated = right_n - i >= gap && memcmp(right + i, SEPARATOR, gap) == 0;
    if (i < right_n && !separated) continue;
    if (!compare_answer(answer, n, right + start, i - start, exact, f1)) return 0;
    if (separated) i += gap - 1;
    start = i + 1;
  }
  return 1;
}
