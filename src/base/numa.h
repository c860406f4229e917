/* numa.h - keeps the threads of a wide pool on nodes of memory, each on one, through libnuma where the machine has several nodes and
 * the library is there at run time. Memory needs nothing more: a lane's is on the node of the thread that writes it first.
 * Where anything is missing nothing is done. Thread rule: a qn_numa is read by its pool's threads once it is open. */
#ifndef QN_NUMA_H
#define QN_NUMA_H
#include <stdint.h>

typedef struct qn_numa {
  void *library; /* NULL: nothing is to be done */
  int (*node_of_cpu)(int cpu);
} qn_numa;

/* For `threads` threads over the CPUs that the caller may use: open only when no node has CPUs for all of them. */
void qn_numa_open(qn_numa *n, uint32_t threads);
void qn_numa_close(qn_numa *n);
/* The calling thread, `index` of `threads`, stays on its node: on those of its CPUs that are there. Neighbours share one. */
void qn_numa_stay(const qn_numa *n, uint32_t index, uint32_t threads);
#endif
