/* verb_embed.c - `quern embed`: one embedding per line of text, as JSON arrays, tab-separated or a .npy file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

enum { FORMAT_JSONL = 1, FORMAT_TSV = 2, FORMAT_NPY = 3 };

typedef struct values {
  uint32_t format, pool, max_tokens;
  const char *output;
  int no_normalize;
} values;

#define NPY_HEADER 128u

/* NumPy's format 1.0: magic, version, length of the rest, a padded dictionary. The row count is at most 20 digits, so
   every header has the same length. */
static void npy_header(char header[NPY_HEADER], uint64_t rows, uint32_t cols) {
  memset(header, ' ', NPY_HEADER);
  memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
  int n = snprintf(header + 10, NPY_HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %u), }",
                   (unsigned long long)rows, (unsigned)cols);
  header[10 + n] = ' ';
  header[NPY_HEADER - 1] = '\n';
}

static void put_rows(qn_cli_out *o, uint32_t format, const float *x, size_t rows, size_t cols) {
  if (format == FORMAT_NPY) {
    qn_cli_out_bytes(o, x, rows * cols * sizeof *x);
    return;
  }
  for (size_t r = 0; r < rows; r++, x += cols) {
    if (format == FORMAT_JSONL) {
      qn_cli_json j = {.out = o};
      qn_cli_json_floats(&j, NULL, x, cols);
    } else {
      for (size_t i = 0; i < cols; i++) {
        if (i) qn_cli_out_bytes(o, "\t", 1);
        qn_cli_out_float(o, x[i]);
      }
    }
    qn_cli_out_bytes(o, "\n", 1);
  }
}

static int embed_lines(qn_cli_model *m, qn_cli_lines *lines, qn_cli_out *o, uint32_t format, uint64_t *rows) {
  qn_cli_batch batch = {0};
  float *x = NULL;
  int code = qn_cli_grow(m->c, &x, CLI_BATCH_TEXTS * (size_t)m->info.embedding_width, sizeof *x);
  while (!code && (code = qn_cli_batch_read(&batch, lines)) == CLI_DONE && batch.texts) {
    if ((code = qn_cli_model_embed(m, &batch, x)) != 0) break;
    put_rows(o, format, x, batch.texts, m->info.embedding_width);
    if (!lines->regular) qn_cli_out_flush(o);
    if (o->error) break;
    *rows += batch.texts;
    if (o != m->c->out) qn_cli_progress(m->c, lines->done, lines->total, "embed");
  }
  qn_cli_batch_free(&batch);
  free(x);
  return code;
}

static int embed_to(qn_cli_model *m, qn_cli_lines *lines, const values *v) {
  uint32_t format = v->format ? v->format : FORMAT_JSONL;
  char header[NPY_HEADER];
  uint64_t rows = 0;
  qn_cli_out *o = m->c->out;
  int code = CLI_DONE;
  if (v->output && (code = qn_cli_out_open(m->c, &o, v->output)) != 0) return code;
  if (format == FORMAT_NPY) {
    npy_header(header, 0, m->info.embedding_width);
    qn_cli_out_bytes(o, header, sizeof header);
  }
  code = embed_lines(m, lines, o, format, &rows);
  if (format == FORMAT_NPY && !code) {
    npy_header(header, rows, m->info.embedding_width);
    qn_cli_out_patch(o, 0, header, sizeof header);
  }
  qn_cli_progress_clear();
  return v->output ? qn_cli_out_close(m->c, o, code) : code;
}

static int run(qn_cli_state *c) {
  const values *v = c->values;
  qn_cli_model m;
  qn_cli_lines lines;
  if (v->format == FORMAT_NPY && !v->output) return qn_cli_fail(c, CLI_USAGE, "--format npy needs -o FILE");
  if (c->common.json && v->format > FORMAT_JSONL) return qn_cli_fail(c, CLI_USAGE, "--json goes with --format jsonl");
  int code = qn_cli_lines_open(&lines, c, c->argument[1]);
  if (code) return code;
  code = qn_cli_model_open(&m, c, c->argument[0], 0);
  if (!code) code = qn_cli_model_text_tokens(&m, v->max_tokens);
  if (!code && !m.info.embedding_width) { code = qn_cli_model_fail_kind(&m, "gives no embeddings"); }
  if (!code) {
    m.options.pool = v->pool;
    m.options.flags = v->no_normalize ? QUERN_NO_NORMALIZE : 0;
    code = embed_to(&m, &lines, v);
    if (!code) qn_cli_model_report_cut(&m);
  }
  qn_cli_model_close(&m);
  qn_cli_lines_close(&lines);
  return code;
}

/* The choices of --pool stand in the order of QUERN_POOL_MEAN, _CLS, _LAST. */
static const qn_cli_option options[] = {
    {"format", 0, CLI_CHOICE, "jsonl|tsv|npy", "default: jsonl, an array a line", offsetof(values, format), 0, 0},
    {"output", 'o', CLI_TEXT, "FILE", "write there instead of standard output", offsetof(values, output), 0, 0},
    {"pool", 0, CLI_CHOICE, "mean|cls|last", "tokens to one vector; default: as the model says", offsetof(values, pool),
     0, 0},
    {"no-normalize", 0, CLI_FLAG, NULL, "do not scale to length 1", offsetof(values, no_normalize), 0, 0},
    {"max-tokens", 0, CLI_COUNT, "N", "cut texts to N tokens; default: the model's", offsetof(values, max_tokens), 1,
     UINT32_MAX},
};

const qn_cli_verb qn_cli_verb_embed = {
    .name = "embed",
    .arguments = "MODEL [FILE]",
    .summary = "Prints one embedding per line of text.",
    .details = "Numbers are the shortest decimals that read back to the same float32. An empty line is an empty text.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 1,
    .max_arguments = 2,
    .values_bytes = sizeof(values),
    .run = run,
};
