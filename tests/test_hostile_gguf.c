/* test_hostile_gguf.c - a hostile GGUF file for every way a number can lie: with which status it is refused, in which words,
 * within how much memory; files cut at every byte, files with changed bytes, allocations that fail. */
#include "faulty_alloc.h"
#include "import/gguf.h"
#include "test.h"
#include "tiny_gguf.h"

static qn_env env;

/* A well-formed file, and where in it each number stands. */
typedef enum spot {
  MAGIC,
  VERSION,
  TENSORS,
  KEYS,
  KEY_LENGTH,
  KEY_BYTES,
  TEXT_KIND,
  TEXT_LENGTH,
  ALIGN_KIND,
  ALIGN,
  TOKENS_KIND, /* of the items */
  TOKENS_COUNT,
  TOKEN_LENGTH,
  TOKEN_2_LENGTH,
  SCORES_KIND,
  SCORES_COUNT,
  FLAG,
  FLAGS, /* the second */
  LAST_KEY,
  SPLIT,
  NAME_LENGTH,
  NAME,
  RANK,
  COLUMNS,
  ROWS,
  TYPE,
  OFFSET,
  NAME_2,
  COLUMNS_2,
  ROWS_2,
  TYPE_2,
  OFFSET_2,
  SPOTS
} spot;

static tiny_gguf well_formed(size_t at[SPOTS]) {
  tiny_gguf w;
  tiny_gguf_begin(&w);
  at[MAGIC] = 0, at[VERSION] = 4, at[TENSORS] = 8, at[KEYS] = 16;
  at[KEY_LENGTH] = w.bytes, at[KEY_BYTES] = w.bytes + 8;
  tiny_gguf_text(&w, "general.architecture", "llama");
  at[TEXT_LENGTH] = w.bytes - 13, at[TEXT_KIND] = w.bytes - 17;
  tiny_gguf_int(&w, "general.alignment", 32);
  at[ALIGN] = w.bytes - 4, at[ALIGN_KIND] = w.bytes - 8;
  tiny_gguf_array(&w, "tokens", 8, 2);
  at[TOKENS_COUNT] = w.bytes - 8, at[TOKENS_KIND] = w.bytes - 12, at[TOKEN_LENGTH] = w.bytes;
  tiny_gguf_string(&w, "a");
  at[TOKEN_2_LENGTH] = w.bytes;
  tiny_gguf_string(&w, "bc");
  tiny_gguf_array(&w, "scores", 6, 2);
  at[SCORES_COUNT] = w.bytes - 8, at[SCORES_KIND] = w.bytes - 12;
  tiny_gguf_raw(&w, "\0\0\0\0\0\0\0\0", 8);
  tiny_gguf_bool(&w, "flag", 1);
  at[FLAG] = w.bytes - 1;
  tiny_gguf_items(&w, "flags", 7, 2, "\1\0", 2);
  at[FLAGS] = w.bytes - 1;
  at[LAST_KEY] = w.bytes + 8;
  tiny_gguf_value(&w, "split.count", 5, &(int32_t){1}, 4); /* a split of one file is whole */
  at[SPLIT] = w.bytes - 4;
  at[NAME_LENGTH] = w.bytes, at[NAME] = w.bytes + 8, at[RANK] = w.bytes + 9;
  tiny_gguf_tensor(&w, "a", 0, 2, (const uint64_t[]){4, 2}, 0);
  at[OFFSET] = w.bytes - 8, at[TYPE] = w.bytes - 12, at[ROWS] = w.bytes - 20, at[COLUMNS] = w.bytes - 28;
  at[NAME_2] = w.bytes + 8;
  tiny_gguf_tensor(&w, "b", 2, 2, (const uint64_t[]){32, 3}, 32);
  at[OFFSET_2] = w.bytes - 8, at[TYPE_2] = w.bytes - 12, at[ROWS_2] = w.bytes - 20, at[COLUMNS_2] = w.bytes - 28;
  tiny_gguf_end(&w, 32 + 54);
  return w;
}

typedef struct poke {
  spot at;
  int bytes;
  uint64_t value;
} poke;

#define ALL UINT64_MAX /* -1 */
#define BAD QUERN_E_SOURCE
#define NOT QUERN_E_UNSUPPORTED

static const struct {
  const char *name;
  poke pokes[2];
  quern_status status;
  const char *words;
} holes[] = {
    {"another magic", {{MAGIC, 4, 0x4c4d4747}}, BAD, "not a GGUF file"},
    {"version 0", {{VERSION, 4, 0}}, NOT, "version 0 (supported: 2, 3)"},
    {"version 1", {{VERSION, 4, 1}}, NOT, "version 1"},
    {"version 4", {{VERSION, 4, 4}}, NOT, "version 4"},
    {"version -1", {{VERSION, 4, ALL}}, NOT, "version 4294967295"},
    {"big-endian 2", {{VERSION, 4, 2u << 24}}, NOT, "big-endian"},
    {"big-endian 3", {{VERSION, 4, 3u << 24}}, NOT, "big-endian"},
    /* counts: negative, ones whose product with an entry's size wraps, one that the file has no room for */
    {"-1 tensors", {{TENSORS, 8, ALL}}, BAD, "18446744073709551615 tensors do not fit"},
    {"2^63 tensors", {{TENSORS, 8, 1ull << 63}}, BAD, "tensors do not fit"},
    {"tensors that wrap", {{TENSORS, 8, ALL / sizeof(qn_gguf_tensor) + 2}}, BAD, "tensors do not fit"},
    {"2^32 tensors", {{TENSORS, 8, 1ull << 32}}, BAD, "4294967296 tensors do not fit"},
    {"one tensor more", {{TENSORS, 8, 3}}, BAD, "bytes should follow"},
    {"-1 keys", {{KEYS, 8, ALL}}, BAD, "18446744073709551615 metadata keys do not fit"},
    {"2^63 keys", {{KEYS, 8, 1ull << 63}}, BAD, "metadata keys do not fit"},
    {"keys that wrap", {{KEYS, 8, ALL / sizeof(qn_gguf_value) + 2}}, BAD, "metadata keys do not fit"},
    {"one key more", {{KEYS, 8, 8}}, BAD, "bytes should follow"},
    {"one key less", {{KEYS, 8, 6}}, BAD, "dimensions, 4 at most"},
    /* keys */
    {"a key of -1", {{KEY_LENGTH, 8, ALL}}, BAD, "18446744073709551615 bytes should follow at byte 32"},
    {"a key that wraps to the start", {{KEY_LENGTH, 8, (uint64_t)-32}}, BAD, "bytes should follow at byte 32"},
    {"a key of 2^40", {{KEY_LENGTH, 8, 1ull << 40}}, BAD, "1099511627776 bytes should follow"},
    {"an empty key", {{KEY_LENGTH, 8, 0}}, BAD, "byte 24: a key is empty"},
    {"a NUL in a key", {{KEY_BYTES, 1, 0}}, BAD, "a key has a control character"},
    {"an escape in a key", {{KEY_BYTES, 1, 27}}, BAD, "a key has a control character"},
    {"a key of kind 13", {{TEXT_KIND, 4, 13}}, BAD, "general.architecture: a value of kind 13"},
    {"a key of kind -1", {{TEXT_KIND, 4, ALL}}, BAD, "kind 4294967295"},
    {"a text of -1", {{TEXT_LENGTH, 8, ALL}}, BAD, "18446744073709551615 bytes should follow"},
    {"a text of 2^63", {{TEXT_LENGTH, 8, 1ull << 63}}, BAD, "bytes should follow"},
    /* arrays */
    {"an array of arrays", {{TOKENS_KIND, 4, 9}}, NOT, "tokens: arrays of arrays"},
    {"an array of kind 13", {{TOKENS_KIND, 4, 13}}, BAD, "tokens: a value of kind 13"},
    {"an array of kind -1", {{TOKENS_KIND, 4, ALL}}, BAD, "kind 4294967295"},
    {"-1 texts", {{TOKENS_COUNT, 8, ALL}}, BAD, "tokens: an array of 18446744073709551615 items (text)"},
    {"texts that wrap", {{TOKENS_COUNT, 8, 1ull << 61}}, BAD, "an array of 2305843009213693952"},
    {"2^31 texts", {{TOKENS_COUNT, 8, 1ull << 31}}, BAD, "an array of 2147483648"},
    {"a text of an array of -1", {{TOKEN_LENGTH, 8, ALL}}, BAD, "bytes should follow"},
    {"a text of an array that goes back", {{TOKEN_2_LENGTH, 8, (uint64_t)-17}}, BAD, "bytes should follow"},
    {"-1 floats", {{SCORES_COUNT, 8, ALL}}, BAD, "scores: an array of"},
    {"floats that wrap to none", {{SCORES_COUNT, 8, 1ull << 62}}, BAD, "scores: an array of"},
    {"floats that wrap to one", {{SCORES_COUNT, 8, (1ull << 62) + 1}}, BAD, "scores: an array of"},
    {"doubles that wrap", {{SCORES_KIND, 4, 12}, {SCORES_COUNT, 8, (1ull << 61) + 1}}, BAD, "(float64)"},
    {"a bool of 2", {{FLAG, 1, 2}}, BAD, "flag: a bool is 2"},
    {"a bool of 255 in an array", {{FLAGS, 1, 255}}, BAD, "flags: a bool is 255"},
    /* keys of the reader's own */
    {"alignment 0", {{ALIGN, 4, 0}}, BAD, "general.alignment is 0"},
    {"alignment 4", {{ALIGN, 4, 4}}, BAD, "general.alignment is 4"},
    {"alignment 24", {{ALIGN, 4, 24}}, BAD, "general.alignment is 24, not a power of two"},
    {"alignment 2^21", {{ALIGN, 4, 1u << 21}}, BAD, "from 8 to 1048576"},
    {"alignment 2^31", {{ALIGN, 4, 1u << 31}}, BAD, "general.alignment is 2147483648"},
    {"alignment 2^32 - 1", {{ALIGN, 4, ALL}}, BAD, "general.alignment is 4294967295"},
    {"alignment -1", {{ALIGN_KIND, 4, 5}, {ALIGN, 4, ALL}}, BAD, "general.alignment is -1"},
    {"alignment as a float", {{ALIGN_KIND, 4, 6}}, BAD, "general.alignment is float32, not an integer"},
    {"an alignment past the file's end", {{ALIGN, 4, 1u << 20}}, BAD, "are not in the 0 bytes of data"},
    {"a part of a split model", {{SPLIT, 4, 3}}, NOT, "one of 3 files of a split model"},
    {"a part of -1 files", {{SPLIT, 4, ALL}}, BAD, "split.count is -1"},
    {"a part of 2^16 files", {{SPLIT, 4, 1u << 16}}, BAD, "split.count is 65536"},
    /* tensors */
    {"a name of -1", {{NAME_LENGTH, 8, ALL}}, BAD, "bytes should follow"},
    {"a name of 65 bytes",
     {{NAME_LENGTH, 8, 65}},
     QUERN_E_LIMIT,
     "a tensor's name of 65 bytes exceeds the limit of 64"},
    {"an empty name", {{NAME_LENGTH, 8, 0}}, BAD, "a tensor's name is empty"},
    {"a NUL as a name", {{NAME, 1, 0}}, BAD, "a tensor's name has a control character"},
    {"a name twice", {{NAME_2, 1, 'a'}}, BAD, "a is there twice"},
    {"5 dimensions", {{RANK, 4, 5}}, BAD, "a: 5 dimensions, 4 at most"},
    {"-1 dimensions", {{RANK, 4, ALL}}, BAD, "a: 4294967295 dimensions"},
    {"columns 0", {{COLUMNS, 8, 0}}, BAD, "a: a dimension is 0"},
    {"rows 0", {{ROWS, 8, 0}}, BAD, "a: a dimension is 0"},
    {"columns -1", {{COLUMNS, 8, ALL}}, BAD, "a: the shape is larger than any file"},
    {"rows -4", {{ROWS, 8, (uint64_t)-4}}, BAD, "a: the shape is larger than any file"},
    {"a shape that wraps to 0", {{COLUMNS, 8, 1ull << 32}, {ROWS, 8, 1ull << 32}}, BAD, "larger than any file"},
    {"a shape that wraps to 2", {{COLUMNS, 8, (1ull << 63) + 1}, {ROWS, 8, 2}}, BAD, "larger than any file"},
    {"bytes that wrap to 8", {{COLUMNS, 8, (1ull << 62) + 1}, {ROWS, 8, 2}}, BAD, "larger than any file"},
    {"blocks that wrap to none", {{COLUMNS_2, 8, 1ull << 61}, {ROWS_2, 8, 8}}, BAD, "larger than any file"},
    {"2^40 rows", {{ROWS, 8, 1ull << 40}}, BAD, "17592186044416 bytes at offset 0 are not in the 86 bytes of data"},
    {"rows that are not whole blocks", {{COLUMNS_2, 8, 48}}, BAD, "b: rows of 48 values are not whole blocks of 32"},
    {"rows of no block", {{TYPE, 4, 12}}, BAD, "a: rows of 4 values are not whole blocks of 256 (Q4_K)"},
    {"type 42", {{TYPE, 4, 42}}, NOT, "a: type 42 is not known"},
    {"type -1", {{TYPE, 4, ALL}}, NOT, "a: type 4294967295 is not known"},
    {"type -2^31", {{TYPE, 4, 1u << 31}}, NOT, "a: type 2147483648 is not known"},
    {"an offset that is not aligned",
     {{OFFSET_2, 8, 33}},
     BAD,
     "b: its offset 33 is not a multiple of the alignment 32"},
    {"an offset past the end", {{OFFSET_2, 8, 96}}, BAD, "54 bytes at offset 96 are not in the 86 bytes of data"},
    {"a tensor past the end", {{OFFSET_2, 8, 64}}, BAD, "54 bytes at offset 64 are not in the 86 bytes"},
    {"an offset of -32", {{OFFSET_2, 8, (uint64_t)-32}}, BAD, "at offset 18446744073709551584 are not in"},
    {"an offset of 2^63", {{OFFSET_2, 8, 1ull << 63}}, BAD, "are not in the 86 bytes"},
    {"tensors at one place", {{OFFSET_2, 8, 0}}, BAD, "overlap"},
    {"a tensor into the next", {{ROWS, 8, 3}}, BAD, "a and b overlap"},
};

/* Opens with an allocator that counts: refused as it is said, nothing kept, and no more memory than tables of what the file
   has room for. */
static int refused(const char *name, const void *data, size_t bytes, quern_status status, const char *words) {
  faulty_alloc heap = {0};
  const quern_allocator alloc = faulty_allocator(&heap);
  qn_gguf g;
  uint8_t *copy = malloc(bytes + 1); /* of exactly this size, for the sanitizer; malloc(0) may be NULL */
  memcpy(copy, data, bytes);
  copy = realloc(copy, bytes ? bytes : 1);
  qn_env_init(&env, &alloc, NULL, NULL, 0);
  const quern_status got = qn_gguf_open_memory(&g, &env, "a.gguf", copy, bytes);
  const int ok = tiny_gguf_says(&env, got, status, words) && !heap.live && !heap.wrong_sizes &&
                 heap.peak_bytes <= 8 * bytes;
  if (!ok) printf("  %s: %zu bytes of memory for %zu\n", name, (size_t)heap.peak_bytes, bytes);
  if (got == QUERN_OK) qn_gguf_close(&g);
  qn_env_init(&env, NULL, NULL, NULL, 0);
  free(copy);
  return ok;
}

static void hostile_numbers_are_refused(void) {
  const size_t count = sizeof holes / sizeof holes[0];
  for (size_t i = 0; i < count; i++) {
    size_t at[SPOTS];
    tiny_gguf w = well_formed(at);
    for (int k = 0; k < 2; k++)
      memcpy(w.data + at[holes[i].pokes[k].at], &holes[i].pokes[k].value, (size_t)holes[i].pokes[k].bytes);
    CHECK(refused(holes[i].name, w.data, w.bytes, holes[i].status, holes[i].words));
    free(w.data);
  }
  printf("  %zu hostile numbers\n", count);
}

static void hostile_sizes_are_refused(void) {
  enum { MANY = QN_GGUF_KEYS + 1 };
  static char key[QN_GGUF_KEY + 2];
  tiny_gguf w;
  qn_gguf g;
  tiny_gguf_begin(&w);
  for (uint32_t i = 0; i < MANY; i++) {
    char number[16];
    snprintf(number, sizeof number, "%u", i);
    tiny_gguf_value(&w, number, 0, "", 1);
  }
  tiny_gguf_end(&w, 0);
  CHECK(refused("keys", w.data, w.bytes, QUERN_E_LIMIT, "65537 metadata keys exceed the limit of 65536"));
  w.data[16] = 0; /* the limit itself; what is behind the keys is no tensor, for there is none */
  CHECK_EQ(qn_gguf_open_memory(&g, &env, "a.gguf", w.data, w.bytes), QUERN_OK);
  qn_gguf_close(&g);
  free(w.data);

  tiny_gguf_begin(&w);
  for (uint32_t i = 0; i < MANY; i++) tiny_gguf_tensor(&w, "a", 0, 0, NULL, 0);
  tiny_gguf_end(&w, 4);
  CHECK(refused("tensors", w.data, w.bytes, QUERN_E_LIMIT, "65537 tensors exceed the limit of 65536"));
  free(w.data);

  memset(key, 'k', sizeof key - 1);
  tiny_gguf_begin(&w);
  tiny_gguf_int(&w, key, 1);
  tiny_gguf_end(&w, 0);
  CHECK(refused("a long key", w.data, w.bytes, QUERN_E_LIMIT, "a key of 65536 bytes exceeds the limit of 65535"));
  free(w.data);

  tiny_gguf_begin(&w);
  tiny_gguf_int(&w, "a.b", 1);
  tiny_gguf_int(&w, "a", 1);
  tiny_gguf_int(&w, "a.b", 2);
  tiny_gguf_end(&w, 0);
  CHECK(refused("a key twice", w.data, w.bytes, QUERN_E_SOURCE, "a.b is there twice"));
  free(w.data);
}

/* At every byte; the last of a tensor's data is needed. */
static void truncated_files_are_refused(void) {
  size_t at[SPOTS];
  qn_gguf g;
  tiny_gguf w = well_formed(at);
  CHECK_EQ(qn_gguf_open_memory(&g, &env, "a.gguf", w.data, w.bytes), QUERN_OK);
  qn_gguf_close(&g);
  for (size_t n = 0; n < w.bytes; n++)
    if (!refused("truncated", w.data, n, QUERN_E_SOURCE, "cut short")) {
      printf("  at byte %zu\n", n);
      CHECK(0);
      break;
    }
  free(w.data);
}

/* What is accepted with a changed byte can be read whole (a sanitizer watches). */
static void changed_bytes_do_no_harm(void) {
  size_t at[SPOTS];
  tiny_gguf w = well_formed(at);
  for (size_t i = 0; i < w.bytes; i++)
    for (int k = 0; k < 4; k++) {
      static float x[4096];
      const uint8_t was = w.data[i];
      qn_gguf g;
      w.data[i] = (uint8_t)(k == 0 ? was + 1 : k == 1 ? was ^ 0x80 : k == 2 ? 0 : 0xff);
      if (qn_gguf_open_memory(&g, &env, "a.gguf", w.data, w.bytes) == QUERN_OK) {
        for (size_t t = 0; t < g.count; t++)
          if (g.tensors[t].elements <= 4096) qn_gguf_read(&g, &g.tensors[t], 0, g.tensors[t].rows, x);
        qn_gguf_close(&g);
      }
      w.data[i] = was;
    }
  free(w.data);
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  const tiny_gguf *w = arg;
  qn_env failing;
  qn_gguf g;
  qn_env_init(&failing, alloc, NULL, NULL, 0);
  QN_TRY(qn_gguf_open_memory(&g, &failing, "a.gguf", w->data, w->bytes));
  qn_gguf_close(&g);
  return QUERN_OK;
}

static void allocations_may_fail(void) {
  size_t at[SPOTS];
  long calls;
  tiny_gguf w = well_formed(at);
  CHECK_EQ(faulty_each(attempt, &w, &calls), 0);
  CHECK_EQ(calls, 2);
  free(w.data);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  RUN(hostile_numbers_are_refused);
  RUN(hostile_sizes_are_refused);
  RUN(truncated_files_are_refused);
  RUN(changed_bytes_do_no_harm);
  RUN(allocations_may_fail);
  return TEST_END();
}
