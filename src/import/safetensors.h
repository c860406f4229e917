/* safetensors.h - the tensors of one or several safetensors files, found by name. Files are mapped and stay so; headers
 * are checked whole at open: everything that can be found lies inside its file and overlaps nothing else. */
#ifndef QN_SAFETENSORS_H
#define QN_SAFETENSORS_H
#include "base/env.h"
#include "base/file.h"
#include "base/json.h"

#define QN_ST_RANK 4u           /* dimensions kept of a shape */
#define QN_ST_NAME 256u         /* of a file, with NUL */
#define QN_ST_FILES 1024u       /* shards at most */
#define QN_ST_HEADER (8u << 20) /* bytes of a header at most: some 60,000 tensors */

typedef struct qn_st_tensor {
  const char *name;  /* NUL-terminated, without NUL inside */
  const char *dtype; /* "F32", ... as in the file, also one that is unknown here */
  uint32_t file;
  uint32_t rank; /* may be above QN_ST_RANK */
  uint64_t dim[QN_ST_RANK];
  uint64_t elements;
  uint64_t begin, end; /* in the file's data */
  const uint8_t *data; /* unaligned */
} qn_st_tensor;

typedef struct qn_st_file {
  qn_map map;
  qn_json header;
  uint64_t data_at; /* offset of the data in the file */
  char name[QN_ST_NAME];
} qn_st_file;

typedef struct qn_safetensors {
  qn_env *env;
  qn_st_file *files;
  qn_st_tensor *tensors; /* by name */
  uint32_t file_count, file_cap;
  size_t count, cap;
  uint64_t bytes; /* of all tensors */
} qn_safetensors;

/* dir/model.safetensors, or else the shards that dir/model.safetensors.index.json lists. limit: 0 or the most bytes of
   one file. On failure nothing stays open. */
quern_status qn_safetensors_open(qn_safetensors *out, qn_env *env, const char *dir, uint64_t limit);
/* One file in memory, which stays the caller's. */
quern_status qn_safetensors_open_memory(qn_safetensors *out, qn_env *env, const char *name, const void *data,
                                        size_t bytes);
void qn_safetensors_close(qn_safetensors *s);
const qn_st_tensor *qn_safetensors_find(const qn_safetensors *s, const char *name); /* NULL: absent */
/* Converts n elements of F32, F16 or BF16 from the first on exactly; dst: [n]. The caller has checked qn_safetensors_is_float and that
   there are so many. NaN and infinity stay what they are. */
void qn_safetensors_convert(const qn_st_tensor *t, uint64_t first, uint64_t n, float *dst);
int qn_safetensors_is_float(const qn_st_tensor *t);
#endif
