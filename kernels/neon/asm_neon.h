/* asm_neon.h - loads and stores of two registers, which keep their place among other volatile assembly: compilers pair them
 * only where they do not reorder. `at` is a constant. */
#ifndef QK_ASM_NEON_H
#define QK_ASM_NEON_H
/* x, y = the 32 bytes at p + at. */
#define NEON_LOAD2(x, y, p, at)                                                                                        \
  __asm__ volatile("ldp %q0, %q1, [%2, %3]" : "=w"(x), "=w"(y) : "r"(p), "i"(at) : "memory")
#define NEON_LOAD1(x, p, at) __asm__ volatile("ldr %q0, [%1, %2]" : "=w"(x) : "r"(p), "i"(at) : "memory")
#define NEON_STORE2(x, y, p, at) __asm__ volatile("stp %q0, %q1, [%2, %3]" ::"w"(x), "w"(y), "r"(p), "i"(at) : "memory")
#endif
