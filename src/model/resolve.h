/* resolve.h - the tensors and sites of a file as a model's pointers. */
#ifndef QN_RESOLVE_H
#define QN_RESOLVE_H
#include "model/model.h"

/* Finds everything that m->arch, which has been checked, calls for in m->file, by name, dtype, layout and shape, and refuses what it
   does not call for. Reads no weights but those that steer: ends of groups, static scales, orders, a relative bias, frequencies. */
quern_status qn_model_resolve(quern_model *m);
#endif
