/* test_cli_terminal.c - the command before a terminal: control characters of texts, names and messages are shown, not
 * obeyed; a pipe gets every byte as it is. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/wait.h>
#include "test.h"
#include "tiny_model.h"

static char dir[256], out[1 << 16];
static const char *build;

/* Runs `quern ARGS` (a shell's words; $D: the temporary directory) with both streams on a new terminal, or into a pipe;
   what comes is in `out`. Returns the exit code, -1: no terminal to be had. */
static int quern(const char *args, int terminal) {
  char command[1024];
  int fd[2] = {-1, -1}, status = 0;
  snprintf(command, sizeof command, "D=%s; exec %s/quern %s", dir, build, args);
  if (terminal) {
    fd[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd[0] < 0 || grantpt(fd[0]) || unlockpt(fd[0])) return -1;
    fd[1] = open(ptsname(fd[0]), O_RDWR | O_NOCTTY);
  } else if (pipe(fd)) {
    return -1;
  }
  if (fd[1] < 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    setenv("TERM", "dumb", 1); /* neither bar nor colours */
    dup2(fd[1], 1);
    dup2(fd[1], 2);
    close(fd[0]);
    close(fd[1]);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  close(fd[1]);
  size_t n = 0;
  for (ssize_t got; n < sizeof out - 1 && (got = read(fd[0], out + n, sizeof out - 1 - n)) > 0;) n += (size_t)got;
  out[n] = 0;
  close(fd[0]);
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int has(const char *text) {
  if (strstr(out, text)) return 1;
  printf("  not in the output: %s\n  output: %.600s\n", text, out);
  return 0;
}

/* ESC, BEL, C1's CSI, a malformed byte, DEL, a carriage return; a tab, two bytes of é and a backslash stay. */
#define RAW "a\033[2Jb\007c\302\233d\377e\177f\rg\th\303\251i\\j"
#define SHOWN "a\\x1b[2Jb\\x07c\\xc2\\x9bd\\xffe\\x7ff\\x0dg\th\303\251i\\j"

static void test_search(void) {
  CHECK_EQ(quern("search $D/m.qrn $D/lines x", 0), 0);
  CHECK(has("\t1\t" RAW "\n"));
  CHECK_EQ(quern("search $D/m.qrn $D/lines x", 1), 0);
  CHECK(has("\t1\t" SHOWN "\r\n")); /* the terminal makes \r\n of the newline */
  CHECK(!strchr(out, '\033') && !strchr(out, '\007'));
  CHECK_EQ(quern("search $D/m.qrn $D/lines x --json", 0), 0);
  CHECK(has("a\\u001b[2Jb\\u0007c\\u009bd\\ufffde\\u007ff\\u000dg\\u0009h\303\251i\\\\j"));
}

static void test_messages(void) {
  CHECK_EQ(quern("inspect \"$(printf 'no\\033[31msuch')\"", 1), 1);
  CHECK(has("no\\x1b[31msuch: no such file or directory\r\n"));
  CHECK_EQ(quern("inspect \"$(printf 'no\\033[31msuch')\"", 0), 1);
  CHECK(has("no\033[31msuch: no such file or directory\n"));
}

static void test_a_file_that_lies(void) {
  CHECK_EQ(quern("inspect $D/m.qrn", 1), 0);
  CHECK(has("general.source"));
  CHECK(has("from\\x1b[2Jhere\r\n"));
}

static void setup(void) {
  char source[400];
  CHECK(tiny_dir_make(dir, sizeof dir));
  tiny_options o = tiny_defaults();
  snprintf(source, sizeof source, "%s/from\033[2Jhere", dir);
  CHECK(mkdir(source, 0700) == 0 && tiny_model_write(source, &o));
  CHECK(tiny_text(dir, "lines", RAW "\n"));
  CHECK_EQ(quern("quantize $D/from* -o $D/m.qrn", 0), 0);
}

int main(void) {
  build = getenv("BUILD") ? getenv("BUILD") : "build";
  RUN(setup);
  if (quern("--version", 1) < 0) {
    printf("skip: no terminal to be had\n");
  } else {
    RUN(test_search);
    RUN(test_messages);
    RUN(test_a_file_that_lies);
  }
  tiny_dir_remove(dir);
  return TEST_END();
}
