/* fuzz_decoder.h - small decoders for fuzz targets, made by the library itself and kept in memory, and a place for saved sequences
 * of them. One thread. */
#ifndef QN_FUZZ_DECODER_H
#define QN_FUZZ_DECODER_H
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_decoder.h"

#define FUZZ_POSITIONS 200u

typedef struct fuzz_decoder {
  quern_model *model;
  uint64_t checksum; /* that a saved sequence names it by */
} fuzz_decoder;

static quern_context *fuzz_context;
static char fuzz_path[64]; /* of a saved sequence */

static inline void fuzz_make_decoder(fuzz_decoder *d, const char *family) {
  char dir[256], file[300];
  quern_context_options co;
  quern_quantize_options qo;
  tiny_decoder o = tiny_decoder_of(family);
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&qo, sizeof qo);
  co.threads = 1;
  o.layers = 1, o.positions = FUZZ_POSITIONS;
  FUZZ_NEED(tiny_dir_make(dir, sizeof dir) && tiny_decoder_write(dir, &o));
  snprintf(file, sizeof file, "%s/m.qrn", dir);
  FUZZ_NEED(fuzz_context || quern_context_create(&fuzz_context, &co) == QUERN_OK);
  FUZZ_NEED(quern_quantize_file(fuzz_context, dir, file, &qo, NULL) == QUERN_OK);
  size_t bytes = 0;
  uint8_t *data = tiny_read(file, &bytes);
  FUZZ_NEED(data && bytes > 64);
  memcpy(&d->checksum, data + 56, sizeof d->checksum);
  void *copy;
  FUZZ_NEED(posix_memalign(&copy, 64, bytes) == 0);
  memcpy(copy, data, bytes);
  free(data);
  FUZZ_NEED(quern_model_open_memory(&d->model, fuzz_context, copy, bytes, NULL) == QUERN_OK);
  tiny_dir_remove(dir);
  const char *shm = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(fuzz_path, sizeof fuzz_path, "%s/quern-fuzz-%ld", shm, (long)getpid());
}

/* Writes n bytes there as a saved sequence of the decoder: its magic, model, size and checksum are put right, or nothing would get
   past them. */
static inline void fuzz_write_saved(const fuzz_decoder *d, const uint8_t *p, size_t n) {
  uint8_t *copy = malloc(n + 1);
  FILE *f = fopen(fuzz_path, "wb");
  FUZZ_NEED(copy && f);
  if (n) memcpy(copy, p, n);
  if (n >= 72) {
    const uint64_t size = n;
    memcpy(copy, "\x89QSQ\r\n\x1a\n", 8);
    memcpy(copy + 16, &d->checksum, 8);
    memcpy(copy + 48, &size, 8);
    const uint64_t sum = qn_xxh64(copy, n - 8, 0);
    memcpy(copy + n - 8, &sum, 8);
  }
  FUZZ_NEED(fwrite(copy, 1, n, f) == n && fclose(f) == 0);
  free(copy);
}
#endif
