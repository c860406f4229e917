/* chat.h - conversations as text, in the forms that models were trained on, by name. What a message says is marked, so
 * that encoding takes no special token from it: a user who writes "<|im_end|>" writes those characters. Constants and
 * the caller's memory only: any thread. */
#ifndef QN_CHAT_H
#define QN_CHAT_H
#include "base/env.h"

typedef struct qn_chat_message {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
  size_t content_bytes;
} qn_chat_message;

/* Name of form i, "chatml", "llama3", ..., the last "plain"; NULL past it. */
const char *qn_chat_name(size_t i);
/* The form that a Jinja template describes, by the marks that it writes; "plain" where none is recognized. */
const char *qn_chat_detect(const char *jinja, size_t bytes);
/* The conversation, and with `prompt` the start of the assistant's next message. No token of the begin is written first: the
   tokenizer's template puts it where the model has one. A system message stands first; forms without one put it before
   the first user's message. plain: [count] the bytes of each message's content, ascending, for qn_text. *len: bytes
   without NUL, set also with QUERN_E_CAPACITY; with cap 0 buf may be NULL and only *len is asked for. An unknown name or
   role, or a system message that is not the first, is QUERN_E_ARGUMENT. */
quern_status qn_chat_render(qn_env *env, const char *name, const qn_chat_message *messages, size_t count, int prompt,
                            char *buf, size_t cap, size_t *len, quern_span *plain);
#endif
