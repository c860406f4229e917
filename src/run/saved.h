/* saved.h - a sequence as a file: its tokens, their keys and values, and the hidden states of the last one, for the model that made
 * them; docs/FORMAT.md, "Saved sequences". */
#ifndef QN_SAVED_H
#define QN_SAVED_H
#include "run/decoder.h"

/* Writes a sequence that has tokens to path, under a temporary name first. */
quern_status qn_saved_write(quern_session *s, uint32_t sequence, const char *path);
/* Makes a sequence what was saved; its own tokens are dropped. The file is checked whole before anything changes: QUERN_E_FORMAT not
   a saved sequence, or cut; QUERN_E_CHECKSUM; QUERN_E_ARGUMENT of another model or another cache_bits; QUERN_E_CAPACITY no pages. */
quern_status qn_saved_read(quern_session *s, uint32_t sequence, const char *path);
#endif
