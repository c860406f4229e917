/* bench_loops.c - instruction sequences at full throughput: twelve independent accumulators in registers, or four tiles, in
 * assembly, so that what is measured is the machine and not a compiler. Knows no time. */
#include <string.h>
#include "bench.h"

#define TARGET(features) __attribute__((target(features)))
#define TWELVE(f) f("0") f("1") f("2") f("3") f("4") f("5") f("6") f("7") f("8") f("9") f("10") f("11")

/* x, y: operands; one: the 16-bit constant 1 in every lane; t: a register to spare. 0x3f in every byte is 63, and as a
   float 0.747: no sum saturates and nothing becomes denormal. */
#define LOOP(fn, attributes, bytes, reg, body)                                                                         \
  attributes static void fn(uint64_t n) {                                                                              \
    typedef char vec __attribute__((vector_size(bytes)));                                                              \
    vec a0 = {0}, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0; \
    vec x, y, one, t;                                                                                                  \
    char ones[bytes];                                                                                                  \
    for (int i = 0; i < bytes; i++) ones[i] = (char)(1 - i % 2);                                                       \
    memcpy(&one, ones, bytes);                                                                                         \
    memset(&x, 0x3f, bytes);                                                                                           \
    memset(&y, 0x3f, bytes);                                                                                           \
    for (; n; n--) {                                                                                                   \
      __asm__ volatile(body                                                                                            \
                       : "+" reg(a0), "+" reg(a1), "+" reg(a2), "+" reg(a3), "+" reg(a4), "+" reg(a5), "+" reg(a6),    \
                         "+" reg(a7), "+" reg(a8), "+" reg(a9), "+" reg(a10), "+" reg(a11), [t] "=&" reg(t)            \
                       : [x] reg(x), [y] reg(y), [one] reg(one));                                                      \
    }                                                                                                                  \
  }

#if defined(__x86_64__)
#include <cpuid.h>
#include "kernels/amx/tiles_amx.h"
#include "kernels/kernels.h"
#include "kernels/products/amx_config.h"

#define MADDWD_XMM(i) "movdqa %[x], %[t]\n\tpmaddwd %[y], %[t]\n\tpaddd %[t], %" i "\n\t"
#define MULADD_XMM(i) "movaps %[x], %[t]\n\tmulps %[y], %[t]\n\taddps %[t], %" i "\n\t"
#define SIGN_YMM(i)                                                                                                    \
  "vpsignb %[y], %[x], %[t]\n\tvpmaddubsw %[t], %[y], %[t]\n\tvpmaddwd %[one], %[t], %[t]\n\tvpaddd %[t], %" i ", %" i \
  "\n\t"
/* A block of 32 inputs of 4-bit weights: eight products summed in 16 bits, then widened. */
#define NIBBLES(i)                                                                                                     \
  "vpmaddubsw %[x], %[y], %" i "\n\t" NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i)                      \
      NIBBLE(i) "vpmaddwd %[one], %" i ", %[t]\n\tvpaddd %[t], %" i ", %" i "\n\t"
#define NIBBLE(i) "vpmaddubsw %[x], %[y], %[t]\n\tvpaddw %[t], %" i ", %" i "\n\t"
/* The same of groups of 32: converted, scaled and added to a float sum, the accumulator six further on. */
#define GROUP_YMM(i, f)                                                                                                \
  "vpmaddubsw %[x], %[y], %" i "\n\t" NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i) NIBBLE(i)                      \
      NIBBLE(i) "vpmaddwd %[one], %" i ", %[t]\n\tvpaddd %[t], %[x], %[t]\n\tvcvtdq2ps %[t], %[t]\n\t"                 \
                "vfmadd231ps %[t], %[y], %" f "\n\t"
#define SIX_GROUPS                                                                                                     \
  GROUP_YMM("0", "6")                                                                                                  \
  GROUP_YMM("1", "7") GROUP_YMM("2", "8") GROUP_YMM("3", "9") GROUP_YMM("4", "10") GROUP_YMM("5", "11")
#define VNNI_YMM(i) "%{vex%} vpdpbusd %[y], %[x], %" i "\n\t"
#define MADDUBS_ZMM(i) "vpmaddubsw %[x], %[y], %[t]\n\tvpmaddwd %[one], %[t], %[t]\n\tvpaddd %[t], %" i ", %" i "\n\t"
#define VNNI_ZMM(i) "vpdpbusd %[y], %[x], %" i "\n\t"
#define FMA(i) "vfmadd231ps %[y], %[x], %" i "\n\t"

LOOP(maddwd_xmm, , 16, "x", TWELVE(MADDWD_XMM))
LOOP(muladd_xmm, , 16, "x", TWELVE(MULADD_XMM))
LOOP(sign_ymm, TARGET("avx2"), 32, "x", TWELVE(SIGN_YMM))
LOOP(nibbles_ymm, TARGET("avx2"), 32, "x", TWELVE(NIBBLES))
LOOP(groups_ymm, TARGET("avx2,fma"), 32, "x", SIX_GROUPS)
LOOP(nibbles_zmm, TARGET("avx512f,avx512bw"), 64, "v", TWELVE(NIBBLES))
LOOP(vnni_ymm, TARGET("avx2"), 32, "x", TWELVE(VNNI_YMM))
LOOP(maddubs_zmm, TARGET("avx512f,avx512bw"), 64, "v", TWELVE(MADDUBS_ZMM))
LOOP(vnni_zmm, TARGET("avx512f,avx512bw"), 64, "v", TWELVE(VNNI_ZMM))
LOOP(fma_ymm, TARGET("avx2,fma"), 32, "x", TWELVE(FMA))
LOOP(fma_zmm, TARGET("avx512f"), 64, "v", TWELVE(FMA))

/* Four sums of tiles, as the kernels have them. */
#define AMX_DOTS()                                                                                                     \
  AMX_DOT(0, 4, 6);                                                                                                    \
  AMX_DOT(1, 4, 7);                                                                                                    \
  AMX_DOT(2, 5, 6);                                                                                                    \
  AMX_DOT(3, 5, 7)
static void amx_registers(uint64_t n) {
  const qk_amx_config c = qk_amx_whole();
  AMX_CONFIGURE(&c); /* tiles are 0: the time of a product does not depend on its values */
  for (; n; n--) { AMX_DOTS(); }
  AMX_RELEASE();
}
/* Each product with a tile from the L1 cache. */
static void amx_loads(uint64_t n) {
  const qk_amx_config c = qk_amx_whole();
  char memory[4][1024] __attribute__((aligned(64)));
  memset(memory, 0x3f, sizeof memory);
  AMX_CONFIGURE(&c);
  for (; n; n--) {
    AMX_LOAD(4, memory[0], 64);
    AMX_LOAD(5, memory[1], 64);
    AMX_LOAD(6, memory[2], 64);
    AMX_LOAD(7, memory[3], 64);
    AMX_DOTS();
  }
  AMX_RELEASE();
}

/* Levels of kernel sets, ascending. */
enum { SSE2 = 1, AVX2, AVXVNNI, AVX512, AVX512VNNI, AMX };
static const struct {
  const char *isa;
  uint32_t level;
} levels[] = {{"avx2", AVX2}, {"avxvnni", AVXVNNI}, {"avx512", AVX512}, {"avx512vnni", AVX512VNNI}, {"amx", AMX}};

static const qn_bench_loop loops[] = {
    {"pmaddwd + paddd xmm", SSE2, QN_BENCH_INT8, 12 * 16, maddwd_xmm},
    {"vpsignb + vpmaddubsw + vpmaddwd + vpaddd ymm", AVX2, QN_BENCH_INT8, 12 * 64, sign_ymm},
    {"vpdpbusd ymm", AVXVNNI, QN_BENCH_INT8, 12 * 64, vnni_ymm},
    {"vpmaddubsw + vpmaddwd + vpaddd zmm", AVX512, QN_BENCH_INT8, 12 * 128, maddubs_zmm},
    {"vpdpbusd zmm", AVX512VNNI, QN_BENCH_INT8, 12 * 128, vnni_zmm},
    {"tdpbsud", AMX, QN_BENCH_TILES, 4 * 32768, amx_registers},
    {"tdpbsud + tileloadd from L1", AMX, QN_BENCH_TILES, 4 * 32768, amx_loads},
    {"8 vpmaddubsw + 7 vpaddw + vpmaddwd + vpaddd ymm", AVX2, QN_BENCH_INT4, 12 * 8 * 64, nibbles_ymm},
    {"8 vpmaddubsw + 7 vpaddw + vpmaddwd + vpaddd + vcvtdq2ps + vfmadd231ps ymm", AVX2, QN_BENCH_INT4_GROUPS,
     6 * 8 * 64, groups_ymm},
    {"8 vpmaddubsw + 7 vpaddw + vpmaddwd + vpaddd zmm", AVX512, QN_BENCH_INT4, 12 * 8 * 128, nibbles_zmm},
    {"mulps + addps xmm", SSE2, QN_BENCH_FLOAT, 12 * 8, muladd_xmm},
    {"vfmadd231ps ymm", AVX2, QN_BENCH_FLOAT, 12 * 16, fma_ymm},
    {"vfmadd231ps zmm", AVX512, QN_BENCH_FLOAT, 12 * 32, fma_zmm},
};

static int level_available(uint32_t level) {
  const uint64_t features = qk_cpu_features();
  unsigned a, b, c, d;
  switch (level) {
    case SSE2:
      return 1;
    case AVX2:
      return (features & QK_CPU_AVX2) != 0;
    case AVXVNNI:
      return (features & QK_CPU_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
    case AVX512:
      return (features & QK_CPU_AVX512) != 0;
    case AVX512VNNI:
      return (features & QK_CPU_AVX512VNNI) != 0;
    case AMX:
      return (features & QK_CPU_AMX) != 0;
    default:
      return 0;
  }
}

#define LOAD_16(stride, move, reg)                                                                                     \
  move " 0*" stride "(%0), " reg "0\n\t" move " 1*" stride "(%0), " reg "1\n\t" move " 2*" stride "(%0), " reg         \
       "2\n\t" move " 3*" stride "(%0), " reg "3\n\t" move " 4*" stride "(%0), " reg "0\n\t" move " 5*" stride         \
       "(%0), " reg "1\n\t" move " 6*" stride "(%0), " reg "2\n\t" move " 7*" stride "(%0), " reg "3\n\t" move         \
       " 8*" stride "(%0), " reg "0\n\t" move " 9*" stride "(%0), " reg "1\n\t" move " 10*" stride "(%0), " reg        \
       "2\n\t" move " 11*" stride "(%0), " reg "3\n\t" move " 12*" stride "(%0), " reg "0\n\t" move " 13*" stride      \
       "(%0), " reg "1\n\t" move " 14*" stride "(%0), " reg "2\n\t" move " 15*" stride "(%0), " reg "3\n\t"
#define READ(fn, attributes, stride, width, move, reg)                                                                 \
  attributes static void fn(const char *p, size_t bytes) {                                                             \
    for (const char *end = p + bytes; p < end; p += 16 * width) {                                                      \
      __asm__ volatile(LOAD_16(stride, move, reg)::"r"(p) : "xmm0", "xmm1", "xmm2", "xmm3", "memory");                 \
    }                                                                                                                  \
  }
READ(read_xmm, , "16", 16, "movaps", "%%xmm")
READ(read_ymm, TARGET("avx2"), "32", 32, "vmovaps", "%%ymm")
READ(read_zmm, TARGET("avx512f"), "64", 64, "vmovaps", "%%zmm")

qn_bench_reader *qn_bench_read_loop(void) {
  return level_available(AVX512) ? read_zmm : level_available(AVX2) ? read_ymm : read_xmm;
}

#elif defined(__aarch64__)
#include "kernels/kernels.h"
#include "kernels/target.h"

#define FMLA(i) "fmla %" i ".4s, %[x].4s, %[y].4s\n\t"
#define SMLAL(i) "smull %[t].8h, %[x].8b, %[y].8b\n\tsadalp %" i ".4s, %[t].8h\n\t"
#define SDOT(i) "sdot %" i ".4s, %[x].16b, %[y].16b\n\t"
#define SMMLA(i) "smmla %" i ".4s, %[x].16b, %[y].16b\n\t"
LOOP(fmla, , 16, "w", TWELVE(FMLA))
LOOP(smlal, , 16, "w", TWELVE(SMLAL))
QK_TARGET_BEGIN_DOTPROD
LOOP(sdot, , 16, "w", TWELVE(SDOT))
QK_TARGET_END
QK_TARGET_BEGIN_I8MM
LOOP(smmla, , 16, "w", TWELVE(SMMLA))
QK_TARGET_END

enum { NEON = 1, DOTPROD, I8MM };
static const struct {
  const char *isa;
  uint32_t level;
} levels[] = {{"neon", NEON}, {"dotprod", DOTPROD}, {"i8mm", I8MM}};

static const qn_bench_loop loops[] = {
    {"smull + sadalp", NEON, QN_BENCH_INT8, 12 * 16, smlal},
    {"sdot", DOTPROD, QN_BENCH_INT8, 12 * 32, sdot},
    {"smmla", I8MM, QN_BENCH_INT8, 12 * 64, smmla},
    {"fmla", NEON, QN_BENCH_FLOAT, 12 * 8, fmla},
};

static int level_available(uint32_t level) {
  switch (level) {
    case NEON:
      return 1;
    case DOTPROD:
      return (qk_cpu_features() & QK_CPU_DOTPROD) != 0;
    case I8MM:
      return (qk_cpu_features() & QK_CPU_I8MM) != 0;
    default:
      return 0;
  }
}

static void read_neon(const char *p, size_t bytes) {
  for (const char *end = p + bytes; p < end; p += 64) {
    __asm__ volatile("ldp q0, q1, [%0]\n\tldp q2, q3, [%0, 32]\n\t" ::"r"(p) : "v0", "v1", "v2", "v3", "memory");
  }
}

qn_bench_reader *qn_bench_read_loop(void) { return read_neon; }

#else
static const struct {
  const char *isa;
  uint32_t level;
} levels[] = {{"ref", 0}};

static void plain_muladd(uint64_t n) {
  volatile float sink;
  float a[16] = {0};
  for (; n; n--) {
    for (int i = 0; i < 16; i++) a[i] = a[i] * 0.5f + 0.75f;
  }
  for (int i = 0; i < 16; i++) sink = a[i];
  (void)sink;
}

static const qn_bench_loop loops[] = {{"a * b + c", 0, QN_BENCH_FLOAT, 32, plain_muladd}};
static int level_available(uint32_t level) { return level == 0; }

static void read_words(const char *p, size_t bytes) {
  volatile uint64_t sink;
  uint64_t sum = 0, word;
  for (const char *end = p + bytes; p < end; p += 8) memcpy(&word, p, 8), sum ^= word;
  sink = sum;
  (void)sink;
}

qn_bench_reader *qn_bench_read_loop(void) { return read_words; }
#endif

const qn_bench_loop *qn_bench_loop_at(uint32_t i) {
  for (size_t j = 0; j < sizeof loops / sizeof loops[0]; j++) {
    if (level_available(loops[j].level) && i-- == 0) return &loops[j];
  }
  return NULL;
}

/* How well a loop's operands are those of `kind`: 0, not at all. */
static int fits(uint32_t loop, uint32_t kind) {
  if (loop == kind) return 3;
  if (kind == QN_BENCH_INT4_GROUPS && loop == QN_BENCH_INT4) return 2;
  return (kind != QN_BENCH_FLOAT && loop == QN_BENCH_INT8) || (kind == QN_BENCH_INT8 && loop == QN_BENCH_TILES);
}

const qn_bench_loop *qn_bench_loop_for(const char *isa, uint32_t kind) {
  const qn_bench_loop *best = NULL, *loop;
  uint32_t most = UINT32_MAX;
  for (size_t j = 0; j < sizeof levels / sizeof levels[0]; j++) {
    if (strcmp(levels[j].isa, isa) == 0) most = levels[j].level;
  }
  for (uint32_t i = 0; (loop = qn_bench_loop_at(i)) != NULL; i++) {
    if (!fits(loop->kind, kind) || loop->level > most) continue;
    if (!best || loop->level > best->level ||
        (loop->level == best->level && fits(loop->kind, kind) > fits(best->kind, kind)))
      best = loop;
  }
  return best;
}
