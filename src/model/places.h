/* places.h - scales of a static recipe's sites by panels of channels or by channel, as kernels take them: made when a model is opened. */
#ifndef QN_PLACES_H
#define QN_PLACES_H
#include "model/model.h"

/* m's places, from sites and tensors that have been resolved. limit: the most bytes. */
quern_status qn_places_create(quern_model *m, uint64_t limit);
/* What a tensor of a site holds, .scale, .zero or .ends; NULL: it has none. */
const void *qn_site_values(const quern_model *m, const char *site, const char *suffix);
/* scale, zero, ends: [groups]; ends: the channel behind each group. */
typedef struct qn_place_values {
  uint32_t bits, groups;
  const float *scale, *zero;
  const uint32_t *ends;
} qn_place_values;
/* Other values for site i, which is static. An input of a product has at most as many groups as in the file, and then with the
   same zero points; groups are whole panels where those of the file are; 16 bits are for models that have them at some place. Nothing may run
   meanwhile. */
void qn_place_set(quern_model *m, uint32_t i, const qn_place_values *v);
#endif
