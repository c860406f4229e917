/* tiles_amx.h - the vocabulary of tiles: AMX-INT8's instructions. Numbers of tiles are constants, 0 ... 7. Assembly, because
 * the intrinsics of gcc 12 do not say that a load reads memory; needs no compiler flag. The products over tiles
 * (kernels/products) are written in these names, and the kernel checker has them in plain C. */
#ifndef QK_TILES_AMX_H
#define QK_TILES_AMX_H

/* Rows and bytes of a row of every tile (amx_config.h); tiles become 0. Until AMX_RELEASE the thread's state is 8 KiB larger. */
#define AMX_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)) : "memory")
#define AMX_RELEASE() __asm__ volatile("tilerelease" ::: "memory")
/* Rows that are `stride` bytes apart. */
#define AMX_LOAD(tile, p, stride)                                                                                      \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(p), "r"((size_t)(stride)) : "memory")
/* The same of data that is not wanted in the L1 cache afterwards. */
#define AMX_LOAD_PASSING(tile, p, stride)                                                                              \
  __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile ::"r"(p), "r"((size_t)(stride)) : "memory")
#define AMX_STORE(tile, p, stride)                                                                                     \
  __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(p), "r"((size_t)(stride)) : "memory")
/* sum[m][n] += sum over k, i < 4 of a[m][4 k + i] (signed) * w[k][4 n + i] (unsigned), modulo 2^32. */
#define AMX_DOT(sum, a, w) __asm__ volatile("tdpbsud %%tmm" #w ", %%tmm" #a ", %%tmm" #sum ::)
#endif
