/* verb_bench.c - `quern bench`: a model's speed, the kernels', the machine's limits. */
#include "bench.h"

typedef struct values {
  qn_bench_shape shape;
  qn_bench_decoding decoding;
  const char *text;
  int kernels, limits;
} values;

static int measure(qn_cli_state *c) {
  const values *v = c->values;
  qn_bench_shape shape = v->shape;
  if (v->kernels && v->limits) return qn_cli_fail(c, CLI_USAGE, "--kernels or --limits, not both");
  if (v->limits && c->arguments) return qn_cli_fail(c, CLI_USAGE, "--limits takes no MODEL");
  if (v->limits) return qn_bench_limits(c);
  if (v->kernels) return qn_bench_kernels(c, c->arguments ? c->argument[0] : NULL);
  if (!c->arguments) return qn_cli_fail(c, CLI_USAGE, "needs a MODEL, --kernels or --limits");
  qn_bench_decoding decoding = v->decoding;
  if (v->text) {
    if (shape.batch || shape.seq || decoding.prompt || decoding.decode || decoding.depth || decoding.cache)
      return qn_cli_fail(c, CLI_USAGE, "--text is about the tokenizer alone: only --repeat goes with it");
    return qn_bench_text(c, c->argument[0], v->text, shape.repeat ? shape.repeat : 5);
  }
  if (decoding.prompt || decoding.decode || decoding.depth || decoding.cache) {
    if (shape.batch || shape.seq)
      return qn_cli_fail(c, CLI_USAGE,
                         "--batch and --seq are for encoders, --prompt, --decode and --depth for decoders");
    decoding.repeat = shape.repeat ? shape.repeat : 5;
    return qn_bench_decoder(c, c->argument[0], &decoding);
  }
  if (!shape.batch) shape.batch = 32;
  if (!shape.seq) shape.seq = 128;
  if (!shape.repeat) shape.repeat = 20;
  return qn_bench_model(c, c->argument[0], &shape);
}

static int run(qn_cli_state *c) {
  qn_bench_load before, after;
  char why[256];
  qn_bench_load_now(&before);
  const int code = measure(c);
  qn_bench_load_now(&after);
  if (!code && qn_bench_load_doubts(&before, &after, why, sizeof why)) qn_cli_note(c, "quern bench: warning: %s", why);
  return code;
}

static const qn_cli_option options[] = {
    {"batch", 0, CLI_COUNT, "B", "sequences at a time; default: 32", offsetof(values, shape.batch), 1, 65536},
    {"seq", 0, CLI_COUNT, "S", "tokens of each; default: 128", offsetof(values, shape.seq), 1, 65536},
    {"prompt", 0, CLI_COUNT, "P", "of a decoder: tokens that are read at once", offsetof(values, decoding.prompt), 1,
     1 << 20},
    {"decode", 0, CLI_COUNT, "D", "of a decoder: tokens one at a time", offsetof(values, decoding.decode), 1, 1 << 20},
    {"depth", 0, CLI_COUNT, "K", "of a decoder: tokens before those of --decode; default: 0",
     offsetof(values, decoding.depth), 0, 1 << 20},
    CLI_CACHE_OPTION(values, decoding.cache, "of a decoder: "),
    {"text", 0, CLI_TEXT, "FILE", "the tokenizer's speed on lines of a file", offsetof(values, text), 0, 0},
    {"repeat", 0, CLI_COUNT, "R", "runs that are timed; default: 20, of decoders and tokenizers 5",
     offsetof(values, shape.repeat), 1, 1000000},
    {"kernels", 0, CLI_FLAG, NULL, "each kernel on one thread; an argument selects rows by a part of their name",
     offsetof(values, kernels), 0, 0},
    {"limits", 0, CLI_FLAG, NULL, "operations per second and bandwidths of this machine", offsetof(values, limits), 0,
     0},
};

const qn_cli_verb qn_cli_verb_bench = {
    .name = "bench",
    .arguments = "MODEL | --kernels [FILTER] | --limits",
    .summary = "Measures speed: of a model, of its tokenizer, of the kernels, of the machine.",
    .details =
        "The fraction of the peak counts real operations against the fastest register-resident loop of the\n"
        "instructions that the kernels use, measured in the same run on as many threads. Of a decoder the\n"
        "fraction of the bandwidth counts the bytes of weights, and of keys and values, that a token reads, against\n"
        "memory. A warning tells when other processes or other guests of a hypervisor ran meanwhile.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 0,
    .max_arguments = 1,
    .values_bytes = sizeof(values),
    .run = run,
};
