/* fuzz_quantize.h - a source through the quantizer within limited memory: refused with a message and no file left behind, or made
 * into a file, which is then used; all memory given back. One thread. */
#ifndef QN_FUZZ_QUANTIZE_H
#define QN_FUZZ_QUANTIZE_H
#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define FUZZ_HEAP_BYTES ((size_t)64 << 20)

/* qo: the recipe and limits. fail_at: the allocation that fails; 0: none. use: what is done with the file. */
static inline void fuzz_quantize(const char *source, const char *path, const quern_quantize_options *qo, long fail_at,
                                 void (*use)(quern_context *c, const char *path)) {
  fuzz_heap heap = {.left = FUZZ_HEAP_BYTES, .fail_at = fail_at};
  const quern_allocator alloc = fuzz_allocator(&heap);
  quern_context_options co;
  quern_context *c = NULL;
  char message[600] = "";
  quern_context_options_init(&co, sizeof co);
  co.alloc = &alloc;
  co.threads = 1;
  FUZZ_NEED((quern_context_create(&c, &co) == QUERN_OK) || heap.fail_at);
  if (!c) return;
  const quern_status status = quern_quantize_file(c, source, path, qo, NULL);
  FUZZ_NEED(quern_context_error(c, message, sizeof message) == QUERN_OK);
  FUZZ_NEED(status >= QUERN_OK && status <= QUERN_E_TASK && status != QUERN_E_ARGUMENT);
  FUZZ_NEED(status == QUERN_OK || (message[0] && access(path, F_OK) != 0));
  heap.fail_at = 0;
  if (status == QUERN_OK) use(c, path);
  unlink(path);
  quern_context_free(c);
  FUZZ_NEED(!heap.live && heap.left == FUZZ_HEAP_BYTES);
}

/* The file that was made, whose checksums are right. */
static inline quern_model *fuzz_open_made(quern_context *c, const char *path, quern_model_info *info) {
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  FUZZ_NEED(quern_model_open(&m, c, path, &o) == QUERN_OK);
  *info = (quern_model_info){.size = sizeof *info};
  FUZZ_NEED(quern_model_get_info(m, info) == QUERN_OK);
  return m;
}
#endif
