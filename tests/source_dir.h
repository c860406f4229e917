/* source_dir.h - what tests of importing share: a directory with a tiny_model.h model that is edited, opened, refused. `env`
 * and `dir` are set up by main. Tests only; one thread. */
#ifndef QN_SOURCE_DIR_H
#define QN_SOURCE_DIR_H
#include "import/import.h"
#include "test.h"
#include "tiny_model.h"

static char dir[256];
static qn_env env;

/* Replaces the first `from` in a file of dir. */
static inline int edit(const char *name, const char *from, const char *to) {
  char path[512];
  size_t bytes;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  char *text = (char *)tiny_read(path, &bytes), *at = NULL;
  for (size_t i = 0; text && !at && i + strlen(from) <= bytes; i++)
    if (!memcmp(text + i, from, strlen(from))) at = text + i;
  int ok = at != NULL;
  if (ok) {
    size_t head = (size_t)(at - text), tail = bytes - head - strlen(from);
    char *out = malloc(bytes + strlen(to) + 1);
    memcpy(out, text, head);
    memcpy(out + head, to, strlen(to));
    memcpy(out + head + strlen(to), at + strlen(from), tail);
    ok = tiny_file(dir, name, out, head + strlen(to) + tail);
    free(out);
  }
  free(text);
  return ok;
}

static inline void remove_file(const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  unlink(path);
}

/* Opens dir; the status, and the words that the message must have. */
static inline int refused(quern_status expected, const char *words) {
  char message[QN_ERROR_BYTES];
  qn_source *s = NULL;
  quern_status status = qn_source_open(&s, &env, dir, 0);
  qn_error_copy(&env.error, message, sizeof message);
  int ok = status == expected && s == NULL && strstr(message, words);
  if (!ok) printf("  status %d, message: %s\n", status, status ? message : "");
  qn_source_close(s);
  return ok;
}

/* Writes the model afresh, opens it. */
static inline qn_source *open_model(const tiny_options *o) {
  char message[QN_ERROR_BYTES];
  qn_source *s = NULL;
  tiny_dir_remove(dir);
  mkdir(dir, 0777);
  CHECK(tiny_model_write(dir, o));
  if (qn_source_open(&s, &env, dir, 0) != QUERN_OK) {
    qn_error_copy(&env.error, message, sizeof message);
    printf("  %s\n", message);
  }
  CHECK(s != NULL);
  return s;
}

static inline void fresh(const tiny_options *o) {
  tiny_dir_remove(dir);
  mkdir(dir, 0777);
  CHECK(tiny_model_write(dir, o));
}

/* Reads a tensor of at most 96 x 64 and compares it with what the generator wrote. */
static inline int same_weights(const qn_source *s, const tiny_options *o, const char *name, const char *source,
                               uint32_t rank, uint64_t rows, uint64_t cols) {
  static float got[96 * 64];
  uint64_t dim[2] = {rows, cols};
  int present = 0;
  if (qn_source_read(s, name, rank, rank == 1 ? dim + 1 : dim, got, &present) != QUERN_OK || !present) return 0;
  for (uint64_t i = 0; i < rows * cols; i++) {
    float x = tiny_weight(o->seed, source, i);
    if (!strcmp(o->dtype, "BF16")) {
      uint32_t u = (uint32_t)tiny_bf16(x) << 16;
      memcpy(&x, &u, 4);
    }
    if (memcmp(&got[i], &x, 4) != 0) return 0;
  }
  return 1;
}
#endif
