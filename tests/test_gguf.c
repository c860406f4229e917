/* test_gguf.c - GGUF files: metadata and shapes as they are written, the floats of every block type as ggml defines them
 * (tests/goldens/gguf_blocks.json, of tools/make_gguf_goldens.py). Hostile files: test_hostile_gguf.c. */
#include <math.h>
#include "base/json.h"
#include "import/gguf.h"
#include "test.h"
#include "tiny_gguf.h"

static qn_env env;

static int says(quern_status status, quern_status expected, const char *words) {
  return tiny_gguf_says(&env, status, expected, words);
}

static int opens(qn_gguf *g, const tiny_gguf *w) {
  return says(qn_gguf_open_memory(g, &env, "a.gguf", w->data, w->bytes), QUERN_OK, "");
}

/* ---- metadata ---- */

static tiny_gguf metadata(void) {
  tiny_gguf w;
  tiny_gguf_begin(&w);
  tiny_gguf_value(&w, "z.u8", 0, "\xff", 1);
  tiny_gguf_value(&w, "i8", 1, "\xff", 1);
  tiny_gguf_value(&w, "u16", 2, "\xfe\xff", 2);
  tiny_gguf_value(&w, "i16", 3, "\x02\x80", 2);
  tiny_gguf_int(&w, "u32", 4000000000u);
  tiny_gguf_value(&w, "i32", 5, &(int32_t){-5}, 4);
  tiny_gguf_float(&w, "f32", 0.1f);
  tiny_gguf_bool(&w, "yes", 1);
  tiny_gguf_bool(&w, "no", 0);
  tiny_gguf_text(&w, "general.architecture", "llama");
  tiny_gguf_text(&w, "general.name", "");
  tiny_gguf_value(&w, "u64", 10, &(uint64_t){UINT64_MAX}, 8);
  tiny_gguf_value(&w, "i64", 11, &(int64_t){-1000000000000}, 8);
  tiny_gguf_value(&w, "f64", 12, &(double){1e300}, 8);
  tiny_gguf_float(&w, "nan", (float)NAN);
  tiny_gguf_array(&w, "tokens", 8, 3);
  tiny_gguf_string(&w, "a");
  tiny_gguf_string(&w, "");
  tiny_gguf_string(&w, "\xe2\x96\x81the");
  tiny_gguf_items(&w, "scores", 6, 2, (float[]){1.5f, -INFINITY}, 8);
  tiny_gguf_items(&w, "doubles", 12, 1, &(double){0.25}, 8);
  tiny_gguf_items(&w, "types", 5, 3, (int32_t[]){-1, 2, 3}, 12);
  tiny_gguf_items(&w, "words", 2, 2, (uint16_t[]){65535, 1}, 4);
  tiny_gguf_items(&w, "longs", 11, 1, &(int64_t){-7}, 8);
  tiny_gguf_items(&w, "flags", 7, 3, "\1\0\1", 3);
  tiny_gguf_items(&w, "none", 8, 0, "", 0);
  tiny_gguf_text(&w, "general.architecture.x", "longer");
  tiny_gguf_end(&w, 0);
  return w;
}

static void reads_metadata(void) {
  static const char *const texts[] = {"a", "", "\xe2\x96\x81the"};
  tiny_gguf w = metadata();
  qn_gguf g;
  qn_gguf_text text = {"other", 5};
  const qn_gguf_value *v;
  uint64_t u = 7;
  double d = 7;
  int b = 7;
  size_t at = 0, n = 0;
  if (!opens(&g, &w)) return;
  CHECK(g.version == 3 && g.value_count == 24 && g.count == 0 && g.bytes == 0);
  CHECK(qn_gguf_get_uint(&g, "z.u8", 1, 255, &u) == QUERN_OK && u == 255);
  CHECK(qn_gguf_get_uint(&g, "u16", 1, 65534, &u) == QUERN_OK && u == 65534);
  CHECK(qn_gguf_get_uint(&g, "u32", 1, UINT32_MAX, &u) == QUERN_OK && u == 4000000000u);
  CHECK(qn_gguf_get_uint(&g, "u64", 1, UINT64_MAX, &u) == QUERN_OK && u == UINT64_MAX);
  CHECK(qn_gguf_get_uint(&g, "absent", 0, 9, &u) == QUERN_OK && u == UINT64_MAX);
  CHECK(says(qn_gguf_get_uint(&g, "absent", 1, 9, &u), QUERN_E_SOURCE, "the key absent is missing"));
  CHECK(says(qn_gguf_get_uint(&g, "u64", 1, UINT64_MAX - 1, &u), QUERN_E_SOURCE, "is 18446744073709551615, 18"));
  CHECK(says(qn_gguf_get_uint(&g, "i8", 0, 9, &u), QUERN_E_SOURCE, "i8 is -1"));
  CHECK(says(qn_gguf_get_uint(&g, "i16", 0, 9, &u), QUERN_E_SOURCE, "i16 is -32766"));
  CHECK(says(qn_gguf_get_uint(&g, "i32", 0, 9, &u), QUERN_E_SOURCE, "i32 is -5"));
  CHECK(says(qn_gguf_get_uint(&g, "i64", 0, 9, &u), QUERN_E_SOURCE, "i64 is -1000000000000"));
  CHECK(says(qn_gguf_get_uint(&g, "f32", 0, 9, &u), QUERN_E_SOURCE, "f32 is float32, not an integer"));
  CHECK(says(qn_gguf_get_uint(&g, "yes", 0, 9, &u), QUERN_E_SOURCE, "yes is bool, not an integer"));
  CHECK(says(qn_gguf_get_uint(&g, "types", 0, 9, &u), QUERN_E_SOURCE, "types is an array of int32, not an integer"));
  CHECK(u == UINT64_MAX);
  CHECK(qn_gguf_get_float(&g, "f32", 1, &d) == QUERN_OK && d == (double)0.1f);
  CHECK(qn_gguf_get_float(&g, "f64", 1, &d) == QUERN_OK && d == 1e300);
  CHECK(says(qn_gguf_get_float(&g, "nan", 0, &d), QUERN_E_SOURCE, "nan is NaN or infinite"));
  CHECK(says(qn_gguf_get_float(&g, "u32", 0, &d), QUERN_E_SOURCE, "u32 is uint32, not a float"));
  CHECK(d == 1e300);
  CHECK(qn_gguf_get_bool(&g, "yes", 1, &b) == QUERN_OK && b == 1);
  CHECK(qn_gguf_get_bool(&g, "no", 1, &b) == QUERN_OK && b == 0);
  CHECK(says(qn_gguf_get_bool(&g, "z.u8", 0, &b), QUERN_E_SOURCE, "not a bool"));
  CHECK(qn_gguf_get_text(&g, "absent", 0, &text) == QUERN_OK && qn_gguf_text_is(text, "other"));
  CHECK(qn_gguf_get_text(&g, "general.architecture", 1, &text) == QUERN_OK && qn_gguf_text_is(text, "llama"));
  CHECK(!qn_gguf_text_is(text, "llama2") && !qn_gguf_text_is(text, "llam"));
  CHECK(qn_gguf_get_text(&g, "general.name", 1, &text) == QUERN_OK && text.bytes == 0 && qn_gguf_text_is(text, ""));
  CHECK(says(qn_gguf_get_text(&g, "tokens", 1, &text), QUERN_E_SOURCE, "an array of text, not a text"));
  CHECK(qn_gguf_get_array(&g, "tokens", 1, QN_GGUF_TEXT, &v) == QUERN_OK && v->count == 3);
  for (; qn_gguf_next_text(v, &at, &text); n++) CHECK(n < 3 && qn_gguf_text_is(text, texts[n]));
  CHECK_EQ(n, 3);
  CHECK(qn_gguf_get_array(&g, "none", 1, QN_GGUF_TEXT, &v) == QUERN_OK && v->count == 0);
  at = 0;
  CHECK(!qn_gguf_next_text(v, &at, &text));
  CHECK(qn_gguf_get_array(&g, "scores", 1, QN_GGUF_F64, &v) == QUERN_OK && v->count == 2);
  CHECK(qn_gguf_item_float(v, 0) == 1.5 && qn_gguf_item_float(v, 1) == (double)-INFINITY);
  CHECK(qn_gguf_get_array(&g, "doubles", 1, QN_GGUF_F32, &v) == QUERN_OK && qn_gguf_item_float(v, 0) == 0.25);
  CHECK(qn_gguf_get_array(&g, "types", 1, QN_GGUF_U8, &v) == QUERN_OK && qn_gguf_item_int(v, 0) == -1);
  CHECK(qn_gguf_item_int(v, 2) == 3);
  CHECK(qn_gguf_get_array(&g, "words", 1, QN_GGUF_I32, &v) == QUERN_OK && qn_gguf_item_int(v, 0) == 65535);
  CHECK(qn_gguf_get_array(&g, "longs", 1, QN_GGUF_I32, &v) == QUERN_OK && qn_gguf_item_int(v, 0) == -7);
  CHECK(qn_gguf_get_array(&g, "flags", 1, QN_GGUF_BOOL, &v) == QUERN_OK && v->count == 3 &&
        qn_gguf_item_int(v, 2) == 1);
  CHECK(qn_gguf_get_array(&g, "absent", 0, QN_GGUF_BOOL, &v) == QUERN_OK && !v);
  CHECK(says(qn_gguf_get_array(&g, "u32", 0, QN_GGUF_I32, &v), QUERN_E_SOURCE, "u32 is uint32, not an array"));
  CHECK(
      says(qn_gguf_get_array(&g, "types", 0, QN_GGUF_TEXT, &v), QUERN_E_SOURCE, "of int32, not an array, each a text"));
  qn_gguf_close(&g);
  qn_gguf_close(&g); /* of what is closed: nothing */
  free(w.data);
}

/* ---- tensors ---- */

static void reads_shapes(void) {
  static const uint64_t dim[] = {5, 4, 3, 2};
  static const char *const names[] = {"r0", "r1", "r2", "r3", "r4"};
  tiny_gguf w;
  qn_gguf g;
  uint64_t elements = 1;
  float x[5];
  tiny_gguf_begin(&w);
  for (uint32_t r = 5; r-- > 0;) tiny_gguf_tensor(&w, names[r], 0, r, dim, r * 256);
  tiny_gguf_end(&w, 4 * 256 + 120 * 4);
  memcpy(w.data, "GGUF\2", 5); /* of version 2 alike */
  if (!opens(&g, &w)) return;
  CHECK(g.version == 2 && g.count == 5 && g.bytes == 4 * (1 + 5 + 20 + 60 + 120));
  for (uint32_t r = 0; r < 5; r++) {
    const qn_gguf_tensor *t = qn_gguf_find_tensor(&g, names[r]);
    if (r) elements *= dim[r - 1];
    CHECK(t && t->rank == r && t->elements == elements && t->bytes == 4 * elements && t->rows * t->columns == elements);
    for (uint32_t i = 0; t && i < QN_GGUF_RANK; i++) CHECK_EQ(t->dim[i], i < r ? dim[r - 1 - i] : 1);
    CHECK(t && t->columns == (r ? 5 : 1) && t->data == g.map.data + g.data_at + r * 256);
  }
  CHECK(!qn_gguf_find_tensor(&g, "r") && !qn_gguf_find_tensor(&g, "r00") && !qn_gguf_find_tensor(&g, "s"));
  const qn_gguf_tensor *t = qn_gguf_find_tensor(&g, "r4");
  CHECK(t && qn_gguf_read(&g, t, 23, 1, x) == QUERN_OK && !memcmp(x, t->data + 23 * 20, sizeof x));
  CHECK(t && qn_gguf_read(&g, t, 24, 0, x) == QUERN_OK);
  CHECK(t && says(qn_gguf_read(&g, t, 24, 1, x), QUERN_E_ARGUMENT, "1 rows from row 24 on, and it has 24"));
  CHECK(t && says(qn_gguf_read(&g, t, 1, UINT64_MAX, x), QUERN_E_ARGUMENT, "and it has 24"));
  qn_gguf_close(&g);
  free(w.data);
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Every type of the goldens, from a file: all rows, and each row by itself. */
static void blocks_are_ggmls(void) {
  static const struct {
    const char *name;
    uint32_t id;
  } cases[] = {{"F32", 0},  {"F16", 1},   {"BF16", 30}, {"Q4_0", 2},  {"Q4_1", 3},  {"Q5_0", 6},  {"Q5_1", 7},
               {"Q8_0", 8}, {"Q2_K", 10}, {"Q3_K", 11}, {"Q4_K", 12}, {"Q5_K", 13}, {"Q6_K", 14}, {"IQ4_NL", 20}};
  qn_json j;
  size_t bytes;
  uint8_t *json = tiny_read("tests/goldens/gguf_blocks.json", &bytes);
  CHECK(json && qn_json_parse(&j, &env, "gguf_blocks.json", json, bytes) == QUERN_OK);
  if (!json || !j.nodes) return;
  CHECK_EQ(j.nodes[0].count, sizeof cases / sizeof cases[0]);
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    const uint32_t at = qn_json_get(&j, 0, cases[c].name);
    const char *blocks = qn_json_string(&j, at, "blocks", ""), *floats = qn_json_string(&j, at, "floats", "");
    const qn_gguf_type *type = qn_gguf_type_of(cases[c].id);
    const size_t n = strlen(floats) / 8, columns = type->values, rows = n / columns;
    uint32_t expected[256], row[256], all[256];
    tiny_gguf w;
    qn_gguf g;
    CHECK(!strcmp(type->name, cases[c].name) && n && n <= 256 && strlen(blocks) == 2 * rows * type->bytes);
    for (size_t i = 0; i < n; i++) {
      expected[i] = 0;
      for (size_t k = 0; k < 8; k++) expected[i] = expected[i] << 4 | (uint32_t)hex_digit(floats[8 * i + k]);
    }
    tiny_gguf_begin(&w);
    tiny_gguf_tensor(&w, "x", cases[c].id, 2, (const uint64_t[]){columns, rows}, 0);
    tiny_gguf_end(&w, rows * type->bytes);
    for (size_t i = 0; i < rows * type->bytes; i++)
      w.data[w.bytes - rows * type->bytes + i] = (uint8_t)(hex_digit(blocks[2 * i]) << 4 |
                                                           hex_digit(blocks[2 * i + 1]));
    if (!opens(&g, &w)) return;
    CHECK_EQ(qn_gguf_read(&g, &g.tensors[0], 0, rows, (float *)(void *)all), QUERN_OK);
    if (memcmp(all, expected, 4 * n) != 0) {
      printf("  %s differs\n", cases[c].name);
      CHECK(0);
    }
    for (size_t r = 0; r < rows; r++) {
      CHECK_EQ(qn_gguf_read(&g, &g.tensors[0], r, 1, (float *)(void *)row), QUERN_OK);
      CHECK(!memcmp(row, expected + r * columns, 4 * columns));
    }
    qn_gguf_close(&g);
    free(w.data);
  }
  qn_json_free(&env, &j);
  free(json);
}

static void reports_what_is_not_finite(void) {
  static const uint16_t halves[] = {0x3c00, 0x3c00, 0x7c00, 0x3c00, 0xfe00, 0x3c00};
  tiny_gguf w;
  qn_gguf g;
  float x[6];
  tiny_gguf_begin(&w);
  tiny_gguf_tensor(&w, "x", 1, 2, (const uint64_t[]){2, 3}, 0);
  tiny_gguf_end(&w, sizeof halves);
  memcpy(w.data + w.bytes - sizeof halves, halves, sizeof halves);
  if (!opens(&g, &w)) return;
  CHECK(says(qn_gguf_read(&g, &g.tensors[0], 0, 3, x), QUERN_E_NONFINITE, "x: element 2 is infinite"));
  CHECK(x[2] == INFINITY && x[5] == 1);
  CHECK(says(qn_gguf_read(&g, &g.tensors[0], 2, 1, x), QUERN_E_NONFINITE, "x: element 4 is NaN"));
  CHECK(qn_gguf_read(&g, &g.tensors[0], 0, 1, x) == QUERN_OK && x[0] == 1 && x[1] == 1);
  qn_gguf_close(&g);
  free(w.data);
}

/* Blocks whose every bit is set: scales that are NaN, of every type that is read. */
static void reports_scales_that_are_nan(void) {
  for (uint32_t id = 0; qn_gguf_type_of(id); id++) {
    const qn_gguf_type *type = qn_gguf_type_of(id);
    float x[512];
    tiny_gguf w;
    qn_gguf g;
    if (!type->expand) continue;
    tiny_gguf_begin(&w);
    tiny_gguf_tensor(&w, "x", id, 2, (const uint64_t[]){type->values, 2}, 0);
    tiny_gguf_end(&w, 2 * type->bytes);
    memset(w.data + w.bytes - 2 * type->bytes, 0xff, 2 * type->bytes);
    if (!opens(&g, &w)) return;
    CHECK(says(qn_gguf_read(&g, &g.tensors[0], 0, 2, x), QUERN_E_NONFINITE, "x: element 0 is NaN"));
    qn_gguf_close(&g);
    free(w.data);
  }
}

/* Types known by size alone keep the file readable. */
static void names_other_types(void) {
  for (uint32_t id = 0; qn_gguf_type_of(id); id++) {
    const qn_gguf_type *type = qn_gguf_type_of(id);
    char words[64];
    tiny_gguf w;
    qn_gguf g;
    float x[256];
    tiny_gguf_begin(&w);
    tiny_gguf_tensor(&w, "x", id, 1, (const uint64_t[]){type->values}, 0);
    tiny_gguf_end(&w, type->bytes);
    if (!opens(&g, &w)) return;
    snprintf(words, sizeof words, "x: type %s is not supported (supported: F32,", type->name);
    if (type->expand)
      CHECK(qn_gguf_check_type(&g, &g.tensors[0]) == QUERN_OK);
    else
      CHECK(says(qn_gguf_read(&g, &g.tensors[0], 0, 1, x), QUERN_E_UNSUPPORTED, words));
    qn_gguf_close(&g);
    free(w.data);
  }
}

/* ---- files ---- */

static void opens_a_path(void) {
  char dir[256], path[512];
  qn_gguf g;
  tiny_gguf w = metadata();
  if (!tiny_dir_make(dir, sizeof dir)) return;
  snprintf(path, sizeof path, "%s/a.gguf", dir);
  CHECK_EQ(qn_gguf_open(&g, &env, path, 0), QUERN_E_IO);
  CHECK(tiny_file(dir, "a.gguf", w.data, w.bytes));
  CHECK(qn_gguf_open(&g, &env, path, w.bytes) == QUERN_OK && !strcmp(g.name, "a.gguf") && g.value_count == 24);
  qn_gguf_close(&g);
  CHECK_EQ(qn_gguf_open(&g, &env, path, w.bytes - 1), QUERN_E_LIMIT);
  CHECK(tiny_file(dir, "a.gguf", "", 0));
  CHECK(says(qn_gguf_open(&g, &env, path, 0), QUERN_E_SOURCE, "not a GGUF file, or one that is cut short (0 bytes)"));
  static const char *const others[][3] = {{"\x89QRN\r\n\x1a\n", "8", "a model file that is made already"},
                                          {"\x10\1\0\0\0\0\0\0{\"__", "12", "not a GGUF file, but safetensors"},
                                          {"PK\3\4", "4", "save the model as safetensors"},
                                          {"{}", "2", "give the directory that it lies in"}};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    CHECK(tiny_file(dir, "a.gguf", others[i][0], (size_t)atoi(others[i][1])));
    CHECK(says(qn_gguf_open(&g, &env, path, 0), QUERN_E_SOURCE, others[i][2]));
  }
  tiny_dir_remove(dir);
  free(w.data);
}

/* With a file's path: every tensor as a line "NAME TYPE RANK DIMENSIONS" and its floats to standard output, for
   tests/compare_gguf.py. */
static int dump(const char *path) {
  qn_gguf g;
  if (qn_gguf_open(&g, &env, path, 0) != QUERN_OK) {
    char text[QN_ERROR_BYTES];
    qn_error_copy(&env.error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 1;
  }
  for (size_t i = 0; i < g.count; i++) {
    const qn_gguf_tensor *t = &g.tensors[i];
    printf("%s %s %u", t->name, t->type->name, t->rank);
    for (uint32_t k = 0; k < t->rank; k++) printf(" %llu", (unsigned long long)t->dim[k]);
    printf("\n");
    float *x = malloc(t->elements * sizeof *x);
    const quern_status status = x ? qn_gguf_read(&g, t, 0, t->rows, x) : QUERN_E_MEMORY;
    if (status == QUERN_OK || status == QUERN_E_NONFINITE) fwrite(x, sizeof *x, t->elements, stdout);
    free(x);
    if (status != QUERN_OK && status != QUERN_E_NONFINITE) return 1;
  }
  qn_gguf_close(&g);
  return 0;
}

int main(int argc, char **argv) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (argc == 2) return dump(argv[1]);
  RUN(reads_metadata);
  RUN(reads_shapes);
  RUN(blocks_are_ggmls);
  RUN(reports_what_is_not_finite);
  RUN(reports_scales_that_are_nan);
  RUN(names_other_types);
  RUN(opens_a_path);
  return TEST_END();
}
