/* cli_run.h - runs the command from a test and looks at what it prints. main sets `build` and makes and removes `dir`:
 * cli_run_begin, tiny_dir_remove. Tests only; one thread. */
#ifndef QN_CLI_RUN_H
#define QN_CLI_RUN_H
#include <sys/wait.h>
#include "test.h"
#include "tiny_model.h"

static char dir[256], out[1 << 16];
static const char *build;

/* Runs `quern ARGS` with @ replaced by the temporary directory. What it prints on both streams is in `out`; returns the
   exit code. */
static inline int quern(const char *args) {
  char command[4096], expanded[3000];
  size_t n = 0;
  for (const char *p = args; *p && n + 300 < sizeof expanded; p++) {
    if (p[0] == '@') {
      n += (size_t)snprintf(expanded + n, sizeof expanded - n, "%s", dir);
    } else {
      expanded[n++] = *p;
    }
  }
  expanded[n] = 0;
  snprintf(command, sizeof command, "%s/quern %s 2>&1", build, expanded);
  FILE *f = popen(command, "r");
  if (!f) return -1;
  n = fread(out, 1, sizeof out - 1, f);
  out[n] = 0;
  int status = pclose(f);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int has(const char *text) {
  if (strstr(out, text)) return 1;
  printf("  not in the output: %s\n  output: %.600s\n", text, out);
  return 0;
}

/* Number of times that text occurs in the output. */
static inline int count(const char *text) {
  int n = 0;
  for (const char *p = out; (p = strstr(p, text)) != NULL; p++) n++;
  return n;
}

static inline int cli_run_begin(void) {
  build = getenv("BUILD");
  if (!build || !*build) build = "build";
  return tiny_dir_make(dir, sizeof dir);
}
#endif
