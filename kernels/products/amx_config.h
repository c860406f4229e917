/* amx_config.h - the shapes of tiles, as the instruction that sets them reads them. */
#ifndef QK_PRODUCTS_AMX_CONFIG_H
#define QK_PRODUCTS_AMX_CONFIG_H
#include <stdint.h>

#define QK_AMX_ROWS 16u  /* of a tile, at most */
#define QK_AMX_BYTES 64u /* of a tile's row, at most: channels of a step along K */

typedef struct qk_amx_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[16]; /* of a row of tile i; 0 from 8 on */
  uint8_t rows[16];
} qk_amx_config;

/* Eight whole tiles. */
static inline qk_amx_config qk_amx_whole(void) {
  qk_amx_config c = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    c.bytes[i] = QK_AMX_BYTES;
    c.rows[i] = QK_AMX_ROWS;
  }
  return c;
}
#endif
