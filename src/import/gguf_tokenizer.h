/* gguf_tokenizer.h - the TOKENIZER section from a GGUF's metadata. One thread. */
#ifndef QN_GGUF_TOKENIZER_H
#define QN_GGUF_TOKENIZER_H
#include "import/gguf.h"
#include "import/import.h"

/* tokenizer.ggml.model "gpt2" (byte-level BPE, its words by tokenizer.ggml.pre), "llama" (SentencePiece's BPE), "t5" (unigrams)
   or "bert" (WordPiece); another, or another pre, is QUERN_E_UNSUPPORTED and named. rows: of the embedding table. A file without
   tokenizer.ggml.model gives an empty buffer. */
quern_status qn_gguf_tokenizer(const qn_gguf *g, uint32_t rows, qn_buffer *section);
/* The ends that keys name, and control tokens that are known to end turns; the form of tokenizer.chat_template. */
quern_status qn_gguf_speech(const qn_gguf *g, uint32_t rows, qn_speech *out);
#endif
