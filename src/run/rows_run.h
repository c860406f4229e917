/* rows_run.h - running lists of steps over the rows of a group. */
#ifndef QN_ROWS_RUN_H
#define QN_ROWS_RUN_H
#include "run/steps.h"

/* All rows of the group through all steps of the list, over the lanes. A group that is stopped (qn_group_stopped) leaves
   some out. */
void qn_rows_run(qn_group *g, const qn_steps *list);
/* Whether the group was cancelled, or its activations were not finite: the status, with its message. */
quern_status qn_group_check(qn_group *g);
#endif
