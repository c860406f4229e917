/* bpe_words.c - the words of byte-level BPE: what the regular expressions of GPT-2, LLaMA-3 and Qwen2 match, by hand.
 *
 * GPT-2:          's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * LLaMA-3, Qwen2: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 *                 \s*[\r\n]+|\s+(?!\S)|\s+        (Qwen2: \p{N})
 * Alternatives are tried in their order. Looking ahead copies the reader, which is small. */
#include "text/bpe.h"

/* Folds as (?i) does those letters that contractions have. */
static uint32_t fold(uint32_t cp) {
  if (cp >= 'A' && cp <= 'Z') return cp + 32;
  return cp == 0x17Fu ? 's' : cp; /* the long s */
}

/* Characters of the contraction that begins with the current apostrophe, or 0. */
static uint32_t contraction(const qn_bpe_encoder *e, int any_case) {
  qn_reader r = *qn_bpe_reader(e);
  qn_reader_next(&r);
  const uint32_t a = any_case ? fold(r.cp) : r.cp;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (a != 'r' && a != 'v' && a != 'l') return 0;
  qn_reader_next(&r);
  const uint32_t b = any_case ? fold(r.cp) : r.cp;
  return b == (a == 'l' ? (uint32_t)'l' : (uint32_t)'e') ? 3 : 0;
}

static int is_space(uint32_t class) { return class == QN_CHAR_BLANK || class == QN_CHAR_NEWLINE; }

/* A run of white space, from the current character: all of it at the end of the text; what is before its last character
   where that belongs to the next word; with `lines`, what reaches to its last line break, if there is one. */
static void take_space(qn_bpe_encoder *e, int lines) {
  qn_reader r = *qn_bpe_reader(e);
  uint64_t n = 0, line = 0;
  uint32_t class;
  for (; is_space(class = qn_bpe_class(e, r.cp)); qn_reader_next(&r)) {
    n++;
    if (class == QN_CHAR_NEWLINE) line = n;
  }
  if (lines && line)
    n = line;
  else if (class != QN_CHAR_END && n > 1)
    n--;
  while (n-- > 0) qn_bpe_take(e);
}

static void take_gpt2(qn_bpe_encoder *e) {
  const qn_reader *now = qn_bpe_reader(e);
  uint32_t class = qn_bpe_class(e, now->cp), n = 0;
  if (now->cp == '\'' && (n = contraction(e, 0)) != 0) {
    while (n-- > 0) qn_bpe_take(e);
    return;
  }
  if (now->cp == ' ') {
    qn_reader r = *now;
    qn_reader_next(&r);
    const uint32_t next = qn_bpe_class(e, r.cp);
    if (next != QN_CHAR_END && !is_space(next)) {
      qn_bpe_take(e);
      class = next;
    }
  }
  if (is_space(class))
    take_space(e, 0);
  else
    qn_bpe_take_run(e, class);
}

static void take_llama3(qn_bpe_encoder *e, uint32_t numbers) {
  const qn_reader *now = qn_bpe_reader(e);
  uint32_t class = qn_bpe_class(e, now->cp), n = 0;
  if (now->cp == '\'' && (n = contraction(e, 1)) != 0) {
    while (n-- > 0) qn_bpe_take(e);
    return;
  }
  if (class == QN_CHAR_BLANK || class == QN_CHAR_OTHER) {
    qn_reader r = *now;
    qn_reader_next(&r);
    const uint32_t next = qn_bpe_class(e, r.cp);
    if (next == QN_CHAR_LETTER || (now->cp == ' ' && next == QN_CHAR_OTHER)) {
      qn_bpe_take(e);
      class = next;
    }
  }
  if (class == QN_CHAR_LETTER) {
    qn_bpe_take_run(e, class);
  } else if (class == QN_CHAR_NUMBER) {
    for (n = 0; n < numbers && qn_bpe_class(e, now->cp) == class; n++) qn_bpe_take(e);
  } else if (class == QN_CHAR_OTHER) {
    qn_bpe_take_run(e, class);
    qn_bpe_take_run(e, QN_CHAR_NEWLINE);
  } else {
    take_space(e, 1);
  }
}

void qn_bpe_next_word(qn_bpe_encoder *e, uint32_t words) {
  if (words == QN_WORDS_GPT2)
    take_gpt2(e);
  else
    take_llama3(e, words == QN_WORDS_LLAMA3 ? 3 : 1);
}
