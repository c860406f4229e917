/* api_options.c - copying between structs of different versions (api_options.h). Every such struct starts with its uint32_t
 * size. */
#include "api/api_options.h"

#include <string.h>

int qn_options_copy(void *dst, uint32_t dst_size, const void *src, uint32_t src_size) {
  if (src_size < sizeof(uint32_t) || src_size > 4096) return 0;
  const uint8_t *p = src;
  for (uint32_t i = dst_size; i < src_size; i++)
    if (p[i]) return 0;
  memcpy(dst, src, src_size < dst_size ? src_size : dst_size);
  memcpy(dst, &dst_size, sizeof dst_size);
  return 1;
}

int qn_info_copy(void *dst, const void *src, uint32_t src_size) {
  uint32_t size;
  memcpy(&size, dst, sizeof size);
  if (size < sizeof size || size > 4096) return 0;
  memcpy(dst, src, size < src_size ? size : src_size);
  if (size > src_size) memset((uint8_t *)dst + src_size, 0, size - src_size);
  memcpy(dst, &size, sizeof size);
  return 1;
}
