/* test_load.c - every way into the library and what the caller may set on it: descriptor, memory, allocator, thread pool, a
 * limit of bytes that holds before memory is taken, progress that is complete and that cancels. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "faulty_alloc.h"
#include "quern.h"
#include "test.h"
#include "tiny_model.h"

#define WIDTH 32u
static char dir[256], path[300];
static quern_context *c;
static uint8_t *file; /* aligned to 64 */
static size_t bytes;
static float expected[WIDTH];

static int message_has(const char *word) {
  char message[512] = "";
  quern_context_error(c, message, sizeof message);
  if (strstr(message, word)) return 1;
  printf("  message: %s\n", message);
  return 0;
}

static int right(quern_model *m) {
  quern_session *s = NULL;
  float out[WIDTH] = {0};
  const int ok = quern_session_create(&s, m, NULL) == QUERN_OK &&
                 quern_embed(s, "the cat", 7, out, WIDTH, NULL) == QUERN_OK && !memcmp(out, expected, sizeof out);
  quern_session_free(s);
  return ok;
}

static void setup(void) {
  tiny_options o = tiny_defaults();
  quern_model *m = NULL;
  quern_session *s = NULL;
  CHECK(tiny_model_write(dir, &o));
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_quantize_file(c, dir, path, NULL, NULL), QUERN_OK);
  uint8_t *read = tiny_read(path, &bytes);
  CHECK(read && posix_memalign((void **)&file, 64, bytes) == 0);
  memcpy(file, read, bytes);
  free(read);
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  CHECK_EQ(quern_embed(s, "the cat", 7, expected, WIDTH, NULL), QUERN_OK);
  quern_session_free(s);
  quern_model_free(m);
}

/* ---- descriptor, memory ---- */

static void a_descriptor_stays_the_callers(void) {
  quern_model *m = NULL;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(lseek(fd, 100, SEEK_SET) == 100);
  CHECK_EQ(quern_model_open_fd(&m, c, fd, NULL), QUERN_OK); /* from offset 0, wherever the descriptor stands */
  CHECK(lseek(fd, 0, SEEK_CUR) == 100);
  close(fd);
  CHECK(right(m));
  CHECK(unlink(path) == 0); /* the map keeps the file */
  CHECK(right(m));
  quern_model_free(m);
  CHECK(tiny_file(dir, "m.qrn", file, bytes));
}

static void descriptors_that_are_no_files(void) {
  quern_model *m = NULL;
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  CHECK_EQ(quern_model_open_fd(&m, c, pipes[0], NULL), QUERN_E_IO);
  CHECK(message_has("not a regular file"));
  close(pipes[0]), close(pipes[1]);
  CHECK_EQ(quern_model_open_fd(&m, c, pipes[0], NULL), QUERN_E_IO); /* closed */
  const int folder = open(dir, O_RDONLY | O_CLOEXEC), writing = open(path, O_WRONLY | O_CLOEXEC);
  CHECK_EQ(quern_model_open_fd(&m, c, folder, NULL), QUERN_E_IO);
  CHECK(message_has("directory"));
  CHECK_EQ(quern_model_open_fd(&m, c, writing, NULL), QUERN_E_IO); /* cannot be read */
  close(folder), close(writing);
  const int empty = memfd_create("empty", MFD_CLOEXEC);
  CHECK_EQ(quern_model_open_fd(&m, c, empty, NULL), QUERN_E_FORMAT);
  close(empty);
  CHECK(m == NULL);
}

static void a_file_in_memory(void) {
  quern_model *m = NULL;
  const int fd = memfd_create("model", MFD_CLOEXEC); /* without a path */
  CHECK(write(fd, file, bytes) == (ssize_t)bytes);
  CHECK_EQ(quern_model_open_fd(&m, c, fd, NULL), QUERN_OK);
  close(fd);
  CHECK(right(m));
  quern_model_free(m);
  m = NULL;
  uint8_t *const own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(own, file, bytes);
  CHECK(mprotect(own, bytes, PROT_READ) == 0); /* a write would be a fault */
  CHECK_EQ(quern_model_open_memory(&m, c, own, bytes, NULL), QUERN_OK);
  CHECK(right(m));
  quern_model_free(m);
  CHECK(!memcmp(own, file, bytes));
  munmap(own, bytes);
}

/* ---- the byte limit ---- */

static quern_status open_limited(const quern_allocator *alloc, int way, uint64_t limit) {
  quern_context *x = NULL;
  quern_context_options co;
  quern_model_options o;
  quern_model *m = NULL;
  quern_context_options_init(&co, sizeof co);
  quern_model_options_init(&o, sizeof o);
  co.alloc = alloc, co.threads = 1;
  o.max_bytes = limit;
  if (quern_context_create(&x, &co) != QUERN_OK) return -1;
  quern_status status;
  if (way == 0) {
    status = quern_model_open(&m, x, path, &o);
  } else if (way == 1) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    status = quern_model_open_fd(&m, x, fd, &o);
    close(fd);
  } else {
    status = quern_model_open_memory(&m, x, file, bytes, &o);
  }
  quern_model_free(m);
  quern_context_free(x);
  return status;
}

/* A file of one byte more than the limit is refused in each way, before anything is allocated. */
static void the_limit_holds_before_memory_is_taken(void) {
  for (int way = 0; way < 3; way++) {
    faulty_alloc f = {0};
    const quern_allocator a = faulty_allocator(&f);
    CHECK_EQ(open_limited(&a, way, bytes), QUERN_OK);
    const long with = f.calls;
    f = (faulty_alloc){0};
    CHECK_EQ(open_limited(&a, way, bytes - 1), QUERN_E_LIMIT);
    CHECK_EQ(f.calls, 2); /* the context and its pool */
    CHECK(with > 2 && f.live == 0);
    CHECK_EQ(open_limited(&a, way, 1), QUERN_E_LIMIT);
    CHECK_EQ(open_limited(&a, way, 0), QUERN_OK);
  }
}

/* Every limit: quantized within it, or QUERN_E_LIMIT and nothing written. */
static void quantizing_keeps_its_limit(void) {
  char other[320];
  snprintf(other, sizeof other, "%s/limited.qrn", dir);
  uint32_t refused = 0, made = 0;
  for (uint64_t limit = 1; limit < 8 << 20; limit = limit * 3 / 2 + 1) {
    faulty_alloc f = {0};
    const quern_allocator a = faulty_allocator(&f);
    quern_context *x = NULL;
    quern_context_options co;
    quern_quantize_options o;
    quern_context_options_init(&co, sizeof co);
    quern_quantize_options_init(&o, sizeof o);
    co.alloc = &a, co.threads = 1, o.max_bytes = limit;
    CHECK_EQ(quern_context_create(&x, &co), QUERN_OK);
    const size_t before = f.live_bytes;
    const quern_status status = quern_quantize_file(x, dir, other, &o, NULL);
    CHECK(f.peak_bytes - before <= limit);
    CHECK(status == QUERN_OK || status == QUERN_E_LIMIT);
    CHECK((access(other, F_OK) == 0) == (status == QUERN_OK));
    refused += status != QUERN_OK, made += status == QUERN_OK;
    unlink(other);
    quern_context_free(x);
    CHECK_EQ(f.live, 0);
  }
  CHECK(refused > 3 && made > 1);
}

/* ---- progress ---- */

typedef struct watch {
  uint64_t calls, last, total, stop_at;
  int fell;
} watch;

static int32_t look(void *user, uint64_t done, uint64_t total, const char *what) {
  watch *w = user;
  w->fell |= done < w->last || done > total || !what || !what[0] || (w->calls && total != w->total);
  w->last = done, w->total = total;
  return ++w->calls == w->stop_at;
}

static quern_status open_watched(watch *w, int way) {
  quern_model_options o;
  quern_model *m = NULL;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY, o.progress = look, o.progress_user = w;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const quern_status status = way == 0   ? quern_model_open(&m, c, path, &o)
                              : way == 1 ? quern_model_open_fd(&m, c, fd, &o)
                                         : quern_model_open_memory(&m, c, file, bytes, &o);
  close(fd);
  CHECK((status == QUERN_OK) == (m != NULL));
  quern_model_free(m);
  return status;
}

static void loading_tells_and_can_be_cancelled(void) {
  for (int way = 0; way < 3; way++) {
    watch w = {0};
    CHECK_EQ(open_watched(&w, way), QUERN_OK);
    CHECK(w.calls >= 6 && !w.fell && w.last == bytes && w.total == bytes);
    for (uint64_t n = 1, all = w.calls; n <= all; n++) {
      w = (watch){.stop_at = n};
      CHECK_EQ(open_watched(&w, way), QUERN_E_CANCELLED);
      CHECK_EQ(w.calls, n);
      CHECK(message_has("cancelled"));
    }
  }
}

static void quantizing_tells_and_can_be_cancelled(void) {
  quern_quantize_options o;
  char other[320];
  watch w = {0};
  snprintf(other, sizeof other, "%s/watched.qrn", dir);
  quern_quantize_options_init(&o, sizeof o);
  o.progress = look, o.progress_user = &w;
  CHECK_EQ(quern_quantize_file(c, dir, other, &o, NULL), QUERN_OK);
  CHECK(w.calls >= 4 && !w.fell && w.last == w.total);
  unlink(other);
  const int files = tiny_dir_count(dir);
  for (uint64_t n = 1, all = w.calls; n <= all; n++) {
    w = (watch){.stop_at = n};
    CHECK_EQ(quern_quantize_file(c, dir, other, &o, NULL), QUERN_E_CANCELLED);
    CHECK(message_has("cancelled"));
    CHECK_EQ(tiny_dir_count(dir), files);
  }
}

/* ---- the host's allocator and threads ---- */

/* Every allocation, in each way of opening, fails in turn and leaves nothing. */
typedef struct way_to_open {
  int way;
} way_to_open;

static quern_status attempt_to_open(const quern_allocator *alloc, void *arg) {
  const int way = ((const way_to_open *)arg)->way;
  quern_context *x = NULL;
  quern_context_options co;
  quern_model *m = NULL;
  quern_session *s = NULL;
  float out[WIDTH];
  int32_t ids[16], types[16];
  size_t n;
  quern_context_options_init(&co, sizeof co);
  co.alloc = alloc, co.threads = 2;
  quern_status status = quern_context_create(&x, &co);
  if (status != QUERN_OK) return status;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  status = way == 0   ? quern_model_open(&m, x, path, NULL)
           : way == 1 ? quern_model_open_fd(&m, x, fd, NULL)
                      : quern_model_open_memory(&m, x, file, bytes, NULL);
  close(fd);
  if (!status) status = quern_tokenize_pair(m, "the", 3, "cat", 3, 0, ids, types, 16, &n);
  if (!status) status = quern_session_create(&s, m, NULL);
  if (!status) status = quern_embed(s, "the cat", 7, out, WIDTH, NULL);
  CHECK(status || !memcmp(out, expected, sizeof out));
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(x);
  return status;
}

static void every_allocation_fails(void) {
  for (int way = 0; way < 3; way++) {
    way_to_open w = {way};
    long n = 0;
    CHECK_EQ(faulty_each(attempt_to_open, &w, &n), 0);
    CHECK(n >= 5); /* context, pool, model, ids, session */
  }
}

/* A pool of the host's own threads, which take indices from both ends. */
typedef struct host_pool {
  int runs;
} host_pool;
typedef struct host_part {
  quern_task_fn *fn;
  void *task;
  uint32_t from, to;
} host_part;

static void *host_thread(void *arg) {
  const host_part *p = arg;
  for (uint32_t i = p->to; i-- > p->from;) p->fn(p->task, i);
  return NULL;
}
static void host_parallel(void *user, quern_task_fn *fn, void *task, uint32_t n) {
  host_pool *h = user;
  host_part low = {fn, task, 0, n / 2}, high = {fn, task, n / 2, n};
  pthread_t t;
  h->runs++;
  if (pthread_create(&t, NULL, host_thread, &low) != 0) {
    host_thread(&low), host_thread(&high);
    return;
  }
  host_thread(&high);
  pthread_join(t, NULL);
}

static void the_hosts_threads_are_used(void) {
  quern_context_options o;
  quern_context *x = NULL;
  quern_model *m = NULL;
  host_pool h = {0};
  quern_context_options_init(&o, sizeof o);
  o.parallel = host_parallel, o.parallel_user = &h, o.threads = 4;
  const int threads = tiny_dir_count("/proc/self/task");
  CHECK_EQ(quern_context_create(&x, &o), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, x, path, NULL), QUERN_OK);
  CHECK_EQ(tiny_dir_count("/proc/self/task"), threads); /* the library starts none */
  CHECK(right(m));
  CHECK(h.runs > 0);
  quern_model_free(m);
  quern_context_free(x);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  RUN(setup);
  if (file) {
    RUN(a_descriptor_stays_the_callers);
    RUN(descriptors_that_are_no_files);
    RUN(a_file_in_memory);
    RUN(the_limit_holds_before_memory_is_taken);
    RUN(quantizing_keeps_its_limit);
    RUN(loading_tells_and_can_be_cancelled);
    RUN(quantizing_tells_and_can_be_cancelled);
    RUN(every_allocation_fails);
    RUN(the_hosts_threads_are_used);
  }
  quern_context_free(c);
  free(file);
  tiny_dir_remove(dir);
  return TEST_END();
}
