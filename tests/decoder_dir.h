/* decoder_dir.h - what tests of decoders' sources share: a directory with a tiny_decoder.h model and beside it m.gguf, opened as sources.
 * Tests only; one thread. */
#ifndef QN_DECODER_DIR_H
#define QN_DECODER_DIR_H
#include "import/import.h"
#include "quern.h"
#include "test.h"
#include "tiny_decoder.h"

static char dir[256], file[300];
static qn_env env;
static quern_context *context;

static inline qn_source *open_source(const char *path) {
  char message[QN_ERROR_BYTES];
  qn_source *s = NULL;
  if (qn_source_open(&s, &env, path, 0) != QUERN_OK) {
    qn_error_copy(&env.error, message, sizeof message);
    printf("  %s\n", message);
  }
  CHECK(s != NULL);
  return s;
}

static inline void fresh(const tiny_decoder *o) {
  tiny_dir_remove(dir);
  mkdir(dir, 0777);
  CHECK(tiny_decoder_write(dir, o));
}

static inline int decoder_dir_start(void) {
  quern_context_options co;
  quern_context_options_init(&co, sizeof co);
  co.threads = 1;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir) || quern_context_create(&context, &co) != QUERN_OK) return 0;
  snprintf(file, sizeof file, "%s/m.gguf", dir);
  return 1;
}
static inline void decoder_dir_end(void) {
  quern_context_free(context);
  tiny_dir_remove(dir);
}
#endif
