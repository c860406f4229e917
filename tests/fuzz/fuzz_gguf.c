/* fuzz_gguf.c - any bytes as a GGUF file: open within memory in proportion to it, find every key and tensor, walk every array,
 * read the tensors; then the same with allocations failing. */
#include "import/gguf.h"
#include "tests/fuzz/fuzz.h"

#define MOST_FLOATS ((uint64_t)1 << 22)

static void within(const qn_gguf *g, const void *p, uint64_t bytes) {
  const uintptr_t at = (uintptr_t)p, data = (uintptr_t)g->map.data;
  FUZZ_NEED(at >= data && at - data <= g->map.bytes && bytes <= g->map.bytes - (at - data));
}

static void walk_value(const qn_gguf *g, const qn_gguf_value *v) {
  static char key[QN_GGUF_KEY + 1];
  const qn_gguf_value *found;
  qn_gguf_text text = {NULL, 0};
  uint64_t u, seen = 0;
  double d;
  int b;
  size_t at = 0;
  FUZZ_NEED(v->key.bytes && v->key.bytes <= QN_GGUF_KEY);
  memcpy(key, v->key.data, v->key.bytes);
  key[v->key.bytes] = 0;
  FUZZ_NEED(qn_gguf_find(g, key) == v);
  within(g, v->data, v->bytes);
  /* Of the getters one fits. */
  const int fits = (qn_gguf_get_uint(g, key, 1, UINT64_MAX, &u) == QUERN_OK) +
                   (qn_gguf_get_float(g, key, 1, &d) == QUERN_OK) + (qn_gguf_get_bool(g, key, 1, &b) == QUERN_OK) +
                   (qn_gguf_get_text(g, key, 1, &text) == QUERN_OK) +
                   (qn_gguf_get_array(g, key, 1, v->kind, &found) == QUERN_OK && found == v);
  FUZZ_NEED(fits <= 1 && (fits || !v->is_array));
  if (v->kind == QN_GGUF_TEXT) {
    for (; qn_gguf_next_text(v, &at, &text); seen++) within(g, text.data, text.bytes);
    FUZZ_NEED(seen == v->count && at == v->bytes);
    return;
  }
  const int floats = v->kind == QN_GGUF_F32 || v->kind == QN_GGUF_F64;
  for (uint64_t i = 0; i < v->count; i++) {
    if (floats)
      (void)qn_gguf_item_float(v, i);
    else
      FUZZ_NEED(v->kind != QN_GGUF_BOOL || qn_gguf_item_int(v, i) >> 1 == 0);
  }
}

static void walk_tensor(const qn_gguf *g, const qn_gguf_tensor *t) {
  FUZZ_NEED(qn_gguf_find_tensor(g, t->name) == t && t->rank <= QN_GGUF_RANK && t->rows * t->columns == t->elements);
  within(g, t->data, t->bytes);
  if (t->elements > MOST_FLOATS) return;
  float *x = malloc((size_t)t->elements * sizeof *x), *row = malloc((size_t)t->columns * sizeof *row);
  if (!x || !row) abort();
  const quern_status status = qn_gguf_read(g, t, 0, t->rows, x);
  FUZZ_NEED(status == QUERN_OK || status == (t->type->expand ? QUERN_E_NONFINITE : QUERN_E_UNSUPPORTED));
  if (t->type->expand) {
    qn_gguf_read(g, t, t->rows - 1, 1, row);
    FUZZ_NEED(!memcmp(row, x + t->elements - t->columns, (size_t)t->columns * sizeof *row));
  }
  free(x);
  free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  quern_status first = QUERN_OK;
  for (long fail_at = 0; fail_at <= 2; fail_at++) {
    fuzz_heap heap = {.left = 8 * bytes, .fail_at = fail_at};
    const quern_allocator alloc = fuzz_allocator(&heap);
    qn_env env;
    qn_gguf g;
    qn_env_init(&env, &alloc, NULL, NULL, 0);
    const quern_status status = qn_gguf_open_memory(&g, &env, "fuzz.gguf", data, bytes);
    if (fail_at == 0) first = status;
    FUZZ_NEED(status == (fail_at && heap.calls >= fail_at ? QUERN_E_MEMORY : first) &&
              (fail_at || first != QUERN_E_MEMORY));
    if (status == QUERN_OK) {
      for (size_t i = 0; fail_at == 0 && i < g.value_count; i++) walk_value(&g, &g.values[i]);
      for (size_t i = 0; fail_at == 0 && i < g.count; i++) walk_tensor(&g, &g.tensors[i]);
      qn_gguf_close(&g);
    }
    FUZZ_NEED(heap.live == 0 && (status == QUERN_OK || env.error.text[0]));
  }
  return 0;
}
