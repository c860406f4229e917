/* cpus.c - how many CPUs this process may use: its affinity mask and the CPU quota of its cgroup, v1 or v2.
 * Not topology, not load. Reads a few small files, keeps nothing. Thread rule: any thread (affinity is the caller's). */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* sched_getaffinity */
#endif
#include "base/thread.h"
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define CPUS_PATH 1024

/* The start of a small file, NUL-terminated; 0 when there is none. */
static int cpus_read(const char *path, char *buf, size_t cap) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t fill = 0;
  if (fd < 0) return 0;
  while (fill < cap - 1) {
    ssize_t n = read(fd, buf + fill, cap - 1 - fill);
    if (n <= 0) break;
    fill += (size_t)n;
  }
  close(fd);
  buf[fill] = 0;
  return fill > 0;
}

/* Decimal digits at *p, which is moved past them and the space around; 0 when there are none ("max", "-1"). */
static uint64_t cpus_decimal(const char **p) {
  uint64_t v = 0;
  while (**p == ' ' || **p == '\t') (*p)++;
  for (; **p >= '0' && **p <= '9'; (*p)++)
    if (v < UINT64_MAX / 100) v = v * 10 + (uint64_t)(**p - '0');
  return v;
}

static int cpus_read_in(const char *dir, const char *file, char *buf, size_t cap) {
  char path[CPUS_PATH + 32];
  if (qn_format(path, sizeof path, "%s/%s", dir, file) >= sizeof path) return 0;
  return cpus_read(path, buf, cap);
}

/* Quota of one group, in CPUs, rounded up; 0: none. */
static uint64_t cpus_group_quota(const char *dir) {
  char text[64];
  const char *p = text;
  uint64_t quota, period;
  if (cpus_read_in(dir, "cpu.max", text, sizeof text)) { /* v2: "200000 100000" or "max 100000" */
    quota = cpus_decimal(&p);
    period = cpus_decimal(&p);
  } else if (cpus_read_in(dir, "cpu.cfs_quota_us", text, sizeof text)) { /* v1: -1 is none */
    quota = cpus_decimal(&p);
    p = text;
    if (!cpus_read_in(dir, "cpu.cfs_period_us", text, sizeof text)) return 0;
    period = cpus_decimal(&p);
  } else {
    return 0;
  }
  return quota && period ? quota / period + (quota % period != 0) : 0;
}

/* The least quota of a group and of all around it, up to the mount: any of them may be the tighter one, and where the
   path is another namespace's only the mount itself is there. */
static uint64_t cpus_chain_quota(const char *mount, const char *group, size_t group_bytes) {
  char dir[CPUS_PATH];
  uint64_t least = 0;
  size_t root = strlen(mount);
  if (root + group_bytes >= sizeof dir) return 0;
  memcpy(dir, mount, root);
  memcpy(dir + root, group, group_bytes);
  size_t n = root + group_bytes;
  while (n > root && dir[n - 1] == '/') n--;
  for (;;) {
    dir[n] = 0;
    uint64_t q = cpus_group_quota(dir);
    if (q && (!least || q < least)) least = q;
    if (n <= root) return least;
    while (n > root && dir[n - 1] != '/') n--;
    while (n > root && dir[n - 1] == '/') n--;
  }
}

/* Is `cpu` in a comma-separated list? */
static int cpus_has_controller(const char *list, size_t bytes) {
  for (size_t i = 0; i + 3 <= bytes; i++)
    if ((i == 0 || list[i - 1] == ',') && !memcmp(list + i, "cpu", 3) && (i + 3 == bytes || list[i + 3] == ','))
      return 1;
  return 0;
}

uint32_t qn_cgroup_cpus(const char *membership, const char *root) {
  static const char *const v2[] = {"", "/unified", NULL};
  static const char *const v1[] = {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu", NULL};
  char text[8192], mount[CPUS_PATH];
  uint64_t least = 0;
  if (!cpus_read(membership, text, sizeof text)) return 0;
  /* Lines are "hierarchy:controllers:path"; v2 has hierarchy 0 and no controllers. */
  for (const char *line = text; *line;) {
    size_t n = strcspn(line, "\n");
    const char *list = memchr(line, ':', n);
    const char *group = list ? memchr(list + 1, ':', n - (size_t)(list + 1 - line)) : NULL;
    if (group) {
      size_t list_bytes = (size_t)(group - list) - 1;
      const char *const *mounts = list_bytes == 0 ? v2 : cpus_has_controller(list + 1, list_bytes) ? v1 : NULL;
      for (; mounts && *mounts; mounts++) {
        if (qn_format(mount, sizeof mount, "%s%s", root, *mounts) >= sizeof mount) continue;
        uint64_t q = cpus_chain_quota(mount, group + 1, n - (size_t)(group + 1 - line));
        if (q && (!least || q < least)) least = q;
      }
    }
    line += n + (line[n] != 0);
  }
  return least > UINT32_MAX ? UINT32_MAX : (uint32_t)least;
}

static uint32_t cpus_affinity(void) {
#if defined(__linux__)
  cpu_set_t set[8]; /* 8,192 CPUs */
  memset(set, 0, sizeof set);
  if (!sched_getaffinity(0, sizeof set, set)) {
    int n = CPU_COUNT_S(sizeof set, set);
    if (n > 0) return (uint32_t)n;
  }
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (uint32_t)n : 1;
}

uint32_t qn_usable_cpus(void) {
  uint32_t n = cpus_affinity(), quota = 0;
#if defined(__linux__)
  quota = qn_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
#endif
  return quota && quota < n ? quota : n;
}
