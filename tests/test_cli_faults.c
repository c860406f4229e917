/* test_cli_faults.c - the command when memory and the system fail: each allocation and each call in turn, in every verb. It
 * ends with its code and a message, never by a signal, and leaves no part of an output file. The command's own main is
 * called in a forked child (the linker gives it another name: see the Makefile). */
#define _GNU_SOURCE
#include "wrapped.h"
#include <stdlib.h>
#include <sys/wait.h>
#include "quern.h"
#include "test.h"
#include "tiny_bpe.h"
#include "tiny_decoder.h"
#include "tiny_model.h"

WRAPPED_DECLARE(void *, malloc, size_t n);
WRAPPED_DECLARE(void *, calloc, size_t n, size_t size);
WRAPPED_DECLARE(void *, realloc, void *p, size_t n);
WRAPPED_DECLARE(void *, aligned_alloc, size_t align, size_t n);
WRAPPED_DECLARE(char *, strdup, const char *text);
WRAPPED_DECLARE(int, main, int argc, char **argv);

void *__wrap_malloc(size_t n) { return wrapped_fails(WRAPPED_MEMORY) ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return wrapped_fails(WRAPPED_MEMORY) ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return wrapped_fails(WRAPPED_MEMORY) ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t align, size_t n) {
  return wrapped_fails(WRAPPED_MEMORY) ? NULL : __real_aligned_alloc(align, n);
}
char *__wrap_strdup(const char *text) { return wrapped_fails(WRAPPED_MEMORY) ? NULL : __real_strdup(text); }

static char dir[256], out[300], said[300], heard[300];

/* MODEL, HEADED (a classifier), DECODER, SOURCE, LLAMA (of the decoder), TEXTS, PAIRS (of a STS file), RETRIEVAL, OUT stand for paths. */
static const char *const commands[] = {
    "inspect MODEL",
    "verify MODEL",
    "tokenize MODEL TEXTS",
    "embed MODEL TEXTS -o OUT --threads 1",
    "embed MODEL TEXTS --json --threads 2",
    "classify HEADED TEXTS --threads 1",
    "search MODEL TEXTS cat -k 2 --threads 1",
    "eval MODEL --task sts --data PAIRS --threads 1",
    "eval MODEL --task retrieval --data RETRIEVAL --threads 1",
    "quantize SOURCE -o OUT --quiet",
    "quantize LLAMA -o OUT --recipe duquant4 --calibrate TEXTS --threads 1 --quiet",
    "generate DECODER -p cat -n 3 --temperature 1 --threads 1",
    "generate DECODER --lines TEXTS -n 2 --json --threads 1",
};

static const char *path_of(const char *word, char *path, size_t cap) {
  static const char *const names[][2] = {{"MODEL", "m.qrn"},     {"HEADED", "h.qrn"},    {"SOURCE", "source"},
                                         {"TEXTS", "texts.txt"}, {"PAIRS", "pairs.tsv"}, {"OUT", "out"},
                                         {"RETRIEVAL", "data"},  {"LLAMA", "llama"},     {"DECODER", "d.qrn"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i][0], word) != 0) continue;
    snprintf(path, cap, "%s/%s", dir, names[i][1]);
    return path;
  }
  return word;
}

/* The exit code of a command in a child of its own; 128 and more: a signal. */
static int run(const char *command) {
  const pid_t child = fork();
  int status = 0;
  if (child == 0) {
    char words[256], paths[16][300], *argv[16] = {(char *)"quern"};
    int argc = 1;
    snprintf(words, sizeof words, "%s", command);
    for (char *w = strtok(words, " "); w && argc < 15; w = strtok(NULL, " "), argc++)
      argv[argc] = (char *)path_of(w, paths[argc], sizeof paths[argc]);
    const int error = __real_open(said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int result = __real_open(heard, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(result, 1), dup2(error, 2);
    alarm(60);                                                         /* a hang becomes a failure */
    for (int i = 0; i < WRAPPED_FUNCTIONS; i++) wrapped->calls[i] = 0; /* of the command alone */
    exit(__real_main(argc, argv));
  }
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int has_said(void) {
  struct stat st;
  return __real_stat(said, &st) == 0 && st.st_size > 0;
}

/* What was made before the summary about it could not be printed. */
static int whole_model(void) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  *wrapped = (wrapped_state){.fail_at = 0};
  const int whole = quern_context_create(&c, NULL) == QUERN_OK && quern_model_open(&m, c, out, &o) == QUERN_OK;
  quern_model_free(m);
  quern_context_free(c);
  return whole;
}

/* Call after call of f fails once; how many there were. */
static long each_call(const char *command, wrapped_function f, int error, int may_pass) {
  *wrapped = (wrapped_state){.fail_at = 0};
  unlink(out);
  const int good = run(command);
  const long total = wrapped->calls[f];
  if (good != 0) printf("  %s: code %d\n", command, good);
  CHECK_EQ(good, 0);
  for (long n = 1; n <= total; n++) {
    unlink(out);
    const int files = tiny_dir_count(dir);
    *wrapped = (wrapped_state){.failing = f, .fail_at = n, .error = error};
    const int code = run(command), more = tiny_dir_count(dir) - files;
    const int passed = code == 0 && may_pass;
    const int failed = (code == 1 || code == 3) && has_said() && (more == 0 || (f == WRAPPED_WRITE && whole_model()));
    if (passed || failed) continue;
    printf("  %s: %s %ld of %ld: code %d, %d files more, %s\n", command, wrapped_name[f], n, total, code, more,
           has_said() ? "told" : "nothing told");
    CHECK(0);
  }
  return total;
}

static void setup(void) {
  char path[320], source[300];
  tiny_options o = tiny_defaults();
  quern_context *c = NULL;
  o.width = 8, o.heads = 1, o.ffn = 8, o.layers = 1, o.positions = 16, o.max_seq = 12;
  snprintf(source, sizeof source, "%s/source", dir);
  CHECK(mkdir(source, 0700) == 0);
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  for (int labels = 3; labels >= 0; labels -= 3) { /* the embedder comes last, and stays the source */
    o.labels = (uint32_t)labels;
    snprintf(path, sizeof path, "%s/%s", dir, labels ? "h.qrn" : "m.qrn");
    CHECK(tiny_model_write(source, &o));
    CHECK_EQ(quern_quantize_file(c, source, path, NULL, NULL), QUERN_OK);
  }
  tiny_decoder d = tiny_decoder_of("llama");
  d.layers = 1;
  snprintf(source, sizeof source, "%s/llama", dir);
  snprintf(path, sizeof path, "%s/d.qrn", dir);
  CHECK(tiny_bpe_decoder(source, d));
  CHECK_EQ(quern_quantize_file(c, source, path, NULL, NULL), QUERN_OK);
  quern_context_free(c);
  CHECK(tiny_text(dir, "texts.txt", "the cat sat\nthe dog\na1 is in\n"));
  CHECK(tiny_text(dir, "pairs.tsv",
                  "score\tsentence1\tsentence2\n5\tthe cat\ta cat\n1\tthe dog\tis in\n3\tthe\tof and\n"));
  snprintf(path, sizeof path, "%s/data", dir);
  CHECK(mkdir(path, 0700) == 0);
  CHECK(tiny_text(path, "corpus.tsv", "id\ttext\n1\tthe cat\n2\tthe dog\n"));
  CHECK(tiny_text(path, "queries.tsv", "qid\ttext\nq\tcat\n"));
  CHECK(tiny_text(path, "qrels.tsv", "qid\tdocid\trel\nq\t1\t1\n"));
}

static void over_all_commands(wrapped_function f, int error, int may_pass) {
  long total = 0;
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) total += each_call(commands[i], f, error, may_pass);
  printf("  %s: %ld calls\n", wrapped_name[f], total);
}

static void every_allocation_fails(void) { over_all_commands(WRAPPED_MEMORY, ENOMEM, 0); }
static void writing_fails(void) {
  over_all_commands(WRAPPED_WRITE, ENOSPC, 1); /* a lost message is no failure of the work */
  over_all_commands(WRAPPED_PWRITE, ENOSPC, 0);
}
static void reading_fails(void) { over_all_commands(WRAPPED_READ, EIO, 1); /* a cgroup file is no loss */ }
static void opening_fails(void) { over_all_commands(WRAPPED_OPEN, EMFILE, 1); }
static void finishing_fails(void) {
  over_all_commands(WRAPPED_FSYNC, EIO, 1);
  over_all_commands(WRAPPED_RENAME, EACCES, 0);
}
static void parts_go_on(void) {
  for (int i = 0; i < 4; i++) each_call(commands[i], WRAPPED_WRITE, 0, 1), each_call(commands[i], WRAPPED_READ, 0, 1);
}

int __wrap_main(int argc, char **argv) {
  (void)argc, (void)argv;
  void *shared = __real_mmap(NULL, sizeof *wrapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || !tiny_dir_make(dir, sizeof dir)) return 1;
  wrapped = shared; /* a child's counts are seen here */
  snprintf(out, sizeof out, "%s/out", dir);
  snprintf(said, sizeof said, "%s.said", dir);
  snprintf(heard, sizeof heard, "%s.heard", dir);
  RUN(setup);
  RUN(every_allocation_fails);
  RUN(writing_fails);
  RUN(reading_fails);
  RUN(opening_fails);
  RUN(finishing_fails);
  RUN(parts_go_on);
  unlink(said), unlink(heard);
  tiny_dir_remove(dir);
  return TEST_END();
}
