/* decoder_session.h - models of made_source.h as files below `dir`, opened, with a session: what tests of decoders share.
 * main makes and removes `dir`. Tests only; one thread. */
#ifndef QN_DECODER_SESSION_H
#define QN_DECODER_SESSION_H
#include "quern.h"
#include "test.h"
#include "made_source.h"

static char dir[256];

typedef struct decoder {
  quern_context *c;
  quern_model *m;
  quern_session *s;
} decoder;

/* recipe: a preset's name or the path of a file. */
static inline const char *decoder_path(const char *arch, const char *recipe) {
  static char path[1024];
  const char *slash = strrchr(recipe, '/');
  snprintf(path, sizeof path, "%s/%s.%s.qrn", dir, arch, slash ? slash + 1 : recipe);
  return path;
}

/* tiny_source becomes the architecture of that name; its file by a recipe. */
static inline void make_decoder(const char *arch, const char *recipe) {
  quern_context *c = NULL;
  quern_quantize_options o;
  char message[512] = "";
  quern_quantize_options_init(&o, sizeof o);
  o.recipe = recipe;
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  const quern_status s = quern_quantize_file(c, "tiny", decoder_path(arch, recipe), &o, NULL);
  CHECK_EQ(s, QUERN_OK);
  if (s) quern_context_error(c, message, sizeof message), printf("  %s %s: %s\n", arch, recipe, message);
  quern_context_free(c);
}

static inline quern_session_options session_of(uint32_t max_tokens, uint32_t sequences, uint32_t cache_tokens,
                                               uint32_t logit_rows) {
  quern_session_options so;
  quern_session_options_init(&so, sizeof so);
  so.max_tokens = max_tokens;
  so.max_sequences = sequences;
  so.cache_tokens = cache_tokens;
  so.logit_rows = logit_rows;
  return so;
}

static inline decoder open_decoder(const char *arch, const char *recipe, const char *isa, uint32_t threads,
                                   const quern_session_options *so) {
  decoder d = {0};
  char message[512] = "";
  quern_context_options co;
  quern_context_options_init(&co, sizeof co);
  co.isa = isa;
  co.threads = threads;
  CHECK_EQ(quern_context_create(&d.c, &co), QUERN_OK);
  quern_status s = quern_model_open(&d.m, d.c, decoder_path(arch, recipe), NULL);
  if (s == QUERN_OK) s = quern_session_create(&d.s, d.m, so);
  CHECK_EQ(s, QUERN_OK);
  if (s) quern_context_error(d.c, message, sizeof message), printf("  %s %s: %s\n", arch, recipe, message);
  return d;
}

static inline void close_decoder(decoder *d) {
  quern_session_free(d->s);
  quern_model_free(d->m);
  quern_context_free(d->c);
}

/* Token i of text number `text`. */
static inline int32_t token_of(uint64_t text, uint64_t i) {
  return (int32_t)(1 + tiny_hash(text * 100003 + i) % (TINY_VOCAB - 1));
}

static inline quern_status say(const decoder *d, quern_status s) {
  char message[512] = "";
  if (s) quern_session_error(d->s, message, sizeof message), printf("  %s\n", message);
  return s;
}

/* Appends tokens from ... from + n - 1 of a text to a sequence, `chunk` at a time, and writes the logits after each to out. */
static inline void feed_rows(const decoder *d, uint32_t sequence, uint64_t text, uint32_t from, uint32_t n,
                             uint32_t chunk, float *out) {
  for (uint32_t i = 0; i < n; i += chunk) {
    const uint32_t count = i + chunk < n ? chunk : n - i;
    int32_t *ids = malloc(count * sizeof *ids);
    quern_tensor_view v = {0};
    for (uint32_t j = 0; j < count; j++) ids[j] = token_of(text, from + i + j);
    CHECK_EQ(say(d, quern_decode_feed(d->s, sequence, ids, count)), QUERN_OK);
    CHECK_EQ(say(d, quern_decode_rows(d->s, 0, count, &v, NULL)), QUERN_OK);
    if (v.data) memcpy(out + (size_t)i * v.cols, v.data, v.rows * v.cols * sizeof(float));
    free(ids);
  }
}
#endif
