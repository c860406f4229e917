/* verb_generate.c - `quern generate`: the text that a decoder continues a prompt with, as it comes, or of many prompts a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define DEFAULT_TOKENS 256u
#define PASS_TOKENS 512u /* of a prompt that are read together */

typedef struct values {
  const char *prompt, *lines;
  uint32_t tokens, top_k, seed, lookup, cache;
  double temperature, top_p, min_p, repeat_penalty;
  qn_cli_texts stop;
  const char *system;
  int chat;
} values;

/* Where text goes while it is generated. */
typedef struct sink {
  qn_cli_model *m;
  const values *v;
  int streams, escapes; /* at once; newlines and backslashes escaped, so that a result is one line */
  char *text;           /* of the whole, where it is not streamed */
  size_t bytes, cap;
  int code;
} sink;

static void put_escaped(qn_cli_out *o, const char *p, size_t n) {
  for (size_t i = 0, from = 0; i <= n; i++) {
    const char *escape = i == n ? "" : p[i] == '\n' ? "\\n" : p[i] == '\r' ? "\\r" : p[i] == '\\' ? "\\\\" : NULL;
    if (!escape) continue;
    qn_cli_out_shown(o, p + from, i - from);
    qn_cli_out_text(o, escape);
    from = i + 1;
  }
}

static int32_t on_token(void *user, int32_t id, const char *utf8, size_t n) {
  (void)id;
  sink *s = user;
  qn_cli_state *c = s->m->c;
  if (s->streams) {
    qn_cli_out_shown(c->out, utf8, n);
    if (n) qn_cli_out_flush(c->out);
    return c->out->error != 0;
  }
  if (s->bytes + n > s->cap) {
    const size_t cap = 2 * (s->bytes + n) + 256;
    s->code = qn_cli_grow(c, &s->text, cap, 1);
    if (s->code) return 1;
    s->cap = cap;
  }
  if (n) memcpy(s->text + s->bytes, utf8, n);
  s->bytes += n;
  return 0;
}

static void set_sampling(const values *v, quern_sampling_options *o) {
  quern_sampling_options_init(o, sizeof *o);
  o->temperature = (float)v->temperature;
  o->top_k = v->top_k;
  if (v->top_p > 0) o->top_p = (float)v->top_p;
  o->min_p = (float)v->min_p;
  if (v->repeat_penalty > 0) o->repeat_penalty = (float)v->repeat_penalty;
  o->seed = v->seed;
}

/* A session that holds the prompt and what comes of it. */
static int open_session(qn_cli_model *m, size_t prompt, const values *v) {
  const uint32_t most = m->info.max_tokens;
  if (prompt >= most)
    return qn_cli_fail(m->c, CLI_FAILED, "the prompt has %zu tokens; %s reads at most %u, with what it generates",
                       prompt, m->path, (unsigned)most);
  const uint64_t wanted = prompt + (v->tokens ? v->tokens : DEFAULT_TOKENS);
  const uint32_t held = wanted < most ? (uint32_t)wanted : most;
  if (m->session && held > m->options.cache_tokens) qn_cli_model_drop_session(m);
  if (!m->session) m->options.cache_tokens = held;
  m->options.logit_rows = v->lookup + 1;
  return qn_cli_model_session(m, held < PASS_TOKENS ? held : PASS_TOKENS, 1);
}

static const char *reason_name(uint32_t reason) {
  return reason == QUERN_STOP_END ? "end" : reason == QUERN_STOP_TEXT ? "text" : "length";
}

static void print_json(const sink *s, size_t prompt, const quern_generated *result) {
  qn_cli_json j = {.out = s->m->c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_bytes(&j, "text", s->text, s->bytes);
  qn_cli_json_int(&j, "prompt_tokens", prompt);
  qn_cli_json_int(&j, "tokens", result->tokens);
  qn_cli_json_int(&j, "guessed", result->guessed);
  qn_cli_json_text(&j, "reason", reason_name(result->reason));
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

/* Ids of the prompt, or of a conversation in which the user says it. */
static int prompt_ids(sink *s, const char *prompt, size_t n, int32_t **ids, size_t *count) {
  qn_cli_model *m = s->m;
  const char *system = s->v->system;
  const quern_chat_message both[2] = {{"system", system, system ? strlen(system) : 0}, {"user", prompt, n}};
  if (!s->v->chat) return qn_cli_model_ids(m, prompt, n, 0, ids, count);
  for (size_t cap = n / 2 + 256;; cap = *count) {
    int code = qn_cli_grow(m->c, ids, cap, sizeof **ids);
    if (code) return code;
    quern_status status = quern_chat_tokenize(m->model, NULL, system ? both : both + 1, system ? 2 : 1,
                                              QUERN_CHAT_PROMPT, *ids, cap, count);
    if (status != QUERN_E_CAPACITY)
      return status == QUERN_OK ? CLI_DONE : qn_cli_fail_status(m->c, status, m->path, NULL);
  }
}

/* Continues the prompt, n bytes. */
static int generate(sink *s, const char *prompt, size_t n) {
  qn_cli_model *m = s->m;
  int32_t *ids = NULL;
  size_t count = 0;
  quern_generate_options o;
  quern_sampling_options sampling;
  quern_generated result = {.size = sizeof result};
  set_sampling(s->v, &sampling);
  quern_generate_options_init(&o, sizeof o);
  o.max_new = s->v->tokens ? s->v->tokens : DEFAULT_TOKENS;
  o.lookup = s->v->lookup;
  o.sampling = &sampling;
  o.stop_texts = s->v->stop.text;
  o.stop_text_count = s->v->stop.count;
  s->bytes = 0;
  int code = prompt_ids(s, prompt, n, &ids, &count);
  if (!code && !count) code = qn_cli_fail(m->c, CLI_FAILED, "the prompt is empty");
  if (!code) code = open_session(m, count, s->v);
  if (!code) code = qn_cli_model_call(m, quern_sequence_free(m->session, 0));
  if (!code) {
    const uint32_t room = m->info.max_tokens - (uint32_t)count;
    if (o.max_new > room) o.max_new = room;
    qn_cli_signals_session(m->session);
    code = qn_cli_model_call(m, quern_decode_feed(m->session, 0, ids, (uint32_t)count));
  }
  if (!code) {
    qn_cli_signals_session(m->session);
    code = qn_cli_model_call(m, quern_generate(m->session, 0, &o, on_token, s, &result));
  }
  if (!code) code = s->code;
  if (s->streams) qn_cli_out_text(m->c->out, "\n");
  if (!code && m->c->common.json) print_json(s, count, &result);
  if (!code && s->escapes && !m->c->common.json) {
    put_escaped(m->c->out, s->text, s->bytes);
    qn_cli_out_text(m->c->out, "\n");
  }
  if (!code && s->v->lookup)
    qn_cli_note(m->c, "%u of %u tokens were guessed", (unsigned)result.guessed, (unsigned)result.tokens);
  free(ids);
  return code;
}

static int generate_lines(sink *s, qn_cli_lines *lines) {
  const char *line;
  size_t n;
  for (;;) {
    int code = qn_cli_lines_next(lines, &line, &n);
    if (code || !line) return code;
    code = generate(s, line, n);
    if (code) return code;
    if (!lines->regular) qn_cli_out_flush(s->m->c->out);
    qn_cli_progress(s->m->c, lines->done, lines->total, "generate");
  }
}

/* The prompt of -p, or all of a file or standard input. */
static int run(qn_cli_state *c) {
  const values *v = c->values;
  qn_cli_model m;
  qn_cli_lines lines;
  const char *path = v->lines ? v->lines : c->argument[1], *prompt = v->prompt;
  size_t n = prompt ? strlen(prompt) : 0;
  if ((prompt != NULL) + (v->lines != NULL) + (c->argument[1] != NULL) > 1)
    return qn_cli_fail(c, CLI_USAGE, "a prompt by -p, of a FILE, or --lines: one of them");
  if (v->system && !v->chat) return qn_cli_fail(c, CLI_USAGE, "--system goes with --chat");
  int code = prompt ? CLI_DONE : qn_cli_lines_open(&lines, c, path);
  if (code) return code;
  code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code && !m.info.decoder)
    code = qn_cli_fail(c, CLI_FAILED, "%s predicts no next tokens; 'quern embed' or 'classify' may be what it is for",
                       m.path);
  if (!code) code = qn_cli_model_cache(&m, v->cache);
  sink s = {.m = &m, .v = v, .streams = !v->lines && !c->common.json, .escapes = v->lines != NULL};
  if (!code && v->lines) {
    code = generate_lines(&s, &lines);
    qn_cli_progress_clear();
  } else if (!code) {
    if (!prompt) code = qn_cli_lines_rest(&lines, &prompt, &n);
    if (!code) code = generate(&s, prompt, n);
  }
  free(s.text);
  qn_cli_model_close(&m);
  if (!v->prompt) qn_cli_lines_close(&lines);
  return code;
}

static const qn_cli_option options[] = {
    {"prompt", 'p', CLI_TEXT, "TEXT", "the prompt; default: FILE or standard input, whole", offsetof(values, prompt), 0,
     0},
    {"lines", 0, CLI_TEXT, "FILE", "a prompt a line; a line of output for each, newlines in it as \\n",
     offsetof(values, lines), 0, 0},
    {"tokens", 'n', CLI_COUNT, "N", "tokens at most; default: 256", offsetof(values, tokens), 1, UINT32_MAX},
    {"temperature", 0, CLI_LEVEL, "T", "0, the default: always the most likely token; 1: by the model's probabilities",
     offsetof(values, temperature), 0, 1000},
    {"top-k", 0, CLI_COUNT, "K", "of the K most likely tokens", offsetof(values, top_k), 1, UINT32_MAX},
    {"top-p", 0, CLI_REAL, "P", "of the most likely ones that together have probability P", offsetof(values, top_p), 0,
     1},
    {"min-p", 0, CLI_LEVEL, "P", "of those with P times the probability of the most likely one",
     offsetof(values, min_p), 0, 1},
    {"repeat-penalty", 0, CLI_REAL, "R", "above 1: the last 64 tokens become less likely",
     offsetof(values, repeat_penalty), 0, 1000},
    {"seed", 0, CLI_COUNT, "S", "of the draws; default: 0", offsetof(values, seed), 0, UINT32_MAX},
    {"stop", 0, CLI_TEXTS, "TEXT", "end before this text; may be given several times", offsetof(values, stop), 0, 0},
    {"chat", 0, CLI_FLAG, NULL, "the prompt is what a user says, in the model's form of conversations",
     offsetof(values, chat), 0, 0},
    {"system", 0, CLI_TEXT, "TEXT", "with --chat: what the system says before", offsetof(values, system), 0, 0},
    {"lookup", 0, CLI_COUNT, "N", "guess N tokens ahead from what was said before: the same text, sooner",
     offsetof(values, lookup), 1, 64},
    CLI_CACHE_OPTION(values, cache, ""),
};

const qn_cli_verb qn_cli_verb_generate = {
    .name = "generate",
    .arguments = "MODEL [FILE]",
    .summary = "Continues a text.",
    .details = "The text is printed as it is generated; with --json as one object at the end, with the number of "
               "tokens and the\n"
               "reason for the end: end (of the text, as the model says), text (of --stop) or length.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 2,
    .values_bytes = sizeof(values),
    .run = run,
};
