/* target.h - function-level instruction sets: an ISA's .c file is compiled with the same flags as every other and opens
 * with QK_TARGET_BEGIN_<ISA>, after its includes of system headers, and closes with QK_TARGET_END. What stands between
 * may use the ISA's instructions; nothing else in the library does. Where QK_X86 or QK_ARM64 is 0 the files of that
 * architecture compile to nothing. NEON is part of every AArch64 and needs no target. */
#ifndef QK_TARGET_H
#define QK_TARGET_H
#if defined(__x86_64__) && defined(__GNUC__)
#define QK_X86 1
#include <immintrin.h>
#else
#define QK_X86 0
#endif
/* Little-endian only: packed weights are read as words. */
#if defined(__aarch64__) && defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define QK_ARM64 1
#include <arm_neon.h>
#else
#define QK_ARM64 0
#endif

#define QK_PRAGMA_(x) _Pragma(#x)
#ifdef __clang__
#define QK_TARGET_(list) QK_PRAGMA_(clang attribute push(__attribute__((target(list))), apply_to = function))
#define QK_TARGET_END _Pragma("clang attribute pop")
#else
#define QK_TARGET_(list) _Pragma("GCC push_options") QK_PRAGMA_(GCC target(list))
#define QK_TARGET_END _Pragma("GCC pop_options")
#endif
/* Before a loop that must unroll whole, so that what it indexes lives in registers. Its bounds are constants once
   functions are inlined. Only unroll(full) makes clang do it early enough for that; at -O1 it warns that it cannot. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#if __has_feature(address_sanitizer)
#define QK_UNROLL /* checks around every access of unrolled tiles take clang minutes a file */
#else
#define QK_UNROLL _Pragma("clang loop unroll(full)")
#endif
#else
#define QK_UNROLL _Pragma("GCC unroll 16")
#endif
#define QK_INLINE static inline __attribute__((always_inline))

#define QK_TARGET_BEGIN_AVX2 QK_TARGET_("avx2,fma,f16c")
#define QK_TARGET_BEGIN_AVX512 QK_TARGET_("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#define QK_TARGET_BEGIN_AVX512VNNI QK_TARGET_("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

/* clang (14 on) wants the names of extensions; gcc an architecture, without which assemblers refuse them. */
#ifdef __clang__
#define QK_TARGET_BEGIN_DOTPROD QK_TARGET_("dotprod")
#define QK_TARGET_BEGIN_I8MM QK_TARGET_("dotprod,i8mm")
#else
#define QK_TARGET_BEGIN_DOTPROD QK_TARGET_("arch=armv8.2-a+dotprod")
#define QK_TARGET_BEGIN_I8MM QK_TARGET_("arch=armv8.2-a+dotprod+i8mm")
#endif
#endif
