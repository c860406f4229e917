/* choose.h - recipes that choose for themselves ("max_loss"): the cheapest bits and groups of each static site that keep the model's
 * outputs on calibration text within a loss. */
#ifndef QN_CHOOSE_H
#define QN_CHOOSE_H
#include "quant/calibrate.h"
#include "quant/ranges.h"

/* A group's sum that a product joins counts as this many multiply-adds of 8 bits, a byte of an activation that is written and read
   as QN_COST_BYTE. */
#define QN_COST_JOIN 4.0
#define QN_COST_BYTE 64.0

/* What a site may be. Bits of 6 and 4 count as if they were packed. */
#define QN_CHOICE_FORMS 5u
typedef struct qn_choice_form {
  uint32_t bits, groups;
  double multiply_adds, bytes; /* a token: of 8 bits, in the product that takes the site; of its activations */
  double error; /* qn_outputs_error with this site so and all others at their most bits, less that of all at theirs */
} qn_choice_form;
typedef struct qn_choice_site {
  uint32_t forms, at;                   /* at: what was chosen */
  int done;                             /* its next form has been tried in vain */
  qn_choice_form form[QN_CHOICE_FORMS]; /* from the most accurate to the cheapest */
} qn_choice_site;
/* A move to the next form, in the order in which they were tried. */
typedef struct qn_choice_move {
  uint32_t site, to;
  double loss; /* of trials, qn_outputs_loss, after it */
  int kept;    /* 0: the loss was too great, and it was taken back; 2: taken back in the end, for the whole text */
} qn_choice_move;
typedef struct qn_choice {
  double max_loss;
  double least_loss, loss;  /* on the whole calibration text: with all sites at their most bits, as chosen */
  double cost_before, cost; /* a token, of the same two: multiply-adds and bytes, weighed */
  size_t trial_rows, rows;  /* of text that trials ran over, of how many */
  qn_choice_site *site;     /* [sites], as qn_site_at numbers them */
  qn_choice_move *move;     /* [moves] */
  uint32_t sites, moves;
  size_t bytes; /* of the allocation both are in */
} qn_choice;
void qn_choice_free(qn_env *env, qn_choice *c);
double qn_choice_cost(const qn_choice_form *f);

typedef struct qn_choosing {
  qn_env *env;
  const qn_quantize_job *job;
  const qn_arch *arch;
  const qn_calibration_text *text;
} qn_choosing;
/* recipe: one with max_loss; becomes what was chosen, without it. *plan: nothing before, its sites with their values after; both to
   be freed after a failure too. QUERN_E_UNSUPPORTED where even the most bits lose more. */
quern_status qn_choose(const qn_choosing *c, qn_recipe *recipe, qn_plan *plan, qn_choice *choice);
#endif
