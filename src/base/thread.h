/* thread.h - the pool that runs the tasks of one operation, and the floating-point guard around each.
 * A pool of n threads is the caller and n - 1 workers, started once. qn_pool_run hands out indices 0 ... n-1 and
 * returns when all tasks are done. Workers spin at most 50 us for the next run inside a session call (between
 * qn_pool_enter and _leave), else sleep; with more threads than usable CPUs they never spin. A run that finds the pool
 * busy (another session's call), or in a forked child, runs its tasks on the calling thread: same results. Around every
 * task FP state (MXCSR/FPCR) is set to round-to-nearest, denormals kept, exceptions masked, and restored afterwards, on
 * host threads too. */
#ifndef QN_THREAD_H
#define QN_THREAD_H
#include "base/env.h"

typedef struct qn_pool qn_pool;
/* threads >= 1. parallel: the host's pool or NULL. Fails with QUERN_E_SYSTEM when a thread cannot be started (none is
 * left behind). */
quern_status qn_pool_create(qn_pool **out, qn_env *env, uint32_t threads, quern_parallel_fn *parallel, void *user);
void qn_pool_free(qn_pool *p);
uint32_t qn_pool_threads(const qn_pool *p);
/* Brackets a session call: between them workers may spin for the next run. Never fails, nests over sessions. */
void qn_pool_enter(qn_pool *p);
void qn_pool_leave(qn_pool *p);
void qn_pool_run(qn_pool *p, quern_task_fn *fn, void *task, uint32_t n);

/* CPUs this process may use: affinity mask and cgroup v1/v2 CPU quota (rounded up), at least 1. */
uint32_t qn_usable_cpus(void);
/* The quota alone, the least of the process's group and those around it, in CPUs rounded up; 0: none. membership: a file
 * like /proc/self/cgroup, root: where cgroups are mounted. */
uint32_t qn_cgroup_cpus(const char *membership, const char *root);

typedef struct qn_fpenv {
  uint64_t saved;
} qn_fpenv;
qn_fpenv qn_fpenv_enter(void);
void qn_fpenv_leave(qn_fpenv f);

uint64_t qn_now_ns(void); /* monotonic clock */
#endif
