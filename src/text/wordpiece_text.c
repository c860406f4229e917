/* wordpiece_text.c - text of a WordPiece token, as Hugging Face's WordPiece decoder gives it. Pure: any thread. */
#include <string.h>
#include "text/wordpiece.h"

/* In s, replaces every `from`, left to right, by `to`, which is not longer; returns the new length. */
static size_t replace(char *s, size_t n, const char *from, const char *to) {
  size_t f = strlen(from), r = strlen(to), at = 0, kept = 0;
  while (at < n) {
    if (n - at >= f && memcmp(s + at, from, f) == 0) {
      memcpy(s + kept, to, r);
      at += f;
      kept += r;
    } else {
      s[kept++] = s[at++];
    }
  }
  return kept;
}

/* The WordPiece decoder's cleanup, in its order, of one token with the blank before it. */
static size_t clean_up(char *s, size_t n) {
  static const char *const rule[][2] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++) n = replace(s, n, rule[i][0], rule[i][1]);
  return n;
}

size_t qn_wp_text(const qn_tokenizer *t, int32_t id, const uint8_t *token, size_t bytes, uint32_t when, uint8_t *text) {
  const qn_tok_header *h = (const void *)t->data;
  const uint32_t flags = ((const uint8_t *)t->tables[QN_TABLE_TOKENS])[id];
  const int first = (when & QN_TEXT_FIRST) != 0;
  size_t n = 0, skip = 0;
  if ((h->flags & QN_WP_DECODER) && (flags & QN_TOKEN_CONTINUES) && !first)
    skip = bytes < h->prefix_bytes ? bytes : h->prefix_bytes;
  else if (!first)
    text[n++] = ' ';
  memcpy(text + n, token + skip, bytes - skip);
  n += bytes - skip;
  return h->flags & QN_WP_CLEANUP ? clean_up((char *)text, n) : n;
}
