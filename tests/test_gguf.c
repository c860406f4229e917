/* test_gguf.c - GGUF files. */
#include "import/gguf.h"
#include "test.h"
#include "tiny_gguf.h"

static qn_env env;

static void reads_a_file(void) {
  tiny_gguf w;
  qn_gguf g;
  float x[6];
  tiny_gguf_begin(&w);
  tiny_gguf_text(&w, "general.architecture", "llama");
  tiny_gguf_tensor(&w, "a", 0, 2, (const uint64_t[]){3, 2}, 0);
  tiny_gguf_end(&w, 24);
  CHECK_EQ(qn_gguf_open_memory(&g, &env, "a.gguf", w.data, w.bytes), QUERN_OK);
  const qn_gguf_tensor *t = qn_gguf_find_tensor(&g, "a");
  CHECK(t && t->rows == 2 && t->columns == 3 && qn_gguf_read(&g, t, 0, 2, x) == QUERN_OK);
  CHECK(!memcmp(x, t->data, sizeof x));
  qn_gguf_close(&g);
  free(w.data);
}

/* With a file's path: every tensor that can be read, by name, as a line "NAME TYPE RANK DIMS... ELEMENTS" and its floats to
   standard output, for tests/compare_gguf.py. */
static int dump(const char *path) {
  qn_gguf g;
  char message[QN_ERROR_BYTES] = "";
  if (qn_gguf_open(&g, &env, path, 0) != QUERN_OK) {
    qn_error_copy(&env.error, message, sizeof message);
    fprintf(stderr, "%s\n", message);
    return 1;
  }
  for (size_t i = 0; i < g.count; i++) {
    const qn_gguf_tensor *t = &g.tensors[i];
    printf("%s %s %u", t->name, t->type->name, t->rank);
    for (uint32_t k = 0; k < t->rank; k++) printf(" %llu", (unsigned long long)t->dim[k]);
    printf("\n");
    float *x = malloc(t->elements * sizeof *x);
    const quern_status s = qn_gguf_read(&g, t, 0, t->rows, x);
    if (s != QUERN_OK && s != QUERN_E_NONFINITE) return 1;
    fwrite(x, sizeof *x, t->elements, stdout);
    free(x);
  }
  qn_gguf_close(&g);
  return 0;
}
int main(int argc, char **argv) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (argc == 2) return dump(argv[1]);
  RUN(reads_a_file);
  return TEST_END();
}
