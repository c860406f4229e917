/* chat.c - the forms of conversations as plain tables: what stands before and behind each role's message. */
#include "text/chat.h"
#include <string.h>
#include "base/checked.h"

enum { SYSTEM, USER, ASSISTANT, ROLES };
static const char *const roles[ROLES] = {"system", "user", "assistant"};

typedef struct chat_form {
  const char *name;
  const char *marks[2]; /* what a Jinja template of it holds, all of them; NULL: not asked */
  const char *before[ROLES], *behind[ROLES];
  const char *prompt; /* begins the assistant's message */
  const char *system; /* the system message where there is none; NULL: none */
  int joined;         /* the system message is put within the first user's, behind its `before` */
  int trimmed;        /* white space around messages is left out */
} chat_form;

#define CHATML_BEFORE                                                                                                  \
  { "<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n" }
#define CHATML_BEHIND                                                                                                  \
  { "<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n" }
#define CHATML_PROMPT "<|im_start|>assistant\n"

/* The first whose marks are all there is taken; the last has none. */
static const chat_form forms[] = {
    {.name = "smollm2",
     .marks = {"<|im_start|>", "assistant named SmolLM"},
     .before = CHATML_BEFORE,
     .behind = CHATML_BEHIND,
     .prompt = CHATML_PROMPT,
     .system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {.name = "qwen2.5",
     .marks = {"<|im_start|>", "You are Qwen, created by Alibaba Cloud"},
     .before = CHATML_BEFORE,
     .behind = CHATML_BEHIND,
     .prompt = CHATML_PROMPT,
     .system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.name = "chatml",
     .marks = {"<|im_start|>", NULL},
     .before = CHATML_BEFORE,
     .behind = CHATML_BEHIND,
     .prompt = CHATML_PROMPT},
    {.name = "llama3",
     .marks = {"<|start_header_id|>", "<|end_header_id|>"},
     .before = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|start_header_id|>user<|end_header_id|>\n\n",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     .behind = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},
     .prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .trimmed = 1},
    {.name = "gemma",
     .marks = {"<start_of_turn>", NULL},
     .before = {"", "<start_of_turn>user\n", "<start_of_turn>model\n"},
     .behind = {"\n\n", "<end_of_turn>\n", "<end_of_turn>\n"},
     .prompt = "<start_of_turn>model\n",
     .joined = 1,
     .trimmed = 1},
    {.name = "llama2",
     .marks = {"[INST]", "<<SYS>>"},
     .before = {"<<SYS>>\n", "<s>[INST] ", " "},
     .behind = {"\n<</SYS>>\n\n", " [/INST]", " </s>"},
     .prompt = "",
     .joined = 1,
     .trimmed = 1},
    {.name = "mistral",
     .marks = {"[INST]", NULL},
     .before = {"", "[INST] ", ""},
     .behind = {"\n\n", " [/INST]", "</s>"},
     .prompt = "",
     .joined = 1},
    {.name = "phi3",
     .marks = {"<|user|>", "<|end|>"},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .behind = {"<|end|>\n", "<|end|>\n", "<|end|>\n"},
     .prompt = "<|assistant|>\n"},
    {.name = "zephyr",
     .marks = {"<|user|>", NULL},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .behind = {"</s>\n", "</s>\n", "</s>\n"},
     .prompt = "<|assistant|>\n"},
    {.name = "vicuna",
     .marks = {"USER: ", "ASSISTANT:"},
     .before = {"", "USER: ", "ASSISTANT: "},
     .behind = {" ", " ", "</s>"},
     .prompt = "ASSISTANT:",
     .system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
               "detailed, and polite answers to the user's questions."},
    {.name = "alpaca",
     .marks = {"### Instruction:", "### Response:"},
     .before = {"", "### Instruction:\n", "### Response:\n"},
     .behind = {"\n\n", "\n\n", "\n\n"},
     .prompt = "### Response:\n"},
    {.name = "phi2",
     .marks = {"Instruct:", "Output:"},
     .before = {"", "Instruct: ", "Output: "},
     .behind = {"\n", "\n", "\n"},
     .prompt = "Output:"},
    {.name = "plain", .before = {"", "User: ", "Assistant: "}, .behind = {"\n\n", "\n", "\n"}, .prompt = "Assistant:"},
};
#define FORMS (sizeof forms / sizeof forms[0])

const char *qn_chat_name(size_t i) { return i < FORMS ? forms[i].name : NULL; }

static int contains(const char *text, size_t bytes, const char *mark) {
  const size_t n = strlen(mark);
  for (size_t at = 0; at + n <= bytes; at++)
    if (memcmp(text + at, mark, n) == 0) return 1;
  return 0;
}

const char *qn_chat_detect(const char *jinja, size_t bytes) {
  for (size_t i = 0; i + 1 < FORMS; i++)
    if (contains(jinja, bytes, forms[i].marks[0]) && (!forms[i].marks[1] || contains(jinja, bytes, forms[i].marks[1])))
      return forms[i].name;
  return forms[FORMS - 1].name;
}

typedef struct chat_out {
  char *buf;
  size_t cap, total;
} chat_out;

static void put(chat_out *o, const char *p, size_t n) {
  if (o->total < o->cap) memcpy(o->buf + o->total, p, qn_min_size(n, o->cap - o->total));
  o->total += n;
}

static void put_mark(chat_out *o, const char *mark) { put(o, mark, strlen(mark)); }

static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void put_content(chat_out *o, const chat_form *f, const qn_chat_message *m, quern_span *span) {
  const char *p = m->content;
  size_t n = m->content_bytes;
  if (f->trimmed) {
    while (n > 0 && is_blank(p[n - 1])) n--;
    while (n > 0 && is_blank(*p)) p++, n--;
  }
  span->begin = o->total;
  if (n) put(o, p, n);
  span->end = o->total;
}

static int find_role(const char *name) {
  int role = 0;
  while (role < ROLES && strcmp(name, roles[role]) != 0) role++;
  return role;
}

/* What begins the text is the tokenizer's: "<s>" is not written twice. */
static const char *skip_begin(const chat_out *o, const char *mark) {
  return o->total == 0 && strncmp(mark, "<s>", 3) == 0 ? mark + 3 : mark;
}

static void put_message(chat_out *o, const chat_form *f, int role, const qn_chat_message *system,
                        const qn_chat_message *m, quern_span *system_span, quern_span *span) {
  put_mark(o, skip_begin(o, f->before[role]));
  if (system) {
    put_mark(o, f->before[SYSTEM]);
    put_content(o, f, system, system_span);
    put_mark(o, f->behind[SYSTEM]);
  }
  put_content(o, f, m, span);
  put_mark(o, f->behind[role]);
}

quern_status qn_chat_render(qn_env *env, const char *name, const qn_chat_message *messages, size_t count, int prompt,
                            char *buf, size_t cap, size_t *len, quern_span *plain) {
  const chat_form *f = NULL;
  chat_out o = {buf, cap, 0};
  for (size_t i = 0; i < FORMS; i++)
    if (strcmp(forms[i].name, name) == 0) f = &forms[i];
  if (!f) return qn_fail(&env->error, QUERN_E_ARGUMENT, "chat template \"%s\" is unknown", name);
  const qn_chat_message *system = NULL; /* waits for the first user's message */
  for (size_t i = 0; i < count; i++) {
    const int role = find_role(messages[i].role);
    if (role == ROLES || (role == SYSTEM && i > 0))
      return qn_fail(&env->error, QUERN_E_ARGUMENT,
                     role == ROLES ? "chat: role \"%s\" is unknown; system, user and assistant are known"
                                   : "chat: a %s message can only be the first",
                     messages[i].role);
    if (i == 0 && role != SYSTEM && f->system) {
      put_mark(&o, f->before[SYSTEM]);
      put_mark(&o, f->system);
      put_mark(&o, f->behind[SYSTEM]);
    }
    if (role == SYSTEM && f->joined && count > 1 && find_role(messages[1].role) == USER) {
      system = &messages[i];
      continue;
    }
    put_message(&o, f, role, system, &messages[i], system ? &plain[0] : NULL, &plain[i]);
    system = NULL;
  }
  if (prompt) put_mark(&o, f->prompt);
  if (o.total < cap) buf[o.total] = 0;
  *len = o.total;
  if (cap != 0 && o.total >= cap)
    return qn_fail(&env->error, QUERN_E_CAPACITY, "the conversation needs %zu bytes, with its NUL", o.total + 1);
  return QUERN_OK;
}
