/* test_no_alloc.c - after a session exists nothing is allocated, mapped or started: malloc and its kin, mmap and pthread_create
 * are interposed and counted over calls of every kind. glibc; under a sanitizer, which owns these functions, only the
 * context's allocator is counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "quern.h"
#include "test.h"
#include "tiny_model.h"

static atomic_int calls; /* of interposed functions */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INTERPOSE 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n) { return atomic_fetch_add(&calls, 1), __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return atomic_fetch_add(&calls, 1), __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return atomic_fetch_add(&calls, 1), __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return atomic_fetch_add(&calls, 1), __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n) {
  atomic_fetch_add(&calls, 1);
  *p = __libc_memalign(align, n);
  return *p ? 0 : 12;
}
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
  atomic_fetch_add(&calls, 1);
  return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset); // NOLINT
}
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg) {
  int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  atomic_fetch_add(&calls, 1);
  return real(t, a, fn, arg);
}
#else
#define INTERPOSE 0
#endif

static int host_allocations;
static void *host_alloc(void *user, size_t size, size_t align) {
  (void)user;
  host_allocations++;
  return aligned_alloc(align, (size + align - 1) / align * align);
}
static void host_free(void *user, void *p, size_t size) {
  (void)user, (void)size;
  free(p);
}

static char dir[256], path[300], texts[300];

static void check_quiet(const char *recipe, uint32_t labels, int span, uint32_t threads) {
  tiny_options o = tiny_defaults();
  o.labels = labels;
  o.span = span;
  quern_allocator alloc = {.size = sizeof alloc, .alloc = host_alloc, .free = host_free};
  quern_context_options co;
  quern_quantize_options qo;
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&qo, sizeof qo);
  co.alloc = &alloc;
  co.threads = threads;
  qo.recipe = recipe;
  qo.calibration_path = texts;
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "the cat\tsat\na dog\tis on the mat\n"));
  CHECK_EQ(quern_context_create(&c, &co), QUERN_OK);
  CHECK_EQ(quern_quantize_file(c, dir, path, &qo, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  if (!s) return;

  static const char text[] = "the catthe dog sat on the matthe cat";
  static const int64_t offsets[] = {0, 7, 29, 36};
  static const int32_t ids[] = {2, 80, 81, 3};
  const uint32_t len = 4;
  float out[3 * 32];
  quern_tensor_view view;
  quern_span answers[1];
  quern_answer_options ao;
  quern_answer_options_init(&ao, sizeof ao);
  const int before = calls, host_before = host_allocations;
  for (int i = 0; i < 3; i++) {
    if (span)
      CHECK_EQ(quern_answer_batch(s, text, offsets, 2, &ao, answers, out), QUERN_OK);
    else if (labels)
      CHECK_EQ(quern_classify_batch(s, text, offsets, 3, 0, out, NULL, 96), QUERN_OK);
    else
      CHECK_EQ(quern_embed_batch(s, text, offsets, 3, out, 96, NULL), QUERN_OK);
    CHECK_EQ(quern_encode(s, ids, NULL, &len, 1, &view), QUERN_OK);
    CHECK_EQ(quern_encode(s, ids, NULL, &len, 1000000, &view), QUERN_E_CAPACITY); /* errors allocate nothing either */
  }
  const int during = calls - before, host_during = host_allocations - host_before;
  CHECK_EQ(during, 0);
  CHECK_EQ(host_during, 0);
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
}

static void test_embed(void) {
  check_quiet("int8", 0, 0, 1), check_quiet("int4", 0, 0, 1), check_quiet("float", 0, 0, 1);
  check_quiet("mixed", 0, 0, 1);
}
static void test_embed_threads(void) { check_quiet("int8", 0, 0, 3); }
static void test_classify(void) {
  check_quiet("int8", 3, 0, 2), check_quiet("float", 1, 0, 1), check_quiet("mixed-gelu", 2, 0, 3);
}
static void test_answer(void) {
  check_quiet("int8", 0, 1, 2), check_quiet("float", 0, 1, 1), check_quiet("w8a8-static", 0, 1, 2);
}

/* The counters themselves count. */
static void test_counts(void) {
  const int before = calls, host_before = host_allocations;
  void *p = host_alloc(NULL, 64, 64);
  CHECK(p != NULL);
  free(p);
  CHECK_EQ(host_allocations - host_before, 1);
  CHECK_EQ(calls - before, INTERPOSE);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  RUN(test_counts);
  RUN(test_embed);
  RUN(test_embed_threads);
  RUN(test_classify);
  RUN(test_answer);
  tiny_dir_remove(dir);
  return TEST_END();
}
