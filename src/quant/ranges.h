/* ranges.h - what becomes of the sites of a static recipe: bits, groups, scales and zero points, from the recipe and from what
 * calibration saw. */
#ifndef QN_RANGES_H
#define QN_RANGES_H
#include "quant/observed.h"
#include "quant/quant.h"
#include "quant/unfold.h"

typedef struct qn_site_plan {
  qn_site site;
  qn_site_rule rule; /* all said */
  uint32_t groups;
  float low, high;     /* range of the whole site: what was seen, or is given */
  float *scale, *zero; /* [groups]; of a site that is float or dynamic not used */
  uint32_t *ends;      /* [groups] the channel behind each, in their order */
} qn_site_plan;

/* The sites of a static recipe. Ends of ranges may be changed, which qn_plan_set makes scales and zero points of. */
typedef struct qn_plan {
  qn_site_plan *site; /* [count], as qn_site_at numbers them */
  uint32_t count;
  uint32_t *order;     /* [orders, width] hidden channel i is the model's order[i] (qn_plan_order); NULL: i */
  uint32_t orders;     /* 1: of all layers; or one for each */
  uint32_t width;      /* of hidden states */
  uint32_t *ffn_order; /* [layers, ffn] alike of neurons */
  size_t ordered;      /* entries of both, which lie one behind the other */
  qn_fold *fold;       /* [layers, copies] how the input of ffn.down is unfolded; NULL: it is not */
  uint32_t copies;
  int embeds_alone; /* the embeddings' channels are not hidden ones */
  size_t bytes;     /* of the allocation they and their values are in */
} qn_plan;

/* The sites of a model by a recipe that fits it (qn_recipe_check_sites); scales are not known yet. */
quern_status qn_plan_create(qn_plan *p, qn_env *env, const qn_arch *a, const qn_recipe *r);
/* Of the hidden states that the norm behind layer `layer`'s attention gives, on to the next such norm; -1: before the first, which is the
   first's. NULL: the model's own order. */
const uint32_t *qn_plan_order(const qn_plan *p, int layer);
void qn_plan_free(qn_env *env, qn_plan *p);
/* Values of one of the same sites and groups. */
void qn_plan_copy(qn_plan *p, const qn_plan *from);
/* Whether a site has values in the file; whether they come from calibration. */
int qn_plan_is_static(const qn_site_plan *s);
int qn_plan_needs_text(const qn_plan *p);
/* Whether an estimator reads histograms. */
int qn_plan_needs_histograms(const qn_plan *p);
/* Fills in scales and zero points. seen: NULL where nothing needs text; its sites are the plan's, but those of copied neurons. */
quern_status qn_plan_fill(qn_plan *p, qn_env *env, const qn_observed *seen);

/* Scale and zero point of a range that holds 0, for codes of a site of `bits`. */
void qn_range_codes(float low, float high, int symmetric, uint32_t bits, float *scale, float *zero);
/* The zero point of a scale that is given. */
float qn_range_zero(float low, float scale, uint32_t bits);
/* Of a layer's copies; NULL: none. *end: the highest value of their site. */
const qn_fold *qn_plan_fold(const qn_plan *p, const qn_arch *a, uint32_t layer, float *end);
/* Scale and zero point of group g of a site from a range. */
void qn_plan_set(qn_site_plan *s, uint32_t g, qn_extremes range);
/* The range of a site by an estimator (QN_RANGE_*). */
qn_extremes qn_range_of(const qn_site_seen *seen, uint32_t blocks, const qn_site_rule *rule);
/* How wide the groups of a site are when all are the same, in multiples of 32 up to 512; 0: they are not, or there is one. */
uint32_t qn_plan_group(const qn_site_plan *s);
#endif
