/* test_numa.c - a pool on a machine of two nodes, by a libnuma that this file plays (the Makefile wraps open, dlopen, dlsym and
 * dlclose): it is asked when nodes are several and threads more than a node's CPUs, threads then stay on their nodes, and
 * nothing changes where it is absent, refuses, or is not needed. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* sched_getaffinity */
#endif
#include "base/thread.h"
#include "test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <unistd.h>

static qn_env env;

static struct machine {
  const char *nodes; /* what /sys says */
  int present, available, symbols;
  int opened, closed;
  atomic_int asked;
  int low; /* CPUs of node 0 */
} machine;

static int pretend_node(int cpu) {
  atomic_fetch_add(&machine.asked, 1);
  return cpu < machine.low ? 0 : 1;
}
static int pretend_available(void) { return machine.available ? 0 : -1; }

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
void *__wrap_dlopen(const char *file, int mode);
void *__wrap_dlsym(void *library, const char *name);
int __wrap_dlclose(void *library);

int __wrap_open(const char *path, int flags, ...) {
  va_list ap;
  va_start(ap, flags);
  const int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
  va_end(ap);
  if (strcmp(path, "/sys/devices/system/node/online") != 0) return __real_open(path, flags, mode);
  int pipes[2];
  if (!machine.nodes || pipe(pipes)) return -1;
  const ssize_t n = write(pipes[1], machine.nodes, strlen(machine.nodes));
  close(pipes[1]);
  CHECK(n > 0);
  return pipes[0];
}

void *__wrap_dlopen(const char *file, int mode) {
  (void)mode;
  CHECK(!strcmp(file, "libnuma.so.1"));
  machine.opened++;
  return machine.present ? &machine : NULL;
}

void *__wrap_dlsym(void *library, const char *name) {
  void *found = NULL;
  int (*node)(int) = pretend_node, (*available)(void) = pretend_available;
  CHECK(library == &machine);
  if (machine.symbols && !strcmp(name, "numa_node_of_cpu")) memcpy(&found, &node, sizeof found);
  if (!strcmp(name, "numa_available")) memcpy(&found, &available, sizeof found);
  return found;
}

int __wrap_dlclose(void *library) {
  CHECK(library == &machine);
  machine.closed++;
  return 0;
}

/* ---- where the pool's threads may run ---- */

typedef struct look {
  cpu_set_t first, other; /* of the caller, of the worker */
  atomic_int seen;
  pthread_t caller;
} look;

static void look_task(void *task, uint32_t i) {
  look *l = task;
  (void)i;
  if (pthread_equal(pthread_self(), l->caller)) {
    sched_getaffinity(0, sizeof l->first, &l->first);
    usleep(2000); /* leaves a task to the worker */
  } else {
    sched_getaffinity(0, sizeof l->other, &l->other);
    atomic_store(&l->seen, 1);
  }
}

/* A pool of two threads, until its worker has told where it may run. */
static look look_at_two(void) {
  qn_pool *p = NULL;
  look l = {.caller = pthread_self()};
  CHECK_EQ(qn_pool_create(&p, &env, 2, NULL, NULL), QUERN_OK);
  for (int i = 0; p && i < 2000 && !atomic_load(&l.seen); i++) qn_pool_run(p, look_task, &l, 2);
  CHECK(atomic_load(&l.seen));
  qn_pool_free(p);
  return l;
}

static cpu_set_t mine; /* two CPUs of the machine's, all that this process uses */
static size_t second;  /* of them */

static void use_two_cpus(void) {
  cpu_set_t all;
  int n = 0;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof all, &all);
  for (size_t cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
    if (CPU_ISSET(cpu, &all)) {
      CPU_SET(cpu, &mine);
      second = cpu;
      n++;
    }
  CHECK_EQ(sched_setaffinity(0, sizeof mine, &mine), 0);
}

static int is_everywhere(const look *l) { return CPU_EQUAL(&l->first, &mine) && CPU_EQUAL(&l->other, &mine); }

static void threads_stay_on_their_nodes(void) {
  cpu_set_t there;
  machine = (struct machine){.nodes = "0-1\n", .present = 1, .available = 1, .symbols = 1, .low = (int)second};
  look l = look_at_two();
  CPU_ZERO(&there);
  CPU_SET(second, &there);
  CHECK(CPU_EQUAL(&l.first, &mine)); /* the caller is the host's */
  CHECK(CPU_EQUAL(&l.other, &there));
  CHECK(machine.asked > 0);
  CHECK_EQ(machine.opened, 1);
  CHECK_EQ(machine.closed, 1);
}

static void what_fits_a_node_is_left_alone(void) {
  machine = (struct machine){.nodes = "0-1\n", .present = 1, .available = 1, .symbols = 1, .low = (int)second + 1};
  look l = look_at_two();
  CHECK(is_everywhere(&l));
  CHECK_EQ(machine.closed, 1);
}

static void without_libnuma(void) {
  static const struct machine machines[] = {
      {.nodes = "0-1\n"},                                           /* absent */
      {.nodes = "0,8\n", .present = 1},                             /* of another version */
      {.nodes = "0,8\n", .present = 1, .symbols = 1},               /* no NUMA in the kernel */
      {.nodes = "0\n", .present = 1, .available = 1, .symbols = 1}, /* one node: it is not even looked for */
      {.present = 1, .available = 1, .symbols = 1},                 /* no /sys */
  };
  for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
    memcpy(&machine, &machines[i], sizeof machine);
    machine.low = (int)second;
    look l = look_at_two();
    CHECK(is_everywhere(&l));
    CHECK_EQ(machine.opened, i < 3);
    CHECK_EQ(machine.closed, i == 1 || i == 2);
    CHECK_EQ(machine.asked, 0);
  }
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  use_two_cpus();
  if (CPU_COUNT(&mine) < 2) {
    puts("skip: one CPU");
    return TEST_END();
  }
  RUN(threads_stay_on_their_nodes);
  RUN(what_fits_a_node_is_left_alone);
  RUN(without_libnuma);
  return TEST_END();
}
