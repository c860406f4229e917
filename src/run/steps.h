/* steps.h - what takes a block of rows from one attention to the next: a list of steps (rows_run.c runs them). */
#ifndef QN_STEPS_H
#define QN_STEPS_H
#include "run/group.h"
#include "run/linear.h"

/* A block of rows of a group, in a lane's scratch. */
typedef struct qn_block {
  qn_group *g;
  qn_lane *lane;
  void *scratch; /* of the lane that runs the step: what it has for transforms */
  const qn_layer *layer;
  const qn_linear *next; /* of the product after this one, or NULL */
  uint32_t index;        /* of the layer */
  uint32_t r0, rows;     /* within the group */
} qn_block;

/* One step over rows r0 ... r1 - 1 of a block; for a product also output panels p0 ... p1 - 1. */
typedef void qn_step_fn(const qn_block *b, size_t r0, size_t r1, size_t p0, size_t p1);
typedef struct qn_step {
  qn_step_fn *run;
  uint32_t layer;          /* whose weights it uses */
  const qn_linear *linear; /* of a product; NULL: row work */
} qn_step;

#define QN_STEPS_MOST 16u
typedef struct qn_steps {
  qn_step list[QN_STEPS_MOST];
  uint32_t count;
} qn_steps;

/* The lists of any recipe: before the first attention, and between attention `layer` and the next one, or the end.
   layer_steps.c */
qn_steps qn_steps_before(const quern_model *m);
qn_steps qn_steps_after(const quern_model *m, uint32_t layer);
/* The list of a decoder's head: from hidden states to logits. */
qn_steps qn_steps_head(const quern_model *m);
/* The lists of a static recipe: before the first attention, and behind that of a layer. encoder_static.c */
qn_steps qn_static_before(const quern_model *m);
qn_steps qn_static_after(const quern_model *m, uint32_t layer);

/* linear: of a product; NULL: row work. */
static inline void qn_step_add(qn_steps *list, qn_step_fn *run, uint32_t layer, const qn_linear *linear) {
  list->list[list->count++] = (qn_step){run, layer, linear};
}
/* A table of embeddings as kernels take it. */
static inline qk_table_ref qn_step_table(const qn_table *t) {
  return (qk_table_ref){.data = t->data,
                        .scale = t->scale,
                        .step = t->step,
                        .bits = t->bits,
                        .group = t->group,
                        .panels = t->panels != NULL,
                        .min = t->panels ? t->panels->min : NULL,
                        .steps = t->panels ? t->panels->steps : NULL};
}
/* Output panels of a product; 0: row work. */
static inline uint32_t qn_step_panels(const qn_step *s) { return s->linear ? (uint32_t)qk_panels(s->linear->n) : 0; }
#endif
