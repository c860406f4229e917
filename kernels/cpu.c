/* cpu.c - what this CPU can do and the operating system has enabled. Executes nothing but CPUID, and XGETBV where CPUID
 * says it is there; on AArch64 asks the operating system, and where that has no answer (Apple) knows what the compiler
 * was told. Early returns: each level stands on the one before. */
#include "kernels/cpu.h"

#if QK_X86
#include <cpuid.h>
#if defined(__linux__) && !defined(__ANDROID__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t enabled_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

/* Compilers disagree about these names. */
#define AVX_VNNI (1u << 4)       /* leaf 7.1 EAX */
#define AMX_TILE_INT8 (3u << 24) /* leaf 7 EDX */
#define HAS(word, bits) (((word) & (bits)) == (bits))
#define STATE_YMM 0x6u       /* XMM, YMM */
#define STATE_ZMM 0xe6u      /* and opmask, ZMM halves, ZMM16-31 */
#define STATE_TILES 0x60000u /* tile configuration, tile data */

uint64_t qk_cpu_features_of(const qk_x86 *x) {
  uint64_t f = 0;
  if (!HAS(x->leaf1_ecx, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return f;
  if (!HAS(x->state, STATE_YMM)) return f;
  if (!HAS(x->leaf7_ebx, bit_AVX2)) return f;
  f |= QK_CPU_AVX2;
  if (HAS(x->leaf7_1_eax, AVX_VNNI)) f |= QK_CPU_AVXVNNI;
  if (!HAS(x->state, STATE_ZMM)) return f;
  if (!HAS(x->leaf7_ebx, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL)) return f;
  f |= QK_CPU_AVX512;
  if (!HAS(x->leaf7_ecx, bit_AVX512VNNI)) return f;
  f |= QK_CPU_AVX512VNNI;
  if (!HAS(x->leaf7_edx, AMX_TILE_INT8) || !HAS(x->state, STATE_TILES) || !x->tiles()) return f;
  return f | QK_CPU_AMX;
}

/* Linux gives tile data (8 KiB more in every signal frame) to processes that ask: all threads that there are and will be,
   for good, so asking again is harmless. It refuses where a thread's signal stack is too small. */
static int permit_tiles(void) {
#if defined(__linux__) && !defined(__ANDROID__)
  const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return 0;
#endif
}

uint64_t qk_cpu_features(void) {
  qk_x86 x = {.tiles = permit_tiles};
  uint32_t a, b, c, d, max7;
  if (!__get_cpuid(1, &a, &b, &x.leaf1_ecx, &d)) return 0;
  if (HAS(x.leaf1_ecx, bit_OSXSAVE)) x.state = enabled_state();
  if (__get_cpuid_count(7, 0, &max7, &x.leaf7_ebx, &x.leaf7_ecx, &x.leaf7_edx) && max7 >= 1)
    (void)__get_cpuid_count(7, 1, &x.leaf7_1_eax, &b, &c, &d);
  return qk_cpu_features_of(&x);
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
