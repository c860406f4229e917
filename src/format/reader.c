/* reader.c - a .qrn file in memory: checked, then looked into where it lies. Not the model: what ARCH and TOKENIZER mean
 * is their rooms' business, and which tensors must be there is the model's.
 * Invariant: once qrn_open has returned QUERN_OK, every offset, size and name of META, TENSORS and SITES is inside the
 * file, so that nothing after it checks bounds again. Scans are linear; DATA and TOKENIZER are touched by qrn_verify
 * only. Thread rule: an open reader is read-only. */
#include "format/qrn.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/hash.h"
#include "kernels/layout.h"
#include <string.h>

#define READER_CHUNK ((size_t)1 << 20) /* bytes between two looks at the progress callback */
#define READER_DIRECTORY 16u           /* bytes before the entries of TENSORS and SITES */

_Static_assert(sizeof(qrn_header) == 64 && sizeof(qrn_section) == 32, "as in the file");
_Static_assert(sizeof(qrn_tensor) == 80 && sizeof(qrn_site) == 32, "as in the file");

static const char *const reader_section_name[QRN_SECTION_KINDS] = {NULL,    "META",      "ARCH", "TENSORS",
                                                                   "SITES", "TOKENIZER", "DATA"};

static quern_status reader_fail(const qrn_reader *r, const char *what) {
  return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: %s", what);
}

/* What a later version may have put there, and damage too. */
static quern_status reader_unknown(const qrn_reader *r, const char *what, const char *name) {
  return qn_fail(&r->env->error, QUERN_E_UNSUPPORTED,
                 "%s%s is not known to this version: the file was made by a later one, or is damaged (quern verify)",
                 what, name);
}

static uint64_t reader_align(uint64_t x) { return (x + QRN_ALIGN - 1) & ~(uint64_t)(QRN_ALIGN - 1); }

static int reader_all_zero(const uint8_t *p, size_t bytes) {
  uint8_t any = 0;
  for (size_t i = 0; i < bytes; i++) any |= p[i];
  return any == 0;
}

/* ---- header and section table ------------------------------------------------------------------------------------ */

static const qrn_header *reader_header(const qrn_reader *r) { return (const qrn_header *)r->data; }
static const qrn_section *reader_table(const qrn_reader *r) {
  return (const qrn_section *)(r->data + sizeof(qrn_header));
}
static size_t reader_table_end(const qrn_reader *r) {
  return sizeof(qrn_header) + reader_header(r)->section_count * sizeof(qrn_section);
}

/* A header's length in 8 bytes, then the header, which is JSON. */
static int reader_is_safetensors(const qrn_reader *r) {
  return r->bytes > 8 && qn_load_u64(r->data) <= r->bytes - 8 && r->data[8] == '{';
}
/* What a file is that people take for a model, "" or with a comma behind. */
static const char *reader_other_kind(const qrn_reader *r) {
  if (r->bytes >= 4 && !memcmp(r->data, "GGUF", 4)) return "a GGUF file, ";
  return reader_is_safetensors(r) ? "a safetensors file, " : "";
}

static quern_status reader_check_header(const qrn_reader *r) {
  const qrn_header *h = reader_header(r);
  qn_error *e = &r->env->error;
  if (r->bytes < sizeof h->magic || memcmp(h->magic, QRN_MAGIC, sizeof h->magic)) {
    if (r->bytes > 4 && !memcmp(h->magic, QRN_MAGIC, 4))
      return reader_fail(r, "damaged by a text-mode transfer; copy it in binary mode");
    return qn_fail(e, QUERN_E_FORMAT, "%snot a .qrn file; make one with `quern quantize`%s", reader_other_kind(r),
                   reader_is_safetensors(r) ? " of the directory it lies in" : "");
  }
  if (r->bytes < sizeof *h) return reader_fail(r, "cut off within the header");
  if (h->version < QRN_VERSION)
    return qn_fail(e, QUERN_E_VERSION,
                   "a .qrn file of version %u, a draft: quantize the model again with this version (`quern quantize`)",
                   h->version);
  if (h->version > QRN_VERSION)
    return qn_fail(e, QUERN_E_VERSION, "a .qrn file of version %u; this library reads version %u: use a later one",
                   h->version, QRN_VERSION);
  if (h->file_bytes != r->bytes)
    return qn_fail(e, QUERN_E_FORMAT, "malformed .qrn file: it has %zu bytes, its header says %llu%s", r->bytes,
                   (unsigned long long)h->file_bytes, r->bytes < h->file_bytes ? "; it was cut off" : "");
  if (h->section_count > QRN_SECTIONS_MAX || reader_table_end(r) > r->bytes)
    return reader_fail(r, "the section table is too long");
  qn_xxh64_state s;
  qn_xxh64_begin(&s, 0);
  qn_xxh64_update(&s, r->data, offsetof(qrn_header, checksum));
  qn_xxh64_update(&s, reader_table(r), h->section_count * sizeof(qrn_section));
  if (qn_xxh64_end(&s) != h->checksum)
    return qn_fail(e, QUERN_E_CHECKSUM, "the header's checksum does not match: the file is damaged; copy it again");
  if (h->header_bytes != sizeof *h || (h->needs & ~QRN_NEEDS_KNOWN) ||
      !reader_all_zero(h->reserved, sizeof h->reserved))
    return reader_unknown(r, "what the header asks of a reader", "");
  return QUERN_OK;
}

static quern_status reader_check_table(qrn_reader *r) {
  uint64_t at = reader_align(reader_table_end(r));
  uint32_t last = 0;
  for (uint32_t i = 0; i < reader_header(r)->section_count; i++) {
    const qrn_section *s = reader_table(r) + i;
    const int known = s->kind < QRN_SECTION_KINDS;
    if (s->kind <= last) return reader_fail(r, "sections not in order");
    if (known ? s->flags != 0 : s->flags != QRN_IGNORABLE) return reader_unknown(r, "a section", "");
    /* at <= file size + 63, so that nothing here wraps. */
    if (s->offset != at || !qn_in_range(s->offset, s->bytes, r->bytes))
      return reader_fail(r, "sections overlap, leave gaps or pass the end");
    at = reader_align(s->offset + s->bytes);
    last = s->kind;
    if (known) r->section[s->kind] = s;
  }
  if (at != r->bytes) return reader_fail(r, "the sections do not end where the file ends");
  for (uint32_t kind = 1; kind < QRN_SECTION_KINDS; kind++)
    if (!r->section[kind] && kind != QRN_TOKENIZER)
      return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: section %s is missing",
                     reader_section_name[kind]);
  return QUERN_OK;
}

const uint8_t *qrn_section_data(const qrn_reader *r, uint32_t kind, size_t *bytes) {
  const qrn_section *s = kind < QRN_SECTION_KINDS ? r->section[kind] : NULL;
  *bytes = s ? (size_t)s->bytes : 0;
  return s ? r->data + s->offset : NULL;
}

/* ---- META -------------------------------------------------------------------------------------------------------- */

#define READER_META_HEAD 16u /* key_bytes, type, value_bytes */

/* Bytes that a string takes with its NUL and padding; x is below the file's size. */
static uint64_t reader_padded(uint64_t x) { return (x + 8) & ~(uint64_t)7; }

/* The entry at p, of which `left` bytes are there; returns the bytes it takes, 0: malformed. */
static size_t reader_meta_entry(const uint8_t *p, size_t left, qrn_meta *out) {
  if (left < READER_META_HEAD) return 0;
  uint32_t key_bytes = qn_load_u32(p), type = qn_load_u32(p + 4);
  uint64_t value_bytes = qn_load_u64(p + 8);
  left -= READER_META_HEAD;
  if (key_bytes == 0 || key_bytes >= left || reader_padded(key_bytes) > left) return 0;
  size_t key_room = (size_t)reader_padded(key_bytes);
  left -= key_room;
  if (value_bytes >= left || reader_padded(value_bytes) > left) return 0;
  size_t value_room = (size_t)reader_padded(value_bytes);
  if (type < QRN_STRING || type > QRN_F64 || (type != QRN_STRING && value_bytes != 8)) return 0;
  *out = (qrn_meta){(const char *)p + READER_META_HEAD, key_bytes, type, p + READER_META_HEAD + key_room,
                    (size_t)value_bytes};
  return READER_META_HEAD + key_room + value_room;
}

#define READER_META_PROBES 4096u /* more: keys that were made to collide */

/* No key twice. The entries' places in META (none is at 0) go into a hash table, at most half full, of some 32 bytes an
   entry: an entry takes as many. */
static quern_status reader_check_unique(const qrn_reader *r, uint32_t count) {
  size_t left, slots = 2;
  const uint8_t *const start = qrn_section_data(r, QRN_META, &left), *p = start + 8;
  quern_status status = QUERN_OK;
  void *memory;
  while (slots < 2 * ((size_t)count + 1)) slots *= 2;
  QN_TRY(qn_alloc_array(r->env, &memory, slots, sizeof(uint64_t), "the keys of META"));
  uint64_t *place = memory;
  for (uint32_t i = 0; i < count && status == QUERN_OK; i++) {
    qrn_meta m, other;
    p += reader_meta_entry(p, SIZE_MAX, &m); /* checked before */
    size_t at = (size_t)qn_xxh64(m.key, m.key_bytes, 0) & (slots - 1);
    for (uint32_t probes = 0; place[at] && status == QUERN_OK; at = (at + 1) & (slots - 1)) {
      reader_meta_entry(start + place[at], SIZE_MAX, &other);
      if (++probes > READER_META_PROBES || (other.key_bytes == m.key_bytes && !memcmp(other.key, m.key, m.key_bytes)))
        status = reader_fail(r, "META has a key twice, or keys made to collide");
    }
    place[at] = (uint64_t)((const uint8_t *)m.key - READER_META_HEAD - start);
  }
  qn_free(r->env, memory, slots * sizeof(uint64_t));
  return status;
}

static quern_status reader_check_meta(qrn_reader *r) {
  size_t left;
  const uint8_t *p = qrn_section_data(r, QRN_META, &left);
  if (left < 8 || qn_load_u32(p + 4)) return reader_fail(r, "META has no head");
  uint32_t count = qn_load_u32(p);
  if (count > QRN_META_MAX) return reader_fail(r, "META has too many entries");
  p += 8, left -= 8;
  for (uint32_t i = 0; i < count; i++) {
    qrn_meta m;
    size_t n = reader_meta_entry(p, left, &m);
    if (!n) return reader_fail(r, "an entry of META is malformed");
    const uint8_t *value = m.value;
    const uint8_t *key_end = (const uint8_t *)m.key + m.key_bytes, *value_end = value + m.value_bytes;
    if (memchr(m.key, 0, m.key_bytes) || !reader_all_zero(key_end, (size_t)(value - key_end)) ||
        !reader_all_zero(value_end, (size_t)(p + n - value_end)))
      return reader_fail(r, "an entry of META is not terminated");
    p += n, left -= n;
  }
  if (left) return reader_fail(r, "META goes on behind its last entry");
  QN_TRY(reader_check_unique(r, count));
  r->meta_count = count;
  return QUERN_OK;
}

int qrn_meta_at(const qrn_reader *r, uint32_t i, qrn_meta *out) {
  size_t left;
  const uint8_t *p = qrn_section_data(r, QRN_META, &left) + 8;
  if (i >= r->meta_count) return 0;
  left -= 8;
  for (;; i--) {
    size_t n = reader_meta_entry(p, left, out);
    if (!i) return 1;
    p += n, left -= n;
  }
}

int qrn_meta_find(const qrn_reader *r, const char *key, qrn_meta *out) {
  size_t left, key_bytes = strlen(key);
  const uint8_t *p = qrn_section_data(r, QRN_META, &left) + 8;
  left -= 8;
  for (uint32_t i = 0; i < r->meta_count; i++) {
    qrn_meta m;
    size_t n = reader_meta_entry(p, left, &m);
    if (m.key_bytes == key_bytes && !memcmp(m.key, key, key_bytes)) {
      *out = m;
      return 1;
    }
    p += n, left -= n;
  }
  return 0;
}

/* ---- TENSORS and SITES ------------------------------------------------------------------------------------------- */

/* What both have in common: count, names_bytes, 0, entries of `item` bytes, names. */
static quern_status reader_check_directory(const qrn_reader *r, uint32_t kind, size_t item, const uint8_t **entries,
                                           uint32_t *count, const char **names, uint32_t *names_bytes) {
  size_t bytes;
  const uint8_t *p = qrn_section_data(r, kind, &bytes);
  if (bytes < READER_DIRECTORY || qn_load_u64(p + 8))
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: %s has no head", reader_section_name[kind]);
  *count = qn_load_u32(p);
  *names_bytes = qn_load_u32(p + 4);
  /* Below 2^32 * 80 + 2^32 + 16: no wrapping in 64 bits. */
  if ((uint64_t)*count * item + *names_bytes + READER_DIRECTORY != bytes)
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: the size of %s is not that of its entries",
                   reader_section_name[kind]);
  *entries = p + READER_DIRECTORY;
  *names = (const char *)p + READER_DIRECTORY + *count * item;
  return QUERN_OK;
}

/* A name that follows the one before without a gap, so that all names together are read once. */
static int reader_check_name(const char *names, uint32_t names_bytes, uint32_t name, uint32_t name_bytes,
                             uint64_t *at) {
  if (name != *at || name_bytes == 0 || !qn_in_range(name, (uint64_t)name_bytes + 1, names_bytes)) return 0;
  if (memchr(names + name, 0, (size_t)name_bytes + 1) != names + name + name_bytes) return 0;
  *at += (uint64_t)name_bytes + 1;
  return 1;
}

/* Bits of codes below 8, else 0. */
static uint32_t reader_small_bits(uint32_t dtype) {
  return dtype == QRN_U6 ? 6 : dtype == QRN_U4 ? 4 : dtype == QRN_U2 ? 2 : 0;
}

uint64_t qrn_tensor_bytes(uint32_t dtype, uint32_t layout, uint32_t rank, const uint64_t *dim) {
  const uint32_t small = reader_small_bits(dtype);
  const int byte = dtype == QRN_I8 || dtype == QRN_U8;
  uint64_t bytes = byte || small ? 1 : dtype == QRN_I16 ? 2 : 4;
  if (dtype < QRN_F32 || dtype >= QRN_DTYPES || rank < 1 || rank > 4) return 0;
  if (layout == QRN_PANELS || (layout == QRN_ROWS && small)) {
    const uint64_t most = UINT32_MAX; /* a sane side; rounding it up cannot wrap */
    if (rank != 2 || !dim[0] || !dim[1] || dim[0] > most || dim[1] > most) return 0;
    if (layout == QRN_PANELS ? dtype == QRN_I32 : dtype == QRN_U6) return 0;
    uint64_t n = layout == QRN_PANELS ? qk_panels((size_t)dim[0]) * (uint64_t)QK_PANEL : dim[0];
    uint64_t k = dtype == QRN_F32 || dtype == QRN_U8 ? dim[1] : qk_k8((size_t)dim[1]);
    if (dtype == QRN_I16) k = qk_round_up((size_t)dim[1], 2);
    if (small) k = k * small / 8;
    if (!qn_mul_u64(bytes, n, &bytes) || !qn_mul_u64(bytes, k, &bytes)) return 0;
  } else if (layout == QRN_ROWS) {
    for (uint32_t i = 0; i < rank; i++)
      if (!qn_mul_u64(bytes, dim[i], &bytes)) return 0; /* a side of 0 gives 0 */
  } else {
    return 0;
  }
  return bytes <= (uint64_t)PTRDIFF_MAX ? bytes : 0;
}

static int reader_is_group(uint64_t group) { return group > 0 && group % QK_GROUP == 0 && group <= QRN_GROUP_MOST; }

int qrn_group_valid(uint32_t dtype, uint32_t layout, uint64_t columns, uint32_t group) {
  const uint32_t small = reader_small_bits(dtype);
  if (small && layout == QRN_ROWS) return group == 16 || group == 32;
  if (small) return reader_is_group(group) || group == qk_k8((size_t)columns);
  return group == 0 || (dtype == QRN_I8 && layout == QRN_PANELS && reader_is_group(group));
}

/* Of kinds that this version knows. */
static int reader_tensor_known(const qrn_tensor *t) {
  return t->dtype < QRN_DTYPES && t->layout < QRN_LAYOUTS && !(t->flags & ~QRN_IGNORABLE) && !t->reserved;
}

static int reader_check_tensor(const qrn_tensor *t, uint64_t data_bytes) {
  if (t->rank < 1 || t->rank > 4) return 0;
  for (uint32_t i = t->rank; i < 4; i++)
    if (t->dim[i] != 1) return 0;
  uint64_t need = qrn_tensor_bytes(t->dtype, t->layout, t->rank, t->dim);
  if (!need || !qrn_group_valid(t->dtype, t->layout, t->dim[1], t->group)) return 0;
  return t->bytes == need && t->offset % QRN_ALIGN == 0 && qn_in_range(t->offset, t->bytes, data_bytes);
}

static quern_status reader_check_tensors(qrn_reader *r) {
  const uint8_t *entries;
  uint32_t names_bytes;
  uint64_t at = 0;
  QN_TRY(reader_check_directory(r, QRN_TENSORS, sizeof(qrn_tensor), &entries, &r->tensor_count, &r->tensor_names,
                                &names_bytes));
  r->tensors = (const qrn_tensor *)entries;
  for (uint32_t i = 0; i < r->tensor_count; i++) {
    const qrn_tensor *t = r->tensors + i;
    if (!reader_check_name(r->tensor_names, names_bytes, t->name, t->name_bytes, &at))
      return reader_fail(r, "the name of a tensor is malformed");
    if (i && strcmp(qrn_tensor_name(r, t - 1), qrn_tensor_name(r, t)) >= 0)
      return reader_fail(r, "tensors are not sorted by name");
    if (!reader_tensor_known(t)) return reader_unknown(r, "the kind of tensor ", qrn_tensor_name(r, t));
    if (!reader_check_tensor(t, r->section[QRN_DATA]->bytes))
      return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: shape, type, size or place of tensor %s",
                     qrn_tensor_name(r, t));
  }
  return at == names_bytes ? QUERN_OK : reader_fail(r, "TENSORS has names without a tensor");
}

int qrn_site_known(const qrn_site *s) {
  const int bits = s->bits == 4 || s->bits == 6 || s->bits == 8 || s->bits == 16 || s->bits == 32;
  return bits && s->grain < QRN_GRAINS && s->symmetric <= 1 && !s->flags;
}
int qrn_site_valid(const qrn_site *s) {
  return qrn_site_known(s) && (s->bits == 32) == (s->grain == QRN_GRAIN_NONE) &&
         (s->groups > 1 ? s->bits != 32 && (reader_is_group(s->group) || (!s->group && s->grain == QRN_GRAIN_STATIC))
                        : s->groups == 1 && s->group == 0);
}

static quern_status reader_check_sites(qrn_reader *r) {
  const uint8_t *entries;
  uint32_t names_bytes;
  uint64_t at = 0;
  QN_TRY(
      reader_check_directory(r, QRN_SITES, sizeof(qrn_site), &entries, &r->site_count, &r->site_names, &names_bytes));
  r->sites = (const qrn_site *)entries;
  for (uint32_t i = 0; i < r->site_count; i++) {
    const qrn_site *s = r->sites + i;
    if (!reader_check_name(r->site_names, names_bytes, s->name, s->name_bytes, &at))
      return reader_fail(r, "the name of a site is malformed");
    if (!qrn_site_known(s)) return reader_unknown(r, "the kind of site ", r->site_names + s->name);
    if (!qrn_site_valid(s))
      return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: bits, grain or groups of site %s",
                     r->site_names + s->name);
  }
  return at == names_bytes ? QUERN_OK : reader_fail(r, "SITES has names without a site");
}

/* ---- open, verify, look up --------------------------------------------------------------------------------------- */

quern_status qrn_open(qrn_reader *r, qn_env *env, const void *data, size_t bytes) {
  qrn_reader f = {.env = env, .data = data, .bytes = bytes};
  if ((uintptr_t)data % QRN_ALIGN)
    return qn_fail(&env->error, QUERN_E_ARGUMENT, "the memory of a .qrn file must be aligned to %u bytes", QRN_ALIGN);
  QN_TRY(reader_check_header(&f));
  QN_TRY(reader_check_table(&f));
  QN_TRY(reader_check_meta(&f));
  QN_TRY(reader_check_tensors(&f));
  QN_TRY(reader_check_sites(&f));
  *r = f;
  return QUERN_OK;
}

static quern_status reader_verify_section(const qrn_reader *r, const qrn_section *s, quern_progress_fn *progress,
                                          void *user) {
  qn_xxh64_state hash;
  size_t at = (size_t)s->offset, end = (size_t)reader_align(s->offset + s->bytes);
  qn_xxh64_begin(&hash, 0);
  while (at < end) {
    size_t n = qn_min_size(end - at, READER_CHUNK);
    qn_xxh64_update(&hash, r->data + at, n);
    at += n;
    if (progress && progress(user, at, r->bytes, "verify"))
      return qn_fail(&r->env->error, QUERN_E_CANCELLED, "verifying was cancelled");
  }
  if (qn_xxh64_end(&hash) != s->checksum)
    return qn_fail(&r->env->error, QUERN_E_CHECKSUM,
                   "the checksum of section %s does not match: the file is damaged; copy it again",
                   s->kind < QRN_SECTION_KINDS ? reader_section_name[s->kind] : "of an unknown kind");
  if (!reader_all_zero(r->data + s->offset + s->bytes, end - (size_t)(s->offset + s->bytes)))
    return reader_fail(r, "bytes between sections are not zero");
  return QUERN_OK;
}

quern_status qrn_verify(const qrn_reader *r, quern_progress_fn *progress, void *user) {
  size_t table_end = reader_table_end(r);
  if (!reader_all_zero(r->data + table_end, (size_t)reader_align(table_end) - table_end))
    return reader_fail(r, "bytes behind the section table are not zero");
  for (uint32_t i = 0; i < reader_header(r)->section_count; i++)
    QN_TRY(reader_verify_section(r, reader_table(r) + i, progress, user));
  return QUERN_OK;
}

const char *qrn_tensor_name(const qrn_reader *r, const qrn_tensor *t) { return r->tensor_names + t->name; }

const qrn_tensor *qrn_find_tensor(const qrn_reader *r, const char *name) {
  uint32_t low = 0, high = r->tensor_count;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    int c = strcmp(qrn_tensor_name(r, r->tensors + mid), name);
    if (c == 0) return r->tensors + mid;
    if (c < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

quern_status qrn_need_tensor(const qrn_reader *r, const char *name, uint32_t dtype, uint32_t layout, uint32_t rank,
                             const uint64_t *dim, const void **data) {
  const qrn_tensor *t = qrn_find_tensor(r, name);
  if (!t) return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: tensor %s is missing", name);
  if (t->dtype != dtype || t->layout != layout || t->rank != rank || memcmp(t->dim, dim, rank * sizeof *dim))
    return qn_fail(&r->env->error, QUERN_E_FORMAT,
                   "malformed .qrn file: tensor %s has another type or shape than the architecture", name);
  *data = r->data + r->section[QRN_DATA]->offset + t->offset;
  return QUERN_OK;
}
