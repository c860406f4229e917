/* tiny_gguf.h - writes GGUF files in memory for tests, well formed or not: values go in as they are asked for, nothing is
 * checked. And how a message is looked at. Tests only; one thread. */
#ifndef QN_TINY_GGUF_H
#define QN_TINY_GGUF_H
#include "import/gguf.h"
#include "tiny_model.h"

typedef struct tiny_gguf {
  uint8_t *data;
  size_t bytes, cap;
  uint64_t keys, tensors;
  size_t align;
} tiny_gguf;

static inline void tiny_gguf_raw(tiny_gguf *w, const void *p, size_t bytes) {
  while (w->bytes + bytes > w->cap) w->data = realloc(w->data, w->cap = 2 * w->cap + 256);
  if (bytes) memcpy(w->data + w->bytes, p, bytes);
  w->bytes += bytes;
}
static inline void tiny_gguf_u32(tiny_gguf *w, uint32_t x) { tiny_gguf_raw(w, &x, sizeof x); }
static inline void tiny_gguf_u64(tiny_gguf *w, uint64_t x) { tiny_gguf_raw(w, &x, sizeof x); }
static inline void tiny_gguf_string(tiny_gguf *w, const char *s) {
  tiny_gguf_u64(w, strlen(s));
  tiny_gguf_raw(w, s, strlen(s));
}

/* Starts a file of version 3; free(w->data) in the end. First come all keys, then all tensors, then the data. */
static inline void tiny_gguf_begin(tiny_gguf *w) {
  *w = (tiny_gguf){.align = 32};
  tiny_gguf_raw(w, "GGUF\3\0\0\0", 8);
  tiny_gguf_u64(w, 0);
  tiny_gguf_u64(w, 0);
}

/* A key; its value is to follow. */
static inline void tiny_gguf_key(tiny_gguf *w, const char *key, uint32_t kind) {
  tiny_gguf_string(w, key);
  tiny_gguf_u32(w, kind);
  w->keys++;
}
static inline void tiny_gguf_value(tiny_gguf *w, const char *key, uint32_t kind, const void *p, size_t bytes) {
  tiny_gguf_key(w, key, kind);
  tiny_gguf_raw(w, p, bytes);
}
static inline void tiny_gguf_int(tiny_gguf *w, const char *key, uint32_t x) { tiny_gguf_value(w, key, 4, &x, 4); }
static inline void tiny_gguf_float(tiny_gguf *w, const char *key, float x) { tiny_gguf_value(w, key, 6, &x, 4); }
static inline void tiny_gguf_bool(tiny_gguf *w, const char *key, int x) { tiny_gguf_value(w, key, 7, &x, 1); }
static inline void tiny_gguf_text(tiny_gguf *w, const char *key, const char *s) {
  tiny_gguf_key(w, key, 8);
  tiny_gguf_string(w, s);
}
/* An array; its items are to follow. */
static inline void tiny_gguf_array(tiny_gguf *w, const char *key, uint32_t kind, uint64_t count) {
  tiny_gguf_key(w, key, 9);
  tiny_gguf_u32(w, kind);
  tiny_gguf_u64(w, count);
}
static inline void tiny_gguf_items(tiny_gguf *w, const char *key, uint32_t kind, uint64_t count, const void *p,
                                   size_t bytes) {
  tiny_gguf_array(w, key, kind, count);
  tiny_gguf_raw(w, p, bytes);
}

/* A tensor's entry, dimensions in the file's order (columns first). */
static inline void tiny_gguf_tensor(tiny_gguf *w, const char *name, uint32_t type, uint32_t rank, const uint64_t *dim,
                                    uint64_t offset) {
  tiny_gguf_string(w, name);
  tiny_gguf_u32(w, rank);
  for (uint32_t i = 0; i < rank; i++) tiny_gguf_u64(w, dim[i]);
  tiny_gguf_u32(w, type);
  tiny_gguf_u64(w, offset);
  w->tensors++;
}

/* Writes the counts into the header and the padding before the data; data_bytes follow, byte i is i + 1 of 8 bits. */
static inline void tiny_gguf_end(tiny_gguf *w, size_t data_bytes) {
  memcpy(w->data + 8, &w->tensors, 8);
  memcpy(w->data + 16, &w->keys, 8);
  while (w->bytes % w->align) tiny_gguf_raw(w, "", 1);
  for (size_t i = 0; i < data_bytes; i++) {
    const uint8_t byte = (uint8_t)(i + 1);
    tiny_gguf_raw(w, &byte, 1);
  }
}

/* Did it end as expected, with these words after the name a.gguf? Prints what is not so. */
static inline int tiny_gguf_says(const qn_env *env, quern_status status, quern_status expected, const char *words) {
  char text[QN_ERROR_BYTES];
  qn_error_copy(&env->error, text, sizeof text);
  const int ok = status == expected && (!status || (!strncmp(text, "a.gguf: ", 8) && strstr(text, words)));
  if (!ok) printf("  status %d, message: %s\n", status, text);
  return ok;
}
#endif
