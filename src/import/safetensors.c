/* safetensors.c - reads safetensors files: u64 header length, JSON header, data.
 * Not here: what the tensors mean. Everything from a file is checked before it is used: the header's length against the
 * file, each tensor's range against the data, its size against shape x dtype, ranges against one another, shard names
 * (plain names in the same directory). Thread rule: read-only once open. */
#include "import/safetensors.h"
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/sort.h"

static const struct {
  const char *name;
  uint32_t bytes;
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},  {"U64", 8},     {"I32", 4},    {"U32", 4},
              {"I16", 2}, {"U16", 2}, {"I8", 1},   {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

static uint32_t dtype_bytes(const char *name) { /* 0: unknown */
  for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
    if (!strcmp(dtypes[i].name, name)) return dtypes[i].bytes;
  return 0;
}

/* ---- order ---- */

static int by_name(const void *a, const void *b) {
  return strcmp(((const qn_st_tensor *)a)->name, ((const qn_st_tensor *)b)->name);
}

static int by_place(const void *x, const void *y) {
  const qn_st_tensor *a = x, *b = y;
  if (a->file != b->file) return a->file < b->file ? -1 : 1;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

/* ---- one file ---- */

/* A size in a header: a whole number up to 2^53, above which JSON's doubles are not exact. */
static int header_size(const qn_json_node *n, uint64_t *out) {
  if (n->kind != QN_JSON_NUMBER || !(n->number >= 0 && n->number <= 9007199254740992.0)) return 0;
  *out = (uint64_t)n->number;
  return (double)*out == n->number;
}

/* Member `key` of the header (its value is node `at`) as a tensor of file f. */
static quern_status read_entry(const qn_safetensors *s, uint32_t file, const qn_json_node *key, uint32_t at,
                               qn_st_tensor *t) {
  const qn_st_file *f = &s->files[file];
  const qn_json *j = &f->header;
  qn_error *e = &s->env->error;
  *t = (qn_st_tensor){.name = key->string, .file = file, .elements = 1};
  if (strlen(key->string) != key->bytes) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: a tensor's name has a NUL in it", f->name);
  }
  t->dtype = qn_json_string(j, at, "dtype", NULL);
  uint32_t shape = qn_json_get(j, at, "shape"), range = qn_json_get(j, at, "data_offsets");
  if (!t->dtype || !shape || !range || j->nodes[shape].kind != QN_JSON_ARRAY || j->nodes[range].kind != QN_JSON_ARRAY ||
      j->nodes[range].count != 2) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: dtype, shape or data_offsets is missing or malformed", f->name, 128,
                   t->name);
  }
  t->rank = j->nodes[shape].count;
  uint32_t d = shape + 1;
  for (uint32_t i = 0; i < t->rank; i++, d = j->nodes[d].next) {
    uint64_t dim;
    if (!header_size(&j->nodes[d], &dim)) {
      return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: a dimension is not a whole number", f->name, 128, t->name);
    }
    if (i < QN_ST_RANK) t->dim[i] = dim;
    if (!qn_mul_u64(t->elements, dim, &t->elements)) {
      return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: the shape is larger than any file", f->name, 128, t->name);
    }
  }
  uint64_t data = f->map.bytes - f->data_at;
  const qn_json_node *first = &j->nodes[range + 1];
  if (!header_size(first, &t->begin) || !header_size(&j->nodes[first->next], &t->end) || t->end < t->begin) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: data_offsets is not a range", f->name, 128, t->name);
  }
  if (t->end > data) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s ends at byte %llu of %llu; the file is cut short, download it again",
                   f->name, 128, t->name, (unsigned long long)t->end, (unsigned long long)data);
  }
  uint32_t item = dtype_bytes(t->dtype);
  uint64_t need;
  if (item && (!qn_mul_u64(t->elements, item, &need) || need != t->end - t->begin)) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s: %llu bytes do not fit its shape and dtype %s", f->name, 128, t->name,
                   (unsigned long long)(t->end - t->begin), t->dtype);
  }
  t->data = f->map.data + f->data_at + t->begin;
  return QUERN_OK;
}

/* Checks the frame of file f, whose map is set, and parses its header. */
static quern_status read_header(const qn_safetensors *s, qn_st_file *f) {
  qn_error *e = &s->env->error;
  if (f->map.bytes < 8) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: %zu bytes are no safetensors file", f->name, f->map.bytes);
  }
  uint64_t header = qn_load_u64(f->map.data);
  if (header > f->map.bytes - 8) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: no safetensors file, or cut short: a header of %llu bytes in a file of %zu",
                   f->name, (unsigned long long)header, f->map.bytes);
  }
  if (header > QN_ST_HEADER) {
    return qn_fail(e, QUERN_E_LIMIT, "%s: a header of %llu bytes exceeds the limit of %llu", f->name,
                   (unsigned long long)header, (unsigned long long)QN_ST_HEADER);
  }
  f->data_at = 8 + header;
  QN_TRY(qn_json_parse(&f->header, s->env, f->name, f->map.data + 8, (size_t)header));
  if (f->header.nodes[0].kind != QN_JSON_OBJECT) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: the header is not a JSON object", f->name);
  }
  return QUERN_OK;
}

/* Fills the table from the headers of all files, checks it, and leaves it in order of names. */
static quern_status build_table(qn_safetensors *s) {
  void *p;
  for (uint32_t i = 0; i < s->file_count; i++) s->cap += s->files[i].header.nodes[0].count;
  QN_TRY(qn_alloc_array(s->env, &p, s->cap, sizeof *s->tensors, "the list of tensors"));
  s->tensors = p;
  for (uint32_t i = 0; i < s->file_count; i++) {
    const qn_json *j = &s->files[i].header;
    for (uint32_t k = 1; k < j->nodes[0].next; k = j->nodes[k + 1].next) {
      if (!strcmp(j->nodes[k].string, "__metadata__")) continue;
      QN_TRY(read_entry(s, i, &j->nodes[k], k + 1, &s->tensors[s->count]));
      s->bytes += s->tensors[s->count].end - s->tensors[s->count].begin;
      s->count++;
    }
  }
  qn_sort_items(s->tensors, s->count, sizeof *s->tensors, by_place);
  for (size_t i = 1; i < s->count; i++) {
    const qn_st_tensor *a = &s->tensors[i - 1], *b = &s->tensors[i];
    if (a->file == b->file && b->begin < a->end) {
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "%s: %.*s and %.*s overlap", s->files[a->file].name, 128, a->name,
                     128, b->name);
    }
  }
  qn_sort_items(s->tensors, s->count, sizeof *s->tensors, by_name);
  for (size_t i = 1; i < s->count; i++) {
    const qn_st_tensor *a = &s->tensors[i - 1], *b = &s->tensors[i];
    if (!strcmp(a->name, b->name)) {
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "%s: %.*s is there twice", s->files[b->file].name, 128, b->name);
    }
  }
  return QUERN_OK;
}

static quern_status reserve_files(qn_safetensors *s, uint32_t n) {
  void *p;
  QN_TRY(qn_alloc_array(s->env, &p, n, sizeof *s->files, "the list of weight files"));
  s->files = p;
  s->file_cap = n;
  return QUERN_OK;
}

/* Maps dir/name as the next file. */
static quern_status add_file(qn_safetensors *s, const char *dir, const char *name, uint64_t limit) {
  char path[4096];
  qn_st_file *f = &s->files[s->file_count];
  qn_format(f->name, sizeof f->name, "%s", name);
  QN_TRY(qn_path_join(s->env, path, sizeof path, dir, name));
  if (!qn_path_exists(path)) {
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "%s is missing; download the whole model directory", path);
  }
  QN_TRY(qn_map_open(&f->map, s->env, path, limit));
  s->file_count++;
  return read_header(s, f);
}

/* ---- shards ---- */

static const char *const index_name = "model.safetensors.index.json";

/* A file of the same directory: never a path. */
static int plain_name(const qn_json_node *n) {
  return n->kind == QN_JSON_STRING && n->bytes > 0 && n->bytes < QN_ST_NAME && strlen(n->string) == n->bytes &&
         n->string[0] != '.' && !strpbrk(n->string, "/\\");
}

static quern_status add_shards(qn_safetensors *s, const qn_json *index, const char *dir, uint64_t limit) {
  qn_error *e = &s->env->error;
  uint32_t map = qn_json_get(index, 0, "weight_map");
  if (!map || index->nodes[map].kind != QN_JSON_OBJECT || index->nodes[map].count == 0) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: weight_map is missing or empty", index_name);
  }
  QN_TRY(reserve_files(s, qn_min_size(index->nodes[map].count, QN_ST_FILES) & UINT32_MAX));
  for (uint32_t k = map + 1; k < index->nodes[map].next; k = index->nodes[k + 1].next) {
    const qn_json_node *shard = &index->nodes[k + 1];
    uint32_t i = 0;
    if (!plain_name(shard)) {
      return qn_fail(e, QUERN_E_SOURCE, "%s: the file of %.*s is not a plain file name of the same directory",
                     index_name, 128, index->nodes[k].string);
    }
    while (i < s->file_count && strcmp(s->files[i].name, shard->string) != 0) i++;
    if (i < s->file_count) continue;
    if (s->file_count == s->file_cap) {
      return qn_fail(e, QUERN_E_LIMIT, "%s: more than %u files", index_name, QN_ST_FILES);
    }
    QN_TRY(add_file(s, dir, shard->string, limit));
  }
  QN_TRY(build_table(s));
  for (uint32_t k = map + 1; k < index->nodes[map].next; k = index->nodes[k + 1].next) {
    const qn_st_tensor *t = qn_safetensors_find(s, index->nodes[k].string);
    const char *shard = index->nodes[k + 1].string;
    if (!t || strcmp(s->files[t->file].name, shard) != 0) {
      return qn_fail(e, QUERN_E_SOURCE, "%s: %.*s is not in %.*s, as %s says", shard, 128, index->nodes[k].string, 128,
                     shard, index_name);
    }
  }
  return QUERN_OK;
}

static quern_status open_index(qn_safetensors *s, const char *dir, const char *path, uint64_t limit) {
  qn_map map;
  qn_json index = {0};
  QN_TRY(qn_map_open(&map, s->env, path, limit && limit < QN_ST_HEADER ? limit : QN_ST_HEADER));
  quern_status status = qn_json_parse(&index, s->env, index_name, map.data, map.bytes);
  qn_map_close(&map);
  if (status == QUERN_OK) status = add_shards(s, &index, dir, limit);
  qn_json_free(s->env, &index);
  return status;
}

/* ---- entry points ---- */

quern_status qn_safetensors_open(qn_safetensors *out, qn_env *env, const char *dir, uint64_t limit) {
  char path[4096];
  quern_status status;
  *out = (qn_safetensors){.env = env};
  QN_TRY(qn_path_join(env, path, sizeof path, dir, "model.safetensors"));
  if (qn_path_exists(path)) {
    QN_TRY_CLEANUP(reserve_files(out, 1));
    QN_TRY_CLEANUP(add_file(out, dir, "model.safetensors", limit));
    QN_TRY_CLEANUP(build_table(out));
    return QUERN_OK;
  }
  QN_TRY(qn_path_join(env, path, sizeof path, dir, index_name));
  if (qn_path_exists(path)) {
    QN_TRY_CLEANUP(open_index(out, dir, path, limit));
    return QUERN_OK;
  }
  QN_TRY(qn_path_join(env, path, sizeof path, dir, "pytorch_model.bin"));
  if (qn_path_exists(path)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: pickled weights are not supported; convert them to safetensors "
                   "(transformers: save_pretrained(DIR, safe_serialization=True))",
                   path);
  }
  return qn_fail(&env->error, QUERN_E_SOURCE, "%s has neither model.safetensors nor %s", dir, index_name);
cleanup:
  qn_safetensors_close(out);
  return status;
}

quern_status qn_safetensors_open_memory(qn_safetensors *out, qn_env *env, const char *name, const void *data,
                                        size_t bytes) {
  quern_status status;
  *out = (qn_safetensors){.env = env};
  QN_TRY_CLEANUP(reserve_files(out, 1));
  out->file_count = 1;
  out->files[0].map = (qn_map){data, bytes, 0};
  qn_format(out->files[0].name, QN_ST_NAME, "%s", name);
  QN_TRY_CLEANUP(read_header(out, &out->files[0]));
  QN_TRY_CLEANUP(build_table(out));
  return QUERN_OK;
cleanup:
  qn_safetensors_close(out);
  return status;
}

void qn_safetensors_close(qn_safetensors *s) {
  if (!s->env) return;
  for (uint32_t i = 0; i < s->file_count; i++) {
    qn_json_free(s->env, &s->files[i].header);
    qn_map_close(&s->files[i].map);
  }
  qn_free(s->env, s->files, s->file_cap * sizeof *s->files);
  qn_free(s->env, s->tensors, s->cap * sizeof *s->tensors);
  *s = (qn_safetensors){0};
}

const qn_st_tensor *qn_safetensors_find(const qn_safetensors *s, const char *name) {
  size_t low = 0, high = s->count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    int order = strcmp(s->tensors[mid].name, name);
    if (order == 0) return &s->tensors[mid];
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

/* ---- values ---- */

int qn_safetensors_is_float(const qn_st_tensor *t) {
  return !strcmp(t->dtype, "F32") || !strcmp(t->dtype, "F16") || !strcmp(t->dtype, "BF16");
}

uint64_t qn_safetensors_convert(const qn_st_tensor *t, float *dst) {
  uint64_t n = t->elements;
  if (!strcmp(t->dtype, "F32")) {
    if (n) memcpy(dst, t->data, (size_t)n * sizeof *dst);
  } else if (!strcmp(t->dtype, "F16")) {
    for (uint64_t i = 0; i < n; i++) dst[i] = qn_from_half(qn_load_u16(t->data + 2 * i));
  } else {
    for (uint64_t i = 0; i < n; i++) dst[i] = qn_from_bf16(qn_load_u16(t->data + 2 * i));
  }
  uint32_t bad = 0;
  for (uint64_t i = 0; i < n; i++) bad |= (qn_load_u32(dst + i) & 0x7f800000) == 0x7f800000;
  for (uint64_t i = 0; bad && i < n; i++)
    if ((qn_load_u32(dst + i) & 0x7f800000) == 0x7f800000) return i;
  return UINT64_MAX;
}
