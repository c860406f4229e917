/* gguf.h - one GGUF file: metadata by key, tensors by name. The file is mapped and stays so, and is never read whole;
 * everything up to the data is checked at open, and every tensor that can be found lies inside the file and overlaps no
 * other. Not here: what keys and tensors mean. Needs base alone. Thread rule: read-only once open. */
#ifndef QN_GGUF_H
#define QN_GGUF_H
#include "base/env.h"
#include "base/file.h"
#include "import/gguf_blocks.h"

#define QN_GGUF_RANK 4u          /* dimensions of a tensor at most */
#define QN_GGUF_NAME 64u         /* bytes of a tensor's name at most */
#define QN_GGUF_KEY 65535u       /* bytes of a key at most */
#define QN_GGUF_KEYS 65536u      /* at most in a file */
#define QN_GGUF_TENSORS 65536u   /* at most in a file */
#define QN_GGUF_ALIGN (1u << 20) /* of the data at most */
#define QN_GGUF_FILE_NAME 256u   /* with NUL, cut where longer */

/* Bytes in the file: no NUL at the end, any byte inside. */
typedef struct qn_gguf_text {
  const char *data;
  size_t bytes;
} qn_gguf_text;

/* Numbers of the format. */
typedef enum qn_gguf_kind {
  QN_GGUF_U8,
  QN_GGUF_I8,
  QN_GGUF_U16,
  QN_GGUF_I16,
  QN_GGUF_U32,
  QN_GGUF_I32,
  QN_GGUF_F32,
  QN_GGUF_BOOL, /* one byte, 0 or 1 */
  QN_GGUF_TEXT,
  QN_GGUF_ARRAY,
  QN_GGUF_U64,
  QN_GGUF_I64,
  QN_GGUF_F64
} qn_gguf_kind;

typedef struct qn_gguf_value {
  qn_gguf_text key;
  qn_gguf_kind kind; /* of the value, or of an array's items; never QN_GGUF_ARRAY */
  int is_array;
  uint64_t count;      /* items of an array; else 1 */
  const uint8_t *data; /* unaligned; of texts: u64 length and bytes, one after another */
  size_t bytes;
} qn_gguf_value;

typedef struct qn_gguf_tensor {
  char name[QN_GGUF_NAME + 1];
  const qn_gguf_type *type;
  uint32_t rank; /* may be 0: one value */
  uint64_t
      dim[QN_GGUF_RANK];  /* slowest first, the reverse of the file's order: [rows, columns]; none is 0; 1 past rank */
  uint64_t rows, columns; /* columns: the last of dim[rank]; rows: all others multiplied */
  uint64_t elements;
  uint64_t offset, bytes; /* in the file's data */
  const uint8_t *data;    /* unaligned; rows of equal bytes without gaps */
} qn_gguf_tensor;

typedef struct qn_gguf {
  qn_env *env;
  qn_map map;
  char name[QN_GGUF_FILE_NAME]; /* the path's last component, for messages */
  uint32_t version;             /* 2, 3 */
  size_t data_at;               /* offset of the data in the file */
  qn_gguf_value *values;        /* by key */
  qn_gguf_tensor *tensors;      /* by name */
  size_t value_count, count;
  uint64_t bytes; /* of all tensors */
} qn_gguf;

/* limit: 0 or the most bytes of the file (QUERN_E_LIMIT). A malformed file is QUERN_E_SOURCE; one of a kind that is not read
   (version, byte order, part of a split model, arrays of arrays, a type of no known size) QUERN_E_UNSUPPORTED; one past the
   limits above QUERN_E_LIMIT. On failure nothing stays open. Memory: in proportion to the keys and tensors that the file
   has room for, at most 8 times the file; arrays take none. */
quern_status qn_gguf_open(qn_gguf *out, qn_env *env, const char *path, uint64_t limit);
/* A file in memory, which stays the caller's. */
quern_status qn_gguf_open_memory(qn_gguf *out, qn_env *env, const char *name, const void *data, size_t bytes);
void qn_gguf_close(qn_gguf *g);

/* ---- metadata ---- */

const qn_gguf_value *qn_gguf_find(const qn_gguf *g, const char *key); /* NULL: absent */
/* Each writes *out if the key is there and of that kind. An absent key is QUERN_E_SOURCE where it is needed, else
   QUERN_OK and *out stays: put the default there. Another kind or a value out of range is QUERN_E_SOURCE. */
/* Any integer kind. */
quern_status qn_gguf_get_uint(const qn_gguf *g, const char *key, int needed, uint64_t most, uint64_t *out);
/* F32 or F64; finite. */
quern_status qn_gguf_get_float(const qn_gguf *g, const char *key, int needed, double *out);
quern_status qn_gguf_get_bool(const qn_gguf *g, const char *key, int needed, int *out);
quern_status qn_gguf_get_text(const qn_gguf *g, const char *key, int needed, qn_gguf_text *out);
/* like: a kind of the class that its items must be of: any integer for QN_GGUF_I32, F32 and F64 for QN_GGUF_F32, QN_GGUF_BOOL,
   QN_GGUF_TEXT. *out: the value, NULL where absent. */
quern_status qn_gguf_get_array(const qn_gguf *g, const char *key, int needed, qn_gguf_kind like,
                               const qn_gguf_value **out);
/* Item i < v->count of integers or bools. Of U64, what int64_t does not hold is INT64_MAX. */
int64_t qn_gguf_item_int(const qn_gguf_value *v, uint64_t i);
double qn_gguf_item_float(const qn_gguf_value *v, uint64_t i); /* of F32 or F64; NaN and infinity as they are */
/* Texts in order. *at: 0 before the first, moved behind the one given. 0: there are no more. */
int qn_gguf_next_text(const qn_gguf_value *v, size_t *at, qn_gguf_text *out);
int qn_gguf_text_is(qn_gguf_text t, const char *s);

/* ---- tensors ---- */

const qn_gguf_tensor *qn_gguf_find_tensor(const qn_gguf *g, const char *name); /* NULL: absent */
/* QUERN_E_UNSUPPORTED with the type's name where its values cannot be read. */
quern_status qn_gguf_check_type(const qn_gguf *g, const qn_gguf_tensor *t);
/* Rows first ... first + rows - 1 as float32; dst: [rows, t->columns]. All of it: (0, t->rows). Rows that are not there are
   QUERN_E_ARGUMENT. NaN or infinity is QUERN_E_NONFINITE with the tensor's name and the first such element, counted from
   the tensor's first; dst is filled all the same. Any thread. */
quern_status qn_gguf_read(const qn_gguf *g, const qn_gguf_tensor *t, uint64_t first, uint64_t rows, float *dst);
#endif
