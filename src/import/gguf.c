/* gguf.c - reads GGUF files: "GGUF", version, counts of tensors and keys, keys with values, tensors, padding, data.
 * Every number of the file is checked before it is used: counts against the bytes that are left (so that tables are in
 * proportion to the file) and against limits, lengths against what is left, offsets and sizes against the data and one
 * another. Only tables of keys and tensors are allocated. Thread rule: read-only once open. */
#include "import/gguf.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/sort.h"
#include "format/qrn.h"

#define GGUF_HEADER 24u     /* magic, version, two counts */
#define GGUF_KEY_BYTES 14u  /* at least: length, a byte, kind, a byte */
#define GGUF_INFO_BYTES 25u /* of a tensor at least: length, a byte, rank, type, offset */
#define GGUF_ALIGN 32u      /* where the file says nothing */
#define GGUF_SHOWN 128      /* bytes of a name in messages */

/* ---- reading in order ---- */

typedef struct gguf_reader {
  const qn_gguf *g;
  size_t at;
} gguf_reader;

static size_t gguf_left(const gguf_reader *r) { return r->g->map.bytes - r->at; }

/* The next bytes, which are there. */
static quern_status gguf_take(gguf_reader *r, uint64_t bytes, const uint8_t **out) {
  if (bytes > gguf_left(r)) {
    return qn_fail(
        &r->g->env->error, QUERN_E_SOURCE,
        "%s: %llu bytes should follow at byte %zu, and the file has %zu; it is cut short or damaged, get it again",
        r->g->name, (unsigned long long)bytes, r->at, r->g->map.bytes);
  }
  *out = r->g->map.data + r->at;
  r->at += (size_t)bytes;
  return QUERN_OK;
}

static quern_status gguf_take_u32(gguf_reader *r, uint32_t *out) {
  const uint8_t *p;
  QN_TRY(gguf_take(r, 4, &p));
  *out = qn_load_u32(p);
  return QUERN_OK;
}

static quern_status gguf_take_u64(gguf_reader *r, uint64_t *out) {
  const uint8_t *p;
  QN_TRY(gguf_take(r, 8, &p));
  *out = qn_load_u64(p);
  return QUERN_OK;
}

static quern_status gguf_take_text(gguf_reader *r, qn_gguf_text *out) {
  uint64_t bytes;
  const uint8_t *p;
  QN_TRY(gguf_take_u64(r, &bytes));
  QN_TRY(gguf_take(r, bytes, &p));
  *out = (qn_gguf_text){(const char *)p, (size_t)bytes};
  return QUERN_OK;
}

/* A key or a tensor's name: some bytes, none of them a control character (they go into messages). */
static quern_status gguf_take_name(gguf_reader *r, const char *what, size_t most, qn_gguf_text *out) {
  const size_t at = r->at;
  qn_error *e = &r->g->env->error;
  QN_TRY(gguf_take_text(r, out));
  if (out->bytes == 0) return qn_fail(e, QUERN_E_SOURCE, "%s: byte %zu: %s is empty", r->g->name, at, what);
  if (out->bytes > most) {
    return qn_fail(e, QUERN_E_LIMIT, "%s: byte %zu: %s of %zu bytes exceeds the limit of %zu", r->g->name, at, what,
                   out->bytes, most);
  }
  for (size_t i = 0; i < out->bytes; i++) {
    const uint8_t c = (uint8_t)out->data[i];
    if (c < 0x20 || c == 0x7f)
      return qn_fail(e, QUERN_E_SOURCE, "%s: byte %zu: %s has a control character in it", r->g->name, at, what);
  }
  return QUERN_OK;
}

/* ---- metadata ---- */

static const struct {
  const char *name;
  uint32_t bytes; /* 0: not of one size */
} kinds[] = {{"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2},  {"uint32", 4}, {"int32", 4},  {"float32", 4},
             {"bool", 1},  {"text", 0}, {"array", 0},  {"uint64", 8}, {"int64", 8},  {"float64", 8}};

static quern_status gguf_take_kind(gguf_reader *r, const qn_gguf_value *v, qn_gguf_kind *out) {
  uint32_t kind;
  QN_TRY(gguf_take_u32(r, &kind));
  if (kind >= sizeof kinds / sizeof kinds[0]) {
    return qn_fail(&r->g->env->error, QUERN_E_SOURCE, "%s: %.*s: a value of kind %u, which GGUF does not have",
                   r->g->name, (int)qn_min_size(v->key.bytes, GGUF_SHOWN), v->key.data, kind);
  }
  *out = (qn_gguf_kind)kind;
  return QUERN_OK;
}

static quern_status gguf_take_texts(gguf_reader *r, uint64_t count) {
  qn_gguf_text text;
  for (uint64_t i = 0; i < count; i++) QN_TRY(gguf_take_text(r, &text));
  return QUERN_OK;
}

/* The value behind v->key. */
static quern_status gguf_take_value(gguf_reader *r, qn_gguf_value *v) {
  qn_error *e = &r->g->env->error;
  const int shown = (int)qn_min_size(v->key.bytes, GGUF_SHOWN);
  QN_TRY(gguf_take_kind(r, v, &v->kind));
  v->is_array = v->kind == QN_GGUF_ARRAY;
  v->count = 1;
  if (v->is_array) {
    QN_TRY(gguf_take_kind(r, v, &v->kind));
    if (v->kind == QN_GGUF_ARRAY) {
      return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: %.*s: arrays of arrays are not supported", r->g->name, shown,
                     v->key.data);
    }
    QN_TRY(gguf_take_u64(r, &v->count));
    /* A text has at least its length. */
    const uint32_t least = v->kind == QN_GGUF_TEXT ? 8 : kinds[v->kind].bytes;
    if (v->count > gguf_left(r) / least) {
      return qn_fail(
          e, QUERN_E_SOURCE,
          "%s: %.*s: an array of %llu items (%s) does not fit the file; it is cut short or damaged, get it again",
          r->g->name, shown, v->key.data, (unsigned long long)v->count, kinds[v->kind].name);
    }
  }
  const size_t at = r->at;
  if (v->kind == QN_GGUF_TEXT)
    QN_TRY(gguf_take_texts(r, v->count));
  else
    QN_TRY(gguf_take(r, v->count * kinds[v->kind].bytes, &v->data));
  v->data = r->g->map.data + at;
  v->bytes = r->at - at;
  for (size_t i = 0; v->kind == QN_GGUF_BOOL && i < v->bytes; i++)
    if (v->data[i] > 1)
      return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: a bool is %u", r->g->name, shown, v->key.data, v->data[i]);
  return QUERN_OK;
}

static int gguf_compare(qn_gguf_text a, const char *data, size_t bytes) {
  const int order = memcmp(a.data, data, qn_min_size(a.bytes, bytes));
  return order ? order : (a.bytes > bytes) - (a.bytes < bytes);
}

static int gguf_by_key(const void *x, const void *y) {
  const qn_gguf_value *a = x, *b = y;
  return gguf_compare(a->key, b->key.data, b->key.bytes);
}

/* The array is already there, for `n` keys. */
static quern_status gguf_take_values(gguf_reader *r, qn_gguf_value *values, size_t n) {
  for (size_t i = 0; i < n; i++) {
    QN_TRY(gguf_take_name(r, "a key", QN_GGUF_KEY, &values[i].key));
    QN_TRY(gguf_take_value(r, &values[i]));
  }
  qn_sort_items(values, n, sizeof *values, gguf_by_key);
  for (size_t i = 1; i < n; i++)
    if (gguf_by_key(&values[i - 1], &values[i]) == 0) {
      return qn_fail(&r->g->env->error, QUERN_E_SOURCE, "%s: %.*s is there twice", r->g->name,
                     (int)qn_min_size(values[i].key.bytes, GGUF_SHOWN), values[i].key.data);
    }
  return QUERN_OK;
}

/* What the reader itself must know of the keys: *align: of the data. */
static quern_status gguf_check_keys(const qn_gguf *g, uint32_t *align) {
  uint64_t parts = 1, value = GGUF_ALIGN;
  QN_TRY(qn_gguf_get_uint(g, "split.count", 0, UINT16_MAX, &parts));
  if (parts > 1) {
    return qn_fail(&g->env->error, QUERN_E_UNSUPPORTED,
                   "%s: one of %llu files of a split model; join them (llama-gguf-split --merge FIRST OUT)", g->name,
                   (unsigned long long)parts);
  }
  QN_TRY(qn_gguf_get_uint(g, "general.alignment", 0, UINT32_MAX, &value));
  if (value < 8 || value > QN_GGUF_ALIGN || (value & (value - 1)) != 0) {
    return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: general.alignment is %llu, not a power of two from 8 to %u",
                   g->name, (unsigned long long)value, QN_GGUF_ALIGN);
  }
  *align = (uint32_t)value;
  return QUERN_OK;
}

/* ---- tensors ---- */

/* dim[i] of the file's order; sets what follows from the shape and the type. */
static quern_status gguf_set_shape(const qn_gguf *g, qn_gguf_tensor *t, const uint64_t *dim, uint32_t id) {
  qn_error *e = &g->env->error;
  t->rows = t->columns = 1;
  for (uint32_t i = 0; i < QN_GGUF_RANK; i++) t->dim[i] = 1;
  for (uint32_t i = 0; i < t->rank; i++) {
    t->dim[t->rank - 1 - i] = dim[i];
    if (dim[i] == 0) return qn_fail(e, QUERN_E_SOURCE, "%s: %s: a dimension is 0", g->name, t->name);
    if (i == 0)
      t->columns = dim[0];
    else if (!qn_mul_u64(t->rows, dim[i], &t->rows))
      return qn_fail(e, QUERN_E_SOURCE, "%s: %s: the shape is larger than any file", g->name, t->name);
  }
  t->type = qn_gguf_type_of(id);
  if (!t->type) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: %s: type %u is not known (known and read: %s)", g->name, t->name, id,
                   QN_GGUF_EXPANDABLE);
  }
  if (t->columns % t->type->values != 0) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %s: rows of %llu values are not whole blocks of %u (%s)", g->name, t->name,
                   (unsigned long long)t->columns, t->type->values, t->type->name);
  }
  uint64_t row_bytes;
  if (!qn_mul_u64(t->columns, t->rows, &t->elements) ||
      !qn_mul_u64(t->columns / t->type->values, t->type->bytes, &row_bytes) ||
      !qn_mul_u64(row_bytes, t->rows, &t->bytes)) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %s: the shape is larger than any file", g->name, t->name);
  }
  return QUERN_OK;
}

/* All of a tensor but its place, which waits for the end of the list. */
static quern_status gguf_take_info(gguf_reader *r, qn_gguf_tensor *t) {
  qn_gguf_text name;
  uint64_t dim[QN_GGUF_RANK];
  uint32_t id;
  QN_TRY(gguf_take_name(r, "a tensor's name", QN_GGUF_NAME, &name));
  memcpy(t->name, name.data, name.bytes);
  t->name[name.bytes] = 0;
  QN_TRY(gguf_take_u32(r, &t->rank));
  if (t->rank > QN_GGUF_RANK) {
    return qn_fail(&r->g->env->error, QUERN_E_SOURCE, "%s: %s: %u dimensions, %u at most", r->g->name, t->name, t->rank,
                   QN_GGUF_RANK);
  }
  for (uint32_t i = 0; i < t->rank; i++) QN_TRY(gguf_take_u64(r, &dim[i]));
  QN_TRY(gguf_take_u32(r, &id));
  QN_TRY(gguf_take_u64(r, &t->offset));
  return gguf_set_shape(r->g, t, dim, id);
}

/* The data begin at g->data_at. */
static quern_status gguf_place(const qn_gguf *g, qn_gguf_tensor *t, uint32_t align) {
  qn_error *e = &g->env->error;
  const uint64_t data = g->map.bytes - g->data_at;
  if (t->offset % align != 0) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %s: its offset %llu is not a multiple of the alignment %u", g->name, t->name,
                   (unsigned long long)t->offset, align);
  }
  if (!qn_in_range(t->offset, t->bytes, data)) {
    return qn_fail(
        e, QUERN_E_SOURCE,
        "%s: %s: %llu bytes at offset %llu are not in the %llu bytes of data; it is cut short or damaged, get it again",
        g->name, t->name, (unsigned long long)t->bytes, (unsigned long long)t->offset, (unsigned long long)data);
  }
  t->data = g->map.data + g->data_at + t->offset;
  return QUERN_OK;
}

static int gguf_by_name(const void *a, const void *b) {
  return strcmp(((const qn_gguf_tensor *)a)->name, ((const qn_gguf_tensor *)b)->name);
}

static int gguf_by_offset(const void *x, const void *y) {
  const qn_gguf_tensor *a = x, *b = y;
  return (a->offset > b->offset) - (a->offset < b->offset);
}

/* No tensor is empty, so that in order of offsets each must end before the next begins. */
static quern_status gguf_check_tensors(qn_gguf *g) {
  qn_error *e = &g->env->error;
  qn_gguf_tensor *t = g->tensors;
  qn_sort_items(t, g->count, sizeof *t, gguf_by_offset);
  for (size_t i = 1; i < g->count; i++)
    if (t[i].offset - t[i - 1].offset < t[i - 1].bytes)
      return qn_fail(e, QUERN_E_SOURCE, "%s: %s and %s overlap", g->name, t[i - 1].name, t[i].name);
  qn_sort_items(t, g->count, sizeof *t, gguf_by_name);
  for (size_t i = 1; i < g->count; i++)
    if (!strcmp(t[i - 1].name, t[i].name))
      return qn_fail(e, QUERN_E_SOURCE, "%s: %s is there twice", g->name, t[i].name);
  return QUERN_OK;
}

/* ---- the file ---- */

/* Refuses what is no GGUF file; of files that are often given in its place it says what to give. */
static quern_status gguf_refuse(const qn_gguf *g) {
  static const struct {
    uint32_t at, bytes;
    const char *start, *what;
  } others[] = {
      {0, 8, QRN_MAGIC, "a model file that is made already: use it as it is, or give the source that it was made of"},
      /* Its header's length ends with a zero byte: one of 2^56 bytes is none. */
      {7, 2, "\0{",
       "safetensors, which are weights alone: give the directory with config.json and the tokenizer's files"},
      {0, 4, "PK\3\4", "a zip archive, perhaps of PyTorch: save the model as safetensors and give its directory"},
      {0, 1, "{", "JSON: give the directory that it lies in"}};
  qn_error *e = &g->env->error;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (g->map.bytes >= others[i].at + others[i].bytes &&
        !memcmp(g->map.data + others[i].at, others[i].start, others[i].bytes))
      return qn_fail(e, QUERN_E_SOURCE, "%s: not a GGUF file, but %s", g->name, others[i].what);
  return qn_fail(e, QUERN_E_SOURCE, "%s: not a GGUF file, or one that is cut short (%zu bytes)", g->name, g->map.bytes);
}

/* Magic, version, counts. A file of the other byte order has the same magic, and its version's bytes turned. */
static quern_status gguf_take_header(gguf_reader *r, qn_gguf *g, uint64_t *tensors, uint64_t *keys) {
  qn_error *e = &g->env->error;
  if (g->map.bytes < GGUF_HEADER || memcmp(g->map.data, "GGUF", 4) != 0) return gguf_refuse(g);
  g->version = qn_load_u32(g->map.data + 4);
  if (g->version != 0 && (g->version & 0xffff) == 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: a big-endian GGUF file; make it again for little-endian machines",
                   g->name);
  }
  if (g->version != 2 && g->version != 3) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: GGUF of version %u (supported: 2, 3); make it again from its source",
                   g->name, g->version);
  }
  r->at = 8;
  QN_TRY(gguf_take_u64(r, tensors));
  QN_TRY(gguf_take_u64(r, keys));
  return QUERN_OK;
}

/* Zeroed memory for the `count` entries that the header announces, of which each takes at least `least` bytes of what is
   left. */
static quern_status gguf_reserve(const gguf_reader *r, void **out, uint64_t count, uint32_t least, uint32_t most,
                                 size_t item, const char *what) {
  qn_error *e = &r->g->env->error;
  if (count > gguf_left(r) / least) {
    return qn_fail(e, QUERN_E_SOURCE,
                   "%s: %llu %s do not fit a file of %zu bytes; it is cut short or damaged, get it again", r->g->name,
                   (unsigned long long)count, what, r->g->map.bytes);
  }
  if (count > most) {
    return qn_fail(e, QUERN_E_LIMIT, "%s: %llu %s exceed the limit of %u", r->g->name, (unsigned long long)count, what,
                   most);
  }
  return qn_alloc_array(r->g->env, out, (size_t)count, item, what);
}

/* g->env, map and name are set. */
static quern_status gguf_parse(qn_gguf *g) {
  gguf_reader r = {g, 0};
  uint64_t tensors, keys;
  uint32_t align = 0;
  void *p;
  QN_TRY(gguf_take_header(&r, g, &tensors, &keys));
  QN_TRY(gguf_reserve(&r, &p, keys, GGUF_KEY_BYTES, QN_GGUF_KEYS, sizeof *g->values, "metadata keys"));
  g->values = p;
  g->value_count = (size_t)keys;
  QN_TRY(gguf_take_values(&r, g->values, g->value_count));
  QN_TRY(gguf_check_keys(g, &align));
  QN_TRY(gguf_reserve(&r, &p, tensors, GGUF_INFO_BYTES, QN_GGUF_TENSORS, sizeof *g->tensors, "tensors"));
  g->tensors = p;
  g->count = (size_t)tensors;
  for (size_t i = 0; i < g->count; i++) QN_TRY(gguf_take_info(&r, &g->tensors[i]));
  /* A map is smaller than PTRDIFF_MAX: rounding up does not wrap. Without tensors the padding may be missing. */
  g->data_at = qn_min_size(qn_round_up(r.at, align), g->map.bytes);
  for (size_t i = 0; i < g->count; i++) {
    QN_TRY(gguf_place(g, &g->tensors[i], align));
    g->bytes += g->tensors[i].bytes;
  }
  return gguf_check_tensors(g);
}

quern_status qn_gguf_open(qn_gguf *out, qn_env *env, const char *path, uint64_t limit) {
  quern_status status;
  const char *slash = strrchr(path, '/');
  *out = (qn_gguf){.env = env};
  qn_format(out->name, sizeof out->name, "%s", slash ? slash + 1 : path);
  QN_TRY_CLEANUP(qn_map_open(&out->map, env, path, limit));
  QN_TRY_CLEANUP(gguf_parse(out));
  return QUERN_OK;
cleanup:
  qn_gguf_close(out);
  return status;
}

quern_status qn_gguf_open_memory(qn_gguf *out, qn_env *env, const char *name, const void *data, size_t bytes) {
  quern_status status;
  *out = (qn_gguf){.env = env, .map = {data, bytes, 0}};
  qn_format(out->name, sizeof out->name, "%s", name);
  QN_TRY_CLEANUP(gguf_parse(out));
  return QUERN_OK;
cleanup:
  qn_gguf_close(out);
  return status;
}

void qn_gguf_close(qn_gguf *g) {
  if (!g->env) return;
  qn_free(g->env, g->values, g->value_count * sizeof *g->values);
  qn_free(g->env, g->tensors, g->count * sizeof *g->tensors);
  qn_map_close(&g->map);
  *g = (qn_gguf){0};
}

/* ---- keys ---- */

const qn_gguf_value *qn_gguf_find(const qn_gguf *g, const char *key) {
  size_t low = 0, high = g->value_count;
  const size_t bytes = strlen(key);
  while (low < high) {
    const size_t mid = low + (high - low) / 2;
    const int order = gguf_compare(g->values[mid].key, key, bytes);
    if (order == 0) return &g->values[mid];
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

typedef enum gguf_class { GGUF_INTEGER, GGUF_FLOAT, GGUF_TRUTH, GGUF_STRING } gguf_class;

static gguf_class gguf_class_of(qn_gguf_kind kind) {
  if (kind == QN_GGUF_TEXT) return GGUF_STRING;
  if (kind == QN_GGUF_BOOL) return GGUF_TRUTH;
  return kind == QN_GGUF_F32 || kind == QN_GGUF_F64 ? GGUF_FLOAT : GGUF_INTEGER;
}

/* The value of a key, of the class and form that is asked for; NULL where it is absent and not needed. */
static quern_status gguf_get(const qn_gguf *g, const char *key, int needed, int is_array, gguf_class class,
                             const qn_gguf_value **out) {
  static const char *const names[] = {"an integer", "a float", "a bool", "a text"};
  const qn_gguf_value *v = qn_gguf_find(g, key);
  *out = NULL;
  if (!v && needed) return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: the key %s is missing", g->name, key);
  if (v && (v->is_array != is_array || gguf_class_of(v->kind) != class)) {
    return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: %s is %s%s, not %s%s", g->name, key,
                   v->is_array ? "an array of " : "", kinds[v->kind].name, is_array ? "an array, each " : "",
                   names[class]);
  }
  *out = v;
  return QUERN_OK;
}

quern_status qn_gguf_get_uint(const qn_gguf *g, const char *key, int needed, uint64_t most, uint64_t *out) {
  const qn_gguf_value *v;
  QN_TRY(gguf_get(g, key, needed, 0, GGUF_INTEGER, &v));
  if (!v) return QUERN_OK;
  const int64_t x = qn_gguf_item_int(v, 0);
  const uint64_t value = v->kind == QN_GGUF_U64 ? qn_load_u64(v->data) : (uint64_t)x;
  if (x < 0) return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: %s is %lld", g->name, key, (long long)x);
  if (value > most) {
    return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: %s is %llu, %llu at most", g->name, key,
                   (unsigned long long)value, (unsigned long long)most);
  }
  *out = value;
  return QUERN_OK;
}

quern_status qn_gguf_get_float(const qn_gguf *g, const char *key, int needed, double *out) {
  const qn_gguf_value *v;
  QN_TRY(gguf_get(g, key, needed, 0, GGUF_FLOAT, &v));
  if (!v) return QUERN_OK;
  const double x = qn_gguf_item_float(v, 0);
  if (x - x != 0) return qn_fail(&g->env->error, QUERN_E_SOURCE, "%s: %s is NaN or infinite", g->name, key);
  *out = x;
  return QUERN_OK;
}

quern_status qn_gguf_get_bool(const qn_gguf *g, const char *key, int needed, int *out) {
  const qn_gguf_value *v;
  QN_TRY(gguf_get(g, key, needed, 0, GGUF_TRUTH, &v));
  if (v) *out = v->data[0];
  return QUERN_OK;
}

quern_status qn_gguf_get_text(const qn_gguf *g, const char *key, int needed, qn_gguf_text *out) {
  const qn_gguf_value *v;
  size_t at = 0;
  QN_TRY(gguf_get(g, key, needed, 0, GGUF_STRING, &v));
  if (v) qn_gguf_next_text(v, &at, out);
  return QUERN_OK;
}

quern_status qn_gguf_get_array(const qn_gguf *g, const char *key, int needed, qn_gguf_kind like,
                               const qn_gguf_value **out) {
  return gguf_get(g, key, needed, 1, gguf_class_of(like), out);
}

int64_t qn_gguf_item_int(const qn_gguf_value *v, uint64_t i) {
  const uint8_t *p = v->data + i * kinds[v->kind].bytes;
  switch (v->kind) {
    case QN_GGUF_I8:
      return (int8_t)p[0];
    case QN_GGUF_U16:
      return qn_load_u16(p);
    case QN_GGUF_I16:
      return (int16_t)qn_load_u16(p);
    case QN_GGUF_U32:
      return qn_load_u32(p);
    case QN_GGUF_I32:
      return (int32_t)qn_load_u32(p);
    case QN_GGUF_U64:
      return qn_load_u64(p) > INT64_MAX ? INT64_MAX : (int64_t)qn_load_u64(p);
    case QN_GGUF_I64:
      return (int64_t)qn_load_u64(p);
    default:
      return p[0];
  }
}

double qn_gguf_item_float(const qn_gguf_value *v, uint64_t i) {
  float single;
  double value;
  if (v->kind == QN_GGUF_F32) {
    memcpy(&single, v->data + i * sizeof single, sizeof single);
    return (double)single;
  }
  memcpy(&value, v->data + i * sizeof value, sizeof value);
  return value;
}

int qn_gguf_next_text(const qn_gguf_value *v, size_t *at, qn_gguf_text *out) {
  if (*at >= v->bytes) return 0;
  const uint8_t *p = v->data + *at;
  *out = (qn_gguf_text){(const char *)p + 8, (size_t)qn_load_u64(p)};
  *at += 8 + out->bytes;
  return 1;
}

int qn_gguf_text_is(qn_gguf_text t, const char *s) { return gguf_compare(t, s, strlen(s)) == 0; }

/* ---- values ---- */

const qn_gguf_tensor *qn_gguf_find_tensor(const qn_gguf *g, const char *name) {
  size_t low = 0, high = g->count;
  while (low < high) {
    const size_t mid = low + (high - low) / 2;
    const int order = strcmp(g->tensors[mid].name, name);
    if (order == 0) return &g->tensors[mid];
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

quern_status qn_gguf_check_type(const qn_gguf *g, const qn_gguf_tensor *t) {
  if (t->type->expand) return QUERN_OK;
  return qn_fail(&g->env->error, QUERN_E_UNSUPPORTED, "%s: %s: type %s is not supported (supported: %s)", g->name,
                 t->name, t->type->name, QN_GGUF_EXPANDABLE);
}

quern_status qn_gguf_read(const qn_gguf *g, const qn_gguf_tensor *t, uint64_t first, uint64_t rows, float *dst) {
  QN_TRY(qn_gguf_check_type(g, t));
  if (!qn_in_range(first, rows, t->rows)) {
    return qn_fail(&g->env->error, QUERN_E_ARGUMENT, "%s: %s: %llu rows from row %llu on, and it has %llu", g->name,
                   t->name, (unsigned long long)rows, (unsigned long long)first, (unsigned long long)t->rows);
  }
  const size_t row_blocks = (size_t)(t->columns / t->type->values), n = (size_t)(rows * t->columns);
  t->type->expand(t->data + first * row_blocks * t->type->bytes, (size_t)rows * row_blocks, dst);
  if (qn_all_finite(dst, n)) return QUERN_OK;
  size_t bad = 0;
  while (qn_all_finite(dst + bad, 1)) bad++;
  return qn_fail(&g->env->error, QUERN_E_NONFINITE, "%s: %s: element %llu is %s", g->name, t->name,
                 (unsigned long long)(first * t->columns + bad), dst[bad] != dst[bad] ? "NaN" : "infinite");
}
