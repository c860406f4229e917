/* cli_main.c - the `quern` command: finds the verb, parses its options, runs it, and sees the results written. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

extern const qn_cli_verb qn_cli_verb_quantize, qn_cli_verb_inspect, qn_cli_verb_verify, qn_cli_verb_tokenize,
    qn_cli_verb_embed, qn_cli_verb_search, qn_cli_verb_classify, qn_cli_verb_answer, qn_cli_verb_generate,
    qn_cli_verb_eval, qn_cli_verb_bench;

const qn_cli_verb *const qn_cli_verbs[] = {
    &qn_cli_verb_quantize, &qn_cli_verb_inspect, &qn_cli_verb_verify,   &qn_cli_verb_tokenize,
    &qn_cli_verb_embed,    &qn_cli_verb_search,  &qn_cli_verb_classify, &qn_cli_verb_answer,
    &qn_cli_verb_generate, &qn_cli_verb_eval,    &qn_cli_verb_bench,    NULL,
};

const char qn_cli_summary[] = "Runs transformers that were quantized beforehand, in integers.";
const char qn_cli_exit_codes[] = "0 done, 1 failed, 2 wrong usage, 3 not a valid model or source, 130 interrupted.";

static const char *verb_name_at(const void *user, uint32_t i) {
  (void)user;
  return qn_cli_verbs[i] ? qn_cli_verbs[i]->name : NULL;
}

static const qn_cli_verb *find_verb(const char *name) {
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) {
    if (strcmp(qn_cli_verbs[i]->name, name) == 0) return qn_cli_verbs[i];
  }
  return NULL;
}

static void print_overview(qn_cli_out *out) {
  qn_cli_out_format(out, "Usage: quern VERB ... [options]\n\n%s\n\nVerbs:\n", qn_cli_summary);
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) {
    qn_cli_out_format(out, "  %-10s  %s\n", qn_cli_verbs[i]->name, qn_cli_verbs[i]->summary);
  }
  qn_cli_out_format(
      out,
      "\n'quern VERB --help' tells a verb's options. A FILE that is - or left out is standard input.\n"
      "'quern --man' prints the manual page, 'quern --completion bash|zsh|fish' what a shell completes with.\n"
      "Exit codes: %s\n",
      qn_cli_exit_codes);
}

static void print_version(qn_cli_out *out) {
  uint32_t v = quern_version();
  qn_cli_out_format(out, "quern %u.%u.%u\n", (unsigned)(v / 10000), (unsigned)(v / 100 % 100), (unsigned)(v % 100));
}

static int unknown_verb(qn_cli_state *c, const char *name) {
  char list[256] = "";
  const char *suggestion = qn_cli_options_suggest(name, verb_name_at, NULL);
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", qn_cli_verbs[i]->name);
  }
  if (suggestion) {
    return qn_cli_fail(c, CLI_USAGE, "unknown verb '%s'; did you mean '%s'? Verbs: %s", name, suggestion, list);
  }
  return qn_cli_fail(c, CLI_USAGE, "unknown verb '%s'. Verbs: %s", name, list);
}

static int run_verb(qn_cli_state *c, int argc, char **argv) {
  int code;
  c->values = calloc(1, c->verb->values_bytes ? c->verb->values_bytes : 1);
  if (!c->values) return qn_cli_fail(c, CLI_FAILED, "out of memory");
  code = qn_cli_options_parse(c, argc, argv);
  if (!code && c->common.help) {
    qn_cli_options_help(c);
  } else if (!code && c->common.version) {
    print_version(c->out);
  } else if (!code) {
    code = c->verb->run(c);
  }
  qn_cli_progress_clear();
  quern_context_free(c->context);
  free(c->values);
  return code;
}

/* Where a standard descriptor is closed, a file opened later would take its place and get what was meant for it. It is
   filled with something that fails as a closed one does; messages are lost. */
static void fill_standard_descriptors(void) {
  const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
  for (int fd = 0; fd < 3; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) _exit(CLI_FAILED);
  }
}

int main(int argc, char **argv) {
  static qn_cli_out standard_output = {.fd = 1};
  standard_output.terminal = isatty(1);
  qn_cli_state c = {.out = &standard_output};
  const char *name = argc > 1 ? argv[1] : "";
  int code = CLI_DONE;
  fill_standard_descriptors();
  qn_cli_signals_install();
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc < 3)) {
    print_overview(c.out);
  } else if (strcmp(name, "--version") == 0) {
    print_version(c.out);
  } else if (strcmp(name, "--man") == 0 && argc == 2) {
    qn_cli_pages_man(c.out);
  } else if (strcmp(name, "--completion") == 0) {
    if (argc != 3 || !qn_cli_pages_completion(c.out, argv[2])) {
      code = qn_cli_fail(&c, CLI_USAGE, "--completion takes bash, zsh or fish");
    }
  } else if (argc < 2) {
    code = qn_cli_fail(&c, CLI_USAGE, "needs a verb");
  } else if (name[0] == '-') {
    code = qn_cli_fail(&c, CLI_USAGE, "unknown option %s; the verb comes first: quern VERB ... [options]", name);
  } else {
    int help = strcmp(name, "help") == 0;
    if (help) name = argv[2];
    c.verb = find_verb(name);
    if (!c.verb) {
      code = unknown_verb(&c, name);
    } else if (help) {
      qn_cli_options_help(&c);
    } else {
      code = run_verb(&c, argc - 2, argv + 2);
    }
  }
  return qn_cli_out_close(&c, c.out, code);
}
