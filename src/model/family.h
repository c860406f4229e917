/* family.h - the families that arch.c's table lists; one arch_*.c each. */
#ifndef QN_FAMILY_H
#define QN_FAMILY_H
#include "model/arch.h"
extern const qn_family qn_family_bert;
#endif
