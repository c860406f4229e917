/* qrn_seal.h - puts the checksums of a damaged .qrn file right, so that a reader gets to the check behind them; finds a
 * section. Tests only. `p` is aligned to 64 and need not be a well-formed file. */
#ifndef QN_QRN_SEAL_H
#define QN_QRN_SEAL_H
#include "base/hash.h"
#include "format/qrn.h"
#include <string.h>

/* Sections that leave the file keep the checksum they have. */
static inline void qrn_seal(uint8_t *p, size_t bytes) {
  qrn_header *h = (qrn_header *)(void *)p;
  qrn_section *s = (qrn_section *)(void *)(p + sizeof *h);
  if (bytes < sizeof *h || h->section_count > QRN_SECTIONS_MAX || h->section_count * sizeof *s > bytes - sizeof *h)
    return;
  for (uint32_t i = 0; i < h->section_count; i++) {
    if (s[i].offset > bytes || s[i].bytes > bytes - s[i].offset) continue;
    const uint64_t end = (s[i].offset + s[i].bytes + QRN_ALIGN - 1) / QRN_ALIGN * QRN_ALIGN;
    if (end <= bytes) s[i].checksum = qn_xxh64(p + s[i].offset, (size_t)(end - s[i].offset), 0);
  }
  qn_xxh64_state state;
  qn_xxh64_begin(&state, 0);
  qn_xxh64_update(&state, p, offsetof(qrn_header, checksum));
  qn_xxh64_update(&state, s, h->section_count * sizeof *s);
  h->checksum = qn_xxh64_end(&state);
}

/* The table's entry of a kind; NULL: the file has none. */
static inline qrn_section *qrn_section_of(uint8_t *p, uint32_t kind) {
  const qrn_header *h = (const qrn_header *)(const void *)p;
  qrn_section *s = (qrn_section *)(void *)(p + sizeof *h);
  for (uint32_t i = 0; i < h->section_count; i++)
    if (s[i].kind == kind) return s + i;
  return NULL;
}
static inline uint8_t *qrn_section_at(uint8_t *p, uint32_t kind) {
  const qrn_section *s = qrn_section_of(p, kind);
  return s ? p + s->offset : NULL;
}
#endif
