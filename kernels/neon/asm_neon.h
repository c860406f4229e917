/* asm_neon.h - loads of two registers, which keep their place among other volatile assembly. */
#ifndef QK_ASM_NEON_H
#define QK_ASM_NEON_H
/* x, y = the 32 bytes at p + at; `at` a constant. */
#define NEON_LOAD2(x, y, p, at)                                                                                        \
  __asm__ volatile("ldp %q0, %q1, [%2, %3]" : "=w"(x), "=w"(y) : "r"(p), "i"(at) : "memory")
#endif
