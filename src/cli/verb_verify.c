/* verb_verify.c - `quern verify`: every structure and checksum of a model file. */
#include "cli.h"

static int run(qn_cli_state *c) {
  qn_cli_model m;
  int code = qn_cli_model_open(&m, c, c->argument[0], QUERN_OPEN_VERIFY);
  qn_cli_progress_clear();
  if (!code && c->common.json) {
    qn_cli_json j = {.out = c->out};
    qn_cli_json_open(&j, NULL, '{');
    qn_cli_json_text(&j, "model", m.path);
    qn_cli_json_bool(&j, "ok", 1);
    qn_cli_json_int(&j, "bytes", m.info.bytes);
    qn_cli_json_close(&j, '}');
    qn_cli_json_end(&j);
  } else if (!code) {
    qn_cli_out_format(c->out, "ok: %s, %llu bytes\n", m.path, (unsigned long long)m.info.bytes);
  }
  qn_cli_model_close(&m);
  return code;
}

const qn_cli_verb qn_cli_verb_verify = {
    .name = "verify",
    .arguments = "MODEL",
    .summary = "Checks every structure and checksum of a model file.",
    .details = "Ends with 0 when all is well, with 3 when the file is damaged or no model.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
