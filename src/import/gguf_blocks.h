/* gguf_blocks.h - the types in which GGUF files hold tensors, and their values as float32, exactly as ggml defines them.
 * Knows no files. Pure functions over constant tables. */
#ifndef QN_GGUF_BLOCKS_H
#define QN_GGUF_BLOCKS_H
#include <stddef.h>
#include <stdint.h>

/* src: [blocks * bytes of the type], unaligned; dst: [blocks * values of the type]. */
typedef void qn_gguf_expand_fn(const uint8_t *src, size_t blocks, float *dst);

typedef struct qn_gguf_type {
  const char *name;          /* as ggml spells it: "Q4_K" */
  uint32_t values, bytes;    /* of a block; a row is whole blocks */
  qn_gguf_expand_fn *expand; /* NULL: a type that is only known by name and size */
} qn_gguf_type;

#define QN_GGUF_EXPANDABLE "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K and IQ4_NL"

/* id: ggml's number of a type. NULL: there is none. */
const qn_gguf_type *qn_gguf_type_of(uint32_t id);
#endif
