/* qrn.h - the .qrn file on disk, version 1: structs as they lie in the file (little-endian, docs/FORMAT.md byte by
 * byte), the reader that trusts nothing, and the writer. */
#ifndef QN_QRN_H
#define QN_QRN_H
#include "base/env.h"
#include "base/file.h"

#define QRN_MAGIC "\x89QRN\r\n\x1a\n" /* 8 bytes; like PNG's, it catches text-mode transfers */
#define QRN_VERSION 1u
#define QRN_ALIGN 64u

typedef struct qrn_header { /* 64 bytes at offset 0 */
  uint8_t magic[8];
  uint32_t version;
  uint32_t header_bytes; /* 64 */
  uint64_t file_bytes;
  uint32_t section_count;
  uint32_t needs;       /* QRN_NEEDS_*: what a reader must know to read the file rightly */
  uint8_t reserved[24]; /* 0 */
  uint64_t checksum;    /* XXH64, seed 0, of bytes 0 ... 55 of the header followed by the section table */
} qrn_header;

/* How the format grows without a new version is in docs/FORMAT.md: what a reader does not know it refuses, unless it is marked
   as what may be ignored. */
#define QRN_NEEDS_KNOWN 0u /* all bits of `needs` that mean something: none yet */
#define QRN_IGNORABLE 1u   /* flags of a section or tensor: readers that do not know it may ignore it */
#define QRN_SECTIONS_MAX 64u

enum {
  QRN_META = 1,
  QRN_ARCH = 2,
  QRN_TENSORS = 3,
  QRN_SITES = 4,
  QRN_TOKENIZER = 5,
  QRN_DATA = 6,
  QRN_SECTION_KINDS = 7
};

/* The table follows the header. Ascending kinds, each at most once. The first section starts at the table's end rounded
   up to 64, each next one at the end of the one before rounded up to 64; the file ends at the last one's end, rounded
   up. Padding is 0. */
typedef struct qrn_section { /* 32 bytes */
  uint32_t kind;
  uint32_t flags; /* QRN_IGNORABLE */
  uint64_t offset, bytes;
  uint64_t checksum; /* XXH64, seed 0, of [offset, offset + bytes rounded up to 64) */
} qrn_section;

/* META: u32 count, u32 0, then entries, each: u32 key_bytes, u32 type, u64 value_bytes, key, value; key and value are
 * each followed by at least one 0 (not counted) up to a multiple of 8. Keys are unique and have no NUL. */
enum { QRN_STRING = 1, QRN_U64 = 2, QRN_F64 = 3 };
#define QRN_META_MAX 65536u /* entries */

/* TENSORS: u32 count, u32 names_bytes, u64 0, then `count` qrn_tensor sorted by name (bytewise, unique), then the
 * names, each NUL-terminated, in the same order without gaps. */
enum { QRN_F32 = 1, QRN_I8 = 2, QRN_I32 = 3, QRN_U4 = 4, QRN_U2 = 5, QRN_U8 = 6, QRN_I16 = 7, QRN_U6 = 8, QRN_DTYPES = 9 };
enum {
  QRN_ROWS = 1,
  QRN_PANELS = 2,
  QRN_LAYOUTS = 3
}; /* row-major | [N/16][K/4][16][4] as w ^ 0x80 (i8), [N/16][K/8][16][4] (u4), [N/16][K/16][16][4] (u2), [N/16][K/32][384] (u6),
      [N/16][K][16] (f32, u8), [N/16][K/2][16][2] (i16), padded: kernels/layout.h */
typedef struct qrn_tensor { /* 80 bytes */
  uint32_t name;            /* offset in the names */
  uint32_t name_bytes;      /* without NUL */
  uint32_t dtype, layout;
  uint32_t rank;   /* 1 ... 4 */
  uint32_t flags;  /* QRN_IGNORABLE */
  uint64_t dim[4]; /* logical shape; 1 past the rank */
  uint64_t offset; /* in DATA, a multiple of 64 */
  uint64_t bytes;  /* exactly what dtype, layout and shape need */
  uint32_t
      group; /* of codes (i8 panels, u6, u4, u2): elements of a row that share a scale; 0: i8 with one a row, no codes */
  uint32_t reserved; /* 0 */
} qrn_tensor;

/* SITES: u32 count, u32 names_bytes, u64 0, `count` qrn_site in execution order, then the names like those of TENSORS. */
/* STATIC: scale and zero are in the file, the same for every token. */
enum { QRN_GRAIN_NONE = 0, QRN_GRAIN_TOKEN = 1, QRN_GRAIN_TOKEN_HEAD = 2, QRN_GRAIN_STATIC = 3, QRN_GRAINS = 4 };
typedef struct qrn_site { /* 32 bytes */
  uint32_t name, name_bytes;
  uint32_t bits;      /* 4, 6, 8, 16; 32: float */
  uint32_t grain;     /* NONE if and only if float */
  uint32_t groups;    /* of channels, each with a scale of its own; 1: all channels share one */
  uint32_t group;     /* channels of each but the last; 0 if and only if groups is 1 */
  uint32_t symmetric; /* 0 or 1 */
  uint32_t flags;     /* 0 */
} qrn_site;
#define QRN_GROUP_MOST 512u /* channels of a group, a multiple of 32 */

/* ---- reader ---- */
typedef struct qrn_reader {
  qn_env *env;
  const uint8_t *data;
  size_t bytes;
  const qrn_section
      *section[QRN_SECTION_KINDS]; /* NULL: absent. META, ARCH, TENSORS, SITES, DATA are always there once open */
  const qrn_tensor *tensors;
  uint32_t tensor_count;
  const char *tensor_names;
  const qrn_site *sites;
  uint32_t site_count;
  const char *site_names;
  uint32_t meta_count;
} qrn_reader;

/* Checks the header, the section table (with their checksum), every entry of META, TENSORS and SITES; does not touch
   DATA or TOKENIZER. data: 64-byte aligned, stays the caller's. */
quern_status qrn_open(qrn_reader *r, qn_env *env, const void *data, size_t bytes);
/* Every checksum and all padding; progress in bytes (may be NULL). */
quern_status qrn_verify(const qrn_reader *r, quern_progress_fn *progress, void *user);
const uint8_t *qrn_section_data(const qrn_reader *r, uint32_t kind, size_t *bytes); /* NULL: absent */
/* By name; NULL: absent. */
const qrn_tensor *qrn_find_tensor(const qrn_reader *r, const char *name);
const char *qrn_tensor_name(const qrn_reader *r, const qrn_tensor *t);
/* A tensor that must be there with this dtype, layout and shape (rank of them); *data points into the file, 64-byte
 * aligned. */
quern_status qrn_need_tensor(const qrn_reader *r, const char *name, uint32_t dtype, uint32_t layout, uint32_t rank,
                             const uint64_t *dim, const void **data);
/* Bytes that a tensor of this dtype, layout and shape takes; 0 on overflow or nonsense. */
uint64_t qrn_tensor_bytes(uint32_t dtype, uint32_t layout, uint32_t rank, const uint64_t *dim);
/* Whether codes of a dtype and layout, in rows of `columns`, may have groups of this size. */
int qrn_group_valid(uint32_t dtype, uint32_t layout, uint64_t columns, uint32_t group);
/* Meta entry i; returns 0 past the end. Key and value point into the file and are NUL-terminated. */
typedef struct qrn_meta {
  const char *key;
  uint32_t key_bytes, type;
  const void *value;
  size_t value_bytes;
} qrn_meta;
int qrn_meta_at(const qrn_reader *r, uint32_t i, qrn_meta *out);
int qrn_meta_find(const qrn_reader *r, const char *key, qrn_meta *out);

/* Are the fields of a site of kinds that this version knows, and what a file may have? */
int qrn_site_known(const qrn_site *s);
int qrn_site_valid(const qrn_site *s);

/* ---- writer ---- */
/* Order of calls: META, ARCH, SITES, TOKENIZER and the declaration of every tensor, in any order; qrn_writer_start; the
   data of the tensors in the order they were declared; qrn_writer_finish. All but DATA is kept in memory until then,
   DATA streams. */
typedef struct qrn_writer qrn_writer;
quern_status qrn_writer_create(qrn_writer **out, qn_env *env);
void qrn_writer_free(qrn_writer *w); /* aborts the output when not finished; NULL is fine */
quern_status qrn_put_string(qrn_writer *w, const char *key, const char *value, size_t bytes);
quern_status qrn_put_u64(qrn_writer *w, const char *key, uint64_t value);
quern_status qrn_put_f64(qrn_writer *w, const char *key, double value);
/* ARCH or TOKENIZER: copied. */
quern_status qrn_put_section(qrn_writer *w, uint32_t kind, const void *data, size_t bytes);
/* name fields are filled in */
quern_status qrn_put_site(qrn_writer *w, const char *name, const qrn_site *site);
quern_status qrn_declare_tensor(qrn_writer *w, const char *name, uint32_t dtype, uint32_t layout, uint32_t rank,
                                const uint64_t *dim);
/* A matrix of codes with scales by group. */
quern_status qrn_declare_codes(qrn_writer *w, const char *name, uint32_t dtype, uint32_t layout, const uint64_t dim[2],
                               uint32_t group);
/* Lays the file out, opens the output and writes all but DATA. path NULL with discard: only counts. */
quern_status qrn_writer_start(qrn_writer *w, const char *path, int discard);
/* The same into memory: appended to *sink, which is empty and stays the caller's. */
quern_status qrn_writer_start_memory(qrn_writer *w, qn_buffer *sink);
/* The next declared one. */
quern_status qrn_write_tensor(qrn_writer *w, const char *name, const void *data, size_t bytes);
/* Fills in checksums and header, commits the file. *bytes: its size. */
quern_status qrn_writer_finish(qrn_writer *w, uint64_t *bytes);
#endif
