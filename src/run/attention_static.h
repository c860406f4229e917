/* attention_static.h - attention of one head between codes of static sites. */
#ifndef QN_ATTENTION_STATIC_H
#define QN_ATTENTION_STATIC_H
#include "run/group.h"

/* Keys and values of a unit as weights, into the memory of lane `owner`. */
void qn_static_pack(const qn_group *g, uint32_t owner, qn_unit u);
/* Queries r0 ... r1 - 1 of a unit that was packed there, with the scratch of lane `lane`, into s->context_codes. */
void qn_static_attend(const qn_group *g, uint32_t lane, uint32_t owner, qn_unit u, uint32_t r0, uint32_t r1);
#endif
