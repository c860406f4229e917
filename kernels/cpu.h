/* cpu.h - what qk_cpu_features concludes on x86-64, apart from the asking, so that it can be tested. Private to kernels/. */
#ifndef QK_CPU_H
#define QK_CPU_H
#include "kernels/kernels.h"
#include "kernels/target.h"

#if QK_X86
/* Answers of CPUID and XGETBV; 0 where a leaf or the instruction is not there. */
typedef struct qk_x86 {
  uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax;
  uint64_t state;     /* XCR0: what the operating system saves */
  int (*tiles)(void); /* asks the operating system to let this process use tiles; not 0 when it may. Asked last. */
} qk_x86;

uint64_t qk_cpu_features_of(const qk_x86 *x);
#endif
#endif
