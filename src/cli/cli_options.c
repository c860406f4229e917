/* cli_options.c - command lines from the verbs' tables: parsing, value checks, suggestions, help. Knows no verb. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define COMMON(field, name, kind, argument, help, min, max)                                                            \
  { name, 0, kind, argument, help, offsetof(qn_cli_common, field), min, max }

static const qn_cli_option common_options[] = {
    COMMON(threads, "threads", CLI_COUNT, "N", "threads to use; default: the CPUs this process may use", 1, 1024),
    COMMON(isa, "isa", CLI_TEXT, "NAME", "kernel set, at most what this CPU has; default: the best", 0, 0),
    COMMON(json, "json", CLI_FLAG, NULL, "results as JSON", 0, 0),
    COMMON(quiet, "quiet", CLI_FLAG, NULL, "no remarks, no progress", 0, 0),
    COMMON(limit_bytes, "limit-bytes", CLI_BYTES, "N", "refuse what needs more bytes than this (suffix K, M, G)", 1,
           UINT64_MAX),
    {"help", 'h', CLI_FLAG, NULL, "this text", offsetof(qn_cli_common, help), 0, 0},
    COMMON(version, "version", CLI_FLAG, NULL, "version of quern", 0, 0),
};
#define COMMON_COUNT ((uint32_t)(sizeof common_options / sizeof common_options[0]))

const qn_cli_option *qn_cli_options_at(const qn_cli_verb *v, uint32_t i) {
  if (v && i < v->option_count) return &v->options[i];
  if (v) i -= v->option_count;
  return i < COMMON_COUNT ? &common_options[i] : NULL;
}

static const char *option_name_at(const void *user, uint32_t i) {
  const qn_cli_option *o = qn_cli_options_at((const qn_cli_verb *)user, i);
  return o ? o->name : NULL;
}

static const qn_cli_option *find_option(const qn_cli_verb *v, const char *name, size_t n, char letter) {
  const qn_cli_option *o;
  for (uint32_t i = 0; (o = qn_cli_options_at(v, i)) != NULL; i++) {
    if (letter ? o->letter == letter : name && strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
  }
  return NULL;
}

/* Edit distance of a and b, both shorter than 32 characters. */
static size_t distance(const char *a, const char *b) {
  size_t row[33], n = strlen(b);
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 0; a[i]; i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < n; j++) {
      size_t change = diagonal + (a[i] != b[j]);
      size_t shift = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);
      diagonal = row[j + 1];
      row[j + 1] = change < shift ? change : shift;
    }
  }
  return row[n];
}

const char *qn_cli_options_suggest(const char *word, const char *(*next)(const void *user, uint32_t i),
                                   const void *user) {
  const char *name, *best = NULL;
  size_t n = strlen(word), nearest = n / 3 + 2;
  if (n == 0 || n > 31) return NULL;
  for (uint32_t i = 0; (name = next(user, i)) != NULL; i++) {
    if (strlen(name) > 31) continue;
    size_t d = strncmp(name, word, n) == 0 ? 1 : distance(word, name);
    if (d < nearest) nearest = d, best = name;
  }
  return best;
}

/* Decimal digits and an optional suffix; 0 when text is no such number. */
static int parse_number(const char *text, int suffix, uint64_t *out) {
  uint64_t v = 0;
  const char *p = text;
  for (; *p >= '0' && *p <= '9'; p++) {
    if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) return 0;
  }
  if (p == text) return 0;
  if (suffix && *p) {
    const char *unit = strchr("KkMmGg", *p);
    if (!unit || __builtin_mul_overflow(v, (uint64_t)1 << (10 * ((unit - "KkMmGg") / 2 + 1)), &v)) return 0;
    p++;
  }
  *out = v;
  return *p == 0;
}

/* 1 + index of the word among "a|b|c", 0: none of them. */
static uint32_t choice_of(const char *words, const char *word) {
  uint32_t index = 1;
  for (const char *p = words;; index++) {
    size_t n = strcspn(p, "|");
    if (strlen(word) == n && memcmp(p, word, n) == 0) return index;
    if (!p[n]) return 0;
    p += n + 1;
  }
}

static int set_real(qn_cli_state *c, const qn_cli_option *o, const char *text, void *field) {
  char *end;
  const double v = strtod(text, &end), least = (double)o->min;
  const int with_least = o->kind == CLI_LEVEL;
  if (end == text || *end || !((with_least ? v >= least : v > least) && v <= (double)o->max))
    return qn_cli_fail(c, CLI_USAGE, "--%s takes a number %s %llu and at most %llu, not '%s'", o->name,
                       with_least ? "of at least" : "above", (unsigned long long)o->min, (unsigned long long)o->max,
                       text);
  *(double *)field = v;
  return CLI_DONE;
}

static int add_text(qn_cli_state *c, const qn_cli_option *o, const char *text, qn_cli_texts *list) {
  if (list->count == CLI_MAX_TEXTS)
    return qn_cli_fail(c, CLI_USAGE, "--%s may be given %u times", o->name, (unsigned)CLI_MAX_TEXTS);
  list->text[list->count++] = text;
  return CLI_DONE;
}

static int set_value(qn_cli_state *c, const qn_cli_option *o, const char *text) {
  const qn_cli_option *own = c->verb->options;
  char *base = own && o >= own && o < own + c->verb->option_count ? (char *)c->values : (char *)&c->common;
  void *field = base + o->offset;
  uint64_t number = 0;
  uint32_t choice;
  switch (o->kind) {
    case CLI_FLAG:
      *(int *)field = 1;
      return CLI_DONE;
    case CLI_TEXT:
      *(const char **)field = text;
      return CLI_DONE;
    case CLI_CHOICE:
      choice = choice_of(o->argument, text);
      if (!choice) return qn_cli_fail(c, CLI_USAGE, "--%s takes %s, not '%s'", o->name, o->argument, text);
      *(uint32_t *)field = choice;
      return CLI_DONE;
    case CLI_TEXTS:
      return add_text(c, o, text, field);
    case CLI_REAL:
    case CLI_LEVEL:
      return set_real(c, o, text, field);
    case CLI_COUNT:
    case CLI_BYTES:
      break;
  }
  if (!parse_number(text, o->kind == CLI_BYTES, &number)) {
    return qn_cli_fail(c, CLI_USAGE, "--%s takes a whole number%s, not '%s'", o->name,
                       o->kind == CLI_BYTES ? " that K, M or G may follow" : "", text);
  }
  if (number < o->min || number > o->max) {
    return qn_cli_fail(c, CLI_USAGE, "--%s takes %llu to %llu, not %s", o->name, (unsigned long long)o->min,
                       (unsigned long long)o->max, text);
  }
  if (o->kind == CLI_COUNT) {
    *(uint32_t *)field = (uint32_t)number;
  } else {
    *(uint64_t *)field = number;
  }
  return CLI_DONE;
}

static int unknown_option(qn_cli_state *c, const char *name) {
  const char *suggestion = qn_cli_options_suggest(name, option_name_at, c->verb);
  if (suggestion) return qn_cli_fail(c, CLI_USAGE, "unknown option --%s; did you mean --%s?", name, suggestion);
  return qn_cli_fail(c, CLI_USAGE, "unknown option --%s", name);
}

/* argv[*i] is "--name" or "--name=value"; the value may be argv[*i + 1]. */
static int parse_long(qn_cli_state *c, int argc, char **argv, int *i) {
  char *name = argv[*i] + 2, *equals = strchr(name, '=');
  size_t n = equals ? (size_t)(equals - name) : strlen(name);
  const qn_cli_option *o = find_option(c->verb, name, n, 0);
  if (!o) {
    if (equals) *equals = 0;
    return unknown_option(c, name);
  }
  if (o->kind == CLI_FLAG) {
    if (equals) return qn_cli_fail(c, CLI_USAGE, "--%s takes no value", o->name);
    return set_value(c, o, NULL);
  }
  if (equals) return set_value(c, o, equals + 1);
  if (*i + 1 >= argc) return qn_cli_fail(c, CLI_USAGE, "--%s needs a value: %s", o->name, o->argument);
  return set_value(c, o, argv[++*i]);
}

/* argv[*i] is "-x", "-xvalue" or several flags "-xy". */
static int parse_short(qn_cli_state *c, int argc, char **argv, int *i) {
  for (const char *p = argv[*i] + 1; *p; p++) {
    const qn_cli_option *o = find_option(c->verb, NULL, 0, *p);
    if (!o) return qn_cli_fail(c, CLI_USAGE, "unknown option -%c", *p);
    if (o->kind == CLI_FLAG) {
      int code = set_value(c, o, NULL);
      if (code) return code;
      continue;
    }
    if (p[1]) return set_value(c, o, p + 1);
    if (*i + 1 >= argc) return qn_cli_fail(c, CLI_USAGE, "-%c needs a value: %s", *p, o->argument);
    return set_value(c, o, argv[++*i]);
  }
  return CLI_DONE;
}

int qn_cli_options_parse(qn_cli_state *c, int argc, char **argv) {
  int options = 1;
  for (int i = 0; i < argc; i++) {
    int code = CLI_DONE;
    if (options && strcmp(argv[i], "--") == 0) {
      options = 0;
    } else if (options && strncmp(argv[i], "--", 2) == 0) {
      code = parse_long(c, argc, argv, &i);
    } else if (options && argv[i][0] == '-' && argv[i][1]) {
      code = parse_short(c, argc, argv, &i);
    } else if (c->arguments < c->verb->max_arguments) {
      c->argument[c->arguments++] = argv[i];
    } else {
      code = qn_cli_fail(c, CLI_USAGE, "one argument too many: '%s'", argv[i]);
    }
    if (code) return code;
  }
  if (c->arguments < c->verb->min_arguments && !c->common.help && !c->common.version) {
    return qn_cli_fail(c, CLI_USAGE, "needs: %s %s", c->verb->name, c->verb->arguments);
  }
  return CLI_DONE;
}

static void print_options(qn_cli_out *out, const qn_cli_option *options, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    const qn_cli_option *o = &options[i];
    char left[64];
    int used = o->letter ? snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name)
                         : snprintf(left, sizeof left, "    --%s", o->name);
    if (o->argument) snprintf(left + used, sizeof left - (size_t)used, " %s", o->argument);
    if (strlen(left) > 28) {
      qn_cli_out_format(out, "  %s\n  %-28s  %s\n", left, "", o->help);
    } else {
      qn_cli_out_format(out, "  %-28s  %s\n", left, o->help);
    }
  }
}

void qn_cli_options_help(qn_cli_state *c) {
  const qn_cli_verb *v = c->verb;
  qn_cli_out_format(c->out, "Usage: quern %s %s [options]\n\n%s\n", v->name, v->arguments, v->summary);
  if (v->details) {
    qn_cli_out_text(c->out, "\n");
    qn_cli_out_text(c->out, v->details);
    qn_cli_out_text(c->out, "\n");
  }
  if (v->option_count) {
    qn_cli_out_text(c->out, "\nOptions:\n");
    print_options(c->out, v->options, v->option_count);
  }
  qn_cli_out_text(c->out, "\nCommon options:\n");
  print_options(c->out, common_options, COMMON_COUNT);
}
