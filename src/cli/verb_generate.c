/* verb_generate.c - `quern generate`: the text that a decoder continues a prompt with, as it comes, or of many prompts a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define DEFAULT_TOKENS 256u
#define DEFAULT_BATCH 8u /* lines at a time */
#define PASS_TOKENS 512u /* of a prompt that are read together */

typedef struct values {
  const char *prompt, *lines;
  uint32_t tokens, top_k, seed, lookup, cache, batch;
  double temperature, top_p, min_p, repeat_penalty;
  qn_cli_texts stop;
  const char *system;
  int chat;
} values;

/* Where text goes while it is generated. */
typedef struct sink {
  qn_cli_model *m;
  const values *v;
  int streams; /* at once */
  char *text;  /* of the whole, where it is not streamed */
  size_t bytes, cap;
  int code;
} sink;

/* Newlines and backslashes escaped, so that a result is one line. */
static void put_escaped(qn_cli_out *o, const char *p, size_t n) {
  for (size_t i = 0, from = 0; i <= n; i++) {
    const char *escape = i == n ? "" : p[i] == '\n' ? "\\n" : p[i] == '\r' ? "\\r" : p[i] == '\\' ? "\\\\" : NULL;
    if (!escape) continue;
    qn_cli_out_shown(o, p + from, i - from);
    qn_cli_out_text(o, escape);
    from = i + 1;
  }
}

static int keep_text(qn_cli_state *c, char **text, size_t *bytes, size_t *cap, const char *utf8, size_t n) {
  if (*bytes + n > *cap) {
    const size_t more = 2 * (*bytes + n) + 256;
    const int code = qn_cli_grow(c, text, more, 1);
    if (code) return code;
    *cap = more;
  }
  if (n) memcpy(*text + *bytes, utf8, n);
  *bytes += n;
  return CLI_DONE;
}

static int32_t on_token(void *user, int32_t id, const char *utf8, size_t n) {
  (void)id;
  sink *s = user;
  qn_cli_state *c = s->m->c;
  if (!s->streams) {
    s->code = keep_text(c, &s->text, &s->bytes, &s->cap, utf8, n);
    return s->code;
  }
  qn_cli_out_shown(c->out, utf8, n);
  if (n) qn_cli_out_flush(c->out);
  return c->out->error != 0;
}

static void set_options(const values *v, quern_generate_options *o, quern_sampling_options *sampling) {
  quern_sampling_options_init(sampling, sizeof *sampling);
  sampling->temperature = (float)v->temperature;
  sampling->top_k = v->top_k;
  if (v->top_p > 0) sampling->top_p = (float)v->top_p;
  sampling->min_p = (float)v->min_p;
  if (v->repeat_penalty > 0) sampling->repeat_penalty = (float)v->repeat_penalty;
  sampling->seed = v->seed;
  quern_generate_options_init(o, sizeof *o);
  o->max_new = v->tokens ? v->tokens : DEFAULT_TOKENS;
  o->sampling = sampling;
  o->stop_texts = v->stop.text;
  o->stop_text_count = v->stop.count;
}

/* lines: those that prompts come from, or NULL. */
static int check_prompt(const qn_cli_model *m, const qn_cli_lines *lines, size_t tokens) {
  const uint32_t most = m->info.max_tokens;
  char where[64] = "the prompt";
  if (tokens && tokens < most) return CLI_DONE;
  if (lines) snprintf(where, sizeof where, "line %llu", (unsigned long long)lines->number);
  if (!tokens) return qn_cli_fail(m->c, CLI_FAILED, "%s is empty", where);
  return qn_cli_fail(m->c, CLI_FAILED, "%s has %zu tokens; %s reads at most %u, with what it generates", where, tokens,
                     m->path, (unsigned)most);
}

/* A session that holds the prompt and what comes of it. */
static int open_session(qn_cli_model *m, size_t prompt, const values *v) {
  const uint64_t all = prompt + (v->tokens ? v->tokens : DEFAULT_TOKENS), most = m->info.max_tokens;
  const uint32_t held = (uint32_t)(all < most ? all : most);
  m->options.cache_tokens = held;
  m->options.logit_rows = v->lookup + 1;
  return qn_cli_model_session(m, held < PASS_TOKENS ? held : PASS_TOKENS, 1);
}

static const char *reason_name(uint32_t reason) {
  return reason == QUERN_STOP_END ? "end" : reason == QUERN_STOP_TEXT ? "text" : "length";
}

static void print_json(qn_cli_state *c, const char *text, size_t bytes, size_t prompt, const quern_generated *result) {
  qn_cli_json j = {.out = c->out};
  qn_cli_json_open(&j, NULL, '{');
  qn_cli_json_bytes(&j, "text", text, bytes);
  qn_cli_json_int(&j, "prompt_tokens", prompt);
  qn_cli_json_int(&j, "tokens", result->tokens);
  qn_cli_json_int(&j, "guessed", result->guessed);
  qn_cli_json_text(&j, "reason", reason_name(result->reason));
  qn_cli_json_close(&j, '}');
  qn_cli_json_end(&j);
}

/* Ids of the prompt, or of a conversation in which the user says it. */
static int prompt_ids(qn_cli_model *m, const values *v, const char *prompt, size_t n, int32_t **ids, size_t *count) {
  const char *system = v->system;
  const quern_chat_message both[2] = {{"system", system, system ? strlen(system) : 0}, {"user", prompt, n}};
  if (!v->chat) return qn_cli_model_ids(m, prompt, n, 0, ids, count);
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
  set_options(s->v, &o, &sampling);
  o.lookup = s->v->lookup;
  int code = prompt_ids(m, s->v, prompt, n, &ids, &count);
  if (!code) code = check_prompt(m, NULL, count);
  if (!code) code = open_session(m, count, s->v);
  const int begins = !code;
  if (begins) {
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
  if (begins && s->streams) qn_cli_out_text(m->c->out, "\n");
  if (!code && m->c->common.json) print_json(m->c, s->text, s->bytes, count, &result);
  if (!code && s->v->lookup)
    qn_cli_note(m->c, "%u of %u tokens were guessed", (unsigned)result.guessed, (unsigned)result.tokens);
  free(ids);
  return code;
}

/* ---- a prompt a line --------------------------------------------------------------------------------------------- */

/* What comes of a line: kept until those before it are printed. */
typedef struct answer {
  char *text;
  size_t bytes, cap, prompt;
  quern_generated result;
  int done;
} answer;

typedef struct lines_run {
  qn_cli_model *m;
  const values *v;
  qn_cli_lines *lines;
  answer *answers; /* [count] */
  size_t count, cap, printed;
  int32_t *ids; /* of the line that was read last */
  size_t id_count;
  int pending; /* it has not been handed over */
  int ended, code;
} lines_run;

/* The next line's tokens into ids; an error goes to code, so that what was read before is finished. */
static void read_prompt(lines_run *r) {
  const char *line = NULL;
  size_t n = 0;
  qn_cli_model *m = r->m;
  r->code = qn_cli_lines_next(r->lines, &line, &n);
  r->ended = r->code || !line;
  if (r->ended) return;
  r->code = prompt_ids(m, r->v, line, n, &r->ids, &r->id_count);
  if (!r->code) r->code = check_prompt(m, r->lines, r->id_count);
  r->ended = r->code != CLI_DONE;
  r->pending = !r->ended;
}

/* What the line may come to. */
static uint64_t wanted(const lines_run *r) {
  const uint64_t all = r->id_count + (r->v->tokens ? r->v->tokens : DEFAULT_TOKENS), most = r->m->info.max_tokens;
  return all < most ? all : most;
}

static int32_t next_prompt(void *user, int32_t wait, const int32_t **ids, uint32_t *n) {
  lines_run *r = user;
  if (!r->pending && !r->ended && (wait || qn_cli_lines_ready(r->lines))) read_prompt(r);
  if (!r->pending || wanted(r) > r->m->options.cache_tokens)
    return 0; /* a larger session is needed, once this one is done */
  if (r->count == r->cap) {
    const size_t cap = 2 * r->cap + 16;
    r->code = qn_cli_grow(r->m->c, &r->answers, cap, sizeof *r->answers);
    r->ended = r->code != CLI_DONE;
    if (r->code) return r->pending = 0;
    r->cap = cap;
  }
  r->answers[r->count++] = (answer){.prompt = r->id_count};
  r->pending = 0;
  *ids = r->ids;
  *n = (uint32_t)r->id_count;
  return 1;
}

static int32_t on_text(void *user, uint64_t prompt, int32_t id, const char *utf8, size_t n) {
  lines_run *r = user;
  (void)id;
  answer *a = &r->answers[prompt];
  const int code = keep_text(r->m->c, &a->text, &a->bytes, &a->cap, utf8, n);
  if (code) r->code = code, r->ended = 1;
  return code;
}

/* All that are done, in the order of their lines. */
static void on_done(void *user, uint64_t prompt, const quern_generated *result) {
  lines_run *r = user;
  qn_cli_out *out = r->m->c->out;
  r->answers[prompt].result = *result;
  r->answers[prompt].done = 1;
  for (; r->printed < r->count && r->answers[r->printed].done; r->printed++) {
    answer *a = &r->answers[r->printed];
    if (r->m->c->common.json) {
      print_json(r->m->c, a->text, a->bytes, a->prompt, &a->result);
    } else {
      put_escaped(out, a->text, a->bytes);
      qn_cli_out_text(out, "\n");
    }
    free(a->text);
    a->text = NULL;
  }
  if (!r->lines->regular) qn_cli_out_flush(out);
  qn_cli_progress(r->m->c, r->lines->done, r->lines->total, "generate");
}

/* A session for the line that waits and others like it, fewer where --limit-bytes has no room for all. */
static int open_lines_session(lines_run *r) {
  qn_cli_model *m = r->m;
  const uint64_t limit = m->c->common.limit_bytes, held = (wanted(r) + 63) / 64 * 64;
  uint32_t sequences = r->v->batch ? r->v->batch : DEFAULT_BATCH;
  qn_cli_model_drop_session(m);
  for (;; sequences /= 2) {
    size_t bytes = 0;
    if (held * sequences > UINT32_MAX) continue;
    m->options.cache_tokens = (uint32_t)(held * sequences);
    m->options.logit_rows = m->options.max_sequences = sequences;
    m->options.max_tokens = PASS_TOKENS;
    if (sequences == 1 || !limit || quern_session_bytes(m->model, &m->options, &bytes) != QUERN_OK || bytes <= limit)
      break;
  }
  return qn_cli_model_session(m, PASS_TOKENS, sequences);
}

static int generate_lines(qn_cli_model *m, const values *v, qn_cli_lines *lines) {
  lines_run r = {.m = m, .v = v, .lines = lines};
  const quern_prompts prompts = {
      .size = sizeof prompts, .user = &r, .next = next_prompt, .token = on_text, .done = on_done};
  quern_generate_options o;
  quern_sampling_options sampling;
  set_options(v, &o, &sampling);
  read_prompt(&r);
  int code = CLI_DONE;
  while (!code && r.pending) {
    r.count = r.printed = 0;
    code = open_lines_session(&r);
    if (code) break;
    qn_cli_signals_session(m->session);
    code = qn_cli_model_call(m, quern_generate_batch(m->session, &o, &prompts));
  }
  for (size_t i = r.printed; i < r.count; i++) free(r.answers[i].text);
  free(r.answers);
  free(r.ids);
  return code ? code : r.code;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

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
  if (!code && !m.info.decoder) code = qn_cli_model_fail_kind(&m, "predicts no next tokens");
  if (!code) code = qn_cli_model_cache(&m, v->cache);
  sink s = {.m = &m, .v = v, .streams = !c->common.json};
  if (!code && v->lines) {
    code = generate_lines(&m, v, &lines);
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
    {"batch", 0, CLI_COUNT, "B", "of --lines: prompts at a time; default: 8; the same text, sooner",
     offsetof(values, batch), 1, 1024},
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
    {"lookup", 0, CLI_COUNT, "N",
     "guess N tokens ahead from what was said before: the same text, sooner; not of --lines", offsetof(values, lookup),
     1, 64},
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
