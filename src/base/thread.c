/* thread.c - the pool and the floating-point guard.
 * A run is opened by one word, `state`: an epoch, an OPEN bit and the number of workers that have joined. A worker joins
 * by raising the count while OPEN is set, takes indices from one counter until there are none, and leaves. The caller
 * works too, clears OPEN when the indices are used up, and returns when nobody is joined any more. So a worker that wakes
 * late finds the run closed and touches nothing of it, and nobody ever waits for a worker to wake.
 * Invariants: fn, task, n and next are written only while OPEN is clear and nobody is joined. A sleeper announces
 * itself before it looks at `state` the last time, and who changes `state` looks for sleepers afterwards: one of them
 * sees the other, no wake-up is lost. All of these writes are sequentially consistent read-modify-writes, full barriers
 * everywhere: emulators of weakly ordered CPUs let a plain store pass a later load. */
#include "base/thread.h"
#include "base/checked.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define THREAD_STACK ((size_t)512 * 1024)
#define THREAD_SPIN_NS 50000u /* a wake-up through the kernel costs about as much */
#define THREAD_PAUSES 32      /* between looks at the clock */

#define THREAD_JOINED ((uint64_t)0xFFFF) /* at most 1024 threads */
#define THREAD_OPEN ((uint64_t)0x10000)
#define THREAD_EPOCH ((uint64_t)0x20000) /* one epoch; the bits from here up */

struct qn_pool {
  qn_env *env;
  quern_parallel_fn *parallel;
  void *parallel_user;
  uint32_t threads;
  uint32_t started; /* workers */
  int spin;         /* threads <= usable CPUs */
  pid_t pid;        /* of the process that has the workers */
  size_t bytes;     /* of this block */

  atomic_flag busy;    /* a run is in progress; held by its caller */
  atomic_uint entered; /* session calls in progress */
  atomic_int stop;

  quern_task_fn *fn;
  void *task;
  uint32_t n;
  _Alignas(64) _Atomic uint64_t next;
  _Alignas(64) _Atomic uint64_t state;

  _Alignas(64) pthread_mutex_t mutex; /* for the two conditions below, nothing else */
  pthread_cond_t wake, done;
  atomic_uint sleepers; /* workers waiting for `wake` */
  atomic_int waiting;   /* the caller waits for `done` */
  pthread_t worker[];
};

/* ---- floating-point state ---------------------------------------------------------------------------------------- */

qn_fpenv qn_fpenv_enter(void) {
  qn_fpenv f = {0};
#if defined(__SSE__)
  f.saved = _mm_getcsr();
  _mm_setcsr(0x1F80); /* all exceptions masked, nearest even, no flush to zero, denormals kept */
#elif defined(__aarch64__)
  __asm__ volatile("mrs %0, fpcr" : "=r"(f.saved));
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
  return f;
}

void qn_fpenv_leave(qn_fpenv f) {
#if defined(__SSE__)
  _mm_setcsr((unsigned)f.saved);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(f.saved));
#else
  (void)f;
#endif
}

uint64_t qn_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- spinning ---------------------------------------------------------------------------------------------------- */

static void thread_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" : : : "memory"); /* `yield` returns at once on most cores */
#endif
}

/* Spins until (state & mask) != from, at most THREAD_SPIN_NS and only inside a session call. Returns whether it is. */
static int thread_spin(qn_pool *p, uint64_t mask, uint64_t from) {
  if (!p->spin) return 0;
  uint64_t until = qn_now_ns() + THREAD_SPIN_NS;
  do {
    for (int i = 0; i < THREAD_PAUSES; i++) {
      if ((atomic_load_explicit(&p->state, memory_order_acquire) & mask) != from) return 1;
      thread_pause();
    }
    if (!atomic_load(&p->entered) || atomic_load(&p->stop)) return 0;
  } while (qn_now_ns() < until);
  return 0;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static void thread_tasks(qn_pool *p) {
  quern_task_fn *fn = p->fn;
  void *task = p->task;
  uint32_t n = p->n;
  qn_fpenv fp = qn_fpenv_enter();
  for (;;) {
    uint64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
    if (i >= n) break;
    fn(task, (uint32_t)i);
  }
  qn_fpenv_leave(fp);
}

/* Takes part in the run that is open, if one is. Returns the epoch looked at. */
static uint64_t thread_join_run(qn_pool *p) {
  uint64_t s = atomic_load(&p->state);
  while (s & THREAD_OPEN)
    if (atomic_compare_exchange_weak(&p->state, &s, s + 1)) {
      thread_tasks(p);
      uint64_t left = atomic_fetch_sub(&p->state, 1) - 1;
      if (!(left & (THREAD_OPEN | THREAD_JOINED)) && atomic_load(&p->waiting)) {
        pthread_mutex_lock(&p->mutex); /* the caller is now in its wait, or has seen the count */
        pthread_mutex_unlock(&p->mutex);
        pthread_cond_signal(&p->done);
      }
      break;
    }
  return s & ~(THREAD_OPEN | THREAD_JOINED);
}

static void *thread_worker(void *arg) {
  qn_pool *p = arg;
  const uint64_t epoch_mask = ~(THREAD_OPEN | THREAD_JOINED);
  uint64_t seen = 0;
  while (!atomic_load(&p->stop)) {
    if (!thread_spin(p, epoch_mask, seen)) {
      pthread_mutex_lock(&p->mutex);
      atomic_fetch_add(&p->sleepers, 1);
      if ((atomic_load(&p->state) & epoch_mask) == seen && !atomic_load(&p->stop))
        pthread_cond_wait(&p->wake, &p->mutex);
      atomic_fetch_sub(&p->sleepers, 1);
      pthread_mutex_unlock(&p->mutex);
    }
    seen = thread_join_run(p);
  }
  return NULL;
}

/* Wakes up to n sleepers. */
static void thread_wake(qn_pool *p, uint32_t n) {
  uint32_t asleep = atomic_load(&p->sleepers);
  if (!asleep) return;
  pthread_mutex_lock(&p->mutex); /* who announced itself is now in its wait, or has seen the new state */
  pthread_mutex_unlock(&p->mutex);
  if (n >= asleep)
    pthread_cond_broadcast(&p->wake);
  else
    for (; n; n--) pthread_cond_signal(&p->wake);
}

static void thread_stop(qn_pool *p) {
  atomic_store(&p->stop, 1);
  pthread_mutex_lock(&p->mutex);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->mutex);
  for (uint32_t i = 0; i < p->started; i++) pthread_join(p->worker[i], NULL);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->mutex);
}

/* Workers take no signals but those of their own faults: the host's handlers run on the host's threads. */
static int thread_start(qn_pool *p) {
  sigset_t all, before;
  pthread_attr_t attr;
  int rc = pthread_attr_init(&attr);
  if (rc) return rc;
  pthread_attr_setstacksize(&attr, THREAD_STACK); /* a system that wants more keeps its default */
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  sigdelset(&all, SIGILL);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (!rc && p->started < p->threads - 1) {
    rc = pthread_create(&p->worker[p->started], &attr, thread_worker, p);
    p->started += !rc;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return rc;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

quern_status qn_pool_create(qn_pool **out, qn_env *env, uint32_t threads, quern_parallel_fn *parallel, void *user) {
  *out = NULL;
  if (threads < 1 || threads > 1024)
    return qn_fail(&env->error, QUERN_E_ARGUMENT, "%u threads asked for; 1 to 1024 are possible", threads);
  size_t bytes = sizeof(qn_pool) + (threads - 1) * sizeof(pthread_t);
  void *memory;
  QN_TRY(qn_alloc(env, &memory, bytes, "the thread pool"));
  memset(memory, 0, bytes);
  qn_pool *p = memory;
  p->env = env;
  p->parallel = parallel;
  p->parallel_user = user;
  p->threads = threads;
  p->pid = getpid();
  p->bytes = bytes;
  atomic_flag_clear(&p->busy);
  if (!parallel && threads > 1) {
    p->spin = threads <= qn_usable_cpus();
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    int rc = thread_start(p);
    if (rc) {
      uint32_t started = p->started;
      thread_stop(p);
      qn_free(env, p, bytes);
      return qn_fail(&env->error, QUERN_E_SYSTEM, "thread %u of %u could not be started: %s; ask for fewer threads",
                     started + 2, threads, qn_errno_text(rc));
    }
  }
  *out = p;
  return QUERN_OK;
}

void qn_pool_free(qn_pool *p) {
  if (!p) return;
  /* A forked child has no workers, and locks as they were at the fork: only the memory is released. */
  if (p->started && p->pid == getpid()) thread_stop(p);
  qn_free(p->env, p, p->bytes);
}

uint32_t qn_pool_threads(const qn_pool *p) { return p->threads; }

void qn_pool_enter(qn_pool *p) { atomic_fetch_add(&p->entered, 1); }

void qn_pool_leave(qn_pool *p) { atomic_fetch_sub(&p->entered, 1); }

typedef struct thread_guarded {
  quern_task_fn *fn;
  void *task;
} thread_guarded;

static void thread_guarded_task(void *task, uint32_t i) {
  const thread_guarded *g = task;
  qn_fpenv fp = qn_fpenv_enter();
  g->fn(g->task, i);
  qn_fpenv_leave(fp);
}

static void thread_serial(quern_task_fn *fn, void *task, uint32_t n) {
  qn_fpenv fp = qn_fpenv_enter();
  for (uint32_t i = 0; i < n; i++) fn(task, i);
  qn_fpenv_leave(fp);
}

static void thread_open_run(qn_pool *p, quern_task_fn *fn, void *task, uint32_t n) {
  p->fn = fn;
  p->task = task;
  p->n = n;
  atomic_store_explicit(&p->next, 0, memory_order_relaxed);
  atomic_fetch_add(&p->state, THREAD_EPOCH + THREAD_OPEN);
  thread_wake(p, n - 1);
}

static void thread_close_run(qn_pool *p) {
  uint64_t closed = atomic_fetch_sub(&p->state, THREAD_OPEN) - THREAD_OPEN;
  for (;;) {
    uint64_t joined = closed & THREAD_JOINED;
    if (!joined) return;
    if (!thread_spin(p, THREAD_JOINED, joined)) break;
    closed = atomic_load(&p->state);
  }
  pthread_mutex_lock(&p->mutex);
  atomic_exchange(&p->waiting, 1);
  while (atomic_load(&p->state) & THREAD_JOINED) pthread_cond_wait(&p->done, &p->mutex);
  atomic_store(&p->waiting, 0);
  pthread_mutex_unlock(&p->mutex);
}

void qn_pool_run(qn_pool *p, quern_task_fn *fn, void *task, uint32_t n) {
  if (n <= 1 || p->threads == 1 || p->pid != getpid() || atomic_flag_test_and_set(&p->busy)) {
    thread_serial(fn, task, n);
    return;
  }
  if (p->parallel) {
    thread_guarded g = {fn, task};
    p->parallel(p->parallel_user, thread_guarded_task, &g, n);
  } else {
    thread_open_run(p, fn, task, n);
    thread_tasks(p);
    thread_close_run(p);
  }
  atomic_flag_clear(&p->busy);
}
