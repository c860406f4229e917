/* api_chat.c - quern_chat_tokenize, quern_chat_form: conversations in the form that a model was trained on. */
#include <string.h>

#include "api/api_tokens.h"
#include "base/checked.h"
#include "text/chat.h"

#define CHAT_MESSAGES 65536u

const char *quern_chat_form(const quern_model *m) {
  qrn_meta v;
  if (!m || !qrn_meta_find(&m->file, "chat.form", &v)) return "plain";
  for (size_t i = 0; qn_chat_name(i); i++)
    if (!strcmp(qn_chat_name(i), v.value)) return qn_chat_name(i);
  return "plain";
}

static quern_status check(const quern_model *m, const quern_chat_message *messages, uint32_t n, uint32_t flags) {
  qn_error *e = &m->env->error;
  if (!messages || !n || n > CHAT_MESSAGES)
    return qn_fail(e, QUERN_E_ARGUMENT, "chat: 1 to %u messages", CHAT_MESSAGES);
  if (flags & ~(QUERN_CHAT_PROMPT | QUERN_NO_SPECIAL))
    return qn_fail(e, QUERN_E_ARGUMENT, "unknown chat flags 0x%x", flags);
  for (uint32_t i = 0; i < n; i++)
    if (!messages[i].role || (!messages[i].content && messages[i].content_len))
      return qn_fail(e, QUERN_E_ARGUMENT, "chat: message %u has no role or no content", i);
  return m->tokenizer.kind ? QUERN_OK : qn_fail(e, QUERN_E_TASK, "the model file has no tokenizer");
}

/* Memory of one call: messages, the spans of their contents, the text. */
typedef struct chat {
  qn_chat_message *messages;
  quern_span *plain;
  char *text;
  size_t text_bytes, cap;
} chat;

static quern_status render(const quern_model *m, const char *form, uint32_t n, uint32_t flags, chat *c) {
  const int prompt = (flags & QUERN_CHAT_PROMPT) != 0;
  void *p = NULL;
  QN_TRY(qn_chat_render(m->env, form, c->messages, n, prompt, NULL, 0, &c->text_bytes, c->plain));
  c->cap = c->text_bytes + 1;
  QN_TRY(qn_alloc(m->env, &p, c->cap, "a conversation"));
  c->text = p;
  return qn_chat_render(m->env, form, c->messages, n, prompt, c->text, c->cap, &c->text_bytes, c->plain);
}

quern_status quern_chat_tokenize(const quern_model *m, const char *form, const quern_chat_message *messages, uint32_t n,
                                 uint32_t flags, int32_t *ids, size_t cap, size_t *count) {
  if (!m) return QUERN_E_ARGUMENT;
  QN_TRY(check(m, messages, n, flags));
  if (!ids && cap) return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "chat: the buffer of ids is NULL");
  chat c = {NULL, NULL, NULL, 0, 0};
  void *p = NULL, *q = NULL;
  quern_status status = qn_alloc(m->env, &p, n * sizeof *c.messages, "a conversation");
  c.messages = p;
  if (status == QUERN_OK) status = qn_alloc(m->env, &q, n * sizeof *c.plain, "a conversation");
  c.plain = q;
  for (uint32_t i = 0; i < n && status == QUERN_OK; i++)
    c.messages[i] = (qn_chat_message){messages[i].role, messages[i].content, messages[i].content_len};
  if (status == QUERN_OK) status = render(m, form ? form : quern_chat_form(m), n, flags, &c);
  if (status == QUERN_OK) {
    const qn_text text = {c.text, c.text_bytes, c.plain, n};
    status = qn_api_tokenize_text(m, &text, flags & QUERN_NO_SPECIAL, ids, cap, count);
  }
  qn_free(m->env, c.text, c.cap);
  qn_free(m->env, c.plain, n * sizeof *c.plain);
  qn_free(m->env, c.messages, n * sizeof *c.messages);
  return status;
}
