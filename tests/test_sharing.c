/* test_sharing.c - one process, many users of a model: sessions of several contexts on several threads, cancelled from
 * outside, models given back while others still run, forks after loading. The same bytes everywhere, never a hang. Worth
 * most under a thread sanitizer (make check-san). */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quern.h"
#include "test.h"
#include "tiny_model.h"

#define WIDTH 32u
#define TEXTS 9
static char dir[256], path[300];
static const char text[] = "the cat sat on the matdogis a1 of ands.??the dog and the cat to the mat of the dog a in";
static const int64_t offsets[TEXTS + 1] = {0, 22, 25, 33, 33, 38, 41, 56, 60, 87};
static float expected[TEXTS * WIDTH];

static quern_context *context_of(const char *isa, uint32_t threads) {
  quern_context *c = NULL;
  quern_context_options o;
  quern_context_options_init(&o, sizeof o);
  o.isa = isa, o.threads = threads;
  CHECK_EQ(quern_context_create(&c, &o), QUERN_OK);
  return c;
}

static quern_session *session_of(quern_model *m, uint32_t max_tokens) {
  quern_session *s = NULL;
  quern_session_options o;
  quern_session_options_init(&o, sizeof o);
  o.max_tokens = max_tokens;
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_OK);
  return s;
}

/* All texts are as expected. */
static int right(quern_session *s) {
  float got[TEXTS * WIDTH];
  return quern_embed_batch(s, text, offsets, TEXTS, got, TEXTS * WIDTH, NULL) == QUERN_OK &&
         !memcmp(got, expected, sizeof got);
}

static void setup(void) {
  tiny_options o = tiny_defaults();
  quern_context *c = context_of("ref", 1);
  quern_model *m = NULL;
  CHECK(tiny_model_write(dir, &o));
  CHECK_EQ(quern_quantize_file(c, dir, path, NULL, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  quern_session *s = session_of(m, 0);
  CHECK_EQ(quern_embed_batch(s, text, offsets, TEXTS, expected, TEXTS * WIDTH, NULL), QUERN_OK);
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
}

/* ---- threads ---- */

typedef struct user {
  quern_model *m; /* a reference that is the thread's own */
  uint32_t max_tokens;
  int rounds, wrong;
} user;

static void *use(void *arg) {
  user *u = arg;
  for (int i = 0; i < u->rounds; i++) {
    quern_session *s = NULL;
    quern_session_options o;
    int32_t ids[64];
    size_t n = 0;
    char message[64];
    quern_session_options_init(&o, sizeof o);
    o.max_tokens = u->max_tokens;
    if (quern_session_create(&s, u->m, &o) != QUERN_OK) return u->wrong++, NULL;
    u->wrong += !right(s);
    u->wrong += quern_embed(s, "the", 3, NULL, 1, NULL) != QUERN_E_ARGUMENT; /* messages cross, too */
    u->wrong += quern_tokenize(u->m, "the cat", 7, 0, ids, 1, &n) != QUERN_E_CAPACITY || n != 4;
    quern_session_error(s, message, sizeof message);
    quern_session_free(s);
  }
  quern_model_free(u->m);
  return NULL;
}

/* Kernel sets and thread counts side by side, two threads on each model, sessions of different sizes; the handles that
   opened the models are given back while the threads run. */
static void contexts_side_by_side(void) {
  enum { CONTEXTS = 6, USERS = 2 * CONTEXTS };
  quern_context *c[CONTEXTS];
  user u[USERS];
  pthread_t thread[USERS];
  const char *best = NULL;
  for (uint32_t i = 0; quern_isa_name(i); i++) best = quern_isa_name(i);
  for (int i = 0; i < CONTEXTS; i++) {
    quern_model *m = NULL;
    c[i] = context_of(i % 2                             ? best
                      : quern_isa_name((uint32_t)i / 2) ? quern_isa_name((uint32_t)i / 2)
                                                        : "ref",
                      1 + (uint32_t)i % 4);
    CHECK_EQ(quern_model_open(&m, c[i], path, NULL), QUERN_OK);
    if (!m) return;
    for (int k = 0; k < 2; k++) {
      u[2 * i + k] = (user){.m = m, .max_tokens = k ? 64 : 0, .rounds = 6};
      CHECK_EQ(quern_model_retain(m), QUERN_OK);
      CHECK(pthread_create(&thread[2 * i + k], NULL, use, &u[2 * i + k]) == 0);
    }
    quern_model_free(m);
  }
  for (int i = 0; i < USERS; i++) {
    pthread_join(thread[i], NULL);
    CHECK_EQ(u[i].wrong, 0);
  }
  for (int i = 0; i < CONTEXTS; i++) quern_context_free(c[i]);
}

/* A session keeps its model: the only handle may go first, in the middle of a call on another thread. */
typedef struct runner {
  quern_session *s;
  atomic_int started, stop;
  int right, cancelled, other;
} runner;

static void *run(void *arg) {
  runner *r = arg;
  float out[TEXTS * WIDTH];
  while (!atomic_load(&r->stop)) {
    const quern_status status = quern_embed_batch(r->s, text, offsets, TEXTS, out, TEXTS * WIDTH, NULL);
    r->cancelled += status == QUERN_E_CANCELLED;
    r->right += status == QUERN_OK && !memcmp(out, expected, sizeof out);
    r->other += status != QUERN_OK && status != QUERN_E_CANCELLED;
    atomic_fetch_add(&r->started, 1);
  }
  return NULL;
}

static void wait_for(runner *r, int calls) {
  const int until = atomic_load(&r->started) + calls;
  while (atomic_load(&r->started) < until) usleep(1000);
}

static void a_model_goes_before_its_session(void) {
  quern_context *c = context_of(NULL, 2);
  quern_model *m = NULL;
  pthread_t thread;
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  runner r = {.s = session_of(m, 0)};
  CHECK(pthread_create(&thread, NULL, run, &r) == 0);
  wait_for(&r, 1);
  quern_model_free(m);
  wait_for(&r, 3);
  atomic_store(&r.stop, 1);
  pthread_join(thread, NULL);
  CHECK(r.right > 2 && r.other == 0 && r.cancelled == 0);
  quern_session_free(r.s);
  quern_context_free(c);
}

static void cancelled_from_outside(void) {
  quern_context *c = context_of(NULL, 3);
  quern_model *m = NULL;
  pthread_t thread[2];
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  runner r[2] = {{.s = session_of(m, 0)}, {.s = session_of(m, 64)}}; /* only the first is cancelled */
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&thread[i], NULL, run, &r[i]) == 0);
  for (int i = 0; i < 50; i++) {
    CHECK_EQ(quern_session_cancel(r[0].s), QUERN_OK);
    usleep(500);
  }
  wait_for(&r[0], 3);
  wait_for(&r[1], 3);
  for (int i = 0; i < 2; i++) atomic_store(&r[i].stop, 1);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  CHECK(r[0].cancelled > 0 && r[0].right > 0 && r[0].other == 0);
  CHECK(r[1].cancelled == 0 && r[1].right > 0 && r[1].other == 0);
  for (int i = 0; i < 2; i++) quern_session_free(r[i].s);
  quern_model_free(m);
  quern_context_free(c);
}

/* ---- forks ---- */

/* What a child may do with what it inherited: sessions, models and contexts of the parent work, on the calling thread, with
   the same bytes, and can be given back. Threads of its own are left to a thread sanitizer's taste, which has none. */
static int child_is_right(quern_context *c, quern_model *m, quern_session *s) {
  float out[WIDTH];
  alarm(60); /* a hang becomes a failure */
  if (!right(s)) return 1;
  if (quern_embed(s, "the", 3, out, 1, NULL) != QUERN_E_CAPACITY) return 2;
  quern_session *own = NULL;
  if (quern_session_create(&own, m, NULL) != QUERN_OK || !right(own)) return 3;
  quern_session_free(own);
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
#if !defined(__SANITIZE_THREAD__)
  c = NULL, m = NULL;
  quern_context_options o;
  quern_context_options_init(&o, sizeof o);
  o.threads = 3;
  if (quern_context_create(&c, &o) != QUERN_OK || quern_model_open(&m, c, path, NULL) != QUERN_OK) return 4;
  if (quern_session_create(&own, m, NULL) != QUERN_OK || !right(own)) return 5;
  quern_session_free(own);
  quern_model_free(m);
  quern_context_free(c);
#endif
  return 0;
}

static int forks_well(quern_context *c, quern_model *m, quern_session *s) {
  int status = -1;
  const pid_t child = fork();
  if (child == 0) _exit(child_is_right(c, m, s));
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void a_fork_after_loading(void) {
  quern_context *c = context_of(NULL, 4);
  quern_model *m = NULL;
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  quern_session *s = session_of(m, 0);
  CHECK(forks_well(c, m, s)); /* before the pool has ever run */
  CHECK(right(s));
  for (int i = 0; i < 4; i++) {
    CHECK(forks_well(c, m, s));
    CHECK(right(s)); /* the parent goes on, with its threads */
  }
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
}

/* The pool is busy with another session's call, and its locks may be held, when the process forks. */
static void a_fork_during_work(void) {
  quern_context *c = context_of(NULL, 3);
  quern_model *m = NULL;
  pthread_t thread;
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
  quern_session *s = session_of(m, 64);
  runner r = {.s = session_of(m, 0)};
  CHECK(pthread_create(&thread, NULL, run, &r) == 0);
  for (int i = 0; i < 12; i++) {
    wait_for(&r, 1);
    CHECK(forks_well(c, m, s));
  }
  atomic_store(&r.stop, 1);
  pthread_join(thread, NULL);
  CHECK(r.right > 0 && r.other == 0);
  CHECK(right(s));
  quern_session_free(r.s);
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  RUN(setup);
  RUN(contexts_side_by_side);
  RUN(a_model_goes_before_its_session);
  RUN(cancelled_from_outside);
  if (getenv("EMULATED")) { /* qemu 7.2 fails an assertion of its own when a forked process starts a thread */
    puts("skip: forks");
  } else {
    RUN(a_fork_after_loading);
    RUN(a_fork_during_work);
  }
  tiny_dir_remove(dir);
  return TEST_END();
}
