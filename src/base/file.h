/* file.h - files in: read-only maps; files out: written under a temporary name, renamed when complete. */
#ifndef QN_FILE_H
#define QN_FILE_H
#include "base/env.h"

typedef struct qn_map {
  const uint8_t *data; /* page aligned */
  size_t bytes;
  int mapped; /* 0: memory of the caller's */
} qn_map;
/* A regular file; limit: 0 or the most bytes it may have (QUERN_E_LIMIT, before mapping). An empty file has data NULL.
 */
quern_status qn_map_open(qn_map *out, qn_env *env, const char *path, uint64_t limit);
quern_status qn_map_open_fd(qn_map *out, qn_env *env, int fd, uint64_t limit);
void qn_map_close(qn_map *m);

/* 1 also where the system will not tell (permissions, a failing disk): opening it says why, and no optional file is taken
   for a missing one. */
int qn_path_exists(const char *path);
/* unknown: the answer where the system will not tell. */
int qn_path_is_directory(const char *path, int unknown);
/* Whether both paths lead to the same regular file. */
int qn_path_same(const char *a, const char *b);
/* "dir/name" into buf; QUERN_E_ARGUMENT when it does not fit. */
quern_status qn_path_join(qn_env *env, char *buf, size_t cap, const char *dir, const char *name);

/* Output file: bytes go to "<path>.tmp.<pid>.<counter>" in the same directory; commit flushes, fsyncs and renames it
   over path; abort (or a failed commit) unlinks it. Buffered 64 KiB. discard != 0: a dry run, nothing is created. */
typedef struct qn_output qn_output;
/* Whether path could be opened now, before work that ends there; nothing stays behind. */
quern_status qn_output_check(qn_env *env, const char *path);
quern_status qn_output_open(qn_output **out, qn_env *env, const char *path, int discard);
quern_status qn_output_write(qn_output *o, const void *p, size_t bytes);
/* Overwrites bytes already written (header, checksums). */
quern_status qn_output_rewrite(qn_output *o, uint64_t offset, const void *p, size_t bytes);
quern_status qn_output_commit(qn_output *o); /* frees o, also on failure */
void qn_output_abort(qn_output *o);          /* frees o; NULL is fine */
#endif
