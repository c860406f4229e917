/* test_faults.c - the system refuses: open, stat, map, write, sync, rename and start a thread fail in turn, each call once,
 * through the life of a context from quantizing to an embedding. A status and a message; nothing kept; the old file or none,
 * never a part of one; and the same call succeeds when the system does again. */
#define _GNU_SOURCE
#include "wrapped.h"
#include "faulty_alloc.h"
#include "test.h"
#include "tiny_model.h"

#define WIDTH 8
static char dir[256], made[320], report[320];
static uint8_t *whole;
static size_t whole_bytes;

typedef struct outcome {
  quern_status status;
  char message[512];
  float out[WIDTH];
} outcome;

static void keep_log(void *user, int32_t level, const char *message) {
  if (level == 0) snprintf(user, 512, "%s", message);
}

/* Context, quantize with a report, open by path and by descriptor, sessions, work. */
static void live(outcome *o, faulty_alloc *heap) {
  const quern_allocator alloc = faulty_allocator(heap);
  quern_context_options co;
  quern_quantize_options qo;
  quern_context *c = NULL;
  quern_model *m = NULL, *by_fd = NULL;
  quern_session *s = NULL;
  *o = (outcome){.status = QUERN_OK};
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&qo, sizeof qo);
  co.alloc = &alloc, co.threads = 4;
  co.log = keep_log, co.log_user = o->message;
  qo.report_path = report;
  if ((o->status = quern_context_create(&c, &co)) != QUERN_OK) return;
  o->message[0] = 0;
  if (!o->status) o->status = quern_quantize_file(c, dir, made, &qo, NULL);
  if (!o->status) o->status = quern_model_open(&m, c, made, NULL);
  if (!o->status) {
    const int fd = __real_open(made, O_RDONLY | O_CLOEXEC);
    o->status = quern_model_open_fd(&by_fd, c, fd, NULL);
    __real_close(fd);
  }
  if (!o->status) o->status = quern_session_create(&s, m, NULL);
  if (!o->status) o->status = quern_embed(s, "the cat", 7, o->out, WIDTH, NULL);
  if (o->status) quern_context_error(c, o->message, sizeof o->message);
  quern_session_free(s);
  quern_model_free(by_fd);
  quern_model_free(m);
  quern_context_free(c);
}

static int descriptors(void) { return tiny_dir_count("/proc/self/fd"); }

/* The file is as it was at first, or not there. */
static int whole_or_none(void) {
  size_t n = 0;
  if (access(made, F_OK) != 0) return 1;
  uint8_t *now = tiny_read(made, &n);
  const int same = now && n == whole_bytes && !memcmp(now, whole, n);
  free(now);
  return same;
}

static void setup(void) {
  tiny_options o = tiny_defaults();
  outcome x;
  faulty_alloc heap = {0};
  o.width = WIDTH, o.heads = 2, o.ffn = 8, o.layers = 1, o.positions = 16, o.max_seq = 0;
  CHECK(tiny_model_write(dir, &o));
  live(&x, &heap);
  CHECK_EQ(x.status, QUERN_OK);
  whole = tiny_read(made, &whole_bytes);
  CHECK(whole != NULL);
}

/* Each call of f fails once with `error`. expected: the status; QUERN_OK: the caller must not notice. With `either`, some of
   the calls are no loss (a cgroup file, the sync of a directory) and give QUERN_OK. */
static void each_call(wrapped_function f, int error, quern_status expected, int either, const char *words,
                      int old_file) {
  outcome clean, x;
  faulty_alloc heap = {0};
  *wrapped = (wrapped_state){.fail_at = 0};
  live(&clean, &heap);
  CHECK_EQ(clean.status, QUERN_OK);
  const long total = wrapped->calls[f];
  long refused = 0;
  CHECK(total > 0);
  for (long n = 1; n <= total; n++) {
    const int fds = descriptors();
    if (!old_file) unlink(made);
    const int files = tiny_dir_count(dir);
    faulty_alloc h = {0};
    *wrapped = (wrapped_state){.failing = f, .fail_at = n, .error = error};
    live(&x, &h);
    const long maps = wrapped->maps;
    *wrapped = (wrapped_state){.fail_at = 0};
    refused += x.status == expected && expected != QUERN_OK;
    const int status_good = x.status == expected || (either && x.status == QUERN_OK);
    const int told = x.status == QUERN_OK || strstr(x.message, words) != NULL;
    const int left = tiny_dir_count(dir) - files,
              clean_up = x.status == QUERN_OK ? left <= 1 : left == (access(made, F_OK) == 0 && !old_file);
    if (!status_good || !told || h.live || h.wrong_sizes || maps || descriptors() != fds || !whole_or_none() ||
        !clean_up || (x.status == QUERN_OK && memcmp(x.out, clean.out, sizeof x.out))) {
      printf("  %s %ld of %ld: status %d, %ld blocks, %ld maps, %d descriptors kept, %d files more, message: %s\n",
             wrapped_name[f], n, total, (int)x.status, (long)h.live, maps, descriptors() - fds, left, x.message);
      CHECK(0);
    }
    faulty_alloc again = {0};
    live(&x, &again);
    CHECK(x.status == QUERN_OK && whole_or_none() && !memcmp(x.out, clean.out, sizeof x.out));
  }
  CHECK(expected == QUERN_OK || refused > 0);
  printf("  %s: %ld calls, %ld refused\n", wrapped_name[f], total, refused);
}

static void opening_fails(void) {
  each_call(WRAPPED_OPEN, EMFILE, QUERN_E_IO, 1, "too many open files", 1);
  each_call(WRAPPED_OPEN, EACCES, QUERN_E_IO, 1, "permission denied", 0);
}
static void interrupted_calls_go_on(void) {
  each_call(WRAPPED_OPEN, EINTR, QUERN_OK, 0, "", 1);
  each_call(WRAPPED_PWRITE, EINTR, QUERN_OK, 0, "", 1);
  each_call(WRAPPED_FSYNC, EINTR, QUERN_OK, 0, "", 1);
  each_call(WRAPPED_CLOSE, EINTR, QUERN_OK, 0, "", 1);
}
static void asking_for_sizes_fails(void) { each_call(WRAPPED_FSTAT, EIO, QUERN_E_IO, 0, "", 1); }
/* A file whose stat fails is not taken for one that is not there: a model without its tokenizer would be the result. */
static void asking_what_is_there_fails(void) { each_call(WRAPPED_STAT, EIO, QUERN_E_IO, 1, "", 1); }
static void mapping_fails(void) { each_call(WRAPPED_MMAP, ENOMEM, QUERN_E_IO, 0, "map: cannot allocate memory", 0); }
static void writing_fails(void) {
  each_call(WRAPPED_PWRITE, ENOSPC, QUERN_E_IO, 0, "no space left", 1);
  each_call(WRAPPED_PWRITE, EIO, QUERN_E_IO, 0, "write", 0);
}
static void writing_in_parts_goes_on(void) { each_call(WRAPPED_PWRITE, 0, QUERN_OK, 0, "", 1); }
static void syncing_fails(void) { each_call(WRAPPED_FSYNC, EIO, QUERN_E_IO, 1, "write", 1); }
static void closing_fails(void) { each_call(WRAPPED_CLOSE, EDQUOT, QUERN_E_IO, 1, "quota", 1); }
static void renaming_fails(void) {
  each_call(WRAPPED_RENAME, EACCES, QUERN_E_IO, 0, "permission denied", 1);
  each_call(WRAPPED_RENAME, EROFS, QUERN_E_IO, 0, "read-only", 0);
}
static void making_a_directory_fails(void) { each_call(WRAPPED_MKDIR, EACCES, QUERN_E_IO, 0, "permission denied", 0); }
static void starting_threads_fails(void) { each_call(WRAPPED_THREAD, EAGAIN, QUERN_E_SYSTEM, 0, "fewer threads", 1); }

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(made, sizeof made, "%s/m.qrn", dir);
  snprintf(report, sizeof report, "%s/report", dir);
  RUN(setup);
  if (whole) {
    RUN(opening_fails);
    RUN(interrupted_calls_go_on);
    RUN(asking_for_sizes_fails);
    RUN(asking_what_is_there_fails);
    RUN(mapping_fails);
    RUN(writing_fails);
    RUN(writing_in_parts_goes_on);
    RUN(syncing_fails);
    RUN(closing_fails);
    RUN(renaming_fails);
    RUN(making_a_directory_fails);
    RUN(starting_threads_fails);
  }
  free(whole);
  tiny_dir_remove(dir);
  return TEST_END();
}
