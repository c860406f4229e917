/* tiny_bpe.h - a byte-level BPE as a Hugging Face directory has it: the 256 bytes, some merges, three special tokens, conversations in
 * the form "chatml"; and decoders of tiny_decoder.h that have it. Tests only; one thread. */
#ifndef QN_TINY_BPE_H
#define QN_TINY_BPE_H
#include "tiny_decoder.h"

#define TINY_BPE_END 263
#define TINY_BPE_TOKENS 266u

/* The character that stands for a byte in the vocabulary, escaped for JSON. */
static inline size_t tiny_bpe_character(uint32_t byte, char *out) {
  const int shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
  uint32_t hidden = 0;
  for (uint32_t b = 0; b < byte; b++)
    hidden += !((b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF));
  return (size_t)sprintf(out, "\\u%04x", shown ? byte : 256 + hidden);
}

static inline int tiny_bpe_write(const char *dir) {
  static const char *const merges[] = {"t h", "th e", "\\u0120 the", "a t", "c at", "\\u0120 cat", "o n"};
  static const char *const merged[] = {"th", "the", "\\u0120the", "at", "cat", "\\u0120cat", "on"};
  static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  char json[12000];
  size_t n = (size_t)sprintf(json, "{\"added_tokens\":[");
  for (int i = 0; i < 3; i++)
    n += (size_t)sprintf(json + n,
                         "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                         "\"normalized\":false,\"special\":true}",
                         i ? "," : "", TINY_BPE_END + i, special[i]);
  n += (size_t)sprintf(json + n,
                       "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                       "\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,\"decoder\":{\"type\":"
                       "\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
                       "\"model\":{\"type\":\"BPE\",\"ignore_merges\":false,\"vocab\":{");
  for (uint32_t b = 0; b < 256; b++) {
    n += (size_t)sprintf(json + n, "%s\"", b ? "," : "");
    n += tiny_bpe_character(b, json + n);
    n += (size_t)sprintf(json + n, "\":%u", b);
  }
  for (int i = 0; i < 7; i++) n += (size_t)sprintf(json + n, ",\"%s\":%d", merged[i], 256 + i);
  n += (size_t)sprintf(json + n, "},\"merges\":[");
  for (int i = 0; i < 7; i++) n += (size_t)sprintf(json + n, "%s\"%s\"", i ? "," : "", merges[i]);
  sprintf(json + n, "]}}");
  return tiny_text(dir, "tokenizer.json", json) &&
         tiny_text(dir, "tokenizer_config.json",
                   "{\"chat_template\": \"{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}\"}");
}

/* A new directory with such a decoder. */
static inline int tiny_bpe_decoder(const char *dir, tiny_decoder o) {
  o.vocab = TINY_BPE_TOKENS, o.more_config = "\"eos_token_id\": 263";
  return !mkdir(dir, 0700) && tiny_decoder_write(dir, &o) && tiny_bpe_write(dir);
}
#endif
