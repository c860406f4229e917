/* split.h - splitting neurons: a hidden unit of the feed-forward block whose outgoing weight is far larger than the rest of its
 * output channel is repeated, and its outgoing weights are shared among the copies (outlier channel splitting, 1901.09504
 * section 3). Exact in float, and the channel's 8-bit step becomes that of its ordinary weights. Needs no text.
 * Stateless; one thread. */
#ifndef QN_SPLIT_H
#define QN_SPLIT_H
#include <stdint.h>

/* Chooses the neurons that `copies` more rows repeat: each time the one with the largest weight left. down: [n, ffn] f32.
   source: [copies], the neuron that a copy repeats. shares: [ffn] scratch, then of how many a neuron consists. most:
   [n] scratch. */
void qn_split_choose(const float *down, uint32_t n, uint32_t ffn, uint32_t copies, uint32_t *source, uint32_t *shares,
                     float *most);

/* x: [ffn + copies, k], of which the first ffn rows are there; the others become their copies. */
void qn_split_rows(float *x, uint32_t ffn, uint32_t k, uint32_t copies, const uint32_t *source);

/* w: [n, ffn + copies] with room for that, of which [n, ffn] is there, rows of ffn: becomes rows of ffn + copies, the
   weights of split neurons shared evenly. */
void qn_split_columns(float *w, uint32_t n, uint32_t ffn, uint32_t copies, const uint32_t *source);

/* Before w [n, ffn + copies] is packed at 8 bit (pack.c): the shares of a split weight become multiples of the row's step
   that differ by one at most and whose sum is the whole weight's nearest multiple. Each rounded by itself would be wrong
   by the same, and the whole by their number times that. */
void qn_split_share(float *w, uint32_t n, uint32_t ffn, uint32_t copies, float most, const uint32_t *source);
#endif
