/* tiny_session.h - a tiny_model.h model quantized by some recipes below `dir`, opened, with a session: what tests of results
 * share. main makes and removes `dir`. Tests only; one thread. */
#ifndef QN_TINY_SESSION_H
#define QN_TINY_SESSION_H
#include "quern.h"
#include "test.h"
#include "tiny_model.h"

typedef struct opened {
  quern_context *c;
  quern_model *m;
  quern_session *s;
} opened;

static char dir[256];

static inline void path_of(char *buf, size_t cap, const char *recipe) { snprintf(buf, cap, "%s/%s.qrn", dir, recipe); }

static inline opened open_model(const char *recipe, const char *isa, uint32_t threads, uint32_t max_tokens,
                                uint32_t max_sequences) {
  opened o = {0};
  char path[300];
  quern_context_options co;
  quern_session_options so;
  quern_context_options_init(&co, sizeof co);
  quern_session_options_init(&so, sizeof so);
  co.isa = isa;
  co.threads = threads;
  so.max_tokens = max_tokens;
  so.max_sequences = max_sequences;
  path_of(path, sizeof path, recipe);
  CHECK_EQ(quern_context_create(&o.c, &co), QUERN_OK);
  CHECK_EQ(quern_model_open(&o.m, o.c, path, NULL), QUERN_OK);
  if (o.m) CHECK_EQ(quern_session_create(&o.s, o.m, &so), QUERN_OK);
  return o;
}

static inline void close_model(opened *o) {
  quern_session_free(o->s);
  quern_model_free(o->m);
  quern_context_free(o->c);
}

/* What no preset has: minima, groups that end within the inputs, tables of 2 bits; zero points of groups; weights of 2 bits with
   integer steps, and of 4 on activations with other groups; one scale a channel on activations with groups. */
static const char *const small_json[][2] = {
    {"small", "{\"name\":\"small\",\"weights\":{\"bits\":4,\"group\":64,\"minimum\":true},\"activations\":{\"bits\":8},"
              "\"embeddings\":{\"bits\":2,\"group\":16}}"},
    {"zeros", "{\"name\":\"zeros\",\"weights\":{\"bits\":4,\"group\":32,\"minimum\":true},"
              "\"activations\":{\"bits\":8,\"group\":32},\"embeddings\":{\"bits\":8}}"},
    {"steps2", "{\"name\":\"steps2\",\"weights\":{\"bits\":2,\"group\":32,\"scales\":\"integer\"},"
               "\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8}}"},
    {"steps4", "{\"name\":\"steps4\",\"weights\":{\"bits\":4,\"group\":32,\"scales\":\"integer\"},"
               "\"activations\":{\"bits\":8,\"group\":64},\"embeddings\":{\"bits\":8}}"},
    {"channel", "{\"name\":\"channel\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"group\":32},"
                "\"embeddings\":{\"bits\":8}}"},
    {"plain", "{\"name\":\"plain\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},"
              "\"embeddings\":{\"bits\":8},\"smooth\":false,\"split\":0}"},
    {"floats", "{\"name\":\"floats\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
               "\"embeddings\":{\"bits\":8},\"sites\":{\"*.sum\":{\"bits\":32},\"layers.*.out\":{\"bits\":32},"
               "\"*.in\":{\"bits\":16}}}"},
    {"grouped", "{\"name\":\"grouped\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
                "\"embeddings\":{\"bits\":4},\"sites\":{\"*.sum\":{\"group\":32},\"layers.*.out\":{\"group\":32,"
                "\"symmetric\":true}}}"},
    {"parted",
     "{\"name\":\"parted\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
     "\"embeddings\":{\"bits\":8},\"order\":\"range\",\"sites\":{\"*.qkv.in\":{\"groups\":2,\"widths\":\"uneven\"},"
     "\"*.ffn.*\":{\"groups\":2,\"widths\":\"uneven\",\"scales\":\"powers\"},\"*.ffn.down.in\":{\"groups\":3,"
     "\"widths\":\"uneven\",\"scales\":\"float\"}}}"},
    {"two", "{\"name\":\"two\",\"weights\":{\"bits\":2,\"group\":32},\"activations\":{\"bits\":8},"
            "\"embeddings\":{\"bits\":8}}"},
    {"symmetric", "{\"name\":\"symmetric\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"symmetric\":true},"
                  "\"embeddings\":{\"bits\":8},\"smooth\":false}"}};
static inline const char *small_recipe(const char *name) {
  for (size_t i = 0; i < sizeof small_json / sizeof small_json[0]; i++)
    if (!strcmp(small_json[i][0], name)) return small_json[i][1];
  return NULL;
}

/* dir/texts.txt: `lines` lines of letters, digits and words, for calibration. */
static inline int write_texts(uint32_t lines) {
  static char text[65536];
  size_t n = 0;
  for (uint32_t i = 0; i < lines; i++) {
    const uint32_t words = 1 + (uint32_t)(tiny_hash(i) % 20);
    for (uint32_t j = 0; j < words && n + 16 < sizeof text; j++) {
      const uint64_t h = tiny_hash(i * 1000 + j);
      if (h % 3)
        n += (size_t)snprintf(text + n, sizeof text - n, "%c%c ", (int)('a' + h / 3 % 26), (int)('0' + h / 7 % 10));
      else
        n += (size_t)snprintf(text + n, sizeof text - n, "%s ", tiny_words[h / 3 % 7]);
    }
    text[n - 1] = '\n';
  }
  text[n] = 0;
  return tiny_text(dir, "texts.txt", text);
}

/* A context and what a file is made by in it. */
typedef struct making {
  const char *isa;
  uint32_t threads;
  const quern_allocator *alloc;
  const char *recipe, *texts, *report; /* texts, report NULL: none */
  double max_loss;
} making;
/* The model of `dir` as the file `path`. message: NULL, or room for what the context says of it in the end. */
static inline quern_status make_file(const making *k, const char *path, char *message, size_t cap) {
  quern_context *c = NULL;
  quern_context_options co;
  quern_quantize_options q;
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&q, sizeof q);
  co.isa = k->isa;
  co.threads = k->threads;
  co.alloc = k->alloc;
  q.recipe = k->recipe;
  q.calibration_path = k->texts;
  q.report_path = k->report;
  q.max_loss = k->max_loss;
  quern_status s = quern_context_create(&c, &co);
  if (s == QUERN_OK) s = quern_quantize_file(c, dir, path, &q, NULL);
  if (c && message) quern_context_error(c, message, cap);
  quern_context_free(c);
  return s;
}
/* A context, the file opened and a session on it, on one thread, where any allocation may fail; then all freed. */
static inline quern_status open_once(const quern_allocator *alloc, const char *path) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *session = NULL;
  quern_context_options co;
  quern_context_options_init(&co, sizeof co);
  co.threads = 1;
  co.alloc = alloc;
  quern_status s = quern_context_create(&c, &co);
  if (s == QUERN_OK) s = quern_model_open(&m, c, path, NULL);
  if (s == QUERN_OK) s = quern_session_create(&session, m, NULL);
  quern_session_free(session);
  quern_model_free(m);
  quern_context_free(c);
  return s;
}

/* Recipes are presets, or in small_json. Static ones see dir/texts.txt. */
static inline int make(const tiny_options *o, const char *const *recipes) {
  quern_context *c = NULL;
  int ok = tiny_model_write(dir, o) && write_texts(80) && quern_context_create(&c, NULL) == QUERN_OK;
  for (; ok && *recipes; recipes++) {
    char path[300], recipe[300], texts[300];
    quern_quantize_options q;
    quern_quantize_options_init(&q, sizeof q);
    snprintf(texts, sizeof texts, "%s/texts.txt", dir);
    q.recipe = *recipes;
    q.calibration_path = texts;
    if (small_recipe(*recipes)) {
      snprintf(recipe, sizeof recipe, "%s/small.json", dir);
      if (!tiny_text(dir, "small.json", small_recipe(*recipes))) break;
      q.recipe = recipe;
    }
    path_of(path, sizeof path, *recipes);
    ok = quern_quantize_file(c, dir, path, &q, NULL) == QUERN_OK;
    if (!ok) {
      char message[512];
      quern_context_error(c, message, sizeof message);
      printf("  %s\n", message);
    }
  }
  quern_context_free(c);
  return ok;
}

static const char *const both[] = {"float", "int8", NULL};
#endif
