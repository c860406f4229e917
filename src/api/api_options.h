/* api_options.h - options structs of callers compiled with another version: the fields both know are taken, the rest keep
 * their defaults; a caller's newer fields that this library does not know must be zero. */
#ifndef QN_OPTIONS_H
#define QN_OPTIONS_H
#include <stddef.h>
#include <stdint.h>

/* dst, of dst_size bytes, holds the defaults. 0: src's size is nonsense, or it sets fields that are not known here. */
int qn_options_copy(void *dst, uint32_t dst_size, const void *src, uint32_t src_size);
#define QN_OPTIONS_COPY(dst, src) qn_options_copy(dst, (uint32_t)sizeof *(dst), src, (src)->size)
/* Fills the first info->size bytes of a caller's info struct from a full one, keeping its size field. */
int qn_info_copy(void *dst, const void *src, uint32_t src_size);
#endif
