/* api_tokens.h - a text to ids with the model's special tokens around it, as every call of the interface gives them. */
#ifndef QN_API_TOKENS_H
#define QN_API_TOKENS_H
#include "model/model.h"

/* flags: QUERN_NO_SPECIAL or 0. In *n the ids needed, also with QUERN_E_CAPACITY. The model has a tokenizer. */
quern_status qn_api_tokenize_text(const quern_model *m, const qn_text *text, uint32_t flags, int32_t *ids, size_t cap,
                                  size_t *n);
#endif
