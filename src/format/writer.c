/* writer.c - lays a .qrn file out and writes it: everything but DATA is gathered in memory, DATA streams through.
 * Not a packer: tensors come in the bytes that they have in the file. The same calls give the same bytes.
 * Invariants: `order` lists the declared tensors sorted by name, `tensors` has them as declared; a call out of turn is
 * refused and changes nothing. Thread rule: a writer belongs to one thread. */
#include "format/qrn.h"
#include "base/checked.h"
#include "base/hash.h"
#include <string.h>

enum { WRITER_GATHERING, WRITER_STREAMING, WRITER_DONE };

struct qrn_writer {
  qn_env *env;
  int phase;
  uint32_t meta_count, tensor_count, site_count;
  qn_buffer meta;                         /* entries as in the file, without the head */
  qn_buffer arch;                         /* content of ARCH */
  qn_buffer tokenizer;                    /* content of TOKENIZER */
  qn_buffer sites;                        /* qrn_site */
  qn_buffer site_names;                   /* as in the file */
  qn_buffer tensors;                      /* qrn_tensor as declared; `name` is an offset in tensor_names */
  qn_buffer tensor_names;                 /* as declared, each with its NUL */
  qn_buffer order;                        /* uint32_t */
  qn_output *out;                         /* to a file, or */
  qn_buffer *sink;                        /* to the caller's memory */
  qrn_section section[QRN_SECTION_KINDS]; /* by kind; kind 0: absent */
  uint64_t file_bytes;
  uint32_t next; /* tensor to be written */
  qn_xxh64_state data_hash;
};

quern_status qrn_writer_create(qrn_writer **out, qn_env *env) {
  void *w;
  *out = NULL;
  QN_TRY(qn_alloc_array(env, &w, 1, sizeof(qrn_writer), "the writer of a .qrn file"));
  *out = w;
  (*out)->env = env;
  return QUERN_OK;
}

void qrn_writer_free(qrn_writer *w) {
  if (!w) return;
  qn_output_abort(w->out);
  qn_buffer *const all[] = {&w->meta,       &w->arch,    &w->tokenizer,    &w->sites,
                            &w->site_names, &w->tensors, &w->tensor_names, &w->order};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) qn_buffer_free(w->env, all[i]);
  qn_free(w->env, w, sizeof *w);
}

static quern_status writer_refuse(qrn_writer *w, const char *what, const char *name) {
  return qn_fail(&w->env->error, QUERN_E_ARGUMENT, "writing a .qrn file: %s (%s)", what, name);
}

static quern_status writer_need_phase(qrn_writer *w, int phase, const char *name) {
  return w->phase == phase ? QUERN_OK : writer_refuse(w, "called out of turn", name);
}

/* ---- gathering --------------------------------------------------------------------------------------------------- */

/* Bytes, at least one 0 behind them, and more up to a multiple of 8. */
static quern_status writer_append_padded(qrn_writer *w, qn_buffer *b, const void *p, size_t bytes) {
  QN_TRY(qn_buffer_append(w->env, b, p, bytes));
  QN_TRY(qn_buffer_append(w->env, b, "", 1));
  return qn_buffer_pad(w->env, b, 8);
}

static int writer_has_meta(const qrn_writer *w, const char *key, size_t key_bytes) {
  for (size_t at = 0; at < w->meta.bytes;) {
    uint32_t n;
    uint64_t value_bytes;
    memcpy(&n, w->meta.data + at, sizeof n);
    memcpy(&value_bytes, w->meta.data + at + 8, sizeof value_bytes);
    if (n == key_bytes && !memcmp(w->meta.data + at + 16, key, key_bytes)) return 1;
    at += 16 + qn_round_up((size_t)n + 1, 8) + qn_round_up((size_t)value_bytes + 1, 8);
  }
  return 0;
}

static quern_status writer_put_meta(qrn_writer *w, const char *key, uint32_t type, const void *value, size_t bytes) {
  size_t key_bytes = strlen(key);
  QN_TRY(writer_need_phase(w, WRITER_GATHERING, key));
  if (!key_bytes || key_bytes > UINT16_MAX || w->meta_count == QRN_META_MAX || writer_has_meta(w, key, key_bytes))
    return writer_refuse(w, "a key that is empty, too long, there already or one too many", key);
  uint32_t head[2] = {(uint32_t)key_bytes, type};
  uint64_t value_bytes = bytes;
  size_t before = w->meta.bytes;
  quern_status status;
  QN_TRY_CLEANUP(qn_buffer_append(w->env, &w->meta, head, sizeof head));
  QN_TRY_CLEANUP(qn_buffer_append(w->env, &w->meta, &value_bytes, sizeof value_bytes));
  QN_TRY_CLEANUP(writer_append_padded(w, &w->meta, key, key_bytes));
  QN_TRY_CLEANUP(writer_append_padded(w, &w->meta, value, bytes));
  w->meta_count++;
  return QUERN_OK;
cleanup:
  w->meta.bytes = before;
  return status;
}

quern_status qrn_put_string(qrn_writer *w, const char *key, const char *value, size_t bytes) {
  return writer_put_meta(w, key, QRN_STRING, value, bytes);
}

quern_status qrn_put_u64(qrn_writer *w, const char *key, uint64_t value) {
  return writer_put_meta(w, key, QRN_U64, &value, sizeof value);
}

quern_status qrn_put_f64(qrn_writer *w, const char *key, double value) {
  return writer_put_meta(w, key, QRN_F64, &value, sizeof value);
}

quern_status qrn_put_section(qrn_writer *w, uint32_t kind, const void *data, size_t bytes) {
  qn_buffer *b = kind == QRN_ARCH ? &w->arch : kind == QRN_TOKENIZER ? &w->tokenizer : NULL;
  QN_TRY(writer_need_phase(w, WRITER_GATHERING, "section"));
  if (!b || b->bytes || !bytes) return writer_refuse(w, "ARCH and TOKENIZER can be put, once, not empty", "section");
  return qn_buffer_append(w->env, b, data, bytes);
}

/* Appends a name with its NUL; its place is where the names ended. */
static quern_status writer_put_name(qrn_writer *w, qn_buffer *names, const char *name, uint32_t *at, uint32_t *bytes) {
  size_t n = strlen(name);
  if (!n || n > UINT16_MAX || names->bytes > UINT32_MAX - n - 1) return writer_refuse(w, "a name's length", name);
  *at = (uint32_t)names->bytes;
  *bytes = (uint32_t)n;
  return qn_buffer_append(w->env, names, name, n + 1);
}

quern_status qrn_put_site(qrn_writer *w, const char *name, const qrn_site *site) {
  qrn_site s = *site;
  QN_TRY(writer_need_phase(w, WRITER_GATHERING, name));
  if (!qrn_site_valid(&s)) return writer_refuse(w, "a site that the format does not have", name);
  QN_TRY(writer_put_name(w, &w->site_names, name, &s.name, &s.name_bytes));
  quern_status status = qn_buffer_append(w->env, &w->sites, &s, sizeof s);
  if (status == QUERN_OK)
    w->site_count++;
  else
    w->site_names.bytes = s.name;
  return status;
}

static qrn_tensor *writer_tensor(const qrn_writer *w, uint32_t i) { return (qrn_tensor *)w->tensors.data + i; }
static const char *writer_tensor_name(const qrn_writer *w, uint32_t i) {
  return (const char *)w->tensor_names.data + writer_tensor(w, i)->name;
}

/* Where a name belongs in `order`; *there: it is declared already. */
static uint32_t writer_place(const qrn_writer *w, const char *name, int *there) {
  const uint32_t *order = (const uint32_t *)w->order.data;
  uint32_t low = 0, high = w->tensor_count;
  *there = 0;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    int c = strcmp(writer_tensor_name(w, order[mid]), name);
    if (c == 0) *there = 1;
    if (c < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

static quern_status writer_declare(qrn_writer *w, const char *name, uint32_t dtype, uint32_t layout, uint32_t rank,
                                   const uint64_t *dim, uint32_t group) {
  int there;
  QN_TRY(writer_need_phase(w, WRITER_GATHERING, name));
  qrn_tensor t = {.dtype = dtype, .layout = layout, .rank = rank, .dim = {1, 1, 1, 1}, .group = group};
  t.bytes = qrn_tensor_bytes(dtype, layout, rank, dim);
  if (!t.bytes || !qrn_group_valid(dtype, layout, rank > 1 ? dim[1] : 1, group))
    return writer_refuse(w, "a tensor's type, layout or shape", name);
  memcpy(t.dim, dim, rank * sizeof *dim);
  uint32_t place = writer_place(w, name, &there);
  if (there) return writer_refuse(w, "a tensor declared twice", name);
  /* DATA so far ends with the tensor before. */
  if (w->tensor_count) {
    const qrn_tensor *last = writer_tensor(w, w->tensor_count - 1);
    t.offset = (last->offset + last->bytes + QRN_ALIGN - 1) & ~(uint64_t)(QRN_ALIGN - 1);
  }
  if (w->tensor_count == UINT32_MAX || t.offset > (uint64_t)INT64_MAX / 2 || t.bytes > (uint64_t)INT64_MAX / 2)
    return writer_refuse(w, "too much data", name);
  QN_TRY(writer_put_name(w, &w->tensor_names, name, &t.name, &t.name_bytes));
  size_t order_bytes = w->order.bytes;
  quern_status status;
  QN_TRY_CLEANUP(qn_buffer_append(w->env, &w->order, &w->tensor_count, sizeof w->tensor_count));
  QN_TRY_CLEANUP(qn_buffer_append(w->env, &w->tensors, &t, sizeof t));
  uint32_t *order = (uint32_t *)w->order.data;
  memmove(order + place + 1, order + place, (w->tensor_count - place) * sizeof *order);
  order[place] = w->tensor_count++;
  return QUERN_OK;
cleanup:
  w->order.bytes = order_bytes;
  w->tensor_names.bytes = t.name;
  return status;
}

quern_status qrn_declare_tensor(qrn_writer *w, const char *name, uint32_t dtype, uint32_t layout, uint32_t rank,
                                const uint64_t *dim) {
  return writer_declare(w, name, dtype, layout, rank, dim, 0);
}

quern_status qrn_declare_codes(qrn_writer *w, const char *name, uint32_t dtype, uint32_t layout, const uint64_t dim[2],
                               uint32_t group) {
  return writer_declare(w, name, dtype, layout, 2, dim, group);
}

/* ---- laying out -------------------------------------------------------------------------------------------------- */

static quern_status writer_head(qrn_writer *w, qn_buffer *b, uint32_t count, size_t names_bytes) {
  uint32_t head[4] = {count, (uint32_t)names_bytes, 0, 0};
  return qn_buffer_append(w->env, b, head, sizeof head);
}

static quern_status writer_build_meta(qrn_writer *w, qn_buffer *b) {
  uint32_t head[2] = {w->meta_count, 0};
  QN_TRY(qn_buffer_append(w->env, b, head, sizeof head));
  return qn_buffer_append(w->env, b, w->meta.data, w->meta.bytes);
}

/* Entries and names by name, as the file has them. */
static quern_status writer_build_tensors(qrn_writer *w, qn_buffer *b) {
  const uint32_t *order = (const uint32_t *)w->order.data;
  uint32_t at = 0;
  QN_TRY(writer_head(w, b, w->tensor_count, w->tensor_names.bytes));
  for (uint32_t i = 0; i < w->tensor_count; i++) {
    qrn_tensor t = *writer_tensor(w, order[i]);
    t.name = at;
    at += t.name_bytes + 1;
    QN_TRY(qn_buffer_append(w->env, b, &t, sizeof t));
  }
  for (uint32_t i = 0; i < w->tensor_count; i++)
    QN_TRY(qn_buffer_append(w->env, b, writer_tensor_name(w, order[i]), writer_tensor(w, order[i])->name_bytes + 1u));
  return QUERN_OK;
}

static quern_status writer_build_sites(qrn_writer *w, qn_buffer *b) {
  QN_TRY(writer_head(w, b, w->site_count, w->site_names.bytes));
  QN_TRY(qn_buffer_append(w->env, b, w->sites.data, w->sites.bytes));
  return qn_buffer_append(w->env, b, w->site_names.data, w->site_names.bytes);
}

/* Header and table as they stand now, the table packed; checksummed. Returns the bytes. */
static size_t writer_build_header(const qrn_writer *w, uint8_t *out) {
  qrn_header h = {.version = QRN_VERSION, .header_bytes = sizeof h, .file_bytes = w->file_bytes};
  memcpy(h.magic, QRN_MAGIC, sizeof h.magic);
  qrn_section *table = (qrn_section *)(void *)(out + sizeof h);
  for (uint32_t kind = 1; kind < QRN_SECTION_KINDS; kind++)
    if (w->section[kind].kind) memcpy(table + h.section_count++, &w->section[kind], sizeof *table);
  size_t table_bytes = h.section_count * sizeof(qrn_section);
  qn_xxh64_state s;
  qn_xxh64_begin(&s, 0);
  qn_xxh64_update(&s, &h, offsetof(qrn_header, checksum));
  qn_xxh64_update(&s, table, table_bytes);
  h.checksum = qn_xxh64_end(&s);
  memcpy(out, &h, sizeof h);
  return sizeof h + table_bytes;
}

static quern_status writer_emit(qrn_writer *w, const void *p, size_t bytes) {
  return w->sink ? qn_buffer_append(w->env, w->sink, p, bytes) : qn_output_write(w->out, p, bytes);
}

/* Lays out, writes and checksums all sections before DATA; `content` by kind, NULL: absent. */
static quern_status writer_write_sections(qrn_writer *w, qn_buffer *const content[QRN_SECTION_KINDS]) {
  static const uint8_t zero[QRN_ALIGN];
  uint64_t data_bytes = 0, at = sizeof(qrn_header);
  if (w->tensor_count) {
    const qrn_tensor *last = writer_tensor(w, w->tensor_count - 1);
    data_bytes = last->offset + last->bytes;
  }
  for (uint32_t kind = 1; kind < QRN_SECTION_KINDS; kind++)
    if (content[kind] || kind == QRN_DATA) at += sizeof(qrn_section);
  size_t table_end = (size_t)at;
  for (uint32_t kind = 1; kind < QRN_SECTION_KINDS; kind++) {
    if (!content[kind] && kind != QRN_DATA) continue;
    at = (at + QRN_ALIGN - 1) & ~(uint64_t)(QRN_ALIGN - 1);
    uint64_t bytes = kind == QRN_DATA ? data_bytes : content[kind]->bytes;
    w->section[kind] = (qrn_section){.kind = kind, .offset = at, .bytes = bytes};
    if (content[kind]) {
      QN_TRY(qn_buffer_pad(w->env, content[kind], QRN_ALIGN));
      w->section[kind].checksum = qn_xxh64(content[kind]->data, content[kind]->bytes, 0);
    }
    at += bytes;
  }
  w->file_bytes = (at + QRN_ALIGN - 1) & ~(uint64_t)(QRN_ALIGN - 1);
  if (w->sink) QN_TRY(qn_buffer_reserve(w->env, w->sink, (size_t)w->file_bytes));
  /* A place for header and table, which are known at the end. */
  for (size_t n = 0; n < qn_round_up(table_end, QRN_ALIGN); n += QRN_ALIGN) QN_TRY(writer_emit(w, zero, QRN_ALIGN));
  for (uint32_t kind = 1; kind < QRN_DATA; kind++)
    if (content[kind]) QN_TRY(writer_emit(w, content[kind]->data, content[kind]->bytes));
  return QUERN_OK;
}

/* Builds and writes everything before DATA; the output is w->sink, or else opened by path. */
static quern_status writer_start(qrn_writer *w, const char *path, int discard) {
  qn_buffer meta = {0}, tensors = {0}, sites = {0};
  quern_status status;
  QN_TRY(writer_need_phase(w, WRITER_GATHERING, "start"));
  if (!w->arch.bytes) return writer_refuse(w, "no ARCH was put", "start");
  QN_TRY_CLEANUP(writer_build_meta(w, &meta));
  QN_TRY_CLEANUP(writer_build_tensors(w, &tensors));
  QN_TRY_CLEANUP(writer_build_sites(w, &sites));
  if (!w->sink) QN_TRY_CLEANUP(qn_output_open(&w->out, w->env, path, discard));
  qn_buffer *const content[QRN_SECTION_KINDS] = {
      [QRN_META] = &meta,
      [QRN_ARCH] = &w->arch,
      [QRN_TENSORS] = &tensors,
      [QRN_SITES] = &sites,
      [QRN_TOKENIZER] = w->tokenizer.bytes ? &w->tokenizer : NULL,
  };
  w->phase = WRITER_DONE; /* after a failure nothing more can be written */
  QN_TRY_CLEANUP(writer_write_sections(w, content));
  qn_xxh64_begin(&w->data_hash, 0);
  w->phase = WRITER_STREAMING;
cleanup:
  if (status != QUERN_OK) {
    qn_output_abort(w->out);
    w->out = NULL;
  }
  qn_buffer_free(w->env, &meta);
  qn_buffer_free(w->env, &tensors);
  qn_buffer_free(w->env, &sites);
  return status;
}

quern_status qrn_writer_start(qrn_writer *w, const char *path, int discard) { return writer_start(w, path, discard); }

quern_status qrn_writer_start_memory(qrn_writer *w, qn_buffer *sink) {
  w->sink = sink;
  return writer_start(w, NULL, 0);
}

/* ---- streaming --------------------------------------------------------------------------------------------------- */

static quern_status writer_stream(qrn_writer *w, const void *data, size_t bytes) {
  qn_xxh64_update(&w->data_hash, data, bytes);
  return writer_emit(w, data, bytes);
}

quern_status qrn_write_tensor(qrn_writer *w, const char *name, const void *data, size_t bytes) {
  static const uint8_t zero[QRN_ALIGN];
  QN_TRY(writer_need_phase(w, WRITER_STREAMING, name));
  if (w->next == w->tensor_count || strcmp(writer_tensor_name(w, w->next), name))
    return writer_refuse(w, "another tensor was declared here", name);
  if (bytes != writer_tensor(w, w->next)->bytes) return writer_refuse(w, "a tensor's size", name);
  QN_TRY(writer_stream(w, data, bytes));
  QN_TRY(writer_stream(w, zero, qn_round_up(bytes, QRN_ALIGN) - bytes));
  w->next++;
  return QUERN_OK;
}

quern_status qrn_writer_finish(qrn_writer *w, uint64_t *bytes) {
  _Alignas(qrn_section) uint8_t head[sizeof(qrn_header) + sizeof w->section];
  QN_TRY(writer_need_phase(w, WRITER_STREAMING, "finish"));
  if (w->next != w->tensor_count) return writer_refuse(w, "a tensor was not written", writer_tensor_name(w, w->next));
  w->section[QRN_DATA].checksum = qn_xxh64_end(&w->data_hash);
  const size_t head_bytes = writer_build_header(w, head);
  w->phase = WRITER_DONE;
  if (w->sink) {
    memcpy(w->sink->data, head, head_bytes);
  } else {
    QN_TRY(qn_output_rewrite(w->out, 0, head, head_bytes));
    qn_output *out = w->out;
    w->out = NULL;
    QN_TRY(qn_output_commit(out));
  }
  if (bytes) *bytes = w->file_bytes;
  return QUERN_OK;
}
