/* cpu.c - what this CPU can do and the operating system has enabled. Executes nothing but CPUID, and XGETBV where CPUID
 * says it is there; on AArch64 asks the operating system, and where that has no answer (Apple) knows what the compiler
 * was told. Early returns: each level stands on the one before. */
#include "kernels/kernels.h"
#include "kernels/target.h"

#if QK_X86
#include <cpuid.h>

static uint64_t enabled_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

#define AVX_VNNI (1u << 4) /* leaf 7.1 EAX; compilers disagree about a name */
#define HAS(word, bits) (((word) & (bits)) == (bits))

uint64_t qk_cpu_features(void) {
  uint32_t a, b, c, d, max7, b7, c7;
  uint64_t f = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  if (!HAS(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return f;
  uint64_t state = enabled_state();
  if (!HAS(state, 0x6u)) return f; /* XMM, YMM */
  if (!__get_cpuid_count(7, 0, &max7, &b7, &c7, &d)) return f;
  if (!HAS(b7, bit_AVX2)) return f;
  f |= QK_CPU_AVX2;
  if (max7 >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && HAS(a, AVX_VNNI)) f |= QK_CPU_AVXVNNI;
  if (!HAS(state, 0xe6u)) return f; /* and opmask, ZMM halves, ZMM16-31 */
  if (!HAS(b7, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL)) return f;
  f |= QK_CPU_AVX512;
  if (!HAS(c7, bit_AVX512VNNI)) return f;
  return f | QK_CPU_AVX512VNNI;
}
#elif QK_ARM64 && defined(__linux__)
#include <sys/auxv.h>

/* The bits of the kernel's interface; headers of older C libraries lack some of their names. */
#define HWCAP_ASIMDDP_BIT (1ul << 20)
#define HWCAP2_I8MM_BIT (1ul << 13)

uint64_t qk_cpu_features(void) {
  if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP_BIT)) return QK_CPU_NEON;
  if (!(getauxval(AT_HWCAP2) & HWCAP2_I8MM_BIT)) return QK_CPU_NEON | QK_CPU_DOTPROD;
  return QK_CPU_NEON | QK_CPU_DOTPROD | QK_CPU_I8MM;
}
#elif QK_ARM64
uint64_t qk_cpu_features(void) {
  uint64_t f = QK_CPU_NEON;
#ifdef __ARM_FEATURE_DOTPROD
  f |= QK_CPU_DOTPROD;
#ifdef __ARM_FEATURE_MATMUL_INT8
  f |= QK_CPU_I8MM;
#endif
#endif
  return f;
}
#else
uint64_t qk_cpu_features(void) { return 0; }
#endif
