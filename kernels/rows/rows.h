/* rows.h - every row operation, static, and the function that puts them into a table. An ISA's rows file is: its
 * target, its lanes, this file, and one exported function, outside of the target, of QK_ROWS_SET. */
#ifndef QK_ROWS_ROWS_H
#define QK_ROWS_ROWS_H
#include "kernels/rows/append.h"
#include "kernels/rows/codes.h"
#include "kernels/rows/embed.h"
#include "kernels/rows/gate.h"
#include "kernels/rows/rotate.h"
#include "kernels/rows/vectors.h"

/* A macro, to stand after QK_TARGET_END: a table is built before anything is known about the CPU, and compilers join
   stores of pointers into vectors of the target. */
#define QK_ROWS_SET(t)                                                                                                 \
  do {                                                                                                                 \
    (t)->quantize = qk_rows_quantize;                                                                                  \
    (t)->norm = qk_rows_norm;                                                                                          \
    (t)->embed = qk_rows_embed;                                                                                        \
    (t)->pack_q8 = qk_rows_pack_q8;                                                                                    \
    (t)->activate = qk_rows_activate;                                                                                  \
    (t)->mean_rows = qk_rows_mean;                                                                                     \
    (t)->normalize = qk_rows_normalize;                                                                                \
    (t)->dot = qk_rows_dot;                                                                                            \
    (t)->softmax = qk_rows_softmax;                                                                                    \
    (t)->lookup_q8 = qk_rows_lookup_q8;                                                                                \
    (t)->start_q8 = qk_rows_start_q8;                                                                                  \
    (t)->norm_q8 = qk_rows_norm_q8;                                                                                    \
    (t)->pack_codes = qk_rows_pack_codes;                                                                              \
    (t)->cap = qk_rows_cap;                                                                                            \
    (t)->turns = qk_rows_turns;                                                                                        \
    (t)->rotate = qk_rows_rotate;                                                                                      \
    (t)->gate = qk_rows_gate;                                                                                          \
    (t)->cache_clear = qk_rows_cache_clear;                                                                            \
    (t)->cache_append = qk_rows_cache_append;                                                                          \
  } while (0)
#endif
