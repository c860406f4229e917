/* cli_pages.c - the manual page and the shells' completions, made from the verbs' tables: no text of theirs stands here a
 * second time. Knows no verb. */
#include <string.h>
#include "cli.h"

/* ---- manual page: man(7) ----------------------------------------------------------------------------------------- */

/* Text of a roff page: no character of it is a command. `dash`: what a minus becomes. */
static void put_roff(qn_cli_out *o, const char *s, const char *dash) {
  int line_start = 1;
  for (; *s; s++) {
    if (line_start && (*s == '.' || *s == '\'')) qn_cli_out_text(o, "\\&");
    line_start = *s == '\n';
    if (*s == '\\')
      qn_cli_out_text(o, "\\e");
    else if (*s == '-')
      qn_cli_out_text(o, dash);
    else
      qn_cli_out_bytes(o, s, 1);
  }
}

static void put_man_option(qn_cli_out *o, const qn_cli_option *option) {
  qn_cli_out_text(o, ".TP\n");
  if (option->letter) qn_cli_out_format(o, "\\fB\\-%c\\fR, ", option->letter);
  qn_cli_out_text(o, "\\fB\\-\\-");
  put_roff(o, option->name, "\\-");
  qn_cli_out_text(o, "\\fR");
  if (option->argument) {
    qn_cli_out_text(o, " \\fI");
    put_roff(o, option->argument, "\\-");
    qn_cli_out_text(o, "\\fR");
  }
  qn_cli_out_text(o, "\n");
  put_roff(o, option->help, "-");
  qn_cli_out_text(o, "\n");
}

static void put_man_verb(qn_cli_out *o, const qn_cli_verb *v) {
  qn_cli_out_format(o, ".SS \"quern %s\"\n.B quern %s\n.I ", v->name, v->name);
  put_roff(o, v->arguments, "\\-");
  qn_cli_out_text(o, "\n.RI [ options ]\n.PP\n");
  put_roff(o, v->summary, "-");
  qn_cli_out_text(o, "\n");
  if (v->details) {
    qn_cli_out_text(o, ".PP\n");
    put_roff(o, v->details, "-");
    qn_cli_out_text(o, "\n");
  }
  for (uint32_t i = 0; i < v->option_count; i++) put_man_option(o, &v->options[i]);
}

void qn_cli_pages_man(qn_cli_out *o) {
  const qn_cli_option *option;
  uint32_t version = quern_version();
  qn_cli_out_format(o, ".TH QUERN 1 \"\" \"quern %u.%u.%u\" \"User Commands\"\n", (unsigned)(version / 10000),
                    (unsigned)(version / 100 % 100), (unsigned)(version % 100));
  qn_cli_out_text(o, ".SH NAME\nquern \\- ");
  put_roff(o, qn_cli_summary, "-");
  qn_cli_out_text(o, "\n.SH SYNOPSIS\n.B quern\n.I verb\n\\&... [\\fIoptions\\fR]\n.SH DESCRIPTION\n");
  put_roff(
      o,
      "A file that is - or left out is standard input. Results go to standard output, everything else to standard\n"
      "error. Output files are written under a temporary name and renamed: an interrupted or failed run leaves\n"
      "the old file or none.\n",
      "\\-");
  qn_cli_out_text(o, ".SH VERBS\n");
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) put_man_verb(o, qn_cli_verbs[i]);
  qn_cli_out_text(o, ".SH COMMON OPTIONS\n");
  for (uint32_t i = 0; (option = qn_cli_options_at(NULL, i)) != NULL; i++) put_man_option(o, option);
  qn_cli_out_text(o, ".SH EXIT STATUS\n");
  put_roff(o, qn_cli_exit_codes, "-");
  qn_cli_out_text(o,
                  "\n.SH ENVIRONMENT\n.TP\n.B NO_COLOR\nwhen set, messages and progress are written without colours\n");
}

/* ---- completion: a verb, then its options, the words of a choice, else files ---------------------------------------- */

/* s inside single quotes of a POSIX shell or zsh ('\''), or of fish (\'); zsh's own specifications also guard [ ] :. */
static void put_quoted(qn_cli_out *o, const char *s, const char *quote, const char *guarded) {
  for (; *s; s++) {
    if (*s == '\'') {
      qn_cli_out_text(o, quote);
      continue;
    }
    if (*guarded && strchr(guarded, *s)) qn_cli_out_text(o, "\\");
    qn_cli_out_bytes(o, s, 1);
  }
}

/* "a|b|c" as words between blanks. */
static void put_words(qn_cli_out *o, const char *choices) {
  for (; *choices; choices++) qn_cli_out_bytes(o, *choices == '|' ? " " : choices, 1);
}

static void put_bash(qn_cli_out *o) {
  const qn_cli_option *option;
  qn_cli_out_text(o, "# bash completion for quern, made by `quern --completion bash`\n_quern() {\n"
                     "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                     "  COMPREPLY=()\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    words='");
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) qn_cli_out_format(o, "%s ", qn_cli_verbs[i]->name);
  qn_cli_out_text(o, "help'\n  else\n    case ${COMP_WORDS[1]}:$before in\n");
  for (uint32_t v = 0; qn_cli_verbs[v]; v++) {
    for (uint32_t i = 0; (option = qn_cli_options_at(qn_cli_verbs[v], i)) != NULL; i++) {
      if (option->kind != CLI_CHOICE) continue;
      qn_cli_out_format(o, "      %s:--%s", qn_cli_verbs[v]->name, option->name);
      if (option->letter) qn_cli_out_format(o, "|%s:-%c", qn_cli_verbs[v]->name, option->letter);
      qn_cli_out_text(o, ") words='");
      put_words(o, option->argument);
      qn_cli_out_text(o, "' ;;\n");
    }
  }
  qn_cli_out_text(o, "    esac\n    if [ -z \"$words\" ] && [ \"${word#-}\" != \"$word\" ]; then\n"
                     "      case ${COMP_WORDS[1]} in\n");
  for (uint32_t v = 0; qn_cli_verbs[v]; v++) {
    qn_cli_out_format(o, "        %s) words='", qn_cli_verbs[v]->name);
    for (uint32_t i = 0; (option = qn_cli_options_at(qn_cli_verbs[v], i)) != NULL; i++)
      qn_cli_out_format(o, "%s--%s", i ? " " : "", option->name);
    qn_cli_out_text(o, "' ;;\n");
  }
  qn_cli_out_text(o, "      esac\n    fi\n  fi\n"
                     "  [ -z \"$words\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
                     "complete -o default -F _quern quern\n");
}

static void put_zsh_option(qn_cli_out *o, const qn_cli_option *option) {
  const char *dashes[2] = {"--", "-"};
  char letter[2] = {option->letter, 0};
  for (int i = 0; i < (option->letter ? 2 : 1); i++) {
    qn_cli_out_format(o, " \\\n        '%s%s[", dashes[i], i ? letter : option->name);
    put_quoted(o, option->help, "'\\''", "[]:\\");
    qn_cli_out_text(o, "]");
    if (option->kind == CLI_CHOICE) {
      qn_cli_out_text(o, ":choice:(");
      put_words(o, option->argument);
      qn_cli_out_text(o, ")");
    } else if (option->argument) {
      qn_cli_out_text(o, ":");
      put_quoted(o, option->argument, "'\\''", "[]:\\");
      qn_cli_out_text(o, option->kind == CLI_TEXT ? ":_files" : ":");
    }
    qn_cli_out_text(o, "'");
  }
}

static void put_zsh(qn_cli_out *o) {
  const qn_cli_option *option;
  qn_cli_out_text(o, "#compdef quern\n# zsh completion for quern, made by `quern --completion zsh`\n"
                     "local -a verbs\nverbs=(\n");
  for (uint32_t i = 0; qn_cli_verbs[i]; i++) {
    qn_cli_out_format(o, "  '%s:", qn_cli_verbs[i]->name);
    put_quoted(o, qn_cli_verbs[i]->summary, "'\\''", ":\\");
    qn_cli_out_text(o, "'\n");
  }
  qn_cli_out_text(o, ")\nif (( CURRENT == 2 )); then\n  _describe -t verbs verb verbs\nelse\n"
                     "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $verb in\n");
  for (uint32_t v = 0; qn_cli_verbs[v]; v++) {
    qn_cli_out_format(o, "    %s)\n      _arguments -s", qn_cli_verbs[v]->name);
    for (uint32_t i = 0; (option = qn_cli_options_at(qn_cli_verbs[v], i)) != NULL; i++) put_zsh_option(o, option);
    qn_cli_out_text(o, " \\\n        '*:file:_files' ;;\n");
  }
  qn_cli_out_text(o, "  esac\nfi\n");
}

static void put_fish_option(qn_cli_out *o, const char *verb, const qn_cli_option *option) {
  qn_cli_out_text(o, "complete -c quern -n '");
  if (verb)
    qn_cli_out_format(o, "__fish_seen_subcommand_from %s", verb);
  else
    qn_cli_out_text(o, "not __fish_use_subcommand");
  qn_cli_out_format(o, "' -l %s", option->name);
  if (option->letter) qn_cli_out_format(o, " -s %c", option->letter);
  if (option->kind == CLI_CHOICE) {
    qn_cli_out_text(o, " -x -a '");
    put_words(o, option->argument);
    qn_cli_out_text(o, "'");
  } else if (option->argument) {
    qn_cli_out_text(o, option->kind == CLI_TEXT ? " -r" : " -x");
  }
  qn_cli_out_text(o, " -d '");
  put_quoted(o, option->help, "\\'", "\\");
  qn_cli_out_text(o, "'\n");
}

static void put_fish(qn_cli_out *o) {
  const qn_cli_option *option;
  qn_cli_out_text(o, "# fish completion for quern, made by `quern --completion fish`\n");
  for (uint32_t v = 0; qn_cli_verbs[v]; v++) {
    qn_cli_out_format(o, "complete -c quern -n __fish_use_subcommand -f -a %s -d '", qn_cli_verbs[v]->name);
    put_quoted(o, qn_cli_verbs[v]->summary, "\\'", "\\");
    qn_cli_out_text(o, "'\n");
    for (uint32_t i = 0; i < qn_cli_verbs[v]->option_count; i++)
      put_fish_option(o, qn_cli_verbs[v]->name, &qn_cli_verbs[v]->options[i]);
  }
  for (uint32_t i = 0; (option = qn_cli_options_at(NULL, i)) != NULL; i++) put_fish_option(o, NULL, option);
}

int qn_cli_pages_completion(qn_cli_out *o, const char *shell) {
  if (strcmp(shell, "bash") == 0)
    put_bash(o);
  else if (strcmp(shell, "zsh") == 0)
    put_zsh(o);
  else if (strcmp(shell, "fish") == 0)
    put_fish(o);
  else
    return 0;
  return 1;
}
