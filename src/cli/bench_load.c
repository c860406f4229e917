/* bench_load.c - whether a measurement had the machine to itself, by the system's own count of its CPUs' time: what other
 * processes ran meanwhile, and what a hypervisor gave to other guests (steal). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"

#define LEAST_TICKS 50 /* of all CPUs together; less is too coarse to judge */
#define OTHERS 0.10    /* shares of the CPUs' time that make figures doubtful */
#define STOLEN 0.02

int qn_bench_load_parse(const char *stat, qn_bench_load *out) {
  enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS }; /* guests are in USER */
  double ticks[FIELDS];
  if (strncmp(stat, "cpu ", 4) != 0) return 0;
  stat += 4;
  for (int i = 0; i < FIELDS; i++) {
    char *end;
    ticks[i] = (double)strtoull(stat, &end, 10);
    if (end == stat) return 0;
    stat = end;
  }
  out->stolen = ticks[STEAL];
  out->busy = ticks[USER] + ticks[NICE] + ticks[SYSTEM] + ticks[IRQ] + ticks[SOFTIRQ];
  out->all = out->busy + out->stolen + ticks[IDLE] + ticks[IOWAIT];
  return 1;
}

void qn_bench_load_now(qn_bench_load *out) {
  char line[512];
  struct timespec own;
  FILE *f = fopen("/proc/stat", "re");
  memset(out, 0, sizeof *out);
  if (!f) return;
  if (fgets(line, sizeof line, f) && qn_bench_load_parse(line, out) &&
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0)
    out->own = ((double)own.tv_sec + (double)own.tv_nsec * 1e-9) * (double)sysconf(_SC_CLK_TCK);
  fclose(f);
}

int qn_bench_load_doubts(const qn_bench_load *from, const qn_bench_load *to, char *text, size_t cap) {
  const double all = to->all - from->all;
  if (!(from->all > 0) || all < LEAST_TICKS) return 0;
  const double others = (to->busy - from->busy - (to->own - from->own)) / all,
               stolen = (to->stolen - from->stolen) / all;
  if (others <= OTHERS && stolen <= STOLEN) return 0;
  snprintf(text, cap,
           "meanwhile other processes took %.0f %% of this machine's CPUs and a hypervisor %.0f %%: the figures are "
           "doubtful; measure again when it is idle",
           others > 0 ? 100 * others : 0, 100 * stolen);
  return 1;
}
