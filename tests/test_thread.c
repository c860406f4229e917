/* test_thread.c - the pool: every task once, whatever the pool's width, nesting, concurrency, forks; failing to start;
 * the FP guard; CPU quotas from cgroup files. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif
#include "base/thread.h"
#include "faulty_alloc.h"
#include "test.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

static qn_env env;

#define TASKS 1000
typedef struct count_job {
  atomic_uint hits[TASKS];
  qn_pool *pool;
  int nested;
} count_job;

static void count_task(void *task, uint32_t i) {
  count_job *j = task;
  atomic_fetch_add_explicit(&j->hits[i], 1, memory_order_relaxed);
  if (j->nested) {
    count_job *inner = calloc(1, sizeof *inner);
    qn_pool_run(j->pool, count_task, inner, 7);
    for (int k = 0; k < 7; k++)
      if (inner->hits[k] != 1) j->hits[i] = 99;
    free(inner);
  }
}

static int all_once(const count_job *j, uint32_t n) {
  for (uint32_t i = 0; i < TASKS; i++)
    if (j->hits[i] != (i < n)) return 0;
  return 1;
}

static void every_task_once(void) {
  static const uint32_t widths[] = {1, 2, 3, 8, 33};
  static const uint32_t counts[] = {0, 1, 2, 3, 7, TASKS};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
    qn_pool *p = NULL;
    CHECK_EQ(qn_pool_create(&p, &env, widths[w], NULL, NULL), QUERN_OK);
    if (!p) return;
    CHECK_EQ(qn_pool_threads(p), widths[w]);
    for (int inside = 0; inside < 2; inside++) {
      if (inside) qn_pool_enter(p);
      for (int round = 0; round < 50; round++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
          count_job *j = calloc(1, sizeof *j);
          qn_pool_run(p, count_task, j, counts[c]);
          CHECK(all_once(j, counts[c]));
          free(j);
        }
      if (inside) qn_pool_leave(p);
    }
    qn_pool_free(p);
  }
  qn_pool_free(NULL);
}

/* Results of tasks are plain memory: the run orders them before its return (a thread sanitizer checks it). */
static void plain_task(void *task, uint32_t i) { ((uint32_t *)task)[i] += i; }

static void results_are_visible(void) {
  qn_pool *p;
  CHECK_EQ(qn_pool_create(&p, &env, 4, NULL, NULL), QUERN_OK);
  uint32_t sums[64] = {0};
  qn_pool_enter(p);
  for (int round = 0; round < 2000; round++) qn_pool_run(p, plain_task, sums, 64);
  qn_pool_leave(p);
  for (uint32_t i = 0; i < 64; i++) CHECK_EQ(sums[i], 2000 * i);
  qn_pool_free(p);
}

static void nested_runs_go_serial(void) {
  qn_pool *p;
  CHECK_EQ(qn_pool_create(&p, &env, 4, NULL, NULL), QUERN_OK);
  count_job *j = calloc(1, sizeof *j);
  j->pool = p;
  j->nested = 1;
  qn_pool_run(p, count_task, j, 100);
  CHECK(all_once(j, 100));
  free(j);
  qn_pool_free(p);
}

static void *concurrent_caller(void *arg) {
  qn_pool *p = arg;
  intptr_t good = 1;
  qn_pool_enter(p);
  for (int round = 0; round < 300; round++) {
    count_job *j = calloc(1, sizeof *j);
    qn_pool_run(p, count_task, j, 40);
    good &= all_once(j, 40);
    free(j);
  }
  qn_pool_leave(p);
  return (void *)good;
}

static void concurrent_runs(void) {
  qn_pool *p;
  pthread_t t[4];
  void *good;
  CHECK_EQ(qn_pool_create(&p, &env, 3, NULL, NULL), QUERN_OK);
  for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&t[i], NULL, concurrent_caller, p), 0);
  for (int i = 0; i < 4; i++) {
    pthread_join(t[i], &good);
    CHECK(good != NULL);
  }
  qn_pool_free(p);
}

static void forked_child_goes_serial(void) {
  qn_pool *p;
  CHECK_EQ(qn_pool_create(&p, &env, 4, NULL, NULL), QUERN_OK);
  uint32_t sums[16] = {0};
  qn_pool_run(p, plain_task, sums, 16);
  pid_t child = fork();
  if (child == 0) {
    alarm(20); /* a hang becomes a failure */
    qn_pool_enter(p);
    qn_pool_run(p, plain_task, sums, 16);
    qn_pool_leave(p);
    qn_pool_free(p);
    _exit(sums[15] == 30 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  qn_pool_run(p, plain_task, sums, 16);
  CHECK_EQ(sums[15], 30);
  qn_pool_free(p);
}

typedef struct host {
  uint32_t calls, tasks;
} host;

static void host_parallel(void *user, quern_task_fn *fn, void *task, uint32_t n) {
  host *h = user;
  h->calls++;
  h->tasks += n;
  for (uint32_t i = n; i--;) fn(task, i);
}

static void host_pool_is_used(void) {
  qn_pool *p;
  host h = {0, 0};
  CHECK_EQ(qn_pool_create(&p, &env, 4, host_parallel, &h), QUERN_OK);
  count_job *j = calloc(1, sizeof *j);
  j->pool = p;
  j->nested = 1;
  qn_pool_run(p, count_task, j, 10);
  CHECK(all_once(j, 10));
  CHECK_EQ(h.calls, 1); /* nested runs are the task's own business */
  CHECK_EQ(h.tasks, 10);
  free(j);
  qn_pool_free(p);
}

static void bad_widths_are_refused(void) {
  qn_pool *p = (qn_pool *)&env;
  CHECK_EQ(qn_pool_create(&p, &env, 0, NULL, NULL), QUERN_E_ARGUMENT);
  CHECK(p == NULL);
  CHECK_EQ(qn_pool_create(&p, &env, 1025, NULL, NULL), QUERN_E_ARGUMENT);
}

static quern_status attempt_to_create(const quern_allocator *alloc, void *arg) {
  qn_env e;
  qn_pool *p;
  (void)arg;
  qn_env_init(&e, alloc, NULL, NULL, 0);
  QN_TRY(qn_pool_create(&p, &e, 3, NULL, NULL));
  qn_pool_free(p);
  return QUERN_OK;
}

static void allocations_may_fail(void) {
  long n;
  CHECK_EQ(faulty_each(attempt_to_create, NULL, &n), 0);
  CHECK_EQ(n, 1);
}

/* Sanitizers have a pthread_create of their own, which this one would hide. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if !defined(SANITIZED)
static int threads_allowed = -1; /* -1: any number */
static size_t stack_needed;      /* as where a host has much thread-local data */

int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
  typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  create_fn *real;
  void *found = dlsym(RTLD_NEXT, "pthread_create");
  memcpy(&real, &found, sizeof real);
  size_t stack = 0;
  if (attr && !pthread_attr_getstacksize(attr, &stack) && stack < stack_needed) return EINVAL;
  if (threads_allowed == 0) return EAGAIN;
  threads_allowed -= threads_allowed > 0;
  return real(t, attr, start, arg);
}

static void threads_that_do_not_start(void) {
  faulty_alloc f = {0};
  quern_allocator a = faulty_allocator(&f);
  qn_env e;
  qn_env_init(&e, &a, NULL, NULL, 0);
  for (int allowed = 0; allowed < 5; allowed++) {
    qn_pool *p = NULL;
    threads_allowed = allowed;
    CHECK_EQ(qn_pool_create(&p, &e, 5, NULL, NULL), allowed < 4 ? QUERN_E_SYSTEM : QUERN_OK);
    CHECK((p != NULL) == (allowed == 4));
    if (allowed == 2) CHECK(strstr(e.error.text, "thread 4 of 5 could not be started") != NULL);
    qn_pool_free(p);
    CHECK_EQ(f.live, 0);
  }
  threads_allowed = -1;
}

static void small_stacks_that_are_refused(void) {
  for (stack_needed = 1 << 19; stack_needed <= (size_t)1 << 26; stack_needed *= 4) {
    qn_pool *p = NULL;
    count_job *j = calloc(1, sizeof *j);
    CHECK_EQ(qn_pool_create(&p, &env, 3, NULL, NULL), QUERN_OK);
    if (p) qn_pool_run(p, count_task, j, 50);
    CHECK(all_once(j, 50));
    qn_pool_free(p);
    free(j);
  }
  qn_pool *p = NULL;
  stack_needed = (size_t)1 << 40; /* there is an end to it */
  CHECK_EQ(qn_pool_create(&p, &env, 3, NULL, NULL), QUERN_E_SYSTEM);
  stack_needed = 0;
}
#endif

/* CPU time of this process over 200 ms in which it does nothing after a run, inside a session call or not. */
static long long idle_cpu_ns(uint32_t threads, int inside) {
  qn_pool *p;
  uint32_t sums[16] = {0};
  struct timespec a, b;
  CHECK_EQ(qn_pool_create(&p, &env, threads, NULL, NULL), QUERN_OK);
  if (inside) qn_pool_enter(p);
  qn_pool_run(p, plain_task, sums, 16);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  usleep(200000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  if (inside) qn_pool_leave(p);
  qn_pool_free(p);
  return (long long)(b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec);
}

/* Spinning on would be 200 ms for each worker; one that ends as it should is 0.05 ms. */
static void idle_workers_sleep(void) {
  const uint32_t cpus = qn_usable_cpus() < 16 ? qn_usable_cpus() : 16;
  CHECK(idle_cpu_ns(2, 0) < 20000000);
  CHECK(idle_cpu_ns(2, 1) < 20000000);
  CHECK(idle_cpu_ns(cpus, 1) < 20000000);
  CHECK(idle_cpu_ns(cpus + 7, 1) < 20000000); /* more threads than CPUs */
}

/* With more threads than CPUs nobody spins: runs that are slow to be taken part in cost the caller nothing but the tasks. */
static void too_many_threads_do_not_hurt(void) {
  qn_pool *p;
  uint32_t sums[64] = {0};
  CHECK_EQ(qn_pool_create(&p, &env, qn_usable_cpus() + 30, NULL, NULL), QUERN_OK);
  qn_pool_enter(p);
  const uint64_t t0 = qn_now_ns();
  for (int round = 0; round < 200; round++) qn_pool_run(p, plain_task, sums, 64);
  const uint64_t ns = qn_now_ns() - t0;
  qn_pool_leave(p);
  for (uint32_t i = 0; i < 64; i++) CHECK_EQ(sums[i], 200 * i);
  CHECK(ns < 5000000000u); /* 25 ms a run */
  qn_pool_free(p);
}

/* The control register, a setting that no task may see (flush to zero, round up), the one that each must, and the bits
   that are control. */
#if defined(__SSE__)
#define FP_GUARDED 1
enum { FP_STRANGE = 0x1F80 | 0x8040 | 0x4000, FP_TASK = 0x1F80, FP_CONTROL = 0xFFC0 };
static unsigned fp_get(void) { return _mm_getcsr(); }
static void fp_set(unsigned v) { _mm_setcsr(v); }
#elif defined(__aarch64__)
#define FP_GUARDED 1
enum { FP_STRANGE = 1 << 24 | 1 << 22, FP_TASK = 0, FP_CONTROL = 0x1F << 22 };
static unsigned fp_get(void) {
  uint64_t v;
  __asm__ volatile("mrs %0, fpcr" : "=r"(v));
  return (unsigned)v;
}
static void fp_set(unsigned v) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)v)); }
#endif

#if defined(FP_GUARDED)
typedef struct fp_job {
  atomic_uint wrong;
} fp_job;

static void fp_task(void *task, uint32_t i) {
  (void)i;
  if ((fp_get() & FP_CONTROL) != FP_TASK) atomic_fetch_add(&((fp_job *)task)->wrong, 1);
}

static void fp_state_is_guarded(void) {
  unsigned before = fp_get();
  host h = {0, 0};
  fp_set(FP_STRANGE); /* workers inherit it, too */
  unsigned strange = fp_get();
  CHECK((strange & FP_CONTROL) != FP_TASK);
  for (int kind = 0; kind < 3; kind++) {
    qn_pool *p;
    fp_job j = {0};
    CHECK_EQ(qn_pool_create(&p, &env, kind == 0 ? 1 : 3, kind == 2 ? host_parallel : NULL, &h), QUERN_OK);
    for (int round = 0; round < 100; round++) qn_pool_run(p, fp_task, &j, 30);
    CHECK_EQ(j.wrong, 0);
    CHECK_EQ(fp_get(), strange);
    qn_pool_free(p);
  }
  fp_set(before);
}
#endif

static void put_file(const char *dir, const char *name, const char *text) {
  char path[256];
  qn_format(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  CHECK(f != NULL);
  if (!f) return;
  fputs(text, f);
  fclose(f);
}

static void cgroup_quotas(void) {
  char root[] = "/tmp/quern-cgroup-XXXXXX", path[256], deep[256], v1[256];
  CHECK(mkdtemp(root) != NULL);
  qn_format(path, sizeof path, "%s/membership", root);
  qn_format(deep, sizeof deep, "%s/a", root);
  qn_format(v1, sizeof v1, "%s/cpu,cpuacct", root);
  mkdir(deep, 0777);
  mkdir(v1, 0777);
  CHECK_EQ(qn_cgroup_cpus(path, root), 0); /* no such file */
  put_file(root, "membership", "3:memory:/a\n0::/a/gone\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 0);
  put_file(deep, "cpu.max", "max 100000\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 0);
  put_file(deep, "cpu.max", "250000 100000\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 3); /* rounded up, from the group above the one that is gone */
  put_file(root, "cpu.max", "200000 100000\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 2); /* the tighter one, further up */
  put_file(v1, "cpu.cfs_quota_us", "-1\n");
  put_file(v1, "cpu.cfs_period_us", "100000\n");
  put_file(root, "membership", "7:cpuset:/\n4:cpuacct,cpu:/docker/x\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 0);
  put_file(v1, "cpu.cfs_quota_us", "150000\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 2);
  put_file(v1, "cpu.cfs_quota_us", "1000\n");
  CHECK_EQ(qn_cgroup_cpus(path, root), 1);
  put_file(root, "membership", "garbage\n\n::\n1\n");
  qn_cgroup_cpus(path, root);
  static const char *const files[] = {"membership", "a/cpu.max", "cpu.max", "cpu,cpuacct/cpu.cfs_quota_us",
                                      "cpu,cpuacct/cpu.cfs_period_us"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    qn_format(path, sizeof path, "%s/%s", root, files[i]);
    CHECK_EQ(unlink(path), 0);
  }
  rmdir(deep), rmdir(v1), rmdir(root);
  CHECK(qn_usable_cpus() >= 1);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(every_task_once);
  RUN(results_are_visible);
  RUN(nested_runs_go_serial);
  RUN(concurrent_runs);
  RUN(forked_child_goes_serial);
  RUN(host_pool_is_used);
  RUN(bad_widths_are_refused);
  RUN(allocations_may_fail);
#if !defined(SANITIZED)
  RUN(threads_that_do_not_start);
  RUN(small_stacks_that_are_refused);
#endif
  RUN(idle_workers_sleep);
  RUN(too_many_threads_do_not_hurt);
#if defined(FP_GUARDED)
  RUN(fp_state_is_guarded);
#endif
  RUN(cgroup_quotas);
  return TEST_END();
}
