/* cli.h - what the verbs of the `quern` command share: options, messages, texts in, results out, a model and session.
 *
 * Results go to standard output, everything else to standard error. A function that can fail returns an exit code
 * (CLI_DONE is 0) and has already printed the message; the caller cleans up and passes the code on. The command's own
 * work is done on one thread. */
#ifndef QN_CLI_H
#define QN_CLI_H
#include <stddef.h>
#include <stdint.h>
#include "quern.h"

#define CLI_PRINTF(a, b) __attribute__((format(printf, a, b)))

/* Exit codes (docs: COMMANDS). Interrupted is 128 + the signal's number. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INVALID = 3, CLI_INTERRUPTED = 130 };

/* ---- verbs and options (cli_options.c) --------------------------------------------------------------------------- */

/* What an option's value is, and the type of the field that receives it. */
typedef enum qn_cli_kind {
  CLI_FLAG,   /* int: 1 when given */
  CLI_TEXT,   /* const char * */
  CLI_CHOICE, /* uint32_t: 1 + index among the words of `argument`, "a|b|c"; 0: not given */
  CLI_COUNT,  /* uint32_t in min ... max */
  CLI_REAL,   /* double in min ... max, which are whole; not min itself */
  CLI_LEVEL,  /* double in min ... max, which are whole */
  CLI_TEXTS,  /* qn_cli_texts: may be given several times */
  CLI_BYTES,  /* uint64_t in min ... max, with an optional suffix K, M or G (of 1024) */
} qn_cli_kind;

#define CLI_MAX_TEXTS 64u
typedef struct qn_cli_texts {
  const char *text[CLI_MAX_TEXTS];
  uint32_t count;
} qn_cli_texts;

typedef struct qn_cli_option {
  const char *name; /* without the dashes */
  char letter;      /* 0: none */
  qn_cli_kind kind;
  const char *argument; /* as the help shows it; NULL for a flag */
  const char *help;
  size_t offset; /* of the field in the verb's values */
  uint64_t min, max;
} qn_cli_option;

typedef struct qn_cli_state qn_cli_state;
typedef struct qn_cli_out qn_cli_out;

/* A verb as data: parsing, checking and help are made from this. */
typedef struct qn_cli_verb {
  const char *name;
  const char *arguments; /* "MODEL [FILE]" */
  const char *summary;   /* one line */
  const char *details;   /* further help text, or NULL */
  const qn_cli_option *options;
  uint32_t option_count, min_arguments, max_arguments;
  size_t values_bytes; /* of the struct that the options fill, zeroed before */
  int (*run)(qn_cli_state *c);
} qn_cli_verb;

#define CLI_MAX_ARGUMENTS 4u

/* Options that every verb has. */
typedef struct qn_cli_common {
  uint32_t threads;
  const char *isa;
  int json, quiet, help, version;
  uint64_t limit_bytes;
} qn_cli_common;

/* All verbs, NULL-terminated, and what the command is and ends with, in words (cli_main.c). */
extern const qn_cli_verb *const qn_cli_verbs[];
extern const char qn_cli_summary[], qn_cli_exit_codes[];
/* The verb's options, then the common ones; NULL past the end. v NULL: the common ones alone. */
const qn_cli_option *qn_cli_options_at(const qn_cli_verb *v, uint32_t i);
/* Pages made from the tables above, on standard output: the manual page, and a shell's completion; 0: no such shell
   (cli_pages.c). */
void qn_cli_pages_man(qn_cli_out *o);
int qn_cli_pages_completion(qn_cli_out *o, const char *shell);

/* Fills c->common, c->values and c->argument from argv, which starts after the verb. */
int qn_cli_options_parse(qn_cli_state *c, int argc, char **argv);
/* The help text of a verb, on standard output. */
void qn_cli_options_help(qn_cli_state *c);
/* The best of `names` (next(user, i) until NULL) for a mistyped word, or NULL. */
const char *qn_cli_options_suggest(const char *word, const char *(*next)(const void *user, uint32_t i),
                                   const void *user);

/* ---- results (cli_out.c) ----------------------------------------------------------------------------------------- */

/* A buffered writer to a descriptor. An error is remembered and stops further writing; qn_cli_out_close reports it. */
struct qn_cli_out {
  int fd;
  int terminal; /* somebody looks: see qn_cli_out_shown */
  int error;    /* errno of the first failed write, 0: none */
  size_t used;
  char *path, *temporary; /* NULL for standard output; temporary is renamed to path when closed */
  char buffer[1 << 15];
};

void qn_cli_out_bytes(qn_cli_out *o, const void *p, size_t n);
void qn_cli_out_text(qn_cli_out *o, const char *s);
/* Text of somebody else's: to a terminal control characters, but for tabs and newlines, and malformed UTF-8 go as \xHH,
   since what they do there is not the author's to say; elsewhere all bytes go as they are. */
void qn_cli_out_shown(qn_cli_out *o, const char *p, size_t n);
void qn_cli_out_format(qn_cli_out *o, const char *format, ...) CLI_PRINTF(2, 3); /* shown; at most 1023 bytes */
void qn_cli_out_int(qn_cli_out *o, int64_t v);
void qn_cli_out_float(qn_cli_out *o, float v);   /* shortest form that reads back to v; "null" for NaN and infinity */
void qn_cli_out_double(qn_cli_out *o, double v); /* the same for double */
void qn_cli_out_flush(qn_cli_out *o);
/* Opens path for writing under a temporary name; something that is no regular file (a device, a pipe) directly. */
int qn_cli_out_open(qn_cli_state *c, qn_cli_out **out, const char *path);
/* Overwrites n bytes at an offset of an output opened with qn_cli_out_open; what is buffered is flushed before. */
void qn_cli_out_patch(qn_cli_out *o, uint64_t offset, const void *p, size_t n);
/* code CLI_DONE: flushes and renames into place; else, or on a failure, removes the temporary file. Returns code, or
   the failure's. Frees o; NULL is fine. */
int qn_cli_out_close(qn_cli_state *c, qn_cli_out *o, int code);
/* Removes the temporary file in being, if any: for a signal handler. */
void qn_cli_out_discard_temporary(void);

/* JSON: values are separated by what came before, so that callers only name them. key NULL: an array's element. */
typedef struct qn_cli_json {
  qn_cli_out *out;
  int comma; /* the next value needs one */
} qn_cli_json;
void qn_cli_json_open(qn_cli_json *j, const char *key, char bracket); /* '{' or '[' */
void qn_cli_json_close(qn_cli_json *j, char bracket);                 /* '}' or ']' */
void qn_cli_json_text(qn_cli_json *j, const char *key, const char *value);
void qn_cli_json_bytes(qn_cli_json *j, const char *key, const char *p, size_t n); /* malformed UTF-8 becomes U+FFFD */
void qn_cli_json_int(qn_cli_json *j, const char *key, uint64_t value);
void qn_cli_json_double(qn_cli_json *j, const char *key, double value);
void qn_cli_json_float(qn_cli_json *j, const char *key, float value);
void qn_cli_json_bool(qn_cli_json *j, const char *key, int value);
void qn_cli_json_floats(qn_cli_json *j, const char *key, const float *x, size_t n);
/* The whole text of one document ends with a newline. */
void qn_cli_json_end(qn_cli_json *j);

/* Shortest decimal form of v into buf, without NUL; returns its length, at most CLI_FLOAT_CHARS (cli_float.c). */
#define CLI_FLOAT_CHARS 24
size_t qn_cli_float_text(float v, char buf[CLI_FLOAT_CHARS]);
size_t qn_cli_double_text(double v, char buf[32]);

/* ---- messages, progress, signals (cli_console.c) ----------------------------------------------------------------- */

struct qn_cli_state {
  const qn_cli_verb *verb;
  qn_cli_common common;
  void *values;
  const char *argument[CLI_MAX_ARGUMENTS];
  uint32_t arguments;
  quern_context *context; /* made by qn_cli_context_open */
  char context_message[512];
  char reason[128]; /* of qn_cli_reason */
  qn_cli_out *out;  /* standard output */
};

/* "quern VERB: ..." on standard error; returns code. With CLI_USAGE a line that points to --help follows. */
int qn_cli_fail(qn_cli_state *c, int code, const char *format, ...) CLI_PRINTF(3, 4);
/* Exit code of a status, and the message of the object it came from. `what`: a path, or NULL. */
int qn_cli_fail_status(qn_cli_state *c, quern_status s, const char *what, const quern_session *session);
/* The text of an errno value, in the library's style: "no such file or directory"; valid until the next call. */
const char *qn_cli_reason(qn_cli_state *c, int error);
/* A remark on standard error, not with --quiet. */
void qn_cli_note(qn_cli_state *c, const char *format, ...) CLI_PRINTF(2, 3);
/* 0, or CLI_INTERRUPTED (128 + signal) once a signal has asked to stop. */
int qn_cli_interrupted(void);
void qn_cli_signals_install(void);
void qn_cli_signals_block(int block);
/* The session whose call a signal cancels; NULL: none. */
void qn_cli_signals_session(quern_session *s);
/* A bar on standard error, when that is a terminal; user: the qn_cli_state. Returns nonzero when interrupted. */
int32_t qn_cli_progress(void *user, uint64_t done, uint64_t total, const char *what);
void qn_cli_progress_clear(void);
uint64_t qn_cli_clock_ns(void);

/* ---- texts in (cli_lines.c) -------------------------------------------------------------------------------------- */

/* Lines of a file or standard input, read in chunks; each without its newline and one carriage return before it. */
typedef struct qn_cli_lines {
  qn_cli_state *c;
  const char *path;
  int fd, end_of_file, regular; /* regular: a file, which never makes a reader wait */
  char *buffer;
  size_t start, scanned, end, cap;
  uint64_t number;      /* of the last line, from 1 */
  uint64_t done, total; /* bytes read, and of the file; 0: unknown */
} qn_cli_lines;

int qn_cli_lines_open(qn_cli_lines *l, qn_cli_state *c, const char *path); /* NULL or "-": standard input */
/* *line NULL at the end. The line is valid until the next call. */
int qn_cli_lines_next(qn_cli_lines *l, const char **line, size_t *n);
/* All that is left, as it is, valid until the next call. */
int qn_cli_lines_rest(qn_cli_lines *l, const char **text, size_t *n);
/* Would the next line come without waiting for more input? */
int qn_cli_lines_ready(qn_cli_lines *l);
void qn_cli_lines_close(qn_cli_lines *l);

/* Texts side by side as quern_embed_batch takes them. Zero-initialise. */
typedef struct qn_cli_batch {
  char *utf8;
  size_t bytes, utf8_cap;
  int64_t *offsets; /* [texts + 1] */
  size_t texts, texts_cap;
} qn_cli_batch;

#define CLI_BATCH_TEXTS 256u
#define CLI_BATCH_BYTES ((size_t)1 << 20)

int qn_cli_batch_add(qn_cli_state *c, qn_cli_batch *b, const char *text, size_t n);
void qn_cli_batch_clear(qn_cli_batch *b);
void qn_cli_batch_free(qn_cli_batch *b);
/* Clears b and reads up to CLI_BATCH_TEXTS lines or about 1 MiB; fewer where the input would have to be waited for. */
int qn_cli_batch_read(qn_cli_batch *b, qn_cli_lines *l);

/* ---- a model and its session (cli_model.c) ----------------------------------------------------------------------- */

typedef struct qn_cli_model {
  qn_cli_state *c;
  const char *path;
  quern_model *model;
  quern_model_info info;
  quern_session *session; /* made when the first texts are known, as large as they need */
  quern_session_options options;
  uint64_t texts, texts_cut; /* of sessions that were replaced by larger ones */
} qn_cli_model;

/* In what a decoder holds keys and values, as an option of a verb: a choice, the member `field` of its struct. */
// clang-format off
#define CLI_CACHE_OPTION(values, field, of)                                                                            \
  {"cache", 0, CLI_CHOICE, "4|8|float", of "bits of the keys and values that are held; default: 8, of a float model float", \
   offsetof(values, field), 0, 0}
// clang-format on

/* How answers are looked for, as options of a verb: the member `field` of its struct. */
typedef struct qn_cli_answering {
  uint32_t stride, answer_tokens;
  int null;
} qn_cli_answering;
// clang-format off
#define CLI_ANSWERING_OPTIONS(values, field, of)                                                                       \
  {"stride", 0, CLI_COUNT, "N", of "tokens that windows of a long context share; default: 128",                        \
   offsetof(values, field.stride), 1, UINT32_MAX},                                                                     \
  {"answer-tokens", 0, CLI_COUNT, "N", of "most tokens of an answer; default: 30",                                     \
   offsetof(values, field.answer_tokens), 1, UINT32_MAX},                                                              \
  {"null", 0, CLI_FLAG, NULL, of "an empty answer where the score of none is the higher",                              \
   offsetof(values, field.null), 0, 0}
// clang-format on
void qn_cli_answering_options(const qn_cli_answering *how, quern_answer_options *o);

/* Creates c->context from the common options (once). */
int qn_cli_context_open(qn_cli_state *c);
int qn_cli_model_open(qn_cli_model *m, qn_cli_state *c, const char *path, uint32_t flags);
void qn_cli_model_close(qn_cli_model *m);
/* Sets the length that texts are cut to; 0: the model's. */
int qn_cli_model_text_tokens(qn_cli_model *m, uint32_t tokens);
/* Sets what sessions hold keys and values in, of CLI_CACHE_OPTION; 0: the default. */
int qn_cli_model_cache(qn_cli_model *m, uint32_t choice);
/* A session for at least these; an existing one that is large enough is kept. */
int qn_cli_model_session(qn_cli_model *m, uint64_t tokens, uint64_t sequences);
/* Frees the session: the next one may be smaller, or of other options. */
void qn_cli_model_drop_session(qn_cli_model *m);
int qn_cli_model_embed(qn_cli_model *m, const qn_cli_batch *b, float *out);
/* Texts first ... first + n - 1 of the batch; flags: QUERN_PAIRS or 0; results: [n or n / 2, labels]. */
int qn_cli_model_classify(qn_cli_model *m, const qn_cli_batch *b, size_t first, size_t n, uint32_t flags, float *logits,
                          float *probabilities);
/* Questions and contexts in turn; answers: [texts / 2], scores: [texts / 2, 2]. */
int qn_cli_model_answer(qn_cli_model *m, const qn_cli_batch *b, const quern_answer_options *o, quern_span *answers,
                        float *scores);
/* A line with a tab, cut there into the two texts of a pair, is added to b; else the one text. */
int qn_cli_batch_add_pair(qn_cli_state *c, qn_cli_batch *b, const char *line, size_t n, int *pair);
/* Fails since the model lacks what is asked of it, and says what it is and which verb, or task of eval, fits it. */
int qn_cli_model_fail_kind(const qn_cli_model *m, const char *lacks);
/* Remarks how many texts were cut. */
void qn_cli_model_report_cut(qn_cli_model *m);
/* What a function of the library said, and of an interrupt that came meanwhile; the signals' session is none then. */
int qn_cli_model_call(qn_cli_model *m, quern_status s);
/* Ids of a text with the model's special tokens, or by flags; *ids grows as needed and is freed by the caller. */
int qn_cli_model_ids(qn_cli_model *m, const char *text, size_t n, uint32_t flags, int32_t **ids, size_t *count);
/* Metadata as text in memory that the caller frees; *out NULL: no such key. */
int qn_cli_model_meta(qn_cli_model *m, const char *key, char **out);
/* Names of the labels: [info.labels], "LABEL_0" where the model has none. Freed with qn_cli_model_free_labels. */
int qn_cli_model_labels(qn_cli_model *m, char ***labels);
void qn_cli_model_free_labels(qn_cli_model *m, char **labels);

/* realloc to n items of `item` bytes, with a message on failure; *p keeps its old value then. */
int qn_cli_grow(qn_cli_state *c, void *p, size_t n, size_t item);

#endif
