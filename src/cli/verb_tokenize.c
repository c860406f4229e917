/* verb_tokenize.c - `quern tokenize`: texts to token ids, and back with --detokenize. One line in, one line out. */
#include <stdlib.h>
#include <string.h>
#include "cli.h"

typedef struct values {
  int detokenize, no_special, keep_special, hex, spans;
} values;

/* Buffers that grow with the longest line. */
typedef struct work {
  qn_cli_state *c;
  const values *v;
  qn_cli_model m;
  qn_cli_lines lines;
  int32_t *ids;
  quern_span *spans; /* with --spans: of each id */
  size_t ids_cap, spans_cap;
  char *text;
  size_t text_cap;
} work;

static int hex_digit(char ch) {
  if (ch >= '0' && ch <= '9') return ch - '0';
  if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
  if (ch >= 'A' && ch <= 'F') return ch - 'A' + 10;
  return -1;
}

static int text_room(work *w, size_t n) {
  if (n <= w->text_cap) return CLI_DONE;
  int code = qn_cli_grow(w->c, &w->text, n + n / 2, 1);
  if (!code) w->text_cap = n + n / 2;
  return code;
}

static int ids_room(work *w, size_t n) {
  if (n <= w->ids_cap) return CLI_DONE;
  int code = qn_cli_grow(w->c, &w->ids, n + n / 2, sizeof *w->ids);
  if (!code) w->ids_cap = n + n / 2;
  return code;
}

static int spans_room(work *w, size_t n) {
  if (n <= w->spans_cap) return CLI_DONE;
  int code = qn_cli_grow(w->c, &w->spans, n + n / 2, sizeof *w->spans);
  if (!code) w->spans_cap = n + n / 2;
  return code;
}

/* The bytes that a line of hexadecimal digits stands for, into w->text. */
static int decode_hex(work *w, const char *line, size_t n, size_t *bytes) {
  int code = text_room(w, n / 2 + 1);
  if (code) return code;
  for (size_t i = 0; i + 1 < n; i += 2) {
    int high = hex_digit(line[i]), low = hex_digit(line[i + 1]);
    if (high < 0 || low < 0) n = 1;
    w->text[i / 2] = (char)(high * 16 + low);
  }
  if (n % 2) {
    return qn_cli_fail(w->c, CLI_FAILED, "line %llu of %s is no pairs of hexadecimal digits",
                       (unsigned long long)w->lines.number, w->lines.path);
  }
  *bytes = n / 2;
  return CLI_DONE;
}

/* Ids, and with --spans where they came from, of as much as there is room for. */
static quern_status tokenize_once(work *w, const char *text, size_t n, size_t *count) {
  uint32_t flags = w->v->no_special ? QUERN_NO_SPECIAL : 0;
  size_t cap = w->v->spans && w->spans_cap < w->ids_cap ? w->spans_cap : w->ids_cap;
  return w->v->spans ? quern_tokenize_spans(w->m.model, text, n, flags, w->ids, w->spans, cap, count)
                     : quern_tokenize(w->m.model, text, n, flags, w->ids, cap, count);
}

static int tokens_room(work *w, size_t n) {
  int code = ids_room(w, n);
  return code || !w->v->spans ? code : spans_room(w, n);
}

static void print_token(work *w, size_t i, const char *between, const char *open, const char *close) {
  qn_cli_out_text(w->c->out, open);
  qn_cli_out_int(w->c->out, w->ids[i]);
  qn_cli_out_text(w->c->out, between);
  qn_cli_out_int(w->c->out, (int64_t)w->spans[i].begin);
  qn_cli_out_text(w->c->out, between);
  qn_cli_out_int(w->c->out, (int64_t)w->spans[i].end);
  qn_cli_out_text(w->c->out, close);
}

static int tokenize_line(work *w, const char *text, size_t n) {
  size_t count = 0;
  int code = tokens_room(w, 64);
  if (code) return code;
  quern_status s = tokenize_once(w, text, n, &count);
  if (s == QUERN_E_CAPACITY) {
    if ((code = tokens_room(w, count)) != 0) return code;
    s = tokenize_once(w, text, n, &count);
  }
  if (s != QUERN_OK) return qn_cli_fail_status(w->c, s, w->m.path, NULL);
  int json = w->c->common.json;
  if (json) qn_cli_out_bytes(w->c->out, "[", 1);
  for (size_t i = 0; i < count; i++) {
    if (i) qn_cli_out_bytes(w->c->out, json ? "," : " ", 1);
    if (!w->v->spans)
      qn_cli_out_int(w->c->out, w->ids[i]);
    else if (json)
      print_token(w, i, ",", "[", "]");
    else
      print_token(w, i, ":", "", "");
  }
  if (json) qn_cli_out_bytes(w->c->out, "]", 1);
  qn_cli_out_bytes(w->c->out, "\n", 1);
  return CLI_DONE;
}

/* Decimal ids separated by spaces or tabs into w->ids. */
static int parse_ids(work *w, const char *line, size_t n, size_t *count) {
  *count = 0;
  for (size_t i = 0; i < n;) {
    if (line[i] == ' ' || line[i] == '\t') {
      i++;
      continue;
    }
    int64_t id = 0;
    size_t first = i;
    for (; i < n && line[i] >= '0' && line[i] <= '9' && id < (int64_t)w->m.info.vocab; i++)
      id = id * 10 + (line[i] - '0');
    if (i == first || (i < n && line[i] != ' ' && line[i] != '\t') || id >= (int64_t)w->m.info.vocab) {
      return qn_cli_fail(w->c, CLI_FAILED, "line %llu of %s holds something else than ids from 0 to %u, near byte %zu",
                         (unsigned long long)w->lines.number, w->lines.path, (unsigned)w->m.info.vocab - 1, first + 1);
    }
    int code = ids_room(w, *count + 1);
    if (code) return code;
    w->ids[(*count)++] = (int32_t)id;
  }
  return CLI_DONE;
}

static int detokenize_line(work *w, const char *line, size_t n) {
  uint32_t flags = w->v->keep_special ? QUERN_NO_SPECIAL : 0;
  size_t count, bytes = 0;
  int code = parse_ids(w, line, n, &count);
  if (!code) code = text_room(w, 256);
  if (!code) code = ids_room(w, 1);
  if (code) return code;
  quern_status s = quern_detokenize(w->m.model, w->ids, count, flags, w->text, w->text_cap, &bytes);
  if (s == QUERN_E_CAPACITY) {
    if ((code = text_room(w, bytes + 1)) != 0) return code;
    s = quern_detokenize(w->m.model, w->ids, count, flags, w->text, w->text_cap, &bytes);
  }
  if (s != QUERN_OK) return qn_cli_fail_status(w->c, s, w->m.path, NULL);
  if (w->c->common.json) {
    qn_cli_json j = {.out = w->c->out};
    qn_cli_json_bytes(&j, NULL, w->text, bytes);
  } else {
    qn_cli_out_shown(w->c->out, w->text, bytes);
  }
  qn_cli_out_bytes(w->c->out, "\n", 1);
  return CLI_DONE;
}

static int work_through(work *w) {
  const char *line;
  size_t n;
  for (;;) {
    if (!qn_cli_lines_ready(&w->lines)) qn_cli_out_flush(w->c->out);
    int code = qn_cli_lines_next(&w->lines, &line, &n);
    if (code || !line) return code;
    if (w->v->detokenize) {
      code = detokenize_line(w, line, n);
    } else if (w->v->hex) {
      size_t bytes = 0;
      code = decode_hex(w, line, n, &bytes);
      if (!code) code = tokenize_line(w, w->text, bytes);
    } else {
      code = tokenize_line(w, line, n);
    }
    if (!code) code = qn_cli_interrupted();
    if (code || w->c->out->error) return code;
  }
}

static int run(qn_cli_state *c) {
  work w = {.c = c, .v = c->values};
  if (w.v->detokenize && (w.v->hex || w.v->no_special || w.v->spans)) {
    return qn_cli_fail(c, CLI_USAGE, "--hex, --spans and --no-special do not go with --detokenize");
  }
  if (w.v->keep_special && !w.v->detokenize) return qn_cli_fail(c, CLI_USAGE, "--keep-special goes with --detokenize");
  int code = qn_cli_lines_open(&w.lines, c, c->argument[1]);
  if (!code) {
    code = qn_cli_model_open(&w.m, c, c->argument[0], 0);
    if (!code) code = work_through(&w);
    qn_cli_model_close(&w.m);
  }
  qn_cli_lines_close(&w.lines);
  free(w.ids);
  free(w.spans);
  free(w.text);
  return code;
}

static const qn_cli_option options[] = {
    {"no-special", 0, CLI_FLAG, NULL, "without the model's special tokens", offsetof(values, no_special), 0, 0},
    {"hex", 0, CLI_FLAG, NULL, "each line is a text in hexadecimal digits: any bytes", offsetof(values, hex), 0, 0},
    {"spans", 0, CLI_FLAG, NULL, "each token as ID:BEGIN:END, the bytes of the line that it came from",
     offsetof(values, spans), 0, 0},
    {"detokenize", 0, CLI_FLAG, NULL, "each line is ids; print the text", offsetof(values, detokenize), 0, 0},
    {"keep-special", 0, CLI_FLAG, NULL, "with --detokenize: special tokens stay in the text",
     offsetof(values, keep_special), 0, 0},
};

const qn_cli_verb qn_cli_verb_tokenize = {
    .name = "tokenize",
    .arguments = "MODEL [FILE]",
    .summary = "Prints the token ids of each line, or the text of ids.",
    .details = "Texts are never cut. Malformed UTF-8 becomes one U+FFFD per maximal subpart. --json: an array a line,\n"
               "with --spans of arrays [ID,BEGIN,END]. Special tokens come from bytes 0 to 0.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 2,
    .values_bytes = sizeof(values),
    .run = run,
};
