/* thread.c - the pool and the floating-point guard.
 * A run has one task for each thread that takes part, its own, and where there are more tasks a counter of the rest. It is
 * opened by one word, `state`: its number and how many threads take part. Each thread has a slot, a cache line of its own:
 * who wants a thread's task puts the run's number there, the thread itself or, when its own work is done, the caller; who
 * did puts there that it is done. So a worker that wakes late finds its task taken and touches nothing of the run, and
 * nobody ever waits for a worker to wake.
 * Invariants: fn, task, n and next are written only while all slots of the last run say done, and read only between a
 * claim that succeeded and its end. A sleeper announces itself before it looks at `state` the last time, and who changes
 * `state` looks for sleepers afterwards: one of them sees the other, no wake-up is lost. All of these writes are
 * sequentially consistent read-modify-writes, full barriers everywhere: emulators of weakly ordered CPUs let a plain store
 * pass a later load. */
#include "base/thread.h"
#include "base/checked.h"
#include "base/numa.h"
#include <errno.h>
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
#define THREAD_STACK_MOST ((size_t)64 << 20)
#define THREAD_SPIN_NS 50000u /* a wake-up through the kernel costs about as much */
#define THREAD_PAUSES 32      /* between looks at the clock */

#define THREAD_COUNT ((uint64_t)0xFFFF) /* of `state`: threads that take part, at most 1024; its number is above */
#define THREAD_NUMBER 16
/* Children of thread w in the tree by which sleepers are woken: THREAD_FAN * w + 1 and on. */
#define THREAD_FAN 4u

typedef struct thread_slot {
  _Alignas(64) _Atomic uint64_t run; /* twice the number of the run whose task was taken last; odd: and done */
  _Alignas(64) atomic_int asleep;    /* apart: read at every run, written seldom */
  pthread_mutex_t mutex;             /* for `wake`, nothing else */
  pthread_cond_t wake;
  pthread_t thread;
  qn_pool *pool;
} thread_slot;

struct qn_pool {
  qn_env *env;
  quern_parallel_fn *parallel;
  void *parallel_user;
  uint32_t threads;
  uint32_t started; /* workers */
  int spin;         /* threads <= usable CPUs */
  pid_t pid;        /* of the process that has the workers */
  size_t bytes;     /* of this block */
  qn_numa numa;

  /* Lines by who writes them, and when. */
  _Alignas(64) atomic_flag busy;       /* a run is in progress; held by its caller */
  _Alignas(64) atomic_uint entered;    /* session calls in progress */
  atomic_int stop, waiting;            /* waiting: the caller waits for `done` */
  _Alignas(64) _Atomic uint64_t state; /* and what comes with it */
  quern_task_fn *fn;
  void *task;
  uint32_t n;
  _Alignas(64) _Atomic uint64_t next; /* task after those that belong to threads */
  _Alignas(64) pthread_mutex_t mutex; /* for `done`, nothing else */
  pthread_cond_t done;
  thread_slot slot[]; /* [threads]; the first is the caller's and unused */
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

/* Spins while `word` is `from`, at most THREAD_SPIN_NS and only inside a session call. Returns whether it changed. It
   does not yield: where others want the CPU, that costs the run their time slice. */
static int thread_spin(qn_pool *p, _Atomic uint64_t *word, uint64_t from) {
  if (!p->spin) return 0;
  uint64_t until = qn_now_ns() + THREAD_SPIN_NS;
  do {
    for (int i = 0; i < THREAD_PAUSES; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != from) return 1;
      thread_pause();
    }
    if (!atomic_load(&p->entered) || atomic_load(&p->stop)) return 0;
  } while (qn_now_ns() < until);
  return 0;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

/* The task of the thread in slot `index`, then what the counter has. */
static void thread_tasks(qn_pool *p, uint32_t index, uint32_t count) {
  quern_task_fn *fn = p->fn;
  void *task = p->task;
  const uint32_t n = p->n;
  qn_fpenv fp = qn_fpenv_enter();
  fn(task, index);
  while (n > count) {
    uint64_t i = count + atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
    if (i >= n) break;
    fn(task, (uint32_t)i);
  }
  qn_fpenv_leave(fp);
}

/* Takes a slot's task of a run, unless somebody has it. value: what its word becomes. */
static int thread_claim(thread_slot *s, uint64_t number, uint64_t value) {
  uint64_t run = atomic_load_explicit(&s->run, memory_order_relaxed);
  return run >> 1 < number && atomic_compare_exchange_strong(&s->run, &run, value);
}

static void thread_wake(thread_slot *s) {
  if (!atomic_load(&s->asleep)) return;
  pthread_mutex_lock(&s->mutex); /* it is now in its wait, or has seen the new state */
  pthread_mutex_unlock(&s->mutex);
  pthread_cond_signal(&s->wake);
}

/* Wakes the sleepers next below a thread: they wake the others, so that no thread makes many system calls. */
static void thread_wake_children(qn_pool *p, uint32_t index, uint32_t count) {
  for (uint32_t i = THREAD_FAN * index + 1; i <= THREAD_FAN * (index + 1) && i < count; i++) thread_wake(&p->slot[i]);
}

static void thread_take_part(qn_pool *p, uint32_t index, uint64_t state) {
  const uint32_t count = state & THREAD_COUNT;
  const uint64_t number = state >> THREAD_NUMBER;
  thread_slot *s = &p->slot[index];
  thread_wake_children(p, index, count);
  if (index >= count || !thread_claim(s, number, number << 1)) return;
  thread_tasks(p, index, count);
  atomic_fetch_or(&s->run, 1);
  if (atomic_load(&p->waiting)) {
    pthread_mutex_lock(&p->mutex); /* the caller is now in its wait, or has seen the slot */
    pthread_mutex_unlock(&p->mutex);
    pthread_cond_signal(&p->done);
  }
}

static void *thread_worker(void *arg) {
  thread_slot *s = arg;
  qn_pool *p = s->pool;
  uint64_t seen = 0;
  qn_numa_stay(&p->numa, (uint32_t)(s - p->slot), p->threads);
  while (!atomic_load(&p->stop)) {
    if (!thread_spin(p, &p->state, seen)) {
      pthread_mutex_lock(&s->mutex);
      atomic_exchange(&s->asleep, 1);
      if (atomic_load(&p->state) == seen && !atomic_load(&p->stop)) pthread_cond_wait(&s->wake, &s->mutex);
      atomic_store(&s->asleep, 0);
      pthread_mutex_unlock(&s->mutex);
    }
    uint64_t state = atomic_load(&p->state);
    if (state != seen) thread_take_part(p, (uint32_t)(s - p->slot), state);
    seen = state;
  }
  return NULL;
}

static void thread_stop(qn_pool *p) {
  atomic_exchange(&p->stop, 1);
  for (uint32_t i = 1; i <= p->started; i++) {
    thread_wake(&p->slot[i]);
    pthread_join(p->slot[i].thread, NULL);
    pthread_cond_destroy(&p->slot[i].wake);
    pthread_mutex_destroy(&p->slot[i].mutex);
  }
  pthread_cond_destroy(&p->done);
  pthread_mutex_destroy(&p->mutex);
  qn_numa_close(&p->numa);
}

/* A small stack, and where the host's thread-local data leaves no room in it a larger one. A system that refuses the
   size keeps its default. */
static int thread_create(pthread_t *t, pthread_attr_t *attr, thread_slot *s) {
  for (size_t stack = THREAD_STACK;; stack *= 2) {
    pthread_attr_setstacksize(attr, stack);
    const int rc = pthread_create(t, attr, thread_worker, s);
    if (rc != EINVAL || stack >= THREAD_STACK_MOST) return rc;
  }
}

/* Workers take no signals but those of their own faults: the host's handlers run on the host's threads. */
static int thread_start(qn_pool *p) {
  sigset_t all, before;
  pthread_attr_t attr;
  int rc = pthread_attr_init(&attr);
  if (rc) return rc;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  sigdelset(&all, SIGILL);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (uint32_t i = 1; !rc && i < p->threads; i++) {
    thread_slot *s = &p->slot[i];
    s->pool = p;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wake, NULL);
    rc = thread_create(&s->thread, &attr, s);
    if (!rc) {
      p->started++;
    } else {
      pthread_cond_destroy(&s->wake);
      pthread_mutex_destroy(&s->mutex);
    }
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
  size_t bytes = sizeof(qn_pool) + (parallel ? 0 : threads) * sizeof(thread_slot);
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
    pthread_cond_init(&p->done, NULL);
    qn_numa_open(&p->numa, threads);
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

static uint64_t thread_open_run(qn_pool *p, quern_task_fn *fn, void *task, uint32_t n, uint32_t count) {
  p->fn = fn;
  p->task = task;
  p->n = n;
  atomic_store_explicit(&p->next, 0, memory_order_relaxed);
  const uint64_t number = (atomic_load(&p->state) >> THREAD_NUMBER) + 1;
  atomic_exchange(&p->state, number << THREAD_NUMBER | count);
  thread_wake_children(p, 0, count);
  return number;
}

/* Until a slot says that its task is done. */
static void thread_await(qn_pool *p, thread_slot *s, uint64_t number) {
  const uint64_t working = number << 1;
  if (atomic_load_explicit(&s->run, memory_order_acquire) != working || thread_spin(p, &s->run, working)) return;
  pthread_mutex_lock(&p->mutex);
  atomic_exchange(&p->waiting, 1);
  while (atomic_load(&s->run) == working) pthread_cond_wait(&p->done, &p->mutex);
  atomic_store(&p->waiting, 0);
  pthread_mutex_unlock(&p->mutex);
}

/* Tasks of threads that have not come are the caller's, too. */
static void thread_close_run(qn_pool *p, uint64_t number, uint32_t count) {
  for (uint32_t i = 1; i < count; i++)
    if (thread_claim(&p->slot[i], number, number << 1 | 1)) thread_tasks(p, i, count);
  for (uint32_t i = 1; i < count; i++) thread_await(p, &p->slot[i], number);
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
    const uint32_t count = n < p->threads ? n : p->threads;
    const uint64_t number = thread_open_run(p, fn, task, n, count);
    thread_tasks(p, 0, count);
    thread_close_run(p, number, count);
  }
  atomic_flag_clear(&p->busy);
}
