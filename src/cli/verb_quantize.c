/* verb_quantize.c - `quern quantize`: a Hugging Face directory or a GGUF file becomes a .qrn file. */
#include <string.h>
#include "cli.h"

typedef struct values {
  const char *output, *recipe, *calibrate, *report, *print_recipe;
  uint32_t seed, rows, select;
  double max_loss;
  int dry_run, decoder;
} values;

static const char *recipe_name_at(const void *user, uint32_t i) {
  (void)user;
  return quern_recipe_name(i);
}

static int is_path(const char *recipe) {
  size_t n = strlen(recipe);
  return strchr(recipe, '/') != NULL || (n > 5 && strcmp(recipe + n - 5, ".json") == 0);
}

static int unknown_recipe(qn_cli_state *c, const char *name) {
  char list[512] = "";
  const char *suggestion = qn_cli_options_suggest(name, recipe_name_at, NULL), *preset;
  for (uint32_t i = 0; (preset = quern_recipe_name(i)) != NULL; i++) {
    if (strlen(list) + strlen(preset) + 3 > sizeof list) break;
    strcat(strcat(list, i ? ", " : ""), preset);
  }
  if (suggestion)
    return qn_cli_fail(c, CLI_USAGE, "no recipe '%s'; did you mean '%s'? Recipes: %s", name, suggestion, list);
  return qn_cli_fail(c, CLI_USAGE, "no recipe '%s'. Recipes: %s; or the path of a .json file", name, list);
}

/* Behind the string that starts at p. */
static const char *string_end(const char *p) {
  for (p++; *p != '"'; p++) p += *p == '\\';
  return p + 1;
}

/* Whether the object or list that starts at p has another in it. */
static int is_nested(const char *p) {
  for (p++; *p != '}' && *p != ']';) {
    if (*p == '{' || *p == '[') return 1;
    p = *p == '"' ? string_end(p) : p + 1;
  }
  return 0;
}

static void new_line(qn_cli_out *o, int depth) { qn_cli_out_format(o, "\n%*s", 2 * depth, ""); }

/* Valid JSON without white space, an item a line; objects and lists of plain values stay on one. */
static void print_indented(qn_cli_out *o, const char *json) {
  int depth = 0, flat = 0;
  for (const char *p = json, *end; *p; p = end) {
    end = *p == '"' ? string_end(p) : p + 1;
    const int opens = *p == '{' || *p == '[', closes = *p == '}' || *p == ']';
    if (closes && !flat) new_line(o, --depth);
    qn_cli_out_format(o, "%.*s", (int)(end - p), p);
    if (opens) flat = depth > 0 && !is_nested(p);
    if (opens && !flat) new_line(o, ++depth);
    if (closes) flat = 0;
    if (*p == ',' && !flat) new_line(o, depth);
    if (*p == ':' || (*p == ',' && flat)) qn_cli_out_text(o, " ");
  }
  qn_cli_out_text(o, "\n");
}

static int print_recipe(qn_cli_state *c, const values *v) {
  const char *json = quern_recipe_json(v->print_recipe), *of_decoders = quern_recipe_decoder_json(v->print_recipe);
  if (!json) return unknown_recipe(c, v->print_recipe);
  if (v->decoder && !of_decoders) return qn_cli_fail(c, CLI_USAGE, "recipe %s is for encoders alone", v->print_recipe);
  print_indented(c->out, v->decoder ? of_decoders : json);
  if (!v->decoder && of_decoders && strcmp(json, of_decoders) != 0)
    qn_cli_note(c, "%s of a decoder is another: --decoder prints it", v->print_recipe);
  return CLI_DONE;
}

static void print_result(qn_cli_state *c, const values *v, const quern_quantize_result *r) {
  double share = r->source_bytes ? 100.0 * (double)r->bytes / (double)r->source_bytes : 0;
  if (c->common.json) {
    qn_cli_json j = {.out = c->out};
    qn_cli_json_open(&j, NULL, '{');
    qn_cli_json_text(&j, "source", c->argument[0]);
    qn_cli_json_text(&j, "output", v->output ? v->output : "");
    qn_cli_json_text(&j, "recipe", v->recipe ? v->recipe : "int8");
    qn_cli_json_bool(&j, "dry_run", v->dry_run);
    qn_cli_json_int(&j, "source_bytes", r->source_bytes);
    qn_cli_json_int(&j, "bytes", r->bytes);
    qn_cli_json_double(&j, "worst_weight_error", r->worst_weight_error);
    if (r->loss > 0) qn_cli_json_double(&j, "loss", r->loss);
    qn_cli_json_close(&j, '}');
    qn_cli_json_end(&j);
    return;
  }
  qn_cli_out_format(c->out,
                    "%s %s: %.1f MB of weights -> %.1f MB (%.0f %%), weights of an operator off by at most %.2f %%",
                    v->dry_run ? "would write" : "wrote", v->output ? v->output : "the model",
                    (double)r->source_bytes * 1e-6, (double)r->bytes * 1e-6, share, 100 * r->worst_weight_error);
  if (r->loss > 0) qn_cli_out_format(c->out, ", loss of the outputs %.4g", r->loss);
  qn_cli_out_text(c->out, "\n");
}

static int run(qn_cli_state *c) {
  const values *v = c->values;
  quern_quantize_options o;
  quern_quantize_result r = {.size = sizeof r};
  if (v->print_recipe) return print_recipe(c, v);
  if (v->decoder) return qn_cli_fail(c, CLI_USAGE, "--decoder belongs to --print-recipe");
  if (c->arguments < 1) return qn_cli_fail(c, CLI_USAGE, "needs: quantize %s", c->verb->arguments);
  if (!v->output && !v->dry_run) return qn_cli_fail(c, CLI_USAGE, "needs -o OUT.qrn (or --dry-run)");
  if (v->recipe && !is_path(v->recipe) && !quern_recipe_json(v->recipe)) return unknown_recipe(c, v->recipe);
  int code = qn_cli_context_open(c);
  if (code) return code;
  quern_quantize_options_init(&o, sizeof o);
  o.flags = v->dry_run ? QUERN_DRY_RUN : 0;
  o.seed = v->seed;
  o.calibration_rows = v->rows;
  o.select = v->select ? v->select - 1 : QUERN_SELECT_RANDOM;
  o.max_loss = v->max_loss;
  o.recipe = v->recipe;
  o.calibration_path = v->calibrate;
  o.report_path = v->report;
  o.max_bytes = c->common.limit_bytes;
  o.progress = qn_cli_progress;
  o.progress_user = c;
  quern_status s = quern_quantize_file(c->context, c->argument[0], v->output ? v->output : "", &o, &r);
  qn_cli_progress_clear();
  if (s != QUERN_OK) return qn_cli_fail_status(c, s, NULL, NULL);
  print_result(c, v, &r);
  return CLI_DONE;
}

static const qn_cli_option options[] = {
    {"output", 'o', CLI_TEXT, "OUT.qrn", "the file to write", offsetof(values, output), 0, 0},
    {"recipe", 0, CLI_TEXT, "NAME|FILE.json", "how to quantize; default: int8", offsetof(values, recipe), 0, 0},
    {"calibrate", 0, CLI_TEXT, "FILE",
     "texts for recipes with static ranges or calibrated rounding, one a line or as eval reads them, or a .jsonl's "
     "\"text\"",
     offsetof(values, calibrate), 0, 0},
    {"rows", 0, CLI_COUNT, "N", "how many of them to draw; default: 256, of decoders 96", offsetof(values, rows), 1,
     1u << 20},
    {"select", 0, CLI_CHOICE, "random|longest|outliers", "which of them; default: random", offsetof(values, select), 0,
     0},
    {"seed", 0, CLI_COUNT, "S", "draws the calibration texts; default: 0", offsetof(values, seed), 0, UINT32_MAX},
    {"max-loss", 0, CLI_REAL, "X", "recipe auto: squared error of the outputs over their spread; default: 0.02",
     offsetof(values, max_loss), 0, 1},
    {"report", 0, CLI_TEXT, "DIR", "write report.json and report.html there", offsetof(values, report), 0, 0},
    {"dry-run", 0, CLI_FLAG, NULL, "do everything but write the file", offsetof(values, dry_run), 0, 0},
    {"print-recipe", 0, CLI_TEXT, "NAME", "print a preset recipe as JSON and end", offsetof(values, print_recipe), 0,
     0},
    {"decoder", 0, CLI_FLAG, NULL, "with --print-recipe: what the preset is of decoders", offsetof(values, decoder), 0,
     0},
};

const qn_cli_verb qn_cli_verb_quantize = {
    .name = "quantize",
    .arguments = "SRC -o OUT.qrn",
    .summary = "Makes a model file out of a Hugging Face directory or a GGUF file.",
    .details =
        "SRC is a GGUF file, or holds config.json, model.safetensors (or its shards) and the tokenizer's files.\n"
        "In the end it prints sizes, and how far the weights of an operator are off at most: the root mean square\n"
        "of what rounding changed over that of the weights (--json: worst_weight_error, 0.01 for 1 %).",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .min_arguments = 0,
    .max_arguments = 1,
    .values_bytes = sizeof(values),
    .run = run,
};
