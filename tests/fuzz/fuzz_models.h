/* fuzz_models.h - small models for fuzz targets: written by tests/tiny_model.h into a directory that lives as long as the
 * process, quantized by the library itself, kept in memory. One thread. */
#ifndef QN_FUZZ_MODELS_H
#define QN_FUZZ_MODELS_H
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_model.h"

typedef struct fuzz_model {
  uint8_t *data; /* aligned to 64 */
  size_t bytes;
  uint32_t outputs; /* floats of an embedding, or labels, or the 2 of an answer */
  int labels, span;
} fuzz_model;

#define FUZZ_MODELS 5u
static fuzz_model fuzz_models[FUZZ_MODELS];

static inline void fuzz_make_model(fuzz_model *m, const tiny_options *o, const char *recipe) {
  char dir[256], path[300];
  quern_context *c = NULL;
  quern_context_options co;
  quern_quantize_options qo;
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&qo, sizeof qo);
  co.threads = 1;
  qo.recipe = recipe;
  FUZZ_NEED(tiny_dir_make(dir, sizeof dir) && tiny_model_write(dir, o));
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  FUZZ_NEED(quern_context_create(&c, &co) == QUERN_OK && quern_quantize_file(c, dir, path, &qo, NULL) == QUERN_OK);
  quern_context_free(c);
  uint8_t *file = tiny_read(path, &m->bytes);
  tiny_dir_remove(dir);
  FUZZ_NEED(file && posix_memalign((void **)&m->data, 64, m->bytes) == 0);
  memcpy(m->data, file, m->bytes);
  free(file);
  m->labels = o->labels != 0, m->span = o->span;
  m->outputs = o->labels ? o->labels : o->span ? 2 : o->dense ? o->dense : o->width;
}

/* An int8 and a float embedder, a classifier, a regression, a finder of answers, of different families. */
static inline void fuzz_make_models(void) {
  tiny_options o = tiny_defaults();
  o.width = 8, o.heads = 2, o.ffn = 16, o.layers = 1, o.positions = 16, o.max_seq = 12;
  fuzz_make_model(&fuzz_models[0], &o, "int8");
  o.model_type = "mpnet", o.dense = 5;
  fuzz_make_model(&fuzz_models[1], &o, "float");
  o.model_type = "electra", o.embed_width = 5, o.dense = 0, o.labels = 3;
  fuzz_make_model(&fuzz_models[2], &o, "int8");
  o.model_type = "distilbert", o.embed_width = 0, o.labels = 1;
  fuzz_make_model(&fuzz_models[3], &o, "int8");
  o.model_type = "bert", o.labels = 0, o.span = 1, o.positions = 24, o.max_seq = 0;
  fuzz_make_model(&fuzz_models[4], &o, "int8");
}
#endif
