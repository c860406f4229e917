/* numa.c - threads to nodes (numa.h). Only Linux has libnuma. dlopen is a weak symbol: where the C library
 * keeps it elsewhere it is not there, and there is no libnuma either; a static program, that must not load what brings a C
 * library of its own, does without. Model files are left where the kernel has them:
 * their pages are shared by all processes, and each node's cache holds what its threads read. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* sched_setaffinity */
#endif
#include "base/numa.h"
#include <stddef.h>

#if defined(__linux__) && !defined(__ANDROID__)
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
#pragma weak dlopen
#pragma weak dlsym
#pragma weak dlclose

#define NUMA_NODES 1024
#define NUMA_CPUS (8 * CPU_SETSIZE)

typedef struct numa_cpus {
  cpu_set_t set[NUMA_CPUS / CPU_SETSIZE]; /* that the calling thread may use */
  uint32_t of_node[NUMA_NODES], all;      /* how many */
} numa_cpus;

/* "0" or "0-1", "0,8": whether there is more than one node. */
static int numa_has_nodes(void) {
  char text[64];
  const int fd = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, sizeof text);
  close(fd);
  return n > 0 && (memchr(text, '-', (size_t)n) || memchr(text, ',', (size_t)n));
}

/* The node of a CPU that the calling thread may use, else -1. */
static int numa_node(const qn_numa *n, const numa_cpus *c, int cpu) {
  if (!CPU_ISSET_S((size_t)cpu, sizeof c->set, c->set)) return -1;
  const int node = n->node_of_cpu(cpu);
  return node < NUMA_NODES ? node : -1;
}

static int numa_look(const qn_numa *n, numa_cpus *c) {
  memset(c, 0, sizeof *c);
  if (sched_getaffinity(0, sizeof c->set, c->set)) return 0;
  for (int cpu = 0; cpu < NUMA_CPUS; cpu++) {
    const int node = numa_node(n, c, cpu);
    if (node < 0) continue;
    c->of_node[node]++;
    c->all++;
  }
  return c->all > 0;
}

/* dlsym gives an object pointer; C has no other way to make a function of it. fn: where the function pointer goes. */
static int numa_symbol(void *library, const char *name, void *fn) {
  void *p = dlsym(library, name);
  memcpy(fn, &p, sizeof p);
  return p != NULL;
}

void qn_numa_open(qn_numa *n, uint32_t threads) {
  int (*available)(void) = NULL;
  numa_cpus cpus;
  *n = (qn_numa){NULL, NULL};
  const int dynamic = getauxval(AT_BASE) != 0; /* an interpreter has loaded this program */
  if (threads < 2 || !dynamic || !dlopen || !dlsym || !dlclose || !numa_has_nodes()) return;
  n->library = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!n->library) return;
  int wide = numa_symbol(n->library, "numa_available", &available) &&
             numa_symbol(n->library, "numa_node_of_cpu", &n->node_of_cpu) && available() >= 0 && numa_look(n, &cpus);
  for (int node = 0; wide && node < NUMA_NODES; node++) wide = cpus.of_node[node] < threads;
  if (!wide) qn_numa_close(n);
}

void qn_numa_close(qn_numa *n) {
  if (n->library) dlclose(n->library);
  n->library = NULL;
}

void qn_numa_stay(const qn_numa *n, uint32_t index, uint32_t threads) {
  numa_cpus c;
  if (!n->library || !numa_look(n, &c)) return;
  /* Threads are spread over the CPUs in the order of their nodes. */
  uint64_t place = (uint64_t)index * c.all / threads;
  int mine = 0;
  for (; mine + 1 < NUMA_NODES && place >= c.of_node[mine]; mine++) place -= c.of_node[mine];
  cpu_set_t stay[NUMA_CPUS / CPU_SETSIZE];
  memset(stay, 0, sizeof stay);
  for (int cpu = 0; cpu < NUMA_CPUS; cpu++)
    if (numa_node(n, &c, cpu) == mine) CPU_SET_S((size_t)cpu, sizeof stay, stay);
  sched_setaffinity(0, sizeof stay, stay);
}
#else
void qn_numa_open(qn_numa *n, uint32_t threads) {
  (void)threads;
  *n = (qn_numa){NULL, NULL};
}
void qn_numa_close(qn_numa *n) { (void)n; }
void qn_numa_stay(const qn_numa *n, uint32_t index, uint32_t threads) { (void)n, (void)index, (void)threads; }
#endif
