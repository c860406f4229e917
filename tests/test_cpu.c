/* test_cpu.c - what is concluded from the CPU's answers, and that the ladder of kernel sets follows features downwards. */
#include <string.h>
#include "kernels/cpu.h"
#include "tests/test.h"

#if QK_X86
#define ALL_X86 (QK_CPU_AVX2 | QK_CPU_AVXVNNI | QK_CPU_AVX512 | QK_CPU_AVX512VNNI | QK_CPU_AMX)

static int asked;
static int yes(void) { return ++asked; }
static int no(void) { return ++asked, 0; }

static qk_x86 everything(void) { return (qk_x86){~0u, ~0u, ~0u, ~0u, ~0u, ~0ull, yes}; }

static uint64_t without(size_t offset, size_t bytes, uint64_t bits) {
  qk_x86 x = everything();
  uint64_t word = 0;
  memcpy(&word, (char *)&x + offset, bytes);
  word &= ~bits;
  memcpy((char *)&x + offset, &word, bytes);
  return qk_cpu_features_of(&x);
}
#define WITHOUT(field, bits) without(offsetof(qk_x86, field), sizeof((qk_x86){0}.field), bits)

/* Bit by bit: losing one loses what stands on it, and nothing else. */
static void bits(void) {
  const uint64_t no_amx = ALL_X86 & ~(uint64_t)QK_CPU_AMX, no_vnni = no_amx & ~(uint64_t)QK_CPU_AVX512VNNI,
                 avx2 = QK_CPU_AVX2 | QK_CPU_AVXVNNI;
  qk_x86 x = everything();
  CHECK(qk_cpu_features_of(&x) == ALL_X86);
  for (uint32_t i = 0; i < 32; i++) {
    const uint32_t bit = 1u << i;
    const int basic = i == 12 || i == 27 || i == 28 || i == 29; /* FMA, OSXSAVE, AVX, F16C */
    const int wide = i == 16 || i == 17 || i == 30 || i == 31;  /* F, DQ, BW, VL */
    CHECK(WITHOUT(leaf1_ecx, bit) == (basic ? 0 : ALL_X86));
    CHECK(WITHOUT(leaf7_ebx, bit) == (i == 5 ? 0 : wide ? avx2 : ALL_X86));
    CHECK(WITHOUT(leaf7_ecx, bit) == (i == 11 ? no_vnni : ALL_X86));
    CHECK(WITHOUT(leaf7_edx, bit) == (i == 24 || i == 25 ? no_amx : ALL_X86));
    CHECK(WITHOUT(leaf7_1_eax, bit) == (i == 4 ? ALL_X86 & ~(uint64_t)QK_CPU_AVXVNNI : ALL_X86));
    CHECK(WITHOUT(state, bit) == (i == 1 || i == 2     ? 0
                                  : i >= 5 && i <= 7   ? avx2
                                  : i == 17 || i == 18 ? no_amx
                                                       : ALL_X86));
  }
}

/* The operating system is asked only about what the CPU has, and its refusal costs the tiles alone. */
static void permission(void) {
  qk_x86 x = everything();
  asked = 0;
  x.tiles = no;
  CHECK(qk_cpu_features_of(&x) == (ALL_X86 & ~(uint64_t)QK_CPU_AMX));
  CHECK(asked == 1);
  x.leaf7_edx = 0;
  qk_cpu_features_of(&x);
  x = everything();
  x.state = 0xe7;
  qk_cpu_features_of(&x);
  CHECK(asked == 1);
}

/* The best set of each rung, by features alone: tables are built, not run. */
static void ladder(void) {
  static const struct {
    uint64_t features;
    const char *best;
  } rungs[] = {{ALL_X86, "amx"},
               {ALL_X86 & ~(uint64_t)QK_CPU_AMX, "avx512vnni"},
               {ALL_X86 & ~(uint64_t)QK_CPU_AVX512VNNI, "avx512"},
               {QK_CPU_AVX2 | QK_CPU_AVXVNNI, "avxvnni"},
               {QK_CPU_AVX2, "avx2"},
               {QK_CPU_AMX, "ref"},
               {0, "ref"}};
  qk_table t;
  for (size_t i = 0; i < sizeof rungs / sizeof rungs[0]; i++)
    CHECK(qk_table_build(&t, NULL, rungs[i].features) && strcmp(t.isa, rungs[i].best) == 0);
  CHECK(!qk_table_build(&t, "amx", ALL_X86 & ~(uint64_t)QK_CPU_AMX));
  CHECK(qk_table_build(&t, "avx512vnni", ALL_X86) && strcmp(t.isa, "avx512vnni") == 0);
}
#endif

/* Asking again changes nothing, and what was found can be used. */
static void again(void) {
  const uint64_t f = qk_cpu_features();
  qk_table t;
  CHECK(qk_cpu_features() == f);
  CHECK(qk_table_build(&t, NULL, f));
}

int main(void) {
#if QK_X86
  RUN(bits);
  RUN(permission);
  RUN(ladder);
#endif
  RUN(again);
  return TEST_END();
}
