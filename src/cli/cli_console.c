/* cli_console.c - standard error and signals: messages, the progress bar, what SIGINT does.
 *
 * The first SIGINT, SIGTERM or SIGHUP cancels the session's call and sets a flag that loops and callbacks look at; the
 * second ends the program at once, after removing the temporary output. Worker threads are started with these signals
 * blocked, so that handlers run on the main thread alone. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

static atomic_int signal_seen;
static _Atomic(quern_session *) session_running;
static int bar_shown;

static void on_signal(int number) {
  int saved = errno;
  quern_session *s = atomic_load(&session_running);
  if (atomic_exchange(&signal_seen, number)) {
    qn_cli_out_discard_temporary();
    _exit(128 + number);
  }
  if (s) quern_session_cancel(s);
  errno = saved;
}

void qn_cli_signals_install(void) {
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    /* Without SA_RESTART: a read that waits for input returns. What is ignored (nohup) stays so. */
    action.sa_handler = on_signal;
    if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN) continue;
    sigaction(numbers[i], &action, NULL);
  }
  action.sa_handler = SIG_IGN; /* a closed pipe shows as a write error */
  sigaction(SIGPIPE, &action, NULL);
}

void qn_cli_signals_block(int block) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void qn_cli_signals_session(quern_session *s) { atomic_store(&session_running, s); }

int qn_cli_interrupted(void) {
  int number = atomic_load(&signal_seen);
  return number ? 128 + number : 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static int on_terminal(void) {
  const char *term = getenv("TERM");
  return isatty(2) && !(term && strcmp(term, "dumb") == 0);
}

static int in_color(void) {
  const char *no = getenv("NO_COLOR");
  return on_terminal() && !(no && no[0]);
}

/* Messages hold names and words that come from elsewhere. */
static void put_message(const char *format, va_list args) {
  static qn_cli_out out = {.fd = 2};
  char text[8192];
  int n = vsnprintf(text, sizeof text, format, args);
  out.terminal = isatty(2);
  out.error = 0;
  if (n > 0) qn_cli_out_shown(&out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  qn_cli_out_bytes(&out, "\n", 1);
  qn_cli_out_flush(&out);
}

int qn_cli_fail(qn_cli_state *c, int code, const char *format, ...) {
  va_list args;
  const char *color = in_color() ? "\033[1;31m" : "", *plain = in_color() ? "\033[0m" : "";
  qn_cli_progress_clear();
  fprintf(stderr, "%squern%s%s:%s ", color, c->verb ? " " : "", c->verb ? c->verb->name : "", plain);
  va_start(args, format);
  put_message(format, args);
  va_end(args);
  if (code == CLI_USAGE) {
    fprintf(stderr, "Try 'quern %s%s--help'.\n", c->verb ? c->verb->name : "", c->verb ? " " : "");
  }
  return code;
}

const char *qn_cli_reason(qn_cli_state *c, int error) {
  snprintf(c->reason, sizeof c->reason, "%s", strerror(error));
  if (c->reason[0] >= 'A' && c->reason[0] <= 'Z' && c->reason[1] >= 'a' && c->reason[1] <= 'z')
    c->reason[0] += 'a' - 'A';
  return c->reason;
}

static int exit_code_of(quern_status s) {
  switch (s) {
    case QUERN_OK:
      return CLI_DONE;
    case QUERN_E_ARGUMENT:
      return CLI_USAGE;
    case QUERN_E_FORMAT:
    case QUERN_E_VERSION:
    case QUERN_E_CHECKSUM:
    case QUERN_E_SOURCE:
    case QUERN_E_UNSUPPORTED:
      return CLI_INVALID;
    default:
      return CLI_FAILED;
  }
}

int qn_cli_fail_status(qn_cli_state *c, quern_status s, const char *what, const quern_session *session) {
  char text[1024] = "";
  if (s == QUERN_E_CANCELLED && qn_cli_interrupted()) {
    qn_cli_progress_clear();
    return qn_cli_interrupted();
  }
  if (session) {
    if (quern_session_error(session, text, sizeof text) != QUERN_OK) text[0] = 0;
  } else if (c->context) {
    if (quern_context_error(c->context, text, sizeof text) != QUERN_OK) text[0] = 0;
  }
  const char *message = text[0] ? text : quern_status_name(s);
  /* Most messages name the file themselves. */
  if (what && !strstr(message, what)) return qn_cli_fail(c, exit_code_of(s), "%s: %s", what, message);
  return qn_cli_fail(c, exit_code_of(s), "%s", message);
}

void qn_cli_note(qn_cli_state *c, const char *format, ...) {
  va_list args;
  if (c->common.quiet) return;
  qn_cli_progress_clear();
  va_start(args, format);
  put_message(format, args);
  va_end(args);
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

uint64_t qn_cli_clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int32_t qn_cli_progress(void *user, uint64_t done, uint64_t total, const char *what) {
  static uint64_t last_ns;
  static int terminal = -1;
  const qn_cli_state *c = user;
  uint64_t now = qn_cli_clock_ns();
  char bar[31];
  if (terminal < 0) terminal = on_terminal();
  if (!terminal || c->common.quiet || total == 0 || (now - last_ns < 100000000u && done < total)) {
    return qn_cli_interrupted();
  }
  last_ns = now;
  if (done > total) done = total;
  double share = (double)done / (double)total;
  for (int i = 0; i < 30; i++) bar[i] = i < (int)(share * 30) ? '#' : '.';
  bar[30] = 0;
  fprintf(stderr, "\r[%s] %3d %% %.40s\033[K", bar, (int)(share * 100), what ? what : "");
  fflush(stderr);
  bar_shown = 1;
  return qn_cli_interrupted();
}

void qn_cli_progress_clear(void) {
  if (bar_shown) fputs("\r\033[K", stderr);
  bar_shown = 0;
}
