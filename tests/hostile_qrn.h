/* hostile_qrn.h - what the tests of malicious .qrn files share: changes of a field or a name, by where it lies. Tests only; one thread;
 * memmem is a GNU extension. */
#ifndef QN_HOSTILE_QRN_H
#define QN_HOSTILE_QRN_H
#include "hostile.h"
#include "model/arch.h"
#include "qrn_seal.h"
#include "text/tables.h"

/* Where a field lies. */
typedef enum place {
  NO_PLACE,
  HEADER,
  SECTION,   /* the table's entry of kind `which` */
  META,      /* the section */
  ARCH,      /* the section */
  TENSORS,   /* the section's head */
  TENSOR,    /* the entry of the tensor called `name` */
  SITES,     /* the section's head */
  SITE,      /* its entry number `which` */
  TOKENIZER, /* the section */
  TEMPLATE,  /* the first item of the template for one text */
  VALUE,     /* of the tensor called `name` */
  TEXT,      /* the first `name` in the file becomes `to` */
  RAW        /* from the start of the file, behind the checksums' repair */
} place;

typedef struct change {
  place at;
  uint32_t which;
  const char *name;
  size_t field;
  uint32_t bytes; /* 1, 4, 8 */
  uint64_t value;
  const char *to;
} change;

#define U32(place_, type, member, v)                                                                                   \
  { .at = (place_), .field = offsetof(type, member), .bytes = 4, .value = (v) }
#define U64(place_, type, member, v)                                                                                   \
  { .at = (place_), .field = offsetof(type, member), .bytes = 8, .value = (v) }
#define IN_TENSOR(t, member, n, v)                                                                                     \
  { .at = TENSOR, .name = (t), .field = offsetof(qrn_tensor, member), .bytes = (n), .value = (v) }
#define IN_SECTION(kind, member, n, v)                                                                                 \
  { .at = SECTION, .which = (kind), .field = offsetof(qrn_section, member), .bytes = (n), .value = (v) }
#define AT(place_, offset, n, v)                                                                                       \
  { .at = (place_), .field = (offset), .bytes = (n), .value = (v) }
#define FLOAT(t, i, bits)                                                                                              \
  { .at = VALUE, .name = (t), .field = 4 * (i), .bytes = 4, .value = (bits) }
#define RENAME(from, into)                                                                                             \
  { .at = TEXT, .name = (from), .to = (into) }
#define NOT_A_NUMBER 0x7fc00000u
#define INFINITE 0x7f800000u

static inline qrn_tensor *tensor_of(uint8_t *p, const char *name) {
  uint8_t *section = qrn_section_at(p, QRN_TENSORS);
  const uint32_t count = *(const uint32_t *)(const void *)section;
  qrn_tensor *t = (qrn_tensor *)(void *)(section + 16);
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp((const char *)(t + count) + t[i].name, name)) return t + i;
  return NULL;
}

static inline uint8_t *place_of(uint8_t *p, size_t bytes, const change *c) {
  uint64_t offset[QN_TOKENIZER_TABLES], size[QN_TOKENIZER_TABLES];
  switch (c->at) {
    case SECTION:
      return (uint8_t *)qrn_section_of(p, c->which);
    case META:
    case ARCH:
    case TENSORS:
    case SITES:
    case TOKENIZER: {
      static const uint32_t kinds[] = {[META] = QRN_META,
                                       [ARCH] = QRN_ARCH,
                                       [TENSORS] = QRN_TENSORS,
                                       [SITES] = QRN_SITES,
                                       [TOKENIZER] = QRN_TOKENIZER};
      return qrn_section_at(p, kinds[c->at]);
    }
    case TENSOR:
      return (uint8_t *)tensor_of(p, c->name);
    case SITE:
      return qrn_section_at(p, QRN_SITES) + 16 + c->which * sizeof(qrn_site);
    case TEMPLATE: {
      uint8_t *section = qrn_section_at(p, QRN_TOKENIZER);
      const qn_tok_header *h = (const qn_tok_header *)(const void *)section;
      return qn_tok_layout(qn_tokenizer_find_kind(h->kind), h, offset, size) ? section + offset[QN_TABLE_SINGLE] : NULL;
    }
    case VALUE: {
      const qrn_tensor *t = tensor_of(p, c->name);
      return t && c->field < t->bytes ? qrn_section_at(p, QRN_DATA) + t->offset : NULL;
    }
    case TEXT:
      return memmem(p, bytes, c->name, strlen(c->name));
    case RAW:
      return c->name ? qrn_section_at(p, QRN_DATA) : p;
    default:
      return p;
  }
}

static inline void apply(uint8_t *p, size_t bytes, const change *c) {
  uint8_t *at = place_of(p, bytes, c);
  CHECK(at != NULL);
  if (!at) return;
  if (c->at == TEXT)
    memcpy(at, c->to, strlen(c->name)); /* as long; may hold a NUL */
  else
    memcpy(at + c->field, &c->value, c->bytes);
}
#endif
